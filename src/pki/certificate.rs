//! One X.509 certificate: read once, strictly, and then only asked.
//!
//! A signature is checked over the bytes that were received, never over a re-encoding, and two certificates are the same
//! only when their bytes are.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use der::asn1::ObjectIdentifier;
use der::referenced::OwnedToRef as _;
use der::{Decode as _, Tag};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::KeyUsage;
use x509_cert::time::Time;

use super::extensions::{BasicConstraints, Extensions, Marked};
use super::key_material::KeyMaterial;
use super::name::MAX_NAME_SIZE;
use super::received::Parts;
use super::signed::Scheme;
use super::{DistinguishedName, InvalidPem, PublicKey, UnsupportedKey, X509SignatureError};
use crate::remedy::{Code, Remedy};

/// The largest certificate that is read, in bytes of DER. The largest in public use, with hundreds of names or a
/// post-quantum key, stay below 32 KiB.
pub const MAX_CERTIFICATE_SIZE: usize = 64 * 1024;

/// One X.509 certificate. Cheap to clone; equal when the DER bytes are equal. `Debug` shows its subject and thumbprint.
#[derive(Clone)]
pub struct Certificate(Arc<Fields>);

struct Fields {
    der: Vec<u8>,
    /// What the signature is over, as received.
    tbs: Vec<u8>,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
    serial_number: Vec<u8>,
    subject: DistinguishedName,
    subject_der: Vec<u8>,
    issuer: DistinguishedName,
    issuer_der: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    key: SubjectPublicKeyInfoOwned,
    extensions: Extensions,
    all_extensions: Vec<Extension>,
}

/// Why bytes are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCertificate {
    /// Longer than [`MAX_CERTIFICATE_SIZE`].
    #[error("the certificate has {size} bytes, at most {MAX_CERTIFICATE_SIZE} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not a certificate in DER. Holds the parser's account.
    #[error("not an X.509 certificate: {0}")]
    Malformed(String),
    /// The subject or the issuer is longer than [`MAX_NAME_SIZE`].
    #[error("a name in the certificate has {size} bytes, at most {MAX_NAME_SIZE} are read")]
    NameTooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// The algorithm beside the signature is not the one under it (RFC 5280, section 4.1.1.2).
    #[error("the certificate names two different signature algorithms")]
    AlgorithmsDiffer,
    /// An extension stands twice (RFC 5280, section 4.2).
    #[error("the certificate has the extension {oid} twice")]
    RepeatedExtension {
        /// Its object identifier.
        oid: String,
    },
    /// An extension that decides something cannot be read.
    #[error("the certificate's {name} is malformed: {reason}")]
    Extension {
        /// Its name in RFC 5280.
        name: &'static str,
        /// The parser's account.
        reason: String,
    },
    /// The file has no certificate.
    #[error("there is no certificate")]
    Missing,
    /// The file is not readable as PEM.
    #[error("the file is not readable as PEM")]
    Pem(#[source] InvalidPem),
    /// A PEM block is something else.
    #[error("the PEM block `{label}` is not a certificate")]
    WrongBlock {
        /// What the block says it is.
        label: String,
    },
}

impl Remedy for InvalidCertificate {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code("certificate-too-large"),
            Self::Malformed(_) => Code("certificate-malformed"),
            Self::NameTooLong { .. } => Code("certificate-name-too-long"),
            Self::AlgorithmsDiffer => Code("certificate-algorithms-differ"),
            Self::RepeatedExtension { .. } => Code("certificate-extension-repeated"),
            Self::Extension { .. } => Code("certificate-extension-malformed"),
            Self::Missing => Code("certificate-missing"),
            Self::Pem(source) => source.code(),
            Self::WrongBlock { .. } => Code("not-a-certificate"),
        }
    }

    fn remedy(&self) -> Option<String> {
        let is_other_file = matches!(self, Self::Missing | Self::Pem(_) | Self::WrongBlock { .. });
        is_other_file.then(|| "keep nothing but certificates in the file, in PEM or DER".into())
    }
}

impl Certificate {
    /// The certificate in these bytes, with nothing after it.
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidCertificate> {
        if der.len() > MAX_CERTIFICATE_SIZE {
            return Err(InvalidCertificate::TooLarge { size: der.len() });
        }
        let parsed = CertificateInner::<Raw>::from_der(der).map_err(malformed)?;
        let parts = Parts::of(der).map_err(malformed)?;
        if let Some(name) = [parts.subject, parts.issuer].into_iter().find(|name| name.len() > MAX_NAME_SIZE) {
            return Err(InvalidCertificate::NameTooLong { size: name.len() });
        }
        let tbs = parsed.tbs_certificate();
        if tbs.signature() != parsed.signature_algorithm() {
            return Err(InvalidCertificate::AlgorithmsDiffer);
        }
        let all_extensions = tbs.extensions().cloned().unwrap_or_default();
        let signature = parsed.signature().as_bytes();
        Ok(Self(Arc::new(Fields {
            tbs: parts.tbs.to_vec(),
            signature_algorithm: parsed.signature_algorithm().clone(),
            signature: signature.ok_or_else(|| malformed(Tag::BitString.value_error().into()))?.to_vec(),
            serial_number: tbs.serial_number().as_bytes().to_vec(),
            subject: DistinguishedName::from_name(tbs.subject()),
            subject_der: parts.subject.to_vec(),
            issuer: DistinguishedName::from_name(tbs.issuer()),
            issuer_der: parts.issuer.to_vec(),
            not_before: timestamp(tbs.validity().not_before),
            not_after: timestamp(tbs.validity().not_after),
            key: tbs.subject_public_key_info().clone(),
            extensions: Extensions::read(&all_extensions)?,
            all_extensions,
            der: der.to_vec(),
        })))
    }

    /// The bytes that it was read from.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Whom the key belongs to.
    pub fn subject(&self) -> &DistinguishedName {
        &self.0.subject
    }

    /// Who says so.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.0.issuer
    }

    /// The DER of the subject. Names are the same only when these bytes are.
    pub fn subject_der(&self) -> &[u8] {
        &self.0.subject_der
    }

    /// The DER of the issuer.
    pub fn issuer_der(&self) -> &[u8] {
        &self.0.issuer_der
    }

    /// The serial number, big-endian, as it stands in the DER integer.
    pub fn serial_number(&self) -> &[u8] {
        &self.0.serial_number
    }

    /// The first instant at which it is valid.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// The last instant at which it is valid. A certificate without end (RFC 5280's 99991231235959Z) gives the last
    /// instant that a timestamp can hold.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// The key, if it is one that may sign images.
    pub fn public_key(&self) -> Result<PublicKey, UnsupportedKey> {
        self.key_material()?.try_into()
    }

    /// Whether its names and its key can be read as well, which [`Certificate::from_der`] leaves to whoever needs them.
    pub(super) fn is_readable_throughout(&self) -> bool {
        self.subject().is_text()
            && self.issuer().is_text()
            && !matches!(self.key_material(), Err(UnsupportedKey::Malformed))
    }

    /// The types of the extensions that are marked critical.
    pub(super) fn critical_extensions(&self) -> impl Iterator<Item = ObjectIdentifier> {
        self.0.all_extensions.iter().filter(|extension| extension.critical).map(|extension| extension.extn_id)
    }

    /// The bits of the subject's key, which OCSP identifies an issuer by (RFC 6960, section 4.1.1).
    pub fn key_bits(&self) -> &[u8] {
        self.0.key.subject_public_key.raw_bytes()
    }

    /// Whether basicConstraints says cA.
    pub fn is_ca(&self) -> bool {
        self.basic_constraints().is_some_and(|constraints| constraints.content.is_ca)
    }

    /// Whether subject and issuer are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.0.subject_der == self.0.issuer_der
    }

    /// Whether subject and issuer are the same name and the signature verifies with the certificate's own key. One with
    /// a forbidden hash is not self-signed, since its signature says nothing.
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.verify_signed_by(self).is_ok()
    }

    /// Checks the signature with the key of `issuer`. Names and usages are not looked at.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), X509SignatureError> {
        issuer.verify_with_key(&self.0.signature_algorithm, &self.0.tbs, &self.0.signature)
    }

    /// Checks what else of the X.509 family the certificate's key has signed, such as a revocation list.
    pub(super) fn verify_with_key(
        &self,
        algorithm: &AlgorithmIdentifierOwned,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), X509SignatureError> {
        let scheme = Scheme::of(algorithm)?;
        scheme.verify(&self.key_material().map_err(X509SignatureError::Key)?, message, signature)
    }

    /// Lowercase hex SHA-256 of the DER.
    pub fn thumbprint(&self) -> String {
        hex::encode(Sha256::digest(&self.0.der))
    }

    /// Whether an OCSP responder or CRL distribution point with a URL is named.
    pub fn names_revocation_source(&self) -> bool {
        !self.0.extensions.ocsp_urls.is_empty() || !self.0.extensions.crl_urls.is_empty()
    }

    /// The URLs of OCSP responders, in the certificate's order.
    pub fn ocsp_urls(&self) -> &[String] {
        &self.0.extensions.ocsp_urls
    }

    /// The URLs of CRL distribution points, in the certificate's order.
    pub fn crl_urls(&self) -> &[String] {
        &self.0.extensions.crl_urls
    }

    /// The extension of this type: whether it is critical, and its DER.
    pub fn extension(&self, oid: ObjectIdentifier) -> Option<(bool, &[u8])> {
        let extension = self.0.all_extensions.iter().find(|extension| extension.extn_id == oid)?;
        Some((extension.critical, extension.extn_value.as_bytes()))
    }

    pub(super) fn basic_constraints(&self) -> Option<&Marked<BasicConstraints>> {
        self.0.extensions.basic_constraints.as_ref()
    }

    pub(super) fn key_usage(&self) -> Option<&Marked<KeyUsage>> {
        self.0.extensions.key_usage.as_ref()
    }

    pub(super) fn extended_key_usage(&self) -> Option<&Marked<Vec<ObjectIdentifier>>> {
        self.0.extensions.extended_key_usage.as_ref()
    }

    fn key_material(&self) -> Result<KeyMaterial, UnsupportedKey> {
        KeyMaterial::from_info(&self.0.key.owned_to_ref())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.subject(), self.thumbprint())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.der.hash(state);
    }
}

pub(super) fn malformed(error: der::Error) -> InvalidCertificate {
    InvalidCertificate::Malformed(error.to_string())
}

/// The instant, or the last one that a timestamp can hold.
pub(super) fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use der::DateTime;
    use der::asn1::GeneralizedTime;

    use super::super::testing::{Draft, read};
    use super::*;

    fn code(bytes: &[u8]) -> &'static str {
        Certificate::read_all(bytes).map_or_else(|error| error.code().as_str(), |_| "good")
    }

    fn oid(text: &str) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(text)
    }

    #[test]
    fn a_certificate_has_nothing_after_it_and_nothing_missing() {
        let der = Draft::leaf().der();
        let code = |der: &[u8]| Certificate::from_der(der).map_or_else(|error| error.code().as_str(), |_| "good");
        assert_eq!(code(&der), "good");
        assert_eq!(code(&[&der[..], &[0]].concat()), "certificate-malformed");
        assert_eq!(code(&der[..der.len() - 1]), "certificate-malformed");
        assert_eq!(code(&[]), "certificate-malformed");
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic() {
        let der = Draft::leaf().der();
        for index in 0..der.len() {
            for value in [0, 0x80, 0xff, der[index] ^ 1] {
                let mut changed = der.clone();
                changed[index] = value;
                if let Ok(certificate) = Certificate::from_der(&changed) {
                    let _ = (certificate.public_key(), certificate.subject().to_string());
                }
            }
        }
    }

    #[test]
    fn a_certificate_of_sixty_four_kilobytes_is_read_and_a_larger_one_is_not() {
        let unknown = oid("1.3.6.1.4.1.99999.1");
        let padded = |padding: usize| {
            Draft::leaf().with(unknown, false, &der::asn1::OctetString::new(vec![0; padding]).unwrap()).der()
        };
        let overhead = padded(60_000).len() - 60_000;
        let room = MAX_CERTIFICATE_SIZE - overhead - 8;
        assert!(Certificate::from_der(&padded(room)).is_ok());
        assert_eq!(code(&padded(room + 16)), "certificate-too-large");
    }

    #[test]
    fn an_extension_that_decides_something_must_be_readable_and_stand_once() {
        let unknown = oid("1.3.6.1.4.1.99999.1");
        assert_eq!(code(&Draft::leaf().with(unknown, true, &7_u8).der()), "good");
        for decisive in ["2.5.29.15", "2.5.29.19", "2.5.29.31", "2.5.29.37", "1.3.6.1.5.5.7.1.1"] {
            let der = Draft::leaf().with(oid(decisive), true, &7_u8).der();
            assert_eq!(code(&der), "certificate-extension-malformed", "{decisive}");
        }
        let mut draft = Draft::leaf();
        draft.extensions.extend(draft.extensions.clone());
        assert_eq!(code(&draft.der()), "certificate-extension-repeated");
    }

    #[test]
    fn both_signature_algorithms_must_be_the_same() {
        let mut der = Draft::leaf().der();
        let sha256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let first = der.windows(sha256.len()).position(|window| window == sha256).unwrap();
        der[first + sha256.len() - 1] = 3;
        assert_eq!(code(&der), "certificate-algorithms-differ");
    }

    #[test]
    fn a_name_has_a_bound() {
        let organisation =
            |length| Draft { subject: format!("O={}", "a".repeat(length)).parse().unwrap(), ..Draft::leaf() };
        assert_eq!(code(&organisation(MAX_NAME_SIZE - 32).der()), "good");
        assert_eq!(code(&organisation(MAX_NAME_SIZE).der()), "certificate-name-too-long");
    }

    #[test]
    fn a_certificate_without_end_is_valid_for_as_long_as_can_be_said() {
        let end = GeneralizedTime::from_date_time(DateTime::INFINITY);
        let certificate = Draft { not_after: end.into(), ..Draft::leaf() }.certificate();
        assert_eq!(certificate.not_after(), Timestamp::MAX);
        assert_eq!(Draft::leaf().certificate().not_after().to_string(), "2040-01-01T00:00:00Z");
    }

    #[test]
    fn self_signed_means_by_its_own_key_and_not_only_in_its_own_name() {
        assert!(Draft::authority(1).self_signed().certificate().is_self_signed());
        let impostor = Draft { signer: 99, ..Draft::authority(1).self_signed() }.certificate();
        assert!(impostor.is_self_issued() && !impostor.is_self_signed());
        assert!(!Draft::authority(1).certificate().is_self_signed());
        assert!(!read("certificates/rsa2048-sha1.pem").remove(0).is_self_signed());
    }

    #[test]
    fn a_revocation_source_is_an_ocsp_responder_or_crl_with_a_url_of_any_scheme() {
        use const_oid::db::rfc5280::{ID_AD_CA_ISSUERS, ID_AD_OCSP};
        let sources = |draft: Draft| {
            let certificate = draft.certificate();
            let count = certificate.ocsp_urls().len() + certificate.crl_urls().len();
            assert_eq!(certificate.names_revocation_source(), count > 0);
            count
        };
        assert_eq!(sources(Draft::leaf()), 0);
        assert_eq!(sources(Draft::leaf().access(ID_AD_OCSP, "http://ocsp.example/")), 1);
        assert_eq!(sources(Draft::leaf().access(ID_AD_OCSP, "HTTP://ocsp.example/")), 1);
        assert_eq!(sources(Draft::leaf().access(ID_AD_OCSP, "https://ocsp.example/")), 1);
        assert_eq!(sources(Draft::leaf().access(ID_AD_CA_ISSUERS, "http://ca.example/")), 0);
        assert_eq!(sources(Draft::leaf().crl("http://crl.example/a.crl")), 1);
        assert_eq!(sources(Draft::leaf().crl("ldap://crl.example/a")), 1);
    }

    #[test]
    fn the_thumbprint_is_the_hash_of_the_bytes() {
        let certificate = Draft::leaf().certificate();
        assert_eq!(
            format!("sha256:{}", certificate.thumbprint()),
            crate::oci::Digest::sha256(certificate.der()).as_str()
        );
        assert_ne!(certificate, Draft::authority(1).certificate());
        assert_eq!(certificate.extension(oid("2.5.29.15")).map(|(is_critical, _)| is_critical), Some(true));
    }
}
