//! What must not be forgotten: into which directory which layer was unpacked, which containers were asked about, and the
//! signatures by which images were admitted.
//!
//! One file, which survives `kill -9`, a reboot and a power failure: what was written is on the disk before the answer
//! goes out that depends on it. It decides nothing. What it holds about a directory counts only while that is still the
//! same directory, and a signature out of it is examined like any other.

mod directories;
mod error;
mod evidence;
mod starts;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use redb::{Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

pub use error::LedgerError;
pub use evidence::Evidence;

/// How much of the file is kept in memory, in bytes. A question reads some pages of 4 KiB.
const MEMORY: usize = 4 * 1024 * 1024;

/// The file, open for this process alone.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    database: Database,
}

impl Ledger {
    /// Opens the file at this path, or makes it, and its directory for root alone. What a process left half written that
    /// was killed is put right.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|source| LedgerError::Directory { path: directory.to_owned(), source })?;
        }
        let failed = |source| LedgerError::of(path, "open", source);
        let database = Database::builder().set_cache_size(MEMORY).create(path);
        let ledger = Self { path: path.to_owned(), database: database.map_err(|error| failed(error.into()))? };
        // So that whoever reads finds the tables.
        ledger.write("prepare", |transaction| {
            directories::prepare(transaction)?;
            evidence::prepare(transaction)?;
            starts::prepare(transaction)
        })?;
        Ok(ledger)
    }

    fn read<T>(
        &self,
        what: &'static str,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, LedgerError> {
        let reading = || read(&self.database.begin_read()?);
        reading().map_err(|source| LedgerError::of(&self.path, what, source))
    }

    /// When it returns, what was written is on the disk. Half of it never is.
    fn write<T>(
        &self,
        what: &'static str,
        write: impl FnOnce(&mut WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, LedgerError> {
        let writing = || {
            let mut transaction = self.database.begin_write()?;
            let written = write(&mut transaction)?;
            transaction.commit()?;
            Ok(written)
        };
        writing().map_err(|source| LedgerError::of(&self.path, what, source))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::remedy::Remedy as _;

    #[test]
    fn a_ledger_is_made_for_root_alone_and_for_one_daemon_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/ledger.redb");
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(Ledger::open(&path).unwrap_err().code().as_str(), "ledger-in-use");
        drop(ledger);
        Ledger::open(&path).unwrap();
    }

    #[test]
    fn what_is_no_ledger_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        std::fs::write(&path, "something else entirely").unwrap();
        assert_eq!(Ledger::open(&path).unwrap_err().code().as_str(), "ledger-unusable");
        assert_eq!(std::fs::read(&path).unwrap(), b"something else entirely");
    }
}
