//! `pratique push SIGNATURE IMAGE`: attaches a signature that was made over a descriptor, once a registry has the image.
//!
//! The name is asked for again: whoever pushed the image may have changed it on the way, and another push may have taken the
//! tag since. Nothing is attached unless the name points to exactly what was signed.

use std::path::Path;

use serde::Serialize;

use crate::cli::attaching::{AttachError, Attachable, Attached, attach};
use crate::cli::blob::format_of;
use crate::cli::exit::{Exit, Failure};
use crate::cli::payload::read;
use crate::cli::place::PlaceArguments;
use crate::cli::{Output, output};
use crate::config::NotationDir;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::envelope::{Envelope, Format, InvalidEnvelope, Payload};
use crate::oci::{Descriptor, Digest, InvalidReference, Reference};
use crate::source::Source as _;
use crate::verify::Problem;

/// Attaches the signature in this file to the image of this name.
pub(super) async fn run(
    file: &Path,
    image: &str,
    access: PlaceArguments,
    directory: &NotationDir,
    output: Output,
) -> Result<Exit, Failure> {
    let reference: Reference = image.parse().map_err(|error: InvalidReference| Failure::usage_of(&error))?;
    let bytes = read(file, DEFAULT_ENVELOPE_SIZE)?;
    let attachable = open(format_of(file)?, bytes).map_err(|problem| denied(problem).in_file(file))?;
    let insecure = directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let places = access.open(insecure, &[image])?.at_origin();
    let registry = places.registry();
    let held = registry.resolve(&reference).await.map_err(|error| Failure::of(&error))?;
    if held.digest != attachable.artifact().digest {
        return Err(other_image(&reference, &held, attachable.artifact()));
    }
    let attached = attach(registry, reference.repository(), &attachable).await.map_err(|error| unattached(&error))?;
    report(output, &reference.pinned(held.digest), attached);
    Ok(Exit::Done)
}

/// Why a signature was not attached, as an answer.
pub(super) fn unattached(error: &AttachError) -> Failure {
    match error {
        AttachError::OtherSubject { .. } => denied(Problem::of(error)),
        AttachError::Source(_) => Failure::of(error),
    }
}

/// The envelope in these bytes, as one over whatever its payload names.
fn open(format: Format, bytes: Vec<u8>) -> Result<Attachable, Problem> {
    let envelope = Envelope::parse(format.media_type(), &bytes, DEFAULT_ENVELOPE_SIZE);
    let envelope = envelope.map_err(|error| Problem::of(&error))?;
    let payload = Payload::parse(envelope.payload());
    let payload = payload.map_err(|error| Problem::of(&InvalidEnvelope::Payload(error)))?;
    Attachable::check(&payload.target_artifact.bare(), format, bytes)
}

fn denied(problem: Problem) -> Failure {
    Failure { exit: Exit::Denied, ..Failure::of_problem(problem) }
}

fn other_image(reference: &Reference, held: &Descriptor, signed: &Descriptor) -> Failure {
    let message = format!("`{reference}` is {}, and the signature is for {}", held.digest, signed.digest);
    let remedy = "push the image that was signed, or sign the one that is there";
    Failure { exit: Exit::Denied, ..Failure::unreadable("image-not-signed", message, Some(remedy)) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    reference: String,
    signature: Digest,
    /// Whether it was there before.
    was_there: bool,
}

fn report(output: Output, reference: &Reference, attached: Attached) {
    let Attached { signature, was_there } = attached;
    let report = Report { reference: reference.to_string(), signature, was_there };
    output::print(output, &report, || {
        let done = if was_there { "attached before to" } else { "attached to" };
        format!("{done} {}\n  signature  {}", report.reference, report.signature)
    });
}
