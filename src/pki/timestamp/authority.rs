//! Which authority made a time-stamp, and does it lead to a trusted one?
//!
//! A token holds certificates in no order, with or without the root, and sometimes two ways up. So a path is searched, from
//! the signer to one of the anchors handed in, and the first one that holds counts.
//!
//! Follows the Notary signature specification, "Certificate Requirements", and RFC 3161, section 2.3.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ANY_EXTENDED_KEY_USAGE, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE, ID_CE_INHIBIT_ANY_POLICY, ID_CE_KEY_USAGE,
    ID_CE_NAME_CONSTRAINTS, ID_CE_POLICY_CONSTRAINTS, ID_CE_POLICY_MAPPINGS, ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER, ID_KP_TIME_STAMPING,
};
use jiff::Timestamp;

use super::super::chain::{OutsideValidity, check_validity};
use super::super::profile::{check_issuer, forbidden_usage};
use super::super::{Certificate, MAX_CHAIN_LENGTH, X509SignatureError};
use super::InvalidTimestamp;
use crate::remedy::{Code, Remedy};

/// How many signatures on certificates are checked for one token. A chain of the longest kind takes fifteen; the rest is
/// room for several authorities of one name. Anybody may hang a token on a copy of a good signature, and a check with a key on
/// P-521 costs a millisecond or more.
const MAX_CHECKS: usize = 32;

/// What may be critical in a certificate of an authority's chain: what is looked at, and what narrows down names and policies
/// that nobody here asks about.
const KNOWN_EXTENSIONS: [ObjectIdentifier; 12] = [
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_KEY_USAGE,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
    ID_CE_AUTHORITY_KEY_IDENTIFIER,
    ID_CE_SUBJECT_ALT_NAME,
    ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_NAME_CONSTRAINTS,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_POLICY_MAPPINGS,
    ID_CE_POLICY_CONSTRAINTS,
    ID_CE_INHIBIT_ANY_POLICY,
];

/// Why a certificate may not sign time-stamps, or not stand above one that does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StamperViolation {
    /// It is a certificate authority.
    #[error("it is a certificate authority")]
    Authority,
    /// It has no keyUsage, or one that does not allow to sign.
    #[error("its keyUsage does not allow digitalSignature")]
    NoDigitalSignature,
    /// Its keyUsage allows more than to sign.
    #[error("its keyUsage allows {usage}")]
    KeyUsage {
        /// The usage's name in RFC 5280.
        usage: &'static str,
    },
    /// It was issued for another purpose, or for more than one.
    #[error("its extKeyUsage is not timeStamping alone")]
    Purpose,
    /// Its extKeyUsage could be overlooked.
    #[error("its extKeyUsage is not critical")]
    PurposeNotCritical,
    /// It is above an authority, and was issued for purposes that do not include it.
    #[error("its extKeyUsage does not include timeStamping")]
    IssuerPurpose,
    /// Its key is too short, or of a kind that is not known.
    #[error("its key is none of RSA with 2048, 3072 or 4096 bits, P-256, P-384 and P-521")]
    Key,
    /// It has a critical extension that is not known. Holds the object identifier.
    #[error("it has the critical extension {0}, which is not known")]
    CriticalExtension(String),
}

impl Remedy for StamperViolation {
    fn code(&self) -> Code {
        Code(match self {
            Self::Authority => "timestamp-certificate-is-authority",
            Self::NoDigitalSignature | Self::KeyUsage { .. } => "timestamp-certificate-key-usage",
            Self::Purpose | Self::IssuerPurpose => "timestamp-certificate-purpose",
            Self::PurposeNotCritical => "timestamp-certificate-purpose-not-critical",
            Self::Key => "timestamp-certificate-key",
            Self::CriticalExtension(_) => "timestamp-certificate-critical-extension",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(
            "use a time-stamp authority whose certificate follows RFC 3161 and Notary's certificate requirements"
                .into(),
        )
    }
}

/// The chain from the signer of a token to one of the anchors, each certificate in its place and valid at this time.
pub(super) fn chain(
    signer: &Certificate,
    others: &[Certificate],
    anchors: &[Certificate],
    at: Timestamp,
) -> Result<Vec<Certificate>, InvalidTimestamp> {
    check_stamper(signer)
        .map_err(|source| InvalidTimestamp::Stamper { subject: signer.subject().to_string(), source })?;
    let mut search = Search { others, anchors, at, checks: 0, refusal: None };
    match search.upwards(&mut vec![signer])? {
        Some(chain) => Ok(chain),
        // A way that was found and does not hold tells more than that there is none.
        None => {
            Err(search.refusal.unwrap_or_else(|| InvalidTimestamp::Untrusted { subject: signer.subject().to_string() }))
        }
    }
}

/// Whether a certificate may sign time-stamps. The specification wants keyUsage critical, too; the reference implementation
/// does not, since public authorities are not agreed on it, and nothing depends on it here.
fn check_stamper(certificate: &Certificate) -> Result<(), StamperViolation> {
    if certificate.is_ca() {
        return Err(StamperViolation::Authority);
    }
    let usage = certificate.key_usage().ok_or(StamperViolation::NoDigitalSignature)?.content;
    if !usage.digital_signature() {
        return Err(StamperViolation::NoDigitalSignature);
    }
    if let Some(usage) = forbidden_usage(usage) {
        return Err(StamperViolation::KeyUsage { usage });
    }
    // RFC 3161, section 2.3: timeStamping and nothing else, and critical.
    match certificate.extended_key_usage() {
        Some(purpose) if purpose.content != [ID_KP_TIME_STAMPING] => return Err(StamperViolation::Purpose),
        Some(purpose) if !purpose.is_critical => return Err(StamperViolation::PurposeNotCritical),
        Some(_) => {}
        None => return Err(StamperViolation::Purpose),
    }
    certificate.public_key().map_err(|_| StamperViolation::Key)?;
    check_critical_extensions(certificate)
}

/// Whether what a certificate above the authority says of its purpose leaves room for time-stamps. Nothing said is no
/// restriction.
fn check_purpose_above(certificate: &Certificate) -> Result<(), StamperViolation> {
    let purposes = certificate.extended_key_usage().map(|usage| usage.content.as_slice()).unwrap_or_default();
    let is_open = |purpose: &ObjectIdentifier| [ID_KP_TIME_STAMPING, ANY_EXTENDED_KEY_USAGE].contains(purpose);
    if purposes.is_empty() || purposes.iter().any(is_open) { Ok(()) } else { Err(StamperViolation::IssuerPurpose) }
}

/// A departure on the safe side: Notary's requirements leave all other extensions alone, and RFC 5280, section 4.2, which
/// RFC 3161 builds on and the reference implementation follows here, has none pass that is critical and not known.
fn check_critical_extensions(certificate: &Certificate) -> Result<(), StamperViolation> {
    match certificate.critical_extensions().find(|extension| !KNOWN_EXTENSIONS.contains(extension)) {
        None => Ok(()),
        Some(unknown) => Err(StamperViolation::CriticalExtension(unknown.to_string())),
    }
}

/// A walk from issuer to issuer.
struct Search<'a> {
    others: &'a [Certificate],
    anchors: &'a [Certificate],
    at: Timestamp,
    /// How many signatures were checked so far.
    checks: usize,
    /// Why the first way up that was found does not hold.
    refusal: Option<InvalidTimestamp>,
}

impl<'a> Search<'a> {
    /// The rest of the way from the end of the path to an anchor.
    fn upwards(&mut self, path: &mut Vec<&'a Certificate>) -> Result<Option<Vec<Certificate>>, InvalidTimestamp> {
        let Some(last) = path.last().copied() else { return Ok(None) };
        let is_issuer = |candidate: &&Certificate| candidate.subject_der() == last.issuer_der();
        for anchor in self.anchors.iter().filter(is_issuer) {
            if self.is_signed_by(last, anchor)? {
                path.push(anchor);
                match self.check(path) {
                    Ok(()) => return Ok(Some(path.iter().copied().cloned().collect())),
                    Err(refusal) => self.refusal.get_or_insert(refusal),
                };
                path.pop();
            }
        }
        // One below must still find room for its anchor above.
        if path.len() + 1 >= MAX_CHAIN_LENGTH {
            return Ok(None);
        }
        // What is issued by its own name is a root of somebody's, and no way to one of ours.
        let others = self.others;
        for other in others.iter().filter(|other| is_issuer(other) && !other.is_self_issued()) {
            if !path.contains(&other) && self.is_signed_by(last, other)? {
                path.push(other);
                if let Some(chain) = self.upwards(path)? {
                    return Ok(Some(chain));
                }
                path.pop();
            }
        }
        Ok(None)
    }

    fn is_signed_by(&mut self, certificate: &Certificate, issuer: &Certificate) -> Result<bool, InvalidTimestamp> {
        self.checks += 1;
        if self.checks > MAX_CHECKS {
            return Err(InvalidTimestamp::TooMany("ways from its authority to a root"));
        }
        match certificate.verify_signed_by(issuer) {
            Ok(()) => Ok(true),
            Err(X509SignatureError::Wrong) => Ok(false),
            Err(source) => {
                let subject = certificate.subject().to_string();
                self.refusal.get_or_insert(InvalidTimestamp::CertificateSignature { subject, source });
                Ok(false)
            }
        }
    }

    /// Whether every certificate above the signer may stand where it does, and all were valid.
    fn check(&self, path: &[&Certificate]) -> Result<(), InvalidTimestamp> {
        for (below, issuer) in path.iter().skip(1).enumerate() {
            check_issuer(issuer, below)
                .map_err(|source| InvalidTimestamp::Issuer { subject: issuer.subject().to_string(), source })?;
            check_purpose_above(issuer)
                .and_then(|()| check_critical_extensions(issuer))
                .map_err(|source| InvalidTimestamp::Stamper { subject: issuer.subject().to_string(), source })?;
        }
        path.iter().try_for_each(|certificate| valid(certificate, self.at)).map_err(InvalidTimestamp::NotValid)
    }
}

fn valid(certificate: &Certificate, at: Timestamp) -> Result<(), OutsideValidity> {
    check_validity(std::slice::from_ref(certificate), at)
}
