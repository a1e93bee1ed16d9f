//! Why a plugin gave no answer that can be used. Each error names the plugin.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::process::MAX_OUTPUT;
use crate::envelope::InvalidEnvelope;
use crate::oci::InvalidJson;
use crate::pki::{InvalidCertificate, SignatureAlgorithm};
use crate::remedy::{Code, Remedy};
use crate::sign::HolderError;

/// What went wrong with one plugin.
#[derive(Debug, thiserror::Error)]
#[error("the plugin `{plugin}`")]
pub struct PluginError {
    /// Its name, fit to be shown.
    pub plugin: String,
    /// What it was.
    #[source]
    pub fault: PluginFault,
}

/// What may go wrong with a plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginFault {
    /// A name that must not become part of a path.
    #[error("its name is not made of letters, digits, `_`, `-` and `.`, or is dots alone")]
    Name,
    /// There is none.
    #[error("it is not installed: there is no {}", .0.display())]
    NotInstalled(PathBuf),
    /// A link, or not a file, or not a program, or a program that anybody may change.
    #[error("{} {fault}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it is.
        fault: &'static str,
    },
    /// What the operating system says about the file.
    #[error("{} cannot be looked at", path.display())]
    Inaccessible {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be started, or not be talked with.
    #[error("it cannot be run")]
    NotRun(#[source] io::Error),
    /// It took too long, and was ended with all that it had started.
    #[error("it did not answer `{command}` within {} ms and was ended", limit.as_millis())]
    TimedOut {
        /// What it was asked.
        command: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// It wrote more than is read, and was ended.
    #[error("it wrote more than {MAX_OUTPUT} bytes and was ended")]
    OutputTooLarge,
    /// It failed without saying why in the form that the contract asks for.
    #[error("it failed at `{command}` without an answer ({ending})")]
    Crashed {
        /// What it was asked.
        command: &'static str,
        /// How it ended, as the operating system says.
        ending: String,
    },
    /// An answer that the contract does not have.
    #[error("its answer to `{command}` is malformed")]
    Malformed {
        /// What it was asked.
        command: &'static str,
        /// What is wrong.
        source: InvalidJson,
    },
    /// Metadata that lack something, or are another plugin's.
    #[error("its metadata {0}")]
    Metadata(String),
    /// It speaks none of the versions of the contract that are spoken here.
    #[error("it speaks the contract versions {0}, and not 1.0")]
    Contract(String),
    /// A field that is not base64.
    #[error("its answer to `{command}` has a field that is not base64")]
    NotBase64 {
        /// What it was asked.
        command: &'static str,
    },
    /// It cannot sign.
    #[error("it has no capability for signing")]
    WithoutSigning,
    /// It has answered about another key.
    #[error("it was asked about the key `{asked}` and answers about `{answered}`")]
    Key {
        /// What it was asked.
        command: &'static str,
        /// The key id of the request.
        asked: String,
        /// The key id of the answer.
        answered: String,
    },
    /// A key that may not sign.
    #[error("its key is of the kind `{0}`, which may not sign")]
    KeySpec(String),
    /// It has signed with another algorithm than its key's.
    #[error("it has signed with `{given}`, and its key demands {wanted}")]
    Algorithm {
        /// The key's.
        wanted: String,
        /// The one of the answer.
        given: String,
    },
    /// A certificate that is none.
    #[error("its certificates cannot be read")]
    Certificate(#[source] InvalidCertificate),
    /// Certificates that no signature may carry.
    #[error("its certificates cannot be used: {0}")]
    Chain(String),
    /// A signature that is not one of its certificate's key.
    #[error("its signature does not verify with its certificate `{subject}`")]
    Signature {
        /// The subject of the certificate.
        subject: String,
        /// The algorithm of its key.
        algorithm: SignatureAlgorithm,
    },
    /// An envelope of another type.
    #[error("it was asked for an envelope of type {wanted} and gives `{given}`")]
    EnvelopeType {
        /// The type of the request.
        wanted: &'static str,
        /// The type of the answer.
        given: String,
    },
    /// Bytes that are no envelope.
    #[error("its envelope is refused")]
    EnvelopeForm(#[source] InvalidEnvelope),
    /// An envelope that no verifier would accept.
    #[error("its envelope is refused: {0}")]
    Envelope(String),
    /// A payload that is not the one to be signed.
    #[error("it has signed another payload: {0}")]
    Payload(String),
    /// An expiry that was asked for and is not there, or is later.
    #[error("it has not given the signature the expiry that was asked for")]
    Expiry,
    /// An annotation of the manifest that is not a plugin's to set.
    #[error("it gives the annotation `{0}`, which is not its own to give")]
    Annotation(String),
    /// It said no, in the form of the contract.
    #[error("it answers `{command}` with {code}: {message}", code = code.as_str())]
    Says {
        /// What it was asked.
        command: &'static str,
        /// The kind of error.
        code: SaidCode,
        /// Its own words, on one line and cut.
        message: String,
    },
}

/// The codes of errors that a plugin may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidCode {
    /// A field of the request is empty or malformed, or names a key that it does not have.
    Validation,
    /// It does not speak this version of the contract.
    UnsupportedContractVersion,
    /// The key may not be used by whoever asks.
    AccessDenied,
    /// Somebody it depends on took too long.
    Timeout,
    /// It was asked too often.
    Throttled,
    /// Anything else.
    Error,
}

impl SaidCode {
    const ALL: [Self; 6] = [
        Self::Validation,
        Self::UnsupportedContractVersion,
        Self::AccessDenied,
        Self::Timeout,
        Self::Throttled,
        Self::Error,
    ];

    /// The code as the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validation => "VALIDATION_ERROR",
            Self::UnsupportedContractVersion => "UNSUPPORTED_CONTRACT_VERSION",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::Timeout => "TIMEOUT",
            Self::Throttled => "THROTTLED",
            Self::Error => "ERROR",
        }
    }

    /// One that the contract does not have is an error like any other.
    pub(super) fn of(text: &str) -> Self {
        Self::ALL.into_iter().find(|code| code.as_str() == text).unwrap_or(Self::Error)
    }
}

impl PluginError {
    /// Whether the contract says that the same may be asked again: "can be retried".
    pub fn is_retryable(&self) -> bool {
        matches!(&self.fault, PluginFault::Says { code: SaidCode::Throttled | SaidCode::Timeout, .. })
    }

    /// The error, as one of a key's holder.
    pub(super) fn into_holder(self) -> HolderError {
        if self.is_retryable() { HolderError::pending(self) } else { HolderError::new(self) }
    }
}

impl Remedy for PluginError {
    fn code(&self) -> Code {
        Code(match &self.fault {
            PluginFault::Name => "plugin-name",
            PluginFault::NotInstalled(_) => "plugin-unavailable",
            PluginFault::File { .. } => "plugin-file-refused",
            PluginFault::Inaccessible { .. } => "plugin-inaccessible",
            PluginFault::NotRun(_) => "plugin-not-run",
            PluginFault::TimedOut { .. } => "plugin-timed-out",
            PluginFault::OutputTooLarge => "plugin-output-too-large",
            PluginFault::Crashed { .. } => "plugin-crashed",
            PluginFault::Malformed { .. } | PluginFault::NotBase64 { .. } => "plugin-answer-malformed",
            PluginFault::Metadata(_) => "plugin-metadata-invalid",
            PluginFault::Contract(_) => "plugin-contract-version",
            PluginFault::WithoutSigning => "plugin-without-signing",
            PluginFault::Key { .. } => "plugin-key-mismatch",
            PluginFault::KeySpec(_) => "plugin-key-unsupported",
            PluginFault::Algorithm { .. } => "plugin-algorithm-mismatch",
            PluginFault::Certificate(_) | PluginFault::Chain(_) => "plugin-chain-refused",
            PluginFault::Signature { .. } => "plugin-signature-invalid",
            PluginFault::EnvelopeType { .. } => "plugin-envelope-type",
            PluginFault::EnvelopeForm(_) | PluginFault::Envelope(_) => "plugin-envelope-refused",
            PluginFault::Payload(_) => "plugin-payload-changed",
            PluginFault::Expiry => "plugin-expiry-ignored",
            PluginFault::Annotation(_) => "plugin-annotation-refused",
            PluginFault::Says { code, .. } => match code {
                SaidCode::Validation => "plugin-says-validation",
                SaidCode::UnsupportedContractVersion => "plugin-says-contract-version",
                SaidCode::AccessDenied => "plugin-says-access-denied",
                SaidCode::Timeout => "plugin-says-timeout",
                SaidCode::Throttled => "plugin-says-throttled",
                SaidCode::Error => "plugin-says-error",
            },
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match &self.fault {
            PluginFault::Name => "give the plugin's plain name, such as `com.example.kms`".into(),
            PluginFault::NotInstalled(_) => "install it with `pratique plugin install`".into(),
            PluginFault::File { .. } => "put the program itself there, which its owner alone may change".into(),
            PluginFault::Inaccessible { .. } | PluginFault::NotRun(_) => {
                "see whether it is a program for this machine, and may be run by this user".into()
            }
            PluginFault::TimedOut { .. } => "see what it waits for, and try again".into(),
            PluginFault::OutputTooLarge
            | PluginFault::Crashed { .. }
            | PluginFault::Malformed { .. }
            | PluginFault::NotBase64 { .. }
            | PluginFault::EnvelopeType { .. }
            | PluginFault::EnvelopeForm(_)
            | PluginFault::Envelope(_)
            | PluginFault::Payload(_)
            | PluginFault::Expiry
            | PluginFault::Annotation(_)
            | PluginFault::Algorithm { .. }
            | PluginFault::Metadata(_) => "install another release of the plugin, or ask its publisher".into(),
            PluginFault::WithoutSigning => "name a plugin that signs".into(),
            PluginFault::Key { .. } => "see the key id".into(),
            PluginFault::KeySpec(_) => {
                "sign with an RSA key of 2048, 3072 or 4096 bits, or with one on P-256, P-384 or P-521".into()
            }
            PluginFault::Certificate(_) | PluginFault::Chain(_) | PluginFault::Signature { .. } => {
                "see which key and certificates the plugin has for this key id".into()
            }
            PluginFault::Contract(_) => "install a release of the plugin that speaks the contract 1.0".into(),
            PluginFault::Says { code, .. } => match code {
                SaidCode::Validation => "see the key id and the plugin configuration".into(),
                SaidCode::UnsupportedContractVersion => "install a release that speaks the contract 1.0".into(),
                SaidCode::AccessDenied => "see what the plugin needs to be let in, such as credentials".into(),
                SaidCode::Timeout | SaidCode::Throttled => "try again later".into(),
                SaidCode::Error => "see what the plugin says".into(),
            },
        })
    }
}
