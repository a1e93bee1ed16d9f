//! `[plugins]`: whether verification plugins are run, and how.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::super::value;

/// How the plugins are asked that signatures demand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginConfig {
    /// The directory with the plugins, `NAME/notation-NAME`. None: no plugin is run.
    #[serde(deserialize_with = "value::optional_absolute_path")]
    pub dir: Option<PathBuf>,
    /// The longest that one command of a plugin may take. Not zero.
    #[serde(deserialize_with = "value::positive_duration")]
    pub timeout: Duration,
    /// How long a plugin's answer is good. Zero: it is asked for each question.
    #[serde(deserialize_with = "value::duration")]
    pub good_for: Duration,
}

impl Default for PluginConfig {
    fn default() -> Self {
        Self {
            dir: None,
            // Leaves time for the registry within the 8 s that a question has.
            timeout: Duration::from_secs(5),
            good_for: Duration::from_secs(5 * 60),
        }
    }
}
