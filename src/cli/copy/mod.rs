//! `pratique copy`: an image and what hangs on it, from one place to another.

mod report;

use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use tokio::time::interval;

use self::report::report;
use super::court::{Court, unjudged};
use super::exit::{Exit, Failure};
use super::judging::JudgingArguments;
use super::output::Progress;
use super::place::{Destination, PlaceArguments, Target, check_destination, location};
use super::{Output, output};
use crate::oci::{InvalidReference, Location, Platform, Repository};
use crate::source::SourceError;
use crate::source::copy::{Carried, CopyOptions, End, Tally, carry};
use crate::source::limits::FIRST_PAUSE;
use crate::verify::Answer;

/// How often the line on the terminal is written anew.
const REDRAWN: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST];
    /// oci-archive:FILE[:TAG|@DIGEST]; docker-archive:FILE[:REFERENCE]; containerd:[NAMESPACE/]REFERENCE.
    source: String,
    /// Where it goes: registry/repository:tag; oci-layout:DIR[:TAG]; oci-archive:FILE[:TAG]. A layout is made where there is
    /// none; an archive must not be there yet.
    destination: String,
    /// Take what refers to a referrer too, such as the signature of an SBOM, and so on.
    #[arg(long)]
    recursive_referrers: bool,
    /// Of an image for several platforms, this one alone: os/architecture[/variant]. What is signed is the index, mostly.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Copy only if the trust policy admits the image, and give the destination its tag, or its file, only once the policy
    /// admits the image from there.
    #[arg(long)]
    verify: bool,
    /// The repository whose statement governs the image, where neither end names one.
    #[arg(long, value_name = "REPOSITORY", requires = "verify")]
    scope: Option<String>,
    #[command(flatten)]
    places: PlaceArguments,
    #[command(flatten)]
    judging: JudgingArguments,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let judging = arguments.judging.open()?;
    let insecure = judging.directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let destination: Location = location(&arguments.destination)?;
    check_destination(&destination)?;
    let places = arguments.places.open(insecure, &[&arguments.source, &arguments.destination])?;
    let from = Target::resolve(&places, &arguments.source).await?.on_platform(arguments.platform.as_ref()).await?;
    let root = from.descriptor.clone();
    if destination.digest().is_some_and(|digest| digest != root.digest) {
        let message = format!("the destination names another digest than {}, which the image has", root.digest);
        return Err(Failure::usage("copy-digest-differs", message).hint("leave the digest out of the destination"));
    }
    let policy = if arguments.verify {
        let scopes = Scopes::of(&from, &destination, arguments.scope.as_deref())?;
        let court = Court::open(&judging.directory, judging.witnesses()).map_err(|error| unjudged(&error))?;
        Some((scopes, court))
    } else {
        None
    };
    if let Some((scopes, court)) = &policy {
        let verdict = court.judge(&from.place, &from.pinned(), &scopes.from, &root).await;
        if verdict.answer() != Answer::Admit {
            output::verdict(output, &verdict);
            return Ok(verdict.answer().into());
        }
    }
    let to = Destination::open(&places, destination).await?;
    let options = CopyOptions { alone: false, recursive: arguments.recursive_referrers, first_pause: FIRST_PAUSE };
    let carried = watched(&from, &to, &options).await?;
    if let Some((scopes, court)) = &policy {
        let location = to.location.pinned(root.digest.clone());
        let verdict = court.judge(&to.place, &location, &scopes.to, &root).await;
        if verdict.answer() != Answer::Admit {
            output::verdict(output, &verdict);
            output::warning(if to.is_archive() {
                "no archive was made"
            } else {
                "the image was copied, and no tag was moved to it"
            });
            return Ok(verdict.answer().into());
        }
    }
    let tag = to.location.tag();
    let named = carried.name(End { place: to.sink()?, repository: &to.repository }, tag.as_ref()).await;
    let copied = named.map_err(|error| Failure::of(&error))?;
    to.finish().await?;
    Ok(report(output, &arguments.destination, root, copied))
}

/// The repositories whose statements govern the image at either end.
struct Scopes {
    from: Repository,
    to: Repository,
}

impl Scopes {
    /// What lies in no registry is governed as what it is at the other end.
    fn of(from: &Target, to: &Location, scope: Option<&str>) -> Result<Self, Failure> {
        let from = from.own_scope();
        let to = match to {
            Location::Registry(reference) => Some(reference.repository().clone()),
            _ => None,
        };
        let given = scope.map(str::parse).transpose().map_err(|error: InvalidReference| Failure::usage_of(&error))?;
        match (from, to, given) {
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                let message =
                    "the image is governed by the statement for a repository that is named already".to_owned();
                let remedy = Some("leave `--scope` out".to_owned());
                Err(Failure { remedy, ..Failure::usage("scope-not-applicable", message) })
            }
            (Some(from), Some(to), None) => Ok(Self { from, to }),
            (Some(one), None, None) | (None, Some(one), None) | (None, None, Some(one)) => {
                Ok(Self { from: one.clone(), to: one })
            }
            (None, None, None) => {
                let message = "nothing says which statement of the policy governs the image".to_owned();
                let remedy = "name the repository that it is for: `--scope registry.example/team/app`".to_owned();
                Err(Failure { remedy: Some(remedy), ..Failure::usage("scope-missing", message) })
            }
        }
    }
}

/// Copies, and shows on a terminal how far it has come.
pub(super) async fn watched(from: &Target, to: &Destination, options: &CopyOptions) -> Result<Carried, Failure> {
    let tally = Tally::default();
    let from_end = End { place: from.place.images(), repository: &from.repository };
    let to_end = End { place: to.sink()?, repository: &to.repository };
    let mut copying = std::pin::pin!(carry(from_end, to_end, &from.descriptor, options, &tally));
    let (mut progress, mut redrawn) = (Progress::default(), interval(REDRAWN));
    loop {
        tokio::select! {
            done = &mut copying => {
                progress.clear();
                return done.map_err(|error: SourceError| Failure::of(&error));
            }
            _ = redrawn.tick() => {
                let (passed, size) = (tally.passed.load(Ordering::Relaxed), tally.size.load(Ordering::Relaxed));
                progress.show(&format!("copying: {} of {} MB", passed / 1_000_000, size / 1_000_000));
            }
        }
    }
}
