//! An archive written anew, with another `index.json` and with more content. Everything else in it stays byte for byte.
//!
//! A whole new file is written beside the old one and takes its place at the end, so a reader finds the old archive or the new one,
//! and a failure leaves the old one. Commands that write the same archive take turns by a lock on the file. Tools that know no
//! locks are noticed by what they change, up to the moment before the new file takes its place.
//!
//! Where the archive's name is a link, the file that it leads to is written anew, and the link stays: reading follows it, too.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tar::{EntryType, Header};
use tokio::time::{Instant, sleep};

use super::members::{BLOCK, Member, Members, padding};
use super::tape::Plain;
use super::{Archive, ArchiveFault, beside};
use crate::files::{Directory, Existing};

/// How long another command's writing is waited for: copying the largest images, of some 10 GB, takes about half as long.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Between two looks whether the other command is done.
const PAUSE: Duration = Duration::from_millis(50);
const INDEX: &str = "index.json";

/// An archive that is to be written anew, and that no other command of ours writes meanwhile.
#[derive(Debug)]
pub struct Rewriting {
    /// Of the file itself: behind no link.
    path: PathBuf,
    archive: Archive,
    before: State,
}

/// Which file it is, and when it was changed last.
#[derive(Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Also changes when somebody sets the time above back, or gives the file to others.
    touched: (i64, i64),
}

/// An error where the archive at this path could not be written anew, as far as that is known before.
pub async fn check_rewritable(path: &Path) -> Result<(), ArchiveFault> {
    let path = path.to_owned();
    beside(move || open(&fs::canonicalize(path)?).map(drop)).await
}

impl Rewriting {
    /// Begins, when nobody else is at it any more.
    pub async fn begin(path: &Path) -> Result<Self, ArchiveFault> {
        Self::begin_within(MAX_WAIT, path).await
    }

    async fn begin_within(patience: Duration, path: &Path) -> Result<Self, ArchiveFault> {
        let until = Instant::now() + patience;
        loop {
            let path = path.to_owned();
            match beside(move || Self::begin_now(&path)).await? {
                Some(begun) => return Ok(begun),
                None if Instant::now() >= until => return Err(ArchiveFault::Busy),
                None => sleep(PAUSE).await,
            }
        }
    }

    /// None where somebody else is at it, or was just now: then another file lies there.
    fn begin_now(path: &Path) -> Result<Option<Self>, ArchiveFault> {
        let path = fs::canonicalize(path)?;
        let file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(ArchiveFault::Unwritable(error)),
        }
        let before = State::of(&file.metadata()?);
        if State::of(&fs::symlink_metadata(&path)?) != before {
            return Ok(None);
        }
        let archive = Archive::of(file)?;
        if archive.is_packed() { Err(ArchiveFault::Packed) } else { Ok(Some(Self { path, archive, before })) }
    }

    /// The archive as it is.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Writes the archive with these bytes as its `index.json`, and with these members after all others: names and contents, none
    /// of which it has.
    pub async fn finish(self, index: Vec<u8>, members: Vec<(String, Vec<u8>)>) -> Result<(), ArchiveFault> {
        beside(move || self.finish_now(&index, &members)).await
    }

    fn finish_now(self, index: &[u8], members: &[(String, Vec<u8>)]) -> Result<(), ArchiveFault> {
        let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(ArchiveFault::NotAFile);
        };
        let begun = Directory::open(directory).and_then(|directory| directory.create(0o600));
        let new = begun.map_err(ArchiveFault::Unwritable)?;
        let made = self.make(new.file(), index, members);
        // What was made of a file that changed meanwhile says nothing.
        self.check_unchanged()?;
        made?;
        let settled = new.settle(name, Existing::Replace).and_then(|directory| directory.sync());
        settled.map_err(ArchiveFault::Unwritable)
    }

    fn make(&self, new: &File, index: &[u8], members: &[(String, Vec<u8>)]) -> Result<(), ArchiveFault> {
        self.write(new, index, members)?;
        self.give_away(new).and_then(|()| new.sync_all()).map_err(ArchiveFault::Unwritable)?;
        // What was added must not make it one that is not read any more.
        Members::read(&mut Plain::new(new)?).map(drop)
    }

    fn write(&self, to: &File, index: &[u8], members: &[(String, Vec<u8>)]) -> Result<(), ArchiveFault> {
        let Archive { file, members: own, .. } = &self.archive;
        let Some(Member::Content { start, offset, size }) = own.of(INDEX) else {
            return Err(ArchiveFault::Malformed("it has no index.json"));
        };
        let model = Model::at(file, *offset)?;
        copy(file, 0, *start, to)?;
        model.write(INDEX, index, to)?;
        let behind = offset.saturating_add(*size).saturating_add(padding(*size));
        copy(file, behind, own.end(), to)?;
        for (name, content) in members {
            model.write(name, content, to)?;
        }
        copy(file, own.end(), self.before.size, to)
    }

    /// Makes the new file that of the old one's owner and group, with the same permissions. A group that it cannot be given to keeps
    /// none: they would be those of another group. Nobody gets what runs as whoever signs.
    fn give_away(&self, new: &File) -> io::Result<()> {
        let old = self.archive.file.metadata()?;
        let is_given =
            fchown(new, Some(old.uid()), Some(old.gid())).is_ok() || fchown(new, None, Some(old.gid())).is_ok();
        let mode = old.mode() & 0o777;
        new.set_permissions(Permissions::from_mode(if is_given { mode } else { mode & !0o070 }))
    }

    /// An error where something else lies there by now, or the file is not what was copied.
    fn check_unchanged(&self) -> Result<(), ArchiveFault> {
        let lies_there = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ArchiveFault::Changed),
            found => State::of(&found?),
        };
        if lies_there == self.before && State::of(&self.archive.file.metadata()?) == self.before {
            return Ok(());
        }
        Err(ArchiveFault::Changed)
    }
}

/// The file, to be read and locked, where another one can take its place.
fn open(path: &Path) -> Result<File, ArchiveFault> {
    // A pipe would wait for a reader when opened.
    if !fs::metadata(path)?.is_file() {
        return Err(ArchiveFault::NotAFile);
    }
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(ArchiveFault::Unwritable)?;
    let directory = Directory::open(path.parent().unwrap_or(path));
    directory.and_then(|directory| directory.check_writable()).map_err(ArchiveFault::Unwritable)?;
    Ok(file)
}

impl State {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            touched: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// Copies these bytes of a file. The kernel does it, where the file system lets it.
fn copy(from: &Arc<File>, start: u64, end: u64, mut to: &File) -> Result<(), ArchiveFault> {
    let length = end.checked_sub(start).ok_or(ArchiveFault::Truncated)?;
    let mut from = from.as_ref();
    from.seek(SeekFrom::Start(start))?;
    let copied = io::copy(&mut from.take(length), &mut to).map_err(ArchiveFault::Unwritable)?;
    if copied == length { Ok(()) } else { Err(ArchiveFault::Changed) }
}

/// How the archive's `index.json` is headed, as a model for what is written: the same owner, permissions and time, and names
/// that begin as its own does.
struct Model {
    head: Header,
    folder: &'static str,
}

impl Model {
    fn at(file: &File, content: u64) -> Result<Self, ArchiveFault> {
        let mut head = Header::new_old();
        file.read_exact_at(head.as_mut_bytes(), content.saturating_sub(BLOCK))?;
        let folder = if head.path_bytes().starts_with(b"./") { "./" } else { "" };
        Ok(Self { head, folder })
    }

    fn write(&self, name: &str, content: &[u8], mut to: &File) -> Result<(), ArchiveFault> {
        let size = content.len() as u64;
        let head = self.head(&format!("{}{name}", self.folder), size)?;
        let filling = vec![0; usize::try_from(padding(size)).unwrap_or_default()];
        let parts = [head.as_bytes().as_slice(), content, &filling];
        parts.into_iter().try_for_each(|part| to.write_all(part)).map_err(ArchiveFault::Unwritable)
    }

    fn head(&self, name: &str, size: u64) -> Result<Header, ArchiveFault> {
        let mut head = self.head.clone();
        let place = &mut head.as_old_mut().name;
        if name.len() > place.len() {
            return Err(ArchiveFault::Unwritable(io::ErrorKind::InvalidFilename.into()));
        }
        place.fill(0);
        place.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        if let Some(ustar) = head.as_ustar_mut() {
            ustar.prefix.fill(0);
        }
        head.set_entry_type(EntryType::Regular);
        head.set_size(size);
        head.set_cksum();
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FILE, archive, head};
    use super::*;
    use crate::remedy::Remedy as _;
    use std::os::unix::fs::symlink;

    const NOT_LONG: Duration = Duration::from_millis(1);

    /// A folder with an archive in it, which has more before and behind its index and more after its end than a layout needs.
    struct Scene {
        place: tempfile::TempDir,
        path: PathBuf,
    }

    fn members(index: &'static [u8]) -> [(EntryType, &'static str, &'static [u8]); 6] {
        [
            (EntryType::Directory, "./blobs/", b""),
            (FILE, "./repositories", b"{}"),
            (EntryType::XHeader, "x", b"11 mtime=7\n"),
            (FILE, "./index.json", index),
            (EntryType::Symlink, "./link", b""),
            (FILE, "./manifest.json", b"[]"),
        ]
    }

    impl Scene {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("app.tar");
            fs::write(&path, Self::bytes(b"old", &[])).unwrap();
            Self { place, path }
        }

        fn bytes(index: &'static [u8], added: &[(EntryType, &'static str, &'static [u8])]) -> Vec<u8> {
            let mut bytes = archive(&[&members(index), added].concat());
            bytes.extend([0; 512 * 5]);
            bytes
        }

        async fn begin(&self) -> Result<Rewriting, ArchiveFault> {
            Rewriting::begin_within(NOT_LONG, &self.path).await
        }

        /// What has become of it: the bytes, and the code of a failure. Nothing else lies there.
        async fn end(&self, begun: Rewriting) -> (Vec<u8>, Option<&'static str>) {
            let added = vec![("blobs/sha256/x".to_owned(), b"content".to_vec())];
            let ended = begun.finish(b"another index".to_vec(), added).await;
            assert_eq!(fs::read_dir(self.place.path()).unwrap().count(), 1, "no litter");
            (fs::read(&self.path).unwrap(), ended.err().map(|error| error.code().as_str()))
        }
    }

    #[tokio::test]
    async fn the_index_is_replaced_in_its_place_and_all_else_stays_byte_for_byte() {
        let scene = Scene::new();
        let begun = scene.begin().await.unwrap();
        let (bytes, code) = scene.end(begun).await;
        assert_eq!(code, None);
        let mut expected = members(b"another index").to_vec();
        // The extended head was about the old index.
        expected.remove(2);
        expected.push((FILE, "./blobs/sha256/x", b"content"));
        let mut expected = archive(&expected);
        expected.extend([0; 512 * 5]);
        assert_eq!(bytes, expected);
    }

    #[tokio::test]
    async fn it_stays_with_its_owner_and_keeps_its_permissions_and_a_link_to_it_stays() {
        let scene = Scene::new();
        fs::set_permissions(&scene.path, Permissions::from_mode(0o640)).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link.tar");
        symlink(&scene.path, &link).unwrap();
        let before = fs::metadata(&scene.path).unwrap();
        let begun = Rewriting::begin_within(NOT_LONG, &link).await.unwrap();
        assert_eq!(scene.end(begun).await.1, None);
        let after = fs::metadata(&link).unwrap();
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && after.ino() != before.ino());
    }

    #[tokio::test]
    async fn what_somebody_else_made_does_not_run_as_whoever_signs() {
        let scene = Scene::new();
        fs::set_permissions(&scene.path, Permissions::from_mode(0o6751)).unwrap();
        let begun = scene.begin().await.unwrap();
        assert_eq!(scene.end(begun).await.1, None);
        assert_eq!(fs::metadata(&scene.path).unwrap().mode() & 0o7777, 0o751);
    }

    #[tokio::test]
    async fn what_somebody_changed_meanwhile_is_left_as_it_is() {
        type Change = fn(&Path);
        let changes: [(Change, Option<&str>); 6] = [
            (|_| (), None),
            (|path| fs::write(path, Scene::bytes(b"theirs", &[])).unwrap(), Some("archive-changed")),
            (|path| fs::write(path, b"cut").unwrap(), Some("archive-changed")),
            (|path| fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap(), Some("archive-changed")),
            (
                |path| {
                    let modified = fs::metadata(path).unwrap().modified().unwrap();
                    fs::write(path, Scene::bytes(b"new", &[])).unwrap();
                    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
                },
                Some("archive-changed"),
            ),
            (
                |path| {
                    fs::copy(path, path.with_extension("copy")).unwrap();
                    fs::rename(path.with_extension("copy"), path).unwrap();
                },
                Some("archive-changed"),
            ),
        ];
        for (number, (change, expected)) in changes.into_iter().enumerate() {
            let scene = Scene::new();
            let begun = scene.begin().await.unwrap();
            change(&scene.path);
            let theirs = fs::read(&scene.path).unwrap();
            let (bytes, code) = scene.end(begun).await;
            assert_eq!((code, bytes == theirs), (expected, expected.is_some()), "{number}");
        }
    }

    #[tokio::test]
    async fn one_writes_at_a_time_and_the_next_finds_what_the_first_has_written() {
        let scene = Scene::new();
        let first = scene.begin().await.unwrap();
        let busy = scene.begin().await.unwrap_err();
        assert_eq!(busy.code().as_str(), "archive-busy");
        let path = scene.path.clone();
        let second = tokio::spawn(async move { Rewriting::begin_within(MAX_WAIT, &path).await });
        assert_eq!(scene.end(first).await.1, None);
        let second = second.await.unwrap().unwrap();
        assert_eq!(second.archive().bytes(INDEX).await.unwrap().unwrap(), b"another index");
    }

    #[tokio::test]
    async fn what_is_not_finished_leaves_nothing() {
        let scene = Scene::new();
        drop(scene.begin().await.unwrap());
        assert_eq!(fs::read_dir(scene.place.path()).unwrap().count(), 1);
        // An extended head that is before no member would have become one of what is added.
        let dangling = Scene::bytes(b"old", &[(EntryType::GNULongName, "l", b"blobs/sha256/y\0")]);
        fs::write(&scene.path, &dangling).unwrap();
        assert_eq!(scene.begin().await.unwrap_err().code().as_str(), "archive-malformed");
        let without = archive(&[(FILE, "oci-layout", b"{}")]);
        fs::write(&scene.path, &without).unwrap();
        let begun = scene.begin().await.unwrap();
        assert_eq!(scene.end(begun).await, (without, Some("archive-malformed")));
    }

    #[test]
    fn a_name_too_long_for_a_head_is_none() {
        let model = Model { head: head(FILE, "index.json", 0), folder: "" };
        assert!(model.head(&"x".repeat(100), 0).is_ok());
        assert!(model.head(&"x".repeat(101), 0).is_err());
    }
}
