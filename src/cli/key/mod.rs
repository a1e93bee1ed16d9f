//! `pratique key`: the keys that sign here, as notation's `signingkeys.json` lists them.
//!
//! Only the list is changed: key files, tokens and what plugins hold stay as they are.

mod add;
mod listed;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::signing_key::failure;
use super::{Output, output};
use crate::config::SigningKeyError;

use listed::Listed;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the keys, what holds each, and which certificates have expired or are about to.
    Ls(NotationDirArgument),
    /// Add a key: in a file, on a PKCS #11 token, or behind a plugin.
    Add(add::Arguments),
    /// Take keys out of the list. The keys themselves stay where they are.
    Rm(Remove),
    /// Show which key signs where none is named, or choose it.
    Default(Choose),
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// The names of the keys.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

#[derive(Debug, Args)]
pub(super) struct Choose {
    /// The name of the key that is to be the default; shows it without.
    name: Option<String>,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

pub(super) fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Ls(directory) => ls(directory, output),
        Command::Add(arguments) => add::run(arguments, output),
        Command::Rm(arguments) => remove(arguments, output),
        Command::Default(arguments) => default(arguments, output),
    }
}

/// A key whose files cannot be read is no clean answer.
fn ls(directory: NotationDirArgument, output: Output) -> Result<Exit, Failure> {
    let keys = directory.open().signing_keys().map_err(|error| failure(&error))?;
    let listed: Vec<Listed> = keys.entries().iter().map(|entry| Listed::of(entry, keys.default_name())).collect();
    output::print(output, &listed, || match listed.as_slice() {
        [] => "there is no signing key; `pratique key add` adds one".to_owned(),
        listed => listed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    });
    Ok(if listed.iter().any(Listed::is_unreadable) { Exit::Inconclusive } else { Exit::Done })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    removed: Vec<String>,
    /// The key that signs now where none is named.
    default: Option<String>,
}

fn remove(arguments: Remove, output: Output) -> Result<Exit, Failure> {
    let directory = arguments.notation_dir.open();
    directory.remove_signing_keys(&arguments.names).map_err(|error| failure(&error))?;
    let keys = directory.signing_keys().map_err(|error| failure(&error))?;
    let removed = Removed { removed: arguments.names, default: keys.default_name().map(str::to_owned) };
    output::print(output, &removed, || {
        let default = match &removed.default {
            Some(name) => format!("the default is {name}"),
            None => "no key is the default".to_owned(),
        };
        format!("took {} out of the list; {default}", removed.removed.join(", "))
    });
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Chosen {
    default: String,
}

fn default(arguments: Choose, output: Output) -> Result<Exit, Failure> {
    let directory = arguments.notation_dir.open();
    if let Some(name) = arguments.name {
        directory.set_default_signing_key(&name).map_err(|error| failure(&error))?;
    }
    let keys = directory.signing_keys().map_err(|error| failure(&error))?;
    let default = keys.default_name().ok_or_else(|| failure(&SigningKeyError::NoDefault))?;
    let chosen = Chosen { default: default.to_owned() };
    output::print(output, &chosen, || chosen.default.clone());
    Ok(Exit::Done)
}
