//! `pratique rm`: takes signatures of an image out of its registry, and out of every list.

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::registry::{RegistryArguments, signatures};
use super::{Output, output};
use crate::oci::{Descriptor, Digest, InvalidDigest, InvalidReference, Location, Reference};
use crate::source::limits::MAX_COPY_REFERRERS;
use crate::source::{ImageSink as _, Source as _};
use crate::verify::Check;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest. It stays.
    image: String,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// Which signatures.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The signature whose manifest has this digest (may be given again).
    #[arg(long, value_name = "DIGEST")]
    signature: Vec<String>,
    /// Every Notary signature of the image.
    #[arg(long)]
    signatures: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    reference: String,
    removed: Vec<Descriptor>,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let parse = |text: &String| text.parse::<Digest>().map_err(|error: InvalidDigest| Failure::usage_of(&error));
    let wanted: Vec<Digest> = arguments.which.signature.iter().map(parse).collect::<Result<_, _>>()?;
    let insecure = arguments.notation_dir.open().insecure_registries().map_err(|error| Failure::of(&error))?;
    let registry = arguments.registry.open(insecure)?;
    let reference: Reference = arguments.image.parse().map_err(|error: InvalidReference| Failure::usage_of(&error))?;
    let resolved = registry.resolve(&reference).await;
    let image = resolved.map_err(|error| Failure::of(&error).about(Check::Retrieval))?;
    let (repository, pinned) = (reference.repository(), reference.pinned(image.digest.clone()));
    output::warn_about_tag(&Location::Registry(reference.clone()), "removes signatures of");
    let listed = signatures(&registry, repository, &image, MAX_COPY_REFERRERS).await;
    let mut removed = listed.map_err(|error| Failure::of(&error).about(Check::Retrieval))?.descriptors;
    if let Some(stranger) = wanted.iter().find(|wanted| removed.iter().all(|listed| listed.digest != **wanted)) {
        let message = format!("{stranger} is no signature of {pinned}");
        return Err(Failure::usage("not-its-signature", message));
    }
    removed.retain(|listed| arguments.which.signatures || wanted.contains(&listed.digest));
    for signature in &removed {
        let removing = registry.delete_referrer(repository, &image, signature);
        removing.await.map_err(|error| Failure::of(&error))?;
    }
    let result = Removed { reference: pinned.to_string(), removed };
    output::print(output, &result, || {
        let lines = result.removed.iter().map(|signature| format!("\n  removed  {}", signature.digest));
        format!("{} signatures of {}{}", result.removed.len(), result.reference, lines.collect::<String>())
    });
    Ok(Exit::Done)
}
