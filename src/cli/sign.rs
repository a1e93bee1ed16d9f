//! `pratique sign`: signs an image, wherever it lies, and stores the signature beside it; or a descriptor, into a file.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::blob::sign::check_name;
use super::exit::{Exit, Failure};
use super::place::{PlaceArguments, Target};
use super::signing::{Signature, SigningArguments, Stamped};
use super::verify::read_descriptor;
use super::{Output, output};
use crate::config::{Existing, write_whole};
use crate::oci::{Descriptor, Location, Repository, media_type};
use crate::sign::Signed;
use crate::source::{Sink, SourceError};
use crate::verify::Problem;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST];
    /// containerd:[NAMESPACE/]REFERENCE.
    #[arg(required_unless_present = "descriptor", conflicts_with = "descriptor")]
    image: Option<String>,
    /// The OCI descriptor of an image, as JSON, to sign instead; nobody is asked whether there is such an image.
    #[arg(long, value_name = "FILE", requires = "output_signature")]
    descriptor: Option<PathBuf>,
    /// The file for the signature of that descriptor: NAME.jws.sig or NAME.cose.sig.
    #[arg(long, value_name = "FILE", requires = "descriptor", conflicts_with = "image")]
    output_signature: Option<PathBuf>,
    /// Refuse an image that is not named by its digest.
    #[arg(long)]
    require_digest: bool,
    #[command(flatten)]
    signing: SigningArguments,
    #[command(flatten)]
    places: PlaceArguments,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let Arguments { image, descriptor, output_signature, require_digest, signing, places } = arguments;
    match (image, descriptor, output_signature) {
        (Some(image), _, _) => in_place(&image, require_digest, signing, places, output).await,
        (None, Some(descriptor), Some(signature)) => detached(&descriptor, &signature, signing, output).await,
        _ => Err(Failure::usage(
            "arguments-missing",
            "name an image, or a descriptor and a file for its signature".into(),
        )),
    }
}

async fn in_place(
    image: &str,
    require_digest: bool,
    signing: SigningArguments,
    places: PlaceArguments,
    output: Output,
) -> Result<Exit, Failure> {
    if require_digest {
        check_digest(image)?;
    }
    let signing = signing.open()?;
    let insecure = signing.directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let target = Target::resolve(&places.open(insecure)?, image).await?;
    output::warn_about_tag(&target.location, "signs");
    let made = signing.sign(&target.descriptor).await?;
    let stored = store(target.place.sink(), &target.repository, &target.descriptor, &made.signed).await;
    stored.map_err(|error| Failure::of(&error))?;
    report(output, &target.pinned(), made);
    Ok(Exit::Done)
}

/// Only a digest names what it names for ever.
fn check_digest(image: &str) -> Result<(), Failure> {
    let location: Location = image.parse().map_err(|error| Failure::usage_of(&error))?;
    if location.digest().is_some() {
        return Ok(());
    }
    let message = format!("`{location}` does not name the image by its digest");
    let remedy = Some("write NAME@DIGEST, or leave `--require-digest` out".to_owned());
    Err(Failure { remedy, ..Failure::usage("digest-required", message) })
}

/// Signs what a file describes, into a file.
async fn detached(
    descriptor: &Path,
    signature: &Path,
    signing: SigningArguments,
    output: Output,
) -> Result<Exit, Failure> {
    let artifact = read_descriptor(descriptor)?;
    let signing = signing.open()?;
    check_name(signature, signing.format)?;
    let Signature { signed, timestamp, warnings } = signing.sign(&artifact.bare()).await?;
    write_whole(signature, signed.envelope.bytes(), Existing::Keep).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(signature),
        _ => unwritable(signature, &error),
    })?;
    let (signature, envelope) = (signature.display().to_string(), signed.envelope.descriptor());
    let report = DetachedReport { artifact: &artifact, signature, envelope, timestamp, warnings };
    output::print(output, &report, || {
        let stamped = report.timestamp.as_ref().map(|stamped| format!("\n  {stamped}")).unwrap_or_default();
        format!("signed {}\n  signature   {}{stamped}", report.artifact.digest, report.signature)
    });
    Ok(Exit::Done)
}

fn taken(path: &Path) -> Failure {
    let remedy = Some("name another file".to_owned());
    Failure { remedy, ..Failure::usage("signature-exists", format!("{} is there already", path.display())) }
}

/// A file that could not be written.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::unreadable("file-unwritable", message, Some("see whether the directory is there and can be written"))
}

/// Content first, and last the manifest that makes it a signature.
pub(super) async fn store(
    sink: &dyn Sink,
    repository: &Repository,
    artifact: &Descriptor,
    signed: &Signed,
) -> Result<(), SourceError> {
    sink.push_blob(repository, &signed.config).await?;
    sink.push_blob(repository, &signed.envelope).await?;
    sink.push_referrer(repository, artifact, &signed.manifest, media_type::NOTARY_SIGNATURE).await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DetachedReport<'a> {
    artifact: &'a Descriptor,
    signature: String,
    envelope: &'a Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Stamped>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    reference: String,
    signature: &'a Descriptor,
    envelope: &'a Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Stamped>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem>,
}

fn report(output: Output, reference: &Location, made: Signature) {
    let Signature { signed, timestamp, warnings } = made;
    let report = Report {
        reference: reference.to_string(),
        signature: signed.manifest.descriptor(),
        envelope: signed.envelope.descriptor(),
        timestamp,
        warnings,
    };
    output::print(output, &report, || {
        let signature = format!("{}, {}", report.signature.digest, report.envelope.media_type);
        match &report.timestamp {
            None => format!("signed {}\n  signature  {signature}", report.reference),
            Some(stamped) => format!("signed {}\n  signature   {signature}\n  {stamped}", report.reference),
        }
    });
}
