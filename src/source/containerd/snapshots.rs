//! What snapshots are made of.

use async_trait::async_trait;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::snapshots::{
    self as wire, ListSnapshotsRequest, MountsRequest, RemoveSnapshotRequest, StatSnapshotRequest, ViewSnapshotRequest,
};
use containerd_client::types;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Containerd, within};
use crate::rootfs::Mount;
use crate::source::SourceError;
use crate::source::limits::MAX_CONTAINERD_MESSAGE;

/// What the keys of our own views begin with. Each lives for the moment of one question; should that moment be the last
/// of the daemon's, containerd's garbage collection takes it, since nothing refers to it.
pub const VIEW_PREFIX: &str = "pratique-view-";
/// containerd's filter for snapshots that have their content.
const COMMITTED: &str = "kind==committed";
/// How many random bytes the key of a view has: nobody else's will be the same.
const VIEW_BYTES: usize = 12;

/// Where a snapshot lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The containerd namespace.
    pub namespace: &'a str,
    /// The snapshotter.
    pub snapshotter: &'a str,
}

/// A snapshot, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The name of the snapshot below it; empty where there is none.
    pub parent: String,
}

/// What containerd's snapshotters hold.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// A snapshot, or none where there is none of this name.
    async fn snapshot(&self, place: Place<'_>, key: &str) -> Result<Option<Snapshot>, SourceError>;

    /// The names of the snapshots that have their content.
    async fn committed(&self, place: Place<'_>) -> Result<Vec<String>, SourceError>;

    /// What a container with this snapshot has to have mounted; none where there is no such snapshot.
    async fn mounts(&self, place: Place<'_>, key: &str) -> Result<Option<Vec<Mount>>, SourceError>;

    /// What shows a committed snapshot as it is; none where there is no such snapshot. Nothing is mounted, and nothing of
    /// it stays.
    async fn view(&self, place: Place<'_>, name: &str) -> Result<Option<Vec<Mount>>, SourceError>;
}

impl Containerd {
    pub(super) fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE)
    }

    fn unless_missing<T>(&self, key: &str, answer: Result<T, Status>) -> Result<Option<T>, SourceError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.failed(&format!("the snapshot {key}"), &status)),
        }
    }
}

#[async_trait]
impl Snapshots for Containerd {
    async fn snapshot(&self, place: Place<'_>, key: &str) -> Result<Option<Snapshot>, SourceError> {
        let (snapshotter, key) = (place.snapshotter.to_owned(), key.to_owned());
        let request = within(place.namespace, StatSnapshotRequest { snapshotter, key: key.clone() })?;
        let answer = self.unless_missing(&key, self.snapshots().stat(request).await)?;
        let info = answer.and_then(|answer| answer.into_inner().info);
        Ok(info.map(|wire::Info { parent, .. }| Snapshot { parent }))
    }

    async fn committed(&self, place: Place<'_>) -> Result<Vec<String>, SourceError> {
        let failed = |status: Status| self.failed("its snapshots", &status);
        let filters = vec![COMMITTED.to_owned()];
        let request = ListSnapshotsRequest { snapshotter: place.snapshotter.to_owned(), filters };
        let mut pages = self.snapshots().list(within(place.namespace, request)?).await.map_err(failed)?.into_inner();
        let mut names = Vec::new();
        while let Some(page) = pages.message().await.map_err(failed)? {
            names.extend(page.info.into_iter().map(|info| info.name));
        }
        Ok(names)
    }

    async fn mounts(&self, place: Place<'_>, key: &str) -> Result<Option<Vec<Mount>>, SourceError> {
        let (snapshotter, key) = (place.snapshotter.to_owned(), key.to_owned());
        let request = within(place.namespace, MountsRequest { snapshotter, key: key.clone() })?;
        let answer = self.unless_missing(&key, self.snapshots().mounts(request).await)?;
        Ok(answer.map(|answer| answer.into_inner().mounts.into_iter().map(mount).collect()))
    }

    async fn view(&self, place: Place<'_>, name: &str) -> Result<Option<Vec<Mount>>, SourceError> {
        let mut random = [0; VIEW_BYTES];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| SourceError::Containerd {
            what: format!("the snapshot {name}"),
            fault: "the system gives no random numbers".to_owned(),
        })?;
        let (snapshotter, key) = (place.snapshotter.to_owned(), format!("{VIEW_PREFIX}{}", hex::encode(random)));
        let (parent, labels) = (name.to_owned(), std::collections::HashMap::new());
        let request = ViewSnapshotRequest { snapshotter: snapshotter.clone(), key: key.clone(), parent, labels };
        let answer = self.snapshots().view(within(place.namespace, request)?).await;
        let Some(answer) = self.unless_missing(name, answer)? else { return Ok(None) };
        let removing = within(place.namespace, RemoveSnapshotRequest { snapshotter, key })?;
        if let Err(status) = self.snapshots().remove(removing).await {
            tracing::debug!(reason = %status.message(), "a view is left to containerd's garbage collection");
        }
        Ok(Some(answer.into_inner().mounts.into_iter().map(mount).collect()))
    }
}

pub(super) fn mount(mount: types::Mount) -> Mount {
    Mount { kind: mount.r#type, source: mount.source, options: mount.options }
}
