//! Why a plugin gave no answer that can be used. Each error names the plugin.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::process::MAX_OUTPUT;
use crate::oci::InvalidJson;
use crate::remedy::{Code, Remedy};

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
            PluginFault::Malformed { .. } => "plugin-answer-malformed",
            PluginFault::Metadata(_) => "plugin-metadata-invalid",
            PluginFault::Contract(_) => "plugin-contract-version",
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
            | PluginFault::Metadata(_) => "install another release of the plugin, or ask its publisher".into(),
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
