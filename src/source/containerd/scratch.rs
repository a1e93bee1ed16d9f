//! Having containerd unpack a layer once more, beside what it has unpacked already, and taking that away again.
//!
//! What is unpacked so is held by a lease of its own, which ends by itself: should nobody be there any more to take it
//! away, containerd's garbage collection does.

use async_trait::async_trait;
use containerd_client::services::v1::snapshots::{PrepareSnapshotRequest, RemoveSnapshotRequest};
use containerd_client::services::v1::{ApplyRequest, ListRequest};
use containerd_client::types;
use jiff::Timestamp;
use tonic::Status;

use super::lease::{held_by, unless_gone};
use super::snapshots::mount;
use super::{Containerd, Place, unhurried, within};
use crate::oci::{Descriptor, Digest};
use crate::rootfs::Mount;
use crate::source::SourceError;

/// What the keys of our own snapshots and their leases begin with.
pub const SCRATCH_PREFIX: &str = "pratique-enroll-";

/// Unpacks layers once more.
#[async_trait]
pub trait Scratches: Send + Sync {
    /// Makes a snapshot to unpack into, on this parent or on nothing, and tells what it is mounted from. It lasts until
    /// it is discarded, or until this instant. The key begins with [`SCRATCH_PREFIX`], and nobody else has it. Takes as
    /// long as it takes: a snapshotter may copy the parent.
    async fn prepare(
        &self,
        place: Place<'_>,
        key: &str,
        parent: &str,
        until: Timestamp,
    ) -> Result<Vec<Mount>, SourceError>;

    /// Unpacks a blob of the content store onto these mounts, and gives the digest of what came out of it; none where
    /// containerd does not tell. Takes as long as it takes.
    async fn unpack(&self, namespace: &str, blob: &Descriptor, mounts: &[Mount])
    -> Result<Option<Digest>, SourceError>;

    /// Removes a snapshot of ours and its lease, as far as they are there.
    async fn discard(&self, place: Place<'_>, key: &str) -> Result<(), SourceError>;

    /// Removes what earlier processes have left in a namespace. How many there were.
    async fn discard_all(&self, namespace: &str) -> Result<usize, SourceError>;
}

#[async_trait]
impl Scratches for Containerd {
    async fn prepare(
        &self,
        place: Place<'_>,
        key: &str,
        parent: &str,
        until: Timestamp,
    ) -> Result<Vec<Mount>, SourceError> {
        let failed = |status: Status| self.failed(&format!("the snapshot {key}"), &status);
        self.begin_lease(place.namespace, key, until).await?;
        let (snapshotter, parent) = (place.snapshotter.to_owned(), parent.to_owned());
        let request = PrepareSnapshotRequest { snapshotter, key: key.to_owned(), parent, ..Default::default() };
        let request = held_by(unhurried(place.namespace, request)?, key)?;
        let answer = self.snapshots().prepare(request).await.map_err(failed)?;
        Ok(answer.into_inner().mounts.into_iter().map(mount).collect())
    }

    async fn unpack(
        &self,
        namespace: &str,
        blob: &Descriptor,
        mounts: &[Mount],
    ) -> Result<Option<Digest>, SourceError> {
        let diff = types::Descriptor {
            media_type: blob.media_type.clone(),
            digest: blob.digest.to_string(),
            size: i64::try_from(blob.size).unwrap_or(i64::MAX),
            ..types::Descriptor::default()
        };
        let mounts = mounts.iter().map(wire_mount).collect();
        let request = ApplyRequest { diff: Some(diff), mounts, ..ApplyRequest::default() };
        let failed = |status: Status| self.failed(&format!("the unpacked layer {}", blob.digest), &status);
        let answer = self.differ().apply(unhurried(namespace, request)?).await.map_err(failed)?;
        Ok(answer.into_inner().applied.and_then(|applied| applied.digest.parse().ok()))
    }

    async fn discard(&self, place: Place<'_>, key: &str) -> Result<(), SourceError> {
        let (snapshotter, key) = (place.snapshotter.to_owned(), key.to_owned());
        let request = within(place.namespace, RemoveSnapshotRequest { snapshotter, key: key.clone() })?;
        let removed = unless_gone(self.snapshots().remove(request).await);
        // The lease in any case: without it containerd removes the snapshot itself.
        self.end_lease(place.namespace, &key, false).await?;
        removed.map_err(|status| self.failed(&format!("the snapshot {key}"), &status))
    }

    async fn discard_all(&self, namespace: &str) -> Result<usize, SourceError> {
        let failed = |status: Status| self.failed("its leases", &status);
        let request = within(namespace, ListRequest { filters: vec![format!("id~=\"^{SCRATCH_PREFIX}\"")] })?;
        let leases = self.leases().list(request).await.map_err(failed)?.into_inner().leases;
        // Whatever the filter made of it.
        let ours: Vec<_> = leases.into_iter().filter(|lease| lease.id.starts_with(SCRATCH_PREFIX)).collect();
        for (number, lease) in ours.iter().enumerate() {
            let is_last = number + 1 == ours.len();
            self.end_lease(namespace, &lease.id, is_last).await?;
        }
        Ok(ours.len())
    }
}

fn wire_mount(mount: &Mount) -> types::Mount {
    let (source, options) = (mount.source.clone(), mount.options.clone());
    types::Mount { r#type: mount.kind.clone(), source, target: String::new(), options }
}
