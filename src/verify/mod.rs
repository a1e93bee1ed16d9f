//! Is this signature good, for this artifact, under this statement?
//!
//! Two steps, so that what needs the outside world stands between them and not inside: [`examine`] answers what follows
//! from the bytes alone, [`Examined::conclude`] what depends on the time. Checks state findings and deny nothing; the
//! statement's actions alone decide what a bad one means, so `audit` and `strict` run the same code.
//!
//! Follows the Notary "Signing and Verification Workflow", with two differences in order that change no verdict: the
//! artifact and the user metadata are compared directly after the signature, before anything is looked up for a stranger.

mod authenticity;
mod evidence;
mod expiry;
mod inquiry;
mod integrity;
mod outcome;
mod revocation;
mod timestamp;
mod verdict;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use evidence::{Evidence, Lists, Need};
pub use integrity::{Sound, check_integrity};
pub use outcome::{Check, Finding, Outcome, Problem, Signer, State};
pub use revocation::{CertificateStatus, Relied, Revocation};
pub use verdict::{Answer, Denial, Governing, Permit, SignatureReport, Verdict, VerdictInput, govern};

use self::revocation::Survey;
use crate::envelope::{Envelope, InvalidEnvelope, SigningScheme};
use crate::oci::{Descriptor, Digest};
use crate::pki::revocation::Moment;
use crate::pki::{Certificate, Chain};
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
    /// Whether the chain leads to a trust anchor of the statement. Until it does, it is a stranger's.
    reaches_anchor: bool,
    findings: Vec<Finding>,
}

/// Integrity, user metadata, plugin, authenticity: what follows from the envelope and the trust snapshot alone.
pub fn examine<'a>(
    envelope: &'a Envelope,
    subject: Subject<'_>,
    statement: &'a Statement,
    trust: &'a Trust,
) -> Examined<'a> {
    let (timestamp, reaches_anchor) = (timestamp::Verified::default(), false);
    let mut examined =
        Examined { envelope, statement, trust, timestamp, chain: None, reaches_anchor, findings: Vec::new() };
    match integrity::check(envelope, subject.target) {
        Ok(sound) => {
            examined.record(Check::Integrity, Action::Enforce, State::Passed);
            examined.record(
                Check::UserMetadata,
                Action::Enforce,
                integrity::check_user_metadata(&sound.payload, subject.user_metadata),
            );
            examined.record(Check::Plugin, Action::Enforce, integrity::check_plugin(envelope.signed_attributes()));
            let authentic = authenticity::check(&sound.chain, envelope.signed_attributes(), statement, trust);
            examined.record(Check::Authenticity, authentic.action, authentic.state);
            examined.reaches_anchor = authentic.reaches_anchor;
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
    /// What would have to be fetched before it can be decided, with this much at hand: nothing when more would change
    /// nothing, and nothing while the chain is a stranger's. To be asked again when something was brought.
    pub fn needs(&self, evidence: &Evidence, now: Timestamp) -> Vec<Need> {
        let Some(chain) = self.chain.as_ref().filter(|_| self.reaches_anchor && !self.is_decided()) else {
            return Vec::new();
        };
        let (expiry, stamped) = (self.expiry(now), self.stamped(chain, now));
        if expiry.is_decisive() || stamped.finding().is_decisive() {
            return Vec::new();
        }
        let mut needs = stamped.authority.map(|authority| self.survey_authority(authority, evidence, now).needs);
        if self.statement.action(Validation::Revocation) != Action::Skip {
            needs.get_or_insert_default().extend(self.survey(chain, evidence, now).needs);
        }
        needs.unwrap_or_default()
    }

    /// Expiry, authentic time-stamp, revocation: what depends on the time, and on evidence.
    pub fn conclude(mut self, evidence: &Evidence, now: Timestamp) -> Outcome {
        let attributes = self.envelope.signed_attributes();
        let chain = self.chain.take();
        let expiry = chain.as_ref().map(|_| self.expiry(now).state);
        self.record(Check::Expiry, self.statement.action(Validation::Expiry), expiry.unwrap_or(State::NotReached));
        let (timestamp, action, authority) = self.timestamp(chain.as_ref(), evidence, now);
        self.record(Check::AuthenticTimestamp, action, timestamp);
        let (revocation, signer_survey) = self.revocation(chain.as_ref(), evidence, now);
        self.record(Check::Revocation, self.statement.action(Validation::Revocation), revocation);

        let signer = chain.as_ref().map(|chain| Signer {
            subject: outcome::shortened(crate::remedy::printable(&chain.leaf().subject().to_string())),
            signing_time: attributes.signing_time,
            expiry: attributes.expiry,
        });
        let validity =
            chain.as_ref().and_then(|chain| timestamp::changes_at(chain, self.envelope, self.statement, now));
        let expiry = attributes.expiry.filter(|expiry| *expiry > now);
        let answers = [signer_survey.good_until(), authority.good_until()];
        Outcome {
            format: Some(self.envelope.format()),
            signer,
            findings: self.findings,
            good_until: [expiry, validity].into_iter().chain(answers).flatten().min(),
            revocation: signer_survey.statuses.into_iter().chain(authority.statuses).collect(),
        }
    }

    fn expiry(&self, now: Timestamp) -> Finding {
        let state = expiry::check(self.envelope.signed_attributes(), now);
        Finding { check: Check::Expiry, state, action: self.statement.action(Validation::Expiry) }
    }

    /// The authentic time-stamp, as far as its bytes say.
    fn stamped(&self, chain: &Chain, now: Timestamp) -> timestamp::Checked<'_> {
        timestamp::check(chain, self.envelope, self.statement, self.trust, &self.timestamp, now)
    }

    /// The authentic time-stamp: what the bytes say, and then whether its authority was revoked, whatever the statement says
    /// about the signer: a stamp made with a stolen key vouches for nothing. A token is not looked into on behalf of a
    /// signature that is refused already.
    fn timestamp(&self, chain: Option<&Chain>, evidence: &Evidence, now: Timestamp) -> (State, Action, Survey) {
        let Some(chain) = chain.filter(|_| !self.is_decided()) else {
            let action = self.statement.action(Validation::AuthenticTimestamp);
            return (State::NotReached, action, Survey::default());
        };
        let stamped = self.stamped(chain, now);
        match stamped.authority {
            None => (stamped.state, stamped.action, Survey::default()),
            Some(authority) => {
                let survey = self.survey_authority(authority, evidence, now);
                (survey.state(), stamped.action, survey)
            }
        }
    }

    fn revocation(&self, chain: Option<&Chain>, evidence: &Evidence, now: Timestamp) -> (State, Survey) {
        let Some(chain) = chain else { return (State::NotReached, Survey::default()) };
        if self.statement.action(Validation::Revocation) == Action::Skip {
            return (State::Skipped, Survey::default());
        }
        if !self.reaches_anchor {
            return (revocation::of_stranger(chain.certificates()), Survey::default());
        }
        let survey = self.survey(chain, evidence, now);
        (survey.state(), survey)
    }

    fn survey(&self, chain: &Chain, evidence: &Evidence, now: Timestamp) -> Survey {
        let attributes = self.envelope.signed_attributes();
        // Under `notary.x509` the signing time is the signer's own claim, and a thief of its key would claim an early one.
        let authentic_signing_time =
            (attributes.scheme == SigningScheme::SigningAuthority).then_some(attributes.signing_time);
        Survey::of(chain.certificates(), evidence, Moment { now, authentic_signing_time })
    }

    /// The chain of a verified stamp leads to one of our anchors. Nobody but the authority itself vouches for its time.
    fn survey_authority(&self, authority: &[Certificate], evidence: &Evidence, now: Timestamp) -> Survey {
        let nothing = Evidence::default();
        // A stranger's image must not make the node ask anybody.
        let evidence = if self.reaches_anchor { evidence } else { &nothing };
        Survey::of(authority, evidence, Moment { now, authentic_signing_time: None })
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
