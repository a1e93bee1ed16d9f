//! `pratique sign`: signs an image, wherever it lies, and stores the signature beside it.

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::place::{PlaceArguments, Target};
use super::signing::{SigningArguments, Stamped};
use super::{Output, output};
use crate::oci::{Descriptor, Location, Repository, media_type};
use crate::sign::Signed;
use crate::source::{Sink, SourceError};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST];
    /// containerd:[NAMESPACE/]REFERENCE.
    image: String,
    #[command(flatten)]
    signing: SigningArguments,
    #[command(flatten)]
    places: PlaceArguments,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let signing = arguments.signing.open()?;
    let insecure = signing.directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let target = Target::resolve(&arguments.places.open(insecure)?, &arguments.image).await?;
    output::warn_about_tag(&target.location, "signs");
    let (signed, stamped) = signing.sign(&target.descriptor).await?;
    let stored = store(target.place.sink(), &target.repository, &target.descriptor, &signed).await;
    stored.map_err(|error| Failure::of(&error))?;
    report(output, &target.pinned(), &signed, stamped);
    Ok(Exit::Done)
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
struct Report<'a> {
    reference: String,
    signature: &'a Descriptor,
    envelope: &'a Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Stamped>,
}

fn report(output: Output, reference: &Location, signed: &Signed, timestamp: Option<Stamped>) {
    let report = Report {
        reference: reference.to_string(),
        signature: signed.manifest.descriptor(),
        envelope: signed.envelope.descriptor(),
        timestamp,
    };
    output::print(output, &report, || {
        let signature = format!("{}, {}", report.signature.digest, report.envelope.media_type);
        match &report.timestamp {
            None => format!("signed {}\n  signature  {signature}", report.reference),
            Some(stamped) => format!("signed {}\n  signature   {signature}\n  {stamped}", report.reference),
        }
    });
}
