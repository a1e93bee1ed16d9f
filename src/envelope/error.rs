//! Why bytes are not a signature envelope that may be looked at further.

use crate::oci::InvalidJson;
use crate::remedy::{Code, Remedy};

/// Why bytes are not a signature envelope of good form. Each one is a failure of integrity (Notary signature
/// specification, "Signature Envelope").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEnvelope {
    /// Neither of the two formats.
    #[error("`{0}` is not the media type of a signature envelope")]
    MediaType(String),
    /// The name of a file that does not tell a format.
    #[error("`{0}` is not the name of a signature file, which ends in `.jws.sig` or `.cose.sig`")]
    FileName(String),
    /// Larger than the limit in force.
    #[error("the envelope has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not JSON.
    #[error("the envelope is not JSON")]
    Json(#[source] InvalidJson),
    /// A member stands twice in one object: two readers may see two different envelopes.
    #[error("the member `{0}` stands twice")]
    DuplicateMember(String),
    /// A member that the flattened serialization does not have.
    #[error("a signature envelope has no member `{0}`")]
    UnknownMember(String),
    /// The general serialization, with several signatures.
    #[error("the envelope uses the general JSON serialization; only the flattened one is a Notary signature")]
    GeneralSerialization,
    /// A required member or header is absent.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A member or header has another type or form than the specification gives it.
    #[error("`{name}` is not {expected}")]
    Malformed {
        /// Its name.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The bytes do not begin with the tag and the array of a `COSE_Sign1`.
    #[error("not a tagged COSE_Sign1 structure")]
    NotCoseSign1,
    /// The CBOR breaks a rule of form.
    #[error("the CBOR of the envelope has {0}")]
    Cbor(CborFault),
    /// A header stands both in the protected and in the unprotected bucket, or in the wrong one.
    #[error("the header `{0}` stands in the wrong bucket")]
    WrongBucket(String),
    /// The payload is absent or empty.
    #[error("the payload is detached or empty")]
    NoPayload,
    /// An algorithm that Notary does not allow.
    #[error("the signature algorithm `{0}` is not allowed")]
    Algorithm(String),
    /// The payload is of another content type.
    #[error("the payload's content type is `{0}`, not Notary's")]
    ContentType(String),
    /// The payload is not a document with a target artifact.
    #[error("the payload is not a Notary payload")]
    Payload(#[source] InvalidJson),
    /// A signing scheme that is not Notary's.
    #[error("the signing scheme `{0}` is unknown")]
    Scheme(String),
    /// A time-stamp header that the signing scheme does not allow.
    #[error("`{name}` is not allowed under the signing scheme {scheme}")]
    NotOfScheme {
        /// The header.
        name: &'static str,
        /// The scheme.
        scheme: &'static str,
    },
    /// The expiry is not later than the signing time.
    #[error("the expiry is not later than the signing time")]
    ExpiryBeforeSigning,
    /// `crit` is absent or empty.
    #[error("the list of critical headers is missing or empty")]
    NoCritical,
    /// `crit` does not list a header that it must list.
    #[error("`{0}` must be listed as critical")]
    NotCritical(String),
    /// `crit` lists a header that is not there, lists one twice, or lists one that it must not.
    #[error("`{0}` may not be listed as critical here")]
    WronglyCritical(String),
    /// A critical attribute that nobody here understands.
    #[error("the critical attribute `{0}` is unknown")]
    UnknownCritical(String),
    /// The demand for a verification plugin has no usable name or version.
    #[error("`{0}` must be critical and a plain name or version")]
    PluginAttribute(&'static str),
    /// More signed attributes than anybody needs.
    #[error("the envelope has more than {} signed attributes", super::limits::MAX_ATTRIBUTES)]
    TooManyAttributes,
    /// More certificates than a chain may have.
    #[error("the envelope has more than {} certificates", crate::pki::MAX_CHAIN_LENGTH)]
    ChainTooLong,
}

/// Which rule of form the CBOR of an envelope breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborFault {
    /// It ends too early.
    #[error("an end where more was announced")]
    Truncated,
    /// Something follows the message.
    #[error("bytes after the message")]
    TrailingBytes,
    /// An array, map or string without a length in front.
    #[error("an item of indefinite length")]
    IndefiniteLength,
    /// A number or length written longer than needed.
    #[error("a number or length in a longer form than needed")]
    LongForm,
    /// The same key twice in one map.
    #[error("the same key twice in one map")]
    DuplicateKey,
    /// Nested too deep.
    #[error("items nested deeper than {} levels", super::cbor::MAX_DEPTH)]
    TooDeep,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A reserved or unassigned head byte.
    #[error("a reserved head byte")]
    Reserved,
}

impl Remedy for InvalidEnvelope {
    fn code(&self) -> Code {
        Code(match self {
            Self::MediaType(_) => "envelope-media-type",
            Self::FileName(_) => "signature-file-name",
            Self::TooLarge { .. } => "envelope-too-large",
            Self::Json(InvalidJson::TooDeep) => "envelope-too-deep",
            Self::Json(_) => "envelope-not-json",
            Self::DuplicateMember(_) => "envelope-duplicate-member",
            Self::UnknownMember(_) => "envelope-unknown-member",
            Self::GeneralSerialization => "envelope-general-serialization",
            Self::Missing(_) => "envelope-header-missing",
            Self::Malformed { .. } => "envelope-header-malformed",
            Self::NotCoseSign1 => "envelope-not-cose-sign1",
            Self::Cbor(fault) => fault.code(),
            Self::WrongBucket(_) => "envelope-wrong-bucket",
            Self::NoPayload => "envelope-no-payload",
            Self::Algorithm(_) => "algorithm-not-allowed",
            Self::ContentType(_) => "payload-content-type",
            Self::Payload(_) => "payload-malformed",
            Self::Scheme(_) => "signing-scheme-unknown",
            Self::NotOfScheme { .. } => "time-not-of-scheme",
            Self::ExpiryBeforeSigning => "expiry-before-signing",
            Self::NoCritical => "critical-headers-missing",
            Self::NotCritical(_) => "header-not-critical",
            Self::WronglyCritical(_) => "header-wrongly-critical",
            Self::UnknownCritical(_) => "unknown-critical-attribute",
            Self::PluginAttribute(_) => "plugin-attribute-invalid",
            Self::TooManyAttributes => "envelope-too-many-attributes",
            Self::ChainTooLong => "chain-too-long",
        })
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::TooLarge { .. } => Some("raise `limits.envelope_size` if envelopes of this size are expected".into()),
            Self::FileName(_) => Some("name the file after the format of the envelope in it".into()),
            Self::UnknownCritical(name) => {
                Some(format!("`{name}` asks for a check that this version of pratique does not know"))
            }
            _ => Some(
                "the envelope is damaged or was made by a tool that does not follow the specification: sign again"
                    .into(),
            ),
        }
    }
}

impl CborFault {
    fn code(self) -> &'static str {
        match self {
            Self::Truncated => "cbor-truncated",
            Self::TrailingBytes => "cbor-trailing-bytes",
            Self::IndefiniteLength => "cbor-indefinite-length",
            Self::LongForm => "cbor-long-form",
            Self::DuplicateKey => "cbor-duplicate-key",
            Self::TooDeep => "cbor-too-deep",
            Self::NotUtf8 => "cbor-not-utf8",
            Self::Reserved => "cbor-reserved",
        }
    }
}
