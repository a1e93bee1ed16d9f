//! How this node runs: `config.toml`.
//!
//! Every key has a default, and a file that is absent at its usual place means all of them. A file that is there is
//! understood to its last key or refused: a misspelt `mode` must not quietly become `enforce`, nor a misspelt limit the
//! default. `config/config.toml` in the source tree shows every key with its default.

mod error;
mod gates;
mod limits;
mod places;
mod plugins;
mod reports;
mod revocation;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::file::{self, FileError};
use super::value;
use crate::oci::Digest;
use crate::policy::{Mode, Reconcile};

pub use error::NodeConfigError;
pub use gates::{GateConfig, LocalImageConfig, RunConfig};
pub use limits::{CacheConfig, LimitConfig};
pub use places::{ContainerdConfig, RegistryConfig, SocketConfig};
pub use plugins::PluginConfig;
pub use reports::{LogConfig, LogFormat, MetricsConfig};
pub use revocation::RevocationConfig;

/// Where the file lies unless another place is named.
const DEFAULT_PATH: &str = "/etc/pratique/config.toml";
/// The image layout with the signatures of images that were built here, in the directory of the state.
const SIGNATURES: &str = "signatures";
/// The largest configuration file, in bytes: a hundred times what a file with every key and its comments has.
const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// The configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The directory with `trustpolicy.json` and `truststore/`, in notation's layout.
    #[serde(deserialize_with = "value::absolute_path")]
    pub notation_dir: PathBuf,
    /// What becomes of a denied image.
    pub mode: Mode,
    /// The directory of what must survive: the ledger, and signatures of images that were built here.
    #[serde(deserialize_with = "value::absolute_path")]
    pub state_dir: PathBuf,
    /// Images that are admitted without a signature and without asking anybody.
    pub boot_floor: Vec<Digest>,
    /// What becomes of what came past the gates.
    pub reconcile: Reconcile,
    /// `[sockets]`.
    pub sockets: SocketConfig,
    /// `[limits]`.
    pub limits: LimitConfig,
    /// `[cache]`.
    pub cache: CacheConfig,
    /// `[registry]`.
    pub registry: RegistryConfig,
    /// `[revocation]`.
    pub revocation: RevocationConfig,
    /// `[plugins]`.
    pub plugins: PluginConfig,
    /// `[containerd]`.
    pub containerd: ContainerdConfig,
    /// `[gates]`.
    pub gates: GateConfig,
    /// `[run]`.
    pub run: RunConfig,
    /// `[local_images]`.
    pub local_images: LocalImageConfig,
    /// `[log]`.
    pub log: LogConfig,
    /// `[metrics]`.
    pub metrics: MetricsConfig,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            notation_dir: "/etc/pratique".into(),
            mode: Mode::default(),
            state_dir: "/var/lib/pratique".into(),
            boot_floor: Vec::new(),
            reconcile: Reconcile::default(),
            sockets: SocketConfig::default(),
            limits: LimitConfig::default(),
            cache: CacheConfig::default(),
            registry: RegistryConfig::default(),
            revocation: RevocationConfig::default(),
            plugins: PluginConfig::default(),
            containerd: ContainerdConfig::default(),
            gates: GateConfig::default(),
            run: RunConfig::default(),
            local_images: LocalImageConfig::default(),
            log: LogConfig::default(),
            metrics: MetricsConfig::default(),
        }
    }
}

impl NodeConfig {
    /// The configuration in the file named, which must be there; or in `/etc/pratique/config.toml`, whose absence means
    /// every default.
    pub fn load(path: Option<&Path>) -> Result<Self, NodeConfigError> {
        match path {
            Some(path) => Self::read(path)?.ok_or_else(|| NodeConfigError::Missing { path: path.to_owned() }),
            None => Ok(Self::read(Path::new(DEFAULT_PATH))?.unwrap_or_default()),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, NodeConfigError> {
        let bytes = match file::read_linked(path, MAX_FILE_SIZE) {
            Ok(bytes) => bytes,
            Err(FileError::Absent) => return Ok(None),
            Err(source) => return Err(NodeConfigError::Unreadable { path: path.to_owned(), source }),
        };
        let config: Self = toml::from_slice(&bytes).map_err(|error| error::invalid(path, &bytes, error))?;
        config.agrees_with_itself(path)?;
        Ok(Some(config))
    }

    /// The image layout in which this node keeps signatures of its own.
    pub fn signature_store(&self) -> PathBuf {
        self.state_dir.join(SIGNATURES)
    }

    fn agrees_with_itself(&self, path: &Path) -> Result<(), NodeConfigError> {
        // What is unpacked is written down by the one gate and looked up by the other.
        if self.gates.run && !self.gates.diff {
            return Err(NodeConfigError::RunWithoutDiff { path: path.to_owned() });
        }
        Ok(())
    }
}
