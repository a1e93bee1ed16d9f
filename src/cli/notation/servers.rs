//! The servers that certificates name, and the lists that are kept of them, with a log of what is asked: in the words of
//! the Notary Project's own command, by which people find out why a verification takes long, or fails.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::artifact::system_words;
use super::output;
use crate::cli::revocation::{as_notation_asks, crl_cache};
use crate::oci::DigestAlgorithm;
use crate::pki::revocation::Crl;
use crate::revocation::{Kept, Responders, Servers};
use crate::verify::{Lists, Need, Problem};

/// How the original prints a time.
const TIME: &str = "%Y-%m-%d %H:%M:%S +0000 UTC";

/// Servers, noted.
pub(super) struct NotedServers {
    servers: Servers,
    /// Where fetched lists are kept; nothing where they are not.
    cache: Option<PathBuf>,
    /// Whether it was told that the cache fails.
    has_warned: AtomicBool,
    /// What was fetched now, and not found in the cache.
    fetched: Mutex<BTreeSet<Need>>,
}

impl NotedServers {
    /// The servers and the cache as notation has them. A cache that cannot be made is done without.
    pub(super) fn open() -> Self {
        let made = |path: &PathBuf| match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) => {
                let words = system_words(&error);
                output::warn(&format!("Warning: failed to create crl file cache: mkdir {}: {words}", path.display()));
                false
            }
        };
        Self {
            servers: as_notation_asks(),
            cache: crl_cache().filter(made),
            has_warned: AtomicBool::new(false),
            fetched: Mutex::default(),
        }
    }

    /// The file that a list is kept in, and its address.
    fn kept_in<'n>(&self, need: &'n Need) -> Option<(PathBuf, &'n str)> {
        let Need::Crl { url } = need else { return None };
        let name = hex::encode(DigestAlgorithm::Sha256.hash(url.as_bytes()));
        Some((self.cache.as_ref()?.join(name), url))
    }

    fn fetched(&self) -> MutexGuard<'_, BTreeSet<Need>> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache_failed(&self) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            output::warn("Warning: CRL cache error discarded. Enable debug log through '-d' for error details.");
        }
    }
}

#[async_trait]
impl Responders for NotedServers {
    fn lists(&self) -> Result<Lists, Problem> {
        self.servers.lists()
    }

    fn remembered(&self, need: &Need, now: Timestamp) -> Option<Arc<[u8]>> {
        let found = self.servers.remembered(need, now);
        let Some((path, url)) = self.kept_in(need) else { return found };
        tracing::debug!("Retrieving crl bundle from file cache with key {url:?} ...");
        match fs::File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tracing::debug!("CRL file cache miss. Key {url:?} does not exist");
            }
            Err(error) => {
                self.cache_failed();
                let words = system_words(&error);
                let path = path.display();
                tracing::debug!("failed to get crl bundle from file cache with key {url:?}: open {path}: {words}");
            }
            Ok(_) => {
                let until = found.as_ref().and_then(|list| Crl::from_der(list).ok()?.next_update());
                if let Some(until) = until.filter(|until| *until < now) {
                    tracing::debug!("CRL bundle retrieved from file cache has expired at {}", until.strftime(TIME));
                }
            }
        }
        found
    }

    async fn ask(&self, need: &Need) -> Result<Arc<[u8]>, Problem> {
        tracing::debug!("Request for {}\n> Request: \"GET\" {:?}", need.kind(), need.url());
        let answer = self.servers.ask(need).await;
        self.fetched().insert(need.clone());
        if let Err(problem) = &answer {
            tracing::debug!("Error in getting response from {}: {}", need.url(), problem.message);
        }
        answer
    }

    fn keep(&self, need: &Need, bytes: &Arc<[u8]>, kept: Kept) {
        self.servers.keep(need, bytes, kept);
        let is_new = kept.is_whole && self.fetched().contains(need);
        let Some((path, url)) = self.kept_in(need).filter(|_| is_new) else { return };
        tracing::debug!("Storing crl bundle to file cache with key {url:?} ...");
        // What became of it: nobody is told that a cache does not take something.
        if let Err(error) = fs::File::open(&path) {
            self.cache_failed();
            let path = path.display();
            tracing::debug!("failed to store crl bundle in file cache: open {path}: {}", system_words(&error));
        }
    }

    fn patience(&self) -> Duration {
        self.servers.patience()
    }

    fn asks_everybody(&self) -> bool {
        true
    }
}
