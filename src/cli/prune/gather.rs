//! Brings what is to be decided about: for each manifest of an image the signatures that hang on it, read and checked.

use jiff::Timestamp;

use super::Decided;
use super::report::{Lacking, Reason};
use crate::envelope::Envelope;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::oci::{Descriptor, Repository, SignatureManifest, media_type};
use crate::sign::Signed;
use crate::source::discover::{Found, Relation, State, Tree};
use crate::source::limits::MAX_COMPARED_ENVELOPES;
use crate::source::{ImageSink, SourceError};
use crate::verify::{Candidate, Fate, check_integrity, prune};

/// The signatures of an image and of everything that belongs to it.
pub(super) struct Gathered(Vec<Subject>);

/// The signatures of one manifest.
struct Subject {
    descriptor: Descriptor,
    /// Those that are whole.
    candidates: Vec<Candidate>,
    /// The others, with what is known of them.
    settled: Vec<(Descriptor, Reason)>,
}

pub(super) async fn gather(
    place: &dyn ImageSink,
    repository: &Repository,
    tree: &Tree,
) -> Result<Gathered, SourceError> {
    let mut subjects = Vec::new();
    for (number, found) in tree.manifests.iter().enumerate() {
        let signatures = tree.below(number).filter(|(_, below)| is_signature(below));
        let mut subject = Subject { descriptor: found.descriptor.clone(), candidates: Vec::new(), settled: Vec::new() };
        // Of equal ones the first stays, and that is to be one that nobody else has put around the envelope.
        let (mut held, mut written_here) = (0, 0);
        for (number, signature) in signatures {
            let is_referred_to = tree.below(number).next().is_some();
            let read = match (found.state, signature.state, is_referred_to) {
                (_, State::Foreign, _) => Read::Settled(Reason::Foreign),
                (_, State::Unreadable, _) => Read::Settled(Reason::Unreadable),
                (State::Missing, _, true) | (_, State::Missing, true) => Read::Settled(Reason::HoldsOthers),
                (_, State::Missing, false) => Read::Settled(Reason::Dangling(Lacking::Manifest)),
                (State::Missing, _, false) => Read::Settled(Reason::Dangling(Lacking::Subject)),
                _ if held > MAX_COMPARED_ENVELOPES => Read::Settled(Reason::NotCompared),
                _ => read(place, repository, &found.descriptor, &signature.descriptor, is_referred_to).await?,
            };
            match read {
                Read::Whole(whole) => {
                    held += whole.size;
                    let place = if whole.is_as_written_here { written_here } else { subject.candidates.len() };
                    written_here += usize::from(whole.is_as_written_here);
                    subject.candidates.insert(place, whole.candidate);
                }
                Read::Settled(reason) => subject.settled.push((signature.descriptor.clone(), reason)),
            }
        }
        subjects.push(subject);
    }
    Ok(Gathered(subjects))
}

/// By its own words, or, where it is not there, by those of the list.
fn is_signature(found: &Found) -> bool {
    found.relation == Relation::Referrer
        && found.state != State::Repeated
        && found.descriptor.artifact_type.as_deref() == Some(media_type::NOTARY_SIGNATURE)
}

enum Read {
    Whole(Box<Whole>),
    Settled(Reason),
}

struct Whole {
    candidate: Candidate,
    /// How many bytes its envelope has.
    size: u64,
    /// Whether its manifest is the one that is written here around this envelope.
    is_as_written_here: bool,
}

async fn read(
    place: &dyn ImageSink,
    repository: &Repository,
    subject: &Descriptor,
    signature: &Descriptor,
    is_referred_to: bool,
) -> Result<Read, SourceError> {
    let unreadable = Ok(Read::Settled(Reason::Unreadable));
    let manifest = match place.manifest(repository, &signature.bare()).await {
        Err(error) if error.is_about_content() => return unreadable,
        // Gone since the list was made.
        Err(SourceError::NotFound { .. }) => return Ok(Read::Settled(Reason::Dangling(Lacking::Manifest))),
        manifest => manifest?,
    };
    let Ok(parsed) = SignatureManifest::parse(&signature.media_type, manifest.bytes()) else { return unreadable };
    if parsed.is_foreign_to(subject) {
        return Ok(Read::Settled(Reason::Foreign));
    }
    let blob = match place.blob(repository, &parsed.envelope, DEFAULT_ENVELOPE_SIZE).await {
        Err(error) if error.is_about_content() => return unreadable,
        Err(SourceError::NotFound { .. }) if is_referred_to => return Ok(Read::Settled(Reason::HoldsOthers)),
        Err(SourceError::NotFound { .. }) => return Ok(Read::Settled(Reason::Dangling(Lacking::Envelope))),
        blob => blob?,
    };
    let media_type = &parsed.envelope.media_type;
    let Ok(envelope) = Envelope::parse(media_type, blob.bytes(), DEFAULT_ENVELOPE_SIZE) else { return unreadable };
    match check_integrity(&envelope, &subject.bare()) {
        Ok(sound) => {
            let time = envelope.signed_attributes().signing_time;
            let stored = Signed::storing(blob, &subject.bare(), sound.chain().certificates(), time);
            let is_as_written_here = stored.manifest.descriptor().digest == signature.digest;
            let candidate = Candidate { manifest: signature.bare(), envelope, sound, is_referred_to };
            Ok(Read::Whole(Box::new(Whole { candidate, size: parsed.envelope.size, is_as_written_here })))
        }
        Err(problem) => Ok(Read::Settled(Reason::Broken(problem))),
    }
}

impl Gathered {
    /// What becomes of each of them.
    pub(super) fn decided(self, lone_expired: bool, now: Timestamp) -> Vec<Decided> {
        self.0.into_iter().flat_map(|subject| subject.decided(lone_expired, now)).collect()
    }
}

impl Subject {
    fn decided(self, lone_expired: bool, now: Timestamp) -> Vec<Decided> {
        let Self { descriptor, candidates, settled } = self;
        let fates = prune(&candidates, lone_expired, now);
        let by = |place: usize| candidates.get(place).map(|candidate| candidate.manifest.digest.clone());
        let reasons: Vec<Option<Reason>> = fates
            .into_iter()
            .zip(&candidates)
            .map(|(fate, candidate)| match fate {
                Fate::Superseded { by: place } => by(place).map(|by| Reason::Superseded { by }),
                Fate::Expired { by: place } => {
                    let expiry = candidate.envelope.signed_attributes().expiry;
                    Some(Reason::Expired { at: expiry, by: place.and_then(by) })
                }
                Fate::Kept { is_expired: false, because } => because.map(Reason::Differs),
                Fate::Kept { is_expired: true, because } => Some(Reason::ExpiredAlone(because)),
            })
            .collect();
        let whole = candidates.into_iter().map(|candidate| candidate.manifest).zip(reasons);
        let others = settled.into_iter().map(|(signature, reason)| (signature, Some(reason)));
        let decided =
            whole.chain(others).map(|(signature, reason)| Decided { subject: descriptor.clone(), signature, reason });
        decided.collect()
    }
}
