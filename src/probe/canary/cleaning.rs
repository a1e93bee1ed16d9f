//! Nothing of a visit is left: what is in its namespace goes, and then the namespace.

use std::fs;
use std::path::Path;
use std::time::Duration;

use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::snapshots::{ListSnapshotsRequest, RemoveSnapshotRequest};
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::{
    DeleteContainerRequest, DeleteContentRequest, DeleteImageRequest, DeleteNamespaceRequest, DeleteRequest,
    DeleteTaskRequest, KillRequest, ListContainersRequest, ListContentRequest, ListImagesRequest,
    ListNamespacesRequest, ListRequest, ListTasksRequest,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::Status;

use super::scratch::{Scratch, said};
use crate::clock;

/// How long it is tried to leave nothing behind, and how often.
const CLEANING: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// After this a namespace is one that somebody has left behind, in seconds: no visit takes so long.
const FORGOTTEN: i64 = 600;
/// Where the shim has the runtime keep what it knows of containers, a directory for each namespace.
const STATE_OF_RUNTIMES: &str = "/run/containerd/runc";
/// SIGKILL.
const KILL: u32 = 9;

impl Scratch {
    /// Removes everything in the namespace, and the namespace.
    pub(super) async fn remove(&self) -> Result<(), String> {
        let deadline = Instant::now() + CLEANING;
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // What is left may be in the way of something else: whatever goes, goes, and then it is looked again.
            let _ = self.empty().await;
            let request = self.timed(DeleteNamespaceRequest { name: self.namespace.clone() });
            match NamespacesClient::new(self.channel.clone()).delete(request).await {
                Ok(_) => break,
                Err(status) if status.code() == tonic::Code::NotFound => break,
                Err(status) if Instant::now() > deadline => {
                    return Err(format!("the namespace {} is left behind: {}", self.namespace, said(&status)));
                }
                Err(_) => {}
            }
        }
        // The shim has the runtime make it, and nobody removes it. It stays if there is anything in it.
        let _ = fs::remove_dir(Path::new(STATE_OF_RUNTIMES).join(&self.namespace));
        Ok(())
    }

    /// Removes namespaces that somebody has left behind who could not clean up.
    pub(super) async fn remove_forgotten(&self, prefix: &str) {
        let request = self.timed(ListNamespacesRequest::default());
        let Ok(answer) = NamespacesClient::new(self.channel.clone()).list(request).await else { return };
        for name in answer.into_inner().namespaces.into_iter().map(|namespace| namespace.name) {
            let made = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next()?.parse::<i64>().ok());
            let is_forgotten = made.is_some_and(|made| clock::now().as_second() - made > FORGOTTEN);
            let Ok(header) = name.parse() else { continue };
            if is_forgotten {
                let other = Self { channel: self.channel.clone(), namespace: name, header, ..*self };
                let _ = other.remove().await; // the next visit tries again
            }
        }
    }

    async fn empty(&self) -> Result<(), Status> {
        let mut tasks = TasksClient::new(self.channel.clone());
        let running = tasks.list(self.timed(ListTasksRequest::default())).await?.into_inner().tasks;
        for id in running.into_iter().map(|task| task.id) {
            let kill = KillRequest { container_id: id.clone(), signal: KILL, all: true, ..KillRequest::default() };
            let _ = tasks.kill(self.timed(kill)).await; // it may have ended by itself
            tasks.delete(self.timed(DeleteTaskRequest { container_id: id })).await?;
        }
        let mut containers = ContainersClient::new(self.channel.clone());
        let known = containers.list(self.timed(ListContainersRequest::default())).await?.into_inner().containers;
        for id in known.into_iter().map(|container| container.id) {
            containers.delete(self.timed(DeleteContainerRequest { id })).await?;
        }
        let mut leases = LeasesClient::new(self.channel.clone());
        let held = leases.list(self.timed(ListRequest::default())).await?.into_inner().leases;
        for id in held.into_iter().map(|lease| lease.id) {
            leases.delete(self.timed(DeleteRequest { id, sync: false })).await?;
        }
        let mut images = ImagesClient::new(self.channel.clone());
        let named = images.list(self.timed(ListImagesRequest::default())).await?.into_inner().images;
        for name in named.into_iter().map(|image| image.name) {
            images.delete(self.timed(DeleteImageRequest { name, sync: true, target: None })).await?;
        }
        self.empty_snapshots().await?;
        self.empty_content().await
    }

    async fn empty_snapshots(&self) -> Result<(), Status> {
        let mut snapshots = SnapshotsClient::new(self.channel.clone());
        let request = ListSnapshotsRequest { snapshotter: self.snapshotter.to_owned(), ..Default::default() };
        let mut pages = snapshots.list(self.timed(request)).await?.into_inner();
        let mut keys = Vec::new();
        while let Some(page) = pages.message().await? {
            keys.extend(page.info.into_iter().map(|info| info.name));
        }
        for key in keys {
            let request = RemoveSnapshotRequest { snapshotter: self.snapshotter.to_owned(), key };
            let _ = snapshots.remove(self.timed(request)).await; // one that has children goes after them
        }
        Ok(())
    }

    async fn empty_content(&self) -> Result<(), Status> {
        let mut content = ContentClient::new(self.channel.clone());
        let mut pages = content.list(self.timed(ListContentRequest::default())).await?.into_inner();
        let mut digests = Vec::new();
        while let Some(page) = pages.message().await? {
            digests.extend(page.info.into_iter().map(|info| info.digest));
        }
        for digest in digests {
            content.delete(self.timed(DeleteContentRequest { digest })).await?;
        }
        Ok(())
    }
}
