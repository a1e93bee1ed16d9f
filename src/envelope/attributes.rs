//! What is signed beside the payload, and the rules that hold for both formats (Notary signature specification,
//! "Signed Attributes"; signing scheme specification).

use std::collections::BTreeSet;

use jiff::Timestamp;
use semver::Version;

use super::error::InvalidEnvelope;
use super::limits::MAX_ATTRIBUTES;
use crate::remedy::excerpt;

/// The header that names the signing scheme.
pub(super) const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
/// The header with the signer's own claim of the time.
pub(super) const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
/// The header with the time that a signing authority vouches for.
pub(super) const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
/// The header with the instant from which the signature is no longer good.
pub(super) const EXPIRY: &str = "io.cncf.notary.expiry";
/// The header that demands a verification plugin.
pub(super) const VERIFICATION_PLUGIN: &str = "io.cncf.notary.verificationPlugin";
/// The header that demands a version of it.
pub(super) const VERIFICATION_PLUGIN_MIN_VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";
/// The unsigned header with a time-stamp token.
pub(super) const TIMESTAMP_SIGNATURE: &str = "io.cncf.notary.timestampSignature";
/// The unsigned header that names the tool that signed.
pub(super) const SIGNING_AGENT: &str = "io.cncf.notary.signingAgent";

/// What a signing scheme guarantees about the signing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningScheme {
    /// `notary.x509`: the signing time is the signer's claim.
    X509,
    /// `notary.x509.signingAuthority`: a trusted authority vouches for the signing time.
    SigningAuthority,
}

impl SigningScheme {
    /// The scheme's name in an envelope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "notary.x509",
            Self::SigningAuthority => "notary.x509.signingAuthority",
        }
    }

    fn parse(name: &str) -> Result<Self, InvalidEnvelope> {
        [Self::X509, Self::SigningAuthority]
            .into_iter()
            .find(|scheme| scheme.as_str() == name)
            .ok_or_else(|| InvalidEnvelope::Scheme(excerpt(name)))
    }
}

/// A verification plugin that the signer demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginDemand {
    /// The plugin's name.
    pub name: String,
    /// The lowest version.
    pub minimum_version: Option<Version>,
}

/// A signed attribute that is not Notary's own: a verification plugin may understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// Its name.
    pub name: String,
    /// Its value as JSON. None where it is no text, number, truth value or null: nothing else is told to a plugin.
    pub value: Option<String>,
    /// Whether the signature must be refused unless somebody has processed it.
    pub is_critical: bool,
}

/// Metadata under the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAttributes {
    /// The signing scheme.
    pub scheme: SigningScheme,
    /// When the signature was made: a claim under [`SigningScheme::X509`], vouched for under
    /// [`SigningScheme::SigningAuthority`].
    pub signing_time: Timestamp,
    /// From when the signature is no longer good.
    pub expiry: Option<Timestamp>,
    /// The verification plugin demanded, if any.
    pub plugin: Option<PluginDemand>,
    /// All other attributes. None of them is critical unless a plugin is demanded, which then must process it.
    pub extended: Vec<ExtendedAttribute>,
}

impl SignedAttributes {
    /// The names of the critical ones among the extended attributes.
    pub fn extended_critical(&self) -> impl Iterator<Item = &str> {
        self.extended.iter().filter(|attribute| attribute.is_critical).map(|attribute| attribute.name.as_str())
    }
}

/// Metadata beside the signature, which anybody may have written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnsignedAttributes {
    /// An RFC 3161 time-stamp token, DER or BER.
    pub timestamp_signature: Option<Vec<u8>>,
    /// The tool that says it signed.
    pub signing_agent: Option<String>,
}

/// The signed headers as a format's parser found them, before the common rules.
pub(super) struct RawAttributes {
    pub(super) critical: Vec<String>,
    pub(super) scheme: String,
    pub(super) signing_time: Option<Timestamp>,
    pub(super) authentic_signing_time: Option<Timestamp>,
    pub(super) expiry: Option<Timestamp>,
    pub(super) plugin: Option<String>,
    pub(super) plugin_minimum_version: Option<String>,
    /// All other signed headers with a name, each with its value as JSON where it has one that JSON has, too.
    pub(super) extended: Vec<(String, Option<String>)>,
}

impl RawAttributes {
    /// Applies the rules that both formats share.
    pub(super) fn check(self) -> Result<SignedAttributes, InvalidEnvelope> {
        if self.extended.len() > MAX_ATTRIBUTES {
            return Err(InvalidEnvelope::TooManyAttributes);
        }
        let scheme = SigningScheme::parse(&self.scheme)?;
        let signing_time = self.time_of(scheme)?;
        if self.expiry.is_some_and(|expiry| expiry <= signing_time) {
            return Err(InvalidEnvelope::ExpiryBeforeSigning);
        }
        let critical = self.check_critical(scheme)?;
        let plugin = self.plugin_demand()?;
        if let (None, Some(unknown)) = (&plugin, critical.first()) {
            return Err(InvalidEnvelope::UnknownCritical(excerpt(unknown)));
        }
        let extended = self.extended.into_iter().map(|(name, value)| {
            let is_critical = critical.contains(&name);
            ExtendedAttribute { name, value, is_critical }
        });
        Ok(SignedAttributes { scheme, signing_time, expiry: self.expiry, plugin, extended: extended.collect() })
    }

    /// Each scheme has its own header for the time, and none of the other's.
    fn time_of(&self, scheme: SigningScheme) -> Result<Timestamp, InvalidEnvelope> {
        let (wanted, wanted_name, other, other_name) = match scheme {
            SigningScheme::X509 => {
                (self.signing_time, SIGNING_TIME, self.authentic_signing_time, AUTHENTIC_SIGNING_TIME)
            }
            SigningScheme::SigningAuthority => {
                (self.authentic_signing_time, AUTHENTIC_SIGNING_TIME, self.signing_time, SIGNING_TIME)
            }
        };
        if other.is_some() {
            return Err(InvalidEnvelope::NotOfScheme { name: other_name, scheme: scheme.as_str() });
        }
        wanted.ok_or(InvalidEnvelope::Missing(wanted_name))
    }

    /// The critical list names exactly what must be critical, and otherwise only extended attributes that are there.
    /// Gives the extended ones, the plugin's own two left out.
    fn check_critical(&self, scheme: SigningScheme) -> Result<Vec<String>, InvalidEnvelope> {
        if self.critical.is_empty() {
            return Err(InvalidEnvelope::NoCritical);
        }
        let mut required = vec![SIGNING_SCHEME];
        if scheme == SigningScheme::SigningAuthority {
            required.push(AUTHENTIC_SIGNING_TIME);
        }
        if self.expiry.is_some() {
            required.push(EXPIRY);
        }
        if let Some(missing) = required.iter().find(|name| !self.critical.iter().any(|entry| entry == **name)) {
            return Err(InvalidEnvelope::NotCritical((*missing).to_owned()));
        }
        let own = [
            (VERIFICATION_PLUGIN, self.plugin.is_some()),
            (VERIFICATION_PLUGIN_MIN_VERSION, self.plugin_minimum_version.is_some()),
        ];
        let mut seen = BTreeSet::new();
        let mut extended = Vec::new();
        for name in &self.critical {
            let is_own = own.iter().any(|(own, present)| own == name && *present);
            let is_extended = self.extended.iter().any(|(extended, _)| extended == name);
            if !seen.insert(name) || !(is_own || is_extended || required.contains(&name.as_str())) {
                return Err(InvalidEnvelope::WronglyCritical(excerpt(name)));
            }
            if is_extended {
                extended.push(name.clone());
            }
        }
        Ok(extended)
    }

    /// Plugin headers are only a demand when they are critical and usable (Notary plugin specification).
    fn plugin_demand(&self) -> Result<Option<PluginDemand>, InvalidEnvelope> {
        let is_critical = |name: &str| self.critical.iter().any(|entry| entry == name);
        let bad_version = || InvalidEnvelope::PluginAttribute(VERIFICATION_PLUGIN_MIN_VERSION);
        let minimum_version = self.plugin_minimum_version.as_deref().map(Version::parse).transpose();
        let minimum_version = minimum_version.map_err(|_| bad_version())?;
        if minimum_version.is_some() && (self.plugin.is_none() || !is_critical(VERIFICATION_PLUGIN_MIN_VERSION)) {
            return Err(bad_version());
        }
        let Some(name) = &self.plugin else { return Ok(None) };
        if name.trim().is_empty() || !is_critical(VERIFICATION_PLUGIN) {
            return Err(InvalidEnvelope::PluginAttribute(VERIFICATION_PLUGIN));
        }
        Ok(Some(PluginDemand { name: name.clone(), minimum_version }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_strict_semver() {
        for good in ["1.0.0", "0.0.0", "10.20.30-rc.1+build.5", "3.2.0-rc.1", "1.0.0-0a"] {
            assert!(Version::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "v3", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "1.0.0-a..b", " 1.0.0"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }
}
