//! `[sockets]`, `[containerd]` and `[registry]`: where this node is asked, and whom it asks itself.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::super::value;

/// Where the daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketConfig {
    /// The directory of the sockets.
    #[serde(deserialize_with = "value::absolute_path")]
    pub dir: PathBuf,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self { dir: "/run/pratique".into() }
    }
}

/// Where containerd is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerdConfig {
    /// Its gRPC socket.
    #[serde(deserialize_with = "value::absolute_path")]
    pub socket: PathBuf,
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        Self { socket: "/run/containerd/containerd.sock".into() }
    }
}

/// How registries are asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// The hosts, with their port where one is used, that are asked without TLS.
    #[serde(deserialize_with = "value::hosts")]
    pub insecure: Vec<String>,
    /// The directory of docker's `config.json`, which holds credentials.
    #[serde(deserialize_with = "value::optional_absolute_path")]
    pub docker_config: Option<PathBuf>,
    /// The directories in which containerd's `hosts.toml` of each registry are looked for, in containerd's form: separated by
    /// colons. None: every registry is asked under its own name.
    #[serde(deserialize_with = "value::absolute_paths")]
    pub config_path: Vec<PathBuf>,
    /// The longest that one host may keep a question waiting, over all its answers. Not zero.
    #[serde(deserialize_with = "value::positive_duration")]
    pub host_timeout: Duration,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            docker_config: None,
            // What containerd has where nobody has written anything else.
            config_path: vec!["/etc/containerd/certs.d".into(), "/etc/docker/certs.d".into()],
            host_timeout: Duration::from_secs(30),
        }
    }
}
