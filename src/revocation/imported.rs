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
    read: Mutex<Option<(Vec<Seen>, Lists)>>,
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
        let Some(directory) = &self.directory else { return Ok(Lists::default()) };
        let seen = look(directory)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, lists)) = read.as_ref().filter(|(before, _)| *before == seen) {
            return Ok(Arc::clone(lists));
        }
        let mut lists: Vec<Arc<[u8]>> = Vec::new();
        for file in &seen {
            lists.extend(lists_of(&file.path)?.into_iter().map(Arc::from));
        }
        let lists: Lists = lists.into();
        *read = Some((seen, Arc::clone(&lists)));
        Ok(lists)
    }
}

/// The files of the directory that hold lists, in the order of their names.
fn look(directory: &Path) -> Result<Vec<Seen>, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: directory.to_owned(), source };
    let mut seen = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let has_ending = |ending: &&str| path.extension().is_some_and(|extension| extension == *ending);
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden || !ENDINGS.iter().any(|ending| has_ending(&ending)) {
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
