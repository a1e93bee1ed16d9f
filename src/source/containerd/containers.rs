//! Which containers there are, what they were made of, and which images they name.

use std::collections::BTreeMap;

use async_trait::async_trait;
use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::{
    self as wire, DeleteImageRequest, GetContainerRequest, GetImageRequest, ListImagesRequest, ListTasksRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Containerd, within};
use crate::oci::Descriptor;
use crate::source::SourceError;
use crate::source::limits::MAX_CONTAINERD_MESSAGE;

/// A container as its creator described it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its identifier, alone in its namespace.
    pub id: String,
    /// The name of the image record that it was made from; empty where it was made from none.
    pub image: String,
    /// What made its root file system; empty where nothing did.
    pub snapshotter: String,
    /// The key of its snapshot; empty where it has none.
    pub snapshot_key: String,
    /// What its creator wrote about it.
    pub labels: BTreeMap<String, String>,
}

/// An image record: a name, and what it points to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// The name.
    pub name: String,
    /// The manifest or index.
    pub target: Descriptor,
}

/// Which containers and image records containerd has.
#[async_trait]
pub trait Containers: Send + Sync {
    /// A container, or none where there is none of this identifier.
    async fn container(&self, namespace: &str, id: &str) -> Result<Option<Container>, SourceError>;

    /// An image record, or none where there is none of this name.
    async fn image(&self, namespace: &str, name: &str) -> Result<Option<ImageRecord>, SourceError>;

    /// Every image record.
    async fn images(&self, namespace: &str) -> Result<Vec<ImageRecord>, SourceError>;

    /// Removes an image record, and nothing that other records point to. Where it is gone already, nothing happens.
    async fn remove_image(&self, namespace: &str, name: &str) -> Result<(), SourceError>;

    /// The identifiers of the containers that were started and have not ended.
    async fn running(&self, namespace: &str) -> Result<Vec<String>, SourceError>;
}

impl Containerd {
    fn images_client(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE)
    }
}

#[async_trait]
impl Containers for Containerd {
    async fn container(&self, namespace: &str, id: &str) -> Result<Option<Container>, SourceError> {
        let mut client = ContainersClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE);
        match client.get(within(namespace, GetContainerRequest { id: id.to_owned() })?).await {
            Ok(answer) => Ok(answer.into_inner().container.map(container)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.failed(&format!("the container {id}"), &status)),
        }
    }

    async fn image(&self, namespace: &str, name: &str) -> Result<Option<ImageRecord>, SourceError> {
        match self.images_client().get(within(namespace, GetImageRequest { name: name.to_owned() })?).await {
            Ok(answer) => Ok(answer.into_inner().image.and_then(image_record)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.failed(&format!("the image {name}"), &status)),
        }
    }

    async fn images(&self, namespace: &str) -> Result<Vec<ImageRecord>, SourceError> {
        let failed = |status: Status| self.failed("its images", &status);
        let answer = self.images_client().list(within(namespace, ListImagesRequest::default())?).await;
        let images = answer.map_err(failed)?.into_inner().images;
        Ok(images.into_iter().filter_map(image_record).collect())
    }

    async fn remove_image(&self, namespace: &str, name: &str) -> Result<(), SourceError> {
        let request = DeleteImageRequest { name: name.to_owned(), ..DeleteImageRequest::default() };
        match self.images_client().delete(within(namespace, request)?).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => Ok(()),
            Err(status) => Err(self.failed(&format!("the image {name}"), &status)),
        }
    }

    async fn running(&self, namespace: &str) -> Result<Vec<String>, SourceError> {
        let failed = |status: Status| self.failed("its tasks", &status);
        let mut client = TasksClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE);
        let answer = client.list(within(namespace, ListTasksRequest::default())?).await.map_err(failed)?;
        Ok(answer.into_inner().tasks.into_iter().map(|task| task.id).collect())
    }
}

fn image_record(image: wire::Image) -> Option<ImageRecord> {
    let wire::Image { name, target, .. } = image;
    let target = target?;
    let size = u64::try_from(target.size).ok()?;
    Some(ImageRecord { name, target: Descriptor::new(target.media_type, target.digest.parse().ok()?, size) })
}

fn container(container: wire::Container) -> Container {
    let wire::Container { id, image, snapshotter, snapshot_key, labels, .. } = container;
    Container { id, image, snapshotter, snapshot_key, labels: labels.into_iter().collect() }
}
