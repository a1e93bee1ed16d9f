//! Writing into a layout, so that whoever reads it at any time finds whole files.
//!
//! Content is written beside its place and moved there when it is whole. Its name says what it is, so two writers of the
//! same content do no harm; the second waits for the first and finds it done. What a killed writer left is overwritten by
//! the next one of the same content.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;

use super::reading::{INDEX_FILE, blob_file};
use super::{Layout, LayoutFault, VERSION, VERSION_FILE, index};
use crate::oci::{Blob, Descriptor, Digest, Repository, Tag};
use crate::source::{BlobStream, ImageSink, Images as _, Sink, SourceError};

/// Makes an empty layout where there is none. `oci-layout` comes last: a directory that has it is a layout.
pub(super) async fn prepare(path: &Path) -> Result<(), SourceError> {
    let path = path.to_owned();
    let fault = |source| {
        let source = LayoutFault::Unwritable { file: VERSION_FILE.to_owned(), source };
        SourceError::Layout { path: path.clone(), source }
    };
    let directory = path.clone();
    let preparing = tokio::task::spawn_blocking(move || prepare_now(&directory));
    preparing.await.map_err(io::Error::other).and_then(|done| done).map_err(fault)
}

fn prepare_now(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path.join("blobs"))?;
    if !path.join(INDEX_FILE).try_exists()? {
        index::replace(&path.join(INDEX_FILE), index::empty().to_string().as_bytes())?;
    }
    if !path.join(VERSION_FILE).try_exists()? {
        let version = serde_json::json!({"imageLayoutVersion": VERSION});
        index::replace(&path.join(VERSION_FILE), version.to_string().as_bytes())?;
    }
    Ok(())
}

#[async_trait]
impl Sink for Layout {
    async fn push_blob(&self, _repository: &Repository, blob: &Blob) -> Result<(), SourceError> {
        self.store(blob).await
    }

    /// A layout has no referrers API: a manifest that refers to another one is found when it is in `index.json`. Of its
    /// annotations none gets there, for one of them would be a tag.
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
            let artifact_type = Some((*artifact_type).to_owned());
            listed.push(Descriptor { artifact_type, ..manifest.descriptor().bare() });
        }
        let change =
            move |entries: &mut Vec<_>| listed.iter().fold(false, |did, entry| index::list(entries, entry) | did);
        self.change_index(change).await
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
        let (entry, tag) = (manifest.descriptor().bare(), tag.cloned());
        let change = move |entries: &mut Vec<_>| match tag {
            Some(tag) => index::tag(entries, &entry, &tag),
            None => index::list(entries, &entry),
        };
        self.change_index(change).await
    }

    async fn delete_manifest(&self, repository: &Repository, manifest: &Descriptor) -> Result<(), SourceError> {
        if !self.has_manifest(repository, manifest).await? {
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
        self.unlist(&subject.digest, manifest).await?;
        self.delete(manifest).await
    }
}

/// A file that is to become content.
struct Part {
    file: File,
    digest: Digest,
}

impl Layout {
    /// Stores content that is in memory, unless it is there.
    pub(super) async fn store(&self, blob: &Blob) -> Result<(), SourceError> {
        if self.holds(blob.descriptor()).await? { Ok(()) } else { self.store_stream(BlobStream::of(blob)).await }
    }

    async fn store_stream(&self, blob: BlobStream) -> Result<(), SourceError> {
        self.check_writable()?;
        let Some(part) = self.part(blob.descriptor()).await? else { return Ok(()) };
        self.write(part, blob).await
    }

    /// The locked file to write this content to; none where the content is there, perhaps since a moment.
    async fn part(&self, descriptor: &Descriptor) -> Result<Option<Part>, SourceError> {
        let (path, digest) = (self.part_path(&descriptor.digest), descriptor.digest.clone());
        let opening = tokio::task::spawn_blocking(move || {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            file.lock()?;
            Ok(file)
        });
        let opened = opening.await.map_err(io::Error::other).and_then(|opened| opened);
        let file = opened.map_err(|source| self.unwritable(&blob_file(&digest), source))?;
        // Whoever had the lock may have moved the file to its place: then it is not ours to touch.
        if self.holds(descriptor).await? {
            self.drop_part(&digest, &file).await;
            return Ok(None);
        }
        Ok(Some(Part { file, digest }))
    }

    async fn write(&self, part: Part, mut blob: BlobStream) -> Result<(), SourceError> {
        let Part { file, digest } = part;
        let name = blob_file(&digest);
        let unwritable = |source| self.unwritable(&name, source);
        file.set_len(0).map_err(unwritable)?;
        let mut writer = tokio::fs::File::from_std(file.try_clone().map_err(unwritable)?);
        while let Some(piece) = blob.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    self.drop_part(&digest, &file).await;
                    return Err(error);
                }
            };
            writer.write_all(&piece).await.map_err(unwritable)?;
        }
        writer.flush().await.map_err(unwritable)?;
        tokio::fs::rename(self.part_path(&digest), self.path.join(&name)).await.map_err(unwritable)
    }

    /// Removes the file beside the content's place, if it is still this one: another writer may have made another one.
    async fn drop_part(&self, digest: &Digest, file: &File) {
        use std::os::unix::fs::MetadataExt as _;
        let path = self.part_path(digest);
        let (Ok(own), Ok(there)) = (file.metadata(), tokio::fs::symlink_metadata(&path).await) else { return };
        if (own.dev(), own.ino()) == (there.dev(), there.ino()) {
            // What stays is overwritten by the next writer of this content.
            let _ = tokio::fs::remove_file(path).await;
        }
    }

    fn part_path(&self, digest: &Digest) -> std::path::PathBuf {
        self.path.join(format!("blobs/{}/.{}.part", digest.algorithm().as_str(), digest.hex()))
    }
}
