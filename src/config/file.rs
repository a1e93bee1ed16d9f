//! Reading and writing single configuration files.
//!
//! The files of a notation directory decide whom to trust, so a link is not followed: whoever may write the link's
//! target could change the policy without touching the directory that is guarded. What is written appears whole or not
//! at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::files::{Existing, put};
use crate::oci::{self, InvalidJson};
use crate::remedy::{Code, Remedy};

/// The largest `signingkeys.json` or `config.json`, in bytes: as large as a trust policy may be, and thousands of keys.
const MAX_JSON_SIZE: u64 = 1024 * 1024;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is none.
    #[error("there is no such file")]
    Absent,
    /// A symbolic link, which is not followed.
    #[error("it is a symbolic link")]
    SymbolicLink,
    /// A directory, a socket, a device or a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// More bytes than a file of its kind has.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// Another file took its place while it was being opened.
    #[error("it was replaced while it was being opened")]
    Replaced,
    /// What the operating system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FileError {
    fn of(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Absent } else { Self::Io(error) }
    }

    /// What to do about it, where the operator can do something.
    pub(super) fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Absent => return None,
            Self::SymbolicLink => "put the file itself in the place of the link".into(),
            Self::NotAFile => "put a regular file in its place".into(),
            Self::TooLarge(_) => "make sure that it is the right file".into(),
            Self::Replaced => "try again".into(),
            Self::Io(_) => "make it readable for the user that pratique runs as".into(),
        })
    }
}

/// The bytes of a regular file of at most `limit` bytes. A link is refused.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let expected = fs::symlink_metadata(path).map_err(FileError::of)?;
    if expected.is_symlink() {
        return Err(FileError::SymbolicLink);
    }
    // A pipe would wait for a writer when opened.
    if !expected.is_file() {
        return Err(FileError::NotAFile);
    }
    let file = File::open(path).map_err(FileError::of)?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (expected.dev(), expected.ino()) {
        return Err(FileError::Replaced);
    }
    read_bounded(file, limit)
}

/// The same through any links: for the files of the node itself, which decide nothing about whom to trust.
pub(super) fn read_linked(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    if !fs::metadata(path).map_err(FileError::of)?.is_file() {
        return Err(FileError::NotAFile);
    }
    read_bounded(File::open(path).map_err(FileError::of)?, limit)
}

fn read_bounded(file: File, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(FileError::TooLarge(limit)) } else { Ok(bytes) }
}

/// Why one of notation's own files says nothing that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotationFileError {
    /// The file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        source: FileError,
    },
    /// The file is not the JSON document it should be.
    #[error("{} is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: InvalidJson,
    },
}

impl Remedy for NotationFileError {
    fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code("notation-file-unreadable"),
            Self::Malformed { .. } => Code("notation-file-malformed"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Unreadable { source, .. } => source.remedy(),
            Self::Malformed { .. } => Some("mend the JSON, or remove the file to begin anew".into()),
        }
    }
}

/// The document in a JSON file, or nothing where there is no file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, NotationFileError> {
    let bytes = match read(path, MAX_JSON_SIZE) {
        Ok(bytes) => bytes,
        Err(FileError::Absent) => return Ok(None),
        Err(source) => return Err(NotationFileError::Unreadable { path: path.to_owned(), source }),
    };
    oci::parse_json(&bytes).map(Some).map_err(|source| NotationFileError::Malformed { path: path.to_owned(), source })
}

/// Keeps other writers of this directory waiting until the value is dropped. The directory is made, for its owner
/// alone, where there is none.
pub fn lock_directory(directory: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let handle = File::open(directory)?;
    handle.lock()?;
    Ok(handle)
}

/// Puts these bytes at `path`, readable by the owner alone.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, 0o600, Existing::Replace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_regular_file_is_read_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), b"12345").unwrap();
        symlink(path("file"), path("link")).unwrap();
        assert_eq!(read(&path("file"), 5).unwrap(), b"12345");
        assert!(matches!(read(&path("file"), 4), Err(FileError::TooLarge(4))));
        assert!(matches!(read(&path("link"), 5), Err(FileError::SymbolicLink)));
        assert_eq!(read_linked(&path("link"), 5).unwrap(), b"12345");
        assert!(matches!(read(directory.path(), 5), Err(FileError::NotAFile)));
        assert!(matches!(read(&path("none"), 5), Err(FileError::Absent)));
        assert!(matches!(read(&path("file/none"), 5), Err(FileError::Io(_))));
    }

    #[test]
    fn a_replaced_file_is_its_owners_alone_and_leaves_no_litter() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(replace(&directory.path().join("none/file.json"), b"one").is_err());
    }
}
