//! Was the authority of a time-stamp revoked that was made a moment ago?
//!
//! Whoever signs relies on the stamp for years, and whoever verifies asks the same question then: a stamp of a revoked
//! authority would be worth nothing to them (Notary signing workflow, "Guidelines for Timestamping").

use jiff::Timestamp;

use super::evidence::{Evidence, Need};
use super::outcome::State;
use super::revocation::Survey;
use crate::pki::revocation::Moment;
use crate::pki::{Certificate, Stamp};

/// The authority of a stamp, whose root the asker trusts.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'s> {
    chain: &'s [Certificate],
}

impl<'s> Standing<'s> {
    /// Of the authority that has made this stamp.
    pub fn of(stamp: &'s Stamp) -> Self {
        Self { chain: stamp.chain() }
    }

    /// What would have to be fetched to know.
    pub fn needs(&self, evidence: &Evidence, now: Timestamp) -> Vec<Need> {
        self.survey(evidence, now).needs
    }

    /// What is known.
    pub fn state(&self, evidence: &Evidence, now: Timestamp) -> State {
        self.survey(evidence, now).state()
    }

    /// Nobody but the authority itself vouches for its time.
    fn survey(&self, evidence: &Evidence, now: Timestamp) -> Survey {
        Survey::of(self.chain, evidence, Moment { now, authentic_signing_time: None })
    }
}
