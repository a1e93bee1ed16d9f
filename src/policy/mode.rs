//! Whether the node enforces its verdicts.

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
