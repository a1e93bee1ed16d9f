//! Which snapshot a container has, and what that was made on.

use super::{RunGate, StartQuestion};
use crate::rootfs::{DOCKER, INIT_SUFFIX, snapshot_at};
use crate::source::SourceError;
use crate::source::containerd::{Container, Place};

/// A container's snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'a> {
    pub(super) place: Place<'a>,
    pub(super) key: &'a str,
}

/// What a snapshot was made on.
#[derive(Debug)]
pub(super) struct Below {
    /// The image's snapshot; empty where there is none.
    pub(super) parent: String,
    /// Whether a snapshot of dockerd's own lies between.
    pub(super) has_init_layer: bool,
}

impl<'a> Own<'a> {
    /// The snapshot that the container's record names; or that dockerd has mounted itself, whose records name none.
    pub(super) fn of(question: &'a StartQuestion, container: &'a Container) -> Self {
        let namespace = question.namespace.as_str();
        let recorded = (container.snapshotter.as_str(), container.snapshot_key.as_str());
        let (snapshotter, key) = match recorded {
            ("", "") if namespace == DOCKER => {
                snapshot_at(&question.root.path, &question.container).unwrap_or(recorded)
            }
            recorded => recorded,
        };
        Self { place: Place { namespace, snapshotter }, key }
    }
}

impl RunGate {
    /// What this snapshot was made on; none where there is no such snapshot.
    pub(super) async fn below(&self, Own { place, key }: Own<'_>) -> Result<Option<Below>, SourceError> {
        let Some(own) = self.containerd.snapshot(place, key).await? else { return Ok(None) };
        if place.namespace != DOCKER || own.parent != format!("{key}{INIT_SUFFIX}") {
            return Ok(Some(Below { parent: own.parent, has_init_layer: false }));
        }
        let init = self.containerd.snapshot(place, &own.parent).await?;
        Ok(init.map(|init| Below { parent: init.parent, has_init_layer: true }))
    }
}
