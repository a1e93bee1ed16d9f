//! Was this envelope made by the key of its leaf certificate, over this artifact or blob, and left as it was?
//!
//! Follows the Notary signature specification, "Signature Algorithm Requirements" and "Certificate Requirements", and the
//! workflow's steps for integrity. Everything here is enforced at every level but `skip`.

use std::collections::BTreeMap;

use super::Target;
use super::outcome::{Problem, State};
use crate::envelope::{Envelope, InvalidEnvelope, Payload};
use crate::oci::{Descriptor, Digest, DigestAlgorithm};
use crate::pki::{Certificate, Chain};

/// What is known once the integrity holds: only [`check_integrity`] and [`examine`](super::examine) find it out.
#[derive(Debug)]
pub struct Sound {
    pub(super) chain: Chain,
    pub(super) payload: Payload,
}

impl Sound {
    /// The signer's certificates, which need not be trusted by anybody.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What was signed.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The signer's certificates, which need not be trusted by anybody.
    pub fn into_chain(self) -> Chain {
        self.chain
    }
}

/// The integrity of an envelope over this artifact, and nothing else: not who signed, nor whether it still counts.
pub fn check_integrity(envelope: &Envelope, artifact: &Descriptor) -> Result<Sound, Problem> {
    check(envelope, Target::Artifact(artifact))
}

/// The chain is one of Notary's profile, the algorithm is the key's own, the signature verifies, and the payload is about
/// the target.
pub(super) fn check(envelope: &Envelope, target: Target<'_>) -> Result<Sound, Problem> {
    let certificates = envelope.certificates().iter().map(|der| Certificate::from_der(der)).collect::<Result<_, _>>();
    let chain = certificates
        .map_err(|error| Problem::of(&error))
        .and_then(|certificates| Chain::code_signing(certificates).map_err(|error| Problem::of(&error)))?;
    check_algorithm(envelope, &chain)?;
    chain.leaf_key().verify(envelope.to_be_signed(), envelope.signature()).map_err(|_| bad_signature())?;
    let payload = Payload::parse(envelope.payload()).map_err(|error| Problem::of(&InvalidEnvelope::Payload(error)))?;
    match target {
        Target::Artifact(artifact) => check_artifact(&payload, artifact)?,
        Target::Blob { digest, size, media_type } => {
            let signed = &payload.target_artifact;
            check_hash(&signed.digest, chain.leaf_key().spec().signature_algorithm().hash())?;
            check_blob(signed, digest, size)?;
            media_type.map_or(Ok(()), |wanted| check_media_type(signed, wanted))?;
        }
    }
    Ok(Sound { chain, payload })
}

/// Compared before the signature is verified: the key alone fixes the algorithm.
fn check_algorithm(envelope: &Envelope, chain: &Chain) -> Result<(), Problem> {
    let spec = chain.leaf_key().spec();
    let (named, demanded) = (envelope.algorithm(), spec.signature_algorithm());
    if named == demanded {
        return Ok(());
    }
    let message = format!("the envelope names {named}, but a key of type {spec} signs with {demanded}");
    Err(Problem::new("algorithm-mismatch", &message, "sign again with a tool that follows the specification"))
}

fn bad_signature() -> Problem {
    let message = "the signature does not verify with the key of the leaf certificate";
    Problem::new("signature-invalid", message, "the envelope was altered after signing: sign again")
}

/// Media type, digest and size are all equal, or the signature is about something else.
fn check_artifact(payload: &Payload, artifact: &Descriptor) -> Result<(), Problem> {
    let signed = &payload.target_artifact;
    if signed.same_content(artifact) {
        return Ok(());
    }
    let message = if signed.digest == artifact.digest {
        format!(
            "the signature is over {} with {} bytes as {}, the artifact has {} bytes as {}",
            signed.digest.short(),
            signed.size,
            signed.media_type,
            artifact.size,
            artifact.media_type
        )
    } else {
        format!("the signature is over {}, not over {}", signed.digest, artifact.digest.short())
    };
    Err(Problem::new("artifact-mismatch", &message, "the signature belongs to another image: sign this one"))
}

/// The signer of a blob may not choose a hash either: it is that of the key.
fn check_hash(signed: &Digest, demanded: DigestAlgorithm) -> Result<(), Problem> {
    let named = signed.algorithm();
    if named == demanded {
        return Ok(());
    }
    let message = format!(
        "the signature is over a {} digest, and the signer's key demands {}",
        named.as_str(),
        demanded.as_str()
    );
    Err(Problem::new(
        "digest-algorithm-mismatch",
        &message,
        "sign the file again with a tool that follows the specification",
    ))
}

fn check_blob(signed: &Descriptor, digest: &Digest, size: u64) -> Result<(), Problem> {
    let remedy = "the file was altered after signing, or the signature belongs to another file: fetch both again";
    if signed.size != size {
        let message = format!("the signature is over {} bytes, the file has {size}", signed.size);
        return Err(Problem::new("blob-size-mismatch", &message, remedy));
    }
    if signed.digest != *digest {
        let message = format!("the signature is over {}, the file is {}", signed.digest.short(), digest.short());
        return Err(Problem::new("blob-mismatch", &message, remedy));
    }
    Ok(())
}

fn check_media_type(signed: &Descriptor, wanted: &str) -> Result<(), Problem> {
    if signed.media_type == wanted {
        return Ok(());
    }
    let message = format!("the file was signed as {}, not as {wanted}", signed.media_type);
    Err(Problem::new("blob-media-type-mismatch", &message, "ask for the media type that the signer has signed"))
}

/// Every pair asked for stands in the signed annotations; further ones do not matter.
pub(super) fn check_user_metadata(payload: &Payload, wanted: &BTreeMap<String, String>) -> State {
    let signed = &payload.target_artifact.annotations;
    let Some((key, value)) = wanted.iter().find(|(key, value)| signed.get(*key) != Some(value)) else {
        return State::Passed;
    };
    let found = signed.get(key).map_or("it is not there".to_owned(), |found| format!("it is `{found}`"));
    let message = format!("the signed metadata should have `{key}` = `{value}`; {found}");
    let problem = Problem::new("user-metadata-mismatch", &message, "ask for metadata that the signer has signed");
    State::Failed { problem }
}
