//! What can be wrong with `config.toml`, and at which line and key.

use std::fmt;
use std::path::{Path, PathBuf};

use super::super::file::FileError;
use super::super::toml_file::line_of;
use crate::remedy::{Code, Remedy, printable};

/// Why a node's configuration could not be put into force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeConfigError {
    /// The file that was named is not there.
    #[error("there is no configuration at {}", path.display())]
    Missing {
        /// The path named.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        source: FileError,
    },
    /// The file is not TOML, or says something that does not exist.
    #[error("{}:{line}: {}{message}", path.display(), Key(key.as_deref()))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key with its section, such as `limits.total_timeout`, where one is to blame.
        key: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// The gate before a start without the one that it depends on.
    #[error("{}: `gates.run` needs `gates.diff`: no container could be started", path.display())]
    RunWithoutDiff {
        /// The file.
        path: PathBuf,
    },
}

/// The key in front of a message.
struct Key<'a>(Option<&'a str>);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |key| write!(f, "`{key}`: "))
    }
}

impl Remedy for NodeConfigError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code("config-missing"),
            Self::Unreadable { .. } => Code("config-unreadable"),
            Self::Invalid { .. } => Code("config-invalid"),
            Self::RunWithoutDiff { .. } => Code("config-contradiction"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("name a file that is there, or none to run with the defaults".into()),
            Self::Unreadable { source, .. } => source.remedy(),
            Self::RunWithoutDiff { .. } => Some("set both, or none".into()),
            Self::Invalid { line, key, .. } => {
                let what = key.as_ref().map_or_else(|| format!("line {line}"), |key| format!("`{key}`"));
                Some(format!("mend {what}, or remove it to use the default"))
            }
        }
    }
}

/// The TOML library's error, with the line and key it can tell.
pub(super) fn invalid(path: &Path, text: &[u8], error: toml::de::Error) -> NodeConfigError {
    let span = error.span().unwrap_or_default();
    let line = line_of(text, span.start);
    let message = error.message().to_owned();
    let mut key = key_of(error);
    // A key that does not exist is not counted among the keys that led there: it is the place of the error itself.
    if let Some(unknown) = text.get(span).filter(|_| message.starts_with("unknown field")) {
        let unknown = printable(&String::from_utf8_lossy(unknown));
        key = Some(key.map_or_else(|| unknown.clone(), |section| format!("{section}.{unknown}")));
    }
    NodeConfigError::Invalid { path: path.to_owned(), line, key, message }
}

/// The keys that lead to the value to blame, joined by dots.
fn key_of(mut error: toml::de::Error) -> Option<String> {
    let message = error.message().to_owned();
    // Without the text to show, the library shows the key instead, on a line after the message.
    error.set_input(None);
    let shown = error.to_string();
    let key = shown.strip_prefix(&message)?.trim().strip_prefix("in `")?.strip_suffix('`')?;
    Some(key.to_owned())
}
