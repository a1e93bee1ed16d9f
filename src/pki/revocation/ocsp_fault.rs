//! Why an OCSP response says nothing.

use jiff::Timestamp;

use super::super::X509SignatureError;
use crate::remedy::{Code, Remedy};

/// Why an OCSP response says nothing about a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOcspResponse {
    /// Longer than [`MAX_OCSP_RESPONSE_SIZE`](super::MAX_OCSP_RESPONSE_SIZE).
    #[error("the OCSP response has {size} bytes, at most {} are read", super::MAX_OCSP_RESPONSE_SIZE)]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not an OCSP response in DER. Holds the parser's account.
    #[error("not an OCSP response: {0}")]
    Malformed(String),
    /// The responder does not answer the question (RFC 6960, section 4.2.1). Holds its reason.
    #[error("the OCSP responder gives no answer: {0}")]
    Refused(&'static str),
    /// A response of another type than `id-pkix-ocsp-basic`. Holds the object identifier.
    #[error("the OCSP response is of the type {0}, which is not supported")]
    Type(String),
    /// A critical extension that is not understood. Holds the object identifier.
    #[error("the OCSP response has the critical extension {0}, which is not understood")]
    CriticalExtension(String),
    /// Neither the issuer nor a certificate in the response is who the response says has signed it.
    #[error("the OCSP response is signed by nobody whose certificate is at hand")]
    NoSigner,
    /// The certificate that vouches for the response may not do so.
    #[error("the OCSP responder `{subject}` may not answer: {reason}")]
    NotAuthorised {
        /// The subject of the responder's certificate.
        subject: String,
        /// What it lacks.
        reason: &'static str,
    },
    /// The signature is not one to believe.
    #[error("the signature on the OCSP response is not acceptable")]
    Signature(#[source] X509SignatureError),
    /// The response is about other certificates.
    #[error("the OCSP response is not about this certificate")]
    OtherCertificate,
    /// The response is from the future.
    #[error("the OCSP response holds from {this_update} on")]
    NotYetValid {
        /// The first instant at which it holds.
        this_update: Timestamp,
    },
    /// There is newer information by now.
    #[error("the OCSP response was good until {until}")]
    Stale {
        /// The last instant at which it held.
        until: Timestamp,
    },
}

impl Remedy for InvalidOcspResponse {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code("ocsp-too-large"),
            Self::Malformed(_) => Code("ocsp-malformed"),
            Self::Refused(_) => Code("ocsp-refused"),
            Self::Type(_) => Code("ocsp-type-unsupported"),
            Self::CriticalExtension(_) => Code("ocsp-extension-unknown"),
            Self::NoSigner => Code("ocsp-signer-missing"),
            Self::NotAuthorised { .. } => Code("ocsp-signer-not-authorised"),
            Self::Signature(_) => Code("ocsp-signature-invalid"),
            Self::OtherCertificate => Code("ocsp-other-certificate"),
            Self::NotYetValid { .. } => Code("ocsp-not-yet-valid"),
            Self::Stale { .. } => Code("ocsp-stale"),
        }
    }
}
