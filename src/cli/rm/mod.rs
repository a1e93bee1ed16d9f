//! `pratique rm`: takes an image away with everything that hangs on it, or signatures of an image that stays.

mod image;
mod lists;
mod uses;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::place::{PlaceArguments, Target};
use super::registry::signatures;
use super::{Output, output};
use crate::oci::{Descriptor, Digest, InvalidDigest};
use crate::source::SourceError;
use crate::source::limits::MAX_COPY_REFERRERS;
use crate::verify::Check;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST].
    image: String,
    #[command(flatten)]
    which: Which,
    /// Take it away. Without it nothing is written, and what would go is told.
    #[arg(long)]
    yes: bool,
    /// Also where other tags point to the image, which go with it, or other images list it, which break.
    #[arg(long, conflicts_with = "Which")]
    force: bool,
    #[command(flatten)]
    places: PlaceArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// Which signatures are taken away, while the image stays. Without any of these it is the image that goes.
#[derive(Debug, Args)]
#[group(multiple = false)]
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
struct Report {
    reference: String,
    /// Whether nothing was written.
    dry_run: bool,
    removed: Vec<Descriptor>,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let parse = |text: &String| text.parse::<Digest>().map_err(|error: InvalidDigest| Failure::usage_of(&error));
    let wanted: Vec<Digest> = arguments.which.signature.iter().map(parse).collect::<Result<_, _>>()?;
    let insecure = arguments.notation_dir.open().insecure_registries().map_err(|error| Failure::of(&error))?;
    let places = arguments.places.open(insecure, &[&arguments.image])?.at_origin();
    if wanted.is_empty() && !arguments.which.signatures {
        let target = Target::resolve_even_gone(&places, &arguments.image).await?;
        return image::remove(target, arguments.yes, arguments.force, output).await;
    }
    let target = Target::resolve(&places, &arguments.image).await?;
    output::warn_about_tag(&target.location, "removes signatures of");
    remove_signatures(&target, &wanted, arguments.yes, output).await
}

/// Takes these signatures away, or tells that it would; all of them where none is named.
async fn remove_signatures(target: &Target, wanted: &[Digest], yes: bool, output: Output) -> Result<Exit, Failure> {
    let Target { repository, descriptor: image, .. } = target;
    let (sink, pinned) = (target.image_sink()?, target.pinned());
    let unread = |error: SourceError| Failure::of(&error).about(Check::Retrieval);
    let listed = signatures(sink, repository, image, MAX_COPY_REFERRERS).await;
    let mut removed = listed.map_err(unread)?.descriptors;
    if let Some(stranger) = wanted.iter().find(|wanted| removed.iter().all(|listed| listed.digest != **wanted)) {
        let message = format!("{stranger} is no signature of {pinned}");
        let remedy = Some("`pratique ls` shows which it has".to_owned());
        return Err(Failure { remedy, ..Failure::usage("not-its-signature", message) });
    }
    removed.retain(|listed| wanted.is_empty() || wanted.contains(&listed.digest));
    for signature in removed.iter().filter(|_| yes) {
        let removing = sink.delete_referrer(repository, image, signature);
        removing.await.map_err(|error| Failure::of(&error))?;
    }
    let result = Report { reference: pinned.to_string(), dry_run: !yes, removed };
    output::print(output, &result, || {
        let does = if yes { "removed" } else { "would remove" };
        let lines = result.removed.iter().map(|signature| format!("\n  {does}  {}", signature.digest));
        format!("{} signatures of {}{}", result.removed.len(), result.reference, lines.collect::<String>())
    });
    if output == Output::Text && !yes && !result.removed.is_empty() {
        output::hint("nothing was written; with `--yes` they are removed");
    }
    Ok(Exit::Done)
}
