//! Revocation lists that an operator has put into a directory, for a site whose issuers cannot be reached.
//!
//! The directory is looked at for each question, and read again when something in it has changed. A file that is no list
//! stops everything that would have asked it: what was meant to deny must not go unnoticed.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::fault::ImportError;
use crate::pki::revocation::{MAX_CRL_SIZE, crls_in};
use crate::verify::Lists;

/// How many files are read. A site trusts some dozen issuers.
const MAX_FILES: usize = 1024;

/// How many bytes of all files are read. They stay in memory.
const MAX_TOTAL: u64 = 256 * 1024 * 1024;

/// The endings of files that hold lists.
const ENDINGS: [&str; 3] = ["crl", "der", "pem"];

pub(super) struct Imported {
    directory: Option<PathBuf>,
    read: Mutex<Option<Read>>,
}

/// What was read last.
struct Read {
    seen: Vec<Seen>,
    lists: Lists,
    /// Counts how often something had changed.
    edition: u64,
}

/// What tells that a file has changed.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
}

impl Imported {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, read: Mutex::default() }
    }

    /// The lists as they lie there now.
    pub(super) fn lists(&self) -> Result<Lists, ImportError> {
        self.read(|read| Arc::clone(&read.lists))
    }

    /// A number that is another one as soon as something has changed.
    pub(super) fn edition(&self) -> u64 {
        self.read(|read| read.edition).unwrap_or(u64::MAX)
    }

    fn read<T: Default>(&self, take: impl Fn(&Read) -> T) -> Result<T, ImportError> {
        let Some(directory) = &self.directory else { return Ok(T::default()) };
        let seen = look(directory)?;
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = last.as_ref().filter(|read| read.seen == seen) {
            return Ok(take(read));
        }
        let mut lists: Vec<Arc<[u8]>> = Vec::new();
        for file in &seen {
            lists.extend(lists_of(&file.path)?.into_iter().map(Arc::from));
        }
        let edition = last.as_ref().map_or(0, |read| read.edition) + 1;
        let read = Read { seen, lists: lists.into(), edition };
        let taken = take(&read);
        *last = Some(read);
        Ok(taken)
    }
}

/// The files of the directory that hold lists, in the order of their names.
fn look(directory: &Path) -> Result<Vec<Seen>, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: directory.to_owned(), source };
    let mut seen = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !is_list_file(&path) {
            continue;
        }
        // Follows links: an operator may keep the lists elsewhere.
        let metadata = fs::metadata(&path).map_err(|source| ImportError::Unreadable { path: path.clone(), source })?;
        seen.push(Seen { path, size: metadata.len(), modified: metadata.modified().ok() });
        if seen.len() > MAX_FILES || seen.iter().map(|file| file.size).sum::<u64>() > MAX_TOTAL {
            return Err(ImportError::TooMany { path: directory.to_owned() });
        }
    }
    seen.sort();
    Ok(seen)
}

/// Whether a file of the directory is read, by its name. Editors and downloads leave others behind.
pub fn is_list_file(path: &Path) -> bool {
    let is_list = path.extension().is_some_and(|extension| ENDINGS.iter().any(|ending| extension == *ending));
    is_list && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// The lists of one file, each in DER.
pub(super) fn lists_of(path: &Path) -> Result<Vec<Vec<u8>>, ImportError> {
    let file = read_at_most(path).map_err(|source| ImportError::Unreadable { path: path.to_owned(), source })?;
    crls_in(&file).map_err(|source| ImportError::Invalid { path: path.to_owned(), source })
}

/// One byte more than the largest list in PEM tells one that is too large.
fn read_at_most(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(2 * MAX_CRL_SIZE as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy as _;

    fn list() -> Vec<u8> {
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/revocation/crl-good.der")).unwrap()
    }

    fn import() -> (tempfile::TempDir, Imported) {
        let directory = tempfile::tempdir().unwrap();
        let imported = Imported::new(Some(directory.path().to_owned()));
        (directory, imported)
    }

    #[test]
    fn lists_are_read_again_when_something_has_changed() {
        let (directory, imported) = import();
        let editions: Vec<u64> = ["a.crl", "b.der", "ignored.txt", ".hidden.crl"]
            .iter()
            .map(|name| {
                let before = imported.edition();
                fs::write(directory.path().join(name), list()).unwrap();
                assert!(imported.edition() >= before);
                imported.edition()
            })
            .collect();
        assert_eq!(imported.lists().unwrap().len(), 2);
        assert_eq!(editions, [2, 3, 3, 3]);
        fs::remove_file(directory.path().join("a.crl")).unwrap();
        assert_eq!((imported.lists().unwrap().len(), imported.edition()), (1, 4));
        assert_eq!(Imported::new(None).lists().unwrap().len(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_over() {
        let code = |imported: &Imported| imported.lists().map_or_else(|error| error.code().as_str(), |_| "good");
        let (directory, imported) = import();
        fs::write(directory.path().join("a.crl"), list()).unwrap();
        assert_eq!((code(&imported), imported.edition()), ("good", 1));
        fs::write(directory.path().join("b.pem"), "no list").unwrap();
        assert_eq!((code(&imported), imported.edition()), ("crl-malformed", u64::MAX));
        fs::remove_dir_all(directory.path()).unwrap();
        assert_eq!(code(&imported), "crl-dir-unreadable");
    }

    #[test]
    fn a_directory_holds_a_bounded_number_of_lists() {
        let (directory, imported) = import();
        for number in 0..=MAX_FILES {
            fs::write(directory.path().join(format!("{number}.crl")), "").unwrap();
        }
        assert_eq!(imported.lists().unwrap_err().code().as_str(), "crl-dir-too-large");
    }
}
