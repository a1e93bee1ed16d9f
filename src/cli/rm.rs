//! `pratique rm`: takes signatures of an image out of its registry, and out of every list.

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::registry::{RegistryArguments, Target, signatures};
use super::{Output, output};
use crate::oci::{Descriptor, Digest, InvalidDigest};
use crate::source::ImageSink as _;
use crate::source::limits::MAX_COPY_REFERRERS;
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
    let target = Target::resolve(&registry, &arguments.image).await?;
    output::warn_about_tag(&target.reference, "removes signatures of");
    let repository = target.reference.repository();
    let listed = signatures(&registry, repository, &target.descriptor, MAX_COPY_REFERRERS).await;
    let mut removed = listed.map_err(|error| Failure::of(&error).about(Check::Retrieval))?.descriptors;
    if let Some(stranger) = wanted.iter().find(|wanted| removed.iter().all(|listed| listed.digest != **wanted)) {
        let message = format!("{stranger} is no signature of {}", target.pinned());
        return Err(Failure::usage("not-its-signature", message));
    }
    removed.retain(|listed| arguments.which.signatures || wanted.contains(&listed.digest));
    for signature in &removed {
        let removing = registry.delete_referrer(repository, &target.descriptor, signature);
        removing.await.map_err(|error| Failure::of(&error))?;
    }
    let result = Removed { reference: target.pinned().to_string(), removed };
    output::print(output, &result, || {
        let lines = result.removed.iter().map(|signature| format!("\n  removed  {}", signature.digest));
        format!("{} signatures of {}{}", result.removed.len(), result.reference, lines.collect::<String>())
    });
    Ok(Exit::Done)
}
