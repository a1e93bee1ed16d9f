//! Keys that a plugin holds.
//!
//! A plugin either signs bytes, and the envelope is made here, or it makes whole envelopes. What it gives is looked at as a
//! verifier would look at it: the key that was asked for, the algorithm of that key, a chain of Notary's profile, a signature
//! that verifies, a payload about the artifact. Until then nothing of it is used.
//!
//! Follows the Notary plugin specification, "Signature Generator" and "Signature Envelope Generator".

mod envelope;
mod raw;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

pub use envelope::EnvelopePlugin;
pub use raw::RawPlugin;

use super::contract::PluginConfig;
use super::error::{PluginError, PluginFault};
use super::folder::{PluginFolder, Program, fault};
use super::metadata::Metadata;

/// The longest that a plugin may take to sign: a person may have to touch a token, or to log in.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A key of a plugin, by the plugin's name for it.
#[derive(Clone, Debug)]
pub struct PluginKey {
    /// The plugin.
    pub plugin: String,
    /// What it calls the key.
    pub id: String,
    /// What is passed on to it.
    pub config: BTreeMap<String, String>,
}

/// How a plugin signs.
#[derive(Debug)]
pub enum SigningPlugin {
    /// It signs bytes.
    Raw(Box<RawPlugin>),
    /// It makes envelopes.
    Envelope(Box<EnvelopePlugin>),
}

impl SigningPlugin {
    /// Asks the plugin what it can do, and about the key. One that can do both signs bytes, as with the reference
    /// implementation.
    pub fn open(folder: &PluginFolder, key: PluginKey) -> Result<Self, PluginError> {
        let program = folder.find(&key.plugin)?;
        let metadata = wait(program.metadata(&key.config, TIMEOUT), &key.plugin)??;
        let held = Held { program, metadata, id: key.id, config: key.config };
        if held.metadata.can("SIGNATURE_GENERATOR.RAW") {
            return RawPlugin::of(held).map(Box::new).map(Self::Raw);
        }
        if held.metadata.can("SIGNATURE_GENERATOR.ENVELOPE") {
            return Ok(Self::Envelope(Box::new(EnvelopePlugin::of(held))));
        }
        Err(held.fault(PluginFault::WithoutSigning))
    }
}

/// A plugin and one of its keys.
#[derive(Debug)]
struct Held {
    program: Program,
    metadata: Metadata,
    id: String,
    config: PluginConfig,
}

impl Held {
    fn fault(&self, what: PluginFault) -> PluginError {
        fault(self.program.name(), what)
    }

    fn decode(&self, command: &'static str, text: &str) -> Result<Vec<u8>, PluginError> {
        BASE64_STANDARD.decode(text).map_err(|_| self.fault(PluginFault::NotBase64 { command }))
    }

    fn call<R: super::contract::Request + Sync>(&self, request: &R) -> Result<R::Answer, PluginError>
    where
        R::Answer: Send,
    {
        wait(self.program.call(request, TIMEOUT), self.program.name())?
    }
}

/// Waits for a plugin where nothing else is to be done meanwhile: keys are asked without a runtime at hand, or within one
/// that must not be waited in.
fn wait<T: Send>(asking: impl Future<Output = T> + Send, plugin: &str) -> Result<T, PluginError> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(asking))
    };
    let waited = std::thread::scope(|scope| scope.spawn(run).join());
    let ended = |_| std::io::Error::other("the thread that waited for it has failed");
    waited.map_err(ended).and_then(|run| run).map_err(|error| fault(plugin, PluginFault::NotRun(error)))
}
