//! What `docker save` writes: an image layout, or layers without a manifest.
//!
//! Only where docker keeps images in containerd's store does the archive hold the manifest that docker will push. Its older
//! store keeps unpacked layers: what it saves has a manifest made up for the occasion, over layers that are not compressed,
//! or none at all, and what it pushes is compressed and so has another digest. A signature of what lies in the archive would
//! then be of an image that never gets anywhere.

use super::{Layout, LayoutFault, REF_NAME, VERSION_FILE};
use crate::oci::{Descriptor, LayoutName, Links, MAX_MANIFEST_SIZE, Reference, media_type};
use crate::source::SourceError;
use crate::source::archive::ArchiveFault;

/// What docker and containerd call the image, whole (containerd, `images.AnnotationImageName`).
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The one file of an archive of docker's older form that says what is in it.
const DOCKER_FILE: &str = "manifest.json";
/// Layers as they are unpacked, in the words of both formats.
const UNCOMPRESSED: [&str; 2] =
    ["application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"];

impl Layout {
    /// The image that docker has saved under this name, or the only one.
    pub async fn saved(&self, name: Option<&Reference>) -> Result<Descriptor, SourceError> {
        let image = match name {
            None => self.only().await?,
            Some(name) => match name.digest() {
                Some(digest) => self.named(&LayoutName::Digest(digest.clone())).await?,
                None => self.one(&name.to_string(), |entry| is_called(entry, name)).await?.bare(),
            },
        };
        self.check_digest_lasts(&image).await?;
        Ok(image)
    }

    /// Why there is no layout here, as far as it can be told.
    pub(super) fn no_layout(&self) -> Result<SourceError, SourceError> {
        let is_docker = match &self.files {
            super::Files::Archive(archive) => self.member_size(archive, DOCKER_FILE)?.is_some(),
            super::Files::Directory => false,
        };
        Ok(if is_docker {
            self.unread(ArchiveFault::NoManifest)
        } else {
            self.fault(LayoutFault::Missing(VERSION_FILE))
        })
    }

    /// An index is nothing that docker would make up.
    async fn check_digest_lasts(&self, image: &Descriptor) -> Result<(), SourceError> {
        let manifest = self.content(image, MAX_MANIFEST_SIZE).await?;
        if media_type::is_index(&image.media_type) {
            return Ok(());
        }
        let links = Links::parse(&image.media_type, manifest.bytes())
            .map_err(|source| self.fault(LayoutFault::Index { file: image.digest.to_string(), source }))?;
        // The config is the first.
        let mut layers = links.blobs.iter().skip(1).peekable();
        let is_unpacked = |layer: &Descriptor| UNCOMPRESSED.contains(&layer.media_type.as_str());
        if layers.peek().is_some() && layers.all(is_unpacked) {
            return Err(self.unread(ArchiveFault::DigestChanges));
        }
        Ok(())
    }
}

/// Whether the entry has this name: docker and containerd write it whole, podman in the place of the tag. What has no
/// slash is a tag, and no name.
fn is_called(entry: &Descriptor, name: &Reference) -> bool {
    let names = [IMAGE_NAME, REF_NAME].into_iter().filter_map(|key| entry.annotations.get(key));
    let names = names.filter(|own| own.contains('/'));
    names.filter_map(|own| own.parse::<Reference>().ok()).any(|own| own == *name)
}
