//! Two directories on this machine, compared entry by entry.
//!
//! What makes them the same is decided in [`rootfs`](crate::rootfs); here both are read, side by side and in the order of
//! their names, so that no more than the names of a few directories are held at a time, however large the trees are.
//! Links are never followed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory;
use crate::remedy::{Code, Remedy};
use crate::rootfs::{Aspect, Difference, Entry, EntryKind, unpaired};

/// How many entries one directory may have in all. The largest public images have some 500,000 files.
const MAX_ENTRIES: usize = 10_000_000;
/// How many names are held at a time, of some 100 bytes each. The largest directories of package managers have some
/// 50,000 entries.
const MAX_NAMES: usize = 500_000;
/// The longest list of the names of attributes, and the longest value, in bytes (Linux, `XATTR_LIST_MAX` and
/// `XATTR_SIZE_MAX`).
const MAX_ATTRIBUTE: usize = 64 * 1024;
/// How many bytes of two files are compared at a time.
const CHUNK: usize = 64 * 1024;
/// The bits of a mode that are no type.
const PERMISSIONS: u32 = 0o7777;

/// Why two directories could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Something in them cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is more in them than is looked at.
    #[error("{} holds more than {limit} entries", path.display())]
    TooLarge {
        /// The directory.
        path: PathBuf,
        /// How many are looked at, or held at a time.
        limit: usize,
    },
    /// Nobody waits any more.
    #[error("the directories were not compared to their end")]
    Stopped,
}

impl Remedy for TreeError {
    fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code("tree-unreadable"),
            Self::TooLarge { .. } => Code("tree-too-large"),
            Self::Stopped => Code("tree-stopped"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "see whether the disk is failing, and try again".into(),
            Self::TooLarge { .. } => "remove the image with its snapshots and pull it again".into(),
            Self::Stopped => "try again".into(),
        })
    }
}

/// The first thing in which a directory differs from one that a layer was unpacked into; none where it holds the same.
/// Goes on for as long as `goes_on` says so.
pub fn difference(own: &Path, layers: &Path, goes_on: impl Fn() -> bool) -> Result<Option<Difference>, TreeError> {
    let mut comparison = Comparison { own, layers, entries: 0, goes_on };
    let root = PathBuf::new();
    if let Some(what) = comparison.entry(&root)?.0 {
        return Ok(Some(Difference { path: root, what }));
    }
    // The one to be looked into next is the last.
    let mut pending = vec![root];
    while let Some(below) = pending.pop() {
        match comparison.directory(&below, &mut pending)? {
            None => {}
            different => return Ok(different),
        }
    }
    Ok(None)
}

struct Comparison<'a, F> {
    own: &'a Path,
    layers: &'a Path,
    entries: usize,
    goes_on: F,
}

impl<F: Fn() -> bool> Comparison<'_, F> {
    /// The first difference in this directory, but for what lies in its own directories: those are noted.
    fn directory(&mut self, below: &Path, pending: &mut Vec<PathBuf>) -> Result<Option<Difference>, TreeError> {
        let at = |name: &OsString| below.join(name);
        let room = MAX_NAMES.saturating_sub(pending.len());
        let (own, layers) = (names(&self.own.join(below), room)?, names(&self.layers.join(below), room)?);
        if let Some((name, what)) = unpaired(&own, &layers) {
            return Ok(Some(Difference { path: at(&name), what }));
        }
        let first = pending.len();
        for name in &own {
            let path = at(name);
            match self.entry(&path)? {
                (Some(what), _) => return Ok(Some(Difference { path, what })),
                (None, EntryKind::Directory) => pending.push(path),
                (None, _) => {}
            }
        }
        if let Some(noted) = pending.get_mut(first..) {
            noted.reverse();
        }
        Ok(None)
    }

    /// In what the entries at this path differ, and what the directory's own is.
    fn entry(&mut self, below: &Path) -> Result<(Option<Aspect>, EntryKind), TreeError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(TreeError::TooLarge { path: self.own.to_owned(), limit: MAX_ENTRIES });
        }
        self.check_goes_on()?;
        let (own_path, layers_path) = (joined(self.own, below), joined(self.layers, below));
        let (own, layers) = (entry(&own_path)?, entry(&layers_path)?);
        let aspect = match own.difference(&layers) {
            None if matches!(own.kind, EntryKind::File(1..)) => self.content(&own_path, &layers_path)?,
            aspect => aspect,
        };
        Ok((aspect, own.kind))
    }

    /// Whether two files have the same bytes.
    fn content(&self, own: &Path, layers: &Path) -> Result<Option<Aspect>, TreeError> {
        let (mut own_file, mut layers_file) = (open(own)?, open(layers)?);
        let (mut own_chunk, mut layers_chunk) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        loop {
            self.check_goes_on()?;
            read(&mut own_file, &mut own_chunk, own)?;
            read(&mut layers_file, &mut layers_chunk, layers)?;
            if own_chunk != layers_chunk {
                return Ok(Some(Aspect::Content));
            }
            if own_chunk.is_empty() {
                return Ok(None);
            }
        }
    }

    fn check_goes_on(&self) -> Result<(), TreeError> {
        if (self.goes_on)() { Ok(()) } else { Err(TreeError::Stopped) }
    }
}

/// Joining an empty path would add a slash, and what follows that is where a link leads.
fn joined(directory: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { directory.to_owned() } else { directory.join(below) }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> TreeError {
    move |source| TreeError::Unreadable { path: path.to_owned(), source }
}

/// The names in a directory, in their order.
fn names(directory: &Path, room: usize) -> Result<Vec<OsString>, TreeError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable(directory))? {
        names.push(entry.map_err(unreadable(directory))?.file_name());
        if names.len() > room {
            return Err(TreeError::TooLarge { path: directory.to_owned(), limit: MAX_NAMES });
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn entry(path: &Path) -> Result<Entry, TreeError> {
    let metadata = fs::symlink_metadata(path).map_err(unreadable(path))?;
    // What cannot be seen cannot be compared.
    if !directory::sees_all_attributes() {
        return Err(unreadable(path)(io::Error::from(io::ErrorKind::PermissionDenied)));
    }
    Ok(Entry {
        kind: kind(path, &metadata)?,
        mode: metadata.mode() & PERMISSIONS,
        user: metadata.uid(),
        group: metadata.gid(),
        modified: metadata.mtime(),
        attributes: attributes(path).map_err(|errno| unreadable(path)(errno.into()))?,
    })
}

fn kind(path: &Path, metadata: &Metadata) -> Result<EntryKind, TreeError> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        EntryKind::Directory
    } else if kind.is_symlink() {
        EntryKind::Link(fs::read_link(path).map_err(unreadable(path))?.into_os_string())
    } else if kind.is_block_device() {
        EntryKind::BlockDevice(metadata.rdev())
    } else if kind.is_char_device() {
        EntryKind::CharacterDevice(metadata.rdev())
    } else if kind.is_fifo() {
        EntryKind::Pipe
    } else if kind.is_socket() {
        EntryKind::Socket
    } else {
        EntryKind::File(metadata.len())
    })
}

pub(super) fn attributes(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let mut list = Vec::with_capacity(MAX_ATTRIBUTE);
    match rustix::fs::llistxattr(path, spare_capacity(&mut list)) {
        Ok(_) => {}
        // The file system has none.
        Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(errno) => return Err(errno),
    }
    let mut attributes = BTreeMap::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(MAX_ATTRIBUTE);
        rustix::fs::lgetxattr(path, OsString::from_vec(name.to_owned()).as_os_str(), spare_capacity(&mut value))?;
        value.shrink_to_fit();
        attributes.insert(name.to_owned(), value);
    }
    Ok(attributes)
}

/// Opens what is a file, and neither follows a link nor waits for anybody where it is one no more.
fn open(path: &Path) -> Result<File, TreeError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path.as_os_str().as_bytes(), flags, Mode::empty());
    opened.map(File::from).map_err(|errno| unreadable(path)(errno.into()))
}

fn read(file: &mut File, chunk: &mut Vec<u8>, path: &Path) -> Result<(), TreeError> {
    chunk.clear();
    file.take(CHUNK as u64).read_to_end(chunk).map_err(unreadable(path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    struct Scene(tempfile::TempDir);

    /// Two directories with the same in them.
    impl Scene {
        fn new() -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            for side in ["own", "layers"] {
                let root = scene.0.path().join(side);
                fs::create_dir_all(root.join("etc/deep")).unwrap();
                fs::create_dir(root.join("etc/empty")).unwrap();
                // Longer than a chunk.
                write(&root.join("etc/deep/big"), &vec![7; CHUNK + 10]);
                write(&root.join("etc/file"), b"content");
                symlink("/nowhere", root.join("etc/link")).unwrap();
            }
            scene
        }

        fn own(&self, path: &str) -> PathBuf {
            self.0.path().join("own").join(path)
        }

        fn difference(&self) -> Option<(String, Aspect)> {
            let (own, layers) = (self.0.path().join("own"), self.0.path().join("layers"));
            let difference = difference(&own, &layers, || true).unwrap()?;
            Some((difference.path.to_str().unwrap().to_owned(), difference.what))
        }
    }

    /// Always at the same time.
    fn write(path: &Path, content: &[u8]) {
        fs::write(path, content).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn directories_that_were_made_alike_are_the_same() {
        assert_eq!(Scene::new().difference(), None);
    }

    /// Where and in what something differs after this.
    type Change = (&'static str, Aspect, fn(&Scene));

    #[test]
    fn each_change_is_found_where_it_is() {
        let changes: [Change; 9] = [
            ("etc/file", Aspect::Content, |scene| write(&scene.own("etc/file"), b"CONTENT")),
            ("etc/file", Aspect::Content, |scene| write(&scene.own("etc/file"), b"more content")),
            ("etc/file", Aspect::Modified, |scene| fs::write(scene.own("etc/file"), b"content").unwrap()),
            ("etc/deep/big", Aspect::Content, |scene| {
                let mut content = vec![7; CHUNK + 10];
                *content.last_mut().unwrap() = 8;
                write(&scene.own("etc/deep/big"), &content);
            }),
            ("etc/empty/new", Aspect::Added, |scene| write(&scene.own("etc/empty/new"), b"")),
            ("etc/file", Aspect::Missing, |scene| fs::remove_file(scene.own("etc/file")).unwrap()),
            ("etc/link", Aspect::Target, |scene| {
                fs::remove_file(scene.own("etc/link")).unwrap();
                symlink("/etc", scene.own("etc/link")).unwrap();
            }),
            ("etc/empty", Aspect::Kind, |scene| {
                fs::remove_dir(scene.own("etc/empty")).unwrap();
                symlink("deep", scene.own("etc/empty")).unwrap();
            }),
            ("", Aspect::Mode, |scene| fs::set_permissions(scene.own(""), fs::Permissions::from_mode(0o700)).unwrap()),
        ];
        for (path, aspect, change) in changes {
            let scene = Scene::new();
            change(&scene);
            assert_eq!(scene.difference(), Some((path.to_owned(), aspect)));
        }
    }

    #[test]
    fn an_attribute_that_the_layer_has_not_is_found() {
        let scene = Scene::new();
        let set = rustix::fs::setxattr(scene.own("etc/file"), "user.x", b"y", rustix::fs::XattrFlags::empty());
        if set == Err(Errno::OPNOTSUPP) {
            return; // there is none on this file system
        }
        set.unwrap();
        assert_eq!(scene.difference(), Some(("etc/file".to_owned(), Aspect::Attribute(b"user.x".to_vec()))));
    }

    #[test]
    fn who_does_not_wait_any_more_is_not_answered() {
        let scene = Scene::new();
        let own = scene.own("");
        let error = difference(&own, &own, || false).unwrap_err();
        assert_eq!(error.code().as_str(), "tree-stopped");
        let error = difference(&own, &scene.own("none"), || true).unwrap_err();
        assert_eq!(error.code().as_str(), "tree-unreadable");
    }

    #[test]
    fn what_is_too_full_is_not_held() {
        let scene = Scene::new();
        assert_eq!(names(&scene.own("etc"), 3).unwrap_err().code().as_str(), "tree-too-large");
        assert_eq!(names(&scene.own("etc"), 4).unwrap(), ["deep", "empty", "file", "link"]);
    }
}
