//! Brings what issuers say about their certificates: from lists that an operator has imported, from what was brought
//! before, and from the addresses in certificates.
//!
//! It carries and believes nothing. What it keeps for the next question is what the deciding half has relied upon, and is
//! looked at again each time: whoever writes into a cache can make an answer missing, and nothing else.

mod address;
mod fault;
mod http;
mod imported;
mod memory;
mod stored;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub use fault::{AskError, ImportError};
pub use imported::is_list_file;

use self::http::Http;
use self::imported::Imported;
use self::memory::Memory;
use self::stored::Stored;
use crate::verify::{Lists, Need, Problem};

/// Where evidence about revocation comes from.
#[async_trait]
pub trait Responders: Send + Sync {
    /// The lists that an operator has imported.
    fn lists(&self) -> Result<Lists, Problem>;

    /// A number that is another one as soon as the imported lists have changed: what was decided before is decided anew.
    fn edition(&self) -> u64 {
        0
    }

    /// The answer to an earlier question, where it is kept.
    fn remembered(&self, need: &Need, now: Timestamp) -> Option<Arc<[u8]>>;

    /// Asks, within the time that one address has.
    async fn ask(&self, need: &Need) -> Result<Arc<[u8]>, Problem>;

    /// Keeps an answer that was relied upon.
    fn keep(&self, need: &Need, bytes: &Arc<[u8]>, kept: Kept);

    /// The time that one question may spend with asking, over all its signatures.
    fn patience(&self) -> Duration;

    /// Whether to go on asking when one certificate is known to be revoked: for people who want to see everything. It
    /// changes no verdict.
    fn asks_everybody(&self) -> bool {
        false
    }
}

/// How long an answer may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// When it was relied upon.
    pub now: Timestamp,
    /// The last instant at which it is not too old.
    pub until: Timestamp,
    /// Whether it says everything on its own: a complete list to which changes belong does not.
    pub is_whole: bool,
}

/// How issuers' servers are asked.
#[derive(Clone, Debug)]
pub struct RevocationOptions {
    /// The time that one question may spend with asking in total.
    pub timeout: Duration,
    /// The time that one OCSP responder has.
    pub ocsp_timeout: Duration,
    /// The time that one server has to send a revocation list.
    pub crl_timeout: Duration,
    /// Whether servers at loopback and private addresses are asked.
    pub allow_private: bool,
    /// The directory with imported lists.
    pub crl_dir: Option<PathBuf>,
    /// The directory in which fetched lists are kept.
    pub cache_dir: Option<PathBuf>,
}

/// The servers that certificates name.
pub struct Servers {
    timeout: Duration,
    http: Http,
    imported: Imported,
    memory: Memory,
    stored: Stored,
}

impl Servers {
    /// With nothing remembered but what the directories hold.
    pub fn new(options: RevocationOptions) -> Self {
        Self {
            timeout: options.timeout,
            http: Http::new(options.ocsp_timeout, options.crl_timeout, options.allow_private),
            imported: Imported::new(options.crl_dir),
            memory: Memory::default(),
            stored: Stored::new(options.cache_dir),
        }
    }
}

#[async_trait]
impl Responders for Servers {
    fn lists(&self) -> Result<Lists, Problem> {
        self.imported.lists().map_err(|error| Problem::of(&error))
    }

    fn edition(&self) -> u64 {
        self.imported.edition()
    }

    fn remembered(&self, need: &Need, now: Timestamp) -> Option<Arc<[u8]>> {
        self.memory.find(need, now).or_else(|| self.stored.find(need))
    }

    async fn ask(&self, need: &Need) -> Result<Arc<[u8]>, Problem> {
        tracing::debug!(kind = need.kind(), url = need.url(), "asking about revocation");
        self.http.ask(need).await.map(Arc::from).map_err(|error| Problem::of(&error))
    }

    fn keep(&self, need: &Need, bytes: &Arc<[u8]>, kept: Kept) {
        self.memory.keep(need, bytes, kept.now, kept.until);
        if kept.is_whole {
            self.stored.keep(need, bytes);
        }
    }

    fn patience(&self) -> Duration {
        self.timeout
    }
}

/// Where nobody is asked: what would have to be asked stays open.
pub struct Nobody;

#[async_trait]
impl Responders for Nobody {
    fn lists(&self) -> Result<Lists, Problem> {
        Ok(Lists::default())
    }

    fn remembered(&self, _: &Need, _: Timestamp) -> Option<Arc<[u8]>> {
        None
    }

    async fn ask(&self, need: &Need) -> Result<Arc<[u8]>, Problem> {
        Err(Problem::of(&AskError::NotAsked { kind: need.kind() }))
    }

    fn keep(&self, _: &Need, _: &Arc<[u8]>, _: Kept) {}

    fn patience(&self) -> Duration {
        Duration::MAX
    }
}
