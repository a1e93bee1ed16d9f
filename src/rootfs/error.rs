//! Why a root file system is not the image's, or cannot be told to be.

use std::path::PathBuf;

use crate::oci::{Digest, InvalidJson};
use crate::remedy::{Code, Remedy};

/// Why a root file system is not the image's, or cannot be told to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootfsError {
    /// The snapshotter makes something that cannot be followed.
    #[error("the snapshotter `{name}` mounts `{kinds}`, and only those of overlayfs and native are understood")]
    UnsupportedSnapshotter {
        /// The snapshotter.
        name: String,
        /// What it mounts.
        kinds: String,
    },
    /// What is mounted is not the container's snapshot.
    #[error("the root file system of the container is not its snapshot: {how}")]
    Differs {
        /// In what.
        how: String,
    },
    /// The snapshot was not made on the image's layers.
    #[error("the container's snapshot was made on `{parent}`, and that is not the image's")]
    OtherParent {
        /// What it was made on.
        parent: String,
    },
    /// A directory was not filled under the eyes of the gate.
    #[error("{} was not unpacked from the layer {layer} through pratique", directory.display())]
    NotRecorded {
        /// The directory.
        directory: PathBuf,
        /// The layer that it should hold.
        layer: Digest,
    },
    /// A directory was filled with another layer.
    #[error("{} was unpacked from {unpacked} and not from {layer}", directory.display())]
    OtherLayer {
        /// The directory.
        directory: PathBuf,
        /// The layer that it should hold.
        layer: Digest,
        /// The layer that it holds.
        unpacked: Digest,
    },
    /// The directory was made anew since.
    #[error("{} is not the directory any more into which the layer {layer} was unpacked", directory.display())]
    Replaced {
        /// The directory.
        directory: PathBuf,
        /// The layer that it should hold.
        layer: Digest,
    },
    /// More was unpacked into the directory.
    #[error("{} holds more than the layer {layer}", directory.display())]
    Mixed {
        /// The directory.
        directory: PathBuf,
        /// The layer that it should hold.
        layer: Digest,
    },
    /// Something was unpacked into the container's own directory.
    #[error("a layer was unpacked into {}, which is the container's own", directory.display())]
    UnpackedInto {
        /// The directory.
        directory: PathBuf,
    },
    /// More or fewer directories than layers.
    #[error("the image has {layers} layers, and the root file system is made of {directories} directories")]
    LayerCount {
        /// How many layers the image has.
        layers: usize,
        /// How many directories there are.
        directories: usize,
    },
    /// The manifest and the config do not fit together.
    #[error("the manifest {manifest} lists {in_manifest} layers, and its config {in_config}")]
    Uneven {
        /// The manifest.
        manifest: Digest,
        /// How many layers it lists.
        in_manifest: usize,
        /// How many its config lists.
        in_config: usize,
    },
    /// The config cannot be read.
    #[error("the config {config} cannot be read")]
    Config {
        /// The config.
        config: Digest,
        /// What is wrong with it.
        source: InvalidJson,
    },
}

impl Remedy for RootfsError {
    fn code(&self) -> Code {
        match self {
            Self::UnsupportedSnapshotter { .. } => Code("snapshotter-unsupported"),
            Self::Differs { .. } => Code("rootfs-differs"),
            Self::OtherParent { .. } => Code("rootfs-other-image"),
            Self::NotRecorded { .. } => Code("rootfs-not-recorded"),
            Self::OtherLayer { .. } => Code("rootfs-other-layer"),
            Self::Replaced { .. } => Code("rootfs-replaced"),
            Self::Mixed { .. } => Code("rootfs-mixed"),
            Self::UnpackedInto { .. } => Code("rootfs-unpacked-into"),
            Self::LayerCount { .. } => Code("rootfs-layer-count"),
            Self::Uneven { .. } => Code("image-layers-uneven"),
            Self::Config { .. } => Code("image-config-malformed"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::UnsupportedSnapshotter { .. } => "run the container with the snapshotter overlayfs or native".into(),
            Self::Differs { .. } => "see who creates the task, and with which mounts".into(),
            Self::OtherParent { .. } => {
                "the image's name may have moved since the container was created: create it again".into()
            }
            Self::UnpackedInto { .. } => "remove the container and create it again from its image".into(),
            Self::NotRecorded { .. } => {
                "where the image was unpacked before pratique was installed, `pratique enroll --all`; \
                 otherwise remove the image with its snapshots and pull it again"
                    .into()
            }
            Self::OtherLayer { .. } | Self::Replaced { .. } | Self::Mixed { .. } | Self::LayerCount { .. } => {
                "see who writes into containerd's snapshots; then remove the image with its snapshots and pull it again"
                    .into()
            }
            Self::Uneven { .. } | Self::Config { .. } => {
                "have the image built anew by a tool that writes it as the OCI image specification has it".into()
            }
        })
    }
}
