//! What lies at a path, and how it becomes something else in one step.
//!
//! Whoever looks meanwhile sees the old or the new: containerd reads its configuration when it starts and its verifier
//! directory at every pull, and must find nothing half written in either.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::InstallError;

/// The largest file that is read, in bytes. A verifier has about 5 MiB, with everything for debugging in it 200 MiB.
const MAX_FILE_SIZE: u64 = 1024 * 1024 * 1024;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    Directory,
    Link(PathBuf),
    File {
        bytes: Vec<u8>,
        mode: u32,
    },
    /// A device, a socket or a pipe.
    Other,
}

impl State {
    /// What lies there now.
    pub(super) fn read(path: &Path) -> Result<Self, InstallError> {
        let unreadable = |source| InstallError::Read { path: path.to_owned(), source };
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::Absent);
            }
            Err(error) => return Err(unreadable(error)),
        };
        let kind = metadata.file_type();
        Ok(if kind.is_dir() {
            Self::Directory
        } else if kind.is_symlink() {
            Self::Link(fs::read_link(path).map_err(unreadable)?)
        } else if kind.is_file() {
            let mut bytes = Vec::new();
            let file = File::open(path).map_err(unreadable)?;
            file.take(MAX_FILE_SIZE).read_to_end(&mut bytes).map_err(unreadable)?;
            Self::File { bytes, mode: metadata.permissions().mode() & 0o7777 }
        } else {
            Self::Other
        })
    }

    /// Whether it is a file that has this path in it.
    pub(super) fn names(&self, path: &Path) -> bool {
        let Self::File { bytes, .. } = self else { return false };
        path.to_str().is_some_and(|path| String::from_utf8_lossy(bytes).contains(path))
    }

    pub(super) fn text(text: String) -> Self {
        Self::File { bytes: text.into_bytes(), mode: 0o644 }
    }

    /// Makes the path hold this, whatever of ours it held before. A directory that has become somebody else's too stays.
    pub(super) fn put(&self, path: &Path) -> Result<(), InstallError> {
        let put = match self {
            Self::Absent => remove(path),
            Self::Directory => DirBuilder::new().mode(0o755).create(path),
            Self::Link(target) => through_temporary(path, |temporary| symlink(target, temporary)),
            Self::File { bytes, mode } => put_file(path, bytes, *mode),
            Self::Other => Err(io::ErrorKind::Unsupported.into()),
        };
        put.map_err(|source| InstallError::Write { path: path.to_owned(), source })
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed,
        },
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        removed => removed,
    }
}

fn put_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // What is replaced keeps its owner.
    let owner = fs::symlink_metadata(path).ok().map(|metadata| (metadata.uid(), metadata.gid()));
    through_temporary(path, |temporary| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        file.write_all(bytes)?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    })
}

/// Removes what a killed call may have left of putting something there.
pub(super) fn clear(path: &Path) -> Result<(), InstallError> {
    let Some((temporary, _)) = temporary(path) else { return Ok(()) };
    remove(&temporary).map_err(|source| InstallError::Write { path: temporary, source })
}

fn through_temporary(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let Some((temporary, directory)) = temporary(path) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    remove(&temporary)?; // a killed call's
    let put = make(&temporary).and_then(|()| fs::rename(&temporary, path));
    if put.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    put?;
    File::open(directory)?.sync_all()
}

/// Where a new file is made, always the same for a path, and the directory that it is for.
fn temporary(path: &Path) -> Option<(PathBuf, &Path)> {
    let (directory, name) = (path.parent()?, path.file_name()?);
    Some((workshop(path, directory).join(format!(".{}.pratique", name.to_string_lossy())), directory))
}

/// Where a new file is made. containerd runs everything that it finds in its verifier directory, so what is to be there
/// is made beside that directory.
fn workshop<'a>(path: &Path, directory: &'a Path) -> &'a Path {
    let is_configuration = path.extension().is_some();
    if is_configuration { directory } else { directory.parent().unwrap_or(directory) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        let path = sub.join("it.toml");
        for (path, state) in [
            (&sub, State::Directory),
            (&path, State::text("one".into())),
            (&path, State::File { bytes: b"two".into(), mode: 0o755 }),
            (&path, State::Link("/nowhere".into())),
            (&path, State::Absent),
            (&sub, State::Absent),
        ] {
            state.put(path).unwrap();
            assert_eq!(State::read(path).unwrap(), state);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_with_something_in_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        State::Directory.put(&sub).unwrap();
        fs::write(sub.join("theirs"), "").unwrap();
        State::Absent.put(&sub).unwrap();
        assert_eq!(State::read(&sub).unwrap(), State::Directory);
    }

    #[test]
    fn a_file_that_cannot_be_put_leaves_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub");
        State::Directory.put(&path).unwrap();
        assert!(State::text("x".into()).put(&path).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
