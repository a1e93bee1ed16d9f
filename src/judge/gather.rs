//! Brings the signatures of an image to where they are examined, one by one, until one is good.

use jiff::Timestamp;

use super::{Bounds, Gathering, Question, aside};
use crate::envelope::Envelope;
use crate::oci::{Blob, Descriptor, Repository, SignatureManifest};
use crate::policy::{Statement, Trust};
use crate::source::{Source, SourceError};
use crate::verify::{Check, Outcome, Problem, SignatureReport, State, Subject, examine, malformed};

/// What became of the signatures of an image.
#[derive(Default)]
pub(super) struct Gathered {
    /// In the source's order; the last one is good, if any is.
    pub(super) reports: Vec<SignatureReport>,
    /// Whether there are more than were examined.
    pub(super) truncated: bool,
    /// The bytes of the last one, where it is good.
    pub(super) good: Option<Fetched>,
}

/// One signature, as it was fetched.
pub(super) struct Fetched {
    pub(super) manifest: Blob,
    pub(super) envelope: Blob,
}

impl Gathered {
    /// Whether the last signature is good: none is examined after a good one.
    pub(super) fn has_good(&self) -> bool {
        self.good.is_some()
    }

    /// These, and then those of another source.
    pub(super) fn and(mut self, next: Self) -> Self {
        self.reports.extend(next.reports);
        Self { reports: self.reports, truncated: self.truncated || next.truncated, good: next.good }
    }
}

/// Examines the signatures in the source's order, up to the bound. One that cannot be fetched or read does not stand in
/// the way of the next: anybody who may push could otherwise block every pull (Notary "Signing and Verification
/// Workflow").
pub(super) async fn signatures(
    source: &dyn Source,
    question: &Question,
    statement: &Statement,
    trust: &Trust,
    bounds: Bounds,
    gathering: &mut Gathering<'_>,
    now: Timestamp,
) -> Result<Gathered, SourceError> {
    let Question { repository, artifact, user_metadata, .. } = question;
    let subject = Subject::artifact(artifact, user_metadata);
    let referrers = match source.signatures(repository, artifact, bounds.max_signatures).await {
        Err(SourceError::NotFound { .. }) => return Ok(Gathered::default()),
        answer => answer?,
    };
    let (mut reports, mut good) = (Vec::new(), None);
    for descriptor in &referrers.descriptors {
        let (outcome, fetched) = match fetch(source, repository, artifact, descriptor, bounds).await {
            Ok(fetched) => {
                let (media_type, bytes) = (&fetched.envelope.descriptor().media_type, fetched.envelope.bytes());
                // A stranger's chain of sixteen certificates takes tens of milliseconds.
                let outcome = match aside(|| Envelope::parse(media_type, bytes, bounds.envelope_size)) {
                    Ok(envelope) => {
                        let examined = aside(|| examine(&envelope, subject, statement, trust));
                        gathering.conclude(examined, now).await
                    }
                    Err(error) => malformed(&error),
                };
                (outcome, Some(fetched))
            }
            Err(unread) => (unread, None),
        };
        let is_good = outcome.decisive().is_none();
        reports.push(SignatureReport { digest: Some(descriptor.digest.clone()), outcome });
        if is_good {
            good = fetched;
            break;
        }
    }
    Ok(Gathered { reports, truncated: referrers.truncated, good })
}

/// One signature: its manifest and its envelope.
async fn fetch(
    source: &dyn Source,
    repository: &Repository,
    subject: &Descriptor,
    descriptor: &Descriptor,
    bounds: Bounds,
) -> Result<Fetched, Outcome> {
    let manifest = source.manifest(repository, descriptor).await.map_err(|error| unfetched(&error))?;
    let signature = SignatureManifest::parse(&descriptor.media_type, manifest.bytes())
        .map_err(|error| Outcome::unread(Check::Retrieval, State::Failed { problem: Problem::of(&error) }))?;
    if signature.is_foreign_to(subject) {
        return Err(Outcome::unread(Check::Retrieval, State::Failed { problem: foreign(descriptor) }));
    }
    let envelope = source.blob(repository, &signature.envelope, bounds.envelope_size).await;
    Ok(Fetched { manifest, envelope: envelope.map_err(|error| unfetched(&error))? })
}

/// "It is not there" and "it is too large" are answers about this signature; every other failure leaves the question
/// open.
fn unfetched(error: &SourceError) -> Outcome {
    let problem = Problem::of(error);
    match error {
        SourceError::NotFound { .. } => Outcome::unread(Check::Retrieval, State::Failed { problem }),
        SourceError::TooLarge { .. } => Outcome::unread(Check::Limit, State::Failed { problem }),
        _ => Outcome::unread(Check::Retrieval, State::Inconclusive { problem }),
    }
}

fn foreign(descriptor: &Descriptor) -> Problem {
    let message = format!("the signature manifest {} refers to another artifact", descriptor.digest.short());
    let remedy = "the registry lists a signature that belongs to another image: sign this one";
    Problem::new("signature-of-other-subject", &message, remedy)
}
