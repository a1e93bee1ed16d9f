//! Brings the signatures of an image to where they are examined, one by one, until one is good.

use jiff::Timestamp;

use super::{Bounds, Gathering, Question, aside};
use crate::envelope::Envelope;
use crate::oci::{Blob, Descriptor, SignatureManifest};
use crate::policy::{Statement, Trust};
use crate::source::{Referrers, Source, SourceError};
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

/// Where the signatures of an image are fetched, and by what they are examined.
pub(super) struct Search<'a> {
    pub(super) question: &'a Question,
    pub(super) statement: &'a Statement,
    pub(super) trust: &'a Trust,
    pub(super) bounds: Bounds,
    pub(super) now: Timestamp,
}

impl Search<'_> {
    /// Examines the signatures in the source's order, up to the bound. What a first host of the source lists may do; where none
    /// of it is good the others are asked, too, for a mirror may be older than what it mirrors.
    pub(super) async fn gather(
        &self,
        source: &dyn Source,
        gathering: &mut Gathering<'_>,
    ) -> Result<Gathered, SourceError> {
        let Question { repository, artifact, .. } = self.question;
        let most = self.bounds.max_signatures;
        let listed = match source.signatures(repository, artifact, most).await {
            Err(SourceError::NotFound { .. }) => return Ok(Gathered::default()),
            answer => answer?,
        };
        let found = self.examine(source, &listed, gathering).await;
        let room = most.saturating_sub(listed.descriptors.len());
        if found.has_good() || listed.descriptors.is_empty() || room == 0 {
            return Ok(found);
        }
        let further = source.further_signatures(repository, artifact, &listed.descriptors, room).await?;
        let mut found = found.and(self.examine(source, &further.referrers, gathering).await);
        if let (false, Some(error)) = (found.has_good(), &further.unanswered) {
            found.reports.push(SignatureReport { digest: None, outcome: unfetched(error) });
        }
        Ok(found)
    }

    /// One after the other until one is good. One that cannot be fetched or read does not stand in the way of the next: anybody
    /// who may push could otherwise block every pull (Notary "Signing and Verification Workflow").
    async fn examine(&self, source: &dyn Source, listed: &Referrers, gathering: &mut Gathering<'_>) -> Gathered {
        let mut gathered = Gathered { truncated: listed.truncated, ..Gathered::default() };
        for descriptor in &listed.descriptors {
            let (outcome, fetched) = match self.fetch(source, descriptor).await {
                Ok(fetched) => (self.outcome(&fetched.envelope, gathering).await, Some(fetched)),
                Err(unread) => (unread, None),
            };
            let is_good = outcome.decisive().is_none();
            gathered.reports.push(SignatureReport { digest: Some(descriptor.digest.clone()), outcome });
            if is_good {
                gathered.good = fetched;
                break;
            }
        }
        gathered
    }

    async fn outcome(&self, envelope: &Blob, gathering: &mut Gathering<'_>) -> Outcome {
        let subject = Subject::artifact(&self.question.artifact, &self.question.user_metadata);
        let (media_type, bytes) = (&envelope.descriptor().media_type, envelope.bytes());
        // A stranger's chain of sixteen certificates takes tens of milliseconds.
        match aside(|| Envelope::parse(media_type, bytes, self.bounds.envelope_size)) {
            Ok(envelope) => {
                let examined = aside(|| examine(&envelope, subject, self.statement, self.trust));
                gathering.conclude(examined, self.now).await
            }
            Err(error) => malformed(&error),
        }
    }

    /// One signature: its manifest and its envelope.
    async fn fetch(&self, source: &dyn Source, descriptor: &Descriptor) -> Result<Fetched, Outcome> {
        let Question { repository, artifact, .. } = self.question;
        let manifest = source.manifest(repository, descriptor).await.map_err(|error| unfetched(&error))?;
        let signature = SignatureManifest::parse(&descriptor.media_type, manifest.bytes())
            .map_err(|error| Outcome::unread(Check::Retrieval, State::Failed { problem: Problem::of(&error) }))?;
        if signature.is_foreign_to(artifact) {
            return Err(Outcome::unread(Check::Retrieval, State::Failed { problem: foreign(descriptor) }));
        }
        let envelope = source.blob(repository, &signature.envelope, self.bounds.envelope_size).await;
        Ok(Fetched { manifest, envelope: envelope.map_err(|error| unfetched(&error))? })
    }
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
