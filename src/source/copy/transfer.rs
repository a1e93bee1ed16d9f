//! Writes what is planned, as much at a time as is polite.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex, Semaphore};

use super::patience::patiently;
use super::plan::{Plan, Referrer};
use super::{Copied, CopyOptions, Count, Dropped, End, Loss, Tally};
use crate::oci::{Blob, Descriptor, Digest, Tag};
use crate::source::limits::{MAX_COPY_REFERRERS, MAX_TRANSFERS};
use crate::source::{ImageSink, Images, SourceError};

pub(super) struct Transfer<'a> {
    from: &'a End<'a, dyn Images>,
    to: &'a End<'a, dyn ImageSink>,
    options: &'a CopyOptions,
    tally: &'a Tally,
    room: Semaphore,
    /// Whether the destination has refused to take a blob over from the source.
    mounts_nothing: AtomicBool,
    present: AtomicU64,
    mounted: AtomicU64,
    sent: AtomicU64,
    left: Mutex<Vec<Descriptor>>,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        from: &'a End<'a, dyn Images>,
        to: &'a End<'a, dyn ImageSink>,
        options: &'a CopyOptions,
        tally: &'a Tally,
    ) -> Self {
        Self {
            from,
            to,
            options,
            tally,
            room: Semaphore::new(MAX_TRANSFERS),
            mounts_nothing: AtomicBool::new(false),
            present: AtomicU64::new(0),
            mounted: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            left: Mutex::default(),
        }
    }

    /// Content, manifests, what refers to them, and the names of all but the image itself.
    pub(super) async fn run(self, plan: &Plan) -> Result<Copied, SourceError> {
        try_join_all(plan.blobs.iter().map(|blob| self.blob(blob))).await?;
        let blobs = Count { total: plan.blobs.len() as u64, present: self.present.swap(0, Ordering::Relaxed) };
        for step in &plan.steps {
            try_join_all(step.iter().map(|manifest| self.manifest(manifest))).await?;
        }
        let total = plan.steps.iter().map(Vec::len).sum::<usize>() as u64;
        let manifests = Count { total, present: self.present.swap(0, Ordering::Relaxed) };
        self.referrers(&plan.referrers).await?;
        let End { place, repository } = self.to;
        let (mut tags, mut dropped) = (Vec::new(), Vec::new());
        for (tag, manifest) in &plan.tagged {
            if self.is_taken(tag, &manifest.descriptor().digest).await? {
                let loss = Loss::TagTaken(tag.as_str().to_owned());
                dropped.push(Dropped { digest: manifest.descriptor().digest.clone(), loss });
                continue;
            }
            patiently(self.options.first_pause, || place.name(repository, manifest, Some(tag))).await?;
            tags.push(tag.as_str().to_owned());
        }
        Ok(Copied {
            manifests,
            blobs,
            mounted: self.mounted.into_inner(),
            bytes: self.sent.into_inner(),
            referrers: plan.referrers.iter().map(entry).collect(),
            tags,
            left: self.left.into_inner(),
            dropped,
        })
    }

    /// Whether a tag of cosign's points to something else at the destination. An image lists what it likes, somebody else's
    /// digest too, and is not to put other signatures in the place of that one's.
    async fn is_taken(&self, tag: &Tag, digest: &Digest) -> Result<bool, SourceError> {
        let End { place, repository } = self.to;
        let reference = repository.tagged(tag.clone());
        match patiently(self.options.first_pause, || place.resolve(&reference)).await {
            Err(SourceError::NotFound { .. }) => Ok(false),
            Err(error) if error.is_about_content() => Ok(true),
            found => Ok(found?.digest != *digest),
        }
    }

    async fn blob(&self, blob: &Descriptor) -> Result<(), SourceError> {
        // The semaphore is never closed.
        let _permit = self.room.acquire().await;
        let before = self.tally.passed.load(Ordering::Relaxed);
        let done = patiently(self.options.first_pause, || self.blob_once(blob)).await;
        if let (Ok(()), 0) = (&done, self.tally.passed.load(Ordering::Relaxed) - before) {
            self.tally.passed.fetch_add(blob.size, Ordering::Relaxed);
        }
        done
    }

    async fn blob_once(&self, blob: &Descriptor) -> Result<(), SourceError> {
        let (from, to) = (self.from, self.to);
        if to.place.has_blob(to.repository, blob).await? {
            self.present.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let is_near = from.repository.registry() == to.repository.registry();
        if is_near && !self.mounts_nothing.load(Ordering::Relaxed) {
            if to.place.mount(to.repository, from.repository, blob).await? {
                self.mounted.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            self.mounts_nothing.store(true, Ordering::Relaxed);
        }
        let bytes = match from.place.open_blob(from.repository, blob).await {
            Err(SourceError::NotFound { .. }) if stays_elsewhere(blob) => {
                self.left.lock().await.push(blob.clone());
                return Ok(());
            }
            bytes => bytes?,
        };
        to.place.push_stream(to.repository, bytes.watched(Arc::clone(&self.tally.passed))).await?;
        self.sent.fetch_add(blob.size, Ordering::Relaxed);
        Ok(())
    }

    async fn manifest(&self, manifest: &Blob) -> Result<(), SourceError> {
        let _permit = self.room.acquire().await;
        let End { place, repository } = self.to;
        let push = || async move {
            if place.has_manifest(repository, manifest.descriptor()).await? {
                return Ok(true);
            }
            place.push_manifest(repository, manifest).await.map(|()| false)
        };
        let was_there = patiently(self.options.first_pause, push).await?;
        self.present.fetch_add(u64::from(was_there), Ordering::Relaxed);
        Ok(())
    }

    /// Has those listed that are not. Where a registry lists by itself, that is all of them.
    async fn referrers(&self, referrers: &[Referrer]) -> Result<(), SourceError> {
        let End { place, repository } = self.to;
        let mut asked = HashSet::new();
        for subject in referrers.iter().map(|referrer| &referrer.subject) {
            if !asked.insert(&subject.digest) {
                continue;
            }
            let list = || place.referrers(repository, subject, MAX_COPY_REFERRERS);
            let found = patiently(self.options.first_pause, list).await?.descriptors;
            let listed: HashSet<&Digest> = found.iter().map(|found| &found.digest).collect();
            let own = referrers.iter().filter(|referrer| referrer.subject.digest == subject.digest);
            let missing: Vec<(&Blob, &str)> = own
                .filter(|referrer| !listed.contains(&referrer.manifest.descriptor().digest))
                .map(|referrer| (&referrer.manifest, referrer.artifact_type.as_str()))
                .collect();
            if !missing.is_empty() {
                let push = || place.push_referrers(repository, subject, &missing);
                patiently(self.options.first_pause, push).await?;
            }
        }
        Ok(())
    }
}

fn entry(referrer: &Referrer) -> Descriptor {
    let artifact_type = Some(referrer.artifact_type.clone());
    Descriptor { artifact_type, ..referrer.manifest.descriptor().bare() }
}

/// Layers that a registry may not hold, and that are fetched from their maker (image specification, "Non-Distributable
/// Layers"; docker's "foreign" ones).
fn stays_elsewhere(blob: &Descriptor) -> bool {
    blob.media_type.contains(".nondistributable.") || blob.media_type.contains(".foreign.")
}
