//! Into which directory which layer was unpacked.
//!
//! A directory is known by its path and by its inode and the instant that it was made at: numbers of snapshots come again
//! when a snapshotter's database is lost, and a path can be given to anything.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use redb::{ReadableTable as _, ReadableTableMetadata as _, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError};
use crate::oci::{Descriptor, Digest};
use crate::rootfs::{Origin, Unpacked};

/// From a path to a [`Record`] in JSON.
const DIRECTORIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("directories");

/// What was unpacked into a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// None where it was more than one layer.
    layer: Option<Digest>,
    /// What it is when it is unpacked, where an admitted image said it.
    #[serde(default)]
    diff_id: Option<Digest>,
    #[serde(default)]
    vouched_by: Option<Descriptor>,
    made: Made,
}

/// Which directory of this path it was. The number of its device may change with the next boot, and is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    inode: u64,
    /// Nanoseconds since 1970; none where the file system does not keep it.
    at: Option<u64>,
}

impl Made {
    fn of(directory: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(directory).ok().filter(fs::Metadata::is_dir)?;
        let at = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Some(Self { inode: metadata.ino(), at: at.and_then(|at| u64::try_from(at.as_nanos()).ok()) })
    }
}

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(DIRECTORIES)?;
    Ok(())
}

impl Ledger {
    /// Keeps that this layer is about to be unpacked into this directory, or is found there. False where there is no such
    /// directory, and nothing is kept.
    pub fn record(&self, directory: &Path, unpacked: &Unpacked) -> Result<bool, LedgerError> {
        let Some(made) = Made::of(directory) else { return Ok(false) };
        let key = directory.as_os_str().as_bytes();
        let Unpacked { layer, diff_id, vouched_by } = unpacked.clone();
        self.write("write to", |transaction| {
            let mut table = transaction.open_table(DIRECTORIES)?;
            let before = table.get(key)?.and_then(|value| serde_json::from_slice::<Record>(value.value()).ok());
            let record = match before.filter(|before| before.made == made) {
                Some(before) if before.layer.as_ref() != Some(&layer) => Record::mixed(made),
                // What was known about it stays known.
                Some(before) if diff_id.is_none() => before,
                _ => Record { layer: Some(layer), diff_id, vouched_by, made },
            };
            table.insert(key, json(&record).as_slice())?;
            Ok(true)
        })
    }

    /// Forgets what is kept about a directory.
    pub fn forget(&self, directory: &Path) -> Result<(), LedgerError> {
        self.write("write to", |transaction| {
            transaction.open_table(DIRECTORIES)?.remove(directory.as_os_str().as_bytes())?;
            Ok(())
        })
    }

    /// What is known about each of these directories.
    pub fn origins<'a>(&self, directories: impl Iterator<Item = &'a Path>) -> Result<Vec<Origin>, LedgerError> {
        self.read("read", |transaction| {
            let table = transaction.open_table(DIRECTORIES)?;
            directories
                .map(|directory| {
                    let value = table.get(directory.as_os_str().as_bytes())?;
                    let record = value.and_then(|value| serde_json::from_slice::<Record>(value.value()).ok());
                    Ok(record.map_or(Origin::Unknown, |record| record.origin(directory)))
                })
                .collect()
        })
    }

    /// Forgets directories that are gone. How many.
    pub fn sweep(&self) -> Result<u64, LedgerError> {
        self.write("write to", |transaction| {
            let mut table = transaction.open_table(DIRECTORIES)?;
            let before = table.len()?;
            table.retain(|key, _| !is_gone(Path::new(std::ffi::OsStr::from_bytes(key))))?;
            Ok(before - table.len()?)
        })
    }
}

impl Record {
    fn mixed(made: Made) -> Self {
        Self { layer: None, diff_id: None, vouched_by: None, made }
    }

    fn origin(self, directory: &Path) -> Origin {
        match self.layer {
            _ if Made::of(directory).as_ref() != Some(&self.made) => Origin::Replaced,
            Some(layer) => Origin::Layer(Unpacked { layer, diff_id: self.diff_id, vouched_by: self.vouched_by }),
            None => Origin::Mixed,
        }
    }
}

/// Whether a directory was removed. Where the file system that it lies in is not mounted yet, as when the machine starts,
/// nothing is known: then the directory of all snapshots is missing, too.
fn is_gone(directory: &Path) -> bool {
    let is_missing = |path: &Path| fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    let all = directory.parent().and_then(Path::parent);
    is_missing(directory) && all.is_some_and(|all| fs::symlink_metadata(all).is_ok())
}

fn json(record: &Record) -> Vec<u8> {
    // Of numbers and text alone, which always can be written; and what could not be read again counts as unknown.
    serde_json::to_vec(record).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Scene {
        dir: tempfile::TempDir,
        ledger: Option<Ledger>,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let ledger = Ledger::open(&dir.path().join("ledger.redb")).unwrap();
            Self { dir, ledger: Some(ledger) }
        }

        fn snapshot(&self, number: u32) -> PathBuf {
            let path = self.dir.path().join(format!("snapshots/{number}/fs"));
            fs::create_dir_all(&path).unwrap();
            path
        }

        fn ledger(&self) -> &Ledger {
            self.ledger.as_ref().unwrap()
        }

        fn origin(&self, path: &Path) -> Origin {
            self.ledger().origins(std::iter::once(path)).unwrap().remove(0)
        }

        fn starts_again(&mut self) {
            self.ledger = None;
            self.ledger = Some(Ledger::open(&self.dir.path().join("ledger.redb")).unwrap());
        }
    }

    fn layer(text: &str) -> Unpacked {
        let diff_id = Some(Digest::sha256(format!("{text}, unpacked").as_bytes()));
        Unpacked { layer: Digest::sha256(text.as_bytes()), diff_id, vouched_by: None }
    }

    #[test]
    fn what_was_unpacked_is_known_after_the_next_start_too() {
        let mut scene = Scene::new();
        let path = scene.snapshot(1);
        assert_eq!(scene.origin(&path), Origin::Unknown);
        assert!(scene.ledger().record(&path, &layer("a")).unwrap());
        for _ in 0..2 {
            assert_eq!(scene.origin(&path), Origin::Layer(layer("a")));
            scene.starts_again();
        }
    }

    #[test]
    fn a_directory_that_was_made_anew_is_another_one() {
        let scene = Scene::new();
        let path = scene.snapshot(1);
        scene.ledger().record(&path, &layer("a")).unwrap();
        fs::rename(&path, path.with_file_name("old")).unwrap();
        assert_eq!(scene.origin(&path), Origin::Replaced);
        scene.snapshot(1);
        assert_eq!(scene.origin(&path), Origin::Replaced);
        scene.ledger().record(&path, &layer("b")).unwrap();
        assert_eq!(scene.origin(&path), Origin::Layer(layer("b")));
    }

    #[test]
    fn the_same_layer_twice_is_one_and_another_one_is_too_many() {
        let scene = Scene::new();
        let path = scene.snapshot(1);
        for _ in 0..2 {
            scene.ledger().record(&path, &layer("a")).unwrap();
            assert_eq!(scene.origin(&path), Origin::Layer(layer("a")));
        }
        for text in ["b", "a", "b"] {
            scene.ledger().record(&path, &layer(text)).unwrap();
            assert_eq!(scene.origin(&path), Origin::Mixed);
        }
    }

    #[test]
    fn a_directory_is_forgotten_when_that_is_asked_for_and_no_other_one() {
        let scene = Scene::new();
        let (stays, goes) = (scene.snapshot(1), scene.snapshot(2));
        for path in [&stays, &goes] {
            scene.ledger().record(path, &layer("a")).unwrap();
        }
        for _ in 0..2 {
            scene.ledger().forget(&goes).unwrap();
            assert_eq!((scene.origin(&stays), scene.origin(&goes)), (Origin::Layer(layer("a")), Origin::Unknown));
        }
    }

    #[test]
    fn what_is_no_directory_is_not_recorded() {
        let scene = Scene::new();
        let path = scene.dir.path().join("none");
        assert!(!scene.ledger().record(&path, &layer("a")).unwrap());
        std::os::unix::fs::symlink(scene.snapshot(1), &path).unwrap();
        assert!(!scene.ledger().record(&path, &layer("a")).unwrap());
        assert_eq!(scene.origin(&path), Origin::Unknown);
    }

    #[test]
    fn directories_are_forgotten_when_they_are_gone_and_not_while_nobody_can_tell() {
        let scene = Scene::new();
        let (stays, goes) = (scene.snapshot(1), scene.snapshot(2));
        for path in [&stays, &goes] {
            scene.ledger().record(path, &layer("a")).unwrap();
        }
        fs::remove_dir_all(goes.parent().unwrap()).unwrap();
        let (all, away) = (scene.dir.path().join("snapshots"), scene.dir.path().join("away"));
        fs::rename(&all, &away).unwrap();
        assert_eq!(scene.ledger().sweep().unwrap(), 0);
        fs::rename(&away, &all).unwrap();
        assert_eq!(scene.ledger().sweep().unwrap(), 1);
        assert_eq!((scene.origin(&stays), scene.origin(&goes)), (Origin::Layer(layer("a")), Origin::Unknown));
    }
}
