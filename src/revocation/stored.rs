//! Revocation lists that were fetched before, on the disk.
//!
//! A large list is published once a day or a week, and fetching it takes longer than a question may. The files are those of
//! notation, so that both tools can share a directory: named by the SHA-256 of the address, with the list in base64. A
//! cache's failure is nobody's failure: then the list is fetched again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::oci::DigestAlgorithm;
use crate::pki::revocation::MAX_CRL_SIZE;
use crate::verify::Need;

/// The largest file that is read, in bytes: two of the largest lists in base64.
const MAX_FILE: u64 = 2 * (MAX_CRL_SIZE as u64 / 3 * 4 + 1024);

/// Makes the names of temporary files of one process different.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

#[derive(Deserialize, Serialize)]
struct Bundle {
    #[serde(rename = "baseCRL")]
    base: String,
    /// The changes since, which only notation keeps here: they are worth fetching anew.
    #[serde(rename = "deltaCRL", skip_serializing_if = "Option::is_none")]
    delta: Option<String>,
}

pub(super) struct Stored {
    directory: Option<PathBuf>,
}

impl Stored {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// The list that was fetched from this address, good or not.
    pub(super) fn find(&self, need: &Need) -> Option<Arc<[u8]>> {
        let path = self.path(need)?;
        let mut text = Vec::new();
        File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut text).ok()?;
        let bundle: Bundle = serde_json::from_slice(&text).ok()?;
        STANDARD.decode(bundle.base).ok().map(Arc::from)
    }

    /// Keeps a complete list.
    pub(super) fn keep(&self, need: &Need, bytes: &Arc<[u8]>) {
        let Some(path) = self.path(need) else { return };
        if self.find(need).is_some_and(|kept| kept == *bytes) {
            return;
        }
        if let Err(error) = write(&path, bytes) {
            tracing::debug!(path = %path.display(), %error, "a CRL was not kept");
        }
    }

    fn path(&self, need: &Need) -> Option<PathBuf> {
        let Need::Crl { url } = need else { return None };
        Some(self.directory.as_ref()?.join(hex::encode(DigestAlgorithm::Sha256.hash(url.as_bytes()))))
    }
}

/// At one stroke: whoever reads finds the old list or the new one.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let bundle = Bundle { base: STANDARD.encode(bytes), delta: None };
    let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!(".pratique-{}-{number}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(&serde_json::to_vec(&bundle)?).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn crl(url: &str) -> Need {
        Need::Crl { url: url.to_owned() }
    }

    #[test]
    fn a_list_is_found_again_in_the_file_that_notation_looks_for() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("cache/crl");
        let (stored, bytes) = (Stored::new(Some(cache.clone())), Arc::from(*b"list"));
        stored.keep(&crl("http://crl.example/a.crl"), &bytes);
        assert_eq!(stored.find(&crl("http://crl.example/a.crl")), Some(bytes));
        assert_eq!(stored.find(&crl("http://crl.example/b.crl")), None);
        let files: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
        let name = hex::encode(DigestAlgorithm::Sha256.hash(b"http://crl.example/a.crl"));
        assert_eq!(files, [cache.join(name)]);
        assert_eq!(fs::read_to_string(&files[0]).unwrap(), r#"{"baseCRL":"bGlzdA=="}"#);
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_no_list_counts_as_none_and_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (stored, need) = (Stored::new(Some(directory.path().to_owned())), crl("http://crl.example/a.crl"));
        for spoilt in ["", "{}", r#"{"baseCRL":"!"}"#, "not JSON"] {
            fs::write(stored.path(&need).unwrap(), spoilt).unwrap();
            assert_eq!(stored.find(&need), None, "{spoilt}");
        }
        stored.keep(&need, &Arc::from(*b"list"));
        assert!(stored.find(&need).is_some());
    }

    #[test]
    fn ocsp_answers_are_not_kept_and_neither_is_anything_without_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let need = Need::Ocsp { url: "http://ocsp.example".into(), request: Vec::new() };
        Stored::new(Some(directory.path().to_owned())).keep(&need, &Arc::from(*b"answer"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        Stored::new(None).keep(&crl("http://crl.example/a.crl"), &Arc::from(*b"list"));
    }
}
