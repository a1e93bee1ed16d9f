//! Putting whole images into a registry.
//!
//! A blob goes in one request, as it comes: some registries refuse pieces, and others want them of a size of their own.
//! Where that request breaks off, whoever has the bytes begins again. A blob that the registry has in another repository is
//! taken over from there without a byte being sent.
//!
//! Follows the distribution specification 1.1, "Pushing blobs" and "Mounting a blob from another repository".

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use reqwest::{Method, StatusCode};

use super::Registry;
use super::auth::Access;
use super::transport::{Ask, Call};
use crate::oci::{Blob, Descriptor, Repository, Tag, media_type};
use crate::source::limits::MAX_ERROR_BODY;
use crate::source::{BlobStream, ImageSink, SourceError};

#[async_trait]
impl ImageSink for Registry {
    async fn push_stream(&self, repository: &Repository, blob: BlobStream) -> Result<(), SourceError> {
        let call = Call::at_origin(self, repository, Access::Push)?;
        let moved = Arc::new(AtomicU64::new(0));
        call.while_it_moves(&moved, call.upload_stream(blob.watched(Arc::clone(&moved)))).await
    }

    /// A registry that cannot, or may not, begins an upload instead, which is called off.
    async fn mount(&self, repository: &Repository, from: &Repository, blob: &Descriptor) -> Result<bool, SourceError> {
        if from.registry() != repository.registry() {
            return Ok(false);
        }
        let call = Call::at_origin(self, repository, Access::Push)?.mounting(from);
        call.in_time(call.mount(from, blob)).await
    }

    async fn push_manifest(&self, repository: &Repository, manifest: &Blob) -> Result<(), SourceError> {
        let call = Call::at_origin(self, repository, Access::Push)?;
        call.in_time(call.store_manifest(manifest.descriptor().digest.as_str(), manifest)).await
    }

    /// What is stored is found by its digest anyway.
    async fn name(&self, repository: &Repository, manifest: &Blob, tag: Option<&Tag>) -> Result<(), SourceError> {
        let Some(tag) = tag else { return Ok(()) };
        let call = Call::at_origin(self, repository, Access::Push)?;
        call.in_time(call.store_manifest(tag.as_str(), manifest)).await
    }

    async fn delete_manifest(&self, repository: &Repository, manifest: &Descriptor) -> Result<(), SourceError> {
        let call = Call::at_origin(self, repository, Access::Delete)?;
        call.in_time(call.delete(manifest)).await
    }

    async fn delete_referrer(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        manifest: &Descriptor,
    ) -> Result<(), SourceError> {
        let call = Call::at_origin(self, repository, Access::Delete)?;
        call.in_time(call.delete_referrer(&subject.digest, manifest)).await
    }
}

impl Call<'_> {
    async fn upload_stream(&self, blob: BlobStream) -> Result<(), SourceError> {
        let Descriptor { digest, size, .. } = blob.descriptor().clone();
        let started = self.start_upload().await?;
        let url = self.upload_url(&started, &digest)?;
        // The HTTP library tells nobody what was wrong with the bytes that it was given.
        let fault = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&fault);
        let pieces = blob.into_stream().map_err(move |error| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).replace(error);
            std::io::Error::other("the source of the bytes failed")
        });
        let put = Ask::new(Method::PUT, url, MAX_ERROR_BODY).with_passing(reqwest::Body::wrap_stream(pieces), size);
        let stored = self.ask(&put).await;
        if let Some(fault) = fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(fault);
        }
        let stored = stored?;
        if stored.status == StatusCode::CREATED { Ok(()) } else { Err(self.refused(&stored, digest.as_str())) }
    }

    async fn mount(&self, from: &Repository, blob: &Descriptor) -> Result<bool, SourceError> {
        let mut url = self.url("blobs/uploads/");
        url.query_pairs_mut().append_pair("mount", blob.digest.as_str()).append_pair("from", from.path());
        let start = Ask::new(Method::POST, url, MAX_ERROR_BODY).with_body(media_type::OCTET_STREAM, Vec::new());
        // No leave to read the other repository is no leave to mount from it.
        let answer = match self.ask(&start).await {
            Err(SourceError::Forbidden { .. } | SourceError::Unauthorized { .. }) => return Ok(false),
            answer => answer?,
        };
        match answer.status {
            StatusCode::CREATED => Ok(true),
            StatusCode::ACCEPTED => {
                if let Some(upload) = self.upload_location(&answer).ok().filter(|url| self.host.endpoint.owns(url)) {
                    // An upload that stays open is swept by the registry some day.
                    let _ = self.ask(&Ask::new(Method::DELETE, upload, MAX_ERROR_BODY)).await;
                }
                Ok(false)
            }
            status if status.is_client_error() => Ok(false),
            _ => Err(answer.unexpected(blob.digest.as_str())),
        }
    }

    async fn store_manifest(&self, name: &str, manifest: &Blob) -> Result<(), SourceError> {
        let Descriptor { media_type, .. } = manifest.descriptor();
        self.put_manifest(name, media_type, manifest.bytes().to_vec()).await.map(drop)
    }
}
