//! `pratique descriptor`: what an image is, for somebody who signs it without asking the place where it lies.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::place::{PlaceArguments, Target};
use super::sign::unwritable;
use super::{Output, output};
use crate::config::{Existing, write_whole};
use crate::oci::{Descriptor, Platform};
use crate::verify::Check;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST];
    /// oci-archive:FILE[:TAG|@DIGEST]; docker-archive:FILE[:REFERENCE]; containerd:[NAMESPACE/]REFERENCE.
    image: String,
    /// Of an image for several platforms, this one: os/architecture[/variant]. Without it, the index.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// The file for the descriptor; stdout without it.
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long, requires = "output_file")]
    force: bool,
    #[command(flatten)]
    places: PlaceArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// A descriptor is JSON for programs, whatever form is asked for.
pub(super) async fn run(arguments: Arguments, _: Output) -> Result<Exit, Failure> {
    let existing = if arguments.force { Existing::Replace } else { Existing::Keep };
    // Nobody is asked in vain. What appears meanwhile is found when it is written.
    if let Some(path) = arguments.output_file.as_deref().filter(|path| path.symlink_metadata().is_ok())
        && existing == Existing::Keep
    {
        return Err(taken(path));
    }
    let insecure = arguments.notation_dir.open().insecure_registries().map_err(|error| Failure::of(&error))?;
    let target = Target::resolve(&arguments.places.open(insecure, &[&arguments.image])?, &arguments.image).await?;
    let target = target.on_platform(arguments.platform.as_ref()).await?;
    output::warn_about_tag(&target.location, "describes");
    let descriptor = describe(&target).await?;
    match arguments.output_file {
        None => output::print(Output::Json, &descriptor, String::new),
        Some(path) => {
            let mut bytes = serde_json::to_vec(&descriptor).map_err(|error| unwritable(&path, &error.into()))?;
            bytes.push(b'\n');
            write_whole(&path, &bytes, existing).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => taken(&path),
                _ => unwritable(&path, &error),
            })?;
        }
    }
    Ok(Exit::Done)
}

fn taken(path: &Path) -> Failure {
    Failure::usage("descriptor-exists", format!("{} is there already", path.display()))
        .hint("replace it with `--force`, or name another file")
}

/// What the manifest's own bytes come to: a header, or an entry of a list, may tell something else.
async fn describe(target: &Target) -> Result<Descriptor, Failure> {
    let manifest = target.place.source().manifest(&target.repository, &target.descriptor).await;
    let manifest = manifest.map_err(|error| Failure::of(&error).about(Check::Retrieval))?;
    let size = manifest.bytes().len() as u64;
    Ok(Descriptor { size, ..target.descriptor.bare() })
}
