//! `pratique key add`: a key of any kind into the list, once it is seen that it can be used as far as that can be seen without
//! unlocking it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Listed;
use crate::cli::exit::{Exit, Failure};
use crate::cli::key_access::{KeyAccess, read_certificates};
use crate::cli::notation_dir::NotationDirArgument;
use crate::cli::plugins::folder;
use crate::cli::signing_key::failure;
use crate::cli::verify::{pair, unique};
use crate::cli::{Output, output};
use crate::config::{InvalidName, NotationDir, SigningKeyError};
use crate::pki::{Chain, InvalidTokenUri, TokenUri};
use crate::sign::KeyMismatch;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// What the key is called from now on.
    name: String,
    /// The file of the private key, in PEM, or the PKCS #11 URI of a key on a token.
    #[arg(long, short = 'k', value_name = "FILE|URI", required_unless_present = "plugin", conflicts_with = "plugin")]
    key: Option<PathBuf>,
    /// Its certificates, leaf first, up to the root; those of a token's key may be on the token.
    #[arg(long, value_name = "FILE", requires = "key")]
    key_certificates: Option<PathBuf>,
    /// The plugin that holds the key.
    #[arg(long, value_name = "NAME", requires = "id")]
    plugin: Option<String>,
    /// What that plugin calls the key.
    #[arg(long, value_name = "ID", requires = "plugin")]
    id: Option<String>,
    /// What is passed on to the plugin each time that the key signs (may be given again).
    #[arg(long = "plugin-config", value_name = "KEY=VALUE", value_parser = pair, requires = "plugin")]
    plugin_config: Vec<(String, String)>,
    /// Make it the default signing key.
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

pub(super) fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    InvalidName::check(&arguments.name).map_err(|error| Failure::usage_of(&error))?;
    let directory = arguments.notation_dir.clone().open();
    // Nobody is asked about files before it is known that the name is free.
    let keys = directory.signing_keys().map_err(|error| failure(&error))?;
    if keys.entries().iter().any(|entry| entry.name() == arguments.name) {
        return Err(failure(&SigningKeyError::Taken { name: arguments.name }));
    }
    add(&directory, &arguments)?;
    let entry = directory.signing_key(Some(&arguments.name)).map_err(|error| failure(&error))?;
    let keys = directory.signing_keys().map_err(|error| failure(&error))?;
    let added = Listed::of(&entry, keys.default_name());
    output::print(output, &added, || format!("added {added}"));
    Ok(Exit::Done)
}

fn add(directory: &NotationDir, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { name, key, key_certificates, plugin, id, plugin_config, default, .. } = arguments;
    let uri = key.as_deref().and_then(Path::to_str).filter(|key| TokenUri::is_meant(key));
    if let (Some(key), None) = (key, uri) {
        check_there(key, "the key file", "signing-key-unreadable", "name the file of the private key with `--key`")?;
    }
    let added = match (key, uri, key_certificates, plugin, id) {
        (_, Some(uri), certificates, ..) => {
            let uri: TokenUri = uri.parse().map_err(|error: InvalidTokenUri| Failure::usage_of(&error))?;
            if let Some(module) = &uri.module_path {
                check_there(
                    module,
                    "the PKCS #11 module",
                    "token-module-unusable",
                    "see `module-path` in the URI of the key",
                )?;
            }
            certificates.as_deref().map(check_chain).transpose()?;
            directory.add_token_key(name, &uri, certificates.as_deref(), *default)
        }
        (Some(key), None, Some(certificates), ..) => {
            KeyAccess::none().check_files(key, certificates)?;
            directory.add_signing_key(name, key, certificates, *default)
        }
        (.., Some(plugin), Some(id)) => {
            let config = unique(plugin_config.clone(), "plugin configuration", "plugin-config-duplicate")?;
            folder(directory).find(plugin).map_err(|error| Failure::of(&error))?;
            directory.add_plugin_key(name, plugin, id, &config, *default)
        }
        _ => return Err(without_certificates()),
    };
    added.map_err(|error| failure(&error))
}

/// Whether there is such a file. It is not read.
fn check_there(path: &Path, what: &str, code: &'static str, remedy: &str) -> Result<(), Failure> {
    fs::metadata(path).map(|_| ()).map_err(|error| {
        Failure::unreadable(code, format!("{what} {} cannot be used: {error}", path.display()), Some(remedy))
    })
}

/// Whether the certificates of a file may sign at all.
fn check_chain(path: &Path) -> Result<(), Failure> {
    let chain = Chain::code_signing(read_certificates(path)?).map_err(KeyMismatch::Chain);
    chain.map(|_| ()).map_err(|error| Failure::of(&error).in_file(path))
}

fn without_certificates() -> Failure {
    let message = "a key in a file signs with the certificates of another file".to_owned();
    let remedy = Some("name it with `--key-certificates`, the leaf first and the root last".to_owned());
    Failure { remedy, ..Failure::usage("key-certificates-missing", message) }
}
