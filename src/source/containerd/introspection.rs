//! Which parts containerd runs with, and which of them do not work.

use async_trait::async_trait;
use containerd_client::services::v1::introspection_client::IntrospectionClient;
use containerd_client::services::v1::{PluginsRequest, PluginsResponse};
use tonic::Status;

use super::{Containerd, said, timed};
use crate::source::SourceError;
use crate::source::limits::MAX_CONTAINERD_MESSAGE;

/// containerd's word for what makes file systems of layers.
pub const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1";

/// A plugin of the running containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// What it is for, such as `io.containerd.snapshotter.v1`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why it does not work; none where it does.
    pub fault: Option<String>,
}

/// What containerd says about itself.
#[async_trait]
pub trait Introspection: Send + Sync {
    /// Every plugin that it was built or configured with.
    async fn plugins(&self) -> Result<Vec<Plugin>, SourceError>;
}

#[async_trait]
impl Introspection for Containerd {
    async fn plugins(&self) -> Result<Vec<Plugin>, SourceError> {
        let failed = |status: Status| self.failed("its plugins", &status);
        let client = IntrospectionClient::new(self.channel.clone());
        let mut client = client.max_decoding_message_size(MAX_CONTAINERD_MESSAGE);
        let answer = client.plugins(timed(PluginsRequest::default())).await.map_err(failed)?;
        Ok(plugins(answer.into_inner()))
    }
}

fn plugins(answer: PluginsResponse) -> Vec<Plugin> {
    let plugin = |plugin: containerd_client::services::v1::Plugin| Plugin {
        kind: plugin.r#type,
        name: plugin.id,
        fault: plugin.init_err.map(|status| said(&status.message)),
    };
    answer.plugins.into_iter().map(plugin).collect()
}
