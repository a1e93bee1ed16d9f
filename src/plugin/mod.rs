//! Runs Notary plugins: programs of others that hold keys, or that know which signers to trust.
//!
//! A plugin is somebody else's code that a signature, or an entry of `signingkeys.json`, asks for by name. So it is looked
//! for in one directory alone, started for one command, given a time and a room for its answer, and ended with all that it
//! has started. Whatever it does, what comes of it is an answer of good form or an error that names it. Nothing in an answer
//! is believed here: what it means for a signature is decided in `verify`, and what a plugin has signed is verified before
//! anybody gets it.
//!
//! Follows the Notary plugin specification. A plugin that is a symbolic link is refused, as it says and as the reference
//! implementation does not.

mod contract;
mod error;
mod folder;
mod install;
mod metadata;
mod process;
mod signing;
#[cfg(test)]
mod tests;
mod verification;

use std::time::Duration;

use async_trait::async_trait;

pub use error::{PluginError, PluginFault, SaidCode};
pub use folder::{PluginFolder, Program};
pub use install::{Download, InstallError, InstallOrder, Installed, Listed, MAX_SOURCE, checksum, fetch};
pub use metadata::Metadata;
pub use signing::{EnvelopePlugin, PluginKey, RawPlugin, SigningPlugin};
pub use verification::{VerifierOptions, Verifiers};

use crate::verify::{PluginAnswer, PluginQuestion, Problem};

/// Whom the questions about a signature are put to that only a plugin can answer.
#[async_trait]
pub trait Plugins: Send + Sync {
    /// Asks, within the time that a plugin has.
    async fn ask(&self, question: &PluginQuestion) -> Result<PluginAnswer, Problem>;

    /// How long an answer is good; none where it is good for ever.
    fn good_for(&self) -> Option<Duration>;
}

/// Where no plugin is run: none is there.
#[derive(Clone, Copy, Debug)]
pub struct NoPlugins;

#[async_trait]
impl Plugins for NoPlugins {
    async fn ask(&self, _: &PluginQuestion) -> Result<PluginAnswer, Problem> {
        Ok(PluginAnswer::NotInstalled)
    }

    fn good_for(&self) -> Option<Duration> {
        None
    }
}
