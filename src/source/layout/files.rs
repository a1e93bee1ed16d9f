//! Where the files of a layout lie: in a directory, or as members of an archive.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::reading::blob_file;
use super::{Layout, LayoutFault};
use crate::oci::Descriptor;
use crate::source::archive::{Archive, ArchiveFault};
use crate::source::{BlobStream, SourceError};

#[derive(Clone, Debug)]
pub(super) enum Files {
    Directory,
    Archive(Archive),
}

impl Layout {
    /// The bytes of the member of this name, where there is one.
    pub(super) async fn member(
        &self,
        archive: &Archive,
        name: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        match self.member_size(archive, name)? {
            None => Ok(None),
            Some(size) if size > limit => Err(self.too_large(name, size, limit)),
            Some(_) => archive.bytes(name).await.map_err(|fault| self.unread(fault)),
        }
    }

    pub(super) fn member_size(&self, archive: &Archive, name: &str) -> Result<Option<u64>, SourceError> {
        archive.size(name).map_err(|fault| self.unread(fault))
    }

    /// The content with this descriptor, piece by piece.
    pub(super) fn stream(&self, archive: &Archive, descriptor: &Descriptor) -> Result<BlobStream, SourceError> {
        let pieces = archive.pieces(&blob_file(&descriptor.digest)).map_err(|fault| self.unread(fault))?;
        let pieces = pieces.ok_or_else(|| self.lacks(descriptor.digest.as_str()))?;
        let layout = self.clone();
        let pieces = stream::unfold(pieces, move |mut pieces| {
            let layout = layout.clone();
            async move {
                let piece = pieces.recv().await?;
                let piece: Result<Bytes, _> = piece.map_err(|error| layout.unread(error.into()));
                Some((piece, pieces))
            }
        });
        Ok(BlobStream::new(descriptor.bare(), self.to_string(), pieces.boxed()))
    }

    pub(super) fn unread(&self, source: ArchiveFault) -> SourceError {
        self.fault(LayoutFault::Archive { source })
    }

    pub(super) fn check_writable(&self) -> Result<(), SourceError> {
        match self.files {
            Files::Directory => Ok(()),
            Files::Archive(_) => Err(self.unread(ArchiveFault::ReadOnly)),
        }
    }
}
