//! Whole images out of a containerd namespace, with what hangs on them.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use containerd_client::services::v1::ReadContentRequest;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::time::timeout;
use tonic::Status;

use super::{Containerd, Containers, Holdings, ImageStore, unhurried};
use crate::oci::{Blob, Descriptor, Digest, Links, Reference, Repository, Tag, media_type_of};
use crate::source::limits::CONTAINERD_TIMEOUT;
use crate::source::{BlobStream, Images, Referrers, SourceError, Tags};

/// What refers to what in a namespace: by subject, in the order of containerd's own list.
pub(super) type Hanging = HashMap<Digest, Vec<Descriptor>>;

#[async_trait]
impl Images for ImageStore {
    /// Every document of the namespace is read the first time, and remembered: an image has many manifests, and each is asked
    /// about.
    async fn referrers(&self, _: &Repository, subject: &Descriptor, limit: usize) -> Result<Referrers, SourceError> {
        let hanging = self.hanging.get_or_try_init(|| self.read_hanging()).await?;
        let mut descriptors = hanging.get(&subject.digest).cloned().unwrap_or_default();
        let truncated = descriptors.len() > limit;
        descriptors.truncate(limit);
        Ok(Referrers { descriptors, truncated })
    }

    async fn tags(&self, repository: &Repository, limit: usize) -> Result<Tags, SourceError> {
        let records = self.containerd.images(&self.namespace).await?;
        let references = records.into_iter().filter_map(|record| record.name.parse::<Reference>().ok());
        let own = references.filter(|reference| reference.digest().is_none() && reference.repository() == repository);
        let mut names: Vec<Tag> = own.filter_map(|reference| reference.tag().cloned()).collect();
        let truncated = names.len() > limit;
        names.truncate(limit);
        Ok(Tags { names, truncated, ..Tags::default() })
    }

    async fn open_blob(&self, _: &Repository, descriptor: &Descriptor) -> Result<BlobStream, SourceError> {
        let pieces = self.containerd.pieces(&self.namespace, &descriptor.digest).await?;
        Ok(BlobStream::new(descriptor.bare(), self.place(), pieces))
    }

    async fn has_blob(&self, _: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError> {
        let stored = Holdings::blob(&self.containerd, &self.namespace, &descriptor.digest).await?;
        Ok(stored.is_some_and(|stored| stored.size == descriptor.size))
    }

    async fn has_manifest(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError> {
        self.has_blob(repository, descriptor).await
    }
}

impl ImageStore {
    async fn read_hanging(&self) -> Result<Hanging, SourceError> {
        let mut hanging = Hanging::new();
        for (subject, referrer) in self.documents(referrer).await? {
            hanging.entry(subject).or_default().push(referrer);
        }
        Ok(hanging)
    }
}

/// The subject of a document that refers to one, and the document's own descriptor as a list of referrers has it.
fn referrer(document: &Blob) -> Option<(Digest, Descriptor)> {
    let media_type = media_type_of(document.bytes()).ok()??;
    let Links { subject, artifact_type, annotations, .. } = Links::parse(&media_type, document.bytes()).ok()?;
    let Descriptor { digest, size, .. } = document.descriptor();
    let own = Descriptor::new(media_type, digest.clone(), *size);
    Some((subject?.digest, Descriptor { artifact_type, annotations, ..own }))
}

impl Containerd {
    /// The bytes of a blob as they come. The time limit is for each piece.
    async fn pieces(
        &self,
        namespace: &str,
        digest: &Digest,
    ) -> Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError> {
        let what = digest.to_string();
        let request = ReadContentRequest { digest: what.clone(), offset: 0, size: 0 };
        let opened = self.content().read(unhurried(namespace, request)?).await;
        let parts = opened.map_err(|status| self.failed(&what, &status))?.into_inner();
        let containerd = self.clone();
        let pieces = stream::unfold(Some(parts), move |parts| {
            let (containerd, what) = (containerd.clone(), what.clone());
            async move {
                let mut parts = parts?;
                let late = || Err(Status::deadline_exceeded("no further piece"));
                match timeout(CONTAINERD_TIMEOUT, parts.message()).await.unwrap_or_else(|_| late()) {
                    Ok(None) => None,
                    Ok(Some(part)) => Some((Ok(Bytes::from(part.data)), Some(parts))),
                    Err(status) => Some((Err(containerd.failed(&what, &status)), None)),
                }
            }
        });
        Ok(pieces.boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;
    use serde_json::json;

    #[test]
    fn a_document_hangs_on_the_subject_that_it_names() {
        let subject = Descriptor::of(media_type::IMAGE_MANIFEST, b"image");
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::IMAGE_MANIFEST, "artifactType": "application/spdx+json",
            "config": Descriptor::of(media_type::EMPTY, b"{}"), "layers": [], "subject": subject,
        });
        let blob = |manifest: &serde_json::Value| Blob::of("", manifest.to_string().into_bytes());
        let (named, own) = referrer(&blob(&manifest)).unwrap();
        assert_eq!((named, own.artifact_type.as_deref()), (subject.digest, Some("application/spdx+json")));
        assert_eq!(own.media_type, media_type::IMAGE_MANIFEST);
        manifest["subject"] = serde_json::Value::Null;
        assert_eq!(referrer(&blob(&manifest)), None);
        assert_eq!(referrer(&Blob::of("", b"{\"layers\": 1}".to_vec())), None);
    }
}
