//! Makes a key and a self-signed certificate for trying things out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, RsaKeySize,
};

use super::exit::Failure;
use crate::clock;
use crate::pki::KeySpec;

/// Clocks of two machines may differ a little; a certificate made just now should be valid on both.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// A key and its certificate, as PEM.
pub(super) struct Made {
    pub(super) key_pem: String,
    pub(super) certificate_pem: String,
}

/// A self-signed certificate that meets the rules for a signing leaf (Notary signature specification, "Certificate
/// Requirements"), with the subject that notation gives its test certificates.
pub(super) fn make(name: &str, spec: KeySpec, not_after: Timestamp) -> Result<Made, Failure> {
    let failed = |error: rcgen::Error| {
        Failure::unreadable("certificate-not-made", format!("cannot make a certificate: {error}"), None)
    };
    let key = key_pair(spec).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.not_before =
        rcgen::date_time_ymd(1970, 1, 1) + since_1970(clock::now().saturating_sub(BACKDATED).unwrap_or(Timestamp::MIN));
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_after);
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Made { key_pem: key.serialize_pem(), certificate_pem: certificate.pem() })
}

fn key_pair(spec: KeySpec) -> Result<KeyPair, rcgen::Error> {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
    match spec {
        KeySpec::Rsa2048 => rsa(RsaKeySize::_2048),
        KeySpec::Rsa3072 => rsa(RsaKeySize::_3072),
        KeySpec::Rsa4096 => rsa(RsaKeySize::_4096),
        KeySpec::EcP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeySpec::EcP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeySpec::EcP521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
    }
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "WA"),
        (DnType::LocalityName, "Seattle"),
        (DnType::OrganizationName, "Notary"),
        (DnType::CommonName, name),
    ] {
        subject.push(kind, value);
    }
    subject
}

/// Times before 1970 have no place in a certificate made now.
fn since_1970(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default())
}
