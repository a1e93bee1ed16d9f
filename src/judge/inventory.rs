//! What containerd holds, kept in mind: fills [`Layers`] and keeps it current.
//!
//! Two ways lead in, and either alone is enough: containerd's events, so that a question finds everything there already;
//! and a look at the store when a question finds too little, because events come late, and not at all while the
//! connection is down. A look reads every small blob that was not read before, once.
//!
//! It is also a [`Source`] of signatures: those that an imported archive or a pull has brought into the store.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::following::Pace;
use super::layers::{Layers, Listing};
use super::names::repository_of;
use crate::oci::{Blob, BlobMismatch, Descriptor, Digest, MAX_MANIFEST_SIZE, Reference, Repository};
use crate::remedy::one_line;
use crate::source::containerd::{BEGINNING, Change, Holdings, READ_WITHOUT_ASKING, Stored, document};
use crate::source::limits::CONTAINERD_READS_AT_ONCE;
use crate::source::{Referrers, Source, SourceError};

/// How many bytes one look reads at most, manifests and what turns out to be none. The manifests, indexes and configs of
/// a thousand images have some 20 MiB.
const MAX_LOOK: u64 = 256 * 1024 * 1024;
/// Labels that containerd's own clients set on a manifest for every layer that they find in it, with the layer as value.
const LAYER_LABEL: &str = "containerd.io/gc.ref.content.";
/// Where an image came from, as containerd's clients note it on its manifest: the host follows, without a port; the
/// value is a list of repository paths.
const SOURCE_LABEL: &str = "containerd.io/distribution.source.";

/// What containerd holds.
pub struct Inventory {
    holdings: Arc<dyn Holdings>,
    layers: RwLock<Layers>,
    /// Held during a look, so that several questions share one.
    looking: Mutex<()>,
}

/// What a look at the store has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Blobs that containerd's clients hold for a manifest that lists the layer, and that cannot be read as one. Labels
    /// are a hint alone: this one only ever leads to a "no".
    pub(super) unreadable: Vec<Digest>,
}

impl Inventory {
    /// An inventory that is still empty. [`Inventory::follow`] fills it and keeps it current.
    pub fn new(holdings: Arc<dyn Holdings>) -> Self {
        Self { holdings, layers: RwLock::default(), looking: Mutex::default() }
    }

    /// Follows containerd's events, for ever: looks at the whole store first, and again whenever the connection was lost.
    pub async fn follow(&self) {
        let mut pace = Pace::new("what containerd holds");
        loop {
            pace.rest(self.follow_once().await).await;
        }
    }

    async fn follow_once(&self) -> Result<(), SourceError> {
        // First, so that nothing falls between the look and the events.
        let mut changes = self.holdings.changes().await?;
        self.look(None, None).await?;
        tracing::info!(documents = self.layers(Layers::len), "following what containerd holds");
        while let Some(change) = changes.next().await {
            self.note(change).await;
        }
        Ok(())
    }

    async fn note(&self, change: Change) {
        match change {
            Change::Created { namespace, digest, size } => {
                // What cannot be read now is read when a question looks for it.
                if let Err(error) = self.read(&namespace, &digest, size).await {
                    tracing::debug!(%digest, reason = one_line(&error), "a new blob was not read");
                }
            }
            Change::Deleted { namespace, digest } => self.change(|layers| layers.remove(&namespace, &digest)),
        }
    }

    /// The images that are known to list this layer.
    pub(super) fn listing(&self, namespace: Option<&str>, layer: &Digest) -> Vec<Listing> {
        self.layers(|layers| layers.listing(namespace, layer))
    }

    /// Whether this blob of the namespace was seen to be a manifest or an index.
    pub(super) fn has_seen(&self, namespace: &str, digest: &Digest) -> bool {
        self.layers(|layers| layers.is_document(namespace, digest))
    }

    /// Reads what was not read yet, in the namespace or in all of them. Tells what it has seen about the layer.
    pub(super) async fn look(&self, namespace: Option<&str>, layer: Option<&Digest>) -> Result<Seen, SourceError> {
        let _looking = self.looking.lock().await;
        let namespaces = match namespace {
            Some(namespace) => vec![namespace.to_owned()],
            None => self.holdings.namespaces().await?,
        };
        let mut seen = Seen::default();
        for namespace in namespaces {
            self.look_into(&namespace, layer, &mut seen).await?;
        }
        Ok(seen)
    }

    async fn look_into(&self, namespace: &str, layer: Option<&Digest>, seen: &mut Seen) -> Result<(), SourceError> {
        let blobs = self.holdings.blobs(namespace).await?;
        let unread: Vec<(Digest, u64)> = self.layers(|layers| {
            let is_unread = |blob: &&Stored| blob.size <= MAX_MANIFEST_SIZE && !layers.knows(namespace, &blob.digest);
            blobs.iter().filter(is_unread).map(|blob| (blob.digest.clone(), blob.size)).collect()
        });
        let bytes: u64 = unread.iter().map(|(_, size)| cost(*size)).sum();
        if bytes > MAX_LOOK {
            return Err(SourceError::TooLarge {
                what: "what might be manifests".to_owned(),
                place: format!("containerd's namespace `{namespace}`"),
                size: bytes,
                limit: MAX_LOOK,
            });
        }
        let read = |(digest, size)| async move { self.read(namespace, &digest, size).await };
        stream::iter(unread.into_iter().map(read))
            .buffer_unordered(CONTAINERD_READS_AT_ONCE)
            .try_collect::<()>()
            .await?;
        if let Some(layer) = layer {
            let claims = blobs.iter().filter(|blob| claims(blob, layer));
            let is_unreadable = |blob: &&Stored| self.layers(|layers| !layers.is_document(namespace, &blob.digest));
            seen.unreadable.extend(claims.filter(is_unreadable).map(|blob| blob.digest.clone()));
        }
        Ok(())
    }

    /// Reads one blob, unless it is known or too large to be a manifest.
    async fn read(&self, namespace: &str, digest: &Digest, size: u64) -> Result<(), SourceError> {
        if size > MAX_MANIFEST_SIZE || self.layers(|layers| layers.knows(namespace, digest)) {
            return Ok(());
        }
        match document(&*self.holdings, namespace, digest, size).await {
            Ok(Some(blob)) => self.change(|layers| layers.add(namespace, &blob)),
            Ok(None) => self.change(|layers| layers.pass_over(namespace, digest)),
            // It is gone again: there is nothing to know about it.
            Err(SourceError::NotFound { .. }) => {}
            // Spoilt on disk. It speaks for nothing, and keeps nothing else from being found.
            Err(error @ SourceError::WrongContent { .. }) => {
                tracing::warn!(%digest, namespace, reason = one_line(&error), "containerd holds other bytes");
                self.change(|layers| layers.pass_over(namespace, digest));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The repositories that image records name for one of these targets.
    pub(super) async fn recorded(&self, namespace: &str, targets: &[Digest]) -> Result<Vec<Repository>, SourceError> {
        let names = self.holdings.names(namespace, targets).await?;
        Ok(names.iter().filter_map(|name| repository_of(name)).collect())
    }

    /// The hosts and paths that labels name as the origin of these blobs. The hosts have no port.
    pub(super) async fn labelled(
        &self,
        namespace: &str,
        targets: &[Digest],
    ) -> Result<Vec<(String, String)>, SourceError> {
        let mut origins = Vec::new();
        for target in targets {
            let Some(stored) = self.holdings.blob(namespace, target).await? else { continue };
            for (label, paths) in &stored.labels {
                let Some(host) = label.strip_prefix(SOURCE_LABEL) else { continue };
                let paths = paths.split(',').filter(|path| !path.is_empty());
                origins.extend(paths.map(|path| (host.to_owned(), path.to_owned())));
            }
        }
        // A map has no order, and the same question is to be asked in the same order.
        origins.sort();
        origins.dedup();
        Ok(origins)
    }

    /// A manifest, index or config of one namespace.
    pub(super) async fn document(&self, namespace: &str, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        let (what, place) = (descriptor.digest.to_string(), "containerd".to_owned());
        if descriptor.size > MAX_MANIFEST_SIZE {
            return Err(SourceError::TooLarge { what, place, size: descriptor.size, limit: MAX_MANIFEST_SIZE });
        }
        let bytes = self.holdings.read(namespace, &descriptor.digest, MAX_MANIFEST_SIZE).await?;
        Blob::check(descriptor.clone(), bytes).map_err(wrong_content)
    }

    fn layers<T>(&self, read: impl FnOnce(&Layers) -> T) -> T {
        // Nothing between two changes of the index can panic and leave it half changed.
        read(&self.layers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Layers)) {
        change(&mut self.layers.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Brings to the front what the subject holds by a label, in whatever namespace.
    async fn put_held_first(&self, subject: &Digest, referrers: &mut [Descriptor]) -> Result<(), SourceError> {
        let mut subjects = Vec::new();
        for namespace in self.layers(Layers::namespaces) {
            subjects.extend(self.holdings.blob(&namespace, subject).await?);
        }
        referrers.sort_by_cached_key(|referrer| !subjects.iter().any(|subject| subject.holds(&referrer.digest)));
        Ok(())
    }

    /// A blob out of any namespace that has it.
    async fn whole(&self, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        let (what, place) = (descriptor.digest.to_string(), "containerd".to_owned());
        if descriptor.size > limit {
            return Err(SourceError::TooLarge { what, place, size: descriptor.size, limit });
        }
        for namespace in self.layers(Layers::namespaces) {
            match self.holdings.read(&namespace, &descriptor.digest, limit).await {
                Err(SourceError::NotFound { .. }) => {}
                answer => {
                    return Blob::check(descriptor.clone(), answer?).map_err(wrong_content);
                }
            }
        }
        Err(SourceError::NotFound { what, place })
    }
}

fn wrong_content(source: BlobMismatch) -> SourceError {
    SourceError::WrongContent { place: "containerd".to_owned(), source }
}

/// How many bytes are read to learn what a blob is; a larger one that turns out to be JSON costs more.
fn cost(size: u64) -> u64 {
    if size <= READ_WITHOUT_ASKING { size } else { BEGINNING }
}

/// Whether a client has read in this blob that it lists the layer. The label ends with `l.` and a number, or with a
/// number alone where the client is old.
fn claims(blob: &Stored, layer: &Digest) -> bool {
    let is_for_layer = |label: &str| {
        let kind = label.strip_prefix(LAYER_LABEL);
        kind.is_some_and(|kind| kind.starts_with("l.") || kind.bytes().all(|byte| byte.is_ascii_digit()))
    };
    blob.labels.iter().any(|(label, value)| value == layer.as_str() && is_for_layer(label))
}

#[async_trait]
impl Source for Inventory {
    /// Names are not asked here: an image record may be changed at any time, by anybody on this node.
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        Err(SourceError::NotFound { what: reference.to_string(), place: "containerd".to_owned() })
    }

    async fn signatures(&self, _: &Repository, subject: &Descriptor, limit: usize) -> Result<Referrers, SourceError> {
        let mut descriptors = self.layers(|layers| layers.signatures(&subject.digest));
        let truncated = descriptors.len() > limit;
        if truncated {
            // Not all of them will be looked at, and an archive may have brought thousands that are none.
            self.put_held_first(&subject.digest, &mut descriptors).await?;
        }
        descriptors.truncate(limit);
        Ok(Referrers { descriptors, truncated })
    }

    async fn manifest(&self, _: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        self.whole(descriptor, MAX_MANIFEST_SIZE).await
    }

    async fn blob(&self, _: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        self.whole(descriptor, limit).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::testing::{Store, layer, manifest, signature};
    use super::*;

    const NS: &str = "default";

    fn inventory() -> (Arc<Store>, Inventory) {
        let store = Arc::new(Store::default());
        (Arc::clone(&store), Inventory::new(store))
    }

    fn digest(blob: &Blob) -> Digest {
        blob.descriptor().digest.clone()
    }

    #[tokio::test]
    async fn a_look_reads_every_small_blob_once_and_of_large_ones_the_beginning() {
        let (store, inventory) = inventory();
        let image = manifest("image", &["image"]);
        store.hold(NS, &image);
        store.hold(NS, &Blob::of("layer", vec![0x1f; 100_000]));
        inventory.look(Some(NS), None).await.unwrap();
        let read = store.read.load(Ordering::Relaxed);
        assert_eq!(read, image.bytes().len() + 64);
        inventory.look(None, None).await.unwrap();
        assert_eq!(store.read.load(Ordering::Relaxed), read);
        assert_eq!(inventory.listing(Some(NS), &layer("image").digest).len(), 1);
    }

    #[tokio::test]
    async fn events_bring_blobs_and_take_them_away() {
        let (store, inventory) = inventory();
        let (stays, goes) = (manifest("stays", &["stays"]), manifest("goes", &["goes"]));
        store.hold(NS, &goes);
        for blob in [&stays, &goes] {
            let size = blob.bytes().len() as u64;
            store.happens(Change::Created { namespace: NS.into(), digest: digest(blob), size });
        }
        store.happens(Change::Deleted { namespace: NS.into(), digest: digest(&goes) });
        // An event whose blob is not there is nothing.
        let follow = inventory.follow();
        tokio::pin!(follow);
        assert!(futures_util::poll!(&mut follow).is_pending());
        assert!(inventory.listing(None, &layer("goes").digest).is_empty());
        assert!(inventory.listing(None, &layer("stays").digest).is_empty());
        store.hold(NS, &stays);
        inventory.note(Change::Created { namespace: NS.into(), digest: digest(&stays), size: 0 }).await;
        assert_eq!(inventory.listing(None, &layer("stays").digest).len(), 1);
    }

    #[tokio::test]
    async fn a_spoilt_manifest_speaks_for_nothing_and_hides_nothing() {
        let (store, inventory) = inventory();
        let (spoilt, whole) = (manifest("spoilt", &["base", "spoilt"]), manifest("whole", &["base"]));
        store.hold(NS, &spoilt);
        store.hold(NS, &whole);
        store.spoil(NS, &spoilt);
        inventory.look(Some(NS), None).await.unwrap();
        assert!(inventory.listing(Some(NS), &layer("spoilt").digest).is_empty());
        assert_eq!(inventory.listing(Some(NS), &layer("base").digest).len(), 1);
    }

    #[tokio::test]
    async fn signatures_in_the_store_are_a_source_like_any_other() {
        let (store, inventory) = inventory();
        let (image, envelope) =
            (manifest("image", &["image"]), Blob::of("application/jose+json", b"envelope".to_vec()));
        let signature = signature(&image, envelope.descriptor());
        for blob in [&image, &envelope, &signature] {
            store.hold(NS, blob);
        }
        inventory.look(None, None).await.unwrap();
        let repository: Repository = "registry.example/a".parse().unwrap();
        let found = inventory.signatures(&repository, image.descriptor(), 10).await.unwrap();
        assert_eq!((found.descriptors.len(), found.truncated), (1, false));
        let fetched = inventory.manifest(&repository, &found.descriptors[0]).await.unwrap();
        assert_eq!(fetched.bytes(), signature.bytes());
        assert_eq!(inventory.blob(&repository, envelope.descriptor(), 100).await.unwrap(), envelope);
        let too_large = inventory.blob(&repository, envelope.descriptor(), 1).await;
        assert!(matches!(too_large, Err(SourceError::TooLarge { .. })));
        let absent = inventory.blob(&repository, &layer("absent"), 100).await;
        assert!(matches!(absent, Err(SourceError::NotFound { .. })));
        assert!(inventory.signatures(&repository, image.descriptor(), 0).await.unwrap().truncated);
    }

    #[tokio::test]
    async fn what_an_image_holds_comes_before_what_merely_claims_to_be_its_signature() {
        let image = manifest("image", &["image"]);
        let signatures: Vec<Blob> = (0_u8..9)
            .map(|number| signature(&image, Blob::of("application/jose+json", vec![number]).descriptor()))
            .collect();
        for held in &signatures {
            let (store, inventory) = inventory();
            let label = "containerd.io/gc.ref.content.referrer.sha256.0123456789ab";
            store.hold_labelled(NS, &image, &[(label, digest(held).as_str())]);
            for signature in &signatures {
                store.hold("other", signature);
            }
            inventory.look(None, None).await.unwrap();
            let repository: Repository = "registry.example/a".parse().unwrap();
            let found = inventory.signatures(&repository, image.descriptor(), 1).await.unwrap();
            assert_eq!((&found.descriptors[0].digest, found.truncated), (&digest(held), true));
        }
    }
}
