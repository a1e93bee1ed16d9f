//! One command of the contract: the request as JSON in, an answer of good form out, or an error that names the plugin.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{PluginError, PluginFault, SaidCode};
use super::folder::{Program, fault};
use super::process::{self, Ended, Fault};
use crate::oci::parse_json;
use crate::remedy::cut;

/// The one version of the contract there is.
pub(super) const CONTRACT_VERSION: &str = "1.0";
/// How many characters of a plugin's own words are told: a few sentences.
const MAX_MESSAGE: usize = 300;
/// How many characters of a request or answer a log shows: a chain and a payload in base64.
const MAX_LOGGED: usize = 64 * 1024;

/// Pairs for the plugin, from its user.
pub(super) type PluginConfig = BTreeMap<String, String>;

/// A command and its answer.
pub(super) trait Request: Serialize {
    /// The command's name.
    const COMMAND: &'static str;
    /// What is answered.
    type Answer: DeserializeOwned;
}

impl Program {
    /// Runs one command.
    pub(super) async fn call<R: Request>(&self, request: &R, limit: Duration) -> Result<R::Answer, PluginError> {
        let command = R::COMMAND;
        tracing::debug!(plugin = self.name(), command, "running a plugin");
        // A struct of text and numbers always has a JSON form.
        let request = serde_json::to_vec(request).unwrap_or_default();
        tracing::trace!("Plugin {command} request: {}", logged(&request));
        let ended = process::run(self.path(), command, &request, limit).await.map_err(|failed| {
            fault(
                self.name(),
                match failed {
                    Fault::Io(error) => PluginFault::NotRun(error),
                    Fault::TimedOut => PluginFault::TimedOut { command, limit },
                    Fault::OutputTooLarge => PluginFault::OutputTooLarge,
                },
            )
        })?;
        let answer = answer(command, &ended).map_err(|failed| fault(self.name(), failed))?;
        tracing::trace!("Plugin {command} response: {}", logged(answer));
        parse_json(answer).map_err(|source| fault(self.name(), PluginFault::Malformed { command, source }))
    }
}

/// What goes to a plugin and comes from it, as a log shows it. Configuration may be in it, so it is shown at the level that
/// nobody has by chance.
fn logged(bytes: &[u8]) -> String {
    cut(String::from_utf8_lossy(bytes).trim(), MAX_LOGGED)
}

/// An error in the form of the contract.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    error_code: String,
    #[serde(default)]
    error_message: String,
}

/// The answer on standard output where the plugin has succeeded.
fn answer<'e>(command: &'static str, ended: &'e Ended) -> Result<&'e [u8], PluginFault> {
    if ended.status.success() {
        return Ok(&ended.stdout);
    }
    if let Ok(said) = parse_json::<Said>(&ended.stderr) {
        let message = cut(said.error_message.trim(), MAX_MESSAGE);
        return Err(PluginFault::Says { command, code: SaidCode::of(&said.error_code), message });
    }
    let ending = match (ended.status.code(), ended.status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => format!("ended by signal {signal}"),
        _ => "ended".to_owned(),
    };
    Err(PluginFault::Crashed { command, ending })
}
