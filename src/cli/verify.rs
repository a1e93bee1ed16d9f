//! `pratique verify`: an image wherever it lies, or a signature that lies beside its descriptor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::exit::{Exit, Failure};
use super::judging::JudgingArguments;
use super::place::{PlaceArguments, Target};
use super::{Output, output};
use crate::clock;
use crate::config::NotationDir;
use crate::envelope::Envelope;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::judge::{Bounds, Gathering, Places, Question, Witnesses, examine};
use crate::oci::{Descriptor, MAX_MANIFEST_SIZE, Platform, Reference, parse_json};
use crate::policy::Trust;
use crate::verify::{Check, SignatureReport, Subject, Verdict, VerdictInput, govern, malformed};

/// How long a registry may take in all, unless said otherwise: longer than at a hook, since a person waits.
const DEFAULT_TIMEOUT_SECONDS: u64 = 30;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST];
    /// oci-archive:FILE[:TAG|@DIGEST]; docker-archive:FILE[:REFERENCE]; containerd:[NAMESPACE/]REFERENCE.
    #[arg(required_unless_present = "signature", conflicts_with = "signature")]
    image: Option<String>,
    /// Of an image for several platforms, this one: os/architecture[/variant]. Without it, the index.
    #[arg(long, value_name = "PLATFORM", conflicts_with = "signature")]
    platform: Option<Platform>,
    /// The repository whose statement of the policy governs an image that lies in no registry.
    #[arg(long, value_name = "REPOSITORY", conflicts_with = "signature")]
    scope: Option<String>,
    /// Pairs that the signed metadata must hold (may be given again).
    #[arg(long = "user-metadata", short = 'm', value_name = "KEY=VALUE", value_parser = pair)]
    user_metadata: Vec<(String, String)>,
    /// How many signatures of the image are examined at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    max_signatures: u16,
    /// How many seconds the registry may take in all.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT_SECONDS)]
    timeout: u64,
    #[command(flatten)]
    detached: Detached,
    #[command(flatten)]
    places: PlaceArguments,
    #[command(flatten)]
    judging: JudgingArguments,
}

/// A signature without a registry.
#[derive(Debug, Args)]
struct Detached {
    /// The envelope to verify instead of what a registry has; needs the three that follow.
    #[arg(long, value_name = "FILE", requires_all = ["descriptor", "media_type", "reference"])]
    signature: Option<PathBuf>,
    /// The OCI descriptor of the artifact, as JSON.
    #[arg(long, value_name = "FILE", requires = "signature")]
    descriptor: Option<PathBuf>,
    /// The media type of the envelope: application/jose+json or application/cose.
    #[arg(long, value_name = "TYPE", requires = "signature")]
    media_type: Option<String>,
    /// The artifact's name, registry/repository@digest: its repository chooses the statement.
    #[arg(long, value_name = "REFERENCE", requires = "signature")]
    reference: Option<String>,
}

/// `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// The pairs as a map. A key given twice is an error: one of the two demands would be lost.
pub(super) fn metadata(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    unique(pairs, "user metadata", "user-metadata-duplicate")
}

/// The pairs of this kind as a map.
pub(super) fn unique(
    pairs: Vec<(String, String)>,
    kind: &str,
    code: &'static str,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.contains_key(&key) {
            let message = format!("the {kind} `{key}` is given twice");
            let remedy = Some("give each key once".to_owned());
            return Err(Failure { remedy, ..Failure::usage(code, message) });
        }
        map.insert(key, value);
    }
    Ok(map)
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let user_metadata = metadata(arguments.user_metadata)?;
    let judging = arguments.judging.open()?;
    let (directory, witnesses) = (&judging.directory, judging.witnesses());
    let verdict = match (arguments.image, arguments.detached) {
        (Some(image), _) => {
            let bounds = Bounds {
                total_timeout: Duration::from_secs(arguments.timeout),
                max_signatures: usize::from(arguments.max_signatures),
                envelope_size: DEFAULT_ENVELOPE_SIZE,
            };
            let asked = Asked { image, platform: arguments.platform, scope: arguments.scope, user_metadata };
            in_place(asked, bounds, arguments.places, witnesses, directory).await?
        }
        (None, detached) => beside(detached, &user_metadata, witnesses, directory).await?,
    };
    output::verdict(output, &verdict);
    Ok(verdict.answer().into())
}

/// What an image is asked about.
struct Asked {
    image: String,
    platform: Option<Platform>,
    scope: Option<String>,
    user_metadata: BTreeMap<String, String>,
}

async fn in_place(
    asked: Asked,
    bounds: Bounds,
    places: PlaceArguments,
    witnesses: Witnesses<'_>,
    directory: &NotationDir,
) -> Result<Verdict, Failure> {
    let trust = load_trust(directory)?;
    let insecure = directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let places = places.open(insecure, &[&asked.image])?;
    let Asked { image, platform, scope, user_metadata } = asked;
    let started = Instant::now();
    let resolving = async { Target::resolve(&places, &image).await?.on_platform(platform.as_ref()).await };
    let target = tokio::time::timeout(bounds.total_timeout, resolving)
        .await
        .map_err(|_| timed_out(&image, bounds.total_timeout))??;
    output::warn_about_tag(&target.location, "verifies");
    let repository = target.governed_by(scope.as_deref())?;
    let bounds = Bounds { total_timeout: bounds.total_timeout.saturating_sub(started.elapsed()), ..bounds };
    let question = Question {
        reference: target.pinned().to_string(),
        repository,
        artifact: target.descriptor.clone(),
        user_metadata,
        places: Places::default(),
    };
    Ok(examine(target.place.source(), witnesses, &trust, &question, bounds, clock::now()).await)
}

fn timed_out(image: &str, after: Duration) -> Failure {
    let message = format!("`{image}` could not be looked up within {} s", after.as_secs());
    let remedy = "see whether the registry answers from this machine, or give it more time with `--timeout`";
    Failure::unreadable("timed-out", message, Some(remedy)).about(Check::Retrieval)
}

fn load_trust(directory: &NotationDir) -> Result<Trust, Failure> {
    directory.load_trust().map_err(|error| Failure::of(&error).about(Check::Policy))
}

/// Verifies an envelope that lies in a file. Nobody is asked but whether its signer was revoked, and a plugin that it demands.
async fn beside(
    detached: Detached,
    user_metadata: &BTreeMap<String, String>,
    witnesses: Witnesses<'_>,
    directory: &NotationDir,
) -> Result<Verdict, Failure> {
    let Detached {
        signature: Some(signature),
        descriptor: Some(descriptor),
        media_type: Some(media_type),
        reference: Some(reference),
    } = detached
    else {
        let message = "there is neither an image to verify, nor a signature with its descriptor".to_owned();
        let remedy = "name an image, or give `--signature`, `--descriptor`, `--media-type` and `--reference`";
        return Err(Failure::usage("arguments-missing", message).hint(remedy));
    };
    let artifact = read_descriptor(&descriptor)?;
    let reference = parse_reference(&reference, &artifact)?;
    let trust = load_trust(directory)?;
    let name = reference.to_string();
    let input = VerdictInput { reference: &name, artifact: &artifact, trust: &trust, now: clock::now() };
    let statement = match govern(input, reference.repository()) {
        Ok(statement) => statement,
        Err(verdict) => return Ok(*verdict),
    };
    let subject = Subject::artifact(&artifact, user_metadata);
    // One byte more than the limit tells an envelope that is too large from one that just fits.
    let bytes = read_at_most(&signature, DEFAULT_ENVELOPE_SIZE + 1)?;
    let outcome = match Envelope::parse(&media_type, &bytes, DEFAULT_ENVELOPE_SIZE) {
        Ok(envelope) => {
            let examined = crate::verify::examine(&envelope, subject, statement, &trust);
            Gathering::from(witnesses).conclude(examined, input.now).await
        }
        Err(error) => malformed(&error),
    };
    Ok(Verdict::of_signatures(input, statement, vec![SignatureReport { digest: None, outcome }], false))
}

/// The descriptor in this file.
pub(super) fn read_descriptor(path: &Path) -> Result<Descriptor, Failure> {
    let bytes = read_at_most(path, MAX_MANIFEST_SIZE)?;
    parse_json(&bytes).map_err(|error| {
        let message = format!("{} is not an OCI descriptor: {error}", path.display());
        Failure::usage("descriptor-malformed", message).hint("write it with `pratique descriptor`")
    })
}

/// The reference must be about the artifact, or the statement of one image would be applied to another.
fn parse_reference(text: &str, artifact: &Descriptor) -> Result<Reference, Failure> {
    let reference: Reference = text.parse().map_err(|error| Failure::usage_of(&error))?;
    match reference.digest() {
        Some(digest) if *digest == artifact.digest => Ok(reference),
        Some(digest) => {
            let message =
                format!("the reference is about {}, the descriptor about {}", digest.short(), artifact.digest.short());
            Err(Failure::usage("reference-mismatch", message).hint("name the image that the descriptor is of"))
        }
        None => Err(Failure::usage("reference-without-digest", "the reference has no digest".into()).hint(format!(
            "write `{}@{}`",
            reference.repository(),
            artifact.digest
        ))),
    }
}

fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|error| {
        Failure::unreadable("file-unreadable", format!("cannot read {}: {error}", path.display()), None)
            .about(Check::Retrieval)
    })?;
    Ok(bytes)
}
