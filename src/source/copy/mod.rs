//! Takes an image somewhere else, with everything that hangs on it.
//!
//! Signatures that stay behind make an image that nobody admits. So the image is read to its end first: its platforms, and
//! of each of them what refers to it and what cosign keeps under tags. Then content goes, then manifests from the leaves up,
//! then what refers to them. Then everything is asked for once more, since registries drop things without a word. The image's
//! tag is given last, and by whoever asked for the copy ([`Carried::name`]): the tag never points to an image without its
//! signatures, and a copy that is killed leaves nothing that points to what is not there. Whatever is there already is passed
//! over, so a copy that is made again does the rest.

mod patience;
mod plan;
mod proof;
mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

pub use proof::{Dropped, Loss};

use self::patience::patiently;
use self::plan::Planner;
use self::transfer::Transfer;
use super::{ImageSink, Images, SourceError};
use crate::oci::{Blob, Descriptor, Repository, Tag};

/// What is to be copied, and how.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Whether the image goes alone, without what hangs on it.
    pub alone: bool,
    /// Whether what refers to a referrer goes too, such as the signature of an SBOM.
    pub recursive: bool,
    /// The pause before something is tried for the second time.
    pub first_pause: Duration,
}

/// One end of a copy.
pub struct End<'a, P: ?Sized + 'a> {
    /// The place.
    pub place: &'a P,
    /// The repository in it.
    pub repository: &'a Repository,
}

/// How far a copy has come, for whoever watches.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many bytes of content there are.
    pub size: AtomicU64,
    /// How many of them have been read, or need not be.
    pub passed: Arc<AtomicU64>,
}

/// What a copy did.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// How many manifests there are, and how many of them were there already.
    pub manifests: Count,
    /// The same of what is no manifest.
    pub blobs: Count,
    /// How many blobs were taken over from another repository of the same registry.
    pub mounted: u64,
    /// How many bytes of content were sent.
    pub bytes: u64,
    /// What refers to the image, or to a part of it.
    pub referrers: Vec<Descriptor>,
    /// Tags by cosign's scheme.
    pub tags: Vec<String>,
    /// Layers that may not be passed on, and lie elsewhere.
    pub left: Vec<Descriptor>,
    /// What the destination does not show, although it was written.
    pub dropped: Vec<Dropped>,
}

/// How many there are, and how many of them were at the destination before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All of them.
    pub total: u64,
    /// Those that were there.
    pub present: u64,
}

/// An image that is where it was to go, with what hangs on it, and that its own tag does not point to yet.
pub struct Carried {
    root: Blob,
    first_pause: Duration,
    copied: Copied,
}

/// Takes the image `root`, which the source has just resolved, to the destination, where it is found by its digest.
pub async fn carry(
    from: End<'_, dyn Images>,
    to: End<'_, dyn ImageSink>,
    root: &Descriptor,
    options: &CopyOptions,
    tally: &Tally,
) -> Result<Carried, SourceError> {
    let plan = Planner::new(&from, options).plan(root).await?;
    tally.size.store(plan.blobs.iter().fold(0, |size: u64, blob| size.saturating_add(blob.size)), Ordering::Relaxed);
    let transfer = Transfer::new(&from, &to, options, tally);
    let mut copied = transfer.run(&plan).await?;
    let missing = proof::missing(&to, &plan, options, &copied).await?;
    copied.dropped.extend(missing);
    Ok(Carried { root: plan.root, first_pause: options.first_pause, copied })
}

impl Carried {
    /// Has the image found at the destination: by this tag, or as one without a name.
    pub async fn name(self, to: End<'_, dyn ImageSink>, tag: Option<&Tag>) -> Result<Copied, SourceError> {
        let Self { root, first_pause, mut copied } = self;
        let End { place, repository } = to;
        patiently(first_pause, || place.name(repository, &root, tag)).await?;
        if let Some(tag) = tag {
            copied.dropped.extend(proof::untagged(&to, first_pause, tag, root.descriptor()).await?);
        }
        Ok(copied)
    }

    /// What was done, where somebody else gives the tag.
    pub fn unnamed(self) -> Copied {
        self.copied
    }
}
