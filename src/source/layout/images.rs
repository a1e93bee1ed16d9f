//! Whole images out of a layout.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::files::Files;
use super::listing::Wanted;
use super::reading::blob_file;
use super::{Layout, LayoutFault, REF_NAME, entries};
use crate::oci::{Descriptor, Repository, Tag};
use crate::source::{BlobStream, Images, Referrers, SourceError, Tags};

/// How much of a file is read at once, in bytes.
const PIECE: usize = 256 * 1024;

#[async_trait]
impl Images for Layout {
    async fn referrers(
        &self,
        _repository: &Repository,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Referrers, SourceError> {
        self.hanging(&subject.digest, Wanted::Everything, limit).await
    }

    async fn tags(&self, _repository: &Repository, limit: usize) -> Result<Tags, SourceError> {
        let mut tags = Tags::default();
        for entry in entries(self.index().await?) {
            let name = entry.annotations.get(REF_NAME).cloned();
            let tag = name.as_ref().and_then(|name| name.parse::<Tag>().ok());
            if tag.as_ref().is_some_and(|tag| tags.names.contains(tag)) {
                continue;
            }
            if tags.names.len() + tags.untagged.len() == limit {
                tags.truncated = true;
                break;
            }
            match tag {
                Some(tag) => tags.names.push(tag),
                None => tags.untagged.push((name, entry.bare())),
            }
        }
        Ok(tags)
    }

    async fn open_blob(&self, _repository: &Repository, descriptor: &Descriptor) -> Result<BlobStream, SourceError> {
        let name = blob_file(&descriptor.digest);
        let unreadable = |source| self.fault(LayoutFault::Unreadable { file: name.clone(), source });
        if !self.holds(descriptor).await? {
            return Err(self.lacks(descriptor.digest.as_str()));
        }
        if let Files::Archive(archive) = &self.files {
            return self.stream(archive, descriptor);
        }
        let file = File::open(self.path.join(&name)).await.map_err(unreadable)?;
        let layout = self.clone();
        let pieces = stream::unfold(Some(file), move |file| {
            let (layout, name) = (layout.clone(), name.clone());
            async move {
                let mut file = file?;
                let mut piece = Vec::with_capacity(PIECE);
                match file.read_buf(&mut piece).await {
                    Ok(0) => None,
                    Ok(_) => Some((Ok(Bytes::from(piece)), Some(file))),
                    Err(source) => Some((Err(layout.fault(LayoutFault::Unreadable { file: name, source })), None)),
                }
            }
        });
        Ok(BlobStream::new(descriptor.bare(), self.to_string(), pieces.boxed()))
    }

    async fn has_blob(&self, _repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError> {
        self.holds(descriptor).await
    }

    async fn has_manifest(&self, _repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError> {
        self.holds(descriptor).await
    }
}

impl Layout {
    /// Whether a file of the right size lies there. One of another size was not written to its end, or is damaged.
    pub(super) async fn holds(&self, descriptor: &Descriptor) -> Result<bool, SourceError> {
        let name = blob_file(&descriptor.digest);
        if let Files::Archive(archive) = &self.files {
            return Ok(self.member_size(archive, &name)? == Some(descriptor.size));
        }
        match tokio::fs::metadata(self.path.join(&name)).await {
            Ok(metadata) => Ok(metadata.is_file() && metadata.len() == descriptor.size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.fault(LayoutFault::Unreadable { file: name, source })),
        }
    }
}
