//! The key to sign with: named by the arguments, listed in `signingkeys.json`, held by whatever holds it.
//!
//! Who signs gets a [`Signer`] and does not learn where the key lies.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Args;

use super::exit::Failure;
use super::plugins::folder;
use super::verify::{pair, unique};
use crate::config::{NotationDir, SigningKey, SigningKeyError};
use crate::oci::Descriptor;
use crate::pki::{Certificate, PrivateKey};
use crate::plugin::{EnvelopePlugin, PluginKey, SigningPlugin};
use crate::sign::{LocalKey, SignError, SignRequest, Signed, Signer, Unsealed, prepare};

/// Which key signs.
#[derive(Debug, Args)]
pub(super) struct SigningKeyArguments {
    /// The key, by its name in `signingkeys.json`; the default key without it.
    #[arg(long, short = 'k', value_name = "NAME")]
    key: Option<String>,
    /// The plugin that holds the key, where the key is not in `signingkeys.json`.
    #[arg(long, value_name = "NAME", requires = "id", conflicts_with = "key")]
    plugin: Option<String>,
    /// What that plugin calls the key.
    #[arg(long, value_name = "ID", requires = "plugin")]
    id: Option<String>,
    /// What is passed on to the plugin that holds the key (may be given again).
    #[arg(long = "plugin-config", value_name = "KEY=VALUE", value_parser = pair)]
    plugin_config: Vec<(String, String)>,
}

impl SigningKeyArguments {
    pub(super) fn open(&self, directory: &NotationDir) -> Result<HeldKey, Failure> {
        let config = unique(self.plugin_config.clone(), "plugin configuration", "plugin-config-duplicate")?;
        match (&self.plugin, &self.id) {
            (Some(plugin), Some(id)) => {
                open_plugin(directory, PluginKey { plugin: plugin.clone(), id: id.clone(), config })
            }
            _ => open(directory, self.key.as_deref(), config),
        }
    }
}

/// What holds a key: something that signs bytes, or a plugin that makes whole envelopes.
pub(super) enum HeldKey {
    Signer(Box<dyn Signer>),
    Envelopes(Box<EnvelopePlugin>),
}

/// A signature that was made.
pub(super) enum Made<'k> {
    /// With room for a time-stamp.
    Unsealed(Box<Unsealed<'k>>),
    /// Whole, as a plugin has made it.
    Whole(Box<Signed>),
}

impl HeldKey {
    /// What signs bytes: a plugin that makes envelopes makes those of images only.
    pub(super) fn signer(&self) -> Result<&dyn Signer, Failure> {
        match self {
            Self::Signer(signer) => Ok(signer.as_ref()),
            Self::Envelopes(_) => {
                let message = "the key's plugin makes whole envelopes, and only for images".to_owned();
                Err(Failure::usage("plugin-envelopes-only", message))
            }
        }
    }

    /// Signs an image.
    pub(super) fn sign(&self, artifact: &Descriptor, request: &SignRequest) -> Result<Made<'_>, SignError> {
        match self {
            Self::Signer(signer) => prepare(artifact, request, signer.as_ref()).map(Box::new).map(Made::Unsealed),
            Self::Envelopes(plugin) => plugin.sign(artifact, request).map(Box::new).map(Made::Whole),
        }
    }
}

/// The key of this name in `signingkeys.json`, or the default one. What is passed on to its plugin now comes before what is
/// listed there.
pub(super) fn open(
    directory: &NotationDir,
    name: Option<&str>,
    plugin_config: BTreeMap<String, String>,
) -> Result<HeldKey, Failure> {
    let entry = directory.signing_key(name).map_err(|error| match error {
        SigningKeyError::Unknown { .. } | SigningKeyError::NoDefault => Failure::usage_of(&error),
        error => Failure::of(&error),
    })?;
    match entry.key() {
        SigningKey::Files { key, certificates } => Ok(HeldKey::Signer(Box::new(open_files(key, certificates)?))),
        SigningKey::Plugin { plugin, id, config } => {
            let mut config = config.clone();
            config.extend(plugin_config);
            open_plugin(directory, PluginKey { plugin: plugin.clone(), id: id.clone(), config })
        }
    }
}

/// A key that a plugin holds.
pub(super) fn open_plugin(directory: &NotationDir, key: PluginKey) -> Result<HeldKey, Failure> {
    match SigningPlugin::open(&folder(directory), key).map_err(|error| Failure::of(&error))? {
        SigningPlugin::Raw(signer) => Ok(HeldKey::Signer(signer)),
        SigningPlugin::Envelope(plugin) => Ok(HeldKey::Envelopes(plugin)),
    }
}

fn open_files(key_path: &Path, certificate_path: &Path) -> Result<LocalKey, Failure> {
    let key = PrivateKey::from_pem(&read(key_path)?).map_err(|error| Failure::of(&error).in_file(key_path))?;
    let certificates = Certificate::read_all(&read(certificate_path)?)
        .map_err(|error| Failure::of(&error).in_file(certificate_path))?;
    LocalKey::new(key, certificates).map_err(|error| Failure::of(&error).in_file(certificate_path))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::unreadable("signing-key-unreadable", message, Some("see the paths in `signingkeys.json`"))
    })
}
