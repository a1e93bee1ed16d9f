//! What a plugin says about itself. It is asked each time, and nothing of it is kept, so that another release counts at
//! once (Notary plugin specification, "Plugin metadata").

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::contract::{CONTRACT_VERSION, PluginConfig, Request};
use super::error::{PluginError, PluginFault};
use super::folder::{Program, fault};
use crate::remedy::excerpt;

/// What a plugin is, complete as the contract asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name, which is that of its directory.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Its version, as it says.
    pub version: String,
    /// Where one reads more.
    pub url: String,
    /// The versions of the contract that it speaks.
    pub supported_contract_versions: Vec<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
}

impl Metadata {
    /// Whether it can do this.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    fn fault(&self, plugin: &str) -> Option<PluginFault> {
        let lacks = [
            (self.name.is_empty(), "name"),
            (self.description.is_empty(), "description"),
            (self.version.is_empty(), "version"),
            (self.url.is_empty(), "url"),
            (self.supported_contract_versions.is_empty(), "contract version"),
            (self.capabilities.is_empty(), "capability"),
        ];
        if let Some((_, what)) = lacks.into_iter().find(|(lacks, _)| *lacks) {
            return Some(PluginFault::Metadata(format!("name no {what}")));
        }
        if self.name != plugin {
            return Some(PluginFault::Metadata(format!("are those of `{}`", excerpt(&self.name))));
        }
        let speaks = self.supported_contract_versions.iter().any(|version| version == CONTRACT_VERSION);
        (!speaks).then(|| PluginFault::Contract(excerpt(&self.supported_contract_versions.join(", "))))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetadataRequest<'a> {
    #[serde(skip_serializing_if = "PluginConfig::is_empty")]
    plugin_config: &'a PluginConfig,
}

impl Request for MetadataRequest<'_> {
    const COMMAND: &'static str = "get-plugin-metadata";
    type Answer = Metadata;
}

impl Program {
    /// What the plugin says about itself.
    pub async fn metadata(&self, config: &PluginConfig, limit: Duration) -> Result<Metadata, PluginError> {
        let metadata = self.call(&MetadataRequest { plugin_config: config }, limit).await?;
        match metadata.fault(self.name()) {
            None => Ok(metadata),
            Some(wrong) => Err(fault(self.name(), wrong)),
        }
    }
}
