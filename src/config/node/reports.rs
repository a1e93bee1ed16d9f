//! `[log]` and `[metrics]`: what the daemon says about its work, and to whom.

use std::net::SocketAddr;

use serde::Deserialize;

use super::super::value;

/// What the daemon says about its work.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// Which lines are written, in the syntax of `tracing`'s `EnvFilter`.
    #[serde(deserialize_with = "value::filter")]
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".into() }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where counts are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address, with its port. None: nowhere.
    pub listen: Option<SocketAddr>,
}
