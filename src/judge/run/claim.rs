//! Is what is mounted the image that it is said to be?
//!
//! Brings together what [`rootfs`](crate::rootfs) decides from: the image's layers, the snapshot's chain and mounts, and
//! where the content of its directories comes from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use super::RunGate;
use super::problem::Problem;
use super::snapshot::{Below, Own};
use super::{Image, Judge};
use crate::judge::aside;
use crate::judge::names::repository_of;
use crate::oci::{Blob, Descriptor, Digest, Index, Manifest, media_type};
use crate::rootfs::{
    ChainId, Found, Layers, Origin, RootFilesystem, RootfsError, Unpacked, check_unpacked, is_init_layer,
};
use crate::source::containerd::{ImageRecord, Place};
use crate::source::{SourceError, directory};
use crate::verify::Answer;

/// How many manifests of an index are looked at. The largest public indexes list some 60.
const MAX_MANIFESTS: usize = 256;
/// Of how many manifests the layers are kept. A node of Kubernetes holds some hundred images, with some KiB each.
const MAX_KNOWN: usize = 1024;

impl RunGate {
    /// Whether the snapshot, which was made on these layers, is what is mounted, and holds nothing else.
    pub(super) async fn check_mounted(
        &self,
        judge: &Judge,
        Own { place, key }: Own<'_>,
        below: &Below,
        Image { record, layers }: &Image,
        found: &Found,
    ) -> Result<(), Problem> {
        let missing = || Problem::NoSnapshot { key: crate::remedy::excerpt(key) };
        let mounts = self.containerd.mounts(place, key).await?.ok_or_else(missing)?;
        let filesystem = RootFilesystem::of(&mounts, place.snapshotter)?;
        filesystem.check_mounted(found, directory::identity)?;
        let directories = match &filesystem {
            RootFilesystem::Overlaid { lower, .. } => lower.iter().rev().cloned().collect(),
            RootFilesystem::Bound { .. } if below.has_init_layer => return Err(Problem::InitLayerHidden),
            RootFilesystem::Bound { .. } => self.copied_directories(place, &layers.chain).await?,
        };
        let origins = aside(|| self.origins(&directories, below.has_init_layer))?;
        let own = aside(|| self.ledger.origins(filesystem.own().into_iter()))?;
        // What a container writes itself leaves no record.
        if let (Some(directory), [Origin::Layer(_) | Origin::Mixed]) = (filesystem.own(), own.as_slice()) {
            return Err(RootfsError::UnpackedInto { directory: directory.to_owned() }.into());
        }
        let mut believed = Vec::new();
        for origin in origins {
            believed.push(self.believed(judge, place.namespace, record, layers, origin).await);
        }
        let directories: Vec<(PathBuf, Origin)> = directories.into_iter().zip(believed).collect();
        Ok(check_unpacked(layers, &directories)?)
    }

    /// An origin without the word of an image that is not admitted under the name that is run: an image that is admitted
    /// under another one could say of its own layer that it is another's.
    async fn believed(
        &self,
        judge: &Judge,
        namespace: &str,
        record: &ImageRecord,
        layers: &Layers,
        origin: Origin,
    ) -> Origin {
        let Origin::Layer(unpacked) = origin else { return origin };
        let Some(vouched_by) = unpacked.vouched_by.clone().filter(|_| !layers.layers.contains(&unpacked.layer)) else {
            return Origin::Layer(unpacked);
        };
        // Of another digest than the name may pin.
        let name = repository_of(&record.name).map_or_else(|| record.name.clone(), |repository| repository.to_string());
        let voucher = ImageRecord { name, target: vouched_by };
        match self.judge_image(judge, namespace, &voucher).await.verdict.answer() {
            Answer::Admit => Origin::Layer(unpacked),
            _ => Origin::Layer(Unpacked { diff_id: None, vouched_by: None, ..unpacked }),
        }
    }

    /// Where the content of these directories comes from.
    fn origins(&self, directories: &[PathBuf], is_dockers: bool) -> Result<Vec<Origin>, Problem> {
        let mut origins = self.ledger.origins(directories.iter().map(PathBuf::as_path))?;
        for (directory, origin) in directories.iter().zip(&mut origins) {
            if is_dockers && *origin == Origin::Unknown && holds_nothing(directory) {
                *origin = Origin::Docker;
            }
        }
        Ok(origins)
    }

    /// The layers of that manifest of the image on which a snapshot with this parent was made.
    pub(super) async fn layers_below(
        &self,
        namespace: &str,
        image: &Descriptor,
        parent: &str,
    ) -> Result<Layers, Problem> {
        if !media_type::is_index(&image.media_type) {
            let layers = self.layers_of(namespace, image).await?;
            let other = || RootfsError::OtherParent { parent: parent.to_owned() };
            return if layers.are_below(parent) { Ok(layers) } else { Err(other().into()) };
        }
        for manifest in self.manifests_of(namespace, image).await? {
            // Some entries are no images: attestations.
            match self.layers_of(namespace, &manifest).await {
                Ok(layers) if layers.are_below(parent) && layers.top().is_some() => return Ok(layers),
                _ => {}
            }
        }
        Err(RootfsError::OtherParent { parent: parent.to_owned() }.into())
    }

    /// Every image of the namespace on which a snapshot with this parent can have been made.
    pub(super) async fn images_below(
        &self,
        namespace: &str,
        parent: &str,
    ) -> Result<Vec<(ImageRecord, Layers)>, Problem> {
        let mut images = Vec::new();
        for record in self.containerd.images(namespace).await? {
            if let Ok(layers) = self.layers_below(namespace, &record.target, parent).await {
                images.push((record, layers));
            }
        }
        Ok(images)
    }

    /// The manifests of an image: its own, or those that its index lists, also attestations and those of other platforms.
    /// The latter are seldom there: first the ones that are.
    pub(in crate::judge) async fn manifests_of(
        &self,
        namespace: &str,
        image: &Descriptor,
    ) -> Result<Vec<Descriptor>, Problem> {
        if !media_type::is_index(&image.media_type) {
            return Ok(vec![image.clone()]);
        }
        let index = self.read(namespace, image).await?;
        let unusable = |source| Problem::Manifest { manifest: image.digest.clone(), source };
        let index = Index::parse(index.bytes()).map_err(unusable)?;
        let manifests = index.manifests.into_iter().take(MAX_MANIFESTS).map(|(manifest, _)| manifest);
        let is_there = |manifest: &Descriptor| self.inventory.has_seen(namespace, &manifest.digest);
        let (mut manifests, unseen): (Vec<_>, Vec<_>) = manifests.partition(is_there);
        manifests.extend(unseen);
        Ok(manifests)
    }

    /// What a layer of this manifest is when it is unpacked, as the manifest's config says.
    pub async fn diff_id(&self, namespace: &str, manifest: &Descriptor, layer: &Digest) -> Option<Digest> {
        let layers = self.layers_of(namespace, manifest).await.ok()?;
        layers.diff_id(layer).cloned()
    }

    /// The blobs of a manifest's layers, base first.
    pub(in crate::judge) async fn blobs_of(
        &self,
        namespace: &str,
        manifest: &Descriptor,
    ) -> Result<Vec<Descriptor>, Problem> {
        Ok(self.manifest(namespace, manifest).await?.layers)
    }

    /// The layers of a manifest, and the snapshots that unpacking them makes. What was read once is not read again: a
    /// digest stands for the same layers for ever.
    pub(in crate::judge) async fn layers_of(
        &self,
        namespace: &str,
        descriptor: &Descriptor,
    ) -> Result<Layers, Problem> {
        if let Some(known) = self.known().get(&descriptor.digest) {
            return Ok(known.clone());
        }
        let layers = self.read_layers(namespace, descriptor).await?;
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(descriptor.digest.clone(), layers.clone());
        Ok(layers)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, Layers>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_layers(&self, namespace: &str, descriptor: &Descriptor) -> Result<Layers, Problem> {
        let manifest = self.manifest(namespace, descriptor).await?;
        let config = self.read(namespace, &manifest.config).await?;
        Ok(Layers::of(descriptor, &manifest, config.bytes())?)
    }

    async fn manifest(&self, namespace: &str, descriptor: &Descriptor) -> Result<Manifest, Problem> {
        let manifest = self.read(namespace, descriptor).await?;
        let unusable = |source| Problem::Manifest { manifest: descriptor.digest.clone(), source };
        Manifest::parse(manifest.bytes()).map_err(unusable)
    }

    async fn read(&self, namespace: &str, descriptor: &Descriptor) -> Result<Blob, Problem> {
        self.inventory.document(namespace, descriptor).await.map_err(|error| match error {
            SourceError::NotFound { .. } => Problem::NoContent { digest: descriptor.digest.clone() },
            error => Problem::Source(error),
        })
    }

    /// The directories of a chain whose snapshots are copies of each other, base first. Their mounts show one directory
    /// alone, so each is asked for, and each must be made on the one before.
    async fn copied_directories(&self, place: Place<'_>, chain: &[ChainId]) -> Result<Vec<PathBuf>, Problem> {
        let (mut directories, mut below) = (Vec::new(), "");
        for name in chain.iter().map(ChainId::as_str) {
            let missing = || Problem::NoSnapshot { key: name.to_owned() };
            let snapshot = self.containerd.snapshot(place, name).await?.ok_or_else(missing)?;
            if snapshot.parent != below {
                return Err(RootfsError::OtherParent { parent: snapshot.parent }.into());
            }
            let mounts = self.containerd.view(place, name).await?.ok_or_else(missing)?;
            match RootFilesystem::of(&mounts, place.snapshotter)? {
                RootFilesystem::Bound { directory } => directories.push(directory),
                // Not one directory after all.
                RootFilesystem::Overlaid { lower, .. } => {
                    let (layers, directories) = (directories.len() + 1, lower.len());
                    return Err(RootfsError::LayerCount { layers, directories }.into());
                }
            }
            below = name;
        }
        Ok(directories)
    }
}

/// Whether a directory holds nothing but what dockerd puts between an image and a container.
fn holds_nothing(directory: &Path) -> bool {
    directory::entries(directory).is_some_and(|entries| is_init_layer(&entries))
}
