//! `pratique copy`: an image and what hangs on it, from one place to another.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::interval;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::output::Progress;
use super::plugins::PluginArguments;
use super::registry::RegistryArguments;
use super::revocation::RevocationArguments;
use super::{Output, output};
use crate::clock;
use crate::config::NotationDir;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::judge::{Bounds, Places, Question, Witnesses, examine};
use crate::oci::{Descriptor, InvalidReference, Links, Reference};
use crate::remedy::Code;
use crate::source::copy::{Copied, CopyOptions, Dropped, End, Loss, Tally, copy};
use crate::source::layout::Layout;
use crate::source::limits::FIRST_PAUSE;
use crate::source::registry::Registry;
use crate::source::{ImageSink, Images, SourceError};
use crate::verify::{Answer, Check, Verdict};

/// How often the line on the terminal is written anew.
const REDRAWN: Duration = Duration::from_millis(200);
/// How many signatures are examined at most, and how long that may take: what `pratique verify` does unless told otherwise.
const MAX_SIGNATURES: usize = 100;
const VERIFY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent")]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest.
    source: String,
    /// Where it goes: registry/repository:tag.
    destination: String,
    /// The image lies in an OCI image layout: DIR:TAG or DIR@DIGEST.
    #[arg(long)]
    from_oci_layout: bool,
    /// It goes to an OCI image layout: DIR:TAG. The layout is made where there is none.
    #[arg(long)]
    to_oci_layout: bool,
    /// Take what refers to a referrer too, such as the signature of an SBOM, and so on.
    #[arg(long)]
    recursive_referrers: bool,
    /// Of an image for several platforms, this one alone: os/architecture[/variant]. What is signed is the index, mostly.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Copy only if the trust policy admits the image, and see that it does so at the destination.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    revocation: RevocationArguments,
    #[command(flatten)]
    plugins: PluginArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// One end of the copy, opened.
enum Place {
    Registry(Registry),
    Layout(Layout),
}

impl Place {
    fn images(&self) -> &dyn Images {
        match self {
            Self::Registry(registry) => registry,
            Self::Layout(layout) => layout,
        }
    }

    fn sink(&self) -> &dyn ImageSink {
        match self {
            Self::Registry(registry) => registry,
            Self::Layout(layout) => layout,
        }
    }

    fn is_layout(&self) -> bool {
        matches!(self, Self::Layout(_))
    }
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let directory = arguments.notation_dir.open();
    let insecure = directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let registry = arguments.registry.open(insecure)?;
    let (servers, plugins) = (arguments.revocation.open(), arguments.plugins.open(&directory)?);
    let witnesses = Witnesses { responders: &servers, plugins: &plugins };
    let (from_name, from_layout) = name(&arguments.source, arguments.from_oci_layout)?;
    let (to_name, to_layout) = name(&arguments.destination, arguments.to_oci_layout)?;
    let from = match from_layout {
        Some(path) => Place::Layout(Layout::open(path).await.map_err(|error| unread(&error))?),
        None => Place::Registry(registry.clone()),
    };
    let root = from.images().resolve(&from_name).await.map_err(|error| unread(&error))?;
    let root = match &arguments.platform {
        Some(platform) => of_platform(&from, &from_name, &root, platform).await?,
        None => root,
    };
    if to_name.digest().is_some_and(|digest| *digest != root.digest) {
        let message = format!("the destination names another digest than {}, which the image has", root.digest);
        return Err(Failure::usage("copy-digest-differs", message));
    }
    // What lies in a layout is governed as what it is at the other end.
    let (from_scope, to_scope) = match (from.is_layout(), to_layout.is_some()) {
        (true, true) if arguments.verify => {
            let message = "nothing says which statement of the policy governs an image between two layouts".to_owned();
            return Err(Failure::usage("copy-not-governed", message));
        }
        (true, _) => (&to_name, &to_name),
        (false, true) => (&from_name, &from_name),
        (false, false) => (&from_name, &to_name),
    };
    if arguments.verify {
        let verdict = judge(&from, from_scope, &root, witnesses, &directory).await?;
        if verdict.answer() != Answer::Admit {
            output::verdict(output, &verdict);
            return Ok(verdict.answer().into());
        }
    }
    let to = match to_layout {
        Some(path) => Place::Layout(Layout::create(path).await.map_err(|error| Failure::of(&error))?),
        None => Place::Registry(registry),
    };
    let options = CopyOptions {
        recursive: arguments.recursive_referrers,
        tag: to_name.digest().is_none().then(|| to_name.tag().cloned()).flatten(),
        first_pause: FIRST_PAUSE,
    };
    let copied =
        watched(&from, &from_name, &to, &to_name, &root, &options).await.map_err(|error| Failure::of(&error))?;
    if arguments.verify {
        let verdict = judge(&to, to_scope, &root, witnesses, &directory).await?;
        if verdict.answer() != Answer::Admit {
            output::verdict(output, &verdict);
            return Ok(verdict.answer().into());
        }
    }
    Ok(report(output, &arguments.destination, root, copied))
}

/// What the text names, and the layout that it lies in, if it does. Whatever a layout is called, its repository is that of
/// no registry.
fn name(text: &str, in_layout: bool) -> Result<(Reference, Option<&Path>), Failure> {
    let parse = |text: &str| text.parse::<Reference>().map_err(|error: InvalidReference| Failure::usage_of(&error));
    if !in_layout {
        return Ok((parse(text)?, None));
    }
    let split = match text.rsplit_once('@') {
        Some((path, digest)) => Some((path, format!("localhost/layout@{digest}"))),
        None => text.rsplit_once(':').map(|(path, tag)| (path, format!("localhost/layout:{tag}"))),
    };
    let unnamed = || Failure::usage("copy-layout-unnamed", format!("`{text}` names no image in the layout: DIR:TAG"));
    let (path, name) = split.filter(|(path, _)| !path.is_empty()).ok_or_else(unnamed)?;
    Ok((parse(&name)?, Some(Path::new(path))))
}

async fn of_platform(from: &Place, name: &Reference, root: &Descriptor, platform: &str) -> Result<Descriptor, Failure> {
    let manifest = from.images().manifest(name.repository(), root).await.map_err(|error| unread(&error))?;
    let links = Links::parse(&root.media_type, manifest.bytes()).map_err(|error| Failure::of(&error))?;
    let is_meant =
        |found: &Option<crate::oci::Platform>| found.as_ref().is_some_and(|found| found.to_string() == platform);
    let found = links.manifests.into_iter().find(|(_, found)| is_meant(found));
    found.map(|(manifest, _)| manifest.bare()).ok_or_else(|| {
        Failure::usage("platform-not-there", format!("{} has no manifest for the platform `{platform}`", root.digest))
    })
}

fn unread(error: &SourceError) -> Failure {
    Failure::of(error).about(Check::Retrieval)
}

/// What the policy says of the image at this place, by the statement for the repository of `governing`.
async fn judge(
    place: &Place,
    governing: &Reference,
    root: &Descriptor,
    witnesses: Witnesses<'_>,
    directory: &NotationDir,
) -> Result<Verdict, Failure> {
    let trust = directory.load_trust().map_err(|error| Failure::of(&error).about(Check::Policy))?;
    let question = Question {
        reference: governing.pinned(root.digest.clone()).to_string(),
        repository: governing.repository().clone(),
        artifact: root.clone(),
        user_metadata: std::collections::BTreeMap::new(),
        places: Places::default(),
    };
    let bounds =
        Bounds { total_timeout: VERIFY_TIMEOUT, max_signatures: MAX_SIGNATURES, envelope_size: DEFAULT_ENVELOPE_SIZE };
    Ok(match place {
        Place::Registry(registry) => examine(registry, witnesses, &trust, &question, bounds, clock::now()).await,
        Place::Layout(layout) => examine(layout, witnesses, &trust, &question, bounds, clock::now()).await,
    })
}

/// Copies, and shows on a terminal how far it has come.
async fn watched(
    from: &Place,
    from_name: &Reference,
    to: &Place,
    to_name: &Reference,
    root: &Descriptor,
    options: &CopyOptions,
) -> Result<Copied, SourceError> {
    let tally = Tally::default();
    let from = End { place: from.images(), repository: from_name.repository() };
    let to = End { place: to.sink(), repository: to_name.repository() };
    let mut copying = std::pin::pin!(copy(from, to, root, options, &tally));
    let (mut progress, mut redrawn) = (Progress::default(), interval(REDRAWN));
    loop {
        tokio::select! {
            done = &mut copying => {
                progress.clear();
                return done;
            }
            _ = redrawn.tick() => {
                let (passed, size) = (tally.passed.load(Ordering::Relaxed), tally.size.load(Ordering::Relaxed));
                progress.show(&format!("copying: {} of {} MB", passed / 1_000_000, size / 1_000_000));
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    code: Code,
    destination: &'a str,
    artifact: Descriptor,
    #[serde(flatten)]
    copied: Copied,
}

fn report(output: Output, destination: &str, artifact: Descriptor, copied: Copied) -> Exit {
    let is_whole = copied.dropped.is_empty();
    let code = if is_whole { Code("copied") } else { Code("copy-incomplete") };
    let report = Report { code, destination, artifact, copied };
    output::print(output, &report, || text(&report));
    if is_whole { Exit::Done } else { Exit::Denied }
}

fn text(report: &Report<'_>) -> String {
    let Copied { manifests, blobs, mounted, bytes, referrers, tags, left, dropped } = &report.copied;
    let mut lines = vec![
        format!(
            "{} {} as {}",
            if dropped.is_empty() { "copied" } else { "copied in part" },
            report.artifact.digest,
            report.destination
        ),
        format!("  manifests  {}, {} of them there already", manifests.total, manifests.present),
        format!(
            "  blobs      {}, {} of them there already, {mounted} taken over, {bytes} bytes sent",
            blobs.total, blobs.present
        ),
    ];
    let kind = |referrer: &Descriptor| referrer.artifact_type.clone().unwrap_or_default();
    lines.extend(referrers.iter().map(|referrer| format!("  referrer   {} {}", referrer.digest, kind(referrer))));
    lines.extend(tags.iter().map(|tag| format!("  tag        {tag}")));
    lines.extend(
        left.iter().map(|blob| format!("  left       {}, which its media type keeps where it is", blob.digest)),
    );
    lines.extend(dropped.iter().map(|dropped| format!("  dropped    {}", loss(dropped))));
    if !dropped.is_empty() {
        lines.push(format!("the destination does not show everything that was written to it [{}]", report.code));
    }
    lines.join("\n")
}

fn loss(Dropped { digest, loss }: &Dropped) -> String {
    match loss {
        Loss::Missing => format!("{digest} is not there"),
        Loss::NotListed(subject) => format!("{digest} is not listed as a referrer of {subject}"),
        Loss::OtherArtifactType(other) => format!("{digest} is listed with the artifact type `{other}`"),
        Loss::NotTagged(tag) => format!("{digest} is not what the tag `{tag}` points to"),
    }
}
