//! `pratique ls`: the signatures of an image, or everything that hangs on it, as its place lists them.

mod tree;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::place::{ListArguments, Listed};
use super::{Output, output};
use crate::oci::{Descriptor, media_type};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    list: ListArguments,
    /// Everything that hangs on the image: its platforms, signatures, SBOMs and attestations, what hangs on those, and what
    /// cosign keeps under tags.
    #[arg(long, conflicts_with = "max_signatures")]
    tree: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    reference: String,
    artifact: Descriptor,
    signatures: Vec<Descriptor>,
    /// Whether there are more than are listed.
    truncated: bool,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    if arguments.tree {
        return tree::run(arguments.list, output).await;
    }
    let Listed { target, referrers } = arguments.list.list("lists").await?;
    let listing = Listing {
        reference: target.pinned().to_string(),
        artifact: target.descriptor,
        signatures: referrers.descriptors,
        truncated: referrers.truncated,
    };
    output::print(output, &listing, || text(&listing));
    Ok(Exit::Done)
}

fn text(listing: &Listing) -> String {
    let Some((last, rest)) = listing.signatures.split_last() else {
        return format!("{} has no signature", listing.reference);
    };
    let mut lines = vec![listing.reference.clone(), format!("└── {}", media_type::NOTARY_SIGNATURE)];
    lines.extend(rest.iter().map(|signature| format!("    ├── {}", signature.digest)));
    lines.push(format!("    └── {}", last.digest));
    if listing.truncated {
        lines.push(format!("there are more than the {} listed", listing.signatures.len()));
    }
    lines.join("\n")
}
