//! Is this signature good, for this artifact, under this statement?
//!
//! Two steps, so that what needs the outside world stands between them and not inside: [`examine`] answers what follows
//! from the bytes alone, [`Examined::conclude`] what depends on the time. Checks state findings and deny nothing; the
//! statement's actions alone decide what a bad one means, so `audit` and `strict` run the same code.
//!
//! Follows the Notary "Signing and Verification Workflow", with two differences in order that change no verdict: the
//! artifact and the user metadata are compared directly after the signature, before anything is looked up for a stranger.

mod authenticity;
mod expiry;
mod integrity;
mod outcome;
mod revocation;
mod timestamp;
mod verdict;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use outcome::{Check, Finding, Outcome, Problem, Signer, State};
pub use verdict::{Answer, Denial, Governing, Permit, SignatureReport, Verdict, VerdictInput, govern};

use crate::envelope::{Envelope, InvalidEnvelope};
use crate::oci::{Descriptor, Digest};
use crate::pki::Chain;
use crate::policy::{Action, Statement, Trust, Validation};

/// What a signature must be about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What must have been signed.
    pub target: Target<'a>,
    /// Pairs that must stand in the signed metadata.
    pub user_metadata: &'a BTreeMap<String, String>,
}

/// What the target artifact of a payload is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A manifest: media type, digest and size must be equal.
    Artifact(&'a Descriptor),
    /// A file outside of any registry: digest and size must be equal. Its signer hashes it with the hash of the key's
    /// algorithm, so that no digest by another hash is ever accepted ("Signing and Verification Workflow", blobs).
    Blob {
        /// The digest by the hash of [`Envelope::algorithm`].
        digest: &'a Digest,
        /// The size in bytes.
        size: u64,
        /// The media type that must have been signed, where one is asked for.
        media_type: Option<&'a str>,
    },
}

impl<'a> Subject<'a> {
    /// A manifest, and pairs that must stand in the signed metadata.
    pub fn artifact(artifact: &'a Descriptor, user_metadata: &'a BTreeMap<String, String>) -> Self {
        Self { target: Target::Artifact(artifact), user_metadata }
    }
}

/// A signature that has been examined as far as its bytes go.
#[derive(Debug)]
pub struct Examined<'a> {
    envelope: &'a Envelope,
    statement: &'a Statement,
    /// For what is looked up when the time is known: the authorities that may vouch for another time.
    trust: &'a Trust,
    timestamp: timestamp::Verified,
    /// There when the integrity holds.
    chain: Option<Chain>,
    findings: Vec<Finding>,
}

/// Integrity, user metadata, plugin, authenticity: what follows from the envelope and the trust snapshot alone.
pub fn examine<'a>(
    envelope: &'a Envelope,
    subject: Subject<'_>,
    statement: &'a Statement,
    trust: &'a Trust,
) -> Examined<'a> {
    let timestamp = timestamp::Verified::default();
    let mut examined = Examined { envelope, statement, trust, timestamp, chain: None, findings: Vec::new() };
    match integrity::check(envelope, subject.target) {
        Ok(sound) => {
            examined.record(Check::Integrity, Action::Enforce, State::Passed);
            examined.record(
                Check::UserMetadata,
                Action::Enforce,
                integrity::check_user_metadata(&sound.payload, subject.user_metadata),
            );
            examined.record(Check::Plugin, Action::Enforce, integrity::check_plugin(envelope.signed_attributes()));
            let (state, action) = authenticity::check(&sound.chain, envelope.signed_attributes(), statement, trust);
            examined.record(Check::Authenticity, action, state);
            examined.chain = Some(sound.chain);
        }
        Err(problem) => {
            examined.record(Check::Integrity, Action::Enforce, State::Failed { problem });
            for check in [Check::UserMetadata, Check::Plugin, Check::Authenticity] {
                examined.record(check, Action::Enforce, State::NotReached);
            }
        }
    }
    examined
}

impl Examined<'_> {
    /// Expiry, authentic time-stamp, revocation: what depends on the time, and on evidence.
    pub fn conclude(mut self, now: Timestamp) -> Outcome {
        let attributes = self.envelope.signed_attributes();
        let chain = self.chain.take();
        let timed = |check: &dyn Fn(&Chain) -> State| chain.as_ref().map_or(State::NotReached, check);
        let expiry = timed(&|_| expiry::check(attributes, now));
        let revocation = timed(&|chain| revocation::check(chain, self.statement));
        self.record(Check::Expiry, self.statement.action(Validation::Expiry), expiry);
        let (timestamp, action) = self.timestamp(chain.as_ref(), now);
        self.record(Check::AuthenticTimestamp, action, timestamp);
        self.record(Check::Revocation, self.statement.action(Validation::Revocation), revocation);

        let signer = chain.as_ref().map(|chain| Signer {
            subject: outcome::shortened(crate::remedy::printable(&chain.leaf().subject().to_string())),
            signing_time: attributes.signing_time,
            expiry: attributes.expiry,
        });
        let validity =
            chain.as_ref().and_then(|chain| timestamp::changes_at(chain, self.envelope, self.statement, now));
        let expiry = attributes.expiry.filter(|expiry| *expiry > now);
        Outcome {
            format: Some(self.envelope.format()),
            signer,
            findings: self.findings,
            good_until: [expiry, validity].into_iter().flatten().min(),
        }
    }

    /// The authentic time-stamp: what the bytes say, and then whether its authority was revoked. A token is not looked into on
    /// behalf of a signature that is refused already.
    fn timestamp(&self, chain: Option<&Chain>, now: Timestamp) -> (State, Action) {
        let Some(chain) = chain.filter(|_| !self.is_decided()) else {
            return (State::NotReached, self.statement.action(Validation::AuthenticTimestamp));
        };
        let checked = timestamp::check(chain, self.envelope, self.statement, self.trust, &self.timestamp, now);
        (checked.authority.map_or(checked.state, revocation::check_authority), checked.action)
    }

    /// Notes a finding. After one that decided, the rest is not reached.
    fn record(&mut self, check: Check, action: Action, state: State) {
        let state = if self.is_decided() { State::NotReached } else { state };
        self.findings.push(Finding { check, state, action });
    }

    fn is_decided(&self) -> bool {
        self.findings.iter().any(Finding::is_decisive)
    }
}

/// The outcome for bytes that are not an envelope: its integrity fails, and nothing else is reached.
pub fn malformed(error: &InvalidEnvelope) -> Outcome {
    let check = match error {
        InvalidEnvelope::TooLarge { .. } => Check::Limit,
        _ => Check::Integrity,
    };
    Outcome::unread(check, State::Failed { problem: Problem::of(error) })
}
