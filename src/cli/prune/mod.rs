//! `pratique prune`: takes signatures away that nobody misses.
//!
//! What goes is dangling, or another signature stands in for it with every verifier there may be; `verify::prune` says which.
//! Everything is looked at before anything is written, and without `--yes` nothing is. What cannot be read stays, and is told.

mod gather;
mod report;

use clap::Args;

use self::gather::gather;
use self::report::{Reason, Report};
use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::place::{PlaceArguments, Target};
use super::{Output, output};
use crate::clock;
use crate::oci::Descriptor;
use crate::verify::Check;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST]. It stays; by its digest
    /// it need not be there.
    image: String,
    /// Take them away. Without it nothing is written, and what would go is told.
    #[arg(long)]
    yes: bool,
    /// Take expired signatures away also where no other stands in for them: policies that only log an expiry admit by them.
    #[arg(long)]
    expired: bool,
    #[command(flatten)]
    places: PlaceArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// A signature, and what becomes of it.
struct Decided {
    subject: Descriptor,
    signature: Descriptor,
    /// None where it stays and nothing is to be said about it.
    reason: Option<Reason>,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let insecure = arguments.notation_dir.open().insecure_registries().map_err(|error| Failure::of(&error))?;
    let target =
        Target::resolve_even_gone(&arguments.places.open(insecure, &[&arguments.image])?.at_origin(), &arguments.image)
            .await?;
    output::warn_about_tag(&target.location, "prunes signatures of");
    let sink = target.image_sink()?;
    let unread = |error| Failure::of(&error).about(Check::Retrieval);
    let tree = target.tree().await?;
    let gathered = gather(sink, &target.repository, &tree).await.map_err(unread)?;
    let decided = gathered.decided(arguments.expired, clock::now());
    if arguments.yes {
        for Decided { subject, signature, .. } in decided.iter().filter(|decided| decided.goes()) {
            let removing = sink.delete_referrer(&target.repository, subject, signature);
            removing.await.map_err(|error| Failure::of(&error))?;
        }
    }
    let report = Report::of(target.pinned().to_string(), arguments.yes, tree.truncated, decided);
    output::print(output, &report, || report.text());
    if output == Output::Text && !arguments.yes && report.prunes() {
        output::hint("nothing was written; with `--yes` they are removed");
    }
    Ok(Exit::Done)
}

impl Decided {
    fn goes(&self) -> bool {
        self.reason.as_ref().is_some_and(Reason::removes)
    }
}
