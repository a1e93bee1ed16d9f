//! Getting at a key that is locked: its passphrase, or its token's PIN, which is asked for only when the key needs one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::exit::Failure;
use super::output;
use crate::clock;
use crate::keys::token::{DEFAULT_TIME, Login, Token};
use crate::keys::{Passphrase, PassphraseSource, is_exposed};
use crate::pki::{Certificate, Chain, PrivateKey, PrivateKeyError, TokenUri};
use crate::sign::{KeyMismatch, LocalKey, Signer};

/// How to get at a key that is locked.
#[derive(Debug, Args)]
pub(super) struct KeyAccessArguments {
    /// The variable that holds the passphrase of the key file, or the PIN of the token.
    #[arg(long, value_name = "VARIABLE", group = "passphrase")]
    passphrase_env: Option<String>,
    /// The descriptor that it is read from.
    #[arg(long, value_name = "NUMBER", group = "passphrase")]
    passphrase_fd: Option<u32>,
    /// The file that holds it, on one line.
    #[arg(long, value_name = "FILE", group = "passphrase")]
    passphrase_file: Option<PathBuf>,
    /// How long a token may take for one answer, such as 30s.
    #[arg(long, value_name = "DURATION", value_parser = super::signing::duration)]
    token_timeout: Option<jiff::SignedDuration>,
}

impl KeyAccessArguments {
    pub(super) fn access(&self) -> KeyAccess {
        let variable = self.passphrase_env.clone().map(PassphraseSource::Variable);
        let descriptor = self.passphrase_fd.map(PassphraseSource::Descriptor);
        let file = self.passphrase_file.clone().map(PassphraseSource::File);
        let time = self.token_timeout.and_then(|time| Duration::try_from(time).ok()).unwrap_or(DEFAULT_TIME);
        KeyAccess { passphrase: variable.or(descriptor).or(file), time, warns: true }
    }
}

/// How to get at a key that is locked: without a source of the passphrase, the terminal is asked.
pub(super) struct KeyAccess {
    passphrase: Option<PassphraseSource>,
    time: Duration,
    /// Whether files that others can read are warned about.
    warns: bool,
}

/// As `notation` has it: its words are known to scripts, and it warns of no file.
impl Default for KeyAccess {
    fn default() -> Self {
        Self { passphrase: None, time: DEFAULT_TIME, warns: false }
    }
}

impl KeyAccess {
    /// Without a way to get at one that is locked: for whoever only looks.
    pub(super) fn none() -> Self {
        Self { warns: true, ..Self::default() }
    }

    /// The certificates that the key in a file would sign with. Whether they belong to it is seen as well, unless it is
    /// encrypted.
    pub(super) fn check_files(&self, key_path: &Path, certificate_path: &Path) -> Result<(), Failure> {
        let pem = read(key_path)?;
        self.warn_if_exposed(key_path);
        let certificates = read_certificates(certificate_path)?;
        let checked = match PrivateKey::from_pem(&pem) {
            Err(PrivateKeyError::Encrypted) => {
                Chain::code_signing(certificates).map(|_| ()).map_err(KeyMismatch::Chain)
            }
            key => {
                let key = key.map_err(|error| Failure::of(&error).in_file(key_path))?;
                LocalKey::new(key, certificates).map(|_| ())
            }
        };
        checked.map_err(|error| Failure::of(&error).in_file(certificate_path))
    }

    /// The key in a file, unlocked where it is encrypted.
    pub(super) fn open_files(&self, key_path: &Path, certificate_path: &Path) -> Result<LocalKey, Failure> {
        let pem = read(key_path)?;
        self.warn_if_exposed(key_path);
        let key = match PrivateKey::from_pem(&pem) {
            Err(PrivateKeyError::Encrypted) => {
                let passphrase = self.passphrase(None, &key_path.display().to_string())?;
                PrivateKey::from_encrypted_pem(&pem, passphrase.expose().as_bytes())
            }
            key => key,
        };
        let key = key.map_err(|error| Failure::of(&error).in_file(key_path))?;
        LocalKey::new(key, read_certificates(certificate_path)?)
            .map_err(|error| Failure::of(&error).in_file(certificate_path))
    }

    /// The key on a token.
    pub(super) fn open_token(
        &self,
        uri: &TokenUri,
        certificate_path: Option<&Path>,
    ) -> Result<Box<dyn Signer>, Failure> {
        let certificates = certificate_path.map(read_certificates).transpose()?;
        let token = Token::open(uri, self.time).map_err(|error| Failure::of(&error))?;
        let pin = match token.login() {
            Login::Pin => Some(self.passphrase(uri.pin_source.as_deref(), &format!("the token {}", token.label()))?),
            Login::None | Login::AtDevice => None,
        };
        token.log_in(pin.as_ref()).map_err(|error| Failure::of(&error))?;
        let key = token.into_key(certificates, clock::now()).map_err(|error| Failure::of(&error))?;
        Ok(Box::new(key))
    }

    /// What the arguments say goes before what the key's entry says.
    fn passphrase(&self, of_entry: Option<&Path>, what: &str) -> Result<Passphrase, Failure> {
        let of_entry = of_entry.map(|path| PassphraseSource::File(path.to_owned()));
        let source = self.passphrase.clone().or(of_entry).unwrap_or(PassphraseSource::Terminal);
        if let PassphraseSource::File(path) = &source {
            self.warn_if_exposed(path);
        }
        source.read(what).map_err(|error| Failure::of(&error))
    }

    fn warn_if_exposed(&self, path: &Path) {
        if self.warns && is_exposed(path) {
            let others = format!("others than its owner can read {}; `chmod 600` it", path.display());
            output::warning(&others);
        }
    }
}

pub(super) fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Failure> {
    Certificate::read_all(&read(path)?).map_err(|error| Failure::of(&error).in_file(path))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::unreadable("signing-key-unreadable", message, Some("see the paths in `signingkeys.json`"))
    })
}
