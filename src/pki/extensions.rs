//! The few extensions of a certificate that decide something.
//!
//! They are read when the certificate is, so that a malformed one is found before anybody relies on it. All others,
//! critical or not, are left alone: Notary's profile forbids evaluating them.

use std::collections::BTreeSet;

use const_oid::AssociatedOid;
use const_oid::db::rfc5280::{ID_AD_OCSP, ID_CE_BASIC_CONSTRAINTS};
use der::Decode;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage};

use super::InvalidCertificate;

/// An extension's content, and whether it is marked critical.
#[derive(Clone, Debug)]
pub(super) struct Marked<T> {
    pub(super) is_critical: bool,
    pub(super) content: T,
}

/// RFC 5280, section 4.2.1.9.
#[derive(Clone, Debug, der::Sequence)]
pub(super) struct BasicConstraints {
    #[asn1(default = "Default::default")]
    pub(super) is_ca: bool,
    #[asn1(optional = "true")]
    pub(super) path_length: Option<u32>,
}

impl AssociatedOid for BasicConstraints {
    const OID: ObjectIdentifier = ID_CE_BASIC_CONSTRAINTS;
}

/// What the extensions of one certificate say.
#[derive(Clone, Debug)]
pub(super) struct Extensions {
    pub(super) basic_constraints: Option<Marked<BasicConstraints>>,
    pub(super) key_usage: Option<Marked<KeyUsage>>,
    pub(super) extended_key_usage: Option<Marked<Vec<ObjectIdentifier>>>,
    pub(super) ocsp_urls: Vec<String>,
    pub(super) crl_urls: Vec<String>,
}

impl Extensions {
    /// Reads those that matter; none may stand twice (RFC 5280, section 4.2).
    pub(super) fn read(extensions: &[Extension]) -> Result<Self, InvalidCertificate> {
        let mut seen = BTreeSet::new();
        if let Some(repeated) = extensions.iter().find(|extension| !seen.insert(extension.extn_id)) {
            return Err(InvalidCertificate::RepeatedExtension { oid: repeated.extn_id.to_string() });
        }
        let extended: Option<Marked<ExtendedKeyUsage>> = find(extensions, "extKeyUsage")?;
        let access: Option<Marked<AuthorityInfoAccessSyntax>> = find(extensions, "authorityInfoAccess")?;
        let points: Option<Marked<CrlDistributionPoints>> = find(extensions, "cRLDistributionPoints")?;
        Ok(Self {
            basic_constraints: find(extensions, "basicConstraints")?,
            key_usage: find(extensions, "keyUsage")?,
            extended_key_usage: extended
                .map(|usage| Marked { is_critical: usage.is_critical, content: usage.content.0 }),
            ocsp_urls: access.map(|access| ocsp_urls(&access.content)).unwrap_or_default(),
            crl_urls: points.map(|points| crl_urls(&points.content)).unwrap_or_default(),
        })
    }
}

/// The extension of this type, if there.
fn find<'a, T>(extensions: &'a [Extension], name: &'static str) -> Result<Option<Marked<T>>, InvalidCertificate>
where
    T: AssociatedOid + Decode<'a, Error = der::Error>,
{
    let Some(extension) = extensions.iter().find(|extension| extension.extn_id == T::OID) else { return Ok(None) };
    match T::from_der(extension.extn_value.as_bytes()) {
        Ok(content) => Ok(Some(Marked { is_critical: extension.critical, content })),
        Err(error) => Err(InvalidCertificate::Extension { name, reason: error.to_string() }),
    }
}

fn ocsp_urls(access: &AuthorityInfoAccessSyntax) -> Vec<String> {
    let responders = access.0.iter().filter(|description| description.access_method == ID_AD_OCSP);
    responders.filter_map(|description| url(&description.access_location)).collect()
}

pub(super) fn crl_urls(points: &CrlDistributionPoints) -> Vec<String> {
    let names = points.0.iter().filter_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => Some(names),
        _ => None,
    });
    names.flatten().filter_map(url).collect()
}

/// The name, if it is a URL of any scheme: one that cannot be asked still says that the certificate may be revoked.
fn url(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::UniformResourceIdentifier(url) => Some(url.as_str().to_owned()),
        _ => None,
    }
}
