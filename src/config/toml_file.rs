//! Files in TOML that are read whole or not at all, and where in one of them something stands.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::file::{self, FileError};
use crate::remedy::printable;

/// Why a file in TOML says nothing that can be used. What the file is for, and so the code, is known to whoever reads it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TomlFileError {
    /// The file, or one that it names, cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        source: FileError,
    },
    /// The file is not TOML, or says something that does not exist or cannot be.
    #[error("{}:{line}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl TomlFileError {
    /// What to do about it, where the operator can do something.
    pub(super) fn remedy(&self) -> Option<String> {
        match self {
            Self::Unreadable { source, .. } => source.remedy(),
            Self::Invalid { path, .. } => Some(format!("mend {}", path.display())),
        }
    }
}

/// The bytes of a file of at most `limit` bytes that is not behind a link.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, TomlFileError> {
    file::read(path, limit).map_err(|source| TomlFileError::Unreadable { path: path.to_owned(), source })
}

/// A file's text, to say where something stands in it.
pub(super) struct TomlText<'t> {
    pub(super) path: &'t Path,
    pub(super) bytes: &'t [u8],
}

impl TomlText<'_> {
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, TomlFileError> {
        toml::from_slice(self.bytes)
            .map_err(|error| self.invalid(error.span().unwrap_or_default().start, error.message()))
    }

    /// What is wrong at this offset.
    pub(super) fn invalid(&self, at: usize, message: &str) -> TomlFileError {
        let line = line_of(self.bytes, at);
        TomlFileError::Invalid { path: self.path.to_owned(), line, message: printable(message) }
    }
}

/// The line of an offset, counted from 1.
pub(super) fn line_of(text: &[u8], at: usize) -> usize {
    text.get(..at).unwrap_or_default().split(|byte| *byte == b'\n').count()
}
