//! The key to sign with: named by the arguments, listed in `signingkeys.json`, held by whatever holds it.
//!
//! Who signs gets a [`Signer`] and does not learn where the key lies.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::key_access::{KeyAccess, KeyAccessArguments};
use super::plugins::folder;
use super::verify::{pair, unique};
use crate::config::{NotationDir, SigningKey, SigningKeyError};
use crate::oci::Descriptor;
use crate::pki::{Certificate, Chain, InvalidTokenUri, TokenUri};
use crate::plugin::{EnvelopePlugin, PluginKey, SigningPlugin};
use crate::sign::{SignError, SignRequest, Signed, Signer, Unsealed, prepare};

/// Which key signs.
#[derive(Debug, Args)]
pub(super) struct SigningKeyArguments {
    /// The key, by its name in `signingkeys.json`, or a PKCS #11 URI; the default key without it.
    #[arg(long, short = 'k', value_name = "NAME")]
    key: Option<String>,
    /// The certificates of a key given by its URI, leaf first; without it they are read from the token.
    #[arg(long, value_name = "FILE", requires = "key")]
    key_certificates: Option<PathBuf>,
    /// The plugin that holds the key, where the key is not in `signingkeys.json`.
    #[arg(long, value_name = "NAME", requires = "id", conflicts_with = "key")]
    plugin: Option<String>,
    /// What that plugin calls the key.
    #[arg(long, value_name = "ID", requires = "plugin")]
    id: Option<String>,
    /// What is passed on to the plugin that holds the key (may be given again).
    #[arg(long = "plugin-config", value_name = "KEY=VALUE", value_parser = pair)]
    plugin_config: Vec<(String, String)>,
    #[command(flatten)]
    access: KeyAccessArguments,
}

impl SigningKeyArguments {
    pub(super) fn open(&self, directory: &NotationDir) -> Result<HeldKey, Failure> {
        let config = unique(self.plugin_config.clone(), "plugin configuration", "plugin-config-duplicate")?;
        let access = self.access.access();
        let uri = self.key.as_deref().filter(|key| TokenUri::is_meant(key));
        match (&self.plugin, &self.id, uri) {
            (Some(plugin), Some(id), _) => {
                open_plugin(directory, PluginKey { plugin: plugin.clone(), id: id.clone(), config })
            }
            (_, _, Some(uri)) => {
                let uri: TokenUri = uri.parse().map_err(|error: InvalidTokenUri| Failure::usage_of(&error))?;
                access.open_token(&uri, self.key_certificates.as_deref()).map(HeldKey::Signer)
            }
            _ if self.key_certificates.is_some() => {
                let message = "`--key-certificates` goes with a key that is given by its URI".to_owned();
                Err(Failure::usage("key-certificates-unused", message))
            }
            _ => open(directory, self.key.as_deref(), config, &access),
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
    /// Whole, as a plugin has made it, with the certificates that it carries.
    Whole(Box<Signed>, Chain),
}

impl Made<'_> {
    /// The certificates of whoever signed, leaf first.
    pub(super) fn chain(&self) -> &[Certificate] {
        match self {
            Self::Unsealed(unsealed) => unsealed.chain(),
            Self::Whole(_, chain) => chain.certificates(),
        }
    }
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
            Self::Envelopes(plugin) => {
                plugin.sign(artifact, request).map(|(signed, chain)| Made::Whole(Box::new(signed), chain))
            }
        }
    }
}

/// The key of this name in `signingkeys.json`, or the default one. What is passed on to its plugin now comes before what is
/// listed there.
pub(super) fn open(
    directory: &NotationDir,
    name: Option<&str>,
    plugin_config: BTreeMap<String, String>,
    access: &KeyAccess,
) -> Result<HeldKey, Failure> {
    let entry = directory.signing_key(name).map_err(|error| failure(&error))?;
    match entry.key() {
        SigningKey::Files { key, certificates } => Ok(HeldKey::Signer(Box::new(access.open_files(key, certificates)?))),
        SigningKey::Token { uri, certificates } => access.open_token(uri, certificates.as_deref()).map(HeldKey::Signer),
        SigningKey::Plugin { plugin, id, config } => {
            let mut config = config.clone();
            config.extend(plugin_config);
            open_plugin(directory, PluginKey { plugin: plugin.clone(), id: id.clone(), config })
        }
    }
}

/// Whoever names a key that there is not, or one that there is already, is told so as wrong usage.
pub(super) fn failure(error: &SigningKeyError) -> Failure {
    match error {
        SigningKeyError::Unknown { .. } | SigningKeyError::NoDefault | SigningKeyError::Taken { .. } => {
            Failure::usage_of(error)
        }
        error => Failure::of(error),
    }
}

/// A key that a plugin holds.
pub(super) fn open_plugin(directory: &NotationDir, key: PluginKey) -> Result<HeldKey, Failure> {
    match SigningPlugin::open(&folder(directory), key).map_err(|error| Failure::of(&error))? {
        SigningPlugin::Raw(signer) => Ok(HeldKey::Signer(signer)),
        SigningPlugin::Envelope(plugin) => Ok(HeldKey::Envelopes(plugin)),
    }
}
