//! The artifact that a command is about: how its name is written, where it lies, what the name points to now.

use std::path::PathBuf;
use std::sync::Arc;

use super::flags::Parsed;
use super::{Refusal, environment, login, output};
use crate::cli::place::Place;
use crate::cli::registry::{RegistryAccess, signatures};
use crate::oci::{Descriptor, Digest, Reference, Repository, Tag};
use crate::source::layout::Layout;
use crate::source::registry::Registry;
use crate::source::{Referrers, SourceError};

const REGISTRY_FORM: &str = "Expecting <registry>/<repository>:<tag> or <registry>/<repository>@<digest>";
const LAYOUT_FORM: &str = "Expecting <file_path>:<tag> or <file_path>@<digest>";
/// A layout has no repositories. Where one is asked for, this name stands for none.
const NO_REPOSITORY: &str = "localhost/layout";

/// An artifact, and the place that it lies in.
pub(super) struct Artifact {
    /// The registry and repository, or the path of the layout, as typed.
    pub(super) name: String,
    pub(super) repository: Repository,
    pub(super) descriptor: Descriptor,
    pub(super) place: Place,
}

impl Artifact {
    /// Resolves the first argument. `warning` says why a tag is no good name here, after "Always VERB the artifact".
    pub(super) async fn resolve(parsed: &Parsed, verb: &str, why: &str) -> Result<Self, Refusal> {
        let typed = parsed.first();
        let (name, reference, place) = if parsed.is_on("oci-layout") {
            let (name, reference) = in_layout(typed)?;
            let place = Place::Layout(open_layout(&name).await?);
            (name, reference, place)
        } else {
            let (name, reference) = in_registry(typed)?;
            let place = Place::Registry(Arc::new(open_registry(parsed, reference.repository())?));
            (name, reference, place)
        };
        let is_layout = matches!(place, Place::Layout(_));
        let descriptor =
            place.source().resolve(&reference).await.map_err(|error| unresolved(&error, typed, is_layout))?;
        if let (Some(tag), None) = (reference.tag(), reference.digest()) {
            output::warn(&format!(
                "Warning: Always {verb} the artifact using digest(@sha256:...) rather than a tag(:{}) because {why}",
                tag.as_str()
            ));
        }
        Ok(Self { name, repository: reference.repository().clone(), descriptor, place })
    }

    /// `NAME@DIGEST`.
    pub(super) fn pinned(&self) -> String {
        format!("{}@{}", self.name, self.descriptor.digest)
    }

    /// The signatures of the artifact, at most so many.
    pub(super) async fn signatures(&self, limit: usize) -> Result<Referrers, Refusal> {
        let referrers = signatures(self.place.source(), &self.repository, &self.descriptor, limit).await;
        referrers.map_err(|error| Refusal::of(&error))
    }
}

/// Why the tag is no good name for what is read.
pub(super) const MAY_HAVE_MOVED: &str =
    "resolved digest may not point to the same signed artifact, as tags are mutable.";

/// How many signatures are looked at. Tells of the flag that the commands which read have had.
pub(super) fn max_signatures(parsed: &Parsed) -> Result<usize, Refusal> {
    let number = parsed.number("max-signatures");
    let limit = usize::try_from(number).ok().filter(|number| *number > 0);
    let limit = limit.ok_or_else(|| Refusal(format!("max-signatures value {number} must be a positive number")))?;
    if parsed.has("allow-referrers-api") {
        output::warn(&format!("{REFERRERS_API_DEPRECATED}."));
    }
    Ok(limit)
}

pub(super) const REFERRERS_API_DEPRECATED: &str =
    "Warning: flag '--allow-referrers-api' is deprecated and will be removed in future versions";

/// The repository as typed, and the reference. The name must be whole: a shorter one stands for another place here than
/// with other tools.
fn in_registry(typed: &str) -> Result<(String, Reference), Refusal> {
    let invalid = |what: &str| Refusal(format!("{typed:?}: invalid reference: {what}. {REGISTRY_FORM}"));
    let Some((_, path)) = typed.split_once('/') else { return Err(invalid("missing registry or repository")) };
    let (name, has_tag) = match (typed.split_once('@'), path.rfind(':')) {
        (Some((name, _)), _) => (without_tag(name), true),
        (None, Some(_)) => (without_tag(typed), true),
        (None, None) => (typed, false),
    };
    if !has_tag {
        return Err(invalid("no tag or digest"));
    }
    if let Some((_, digest)) = typed.split_once('@') {
        digest.parse::<Digest>().map_err(|error| invalid(&format!("invalid digest {digest:?}: {error}")))?;
    }
    let reference: Reference = typed.parse().map_err(|error| invalid(&Refusal::of(&error).0))?;
    if reference.repository().to_string() != name {
        return Err(invalid(&format!("{name:?} does not name its registry")));
    }
    Ok((name.to_owned(), reference))
}

/// What stands before the tag: a colon before the last slash belongs to a port.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

fn in_layout(typed: &str) -> Result<(String, Reference), Refusal> {
    let invalid = |what: &str| Refusal(format!("{typed:?}: invalid reference: {what}. {LAYOUT_FORM}"));
    let (path, suffix) = match (typed.rsplit_once('@'), typed.rsplit_once(':')) {
        (Some((path, digest)), _) => {
            digest.parse::<Digest>().map_err(|error| invalid(&format!("invalid digest {digest:?}: {error}")))?;
            (path, format!("@{digest}"))
        }
        (None, Some((path, tag))) => {
            tag.parse::<Tag>().map_err(|error| invalid(&Refusal::of(&error).0))?;
            (path, format!(":{tag}"))
        }
        (None, None) => return Err(invalid("missing tag or digest")),
    };
    let reference = format!("{NO_REPOSITORY}{suffix}").parse().map_err(|error| invalid(&Refusal::of(&error).0))?;
    Ok((path.to_owned(), reference))
}

async fn open_layout(path: &str) -> Result<Layout, Refusal> {
    if let Err(error) = std::fs::metadata(path) {
        return Err(Refusal(format!("failed to create OCI store: stat {path}: {}", system_words(&error))));
    }
    Layout::open(PathBuf::from(path))
        .await
        .map_err(|error| Refusal(format!("failed to create OCI store: {}", Refusal::of(&error).0)))
}

/// What the operating system says, in its own letters: without Rust's number, and in lower case as others quote it.
pub(super) fn system_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// The registry, with the credentials of the arguments, of the environment, or of docker's file.
pub(super) fn open_registry(parsed: &Parsed, repository: &Repository) -> Result<Registry, Refusal> {
    let mut insecure = environment::configuration().insecure_registries().map_err(|error| Refusal::of(&error))?;
    if parsed.is_on("insecure-registry") {
        insecure.push(repository.registry().to_owned());
    }
    let username = environment::or_variable(parsed.text("username"), "NOTATION_USERNAME");
    let password = environment::or_variable(parsed.text("password"), "NOTATION_PASSWORD");
    let own = environment::configuration().path().join("config.json");
    let given = (!username.is_empty() || !password.is_empty())
        .then(|| (repository.registry().to_owned(), login::credential_of(username, password)));
    Ok(RegistryAccess {
        insecure,
        given,
        own: Some(own),
        docker: environment::docker(),
        lists_by_tag: lists_by_tag(parsed),
        // That tool reads no `hosts.toml`.
        hosts_dirs: Vec::new(),
    }
    .open())
}

/// Whether signatures are listed under the fallback tag even by a registry that lists them itself. Only `sign` has the flag.
fn lists_by_tag(parsed: &Parsed) -> bool {
    parsed.is_on("force-referrers-tag") && !parsed.is_on("allow-referrers-api")
}

fn unresolved(error: &SourceError, typed: &str, is_layout: bool) -> Refusal {
    Refusal(match error {
        SourceError::NotFound { .. } if is_layout => "failed to get manifest descriptor: not found".to_owned(),
        SourceError::NotFound { .. } => format!("failed to get manifest descriptor: {typed}: not found"),
        error => format!("failed to get manifest descriptor: {}", Refusal::of(error).0),
    })
}
