//! What the content store holds, under which names, and what changes there.

use std::collections::HashMap;

use async_trait::async_trait;
use containerd_client::events::{ContentCreate, ContentDelete};
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::{
    Info, InfoRequest, ListContentRequest, ListImagesRequest, ListNamespacesRequest, ReadContentRequest,
};
use containerd_client::types::Envelope;
use futures_util::stream::{BoxStream, StreamExt};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Containerd, timed, within};
use crate::oci::Digest;
use crate::remedy::printable;
use crate::source::SourceError;
use crate::source::limits::{MAX_BLOBS, MAX_CONTAINERD_MESSAGE};

const CREATED: &str = "/content/create";
const DELETED: &str = "/content/delete";

/// A blob in the content store, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its address.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What clients wrote about it.
    pub labels: HashMap<String, String>,
}

/// How a client names the labels by which a subject holds what refers to it (containerd, `docs/garbage-collection.md`).
pub(super) const REFERRER_LABEL: &str = "containerd.io/gc.ref.content.referrer";

impl Stored {
    /// Whether a client has labelled this blob as the subject of that one. An archive can bring any number of manifests
    /// that claim a subject; labels are written only by whoever may write to containerd.
    pub fn holds(&self, referrer: &Digest) -> bool {
        let is_referrer = |label: &str| label.strip_prefix(REFERRER_LABEL).is_some_and(|rest| rest.starts_with('.'));
        self.labels.iter().any(|(label, value)| value == referrer.as_str() && is_referrer(label))
    }
}

/// Something that happened in the content store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A blob is there now.
    Created {
        /// The containerd namespace.
        namespace: String,
        /// The blob.
        digest: Digest,
        /// Its size in bytes; zero where containerd does not say.
        size: u64,
    },
    /// A blob is gone.
    Deleted {
        /// The containerd namespace.
        namespace: String,
        /// The blob.
        digest: Digest,
    },
}

/// What containerd holds.
#[async_trait]
pub trait Holdings: Send + Sync {
    /// The containerd namespaces.
    async fn namespaces(&self) -> Result<Vec<String>, SourceError>;

    /// Every blob of a namespace.
    async fn blobs(&self, namespace: &str) -> Result<Vec<Stored>, SourceError>;

    /// One blob, or none where the namespace has no such blob.
    async fn blob(&self, namespace: &str, digest: &Digest) -> Result<Option<Stored>, SourceError>;

    /// The bytes of a blob from its beginning, at most `limit` of them. Not hashed: that is for whoever has all of them.
    async fn read(&self, namespace: &str, digest: &Digest, limit: u64) -> Result<Vec<u8>, SourceError>;

    /// The names of the image records that point to one of these targets: whatever clients made of them.
    async fn names(&self, namespace: &str, targets: &[Digest]) -> Result<Vec<String>, SourceError>;

    /// What happens from now on, in all namespaces. The stream ends when containerd does.
    async fn changes(&self) -> Result<BoxStream<'static, Change>, SourceError>;
}

impl Containerd {
    pub(super) fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE)
    }
}

#[async_trait]
impl Holdings for Containerd {
    async fn namespaces(&self) -> Result<Vec<String>, SourceError> {
        let failed = |status: Status| self.failed("its namespaces", &status);
        let mut client = NamespacesClient::new(self.channel.clone());
        let answer = client.list(timed(ListNamespacesRequest::default())).await.map_err(failed)?;
        Ok(answer.into_inner().namespaces.into_iter().map(|namespace| namespace.name).collect())
    }

    async fn blobs(&self, namespace: &str) -> Result<Vec<Stored>, SourceError> {
        let failed = |status: Status| self.failed("its blobs", &status);
        let request = within(namespace, ListContentRequest::default())?;
        let mut pages = self.content().list(request).await.map_err(failed)?.into_inner();
        let mut blobs = Vec::new();
        while let Some(page) = pages.message().await.map_err(failed)? {
            blobs.extend(page.info.into_iter().filter_map(stored));
            if blobs.len() > MAX_BLOBS {
                return Err(SourceError::Containerd {
                    what: format!("the namespace `{}`", printable(namespace)),
                    fault: format!("more than {MAX_BLOBS} blobs"),
                });
            }
        }
        Ok(blobs)
    }

    async fn blob(&self, namespace: &str, digest: &Digest) -> Result<Option<Stored>, SourceError> {
        let request = within(namespace, InfoRequest { digest: digest.to_string() })?;
        match self.content().info(request).await {
            Ok(answer) => Ok(answer.into_inner().info.and_then(stored)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.failed(digest.as_str(), &status)),
        }
    }

    async fn read(&self, namespace: &str, digest: &Digest, limit: u64) -> Result<Vec<u8>, SourceError> {
        let failed = |status: Status| self.failed(digest.as_str(), &status);
        let size = i64::try_from(limit).unwrap_or(i64::MAX);
        let request = ReadContentRequest { digest: digest.to_string(), offset: 0, size };
        let mut parts = self.content().read(within(namespace, request)?).await.map_err(failed)?.into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = parts.message().await.map_err(failed)? {
            bytes.extend_from_slice(&part.data);
            if bytes.len() as u64 > limit {
                let size = bytes.len() as u64;
                return Err(SourceError::TooLarge {
                    what: digest.to_string(),
                    place: "containerd".to_owned(),
                    size,
                    limit,
                });
            }
        }
        Ok(bytes)
    }

    async fn names(&self, namespace: &str, targets: &[Digest]) -> Result<Vec<String>, SourceError> {
        let failed = |status: Status| self.failed("its images", &status);
        // Several filters mean any of them.
        let filters = targets.iter().map(|target| format!("target.digest==\"{target}\"")).collect();
        let mut client = ImagesClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE);
        let answer = client.list(within(namespace, ListImagesRequest { filters })?).await.map_err(failed)?;
        Ok(answer.into_inner().images.into_iter().map(|image| image.name).collect())
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, SourceError> {
        let events = self.subscribe(&[CREATED, DELETED]).await?;
        Ok(events.filter_map(|event| std::future::ready(change(event))).boxed())
    }
}

/// A blob with an address that can be understood; containerd has no others.
fn stored(info: Info) -> Option<Stored> {
    let (digest, size) = (info.digest.parse().ok()?, u64::try_from(info.size).ok()?);
    Some(Stored { digest, size, labels: info.labels })
}

fn change(envelope: Envelope) -> Option<Change> {
    let (namespace, event) = (envelope.namespace, envelope.event?);
    match envelope.topic.as_str() {
        CREATED => {
            let created = ContentCreate::decode(event.value.as_slice()).ok()?;
            let (digest, size) = (created.digest.parse().ok()?, u64::try_from(created.size).ok()?);
            Some(Change::Created { namespace, digest, size })
        }
        DELETED => {
            let deleted = ContentDelete::decode(event.value.as_slice()).ok()?;
            Some(Change::Deleted { namespace, digest: deleted.digest.parse().ok()? })
        }
        _ => None,
    }
}
