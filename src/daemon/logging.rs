//! The log: one line on standard error for each event, which systemd passes on to the journal.

use std::io;

use tracing_subscriber::EnvFilter;

use super::StartError;
use crate::config::{LogConfig, LogFormat};

/// Sets up the log of this process, once.
pub(super) fn begin(config: &LogConfig) -> Result<(), StartError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| StartError::Log(error.to_string()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    let begun = match config.format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).try_init(),
    };
    begun.map_err(|error| StartError::Log(error.to_string()))
}
