//! Whole images out of a layout.

use std::io;
use std::os::unix::fs::MetadataExt as _;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::files::Files;
use super::listing::Wanted;
use super::reading::blob_file;
use super::{Layout, LayoutFault, REF_NAME, entries};
use crate::files::is_link;
use crate::oci::{Descriptor, Digest, Repository, Tag};
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
            let listed = if tag.is_some() { tags.names.len() } else { tags.untagged.len() };
            if listed == limit {
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
        let (layout, digest) = (self.clone(), descriptor.digest.clone());
        let opening = self.beside(move |_| open(&layout, &digest));
        let (mut file, is_own) = opening.await.map_err(unreadable)?;
        if !is_own {
            // Bytes that are anybody's, until they have been read to the end: nothing of them leaves this machine before.
            let checked = file.try_clone().await.map_err(unreadable)?;
            let mut checked = self.stream_of(descriptor, checked, &name);
            while let Some(piece) = checked.next().await {
                piece?;
            }
            file.rewind().await.map_err(unreadable)?;
        }
        Ok(self.stream_of(descriptor, file, &name))
    }

    async fn has_blob(&self, _repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError> {
        self.keeps(descriptor).await
    }

    async fn has_manifest(&self, _repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError> {
        self.keeps(descriptor).await
    }
}

impl Layout {
    fn stream_of(&self, descriptor: &Descriptor, file: File, name: &str) -> BlobStream {
        let (layout, name) = (self.clone(), name.to_owned());
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
        BlobStream::new(descriptor.bare(), self.to_string(), pieces.boxed())
    }

    /// Whether a file of the right size lies there, or behind a link. One of another size was not written to its end, or is damaged.
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

/// Content to be read, and whether it is the layout's own: a file with no other name, behind no link.
fn open(layout: &Layout, digest: &Digest) -> io::Result<(File, bool)> {
    match layout.folder_of(digest).and_then(|folder| folder.file(digest.hex())) {
        Ok(file) => {
            let is_own = file.metadata()?.nlink() == 1;
            Ok((File::from_std(file), is_own))
        }
        Err(error) if is_link(&error) => {
            let file = std::fs::File::open(layout.path.join(blob_file(digest)))?;
            Ok((File::from_std(file), false))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Blob;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// What comes out of a layout whose content is this link, or other name, of a file.
    async fn read(content: &[u8], link: impl Fn(&std::path::Path, &std::path::Path)) -> Result<Vec<u8>, SourceError> {
        let place = tempfile::tempdir().unwrap();
        let foreign = place.path().join("foreign");
        fs::write(&foreign, content).unwrap();
        let layout = Layout::create(place.path().join("layout")).await.unwrap();
        let descriptor = Blob::of("layer", b"content".to_vec()).descriptor().clone();
        let path = layout.path().join(blob_file(&descriptor.digest));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        link(&foreign, &path);
        let repository = "registry.example/app".parse().unwrap();
        let mut stream = layout.open_blob(&repository, &descriptor).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            bytes.extend(piece.unwrap());
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn of_a_foreign_file_nothing_comes_out_unless_it_is_the_content() {
        let soft = |foreign: &std::path::Path, path: &std::path::Path| symlink(foreign, path).unwrap();
        let hard = |foreign: &std::path::Path, path: &std::path::Path| fs::hard_link(foreign, path).unwrap();
        assert_eq!(read(b"content", soft).await.unwrap(), b"content");
        assert_eq!(read(b"content", hard).await.unwrap(), b"content");
        assert!(matches!(read(b"secrets", soft).await, Err(SourceError::WrongContent { .. })));
        assert!(matches!(read(b"secrets", hard).await, Err(SourceError::WrongContent { .. })));
    }
}
