//! Taking what was unpacked before anybody watched into the ledger.
//!
//! A container is started only when the directories below it were filled by gated unpacks of its image's layers. What is
//! older than the gate has no such record. It gets one when its image is admitted now, judged as it would be at a start,
//! and when each directory holds what its layer makes: containerd unpacks the layer once more, beside, and the two are
//! compared. The image comes first because unpacking is something that a layer of an image that nobody admits must not
//! get. Base first, because a layer is unpacked on what lies below it, and that has been compared by then.
//!
//! A layer whose blob is gone leaves nothing to compare with. Only who says `unverified` has it recorded all the same.

mod event;
mod layer;
mod problem;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use self::event::Subject;
pub use self::event::{EnrollEvent, Enrolled, LayerBegun, LayerCounts};
use self::layer::Step;
pub use self::problem::EnrollError;
use super::Judge;
use super::run::{RunGate, image_for_people};
use crate::ledger::Ledger;
use crate::oci::{Descriptor, Digest, Reference};
use crate::rootfs::Layers;
use crate::source::containerd::{
    Containers, Holdings, ImageRecord, Introspection, Place, SNAPSHOTTER, Scratches, Snapshots,
};
use crate::verify::Answer;

/// What is asked of containerd about what it has unpacked.
pub trait Workshop: Containers + Snapshots + Holdings + Scratches + Introspection {}

impl<T: Containers + Snapshots + Holdings + Scratches + Introspection> Workshop for T {}

/// What is to be enrolled, and how.
#[derive(Clone, Debug, Default)]
pub struct EnrollOrder {
    /// The names of image records, or their digests; none means all.
    pub images: Vec<String>,
    /// The containerd namespaces; none means all.
    pub namespaces: Vec<String>,
    /// The snapshotters; none means all.
    pub snapshotters: Vec<String>,
    /// Whether everything is looked at and nothing recorded.
    pub dry_run: bool,
    /// Whether a directory is recorded without comparing it where the layer's blob is gone.
    pub unverified: bool,
}

/// Takes what was unpacked before into the ledger.
pub struct Enroller {
    gate: RunGate,
    containerd: Arc<dyn Workshop>,
    ledger: Arc<Ledger>,
    /// One at a time: what another one has unpacked to compare with looks like what a dead one has left.
    at_work: Mutex<()>,
}

/// One enrollment on its way.
struct Work<'a> {
    enroller: &'a Enroller,
    judge: &'a Judge,
    order: &'a EnrollOrder,
    events: &'a mpsc::Sender<EnrollEvent>,
    /// Directories that were found to hold their layer. In a dry run they are recorded nowhere else.
    done: HashMap<PathBuf, Digest>,
}

impl Enroller {
    /// Judges images as this gate does, and keeps what it finds in this ledger.
    pub fn new(gate: RunGate, containerd: Arc<dyn Workshop>, ledger: Arc<Ledger>) -> Self {
        Self { gate, containerd, ledger, at_work: Mutex::default() }
    }

    /// Enrolls what is asked for, image by image, and tells how it goes. An image that is not enrolled is no reason to
    /// stop; it is when nobody listens any more.
    pub async fn enroll(
        &self,
        judge: &Judge,
        order: &EnrollOrder,
        events: &mpsc::Sender<EnrollEvent>,
    ) -> Result<(), EnrollError> {
        let _at_work = self.at_work.try_lock().map_err(|_| EnrollError::Busy)?;
        let snapshotters = self.snapshotters(order).await?;
        let mut work = Work { enroller: self, judge, order, events, done: HashMap::new() };
        let mut found = BTreeSet::new();
        for namespace in self.namespaces(order).await? {
            let left = self.containerd.discard_all(&namespace).await?;
            if left > 0 {
                tracing::info!(namespace, left, "removed what a broken enrollment had left");
            }
            let mut records = self.containerd.images(&namespace).await?;
            records.sort_by(|a, b| a.name.cmp(&b.name));
            for record in records {
                if !order.images.is_empty() {
                    let names: Vec<&String> =
                        order.images.iter().filter(|asked| is_asked_for(&record, asked)).collect();
                    if names.is_empty() {
                        continue;
                    }
                    found.extend(names);
                }
                work.image(&namespace, &record, &snapshotters).await?;
            }
        }
        for name in order.images.iter().filter(|name| !found.contains(name)) {
            work.tell(EnrollEvent::Image(Enrolled::unknown(name))).await?;
        }
        Ok(())
    }

    async fn namespaces(&self, order: &EnrollOrder) -> Result<Vec<String>, EnrollError> {
        let all = self.containerd.namespaces().await?;
        asked_for(all, &order.namespaces).map_err(|name| EnrollError::NoNamespace { name })
    }

    async fn snapshotters(&self, order: &EnrollOrder) -> Result<Vec<String>, EnrollError> {
        let plugins = self.containerd.plugins().await?.into_iter();
        let working = plugins.filter(|plugin| plugin.kind == SNAPSHOTTER && plugin.fault.is_none());
        asked_for(working.map(|plugin| plugin.name).collect(), &order.snapshotters)
            .map_err(|name| EnrollError::NoSnapshotter { name })
    }
}

/// Those that were asked for, or all where none was; or the first that is not there.
fn asked_for(all: Vec<String>, asked: &[String]) -> Result<Vec<String>, String> {
    match asked.iter().find(|name| !all.contains(name)) {
        Some(missing) => Err(missing.clone()),
        None if asked.is_empty() => Ok(all),
        None => Ok(asked.to_vec()),
    }
}

/// Whether somebody who says this means that record: by its name, also as people shorten it, or by its digest.
fn is_asked_for(record: &ImageRecord, asked: &str) -> bool {
    let reference = |text: &str| text.parse::<Reference>().ok();
    let means = || reference(asked).is_some_and(|asked| reference(&record.name) == Some(asked));
    record.name == asked || record.target.digest.as_str() == asked || means()
}

impl Work<'_> {
    async fn tell(&self, event: EnrollEvent) -> Result<(), EnrollError> {
        self.events.send(event).await.map_err(|_| EnrollError::Stopped)
    }

    /// One image with each snapshotter that holds it.
    async fn image(
        &mut self,
        namespace: &str,
        record: &ImageRecord,
        snapshotters: &[String],
    ) -> Result<(), EnrollError> {
        let about = |snapshotter: &str| Subject { namespace, record, snapshotter: snapshotter.to_owned() };
        let verdict = self.enroller.gate.judge_image(self.judge, namespace, record).await.verdict;
        if verdict.answer() != Answer::Admit {
            return self.tell(EnrollEvent::Image(about("").refused(&verdict))).await;
        }
        let manifests = match self.manifests(namespace, &record.target).await {
            Ok(manifests) => manifests,
            Err(error) => return self.tell(EnrollEvent::Image(about("").failed(&error))).await,
        };
        let mut is_unpacked = false;
        for snapshotter in snapshotters {
            let place = Place { namespace, snapshotter };
            let subject = about(snapshotter);
            for layers in &manifests {
                let enrolled = match self.unpacked(place, layers).await {
                    Ok(false) => continue,
                    Ok(true) => self.chain(&subject, place, layers).await,
                    Err(error) => Err(error),
                };
                is_unpacked = true;
                let event = match enrolled {
                    Ok(layers) => subject.enrolled(layers, self.order.dry_run),
                    Err(EnrollError::Stopped) => return Err(EnrollError::Stopped),
                    Err(error) => subject.failed(&error),
                };
                self.tell(EnrollEvent::Image(event)).await?;
            }
        }
        if is_unpacked { Ok(()) } else { self.tell(EnrollEvent::Image(about("").not_unpacked())).await }
    }

    /// The layers of every manifest of an image that is here. Those of other platforms are not, and some entries of an
    /// index are no images.
    async fn manifests(&self, namespace: &str, image: &Descriptor) -> Result<Vec<Layers>, EnrollError> {
        let gate = &self.enroller.gate;
        let descriptors = gate.manifests_of(namespace, image).await?;
        if let [only] = descriptors.as_slice() {
            return Ok(vec![gate.layers_of(namespace, only).await?]);
        }
        let mut manifests = Vec::new();
        for manifest in descriptors {
            manifests.extend(gate.layers_of(namespace, &manifest).await);
        }
        Ok(manifests)
    }

    async fn unpacked(&self, place: Place<'_>, layers: &Layers) -> Result<bool, EnrollError> {
        let Some(top) = layers.top() else { return Ok(false) };
        Ok(self.enroller.containerd.snapshot(place, top.as_str()).await?.is_some())
    }

    /// Every layer of an image, base first.
    async fn chain(
        &mut self,
        subject: &Subject<'_>,
        place: Place<'_>,
        layers: &Layers,
    ) -> Result<LayerCounts, EnrollError> {
        let blobs = self.enroller.gate.blobs_of(place.namespace, &layers.manifest).await?;
        let (mut counts, mut below, mut bytes) = (LayerCounts::default(), None, 0_u64);
        let places = blobs.iter().zip(&layers.diff_ids).zip(&layers.chain);
        for (index, ((blob, diff_id), chain)) in places.enumerate() {
            bytes = bytes.saturating_add(blob.size);
            let begun = LayerBegun {
                image: image_for_people(subject.record),
                snapshotter: place.snapshotter.to_owned(),
                number: index + 1,
                of: layers.chain.len(),
                size: blob.size,
            };
            self.layer(Step { place, blob, diff_id, chain, below, bytes }, begun, &mut counts).await?;
            below = Some(chain);
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests;
