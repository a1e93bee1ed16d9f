//! Writing into a layout, so that whoever reads it at any time finds whole files.
//!
//! Content is written beside its place and moved there when it is whole. Its name says what it is, so two writers of the
//! same content do no harm. A layout may come from a stranger: no link in it is followed where something is written, and
//! content that is only linked to is written as if it were not there.

use std::fs;
use std::io;
use std::path::Path;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;

use super::reading::{BLOBS, INDEX_FILE, blob_file};
use super::{Layout, VERSION, VERSION_FILE, index};
use crate::files::{Directory, Existing, write_whole};
use crate::oci::{Blob, Descriptor, Digest, Repository, Tag};
use crate::source::{Attachment, BlobStream, ImageSink, Images as _, Sink, SourceError, attach_each};

impl Layout {
    /// Makes an empty layout where there is none, and keeps deleters away. `oci-layout` comes last: a directory that has it is
    /// a layout.
    pub(super) async fn prepare(&self) -> Result<(), SourceError> {
        let unwritable = |source| self.unwritable(BLOBS, source);
        self.beside(|layout| fs::create_dir_all(&layout.path)).await.map_err(unwritable)?;
        self.share().await?;
        self.beside(|layout| prepare_now(&layout.path)).await.map_err(unwritable)
    }
}

fn prepare_now(path: &Path) -> io::Result<()> {
    Directory::open(path)?.make(BLOBS)?;
    if !path.join(INDEX_FILE).try_exists()? {
        write_whole(&path.join(INDEX_FILE), index::empty().to_string().as_bytes(), Existing::Replace)?;
    }
    if !path.join(VERSION_FILE).try_exists()? {
        let version = serde_json::json!({"imageLayoutVersion": VERSION});
        write_whole(&path.join(VERSION_FILE), version.to_string().as_bytes(), Existing::Replace)?;
    }
    Ok(())
}

#[async_trait]
impl Sink for Layout {
    async fn push_blob(&self, _repository: &Repository, blob: &Blob) -> Result<(), SourceError> {
        self.store(blob).await
    }

    /// A layout has no referrers API: a manifest that refers to another one is found when it is in `index.json`.
    async fn push_referrer(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        manifest: &Blob,
        artifact_type: &str,
    ) -> Result<(), SourceError> {
        self.push_referrers(repository, subject, &[(manifest, artifact_type)]).await
    }

    async fn push_referrers(
        &self,
        _repository: &Repository,
        _subject: &Descriptor,
        referrers: &[(&Blob, &str)],
    ) -> Result<(), SourceError> {
        let mut listed = Vec::new();
        for (manifest, artifact_type) in referrers {
            self.store(manifest).await?;
            listed.push(index::entry_of(manifest, artifact_type));
        }
        self.change_index(move |entries| index::list_all(entries, &listed)).await
    }

    async fn attach(&self, repository: &Repository, attachments: &[Attachment<'_>]) -> Result<(), SourceError> {
        if self.is_archive() {
            return self.put_into_archive(attachments).await;
        }
        attach_each(self, repository, attachments).await
    }
}

#[async_trait]
impl ImageSink for Layout {
    async fn push_stream(&self, _repository: &Repository, blob: BlobStream) -> Result<(), SourceError> {
        self.store_stream(blob).await
    }

    /// All content of a layout lies in one place, whatever it belongs to.
    async fn mount(&self, repository: &Repository, _from: &Repository, blob: &Descriptor) -> Result<bool, SourceError> {
        self.has_blob(repository, blob).await
    }

    async fn push_manifest(&self, _repository: &Repository, manifest: &Blob) -> Result<(), SourceError> {
        self.store(manifest).await
    }

    async fn name(&self, _repository: &Repository, manifest: &Blob, tag: Option<&Tag>) -> Result<(), SourceError> {
        self.share().await?;
        let (entry, tag) = (manifest.descriptor().bare(), tag.cloned());
        let change = move |entries: &mut Vec<_>| match tag {
            Some(tag) => index::tag(entries, &entry, &tag),
            None => index::list(entries, &entry),
        };
        self.change_index(change).await
    }

    async fn delete_manifest(&self, _repository: &Repository, manifest: &Descriptor) -> Result<(), SourceError> {
        let _alone = self.alone().await?;
        if !self.holds(manifest).await? {
            return Err(self.lacks(manifest.digest.as_str()));
        }
        self.delete(manifest).await
    }

    async fn delete_referrer(
        &self,
        _repository: &Repository,
        subject: &Descriptor,
        manifest: &Descriptor,
    ) -> Result<(), SourceError> {
        let _alone = self.alone().await?;
        self.unlist(&subject.digest, manifest).await?;
        self.delete(manifest).await
    }
}

impl Layout {
    /// Stores content that is in memory, unless it is there.
    pub(super) async fn store(&self, blob: &Blob) -> Result<(), SourceError> {
        self.store_stream(BlobStream::of(blob)).await
    }

    async fn store_stream(&self, mut blob: BlobStream) -> Result<(), SourceError> {
        self.share().await?;
        if self.keeps(blob.descriptor()).await? {
            return Ok(());
        }
        let digest = blob.descriptor().digest.clone();
        let name = blob_file(&digest);
        let unwritable = |source| self.unwritable(&name, source);
        let algorithm = digest.algorithm().as_str();
        let create = move |layout: Self| layout.blobs()?.make(algorithm)?.create(0o666);
        let new = self.beside(create).await.map_err(unwritable)?;
        let mut writer = tokio::fs::File::from_std(new.file().try_clone().map_err(unwritable)?);
        while let Some(piece) = blob.next().await {
            writer.write_all(&piece?).await.map_err(unwritable)?;
        }
        writer.flush().await.map_err(unwritable)?;
        let settle = move |_| new.settle(digest.hex().as_ref(), Existing::Replace);
        self.beside(settle).await.map(drop).map_err(unwritable)
    }

    /// Whether a file of the layout's own and of the right size lies there. One of another size was not written to its
    /// end, or is damaged.
    pub(super) async fn keeps(&self, descriptor: &Descriptor) -> Result<bool, SourceError> {
        if self.is_archive() {
            return self.holds(descriptor).await;
        }
        let digest = descriptor.digest.clone();
        let size = self.beside(move |layout| match layout.folder_of(&digest) {
            Ok(folder) => folder.size_of(digest.hex()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        let size = size.await.map_err(|source| self.unwritable(&blob_file(&descriptor.digest), source))?;
        Ok(size == Some(descriptor.size))
    }

    /// The directory that content is written to and deleted from, if it lies behind no link.
    pub(super) fn folder_of(&self, digest: &Digest) -> io::Result<Directory> {
        Directory::open(&self.path)?.enter(BLOBS)?.enter(digest.algorithm().as_str())
    }

    fn blobs(&self) -> io::Result<Directory> {
        Directory::open(&self.path)?.make(BLOBS)
    }

    /// Works on the disk, beside the tasks that must not wait for it.
    pub(super) async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let layout = self.clone();
        let working = tokio::task::spawn_blocking(move || work(layout));
        working.await.map_err(io::Error::other).and_then(|done| done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::{Code, Remedy as _};
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    /// A layout, and beside it a directory that is none of its business.
    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new() -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(scene.path("layout/blobs/sha256")).unwrap();
            fs::create_dir(scene.path("foreign")).unwrap();
            fs::write(scene.path("foreign/file"), "precious").unwrap();
            scene
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        async fn sign(&self) -> Result<(), Code> {
            let layout = Layout::create(self.path("layout")).await.map_err(|error| error.code())?;
            let (repository, image) = ("registry.example/app".parse().unwrap(), Descriptor::of("image", b"image"));
            let pushed = layout.push_referrer(&repository, &image, &signature(), "type").await;
            pushed.map_err(|error| error.code())
        }

        fn assert_foreign_is_untouched(&self) {
            assert_eq!(fs::read_to_string(self.path("foreign/file")).unwrap(), "precious");
            assert_eq!(fs::read_dir(self.path("foreign")).unwrap().count(), 1);
        }
    }

    fn signature() -> Blob {
        Blob::of("signature", b"precious".to_vec())
    }

    fn hex() -> String {
        signature().descriptor().digest.hex().to_owned()
    }

    #[tokio::test]
    async fn temporary_names_that_somebody_foresaw_lead_nowhere() {
        let scene = Scene::new();
        for name in [format!("blobs/sha256/.{}.part", hex()), "index.json.part".into(), "oci-layout.part".into()] {
            symlink(scene.path("foreign/file"), scene.path("layout").join(name)).unwrap();
        }
        scene.sign().await.unwrap();
        scene.assert_foreign_is_untouched();
        assert_eq!(fs::read_to_string(scene.path("layout/blobs/sha256").join(hex())).unwrap(), "precious");
    }

    #[tokio::test]
    async fn content_that_is_only_linked_to_is_written() {
        let scene = Scene::new();
        let content = scene.path("layout/blobs/sha256").join(hex());
        symlink(scene.path("foreign/file"), &content).unwrap();
        scene.sign().await.unwrap();
        scene.assert_foreign_is_untouched();
        assert!(fs::symlink_metadata(&content).unwrap().is_file());
    }

    #[tokio::test]
    async fn nothing_is_written_behind_a_link() {
        for link in ["blobs", "blobs/sha256", "index.json", "oci-layout"] {
            let scene = Scene::new();
            scene.sign().await.unwrap();
            let place = scene.path("layout").join(link);
            fs::rename(&place, scene.path("aside")).unwrap();
            fs::remove_dir_all(scene.path("layout/blobs")).ok();
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            let foreign = if link.contains('.') || link.contains('-') { "aside" } else { "foreign" };
            let before = fs::read(scene.path(foreign)).ok();
            symlink(scene.path(foreign), place).unwrap();
            assert_eq!(scene.sign().await, Err(Code("layout-linked")), "{link}");
            assert_eq!(fs::read(scene.path(foreign)).ok(), before, "{link}");
            scene.assert_foreign_is_untouched();
        }
    }
}
