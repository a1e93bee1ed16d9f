//! Why a time-stamp is not believed.

use super::super::ber::BerFault;
use super::super::chain::OutsideValidity;
use super::super::{InvalidCertificate, ProfileViolation, X509SignatureError};
use super::{MAX_TOKEN_SIZE, StamperViolation};
use crate::remedy::{Code, Remedy};

/// Why bytes are not the token of an authentic time-stamp over a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTimestamp {
    /// Longer than [`MAX_TOKEN_SIZE`].
    #[error("the time-stamp has {size} bytes, at most {MAX_TOKEN_SIZE} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not BER.
    #[error("the time-stamp is not readable: {0}")]
    Encoding(BerFault),
    /// Not a CMS structure of the kind that a token is. Holds the parser's account.
    #[error("the time-stamp is not readable: {0}")]
    Malformed(String),
    /// A CMS structure that holds something else than a time-stamp. Holds the object identifier.
    #[error("the token holds {0} and no time-stamp")]
    NotATimestamp(String),
    /// A token of a form that RFC 3161 does not have.
    #[error("the time-stamp is not of a form that is accepted: {0}")]
    Form(&'static str),
    /// More of something than anybody needs.
    #[error("the time-stamp has too many {0}")]
    TooMany(&'static str),
    /// A hash that is not SHA-256, SHA-384 or SHA-512.
    #[error("the time-stamp is made over the hash {0}, which is not allowed")]
    Hash(String),
    /// The stamp is over something else.
    #[error("the time-stamp is over another signature")]
    OtherMessage,
    /// A signed attribute that must be there once is not there, or twice.
    #[error("the time-stamp's signed attribute {0} is missing, or there twice")]
    Attribute(&'static str),
    /// What the authority signed is not what the token holds.
    #[error("the content of the time-stamp is not what its authority signed")]
    Altered,
    /// A certificate in the token cannot be read.
    #[error("a certificate in the time-stamp cannot be read")]
    Certificate(#[source] InvalidCertificate),
    /// The token does not hold the certificate of its signer.
    #[error("the time-stamp does not hold the certificate that it was signed with")]
    NoCertificate,
    /// The certificate is not the one that the authority says it signed with.
    #[error("the time-stamp was signed with another certificate than it says")]
    OtherCertificate,
    /// The authority's signature is not one to believe.
    #[error("the signature of the time-stamp's authority is not acceptable")]
    Signature(#[source] X509SignatureError),
    /// The chain does not lead to a trust anchor.
    #[error("the time-stamp's authority `{subject}` is below none of the trusted ones")]
    Untrusted {
        /// The subject of its certificate.
        subject: String,
    },
    /// A certificate of the chain is signed in a way that is not believed.
    #[error("the certificate `{subject}` of the time-stamp's authority is not acceptable")]
    CertificateSignature {
        /// Its subject.
        subject: String,
        /// Why not.
        source: X509SignatureError,
    },
    /// A certificate may not sign time-stamps, or not stand above one that does.
    #[error("the certificate `{subject}` may not vouch for times")]
    Stamper {
        /// Its subject.
        subject: String,
        /// Why not.
        source: StamperViolation,
    },
    /// A certificate above the authority's may not stand there.
    #[error("the certificate `{subject}` may not stand above a time-stamp's authority")]
    Issuer {
        /// Its subject.
        subject: String,
        /// Why not.
        source: ProfileViolation,
    },
    /// A certificate of the authority was not valid when the stamp was made.
    #[error("a certificate of the time-stamp's authority was not valid when the stamp was made")]
    NotValid(#[source] OutsideValidity),
}

impl InvalidTimestamp {
    pub(super) fn malformed(error: &der::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl Remedy for InvalidTimestamp {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code("timestamp-too-large"),
            Self::Encoding(_) | Self::Malformed(_) => Code("timestamp-malformed"),
            Self::NotATimestamp(_) => Code("timestamp-content-type"),
            Self::Form(_) => Code("timestamp-form"),
            Self::TooMany(_) => Code("timestamp-too-many-parts"),
            Self::Hash(_) => Code("timestamp-hash-forbidden"),
            Self::OtherMessage => Code("timestamp-of-other-signature"),
            Self::Attribute(_) => Code("timestamp-attribute-missing"),
            Self::Altered => Code("timestamp-altered"),
            Self::Certificate(_) => Code("timestamp-certificate-malformed"),
            Self::NoCertificate => Code("timestamp-certificate-missing"),
            Self::OtherCertificate => Code("timestamp-certificate-mismatch"),
            Self::Signature(_) => Code("timestamp-signature-invalid"),
            Self::Untrusted { .. } => Code("timestamp-authority-untrusted"),
            Self::CertificateSignature { source, .. } => source.code(),
            Self::Stamper { source, .. } => source.code(),
            Self::Issuer { source, .. } => source.code(),
            Self::NotValid(_) => Code("timestamp-authority-not-valid"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Untrusted { .. } => Some(
                "if this authority may vouch for times, put its root certificate into a `tsa` trust store that the statement names".into(),
            ),
            Self::OtherMessage | Self::Altered => {
                Some("the time-stamp was put there or altered by somebody else: sign again with a time-stamp".into())
            }
            Self::Stamper { source, .. } => source.remedy(),
            _ => Some("sign again with a time-stamp of an authority that follows RFC 3161 and Notary's certificate requirements".into()),
        }
    }
}
