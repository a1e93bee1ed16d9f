//! `pratique sign`: signs an image, wherever it lies, and stores the signature beside it; or a descriptor, into a file.

mod recursive;
mod report;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use self::report::report;
use super::approval;
use super::approval::signed::Released;
use super::blob::sign::check_name;
use super::exit::{Exit, Failure};
use super::node_store::NodeStoreArguments;
use super::place::{PlaceArguments, Target, location};
use super::signing::{Asking, Signature, SigningArguments, Stamped};
use super::verify::read_descriptor;
use super::{Output, output};
use crate::config::{Existing, NotationDir, write_whole};
use crate::oci::{Descriptor, Location, Platform, Repository, media_type};
use crate::sign::Signed;
use crate::source::{Attachment, Sink, SourceError};
use crate::verify::Problem;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image: registry/repository:tag or registry/repository@digest; oci-layout:DIR[:TAG|@DIGEST];
    /// oci-archive:FILE[:TAG|@DIGEST]; docker-archive:FILE[:REFERENCE]; containerd:[NAMESPACE/]REFERENCE.
    #[arg(required_unless_present_any = ["descriptor", "approved"], conflicts_with = "descriptor")]
    image: Option<String>,
    /// Of an image for several platforms, this one: os/architecture[/variant]. Without it, the index.
    #[arg(long, value_name = "PLATFORM", conflicts_with = "descriptor")]
    platform: Option<Platform>,
    /// Sign the index and each manifest that it lists, but for what a builder states about the image.
    #[arg(long, conflicts_with_all = ["platform", "descriptor", "request", "approved"])]
    recursive: bool,
    /// The OCI descriptor of an image, as JSON, to sign instead; nobody is asked whether there is such an image.
    #[arg(long, value_name = "FILE")]
    descriptor: Option<PathBuf>,
    /// The file for the signature of that descriptor: NAME.jws.sig or NAME.cose.sig.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "request"])]
    output_signature: Option<PathBuf>,
    /// Sign nothing, and write a request to this file: others approve it with `pratique approve`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["approved", "plugin", "plugin_config", "timestamp_url", "key_certificates", "approval_timeout"])]
    request: Option<PathBuf>,
    /// The key of who asks, by its name in `signingkeys.json`; the default key without it.
    #[arg(long, value_name = "NAME", requires = "request")]
    request_key: Option<String>,
    /// Make the signature that this request is for, once enough have approved. It goes to the image that was asked for, to
    /// another place that holds it, or to the file of `--output-signature`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["descriptor", "require_digest", "signature_format", "expiry", "user_metadata"])]
    approved: Option<PathBuf>,
    /// Refuse an image that is not named by its digest.
    #[arg(long)]
    require_digest: bool,
    #[command(flatten)]
    signing: SigningArguments,
    #[command(flatten)]
    places: PlaceArguments,
    #[command(flatten)]
    node_store: NodeStoreArguments,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let Arguments { image, descriptor, output_signature, require_digest, request, request_key, approved, .. } =
        arguments;
    let Arguments { platform, recursive, signing, places, node_store, .. } = arguments;
    if let Some(image) = image.as_deref().filter(|_| require_digest) {
        check_digest(image)?;
    }
    let places = Ways { places, platform, node_store };
    match (request, approved, image, descriptor, output_signature) {
        (Some(request), _, image, descriptor, _) => {
            let what = Asked { image, descriptor, places };
            ask(&request, what, signing.ask(request_key.as_deref())?, output).await
        }
        (_, Some(approved), image, _, signature) => release(&approved, image, signature, signing, places, output).await,
        (_, _, Some(image), _, None) if recursive => recursive::run(&image, signing, places, output).await,
        (_, _, Some(image), _, None) => in_place(&image, signing, places, output).await,
        (_, _, None, Some(descriptor), Some(signature)) => detached(&descriptor, &signature, signing, output).await,
        _ => Err(Failure::usage(
            "arguments-missing",
            "there is neither an image to sign, nor a descriptor and a file for its signature".into(),
        )
        .hint("name an image, or give `--descriptor` and `--output-signature`")),
    }
}

/// How to get at an image, which part of it is meant, and where else its signature is kept.
struct Ways {
    places: PlaceArguments,
    platform: Option<Platform>,
    node_store: NodeStoreArguments,
}

/// An image, and where its signatures are kept beside its own place.
struct Signable {
    target: Target,
    node_store: NodeStoreArguments,
}

impl Signable {
    /// Stores signatures of the image, or of parts of it.
    async fn store(&self, signatures: &[(&Descriptor, &Signed)]) -> Result<(), Failure> {
        let Target { location, repository, place, .. } = &self.target;
        store(place.sink(), repository, signatures).await.map_err(|error| Failure::of(&error))?;
        for (artifact, signed) in signatures {
            self.node_store.keep(location, artifact, signed).await?;
        }
        Ok(())
    }
}

/// What a signature is asked for.
struct Asked {
    image: Option<String>,
    descriptor: Option<PathBuf>,
    places: Ways,
}

/// Asks for a signature.
async fn ask(request: &Path, what: Asked, asking: Asking, output: Output) -> Result<Exit, Failure> {
    let (artifact, reference) = match (what.image, what.descriptor) {
        (Some(image), _) => {
            let Signable { target, .. } = resolve(what.places, &image, Some(&image), &asking.directory).await?;
            output::warn_about_tag(&target.location, "asks for a signature of");
            (target.descriptor.clone(), Some(target.pinned().to_string()))
        }
        (None, Some(descriptor)) => (read_descriptor(&descriptor)?.bare(), None),
        (None, None) => {
            let message = "a request is for the signature of an image, and none is named".to_owned();
            return Err(Failure::usage("arguments-missing", message).hint("name an image, or give `--descriptor`"));
        }
    };
    approval::request::write(request, asking, artifact, reference, output).await?;
    Ok(Exit::Done)
}

/// Makes the signature that was approved. The place is asked before anything is signed.
async fn release(
    approved: &Path,
    image: Option<String>,
    signature: Option<PathBuf>,
    signing: SigningArguments,
    places: Ways,
    output: Output,
) -> Result<Exit, Failure> {
    let file = approval::signed::open(approved)?;
    if let Some(signature) = signature {
        check_name(&signature, file.request.format)?;
        let released = approval::signed::release(file, signing, output).await?;
        warn_if_made_before(&released);
        return write_detached(&signature, &released.request.artifact, released.signature, output);
    }
    let named = image.clone();
    let Some(image) = image.or_else(|| file.request.reference.clone()) else {
        let message = "the request was made for a descriptor, and names no place for its signature".to_owned();
        let remedy = Some("name the image, or a file with `--output-signature`".to_owned());
        return Err(Failure { remedy, ..Failure::usage("arguments-missing", message) });
    };
    let signable = resolve(places, &image, named.as_deref(), &signing.directory()).await?;
    let target = &signable.target;
    target.check_keeps_signatures().await?;
    if !target.descriptor.same_content(&file.request.artifact) {
        let message = format!(
            "`{image}` is {}, and the request is for {}",
            target.descriptor.digest, file.request.artifact.digest
        );
        let remedy = "name the image that was asked for, by its digest";
        return Err(Failure {
            exit: Exit::Denied,
            ..Failure::unreadable("approval-other-artifact", message, Some(remedy))
        });
    }
    let released = approval::signed::release(file, signing, output).await?;
    warn_if_made_before(&released);
    let signature = released.signature.for_place(&target.place);
    signable.store(&[(&target.descriptor, &signature.signed)]).await?;
    report(output, &target.pinned(), &signature);
    Ok(Exit::Done)
}

fn warn_if_made_before(released: &Released) {
    if released.was_made {
        output::warning("the signature for this request was made before; it is the same one");
    }
}

/// Where the image lies. `named` is what the command line says of it: a password is not for whom a file names.
async fn resolve(ways: Ways, image: &str, named: Option<&str>, directory: &NotationDir) -> Result<Signable, Failure> {
    let Ways { places, platform, node_store } = ways;
    let insecure = directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let places = places.open(insecure, named.as_slice())?.at_origin();
    let target = Target::resolve(&places, image).await?.on_platform(platform.as_ref()).await?;
    Ok(Signable { target, node_store })
}

async fn in_place(image: &str, signing: SigningArguments, places: Ways, output: Output) -> Result<Exit, Failure> {
    let signing = signing.open()?;
    let signable = resolve(places, image, Some(image), &signing.directory).await?;
    let target = &signable.target;
    target.check_keeps_signatures().await?;
    output::warn_about_tag(&target.location, "signs");
    let made = signing.sign(&target.descriptor).await?.for_place(&target.place);
    signable.store(&[(&target.descriptor, &made.signed)]).await?;
    report(output, &target.pinned(), &made);
    Ok(Exit::Done)
}

/// Only a digest names what it names for ever.
fn check_digest(image: &str) -> Result<(), Failure> {
    let location: Location = location(image)?;
    if location.digest().is_some() {
        return Ok(());
    }
    let message = format!("`{location}` does not name the image by its digest");
    let remedy = Some("write NAME@DIGEST, or leave `--require-digest` out".to_owned());
    Err(Failure { remedy, ..Failure::usage("digest-required", message) })
}

/// Signs what a file describes, into a file.
async fn detached(
    descriptor: &Path,
    signature: &Path,
    signing: SigningArguments,
    output: Output,
) -> Result<Exit, Failure> {
    let artifact = read_descriptor(descriptor)?;
    let signing = signing.open()?;
    check_name(signature, signing.format)?;
    let made = signing.sign(&artifact.bare()).await?;
    write_detached(signature, &artifact, made, output)
}

fn write_detached(signature: &Path, artifact: &Descriptor, made: Signature, output: Output) -> Result<Exit, Failure> {
    let Signature { signed, timestamp, warnings } = made;
    write_whole(signature, signed.envelope.bytes(), Existing::Keep).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(signature),
        _ => unwritable(signature, &error),
    })?;
    let (signature, envelope) = (signature.display().to_string(), signed.envelope.descriptor());
    let report = DetachedReport { artifact, signature, envelope, timestamp, warnings };
    output::print(output, &report, || {
        let stamped = report.timestamp.as_ref().map(|stamped| format!("\n  {stamped}")).unwrap_or_default();
        format!("signed {}\n  signature   {}{stamped}", report.artifact.digest, report.signature)
    });
    Ok(Exit::Done)
}

fn taken(path: &Path) -> Failure {
    let remedy = Some("name another file".to_owned());
    Failure { remedy, ..Failure::usage("signature-exists", format!("{} is there already", path.display())) }
}

/// A file that could not be written.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::unreadable("file-unwritable", message, Some("see whether the directory is there and can be written"))
}

/// Content first, and last the manifest that makes it a signature. Each is of the artifact beside it.
pub(super) async fn store(
    sink: &dyn Sink,
    repository: &Repository,
    signatures: &[(&Descriptor, &Signed)],
) -> Result<(), SourceError> {
    let attachments = signatures.iter().map(|&(subject, signed)| Attachment {
        subject,
        content: vec![&signed.config, &signed.envelope],
        manifest: &signed.manifest,
        artifact_type: media_type::NOTARY_SIGNATURE,
    });
    sink.attach(repository, &attachments.collect::<Vec<_>>()).await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DetachedReport<'a> {
    artifact: &'a Descriptor,
    signature: String,
    envelope: &'a Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Stamped>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem>,
}
