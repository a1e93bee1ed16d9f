//! Files that appear whole or not at all, and directories in which no link is followed.
//!
//! A directory may come from a stranger, and a link in it would have this machine write or delete somewhere else. So a
//! name is looked up in a directory that is open, and a new file is made under a name that nobody can have foreseen.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    Access, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, accessat, flock, fsync, linkat,
    mkdirat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The new one takes its place.
    Replace,
    /// It stays, and nothing is written.
    Keep,
}

/// Puts these bytes at `path`, readable for everybody whom the user's mask lets: for a file that is handed on.
pub fn write_whole(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    put(path, bytes, 0o666, existing)
}

/// Puts these bytes at `path`, in a file of this mode. Whoever reads meanwhile sees the old file or the new one, and so
/// does whoever reads after a crash.
pub fn put(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let new = Directory::open(directory)?.create(mode)?;
    new.file().write_all(bytes)?;
    new.file().sync_all()?;
    new.settle(name, existing)?.sync()
}

/// Who else may have a lock on the same directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Those that share it.
    Shared,
    /// Nobody.
    Exclusive,
}

/// A directory that is open.
#[derive(Debug)]
pub struct Directory(OwnedFd);

impl Directory {
    /// The directory at this path. Links are followed: whoever named it chose it.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A bare name lies in the directory that is the current one.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(Self(openat(CWD, path, TO_ENTER, Mode::empty())?))
    }

    /// The directory of this name within it. A link is an error that [`is_link`] knows.
    pub fn enter(&self, name: &str) -> io::Result<Self> {
        match openat(&self.0, name, TO_ENTER | OFlags::NOFOLLOW, Mode::empty()) {
            // What Linux says of a link, too, where only a directory will do.
            Err(Errno::NOTDIR) if self.is_linked(name) => Err(Errno::LOOP.into()),
            entered => Ok(Self(entered?)),
        }
    }

    fn is_linked(&self, name: &str) -> bool {
        let found = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode).is_symlink())
    }

    /// The same, which is made where there is none.
    pub fn make(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => self.enter(name),
            Err(error) => Err(error.into()),
        }
    }

    /// A regular file, to be read. A link is an error that [`is_link`] knows.
    pub fn file(&self, name: &str) -> io::Result<File> {
        // A pipe would wait for a writer when opened.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
    }

    /// The size of a regular file; none where there is no such file, but perhaps a link.
    pub fn size_of(&self, name: &str) -> io::Result<Option<u64>> {
        match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode).is_file() => Ok(u64::try_from(found.st_size).ok()),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes away what has this name, and not what it leads to.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// A new file in it, which has no name of its own yet.
    pub fn create(self, mode: u32) -> io::Result<NewFile> {
        let mut random = [0; TEMPORARY_BYTES];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let temporary = format!(".{}.part", hex::encode(random));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, &temporary, flags, Mode::from_raw_mode(mode))?);
        Ok(NewFile { directory: Some(self), temporary, file })
    }

    /// Tries to lock it against those that lock it, too; whether it did. The lock goes with the value. One that this value has
    /// already is changed, and lost where that cannot be.
    pub fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        let operation = match lock {
            Lock::Shared => FlockOperation::NonBlockingLockShared,
            Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        match flock(&self.0, operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The names of what is in it, at most so many. Those that are no text are left out.
    pub fn names(&self, most: usize) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)?.take(most) {
            let name = entry?.file_name().to_str().map(str::to_owned);
            names.extend(name.ok().filter(|name| name != "." && name != ".."));
        }
        Ok(names)
    }

    /// An error unless files can be made in it and taken away.
    pub fn check_writable(&self) -> io::Result<()> {
        Ok(accessat(&self.0, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
    }

    /// Has what was done in it outlast a crash.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.0)?)
    }
}

/// Whether a new file may have this name before it has its own.
pub fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    random.is_some_and(|random| random.len() == 2 * TEMPORARY_BYTES && random.bytes().all(is_digit))
}

/// How many random bytes make the name of a file that has none yet: too many to be foreseen.
const TEMPORARY_BYTES: usize = 16;

/// Whether it failed because a link stood where none is followed.
pub fn is_link(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// A file that is being written. It goes with its value unless it gets its name.
#[derive(Debug)]
pub struct NewFile {
    /// None when the file has its name.
    directory: Option<Directory>,
    temporary: String,
    file: File,
}

impl NewFile {
    /// The file, to be written to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name. A link of that name is replaced, and not followed.
    pub fn settle(mut self, name: &OsStr, existing: Existing) -> io::Result<Directory> {
        let directory = self.directory.take().ok_or(io::ErrorKind::NotFound)?;
        let settled = match existing {
            Existing::Replace => renameat(&directory.0, &self.temporary, &directory.0, name),
            Existing::Keep => move_beside(&directory.0, &self.temporary, name),
        };
        match settled {
            Ok(()) => Ok(directory),
            Err(error) => {
                self.directory = Some(directory);
                Err(error.into())
            }
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            // The first error is the one to tell; a file left behind is only litter.
            let _ = directory.remove(&self.temporary);
        }
    }
}

/// Gives a file its name unless the name is taken. Some file systems cannot do that in one step (NFS); there the file has
/// two names for a moment.
fn move_beside(directory: &OwnedFd, from: &str, to: &OsStr) -> Result<(), Errno> {
    match renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => linkat(directory, from, directory, to, AtFlags::empty())
            .and_then(|()| unlinkat(directory, from, AtFlags::empty())),
        moved => moved,
    }
}

const TO_ENTER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_file_that_is_there_stays_where_it_is_to_be_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.sig");
        put(&path, b"one", 0o644, Existing::Keep).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let taken = put(&path, b"two", 0o644, Existing::Keep).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        put(&path, b"two", 0o644, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no litter");
    }

    #[test]
    fn no_link_is_followed_within_a_directory() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir(path("real")).unwrap();
        fs::write(path("real/file"), b"12345").unwrap();
        symlink("real", path("linked")).unwrap();
        symlink("file", path("real/link")).unwrap();
        let directory = Directory::open(place.path()).unwrap();
        assert!(is_link(&directory.enter("linked").unwrap_err()));
        assert!(is_link(&directory.make("linked").unwrap_err()));
        fs::write(path("plain"), b"").unwrap();
        assert!(!is_link(&directory.enter("plain").unwrap_err()), "in the way, and no link");
        let real = directory.make("real").unwrap();
        assert!(is_link(&real.file("link").unwrap_err()));
        assert_eq!((real.size_of("file").unwrap(), real.size_of("link").unwrap()), (Some(5), None));
        put(&path("real/link"), b"new", 0o644, Existing::Replace).unwrap();
        assert_eq!((fs::read(path("real/file")).unwrap(), real.size_of("link").unwrap()), (b"12345".to_vec(), Some(3)));
    }

    #[test]
    fn a_file_without_a_name_of_its_own_goes_with_its_value() {
        let place = tempfile::tempdir().unwrap();
        let count = || fs::read_dir(place.path()).unwrap().count();
        let new = Directory::open(place.path()).unwrap().create(0o600).unwrap();
        assert_eq!(count(), 1);
        drop(new);
        assert_eq!(count(), 0);
    }
}
