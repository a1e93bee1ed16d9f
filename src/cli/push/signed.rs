//! `pratique push --sign`: an image of this machine to a registry, signed.
//!
//! The registry is believed nothing. What was signed is known from this machine, and the registry must show exactly that
//! before a signature is attached; then the signature must be seen there, and only then is the tag moved. Whoever follows the
//! tag finds a signed image or the one before.
//!
//! The signature is kept beside the image on this machine before anything is sent. A push that was killed is made again with the
//! same signature, so there are never two of them, and whatever is at the registry already is passed over.

use std::collections::{BTreeMap, BTreeSet};

use super::attached::unattached;
use super::report::{Moved, Report, report};
use crate::cli::attaching::{Attachable, attach, shows, sound};
use crate::cli::copy::watched;
use crate::cli::court::{Court, unjudged};
use crate::cli::exit::{Exit, Failure};
use crate::cli::node_store::NodeStoreArguments;
use crate::cli::place::{Destination, PlaceArguments, Target, location};
use crate::cli::plugins::verifiers;
use crate::cli::revocation::RevocationArguments;
use crate::cli::sign::store;
use crate::cli::signing::{Signature, Signing, SigningArguments};
use crate::cli::{Output, output};
use crate::config::LoadError;
use crate::judge::Witnesses;
use crate::oci::{Blob, Descriptor, Digest, InvalidReference, Location, Platform, Reference, Repository};
use crate::source::copy::{Copied, CopyOptions};
use crate::source::limits::FIRST_PAUSE;
use crate::source::registry::Registry;
use crate::source::{ImageSink as _, Source as _, SourceError};
use crate::verify::{Answer, Verdict};

/// What is to go where.
pub(super) struct Order {
    pub(super) source: String,
    /// Where the image's name says, if nothing is said.
    pub(super) destination: Option<String>,
    pub(super) platform: Option<Platform>,
    /// Where the signature is kept, too.
    pub(super) node_store: NodeStoreArguments,
}

pub(super) async fn run(
    order: Order,
    signing: SigningArguments,
    places: PlaceArguments,
    revocation: RevocationArguments,
    output: Output,
) -> Result<Exit, Failure> {
    check_source(&order.source)?;
    let signing = signing.open()?;
    let insecure = signing.directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let places = places.open(insecure, order.destination.as_deref().as_slice())?.at_origin();
    let (servers, plugins) = (revocation.open(), verifiers(&signing.directory, BTreeMap::new()));
    let court = court(&signing, Witnesses { responders: &servers, plugins: &plugins })?;
    let from = Target::resolve(&places, &order.source).await?.on_platform(order.platform.as_ref()).await?;
    let reference = destination(order.destination.as_deref(), &from)?;
    let root = from.descriptor.bare();
    if reference.digest().is_some_and(|digest| *digest != root.digest) {
        let message = format!("the destination names another digest than {}, which the image has", root.digest);
        return Err(Failure::usage("copy-digest-differs", message).hint("leave the digest out of the destination"));
    }
    let (registry, repository) = (places.registry(), reference.repository());
    let signature = signature(&from, &order.node_store, &signing, registry, repository).await?;
    let to = Destination::open(&places, Location::Registry(reference.clone())).await?;
    let copied = push(&from, &to).await?;
    let manifest = shown(registry, repository, &root).await?;
    let attached = attach(registry, repository, &signature.attachable).await.map_err(|error| unattached(&error))?;
    let pinned = reference.pinned(root.digest.clone());
    read_back(registry, repository, &signature.attachable, &attached.signature).await?;
    let verdict = match &court {
        None => None,
        Some(court) => {
            let location = Location::Registry(pinned.clone());
            Some(court.judge(&to.place, &location, repository, &root).await)
        }
    };
    if let Some(verdict) = verdict.as_ref().filter(|verdict| verdict.answer() != Answer::Admit) {
        return Ok(refused(output, verdict));
    }
    let moved = move_tag(registry, &reference, &manifest).await?;
    report(output, &Report::of(&pinned, moved, &root, attached, signature.made, &copied, verdict.as_ref()));
    Ok(Exit::Done)
}

/// Only what lies on this machine is known before a registry says anything.
fn check_source(source: &str) -> Result<(), Failure> {
    let location: Location = location(source)?;
    let Location::Registry(reference) = location else { return Ok(()) };
    let message = format!("`{reference}` lies in a registry, and `push --sign` takes images of this machine");
    let remedy = "use `pratique sign` for it there, and `pratique copy` to take it elsewhere".to_owned();
    Err(Failure { remedy: Some(remedy), ..Failure::usage("push-source-not-local", message) })
}

/// The policy that is to admit the image in the end. A machine that only builds has none.
fn court<'a>(signing: &Signing, witnesses: Witnesses<'a>) -> Result<Option<Court<'a>>, Failure> {
    match Court::open(&signing.directory, witnesses) {
        Ok(court) => Ok(Some(court)),
        Err(LoadError::Missing { .. }) => {
            output::warning(
                "there is no trust policy here: that the signature is sound is checked, and not whom it is by",
            );
            Ok(None)
        }
        Err(error) => Err(unjudged(&error)),
    }
}

/// Where the image goes.
fn destination(text: Option<&str>, from: &Target) -> Result<Reference, Failure> {
    if let Some(text) = text {
        let location: Location = location(text)?;
        return match location {
            Location::Registry(reference) => Ok(reference),
            other => {
                let message = format!("`{other}` is no image in a registry");
                let remedy = "name registry/repository:tag, or use `pratique sign` and `pratique copy`".to_owned();
                Err(Failure { remedy: Some(remedy), ..Failure::usage("push-destination-not-registry", message) })
            }
        };
    }
    let named = match &from.location {
        Location::Containerd(name) => name.in_namespace().map(|(_, image)| image.parse::<Reference>()),
        _ => None,
    };
    let named = named.transpose().map_err(|error: InvalidReference| Failure::usage_of(&error))?;
    let in_repository = |named: Reference| match (named.digest(), named.tag()) {
        (Some(digest), _) => Some(from.repository.at(digest.clone())),
        (None, tag) => tag.map(|tag| from.repository.tagged(tag.clone())),
    };
    let is_named = from.repository != Repository::nowhere();
    named.filter(|_| is_named).and_then(in_repository).ok_or_else(|| {
        let message = format!("the name `{}` says no registry and tag that the image goes to", from.location);
        let remedy = "name the destination: registry/repository:tag".to_owned();
        Failure { remedy: Some(remedy), ..Failure::usage("push-destination-missing", message) }
    })
}

/// The signature that goes with the image.
struct Kept {
    attachable: Attachable,
    /// Where it was made now: what there is to say about it.
    made: Option<Signature>,
}

/// A signature that is there already and says the same, or a new one. It is kept beside the image.
async fn signature(
    from: &Target,
    node_store: &NodeStoreArguments,
    signing: &Signing,
    registry: &Registry,
    repository: &Repository,
) -> Result<Kept, Failure> {
    let artifact = from.descriptor.bare();
    let here = sound(from.place.source(), &from.repository, &artifact, &BTreeSet::new()).await;
    let mut there = here.map_err(|error| Failure::of(&error))?;
    let of_registry = sound(registry, repository, &artifact, &BTreeSet::new()).await;
    there.extend(of_registry.map_err(|error| Failure::of(&error))?);
    let mut there = there.into_iter().map(|(_, attachable)| attachable.for_place(&from.place));
    if let Some(certificate) = signing.key.certificate()
        && let Some(attachable) = there.find(|attachable| signing.would_repeat(certificate, attachable))
    {
        return Ok(Kept { attachable, made: None });
    }
    let made = signing.sign(&artifact).await?;
    let bytes = made.signed.envelope.bytes().to_vec();
    let checked = Attachable::check(&artifact, signing.format, bytes);
    let attachable = checked.map_err(Failure::of_problem)?.for_place(&from.place);
    // Which certificate a plugin signs with is known only now.
    if let Some(attachable) = there.find(|there| signing.would_repeat(attachable.signer(), there)) {
        return Ok(Kept { attachable, made: None });
    }
    // Where nothing can be put beside the image, in a packed archive, a push that is made again finds the registry's alone.
    if from.check_keeps_signatures().await.is_ok() {
        let stored = store(from.place.sink(), &from.repository, &[(&artifact, attachable.signed())]).await;
        stored.map_err(|error| Failure::of(&error))?;
        node_store.keep(&from.location, &artifact, attachable.signed()).await?;
    }
    Ok(Kept { attachable, made: Some(made.for_place(&from.place)) })
}

/// The image alone, by its digest: content first.
async fn push(from: &Target, to: &Destination) -> Result<Copied, Failure> {
    let options = CopyOptions { alone: true, recursive: false, first_pause: FIRST_PAUSE };
    let copied = watched(from, to, &options).await?.unnamed();
    match copied.dropped.first() {
        None => Ok(copied),
        Some(dropped) => {
            let message =
                format!("the registry took {} and does not show it; nothing was signed there", dropped.digest);
            let remedy = "ask the registry's operator why, and push again";
            Err(Failure { exit: Exit::Denied, ..Failure::unreadable("copy-incomplete", message, Some(remedy)) })
        }
    }
}

/// The image's manifest as the registry shows it, which must be what was signed: by its headers, and by its bytes.
async fn shown(registry: &Registry, repository: &Repository, root: &Descriptor) -> Result<Blob, Failure> {
    let at = repository.at(root.digest.clone());
    let held = match registry.resolve(&at).await {
        Err(error) if is_swap(&error) => return Err(swapped(&at, &error.to_string())),
        held => held.map_err(|error| Failure::of(&error))?,
    };
    if !held.same_content(root) {
        let fault = format!("it is told to be {} bytes of {}", held.size, held.media_type);
        return Err(swapped(&at, &fault));
    }
    match registry.manifest(repository, root).await {
        Err(error) if is_swap(&error) => Err(swapped(&at, &error.to_string())),
        manifest => manifest.map_err(|error| Failure::of(&error)),
    }
}

/// Whether a registry shows something else than what it was given.
fn is_swap(error: &SourceError) -> bool {
    error.is_about_content() || matches!(error, SourceError::OtherDigest { .. })
}

fn swapped(at: &Reference, fault: &str) -> Failure {
    let message = format!("the registry does not show `{at}` as it was pushed: {fault}");
    let remedy =
        "nothing was attached and no tag was moved; find out what stands between this machine and the registry";
    Failure { exit: Exit::Denied, ..Failure::unreadable("pushed-image-differs", message, Some(remedy)) }
}

/// The signature as the registry shows it to anybody who looks for it.
async fn read_back(
    registry: &Registry,
    repository: &Repository,
    pushed: &Attachable,
    signature: &Digest,
) -> Result<(), Failure> {
    let shown = shows(registry, repository, pushed.artifact(), signature).await;
    if shown.map_err(|error| Failure::of(&error))? {
        return Ok(());
    }
    let message = format!("the registry took the signature of {}, and does not show it", pushed.artifact().digest);
    let remedy = "no tag was moved; ask the registry's operator why, and push again";
    Err(Failure { exit: Exit::Denied, ..Failure::unreadable("pushed-signature-lost", message, Some(remedy)) })
}

/// Says why the image would not be admitted. The signature is there, and the tag is not.
fn refused(output: Output, verdict: &Verdict) -> Exit {
    output::verdict(output, verdict);
    output::warning("the image and its signature were pushed, and no tag was moved");
    verdict.answer().into()
}

/// Has the tag point to the image, and looks whether it does.
async fn move_tag(registry: &Registry, reference: &Reference, manifest: &Blob) -> Result<Moved, Failure> {
    let Some(tag) = reference.tag().filter(|_| reference.digest().is_none()) else { return Ok(Moved::none()) };
    let failed = |error: SourceError| Failure::of(&error);
    let before = match registry.resolve(reference).await {
        Err(SourceError::NotFound { .. }) => None,
        before => Some(before.map_err(failed)?.digest),
    };
    let own = &manifest.descriptor().digest;
    if before.as_ref() != Some(own) {
        registry.name(reference.repository(), manifest, Some(tag)).await.map_err(failed)?;
        let now = registry.resolve(reference).await.map_err(failed)?.digest;
        if now != *own {
            let message = format!("`{reference}` is {now}, although the tag was moved to {own}");
            let remedy = "see who else pushes this tag, and push again";
            return Err(Failure { exit: Exit::Denied, ..Failure::unreadable("tag-not-moved", message, Some(remedy)) });
        }
    }
    Ok(Moved { tag: Some(tag.clone()), before: before.filter(|before| before != own) })
}
