//! What is to be signed of the images that a build has made: the registry is asked, and what it says must be what the build
//! says.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::oci::{Descriptor, Index, Location, Repository, media_type};
use crate::remedy::excerpt;
use crate::sign::{BuildOutput, BuiltImage, MAX_BUILT_IMAGES, PayloadIndex};
use crate::source::registry::Registry;
use crate::source::{Source as _, SourceError};

/// Whom to ask about an image, and what need not be asked.
pub(super) struct Inquiry<'a> {
    pub(super) registry: &'a Registry,
    pub(super) is_complete: bool,
    pub(super) known: &'a PayloadIndex,
    pub(super) unverified: bool,
}

/// Every manifest that is to be signed. All that stands in the way is told, not only the first.
pub(super) async fn describe(inquiry: &Inquiry<'_>, built: &BuildOutput, jobs: usize) -> Result<PayloadIndex, Failure> {
    let (mut progress, mut done) = (output::Progress::default(), 0);
    let questions = built.images.iter().map(|image| async move { (image, manifests_of(inquiry, image).await) });
    let mut answers = futures_util::stream::iter(questions).buffered(jobs);
    let (mut index, mut failures) = (PayloadIndex::default(), Vec::new());
    while let Some((image, answer)) = answers.next().await {
        done += 1;
        progress.show(&format!("asked about {done} of {}", built.images.len()));
        match answer {
            Ok(manifests) => {
                for (repository, manifest) in manifests {
                    index.add(repository, manifest).map_err(|error| Failure::of(&error))?;
                }
            }
            Err(failure) => failures.push((image, failure)),
        }
    }
    progress.clear();
    let count = failures.len();
    for (image, failure) in failures.iter().skip(1) {
        output::to_stderr(&format!("error [{}]: {}: {}", failure.code, image.reference, failure.message));
    }
    match failures.into_iter().next() {
        None => Ok(index),
        Some((image, first)) => {
            let rest = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
            let message = format!("{}: {}{rest}; nothing was written", image.reference, first.message);
            Err(Failure { message, ..first })
        }
    }
}

/// The manifests that one image stands for.
async fn manifests_of(inquiry: &Inquiry<'_>, image: &BuiltImage) -> Result<Vec<(Repository, Descriptor)>, Failure> {
    let repository = image.reference.repository();
    let artifact = match inquiry.listed(image).or_else(|| inquiry.believed(image)) {
        Some(descriptor) => descriptor,
        None => inquiry.confirmed(image).await?,
    };
    output::warn_about_tag(&Location::Registry(image.reference.clone()), "pins");
    let mut manifests = Vec::new();
    let mut pending = vec![artifact];
    let mut seen = BTreeSet::new();
    while let Some(artifact) = pending.pop() {
        if !seen.insert(artifact.digest.clone()) {
            continue;
        }
        if seen.len() > MAX_BUILT_IMAGES {
            let message = format!("the index lists more than {MAX_BUILT_IMAGES} manifests");
            return Err(Failure::unreadable("index-too-large", message, None));
        }
        if !inquiry.is_complete && media_type::is_index(&artifact.media_type) {
            let platforms =
                platforms(inquiry.registry, repository, &artifact).await.map_err(|error| Failure::of(&error))?;
            pending.extend(platforms);
        }
        manifests.push((repository.clone(), artifact));
    }
    Ok(manifests)
}

/// The manifests of an index, as the registry holds them: what the index says of them need not be so.
async fn platforms(
    registry: &Registry,
    repository: &Repository,
    index: &Descriptor,
) -> Result<Vec<Descriptor>, SourceError> {
    let bytes = registry.manifest(repository, index).await?;
    let parsed = Index::parse(bytes.bytes()).map_err(|source| SourceError::Manifest {
        what: index.digest.to_string(),
        place: repository.to_string(),
        source,
    })?;
    let mut manifests = Vec::new();
    for (entry, _) in parsed.manifests.into_iter().filter(|(entry, _)| !entry.is_attestation()) {
        manifests.push(registry.resolve(&repository.at(entry.digest)).await?);
    }
    Ok(manifests)
}

impl Inquiry<'_> {
    /// What an earlier run has listed.
    fn listed(&self, image: &BuiltImage) -> Option<Descriptor> {
        let entry = image.reference.digest().and_then(|digest| self.known.get(digest));
        entry.map(|entry| entry.artifact.clone())
    }

    /// What the build alone says, where that is to do.
    pub(super) fn believed(&self, image: &BuiltImage) -> Option<Descriptor> {
        image.descriptor.clone().filter(|_| self.unverified && self.listed(image).is_none())
    }

    /// What the registry holds, which must be what the build says.
    async fn confirmed(&self, image: &BuiltImage) -> Result<Descriptor, Failure> {
        let held = self.registry.resolve(&image.reference).await.map_err(|error| Failure::of(&error))?;
        match &image.descriptor {
            Some(claimed) if !claimed.same_content(&held) => Err(other_descriptor(claimed, &held)),
            _ => Ok(held),
        }
    }
}

fn other_descriptor(claimed: &Descriptor, held: &Descriptor) -> Failure {
    let words = |it: &Descriptor| format!("{} bytes of {} ({})", it.size, excerpt(&it.media_type), it.digest.short());
    let message = format!("the build says {}, and the registry holds {}", words(claimed), words(held));
    let remedy = "find out who changed the image or the file since the build, and have the build write the file anew";
    Failure { exit: Exit::Denied, ..Failure::unreadable("build-output-differs", message, Some(remedy)) }
}
