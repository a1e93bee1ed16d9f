//! What was decided lately: for `Explain`, for `WatchDecisions`, and for the counts in `Status`.
//!
//! Bounded on every side, and cheap to write to, since it is written to on every question.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::oci::{Digest, Reference};
use crate::proto::{self, Answer};
use crate::verify::Verdict;

/// How many decisions are kept in their order. A node that pulls hundreds of images a minute keeps the last few minutes.
const RECENT: usize = 1024;
/// Of how many names, and of how many digests, the last decision is kept. A node of Kubernetes holds some hundred
/// images.
const KNOWN: usize = 4096;
/// How far a watcher may fall behind before it is cut off.
const BACKLOG: usize = 1024;

/// A question, its answer, and the verdict behind it.
#[derive(Debug)]
pub(super) struct Decided {
    /// As it is sent to watchers.
    pub(super) decision: proto::Decision,
    /// None where the request was no question.
    pub(super) verdict: Option<Arc<Verdict>>,
}

/// The decisions of this daemon since it was started.
pub(super) struct Decisions {
    kept: Mutex<Kept>,
    feed: broadcast::Sender<Arc<Decided>>,
    admitted: AtomicU64,
    denied: AtomicU64,
    inconclusive: AtomicU64,
}

/// How many questions ended how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) admitted: u64,
    pub(super) denied: u64,
    pub(super) inconclusive: u64,
}

#[derive(Default)]
struct Kept {
    recent: VecDeque<Arc<Decided>>,
    by_digest: Latest,
    by_name: Latest,
}

impl Decisions {
    pub(super) fn new() -> Self {
        let (feed, _) = broadcast::channel(BACKLOG);
        let zero = AtomicU64::default;
        Self { kept: Mutex::default(), feed, admitted: zero(), denied: zero(), inconclusive: zero() }
    }

    /// Keeps a decision and sends it to whoever watches.
    pub(super) fn record(&self, decided: Decided) {
        let count = match decided.decision.answer() {
            Answer::Admit => &self.admitted,
            Answer::Deny => &self.denied,
            Answer::Inconclusive | Answer::Unspecified => &self.inconclusive,
        };
        count.fetch_add(1, Ordering::Relaxed);
        // Without the verdict, which nobody who watches sees: that of a hostile image is large, and is asked for again and
        // again.
        let shown = Arc::new(Decided { decision: decided.decision.clone(), verdict: None });
        let decided = Arc::new(decided);
        let mut kept = self.kept();
        kept.by_digest.put(&decided.decision.digest, &decided);
        kept.by_name.put(&decided.decision.name, &decided);
        if kept.recent.len() == RECENT {
            kept.recent.pop_front();
        }
        kept.recent.push_back(Arc::clone(&shown));
        // Sent while the list is locked, so that a new watcher gets each decision once. Nobody watching is no error.
        let _ = self.feed.send(shown);
    }

    /// The last decision about an image: by digest, or by name as it was asked for. A name in another spelling finds it
    /// too.
    pub(super) fn latest(&self, image: &str) -> Option<Arc<Decided>> {
        let kept = self.kept();
        let found = kept.by_digest.0.get(image).or_else(|| kept.by_name.0.get(image)).cloned();
        found.or_else(|| kept.in_other_words(image))
    }

    /// The last decisions, oldest first and at most `backlog` of them, and those that follow.
    pub(super) fn watch(&self, backlog: usize) -> (Vec<Arc<Decided>>, broadcast::Receiver<Arc<Decided>>) {
        let kept = self.kept();
        let skipped = kept.recent.len().saturating_sub(backlog);
        (kept.recent.iter().skip(skipped).cloned().collect(), self.feed.subscribe())
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { admitted: read(&self.admitted), denied: read(&self.denied), inconclusive: read(&self.inconclusive) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whatever panicked, the lists are whole: nothing between two of their changes can.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Looks through all names: this is for people, who ask seldom.
    fn in_other_words(&self, image: &str) -> Option<Arc<Decided>> {
        let wanted: Reference = image.parse().ok()?;
        let is_meant = |name: &str| name.parse::<Reference>().is_ok_and(|known| known == wanted);
        let by_name = self.by_name.0.iter().find(|(name, _)| is_meant(name)).map(|(_, decided)| decided);
        let by_digest = || self.by_digest.0.get(wanted.digest().map_or("", Digest::as_str));
        by_name.or_else(by_digest).cloned()
    }
}

/// The last decision under each key. When there are too many keys, about half of them go: the ones not asked for longest.
#[derive(Default)]
struct Latest(HashMap<String, Arc<Decided>>);

impl Latest {
    fn put(&mut self, key: &str, decided: &Arc<Decided>) {
        if let Some(last) = self.0.get_mut(key) {
            *last = Arc::clone(decided);
            return;
        }
        if key.is_empty() {
            return;
        }
        if self.0.len() >= KNOWN {
            self.forget_older_half();
        }
        self.0.insert(key.to_owned(), Arc::clone(decided));
    }

    fn forget_older_half(&mut self) {
        let mut times: Vec<&str> = self.0.values().map(|decided| decided.decision.time.as_str()).collect();
        let middle = times.len() / 2;
        // Times are written in one form, so their order as text is their order.
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = (*median).to_owned();
        self.0.retain(|_, decided| decided.decision.time > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(number: usize, name: &str, answer: Answer) -> Decided {
        let decision = proto::Decision {
            time: format!("2026-01-01T00:00:00.{number:09}Z"),
            name: name.into(),
            digest: Digest::sha256(name.as_bytes()).to_string(),
            answer: answer.into(),
            duration_us: number as u64,
            ..proto::Decision::default()
        };
        Decided { decision, verdict: None }
    }

    #[test]
    fn the_last_decision_is_found_by_digest_and_by_any_spelling_of_the_name() {
        let decisions = Decisions::new();
        decisions.record(decided(1, "alpine:3", Answer::Deny));
        decisions.record(decided(2, "alpine:3", Answer::Admit));
        decisions.record(decided(3, "busybox", Answer::Deny));
        let digest = Digest::sha256(b"alpine:3");
        for image in [
            "alpine:3",
            "docker.io/library/alpine:3",
            digest.as_str(),
            &format!("alpine@{digest}"),
            &format!("registry.example/other@{digest}"),
        ] {
            let found = decisions.latest(image).unwrap_or_else(|| panic!("{image}"));
            assert_eq!(found.decision.duration_us, 2, "{image}");
        }
        for image in ["alpine", "alpine:4", "", "ALPINE", Digest::sha256(b"x").as_str()] {
            assert!(decisions.latest(image).is_none(), "{image}");
        }
        assert_eq!(decisions.counts(), Counts { admitted: 1, denied: 2, inconclusive: 0 });
    }

    #[test]
    fn only_the_last_verdict_about_an_image_is_kept() {
        let decisions = Decisions::new();
        let verdict = Arc::new(verdict());
        for number in 0..3 {
            decisions
                .record(Decided { verdict: Some(Arc::clone(&verdict)), ..decided(number, "alpine", Answer::Admit) });
        }
        assert!(decisions.latest("alpine").unwrap().verdict.is_some());
        assert_eq!(Arc::strong_count(&verdict), 2, "ours, and the last decision's");
    }

    /// Any verdict.
    fn verdict() -> Verdict {
        let artifact = crate::oci::Descriptor::of("m", b"x");
        let judge = super::super::testing::judge();
        let input = crate::verify::VerdictInput {
            reference: "alpine",
            artifact: &artifact,
            trust: &judge.trust(),
            now: crate::clock::now(),
        };
        let problem = crate::verify::Problem { code: crate::remedy::Code("x"), message: "x".into(), remedy: None };
        Verdict::refused_unseen(input, crate::verify::Check::Policy, problem)
    }

    #[tokio::test]
    async fn a_watcher_gets_what_was_and_what_comes() {
        let decisions = Decisions::new();
        for number in 1..=3 {
            decisions.record(decided(number, "alpine", Answer::Admit));
        }
        let (backlog, mut feed) = decisions.watch(2);
        decisions.record(decided(4, "alpine", Answer::Admit));
        let numbers: Vec<u64> = backlog.iter().map(|decided| decided.decision.duration_us).collect();
        assert_eq!((numbers, feed.recv().await.unwrap().decision.duration_us), (vec![2, 3], 4));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest_stays() {
        let decisions = Decisions::new();
        for number in 0..3 * KNOWN {
            decisions.record(decided(number, &format!("image-{number}"), Answer::Admit));
        }
        let kept = decisions.kept();
        assert_eq!(kept.recent.len(), RECENT);
        assert!(kept.by_name.0.len() <= KNOWN && kept.by_digest.0.len() <= KNOWN);
        drop(kept);
        assert!(decisions.latest(&format!("image-{}", 3 * KNOWN - 1)).is_some());
        assert!(decisions.latest("image-0").is_none());
    }
}
