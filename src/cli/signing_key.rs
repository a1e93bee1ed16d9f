//! The key to sign with: named by the arguments, listed in `signingkeys.json`, held by whatever holds it.
//!
//! Who signs gets a [`Signer`] and does not learn where the key lies.

use std::fs;
use std::path::Path;

use clap::Args;

use super::exit::Failure;
use crate::config::{NotationDir, SigningKey, SigningKeyError};
use crate::pki::{Certificate, PrivateKey};
use crate::sign::{LocalKey, Signer};

/// Which key signs.
#[derive(Debug, Args)]
pub(super) struct SigningKeyArguments {
    /// The key, by its name in `signingkeys.json`; the default key without it.
    #[arg(long, short = 'k', value_name = "NAME")]
    key: Option<String>,
}

impl SigningKeyArguments {
    pub(super) fn open(&self, directory: &NotationDir) -> Result<Box<dyn Signer>, Failure> {
        open(directory, self.key.as_deref())
    }
}

/// The key of this name in `signingkeys.json`, or the default one.
pub(super) fn open(directory: &NotationDir, name: Option<&str>) -> Result<Box<dyn Signer>, Failure> {
    let entry = directory.signing_key(name).map_err(|error| match error {
        SigningKeyError::Unknown { .. } | SigningKeyError::NoDefault => Failure::usage_of(&error),
        error => Failure::of(&error),
    })?;
    match entry.key() {
        SigningKey::Files { key, certificates } => Ok(Box::new(open_files(key, certificates)?)),
        SigningKey::Plugin { plugin, .. } => Err(needs_plugin(entry.name(), plugin)),
    }
}

fn open_files(key_path: &Path, certificate_path: &Path) -> Result<LocalKey, Failure> {
    let key = PrivateKey::from_pem(&read(key_path)?).map_err(|error| Failure::of(&error).in_file(key_path))?;
    let certificates = Certificate::read_all(&read(certificate_path)?)
        .map_err(|error| Failure::of(&error).in_file(certificate_path))?;
    LocalKey::new(key, certificates).map_err(|error| Failure::of(&error).in_file(certificate_path))
}

fn needs_plugin(key: &str, plugin: &str) -> Failure {
    let message =
        format!("the key `{key}` is held by the plugin `{plugin}`, and signing plugins are not supported yet");
    Failure::unreadable("signing-plugin-unsupported", message, Some("sign with a key in a PEM file"))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::unreadable("signing-key-unreadable", message, Some("see the paths in `signingkeys.json`"))
    })
}
