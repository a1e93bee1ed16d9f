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
mod govern;
mod inquiry;
mod integrity;
mod outcome;
mod plugin;
mod prune;
mod revocation;
mod standing;
mod timestamp;
mod verdict;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use evidence::{Evidence, Lists, Need};
pub use govern::{govern, govern_blob};
pub use integrity::{Sound, check_integrity};
pub use outcome::{Check, Finding, Outcome, Problem, Signer, State};
pub use plugin::{PluginAnswer, PluginCheck, PluginQuestion, PluginReport, PluginResult, SignatureQuestion};
pub use prune::{Candidate, Difference, Fate, prune};
pub use revocation::{CertificateStatus, Relied, Revocation};
pub use standing::Standing;
pub use verdict::{Answer, Denial, Governing, Permit, SignatureReport, Verdict, VerdictInput};

use self::authenticity::Authentic;
use self::plugin::Consulted;
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
    sound: Option<Signatory>,
    findings: Vec<Finding>,
}

/// The signer of a signature whose integrity holds.
#[derive(Debug)]
struct Signatory {
    chain: Chain,
    /// Until its chain leads to a trust anchor of the statement, it is a stranger.
    authentic: Authentic,
}

/// Integrity, user metadata, trust anchors: what follows from the envelope and the trust snapshot alone.
pub fn examine<'a>(
    envelope: &'a Envelope,
    subject: Subject<'_>,
    statement: &'a Statement,
    trust: &'a Trust,
) -> Examined<'a> {
    let timestamp = timestamp::Verified::default();
    let mut examined = Examined { envelope, statement, trust, timestamp, sound: None, findings: Vec::new() };
    match integrity::check(envelope, subject.target) {
        Ok(sound) => {
            examined.record(Check::Integrity, Action::Enforce, State::Passed);
            examined.record(
                Check::UserMetadata,
                Action::Enforce,
                integrity::check_user_metadata(&sound.payload, subject.user_metadata),
            );
            let authentic = authenticity::check(&sound.chain, envelope.signed_attributes(), statement, trust);
            examined.sound = Some(Signatory { chain: sound.chain, authentic });
        }
        Err(problem) => {
            examined.record(Check::Integrity, Action::Enforce, State::Failed { problem });
            examined.record(Check::UserMetadata, Action::Enforce, State::NotReached);
        }
    }
    examined
}

impl Examined<'_> {
    /// What would have to be fetched before it can be decided, with this much at hand: nothing when more would change
    /// nothing, nothing while the chain is a stranger's, and nothing while a [plugin](Self::question) is to be asked
    /// first. To be asked again when something was brought.
    pub fn needs(&self, evidence: &Evidence, now: Timestamp) -> Vec<Need> {
        let Some((sound, consulted)) = self.undecided(evidence, now) else { return Vec::new() };
        if consulted.is_unknown_yet() {
            return Vec::new();
        }
        let stamped = self.stamped(&sound.chain, now);
        if stamped.finding().is_decisive() {
            return Vec::new();
        }
        let mut needs = stamped.authority.map(|authority| self.survey_authority(authority, evidence, now).needs);
        let is_ours = consulted.revocation.is_none();
        if is_ours && self.statement.action(Validation::Revocation) != Action::Skip {
            needs.get_or_insert_default().extend(self.survey(&sound.chain, evidence, now).needs);
        }
        needs.unwrap_or_default()
    }

    /// What the signer's verification plugin is to be asked before it can be decided, if anything: never on behalf of a
    /// stranger, and about the signature itself only when nothing else stands in its way. To be asked again when there is
    /// an answer.
    pub fn question(&self, evidence: &Evidence, now: Timestamp) -> Option<PluginQuestion> {
        let (sound, consulted) = self.undecided(evidence, now)?;
        let question = consulted.question?;
        if matches!(question, PluginQuestion::Metadata { .. }) {
            return Some(question);
        }
        let (timestamp, action, _) = self.timestamp(Some(&sound.chain), evidence, now);
        let (revocation, _) = self.revocation(consulted.revocation.as_ref(), evidence, now);
        let is_refused = timestamp.decides(action) || revocation.decides(self.statement.action(Validation::Revocation));
        (!is_refused && self.needs(evidence, now).is_empty()).then_some(question)
    }

    /// The signer, if its chain leads to an anchor, and neither the bytes nor the signer's identity nor its own expiry
    /// decide.
    fn undecided(&self, evidence: &Evidence, now: Timestamp) -> Option<(&Signatory, Consulted)> {
        let sound = self.sound.as_ref().filter(|sound| sound.authentic.reaches_anchor && !self.is_decided())?;
        let consulted = self.consulted(&sound.chain, evidence);
        let plugin_decides = consulted.question.is_none() && consulted.state.decides(Action::Enforce);
        // Which check of the identity counts is not known before the plugin has said so.
        let is_refused = !consulted.is_unknown_yet()
            && sound.authentic.state(consulted.identity.clone()).decides(sound.authentic.action);
        let is_decided = plugin_decides || is_refused || self.expiry(now).is_decisive();
        (!is_decided).then_some((sound, consulted))
    }

    fn consulted(&self, chain: &Chain, evidence: &Evidence) -> Consulted {
        Consulted::about(chain, self.envelope.signed_attributes(), self.statement, evidence)
    }

    /// Plugin, authenticity, expiry, authentic time-stamp, revocation: what depends on the time, and on evidence.
    pub fn conclude(mut self, evidence: &Evidence, now: Timestamp) -> Outcome {
        let attributes = self.envelope.signed_attributes();
        let consulted = self.record_signer(evidence);
        let chain = self.sound.as_ref().map(|sound| sound.chain.clone());
        let expiry = chain.as_ref().map(|_| self.expiry(now).state);
        self.record(Check::Expiry, self.statement.action(Validation::Expiry), expiry.unwrap_or(State::NotReached));
        let (timestamp, action, authority) = self.timestamp(chain.as_ref(), evidence, now);
        self.record(Check::AuthenticTimestamp, action, timestamp);
        let replaced = consulted.as_ref().and_then(|consulted| consulted.revocation.as_ref());
        let (revocation, signer_survey) = self.revocation(replaced, evidence, now);
        self.record(Check::Revocation, self.statement.action(Validation::Revocation), revocation);
        self.settle_unasked(consulted.as_ref());

        let signer = chain.as_ref().map(|chain| Signer {
            subject: outcome::shortened(crate::remedy::printable(&chain.leaf().subject().to_string())),
            signing_time: attributes.signing_time,
            expiry: attributes.expiry,
        });
        let validity =
            chain.as_ref().and_then(|chain| timestamp::changes_at(chain, self.envelope, self.statement, now));
        let expiry = attributes.expiry.filter(|expiry| *expiry > now);
        let (plugin, until) = consulted.map_or((None, None), |consulted| (consulted.report, consulted.until));
        let answers = [signer_survey.good_until(), authority.good_until(), until];
        Outcome {
            format: Some(self.envelope.format()),
            signer,
            findings: self.findings,
            good_until: [expiry, validity].into_iter().chain(answers).flatten().min(),
            revocation: signer_survey.statuses.into_iter().chain(authority.statuses).collect(),
            plugin,
        }
    }

    /// Plugin and authenticity. What the plugin is still to be asked does not decide yet.
    fn record_signer(&mut self, evidence: &Evidence) -> Option<Consulted> {
        let Some(Signatory { chain, authentic }) = &self.sound else {
            for check in [Check::Plugin, Check::Authenticity] {
                self.record(check, Action::Enforce, State::NotReached);
            }
            return None;
        };
        let action = authentic.action;
        let (plugin, authenticity, consulted) = if authentic.reaches_anchor {
            let consulted = self.consulted(chain, evidence);
            let is_pending = consulted.question.is_some();
            let plugin = if is_pending { State::NotReached } else { consulted.state.clone() };
            (plugin, authentic.state(consulted.identity.clone()), Some(consulted))
        } else {
            let authenticity = authentic.state(None);
            // Who is refused for being a stranger is refused for that reason.
            let is_refused = action == Action::Enforce;
            let demands = self.envelope.signed_attributes().plugin.is_some();
            let plugin = if is_refused && demands {
                State::NotReached
            } else {
                plugin::of_stranger(self.envelope.signed_attributes())
            };
            (plugin, authenticity, None)
        };
        self.record(Check::Plugin, Action::Enforce, plugin);
        self.record(Check::Authenticity, action, authenticity);
        consulted
    }

    /// A plugin that is still to be asked keeps the question open, where nothing else has decided it.
    fn settle_unasked(&mut self, consulted: Option<&Consulted>) {
        let Some(consulted) = consulted.filter(|consulted| consulted.question.is_some()) else { return };
        if self.is_decided() {
            return;
        }
        for finding in self.findings.iter_mut().filter(|finding| finding.check == Check::Plugin) {
            finding.state = consulted.state.clone();
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

    /// Revocation, or what a plugin says in its place.
    fn revocation(&self, replaced: Option<&State>, evidence: &Evidence, now: Timestamp) -> (State, Survey) {
        let Some(Signatory { chain, authentic }) = &self.sound else { return (State::NotReached, Survey::default()) };
        if self.statement.action(Validation::Revocation) == Action::Skip {
            return (State::Skipped, Survey::default());
        }
        if let Some(state) = replaced {
            return (state.clone(), Survey::default());
        }
        if !authentic.reaches_anchor {
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
        let reaches_anchor = self.sound.as_ref().is_some_and(|sound| sound.authentic.reaches_anchor);
        let evidence = if reaches_anchor { evidence } else { &nothing };
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
