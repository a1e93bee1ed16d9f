//! Notary's certificate profile: what a certificate that signs images, or signs such certificates, must say of itself
//! (Notary signature specification, "Certificate Requirements").
//!
//! Where the reference implementation is laxer than the text, or stricter, the text is followed: `anyExtendedKeyUsage`
//! is refused, `OCSPSigning` is not, and an authority's basicConstraints must be critical.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_EMAIL_PROTECTION, ID_KP_SERVER_AUTH, ID_KP_TIME_STAMPING,
};
use x509_cert::ext::pkix::{KeyUsage, KeyUsages};

use super::Certificate;
use crate::remedy::{Code, Remedy};

/// What a leaf's keyUsage must not allow, whatever else it does. nonRepudiation is not among it.
const FORBIDDEN_USAGES: [(KeyUsages, &str); 7] = [
    (KeyUsages::KeyEncipherment, "keyEncipherment"),
    (KeyUsages::DataEncipherment, "dataEncipherment"),
    (KeyUsages::KeyAgreement, "keyAgreement"),
    (KeyUsages::KeyCertSign, "keyCertSign"),
    (KeyUsages::CRLSign, "cRLSign"),
    (KeyUsages::EncipherOnly, "encipherOnly"),
    (KeyUsages::DecipherOnly, "decipherOnly"),
];

/// What a leaf's extKeyUsage must not list, even beside codeSigning.
const FORBIDDEN_EXTENDED_USAGES: [(ObjectIdentifier, &str); 5] = [
    (ANY_EXTENDED_KEY_USAGE, "anyExtendedKeyUsage"),
    (ID_KP_SERVER_AUTH, "serverAuth"),
    (ID_KP_CLIENT_AUTH, "clientAuth"),
    (ID_KP_EMAIL_PROTECTION, "emailProtection"),
    (ID_KP_TIME_STAMPING, "timeStamping"),
];

/// What a certificate says of itself that it must not, or does not say and must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileViolation {
    /// An issuer without basicConstraints.
    #[error("it issues certificates and has no basicConstraints")]
    NoBasicConstraints,
    /// An issuer whose basicConstraints could be overlooked.
    #[error("it issues certificates and its basicConstraints is not critical")]
    BasicConstraintsNotCritical,
    /// An issuer that is no certificate authority.
    #[error("it issues certificates and is not a certificate authority")]
    NotAnAuthority,
    /// More authorities below than pathLenConstraint allows.
    #[error("it allows {allowed} authorities below it and has {below}")]
    PathTooLong {
        /// Its pathLenConstraint.
        allowed: u32,
        /// How many certificate authorities stand between it and the leaf.
        below: usize,
    },
    /// An issuer whose key may not sign certificates.
    #[error("it issues certificates and its keyUsage does not allow keyCertSign")]
    NoKeyCertSign,
    /// No keyUsage at all.
    #[error("it has no keyUsage")]
    NoKeyUsage,
    /// A keyUsage that could be overlooked.
    #[error("its keyUsage is not critical")]
    KeyUsageNotCritical,
    /// A leaf that is a certificate authority.
    #[error("it signs images and is a certificate authority")]
    LeafIsAuthority,
    /// A leaf whose key may not sign.
    #[error("it signs images and its keyUsage does not allow digitalSignature")]
    NoDigitalSignature,
    /// A leaf whose key may also do something that endangers signing.
    #[error("it signs images and its keyUsage allows {usage}")]
    ForbiddenKeyUsage {
        /// The usage's name in RFC 5280.
        usage: &'static str,
    },
    /// A leaf that was issued for another purpose.
    #[error("it signs images and its extKeyUsage lists {usage}")]
    ForbiddenExtendedKeyUsage {
        /// The usage's name in RFC 5280.
        usage: &'static str,
    },
}

impl Remedy for ProfileViolation {
    fn code(&self) -> Code {
        match self {
            Self::NoBasicConstraints => Code("ca-basic-constraints-missing"),
            Self::BasicConstraintsNotCritical => Code("ca-basic-constraints-not-critical"),
            Self::NotAnAuthority => Code("ca-not-an-authority"),
            Self::PathTooLong { .. } => Code("ca-path-too-long"),
            Self::NoKeyCertSign => Code("ca-key-cert-sign-missing"),
            Self::NoKeyUsage => Code("key-usage-missing"),
            Self::KeyUsageNotCritical => Code("key-usage-not-critical"),
            Self::LeafIsAuthority => Code("leaf-is-authority"),
            Self::NoDigitalSignature => Code("leaf-digital-signature-missing"),
            Self::ForbiddenKeyUsage { .. } => Code("leaf-key-usage-forbidden"),
            Self::ForbiddenExtendedKeyUsage { .. } => Code("leaf-extended-key-usage-forbidden"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some("have the certificate issued anew under Notary's certificate requirements".into())
    }
}

/// Whether a certificate may stand in a chain with this many authorities between it and the leaf.
pub(super) fn check_authority(certificate: &Certificate, below: usize) -> Result<(), ProfileViolation> {
    check_issuer(certificate, below)?;
    critical_key_usage(certificate).map(|_| ())
}

/// The same, where keyUsage need not be critical: above a time-stamp's authority, where the reference implementation does
/// not ask for it.
pub(super) fn check_issuer(certificate: &Certificate, below: usize) -> Result<(), ProfileViolation> {
    let constraints = certificate.basic_constraints().ok_or(ProfileViolation::NoBasicConstraints)?;
    if !constraints.is_critical {
        return Err(ProfileViolation::BasicConstraintsNotCritical);
    }
    if !constraints.content.is_ca {
        return Err(ProfileViolation::NotAnAuthority);
    }
    if let Some(allowed) = constraints.content.path_length.filter(|allowed| below > *allowed as usize) {
        return Err(ProfileViolation::PathTooLong { allowed, below });
    }
    let usage = certificate.key_usage().ok_or(ProfileViolation::NoKeyUsage)?;
    if usage.content.key_cert_sign() { Ok(()) } else { Err(ProfileViolation::NoKeyCertSign) }
}

/// Whether a certificate may sign images. Its key is looked at elsewhere.
pub(super) fn check_leaf(certificate: &Certificate) -> Result<(), ProfileViolation> {
    if certificate.is_ca() {
        return Err(ProfileViolation::LeafIsAuthority);
    }
    let usage = critical_key_usage(certificate)?;
    if !usage.digital_signature() {
        return Err(ProfileViolation::NoDigitalSignature);
    }
    if let Some(usage) = forbidden_usage(usage) {
        return Err(ProfileViolation::ForbiddenKeyUsage { usage });
    }
    // Optional, and of any criticality; usages that nobody knows do no harm.
    let purposes = certificate.extended_key_usage().map(|usage| usage.content.as_slice()).unwrap_or_default();
    match FORBIDDEN_EXTENDED_USAGES.into_iter().find(|(forbidden, _)| purposes.contains(forbidden)) {
        Some((_, usage)) => Err(ProfileViolation::ForbiddenExtendedKeyUsage { usage }),
        None => Ok(()),
    }
}

/// What a key that signs images or time-stamps may be used for and must not.
pub(super) fn forbidden_usage(usage: KeyUsage) -> Option<&'static str> {
    FORBIDDEN_USAGES.into_iter().find(|(forbidden, _)| usage.0.contains(*forbidden)).map(|(_, name)| name)
}

fn critical_key_usage(certificate: &Certificate) -> Result<KeyUsage, ProfileViolation> {
    let usage = certificate.key_usage().ok_or(ProfileViolation::NoKeyUsage)?;
    if usage.is_critical { Ok(usage.content) } else { Err(ProfileViolation::KeyUsageNotCritical) }
}

#[cfg(test)]
mod tests {
    use const_oid::AssociatedOid as _;
    use const_oid::db::rfc5280::{ID_KP_CODE_SIGNING, ID_KP_OCSP_SIGNING};
    use x509_cert::ext::pkix::ExtendedKeyUsage;

    use super::super::extensions::BasicConstraints;
    use super::super::testing::Draft;
    use super::*;

    fn leaf(draft: Draft) -> &'static str {
        check_leaf(&draft.certificate()).map_or_else(|violation| violation.code().as_str(), |()| "good")
    }

    fn authority(draft: Draft) -> &'static str {
        check_authority(&draft.certificate(), 1).map_or_else(|violation| violation.code().as_str(), |()| "good")
    }

    #[test]
    fn a_leaf_signs_and_does_nothing_else_with_its_key() {
        let sign = KeyUsages::DigitalSignature;
        assert_eq!(leaf(Draft::leaf()), "good");
        assert_eq!(leaf(Draft::leaf().usage(true, sign | KeyUsages::NonRepudiation)), "good");
        assert_eq!(leaf(Draft::leaf().without(KeyUsage::OID)), "key-usage-missing");
        assert_eq!(leaf(Draft::leaf().usage(false, sign.into())), "key-usage-not-critical");
        assert_eq!(leaf(Draft::leaf().usage(true, KeyUsages::NonRepudiation.into())), "leaf-digital-signature-missing");
        for (forbidden, _) in FORBIDDEN_USAGES {
            assert_eq!(leaf(Draft::leaf().usage(true, sign | forbidden)), "leaf-key-usage-forbidden");
        }
    }

    #[test]
    fn a_leaf_is_no_authority_whether_it_says_so_or_is_silent() {
        assert_eq!(leaf(Draft::leaf().constraints(true, false, None)), "good");
        assert_eq!(leaf(Draft::leaf().without(BasicConstraints::OID)), "good");
        assert_eq!(leaf(Draft::leaf().constraints(true, true, None)), "leaf-is-authority");
    }

    #[test]
    fn a_leaf_was_not_issued_for_another_purpose() {
        let other = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1");
        assert_eq!(leaf(Draft::leaf().without(ExtendedKeyUsage::OID)), "good");
        for purposes in [&[ID_KP_CODE_SIGNING][..], &[other], &[ID_KP_OCSP_SIGNING], &[]] {
            assert_eq!(leaf(Draft::leaf().purposes(true, purposes)), "good");
        }
        for (forbidden, _) in FORBIDDEN_EXTENDED_USAGES {
            let draft = Draft::leaf().purposes(false, &[ID_KP_CODE_SIGNING, forbidden]);
            assert_eq!(leaf(draft), "leaf-extended-key-usage-forbidden");
        }
    }

    #[test]
    fn an_authority_says_critically_that_it_is_one() {
        assert_eq!(authority(Draft::authority(2)), "good");
        let without = Draft::authority(2).without(BasicConstraints::OID);
        assert_eq!(authority(without), "ca-basic-constraints-missing");
        assert_eq!(authority(Draft::authority(2).constraints(false, true, None)), "ca-basic-constraints-not-critical");
        assert_eq!(authority(Draft::authority(2).constraints(true, false, None)), "ca-not-an-authority");
    }

    #[test]
    fn an_authority_has_no_more_authorities_below_than_it_allows() {
        assert_eq!(authority(Draft::authority(2).constraints(true, true, Some(1))), "good");
        assert_eq!(authority(Draft::authority(2).constraints(true, true, Some(70_000))), "good");
        assert_eq!(authority(Draft::authority(2).constraints(true, true, Some(0))), "ca-path-too-long");
    }

    #[test]
    fn an_authority_may_sign_certificates_and_its_purposes_are_not_looked_at() {
        let usage = KeyUsages::KeyCertSign;
        assert_eq!(authority(Draft::authority(2).usage(true, usage.into())), "good");
        assert_eq!(authority(Draft::authority(2).purposes(true, &[ID_KP_SERVER_AUTH])), "good");
        assert_eq!(authority(Draft::authority(2).without(KeyUsage::OID)), "key-usage-missing");
        assert_eq!(authority(Draft::authority(2).usage(false, usage.into())), "key-usage-not-critical");
        assert_eq!(authority(Draft::authority(2).usage(true, KeyUsages::CRLSign.into())), "ca-key-cert-sign-missing");
    }
}
