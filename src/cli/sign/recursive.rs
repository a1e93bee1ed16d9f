//! `pratique sign --recursive`: the index of an image, and each manifest that it lists.
//!
//! Who asks for an image by its index is answered by the signature of the index. Who asks for one platform's manifest by its
//! own digest is not: that one needs a signature of its own.

use serde::Serialize;

use super::report::Report;
use super::{Ways, resolve};
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::{Part, Parts};
use crate::cli::signing::SigningArguments;
use crate::cli::{Output, output};
use crate::oci::Descriptor;

/// Everything is looked at before the key is used, and every signature is made before the first is stored.
pub(super) async fn run(image: &str, signing: SigningArguments, places: Ways, output: Output) -> Result<Exit, Failure> {
    let signing = signing.open()?;
    let signable = resolve(places, image, Some(image), &signing.directory).await?;
    let target = &signable.target;
    target.check_keeps_signatures().await?;
    output::warn_about_tag(&target.location, "signs");
    let Parts { signed: parts, left } = target.parts().await?;
    let (mut made, mut told) = (Vec::new(), Vec::new());
    for part in parts {
        let signature = signing.sign_untold(&part.descriptor).await?.for_place(&target.place);
        // One key signs all of them, and what is to be said of it is said once.
        let untold = signature.warnings.iter().filter(|warning| !told.contains(*warning));
        told.extend(untold.inspect(|warning| output::problem(warning)).cloned().collect::<Vec<_>>());
        made.push((part, signature));
    }
    let signatures = made.iter().map(|(part, signature)| (&part.descriptor, &signature.signed));
    signable.store(&signatures.collect::<Vec<_>>()).await?;
    let line = |(part, signature)| {
        let Part { descriptor, platform }: &Part = part;
        Report::of(&target.location.pinned(descriptor.digest.clone()), platform.as_ref(), signature)
    };
    let listing = Listing { signatures: made.iter().map(|(part, signature)| line((part, signature))).collect(), left };
    output::print(output, &listing, || text(&listing));
    Ok(Exit::Done)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'a> {
    signatures: Vec<Report<'a>>,
    /// What the index lists and nobody runs.
    left: Vec<Descriptor>,
}

fn text(listing: &Listing<'_>) -> String {
    let signatures = listing.signatures.iter().map(Report::text);
    let left = |entry: &Descriptor| format!("left {}, which a builder states about the image", entry.digest);
    signatures.chain(listing.left.iter().map(left)).collect::<Vec<_>>().join("\n")
}
