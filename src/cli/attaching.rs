//! Attaching an envelope that was made elsewhere: `attach` and whatever else hands over envelopes go through here.
//!
//! Nothing is pushed but what its signer has made over exactly the artifact that the registry holds: an [`Attachable`] is
//! there only once the integrity was checked, and [`attach`] asks the registry for the digest before it writes anything.
//! The same envelope is attached once, however often it is handed over: the registry's own list says what is there.

use std::collections::BTreeSet;

use super::place::Place;
use super::sign::store;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::envelope::{Envelope, Format};
use crate::oci::{Blob, Descriptor, Digest, Repository, SignatureManifest};
use crate::pki::{Certificate, Chain};
use crate::remedy::{Code, Remedy};
use crate::sign::Signed;
use crate::source::{Referrers, Sink, Source, SourceError};
use crate::verify::{Problem, check_integrity};

/// How many signatures of one artifact are looked through for the same envelope. An artifact that is signed anew each day
/// has so many after three years.
const MAX_EXISTING: usize = 1000;

/// An envelope of which it is known that its signer made it over this artifact. Whether anybody trusts the signer is for
/// others to say.
#[derive(Debug)]
pub(super) struct Attachable {
    artifact: Descriptor,
    envelope: Envelope,
    signed: Signed,
    chain: Chain,
}

impl Attachable {
    /// The envelope in these bytes, if it is a whole one over exactly this artifact.
    pub(super) fn check(artifact: &Descriptor, format: Format, bytes: Vec<u8>) -> Result<Self, Problem> {
        let envelope = Envelope::parse(format.media_type(), &bytes, DEFAULT_ENVELOPE_SIZE);
        let envelope = envelope.map_err(|error| Problem::of(&error))?;
        let chain = check_integrity(&envelope, artifact)?.into_chain();
        let signing_time = envelope.signed_attributes().signing_time;
        let blob = Blob::of(format.media_type(), bytes);
        let signed = Signed::storing(blob, artifact, chain.certificates(), signing_time);
        Ok(Self { artifact: artifact.bare(), envelope, signed, chain })
    }

    /// The same, stored in the form for this place, as it is beside the image there.
    pub(super) fn for_place(self, place: &Place) -> Self {
        Self { signed: place.in_its_form(self.signed), ..self }
    }

    /// What stores the envelope.
    pub(super) fn into_signed(self) -> Signed {
        self.signed
    }

    /// The same, to store it in more than one place.
    pub(super) fn signed(&self) -> &Signed {
        &self.signed
    }

    /// What was signed.
    pub(super) fn artifact(&self) -> &Descriptor {
        &self.artifact
    }

    /// The envelope, for whoever asks further whether it is to be trusted.
    pub(super) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The descriptor of the envelope's bytes.
    pub(super) fn envelope_descriptor(&self) -> &Descriptor {
        self.signed.envelope.descriptor()
    }

    /// The certificate of whoever signed.
    pub(super) fn signer(&self) -> &Certificate {
        self.chain.leaf()
    }

    /// Whether the other envelope is by the same signer, and no later than this one. A signer who has renewed the certificate
    /// is the same: the subject under the same root. A certificate that its owner has signed has no other root than
    /// itself, and anybody can write its subject.
    fn supersedes(&self, other: &Self) -> bool {
        let (own, others) = (self.chain.certificates(), other.chain.certificates());
        let is_renewed = self.signer().subject_der() == other.signer().subject_der() && own.last() == others.last();
        let time = |attachable: &Self| attachable.envelope.signed_attributes().signing_time;
        (own.first() == others.first() || is_renewed) && time(other) <= time(self)
    }
}

/// Where an envelope is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    /// The digest of the signature manifest.
    pub(super) signature: Digest,
    /// Whether it was there before.
    pub(super) was_there: bool,
}

/// Why an envelope was not attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum AttachError {
    /// The place cannot be asked, or has no such artifact.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The place holds the digest as something else.
    #[error(
        "{place} holds {} with {} bytes as {}, and {} bytes as {} were signed",
        held.digest, held.size, held.media_type, signed.size, signed.media_type
    )]
    OtherSubject {
        /// Where.
        place: Repository,
        /// What is held.
        held: Box<Descriptor>,
        /// What was signed.
        signed: Box<Descriptor>,
    },
}

impl Remedy for AttachError {
    fn code(&self) -> Code {
        match self {
            Self::Source(error) => error.code(),
            Self::OtherSubject { .. } => Code("subject-mismatch"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.remedy(),
            Self::OtherSubject { .. } => {
                Some("have what the registry holds signed: no verifier would accept this".into())
            }
        }
    }
}

/// Attaches an envelope to its artifact in this repository, unless it is attached there already.
pub(super) async fn attach<S: Source + Sink>(
    place: &S,
    repository: &Repository,
    attachable: &Attachable,
) -> Result<Attached, AttachError> {
    if let Some(signature) = find(place, repository, attachable).await? {
        return Ok(Attached { signature, was_there: true });
    }
    store(place, repository, &[(&attachable.artifact, &attachable.signed)]).await?;
    Ok(Attached { signature: attachable.signed.manifest.descriptor().digest.clone(), was_there: false })
}

/// The signature that holds this very envelope, if it is attached already. Writes nothing; an error where the artifact is
/// not in the repository, or is there as something else.
pub(super) async fn find<S: Source>(
    place: &S,
    repository: &Repository,
    attachable: &Attachable,
) -> Result<Option<Digest>, AttachError> {
    let artifact = &attachable.artifact;
    let held = place.resolve(&repository.at(artifact.digest.clone())).await?;
    if !held.same_content(artifact) {
        let (held, signed) = (Box::new(held), Box::new(artifact.clone()));
        return Err(AttachError::OtherSubject { place: repository.clone(), held, signed });
    }
    let existing = signatures(place, repository, artifact).await?;
    let own = &attachable.signed.manifest.descriptor().digest;
    // A list under a tag may go on naming what is gone.
    if existing.descriptors.iter().any(|existing| existing.digest == *own) && has(place, repository, own).await? {
        return Ok(Some(own.clone()));
    }
    // Whoever attached it before may have written another manifest around it.
    for signature in &existing.descriptors {
        let envelope = envelope_of(place, repository, artifact, signature).await?;
        if envelope.is_some_and(|envelope| envelope.digest == attachable.envelope_descriptor().digest) {
            return Ok(Some(signature.digest.clone()));
        }
    }
    Ok(None)
}

/// The signatures of an artifact, as the place lists them.
pub(super) async fn signatures<S: Source>(
    place: &S,
    repository: &Repository,
    artifact: &Descriptor,
) -> Result<Referrers, SourceError> {
    super::registry::signatures(place, repository, artifact, MAX_EXISTING).await
}

/// Whether a place shows this signature of an artifact: in its list, or, where that is longer than is read, by its digest.
pub(super) async fn shows<S: Source>(
    place: &S,
    repository: &Repository,
    artifact: &Descriptor,
    signature: &Digest,
) -> Result<bool, SourceError> {
    let listed = signatures(place, repository, artifact).await?;
    let is_listed = listed.descriptors.iter().any(|listed| listed.digest == *signature);
    if is_listed || !listed.truncated {
        return Ok(is_listed);
    }
    has(place, repository, signature).await
}

async fn has<S: Source>(place: &S, repository: &Repository, manifest: &Digest) -> Result<bool, SourceError> {
    match place.resolve(&repository.at(manifest.clone())).await {
        Err(SourceError::NotFound { .. }) => Ok(false),
        there => there.map(|_| true),
    }
}

/// The signatures that an envelope takes the place of: sound ones of the same signer over the same artifact, made no later.
/// What stands in `kept`, by the digests of envelopes, stays.
pub(super) async fn superseded<S: Source>(
    place: &S,
    repository: &Repository,
    attachable: &Attachable,
    kept: &BTreeSet<Digest>,
) -> Result<Vec<Descriptor>, SourceError> {
    let sound = sound(place, repository, &attachable.artifact, kept).await?;
    let superseded = sound.into_iter().filter(|(_, other)| attachable.supersedes(other));
    Ok(superseded.map(|(signature, _)| signature).collect())
}

/// The signatures of an artifact that somebody has made over exactly it, but for those whose envelopes have a digest in
/// `passed_over`.
pub(super) async fn sound(
    place: &dyn Source,
    repository: &Repository,
    artifact: &Descriptor,
    passed_over: &BTreeSet<Digest>,
) -> Result<Vec<(Descriptor, Attachable)>, SourceError> {
    let mut sound = Vec::new();
    for signature in super::registry::signatures(place, repository, artifact, MAX_EXISTING).await?.descriptors {
        let Some(envelope) = envelope_of(place, repository, artifact, &signature).await? else { continue };
        let Ok(format) = Format::from_media_type(&envelope.media_type) else { continue };
        if passed_over.contains(&envelope.digest) {
            continue;
        }
        let bytes = present(place.blob(repository, &envelope, DEFAULT_ENVELOPE_SIZE).await)?;
        if let Some(Ok(other)) = bytes.map(|blob| Attachable::check(artifact, format, blob.bytes().to_vec())) {
            sound.push((signature, other));
        }
    }
    Ok(sound)
}

/// The envelope that a signature manifest of this artifact points to; none where it is no signature, is listed and not there,
/// or is one that no verifier takes for this artifact's: whoever may push could otherwise have a good envelope pass for stored.
async fn envelope_of<S: Source + ?Sized>(
    place: &S,
    repository: &Repository,
    artifact: &Descriptor,
    signature: &Descriptor,
) -> Result<Option<Descriptor>, SourceError> {
    let manifest = present(place.manifest(repository, signature).await)?;
    let parse = |manifest: Blob| SignatureManifest::parse(&signature.media_type, manifest.bytes()).ok();
    let own = manifest.and_then(parse).filter(|manifest| !manifest.is_foreign_to(artifact));
    Ok(own.map(|manifest| manifest.envelope))
}

/// The content, where it is there and sound: somebody else's broken signature does not stand in the way of a good one.
fn present(answer: Result<Blob, SourceError>) -> Result<Option<Blob>, SourceError> {
    match answer {
        Err(SourceError::NotFound { .. }) => Ok(None),
        Err(error) if error.is_about_content() => Ok(None),
        answer => answer.map(Some),
    }
}
