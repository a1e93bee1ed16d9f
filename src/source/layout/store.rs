//! The node's own signature store: a layout in a fixed place, which need not be there.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{Layout, LayoutFault};
use crate::oci::{Blob, Descriptor, Reference, Repository};
use crate::source::{Referrers, Source, SourceError};

/// Signatures in an image layout at this path. Without a layout there, there are none.
#[derive(Clone, Debug)]
pub struct SignatureStore {
    path: PathBuf,
}

impl SignatureStore {
    /// The store in this directory, which is looked at anew for each question.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    async fn layout(&self) -> Result<Option<Layout>, SourceError> {
        match Layout::open(&self.path).await {
            Ok(layout) => Ok(Some(layout)),
            Err(SourceError::Layout { source: LayoutFault::Missing(_), .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn there(&self, what: &str) -> Result<Layout, SourceError> {
        let place = || self.path.display().to_string();
        self.layout().await?.ok_or_else(|| SourceError::NotFound { what: what.to_owned(), place: place() })
    }
}

#[async_trait]
impl Source for SignatureStore {
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        self.there(&reference.to_string()).await?.resolve(reference).await
    }

    async fn signatures(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Referrers, SourceError> {
        match self.layout().await? {
            Some(layout) => layout.signatures(repository, subject, limit).await,
            None => Ok(Referrers::default()),
        }
    }

    async fn manifest(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        self.there(descriptor.digest.as_str()).await?.manifest(repository, descriptor).await
    }

    async fn blob(&self, repository: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        self.there(descriptor.digest.as_str()).await?.blob(repository, descriptor, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    #[tokio::test]
    async fn a_store_that_is_not_there_holds_nothing_and_a_broken_one_cannot_tell() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signatures");
        let store = SignatureStore::new(path.clone());
        let (repository, image) =
            ("registry.example/app".parse().unwrap(), Descriptor::of(media_type::IMAGE_MANIFEST, b"image"));
        assert_eq!(store.signatures(&repository, &image, 10).await.unwrap(), Referrers::default());
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("oci-layout"), "{").unwrap();
        assert!(matches!(store.signatures(&repository, &image, 10).await, Err(SourceError::Layout { .. })));
    }
}
