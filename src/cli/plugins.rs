//! Arguments about plugins, shared by every command that verifies.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::Failure;
use super::verify::{pair, unique};
use crate::config::NotationDir;
use crate::plugin::{PluginFolder, VerifierOptions, Verifiers};

/// How long a plugin may think about a signature: as long as a registry may take in all, since a person waits.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct PluginArguments {
    /// What is passed on to the plugin that the signature demands (may be given again).
    #[arg(long = "plugin-config", value_name = "KEY=VALUE", value_parser = pair)]
    plugin_config: Vec<(String, String)>,
}

impl PluginArguments {
    /// The plugins that may be asked about signatures.
    pub(super) fn open(self, directory: &NotationDir) -> Result<Verifiers, Failure> {
        let config = unique(self.plugin_config, "plugin configuration", "plugin-config-duplicate")?;
        Ok(verifiers(directory, config))
    }
}

/// The plugins that may be asked about signatures, with what is passed on to them.
pub(super) fn verifiers(directory: &NotationDir, config: BTreeMap<String, String>) -> Verifiers {
    Verifiers::new(folder(directory), VerifierOptions { timeout: TIMEOUT, config, ..VerifierOptions::default() })
}

/// The directory of the plugins: in `NOTATION_LIBEXEC`, where that is set, else in the notation directory.
pub(super) fn folder(directory: &NotationDir) -> PluginFolder {
    let libexec = env::var_os("NOTATION_LIBEXEC").filter(|value| !value.is_empty()).map(PathBuf::from);
    PluginFolder::within(libexec.as_deref().unwrap_or_else(|| directory.path()))
}
