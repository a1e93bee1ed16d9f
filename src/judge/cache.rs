//! Verdicts that were made already.
//!
//! The key holds everything that a verdict depends on but the time and the network: the image, the repository that chooses
//! the statement, the digest of the trust snapshot, and the edition of the imported revocation lists. So a changed policy,
//! anchor or list makes old entries unreachable at once. "Could not tell" is never kept, and a "no" only briefly, since somebody is about to sign.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use moka::Expiry;
use moka::future::Cache;

use super::{Answered, Places, Question};
use crate::oci::{Descriptor, Digest};
use crate::policy::Trust;
use crate::verify::{Answer, Verdict};

/// How long and how many verdicts are kept.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// How long an admission is kept at most; less where a certificate or signature ends earlier.
    pub max_age: Duration,
    /// How long a denial is kept.
    pub denied_for: Duration,
    /// How many verdicts are kept.
    pub capacity: u64,
}

/// Everything that a verdict depends on but the time and the network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    digest: Digest,
    media_type: String,
    size: u64,
    repository: String,
    user_metadata: Vec<(String, String)>,
    places: Places,
    trust: Digest,
    /// Of the imported revocation lists.
    edition: u64,
}

impl Key {
    pub(super) fn of(question: &Question, trust: &Trust, edition: u64) -> Self {
        let Descriptor { media_type, digest, size, .. } = question.artifact.clone();
        Self {
            digest,
            media_type,
            size,
            repository: question.repository.to_string(),
            user_metadata: question.user_metadata.clone().into_iter().collect(),
            places: question.places,
            trust: trust.digest().clone(),
            edition,
        }
    }
}

/// The verdicts that are kept.
pub(super) struct Verdicts {
    cache: Cache<Key, Arc<Verdict>>,
}

impl Verdicts {
    /// An empty cache.
    pub(super) fn new(options: CacheOptions) -> Self {
        let lifetime = Lifetime { max_age: options.max_age, denied_for: options.denied_for };
        Self { cache: Cache::builder().max_capacity(options.capacity).expire_after(lifetime).build() }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> u64 {
        self.cache.entry_count()
    }

    /// The verdict kept under this key, unless the wall clock says that it is over.
    pub(super) async fn known(&self, key: &Key, now: Timestamp) -> Option<Arc<Verdict>> {
        self.cache.get(key).await.filter(|verdict| verdict.good_until.is_none_or(|end| now < end))
    }

    /// The verdict kept under this key, or the one that `make` gives. Concurrent calls with one key share one `make`.
    ///
    /// Entries age by a clock that never jumps; `now` is the wall clock, which a verdict must not outlive either.
    pub(super) async fn get_or_make(
        &self,
        key: Key,
        now: Timestamp,
        make: impl Future<Output = Arc<Verdict>>,
    ) -> Answered {
        let is_over = |verdict: &Arc<Verdict>| {
            verdict.answer() == Answer::Inconclusive || verdict.good_until.is_some_and(|end| now >= end)
        };
        let entry = self.cache.entry(key).or_insert_with_if(make, is_over).await;
        Answered { cached: !entry.is_fresh(), verdict: entry.into_value() }
    }
}

struct Lifetime {
    max_age: Duration,
    denied_for: Duration,
}

impl Lifetime {
    fn of(&self, key: &Key, verdict: &Verdict) -> Duration {
        match verdict.answer() {
            Answer::Admit => {
                verdict.good_until.map_or(self.max_age, |end| self.max_age.min(between(verdict.decided_at, end)))
            }
            // To look on this node again costs nothing, and an archive with the signatures may be next.
            Answer::Deny if key.places == Places::ThisNode => Duration::ZERO,
            Answer::Deny => self.denied_for,
            Answer::Inconclusive => Duration::ZERO,
        }
    }
}

/// An entry that replaces another ages like a new one.
impl Expiry<Key, Arc<Verdict>> for Lifetime {
    fn expire_after_create(&self, key: &Key, verdict: &Arc<Verdict>, _: Instant) -> Option<Duration> {
        Some(self.of(key, verdict))
    }

    fn expire_after_update(
        &self,
        key: &Key,
        verdict: &Arc<Verdict>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.of(key, verdict))
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
