//! The arguments of whatever asks the trust policy: where it lies, and who may know more about a signature.

use clap::Args;

use super::exit::Failure;
use super::notation_dir::NotationDirArgument;
use super::plugins::PluginArguments;
use super::revocation::RevocationArguments;
use crate::config::NotationDir;
use crate::judge::Witnesses;
use crate::plugin::Verifiers;
use crate::revocation::Servers;

#[derive(Debug, Args)]
pub(super) struct JudgingArguments {
    #[command(flatten)]
    revocation: RevocationArguments,
    #[command(flatten)]
    plugins: PluginArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

/// A policy's directory, and who is asked about what its signatures do not say.
pub(super) struct Judging {
    pub(super) directory: NotationDir,
    servers: Servers,
    plugins: Verifiers,
}

impl JudgingArguments {
    pub(super) fn open(self) -> Result<Judging, Failure> {
        let directory = self.notation_dir.open();
        let (servers, plugins) = (self.revocation.open(), self.plugins.open(&directory)?);
        Ok(Judging { directory, servers, plugins })
    }
}

impl Judging {
    pub(super) fn witnesses(&self) -> Witnesses<'_> {
        Witnesses { responders: &self.servers, plugins: &self.plugins }
    }
}
