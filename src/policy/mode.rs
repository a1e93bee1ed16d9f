//! Whether the node enforces its verdicts, and what becomes of what no verdict is about.

use serde::Deserialize;

/// What becomes of an image that is not admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is let through, and recorded as one that would have been refused.
    Audit,
}

impl Mode {
    /// The mode as it stands in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}

/// What becomes of a layer that is to be unpacked and that no manifest in containerd's content store lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrphanLayers {
    /// It is not unpacked.
    Deny,
    /// It is unpacked; whether anything made of it may run is asked when it runs.
    #[default]
    Defer,
}

/// What becomes of a container that names no image: `ctr run --rootfs`, or a task with mounts of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutImage {
    /// It is not started: nobody vouches for what it is made of.
    #[default]
    Deny,
    /// It is started.
    Allow,
}

/// What becomes of a pod's sandbox, which CRI makes of an image that no pod names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxImage {
    /// Its image must be admitted as any other.
    #[default]
    Verify,
    /// It is started although its image is not admitted, where it is made of nothing but that image.
    Allow,
}

/// What becomes of a container into which images are mounted beside its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageVolumes {
    /// Those images must be admitted, too.
    #[default]
    Verify,
    /// It is not started.
    Deny,
    /// They are not looked at.
    Allow,
}

/// What becomes of image records whose images are not admitted, which nobody could be stopped from making.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reconcile {
    /// Nothing: nobody looks.
    Off,
    /// They are reported.
    #[default]
    Report,
    /// They are reported and, where they are denied, removed.
    Remove,
}
