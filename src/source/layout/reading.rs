//! The files of a layout, bounded and checked.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::files::Files;
use super::{Layout, LayoutFault};
use crate::oci::{Blob, Descriptor, Digest, Index, MAX_MANIFEST_SIZE};
use crate::source::SourceError;
use crate::source::limits::MAX_LAYOUT_INDEX;

pub(super) const INDEX_FILE: &str = "index.json";
/// The directory of all content.
pub(super) const BLOBS: &str = "blobs";

impl Layout {
    /// `index.json`.
    pub(super) async fn index(&self) -> Result<Index, SourceError> {
        let bytes = self.file(INDEX_FILE, MAX_LAYOUT_INDEX).await?;
        let bytes = bytes.ok_or_else(|| self.fault(LayoutFault::Missing(INDEX_FILE)))?;
        Index::parse(&bytes).map_err(|source| self.fault(LayoutFault::Index { file: INDEX_FILE.into(), source }))
    }

    /// An index among the blobs.
    pub(super) async fn nested(&self, descriptor: &Descriptor) -> Result<Index, SourceError> {
        let blob = self.content(descriptor, MAX_MANIFEST_SIZE).await?;
        let file = descriptor.digest.to_string();
        Index::parse(blob.bytes()).map_err(|source| self.fault(LayoutFault::Index { file, source }))
    }

    /// Content of at most `limit` bytes, whole and checked.
    pub(super) async fn content(&self, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        let digest = &descriptor.digest;
        if descriptor.size > limit {
            return Err(self.too_large(digest.as_str(), descriptor.size, limit));
        }
        let file = blob_file(digest);
        let bytes = self.file(&file, limit).await?.ok_or_else(|| self.lacks(digest.as_str()))?;
        Blob::check(descriptor.clone(), bytes).map_err(|source| self.fault(LayoutFault::Damaged { source }))
    }

    /// The bytes of one file of the layout, where there is one. `name` is ours or made of a digest.
    pub(super) async fn file(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let read = match &self.files {
            Files::Directory => read(self.path.join(name), limit).await,
            Files::Archive(archive) => return self.member(archive, name, limit).await,
        };
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Fault::Absent) => Ok(None),
            Err(Fault::TooLarge { size }) => Err(self.too_large(name, size, limit)),
            Err(Fault::NotAFile) => Err(self.fault(LayoutFault::NotAFile(name.to_owned()))),
            Err(Fault::Io(source)) => Err(self.fault(LayoutFault::Unreadable { file: name.to_owned(), source })),
        }
    }

    pub(super) fn fault(&self, source: LayoutFault) -> SourceError {
        SourceError::Layout { path: self.path.clone(), source }
    }

    pub(super) fn lacks(&self, what: &str) -> SourceError {
        SourceError::NotFound { what: what.to_owned(), place: self.to_string() }
    }

    pub(super) fn too_large(&self, what: &str, size: u64, limit: u64) -> SourceError {
        SourceError::TooLarge { what: what.to_owned(), place: self.to_string(), size, limit }
    }
}

/// Where content lies within a layout.
pub(super) fn blob_file(digest: &Digest) -> String {
    format!("{BLOBS}/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// Why a file was not read.
enum Fault {
    Absent,
    /// A directory, a socket, a device or a pipe.
    NotAFile,
    TooLarge {
        /// How many bytes were seen.
        size: u64,
    },
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Absent } else { Self::Io(error) }
    }
}

/// The bytes of a regular file of at most `limit` bytes, read beside the tasks that must not wait for a disk.
async fn read(path: PathBuf, limit: u64) -> Result<Vec<u8>, Fault> {
    let reading = tokio::task::spawn_blocking(move || read_now(&path, limit));
    reading.await.unwrap_or_else(|error| Err(Fault::Io(io::Error::other(error))))
}

fn read_now(path: &Path, limit: u64) -> Result<Vec<u8>, Fault> {
    // A pipe would wait for a writer when opened.
    if !fs::metadata(path)?.is_file() {
        return Err(Fault::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    if size > limit { Err(Fault::TooLarge { size }) } else { Ok(bytes) }
}
