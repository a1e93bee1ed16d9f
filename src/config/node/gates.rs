//! `[gates]`, `[run]` and `[local_images]`: which of containerd's questions are answered, and how strictly.

use serde::Deserialize;

use super::super::value;
use crate::oci::Repository;
use crate::policy::{ImageVolumes, OrphanLayers, SandboxImage, WithoutImage};

/// Which of containerd's questions are answered besides the image verifier's, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// Whether `diff.sock` and `diff-transfer.sock` are served.
    pub diff: bool,
    /// What becomes of a layer that no manifest lists.
    pub orphan_layers: OrphanLayers,
    /// Whether the registry in an image's name is asked for signatures before its layers are unpacked.
    pub ask_registry: bool,
    /// Whether the OCI runtime's questions are answered.
    pub run: bool,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { diff: true, orphan_layers: OrphanLayers::default(), ask_registry: true, run: true }
    }
}

/// How starts of containers are judged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// What becomes of a container that names no image.
    pub without_image: WithoutImage,
    /// The containerd namespaces in which builders run their steps, which name no image.
    pub builder_namespaces: Vec<String>,
    /// What becomes of a pod's sandbox.
    pub sandbox: SandboxImage,
    /// What becomes of images that are mounted beside a container's own.
    pub image_volumes: ImageVolumes,
    /// Whether signatures that this node does not hold are looked for in the image's registry.
    pub ask_registry: bool,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            without_image: WithoutImage::default(),
            // BuildKit's own, unless it is configured otherwise.
            builder_namespaces: vec!["buildkit".into()],
            sandbox: SandboxImage::default(),
            image_volumes: ImageVolumes::default(),
            ask_registry: true,
        }
    }
}

/// How images are judged that came from no registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalImageConfig {
    /// The repository as which the trust policy sees them. None: there is no statement for them, and they are denied.
    #[serde(deserialize_with = "value::repository")]
    pub scope: Option<Repository>,
    /// Whether their signatures are looked for in that repository, too, where containerd's content store has none.
    pub ask_registry: bool,
}
