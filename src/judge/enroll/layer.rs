//! Does this directory hold this layer?
//!
//! The blob is unpacked by containerd itself, on the same parent, into a snapshot of ours. That is asked about at the
//! gate like every unpack, and admitted because the image is; the gate's record of our own directory is taken back
//! afterwards. What containerd says came out of the blob must have the digest that the image's config lists, so the
//! directory is compared with bytes that the signature vouches for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{EnrollError, EnrollEvent, LayerBegun, LayerCounts, Work};
use crate::clock;
use crate::judge::aside;
use crate::judge::run::Problem;
use crate::oci::{Descriptor, Digest};
use crate::remedy::one_line;
use crate::rootfs::{ChainId, DOCKER, INIT_SUFFIX, Mount, Origin, RootFilesystem, RootfsError, Unpacked};
use crate::source::containerd::{Place, SCRATCH_PREFIX};
use crate::source::tree;

/// The time that any layer is given, and what it is given beside: one second for each so many bytes of blobs up to it,
/// since a snapshotter may copy what lies below. A slow disk writes ten times as many, also when they are unpacked.
const LEAST_TIME: Duration = Duration::from_secs(60);
const BYTES_A_SECOND: u64 = 1024 * 1024;
/// The longest time, whatever a manifest says about sizes.
const MOST_TIME: Duration = Duration::from_secs(6 * 60 * 60);
/// How much longer the lease lasts, so that there is time to remove what it holds.
const GRACE: Duration = Duration::from_secs(10);
/// How many random bytes the key of our snapshot has: nobody else's will be the same.
const KEY_BYTES: usize = 12;

/// One layer of an image, where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    pub(super) place: Place<'a>,
    pub(super) blob: &'a Descriptor,
    /// What the layer is when it is unpacked, as the image's config says.
    pub(super) diff_id: &'a Digest,
    /// The snapshot that holds it.
    pub(super) chain: &'a ChainId,
    /// The snapshot that that was made on.
    pub(super) below: Option<&'a ChainId>,
    /// The size of the blobs of this layer and those below.
    pub(super) bytes: u64,
}

/// Where a layer is kept.
#[derive(Debug)]
struct Kept {
    directory: PathBuf,
    /// What its snapshot was made on.
    parent: String,
}

impl Step<'_> {
    fn layer(&self) -> Digest {
        self.blob.digest.clone()
    }

    /// What is written down. What a layer is when it is unpacked was found out from its bytes where they were compared.
    fn unpacked(&self, is_compared: bool) -> Unpacked {
        let diff_id = is_compared.then(|| self.diff_id.clone());
        Unpacked { layer: self.layer(), diff_id, vouched_by: None }
    }

    fn time(&self) -> Duration {
        MOST_TIME.min(LEAST_TIME + Duration::from_secs(self.bytes / BYTES_A_SECOND))
    }
}

impl Work<'_> {
    /// Has the layer's directory in the ledger, if it is there already or can be shown to hold the layer.
    pub(super) async fn layer(
        &mut self,
        step: Step<'_>,
        begun: LayerBegun,
        counts: &mut LayerCounts,
    ) -> Result<(), EnrollError> {
        let Kept { directory, parent } = self.kept(step).await?;
        if self.is_known(&directory, step)? {
            counts.known += 1;
            return Ok(());
        }
        let has_blob = self.enroller.containerd.blob(step.place.namespace, &step.blob.digest).await?.is_some();
        if has_blob {
            self.tell(EnrollEvent::Layer(begun)).await?;
            self.compare(step, &directory, &parent).await?;
            counts.compared += 1;
        } else {
            if !self.order.unverified {
                return Err(EnrollError::NoBlob { layer: step.layer(), directory });
            }
            if !self.order.dry_run {
                let (directory, layer) = (directory.display(), step.layer());
                tracing::warn!(%directory, %layer, "recorded UNVERIFIED, because somebody vouches for it");
            }
            counts.unverified += 1;
        }
        self.record(directory, step, has_blob)
    }

    /// Where the layer's snapshot keeps it, if that snapshot was made on the one below.
    async fn kept(&self, step: Step<'_>) -> Result<Kept, EnrollError> {
        let (containerd, place, key) = (&self.enroller.containerd, step.place, step.chain.as_str());
        let missing = || Problem::NoSnapshot { key: key.to_owned() };
        let parent = containerd.snapshot(place, key).await?.ok_or_else(missing)?.parent;
        if !self.is_on(&parent, step).await? {
            return Err(RootfsError::OtherParent { parent }.into());
        }
        let mounts = containerd.view(place, key).await?.ok_or_else(missing)?;
        let topmost = match RootFilesystem::of(&mounts, place.snapshotter)? {
            RootFilesystem::Bound { directory } => Some(directory),
            RootFilesystem::Overlaid { lower, .. } => lower.into_iter().next(),
        };
        Ok(Kept { directory: topmost.ok_or_else(missing)?, parent })
    }

    /// Whether a snapshot with this parent was made on the layers below. An image that docker has committed from a
    /// container has docker's own snapshot between; whether that holds nothing is looked at when something is started.
    async fn is_on(&self, parent: &str, step: Step<'_>) -> Result<bool, EnrollError> {
        let below = step.below.map_or("", ChainId::as_str);
        if parent == below {
            return Ok(true);
        }
        if step.place.namespace != DOCKER || !parent.ends_with(INIT_SUFFIX) {
            return Ok(false);
        }
        let between = self.enroller.containerd.snapshot(step.place, parent).await?;
        Ok(between.is_some_and(|between| between.parent == below))
    }

    /// Whether the directory is known to hold the layer. What is known to hold something else stays as it is known.
    fn is_known(&self, directory: &Path, step: Step<'_>) -> Result<bool, EnrollError> {
        let (layer, directory) = (step.layer(), directory.to_owned());
        if self.done.get(&directory) == Some(&layer) {
            return Ok(true);
        }
        let origins = aside(|| self.enroller.ledger.origins(std::iter::once(directory.as_path())))?;
        match origins.into_iter().next() {
            Some(Origin::Layer(unpacked)) if unpacked.is(&layer, step.diff_id) => Ok(true),
            Some(Origin::Layer(Unpacked { layer: unpacked, .. })) => {
                Err(RootfsError::OtherLayer { directory, layer, unpacked }.into())
            }
            Some(Origin::Mixed) => Err(RootfsError::Mixed { directory, layer }.into()),
            // A directory that took the place of another one has a record that says nothing about it.
            Some(Origin::Unknown | Origin::Replaced | Origin::Docker) | None => Ok(false),
        }
    }

    fn record(&mut self, directory: PathBuf, step: Step<'_>, is_compared: bool) -> Result<(), EnrollError> {
        if !self.order.dry_run {
            let recorded = aside(|| self.enroller.ledger.record(&directory, &step.unpacked(is_compared)))?;
            if !recorded {
                return Err(Problem::NoSnapshot { key: directory.display().to_string() }.into());
            }
        }
        self.done.insert(directory, step.layer());
        Ok(())
    }

    /// Unpacks the layer once more and compares, within its time and for as long as somebody listens. What was unpacked
    /// is taken away again in any case.
    async fn compare(&self, step: Step<'_>, directory: &Path, parent: &str) -> Result<(), EnrollError> {
        let (key, limit) = (key()?, step.time());
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(limit, self.compare_in(step, directory, parent, &key)) => {
                outcome.unwrap_or(Err(EnrollError::TimedOut { layer: step.layer(), limit }))
            }
            () = self.events.closed() => Err(EnrollError::Stopped),
        };
        if let Err(error) = self.enroller.containerd.discard(step.place, &key).await {
            tracing::warn!(key, reason = one_line(&error), "what was unpacked to compare with is left to containerd");
        }
        outcome
    }

    async fn compare_in(&self, step: Step<'_>, directory: &Path, parent: &str, key: &str) -> Result<(), EnrollError> {
        let (containerd, place, layer) = (&self.enroller.containerd, step.place, step.layer());
        let until = Instant::now() + step.time();
        let mounts = containerd.prepare(place, key, parent, clock::now() + step.time() + GRACE).await?;
        let scratch = written(&mounts, place)?;
        let unpacked = containerd.unpack(place.namespace, step.blob, &mounts).await;
        // The gate has written down what was unpacked there, as it does for every layer.
        aside(|| self.enroller.ledger.forget(&scratch))?;
        let Some(unpacked) = unpacked? else { return Err(EnrollError::Untold { layer }) };
        if ChainId::on(step.below, &unpacked) != *step.chain {
            return Err(EnrollError::Altered { layer });
        }
        let (own, events) = (directory.to_owned(), self.events.clone());
        let goes_on = move || Instant::now() < until && !events.is_closed();
        let compared = tokio::task::spawn_blocking(move || tree::difference(&own, &scratch, goes_on)).await;
        let directory = directory.to_owned();
        match compared {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(difference))) => Err(EnrollError::Differs { directory, layer, difference }),
            Ok(Err(source)) => Err(EnrollError::Tree { directory, layer, source }),
            // It has panicked, or the daemon ends.
            Err(_) => Err(EnrollError::Stopped),
        }
    }
}

/// Where a layer goes that is unpacked onto these mounts.
fn written(mounts: &[Mount], place: Place<'_>) -> Result<PathBuf, EnrollError> {
    RootFilesystem::of(mounts, place.snapshotter)?;
    let nowhere = || Problem::NoSnapshot { key: place.snapshotter.to_owned() };
    Ok(RootFilesystem::written(mounts).ok_or_else(nowhere)?)
}

fn key() -> Result<String, EnrollError> {
    let mut random = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| EnrollError::NoRandomNumbers)?;
    Ok(format!("{SCRATCH_PREFIX}{}", hex::encode(random)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::DiffIds;

    #[test]
    fn a_layer_has_the_more_time_the_larger_it_is_and_never_more_than_most() {
        let chain = DiffIds::parse(format!(r#"{{"rootfs":{{"diff_ids":["{}"]}}}}"#, Digest::sha256(b"a")).as_bytes());
        let chain = chain.unwrap().chain();
        let blob = Descriptor::of("layer", b"layer");
        let place = Place { namespace: "default", snapshotter: "overlayfs" };
        let time = |bytes: u64| {
            Step { place, blob: &blob, diff_id: &blob.digest, chain: &chain[0], below: None, bytes }.time()
        };
        assert_eq!(time(0), LEAST_TIME);
        assert_eq!(time(100 * BYTES_A_SECOND), LEAST_TIME + Duration::from_secs(100));
        assert_eq!(time(u64::MAX), MOST_TIME);
    }
}
