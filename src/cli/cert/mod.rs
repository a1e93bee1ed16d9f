//! `pratique cert`: what the trust stores hold, and certificates for trying things out.

pub(super) mod add;
pub(super) mod generate_test;
mod ls;
mod stored;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use clap::{Args, Subcommand};

use super::Output;
use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use crate::config::NotationDir;
use crate::policy::{StoreKind, TrustStore};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and a self-signed certificate for testing, valid for 24 hours, and trust it.
    GenerateTest(generate_test::Arguments),
    /// Put root certificates into a trust store.
    Add(add::Arguments),
    /// List the certificates of the trust stores, and which of them have expired or are about to.
    Ls(ls::Arguments),
    /// Show a certificate of a trust store.
    Show(stored::Show),
    /// Take certificates out of a trust store: what they vouched for is not admitted any more.
    Rm(stored::Remove),
}

/// One trust store.
#[derive(Debug, Args)]
pub(super) struct StoreArguments {
    /// What the trust store is for: ca, signingAuthority or tsa.
    #[arg(long = "type", short = 't', value_name = "TYPE", default_value = "ca", value_parser = store_kind)]
    kind: StoreKind,
    /// The name of the trust store.
    #[arg(long, short = 's', value_name = "NAME")]
    store: String,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

impl StoreArguments {
    /// The store, and the directory that has it.
    fn open(self) -> Result<(NotationDir, TrustStore), Failure> {
        let store = TrustStore::new(self.kind, self.store).map_err(|error| Failure::usage_of(&error))?;
        Ok((self.notation_dir.open(), store))
    }
}

fn store_kind(text: &str) -> Result<StoreKind, String> {
    format!("{text}:x").parse::<TrustStore>().map(|store| store.kind()).map_err(|error| error.to_string())
}

pub(super) fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::GenerateTest(arguments) => generate_test::run(arguments, output),
        Command::Add(arguments) => add::run(arguments, output),
        Command::Ls(arguments) => ls::run(arguments, output),
        Command::Show(arguments) => stored::show(arguments, output),
        Command::Rm(arguments) => stored::remove(arguments, output),
    }
}

/// Never over a file that is there: it may be the only copy of a key.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(content)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::AlreadyExists => "choose another name, or take the old file away first",
        _ => "see whether the directory can be written, or name another with `--notation-dir`",
    };
    Failure::unreadable("file-unwritable", format!("cannot write {}: {error}", path.display()), Some(remedy))
}
