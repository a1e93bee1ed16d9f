//! Brings the evidence that a signature needs to be decided, in rounds, until nothing more is needed.
//!
//! Each round goes to everything at once that is missing: one address for each certificate of the chain. What came of it is
//! kept for the further signatures of the same question, so that nobody is asked twice, and all of them share one bound.
//! A verification plugin is asked alone: what it may take over is known before anybody else is asked, and what it says about
//! the signature is asked for last.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout};

use super::aside;
use crate::plugin::{NoPlugins, Plugins};
use crate::revocation::{AskError, Kept, Responders};
use crate::verify::{Evidence, Examined, Need, Outcome, Problem, Standing, State};

/// How many addresses are asked for one question. A chain of four certificates, each with an OCSP responder and a list,
/// needs six; several signers have several chains.
const MAX_ASKED: usize = 64;

/// Who is asked for what the bytes of a signature do not say.
#[derive(Clone, Copy)]
pub struct Witnesses<'w> {
    /// About the revocation of certificates.
    pub responders: &'w dyn Responders,
    /// Where the signer demands it.
    pub plugins: &'w dyn Plugins,
}

/// Without any plugin.
impl<'w, R: Responders> From<&'w R> for Witnesses<'w> {
    fn from(responders: &'w R) -> Self {
        Self { responders, plugins: &NoPlugins }
    }
}

/// What may still be asked for one question, and what has come of it.
pub struct Gathering<'w> {
    witnesses: Witnesses<'w>,
    evidence: Option<Evidence>,
    looked_up: BTreeSet<Need>,
    asked: usize,
    left: Duration,
}

impl<'w> Gathering<'w> {
    /// With nothing asked yet.
    pub fn from(witnesses: impl Into<Witnesses<'w>>) -> Self {
        let witnesses = witnesses.into();
        let left = witnesses.responders.patience();
        Self { witnesses, evidence: None, looked_up: BTreeSet::new(), asked: 0, left }
    }

    /// Brings what the signature needs, and decides about it.
    pub async fn conclude(&mut self, examined: Examined<'_>, now: Timestamp) -> Outcome {
        let mut evidence = self.evidence.take().unwrap_or_else(|| self.beginning());
        loop {
            self.bring(&mut evidence, |evidence| examined.needs(evidence, now), now).await;
            let Some(question) = aside(|| examined.question(&evidence, now)) else { break };
            let answer = self.witnesses.plugins.ask(&question).await;
            evidence.consult(question, answer, self.good_until(now));
        }
        let outcome = aside(|| examined.conclude(&evidence, now));
        aside(|| self.keep(&outcome, &evidence, now));
        self.evidence = Some(evidence);
        outcome
    }

    /// Brings what tells whether the authority of a time-stamp was revoked.
    pub async fn standing(&mut self, standing: Standing<'_>, now: Timestamp) -> State {
        let mut evidence = self.evidence.take().unwrap_or_else(|| self.beginning());
        self.bring(&mut evidence, |evidence| standing.needs(evidence, now), now).await;
        let state = standing.state(&evidence, now);
        self.evidence = Some(evidence);
        state
    }

    /// Asks until nothing more is needed.
    async fn bring(&mut self, evidence: &mut Evidence, needs: impl Fn(&Evidence) -> Vec<Need>, now: Timestamp) {
        loop {
            // A stranger's chain of sixteen certificates takes tens of milliseconds.
            let needs: BTreeSet<Need> = aside(|| needs(evidence)).into_iter().collect();
            if needs.is_empty() {
                return;
            }
            if !self.remember(&needs, evidence, now) {
                self.ask(needs, evidence).await;
            }
        }
    }

    fn beginning(&self) -> Evidence {
        let responders = self.witnesses.responders;
        Evidence::with_lists(aside(|| responders.lists())).asking_everybody(responders.asks_everybody())
    }

    /// Until when what a plugin says now is good.
    fn good_until(&self, now: Timestamp) -> Option<Timestamp> {
        let good_for = SignedDuration::try_from(self.witnesses.plugins.good_for()?).unwrap_or(SignedDuration::MAX);
        now.saturating_add(good_for).ok()
    }

    /// Looks for what was brought before. Whether anything was found that had not been looked at yet.
    fn remember(&mut self, needs: &BTreeSet<Need>, evidence: &mut Evidence, now: Timestamp) -> bool {
        let mut has_found = false;
        for need in needs {
            if !self.looked_up.insert(need.clone()) {
                continue;
            }
            if let Some(bytes) = aside(|| self.witnesses.responders.remembered(need, now)) {
                evidence.remember(need.clone(), bytes);
                has_found = true;
            }
        }
        has_found
    }

    /// Asks for everything at once. Whatever comes of it is an answer, so that no need comes back.
    async fn ask(&mut self, needs: BTreeSet<Need>, evidence: &mut Evidence) {
        let (started, left) = (Instant::now(), self.left);
        let (before, responders) = (self.asked, self.witnesses.responders);
        let asked = needs.into_iter().enumerate().map(|(index, need)| async move {
            let is_allowed = before + index < MAX_ASKED;
            if !is_allowed {
                return (need, Err(Problem::of(&AskError::TooMany { limit: MAX_ASKED })));
            }
            let answer = timeout(left, responders.ask(&need)).await;
            (need, answer.unwrap_or_else(|_| Err(Problem::of(&AskError::TimedOut { limit: left }))))
        });
        let answers = join_all(asked).await;
        self.asked += answers.len();
        self.left = left.saturating_sub(started.elapsed());
        for (need, answer) in answers {
            evidence.answer(need, answer);
        }
    }

    /// Keeps what was relied upon for the next question.
    fn keep(&self, outcome: &Outcome, evidence: &Evidence, now: Timestamp) {
        for status in &outcome.revocation {
            let Some(until) = status.until else { continue };
            for relied in &status.evidence {
                let found = relied.need.as_ref().and_then(|need| Some((need, evidence.bytes(need)?)));
                if let Some((need, bytes)) = found {
                    self.witnesses.responders.keep(need, bytes, Kept { now, until, is_whole: relied.is_whole });
                }
            }
        }
    }
}
