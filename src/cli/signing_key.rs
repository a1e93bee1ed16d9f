//! The key to sign with: named by the arguments, listed in `signingkeys.json`, held by whatever holds it.
//!
//! Who signs gets a [`HeldKey`] and does not learn where the key lies. Whatever is signed is signed here, so that the usage
//! policies of keys are asked once, and no command can forget them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::key_access::{KeyAccess, KeyAccessArguments};
use super::plugins::folder;
use super::verify::{pair, unique};
use crate::clock;
use crate::config::{KeyUsage, NotationDir, SigningKey, SigningKeyError};
use crate::oci::Descriptor;
use crate::pki::{Certificate, Chain, InvalidTokenUri, SignatureAlgorithm, TokenUri};
use crate::plugin::{EnvelopePlugin, PluginKey, SigningPlugin};
use crate::sign::approval::Approved;
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
    /// The key's name, or its URI, where one is given.
    pub(super) fn name(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The same arguments, for the key of this name where they name none.
    pub(super) fn or_named(self, name: &str) -> Self {
        let is_named = self.key.is_some() || self.plugin.is_some();
        Self { key: if is_named { self.key } else { Some(name.to_owned()) }, ..self }
    }

    /// Another key than the one that is named here, by its name or the default one, got at in the same way.
    pub(super) fn open_other(&self, directory: &NotationDir, name: Option<&str>) -> Result<HeldKey, Failure> {
        open(directory, name, BTreeMap::new(), &self.access.access())
    }

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
                let signer = access.open_token(&uri, self.key_certificates.as_deref())?;
                HeldKey::new(directory, None, Holder::Signer(signer))
            }
            _ if self.key_certificates.is_some() => {
                let message = "`--key-certificates` goes with a key that is given by its URI".to_owned();
                Err(Failure::usage("key-certificates-unused", message)
                    .hint("leave it out, or add the key with them: `pratique key add`"))
            }
            _ => open(directory, self.key.as_deref(), config, &access),
        }
    }
}

/// A key, and what may be done with it.
pub(super) struct HeldKey {
    holder: Holder,
    /// What `signingkeys.json` calls it, if it is in there.
    name: Option<String>,
    usage: Option<KeyUsage>,
}

/// What holds a key: something that signs bytes, or a plugin that makes whole envelopes.
enum Holder {
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

    /// The certificate of the key that has signed.
    fn certificate(&self) -> Result<&Certificate, SignError> {
        self.chain().first().ok_or_else(|| SignError::WrongSignature("none".to_owned()))
    }
}

impl HeldKey {
    fn new(directory: &NotationDir, name: Option<&str>, holder: Holder) -> Result<Self, Failure> {
        let usage = directory.key_usage().map_err(|error| Failure::of(&error))?;
        Ok(Self { holder, name: name.map(str::to_owned), usage })
    }

    /// The algorithm of what signs bytes: a plugin that makes envelopes makes those of images only.
    pub(super) fn algorithm(&self) -> Result<SignatureAlgorithm, Failure> {
        match &self.holder {
            Holder::Signer(signer) => Ok(signer.algorithm()),
            Holder::Envelopes(_) => {
                let message = "the key's plugin makes whole envelopes, and only for images".to_owned();
                Err(Failure::usage("plugin-envelopes-only", message)
                    .hint("sign with a key that signs bytes: in a file, on a token, or behind a plugin that does"))
            }
        }
    }

    /// Signs something, unless the usage policy of the key asks for the approval of others.
    pub(super) fn sign(&self, artifact: &Descriptor, request: &SignRequest) -> Result<Made<'_>, SignError> {
        self.check_usage(self.certificate())?;
        let made = self.make(artifact, request)?;
        // A plugin says only now which certificate its key has: what it has made is dropped then.
        self.check_usage(Some(made.certificate()?))?;
        Ok(made)
    }

    /// Signs what was approved, as it was approved, with the certificate that it was approved for.
    pub(super) fn sign_approved(&self, approved: &Approved<'_>, request: &SignRequest) -> Result<Made<'_>, SignError> {
        let wanted = &approved.request().certificate;
        let check = |certificate: &Certificate| match certificate.thumbprint() {
            held if held == *wanted => Ok(()),
            held => Err(SignError::OtherCertificate { approved: wanted.clone(), held }),
        };
        self.certificate().map_or(Ok(()), check)?;
        let made = self.make(&approved.request().artifact, request)?;
        check(made.certificate()?)?;
        Ok(made)
    }

    fn make(&self, artifact: &Descriptor, request: &SignRequest) -> Result<Made<'_>, SignError> {
        match &self.holder {
            Holder::Signer(signer) => prepare(artifact, request, signer.as_ref()).map(Box::new).map(Made::Unsealed),
            Holder::Envelopes(plugin) => {
                // The time of such an envelope is the plugin's own, however often it was asked.
                let request = SignRequest { now: clock::now(), ..request.clone() };
                plugin.sign(artifact, &request).map(|(signed, chain)| Made::Whole(Box::new(signed), chain))
            }
        }
    }

    fn check_usage(&self, certificate: Option<&Certificate>) -> Result<(), SignError> {
        let rule = self.usage.as_ref().and_then(|usage| usage.governing(self.name.as_deref(), certificate));
        rule.map_or(Ok(()), |rule| Err(SignError::ApprovalRequired(rule.name.clone())))
    }

    /// The key's certificate, where it is known before something is signed.
    pub(super) fn certificate(&self) -> Option<&Certificate> {
        match &self.holder {
            Holder::Signer(signer) => signer.chain().first(),
            Holder::Envelopes(_) => None,
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
    let holder = match entry.key() {
        SigningKey::Files { key, certificates } => Holder::Signer(Box::new(access.open_files(key, certificates)?)),
        SigningKey::Token { uri, certificates } => Holder::Signer(access.open_token(uri, certificates.as_deref())?),
        SigningKey::Plugin { plugin, id, config } => {
            let mut config = config.clone();
            config.extend(plugin_config);
            held_by_plugin(directory, PluginKey { plugin: plugin.clone(), id: id.clone(), config })?
        }
    };
    HeldKey::new(directory, Some(entry.name()), holder)
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
    HeldKey::new(directory, None, held_by_plugin(directory, key)?)
}

fn held_by_plugin(directory: &NotationDir, key: PluginKey) -> Result<Holder, Failure> {
    Ok(match SigningPlugin::open(&folder(directory), key).map_err(|error| Failure::of(&error))? {
        SigningPlugin::Raw(signer) => Holder::Signer(signer),
        SigningPlugin::Envelope(plugin) => Holder::Envelopes(plugin),
    })
}
