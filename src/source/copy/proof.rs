//! Asks the destination for everything that was written. Registries take what they do not keep, and list it as something
//! else than it is.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::patience::patiently;
use super::plan::Plan;
use super::{Copied, CopyOptions, End};
use crate::oci::{Blob, Descriptor, Digest, Tag};
use crate::source::limits::{MAX_COPY_REFERRERS, MAX_TRANSFERS};
use crate::source::{ImageSink, SourceError};

/// Something that the destination does not show as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// What it is about.
    pub digest: Digest,
    /// What became of it.
    pub loss: Loss,
}

/// What became of something that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// It is not there.
    Missing,
    /// It is there, and not listed as a referrer of this subject.
    NotListed(Digest),
    /// It is listed as another type of artifact, or none.
    OtherArtifactType(String),
    /// The tag does not point to it.
    NotTagged(String),
    /// The tag pointed to something else before, and was left.
    TagTaken(String),
}

/// What of a plan is not at the destination, but for what the copy has told of itself.
pub(super) async fn missing(
    to: &End<'_, dyn ImageSink>,
    plan: &Plan,
    options: &CopyOptions,
    copied: &Copied,
) -> Result<Vec<Dropped>, SourceError> {
    let room = Semaphore::new(MAX_TRANSFERS);
    let is_due = |blob: &&Descriptor| !copied.left.iter().any(|left| left.digest == blob.digest);
    let blobs = plan.blobs.iter().filter(is_due).map(|blob| (blob, false));
    let manifests = plan.steps.iter().flatten().map(|manifest| (manifest.descriptor(), true));
    let asked = blobs.chain(manifests).map(|(descriptor, is_manifest)| {
        let room = &room;
        async move {
            let _permit = room.acquire().await;
            let ask = || async move {
                if is_manifest {
                    to.place.has_manifest(to.repository, descriptor).await
                } else {
                    to.place.has_blob(to.repository, descriptor).await
                }
            };
            let is_there = patiently(options.first_pause, ask).await?;
            Ok((!is_there).then(|| Dropped { digest: descriptor.digest.clone(), loss: Loss::Missing }))
        }
    });
    let mut dropped: Vec<Dropped> = try_join_all(asked).await?.into_iter().flatten().collect();
    dropped.extend(unlisted(to, plan, options).await?);
    let is_named = |(tag, _): &&(Tag, Blob)| copied.tags.iter().any(|named| named == tag.as_str());
    for (tag, manifest) in plan.tagged.iter().filter(is_named) {
        dropped.extend(untagged(to, options.first_pause, tag, manifest.descriptor()).await?);
    }
    Ok(dropped)
}

async fn unlisted(
    to: &End<'_, dyn ImageSink>,
    plan: &Plan,
    options: &CopyOptions,
) -> Result<Vec<Dropped>, SourceError> {
    let mut asked = HashSet::new();
    let subjects = plan.referrers.iter().map(|referrer| &referrer.subject);
    let mut listed: HashMap<&Digest, HashMap<Digest, Option<String>>> = HashMap::new();
    for subject in subjects.filter(|subject| asked.insert(&subject.digest)) {
        let list = || to.place.referrers(to.repository, subject, MAX_COPY_REFERRERS);
        let found = patiently(options.first_pause, list).await?;
        let found = found.descriptors.into_iter().map(|found| (found.digest, found.artifact_type));
        listed.insert(&subject.digest, found.collect());
    }
    let lost = plan.referrers.iter().filter_map(|referrer| {
        let digest = referrer.manifest.descriptor().digest.clone();
        let loss = match listed.get(&referrer.subject.digest).and_then(|listed| listed.get(&digest)) {
            None => Loss::NotListed(referrer.subject.digest.clone()),
            Some(Some(artifact_type)) if *artifact_type == referrer.artifact_type => return None,
            Some(other) => Loss::OtherArtifactType(other.clone().unwrap_or_default()),
        };
        Some(Dropped { digest, loss })
    });
    Ok(lost.collect())
}

/// What is to be told of a tag that does not point to what it was given to.
pub(super) async fn untagged(
    to: &End<'_, dyn ImageSink>,
    first_pause: Duration,
    tag: &Tag,
    descriptor: &Descriptor,
) -> Result<Option<Dropped>, SourceError> {
    let reference = to.repository.tagged(tag.clone());
    let is_named = match patiently(first_pause, || to.place.resolve(&reference)).await {
        Ok(found) => found.digest == descriptor.digest,
        Err(SourceError::NotFound { .. }) => false,
        Err(error) => return Err(error),
    };
    let loss = || Loss::NotTagged(tag.as_str().to_owned());
    Ok((!is_named).then(|| Dropped { digest: descriptor.digest.clone(), loss: loss() }))
}
