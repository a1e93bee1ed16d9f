//! Whoever must agree to the signatures of one key, and what their signatures are judged by.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::record::RecordFile;
use super::{denied, refusal};
use crate::cli::exit::{Exit, Failure};
use crate::cli::patience;
use crate::cli::revocation::as_notation_asks;
use crate::cli::signing_key::{HeldKey, Made};
use crate::config::{KeyUsageError, NotationDir, UsageRule, load_trust_store};
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::envelope::{Envelope, Format, Payload};
use crate::judge::examine_alone;
use crate::oci::{Descriptor, Digest, media_type};
use crate::pki::Certificate;
use crate::policy::{Policy, Trust};
use crate::remedy::Code;
use crate::sign::SignRequest;
use crate::sign::approval::{
    APPROVAL_MEDIA_TYPE, Approval, GivenApproval, Person, QuorumRule, REQUEST_MEDIA_TYPE, RequestFile, SigningRequest,
    check_time,
};
use crate::verify::{Problem, State, Subject, Target};

/// What is changed in a request shows in its size or its digest.
const ALTERED: [Code; 2] = [Code("blob-mismatch"), Code("blob-size-mismatch")];

/// The usage policy of one key, ready to judge.
pub(in crate::cli) struct Board {
    pub(in crate::cli) rule: UsageRule,
    pub(in crate::cli) record: RecordFile,
    approvers: Trust,
    requesters: Trust,
}

/// An approval of the file, and what stands in its way, if anything does.
pub(in crate::cli) struct Judged {
    pub(in crate::cli) approval: Approval,
    pub(in crate::cli) given: GivenApproval,
    pub(in crate::cli) state: State,
}

impl Board {
    /// The board for the key that the usage policy calls so.
    pub(in crate::cli) fn open(directory: &NotationDir, key: &str) -> Result<Self, Failure> {
        let (rule, record) = directory.usage_rule_of(key).map_err(|error| match error {
            KeyUsageError::Unknown { .. } => Failure::usage_of(&error),
            error => Failure::of(&error),
        })?;
        let (approvers, requesters) = (trust(directory, &rule.approvers)?, trust(directory, &rule.requesters)?);
        Ok(Self { rule, record: RecordFile::new(record), approvers, requesters })
    }

    /// The rule, as the decision takes it.
    pub(in crate::cli) fn quorum(&self) -> QuorumRule {
        QuorumRule {
            quorum: self.rule.approvals,
            approvers: self.rule.approver_identities().iter().map(ToString::to_string).collect(),
            valid_for: SignedDuration::try_from(self.rule.valid_for).unwrap_or(SignedDuration::ZERO),
            requester_counts: self.rule.requester_may_approve,
        }
    }

    /// Who asks, where the request may be acted on now: it is for the key's certificate, whole, in time, and by somebody who
    /// may ask.
    pub(in crate::cli) async fn requester(&self, file: &RequestFile, now: Timestamp) -> Result<Person, Failure> {
        let request = &file.request;
        let own = self.rule.certificate.thumbprint();
        if request.certificate != own {
            let message = format!(
                "the request is for the certificate {}, and the key `{}` has the certificate {own}",
                request.certificate, self.rule.name
            );
            let remedy = "make a new request for the key as it is now";
            return Err(refusal("approval-other-certificate", &message, remedy));
        }
        check_time(request, &self.quorum(), now).map_err(|error| denied(&error))?;
        let bytes = request.canonical_bytes();
        let read = self.read(&file.requester, &bytes, REQUEST_MEDIA_TYPE, &self.requesters, now).await;
        match read {
            Ok(Read { person, state: State::Passed, .. }) => Ok(person),
            Ok(Read { state: State::Inconclusive { problem }, .. }) => Err(Failure::of_problem(problem)),
            Ok(Read { state, .. }) => Err(refused_requester(state.problem())),
            Err(problem) => Err(refused_requester(Some(&problem))),
        }
    }

    /// Each approval in the file, in its order.
    pub(in crate::cli) async fn approvals(&self, file: &RequestFile, now: Timestamp) -> Vec<Judged> {
        let bytes = file.request.canonical_bytes();
        let mut judged = Vec::new();
        for envelope in &file.approvals {
            judged.push(self.approval(envelope, &bytes, now).await);
        }
        judged
    }

    /// One approval of a request with these canonical bytes.
    pub(in crate::cli) async fn approval(&self, envelope: &[u8], request: &[u8], now: Timestamp) -> Judged {
        let approval = Digest::sha256(envelope);
        match self.read(envelope, request, APPROVAL_MEDIA_TYPE, &self.approvers, now).await {
            Ok(Read { person, approved, signed_at, state }) => {
                let given = GivenApproval { approver: person.subject.clone(), approval };
                Judged { approval: Approval { approved, by: person, signed_at }, given, state }
            }
            Err(problem) => {
                // What cannot be read is by nobody, about nothing.
                let by = Person { subject: String::new(), key: Vec::new(), approver: None };
                let approved = Descriptor::of(media_type::OCTET_STREAM, envelope);
                Judged {
                    approval: Approval { approved, by, signed_at: now },
                    given: GivenApproval { approver: String::new(), approval },
                    state: State::Failed { problem },
                }
            }
        }
    }

    async fn read(
        &self,
        envelope: &[u8],
        request: &[u8],
        media_type: &str,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Read, Problem> {
        let envelope = Envelope::parse(Format::Jws.media_type(), envelope, DEFAULT_ENVELOPE_SIZE);
        let envelope = envelope.map_err(|error| Problem::of(&error))?;
        let payload = Payload::parse(envelope.payload()).map_err(|error| Problem::of(&error))?;
        let leaf = envelope.certificates().first().map(|der| Certificate::from_der(der));
        let Some(Ok(leaf)) = leaf else {
            return Err(Problem::new("approval-not-an-approver", "the approval has no certificate", "approve again"));
        };
        let digest = envelope.algorithm().hash().of(request);
        let target = Target::Blob { digest: &digest, size: request.len() as u64, media_type: Some(media_type) };
        let subject = Subject { target, user_metadata: &BTreeMap::new() };
        let state = examine_alone(&as_notation_asks(), trust, &envelope, subject, now).await;
        let place = self.rule.approver_identities().iter().position(|identity| identity.accepts(leaf.subject()));
        let person = Person {
            subject: leaf.subject().to_string(),
            key: leaf.key_bits().to_vec(),
            approver: place.filter(|_| matches!(state, State::Passed)),
        };
        let signed_at = envelope.signed_attributes().signing_time;
        Ok(Read { person, approved: payload.target_artifact, signed_at, state })
    }
}

/// What an envelope says, and whether it is to be believed.
struct Read {
    person: Person,
    approved: Descriptor,
    signed_at: Timestamp,
    state: State,
}

/// The anchors of a policy of the board. A store that cannot be read ends the command: nobody is left out for it.
fn trust(directory: &NotationDir, policy: &Policy) -> Result<Trust, Failure> {
    let named: BTreeSet<_> = policy.trust_stores();
    let mut stores = BTreeMap::new();
    for store in named {
        let anchors = load_trust_store(&directory.trust_store(store), store);
        stores.insert(store.clone(), Ok(anchors.map_err(|problem| Failure::of(&problem))?));
    }
    Ok(Trust::new(policy.clone(), stores, "the usage policy of the key".to_owned()))
}

fn refused_requester(problem: Option<&Problem>) -> Failure {
    let Some(problem) = problem else {
        return refusal(
            "approval-requester-refused",
            "nobody signed the request",
            "ask with `pratique sign --request`",
        );
    };
    if ALTERED.contains(&problem.code) {
        let message = "the request is not what its requester has signed: it was changed";
        return refusal("approval-request-altered", message, "make a new request with `pratique sign --request`");
    }
    let message = format!("who asks may not ask for this key's signatures [{}]: {}", problem.code, problem.message);
    let remedy = "ask with a key whose certificate is among `requesters`, or else `approvers`, of the usage policy";
    refusal("approval-requester-refused", &message, remedy)
}

/// A signature over a request, under a media type that says what it means.
pub(in crate::cli) async fn endorse(
    key: &HeldKey,
    request: &SigningRequest,
    media_type: &str,
    now: Timestamp,
) -> Result<Vec<u8>, Failure> {
    let bytes = request.canonical_bytes();
    // A plugin that makes whole envelopes does not say by which hash beforehand.
    let digest = key.algorithm()?.hash().of(&bytes);
    let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
    let how = SignRequest { format: Format::Jws, user_metadata: BTreeMap::new(), expiry: None, now };
    let signed = match patience::ask(None, || key.sign(&descriptor, &how)).await? {
        Made::Unsealed(unsealed) => unsealed.seal(),
        Made::Whole(signed, _) => *signed,
    };
    Ok(signed.envelope.bytes().to_vec())
}

/// The exit status where so many approvals are wanting: nobody can tell yet where those that could not be judged might do.
pub(in crate::cli) fn exit_of(judged: &[Judged], wanting: usize) -> Exit {
    let undecided = judged.iter().filter(|judged| matches!(judged.state, State::Inconclusive { .. })).count();
    if undecided >= wanting { Exit::Inconclusive } else { Exit::Denied }
}
