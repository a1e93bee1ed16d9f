//! Logging in to a registry and out of it: whether a registry believes a credential, who keeps it, and taking it back.
//!
//! Credentials are kept by a helper alone, never in plain text. Which helper that is says the first of the files that says
//! anything about credentials, as it does when they are looked for; where none does, it is the one of this platform.

use std::path::{Path, PathBuf};

use reqwest::{Method, StatusCode};
use tokio::time::timeout;

use super::Registry;
use super::auth::Access;
use super::credentials::{self, ConfigFile, Credential};
use super::endpoint::Endpoint;
use super::helper::{self, HelperFault};
use super::transport::{Ask, Call};
use crate::oci::Repository;
use crate::remedy::{Code, Remedy};
use crate::source::SourceError;
use crate::source::limits::{HOST_TIMEOUT, MAX_ERROR_BODY};

/// Where credentials of registries are kept: files in the form of docker's `config.json`.
#[derive(Clone, Debug)]
pub struct Keepers(Vec<PathBuf>);

/// Why a credential was not kept, or not taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] SourceError),
    /// No helper is configured, and nothing is kept in plain text.
    #[error("no credential helper is set up, and passwords are not kept in plain text")]
    NoHelper,
    /// The helper did not do it.
    #[error("`{helper} {action}` failed: {fault}")]
    Helper {
        /// The name of the program.
        helper: String,
        /// What it was to do.
        action: &'static str,
        /// What went wrong. Never what the program wrote, which may hold secrets.
        fault: HelperFault,
    },
    /// It stands in a file, where another tool put it.
    #[error("the credential stands in plain text in {}", path.display())]
    PlainText {
        /// The file.
        path: PathBuf,
    },
}

impl Remedy for KeepError {
    fn code(&self) -> Code {
        match self {
            Self::File(error) => error.code(),
            Self::NoHelper => Code("credentials-no-helper"),
            Self::Helper { .. } => Code("credentials-helper-failed"),
            Self::PlainText { .. } => Code("credentials-in-plain-text"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::File(error) => error.remedy(),
            Self::NoHelper => {
                Some("install a docker credential helper, and name it as `credsStore` in config.json".into())
            }
            Self::Helper { helper, .. } => Some(format!("see whether {helper} runs for this user")),
            Self::PlainText { path } => Some(format!("remove the registry's entry from `auths` in {}", path.display())),
        }
    }
}

/// Who keeps the credentials of one registry.
enum Keeper {
    Helper(String),
    /// Nobody but this file, if there is one.
    File(Option<PathBuf>),
}

impl Keepers {
    /// These files, in the order in which they are asked.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self(files)
    }

    /// Keeps the credential of this registry.
    pub async fn keep(&self, registry: &str, credential: &Credential) -> Result<(), KeepError> {
        let Keeper::Helper(name) = self.keeper(registry).await? else { return Err(KeepError::NoHelper) };
        let stored = timeout(HOST_TIMEOUT, helper::store(&name, credentials::server(registry), credential)).await;
        done(&name, "store", stored.unwrap_or(Err(HelperFault::Late)))
    }

    /// Has the credential of this registry forgotten. One that nobody has is forgotten.
    pub async fn erase(&self, registry: &str) -> Result<(), KeepError> {
        match self.keeper(registry).await? {
            Keeper::Helper(name) => {
                let erased = timeout(HOST_TIMEOUT, helper::erase(&name, credentials::server(registry))).await;
                done(&name, "erase", erased.unwrap_or(Err(HelperFault::Late)))
            }
            Keeper::File(Some(path)) if has_entry(&path, registry).await? => Err(KeepError::PlainText { path }),
            Keeper::File(_) => Ok(()),
        }
    }

    async fn keeper(&self, registry: &str) -> Result<Keeper, SourceError> {
        for path in &self.0 {
            let Some(file) = credentials::read(path).await?.filter(ConfigFile::is_about_credentials) else { continue };
            return Ok(match file.helper(registry) {
                Some(helper) => Keeper::Helper(helper.to_owned()),
                None => Keeper::File(Some(path.clone())),
            });
        }
        Ok(helper::of_platform().map_or(Keeper::File(None), |helper| Keeper::Helper(helper.to_owned())))
    }
}

fn done(name: &str, action: &'static str, result: Result<(), HelperFault>) -> Result<(), KeepError> {
    result.map_err(|fault| KeepError::Helper { helper: helper::program(name), action, fault })
}

async fn has_entry(path: &Path, registry: &str) -> Result<bool, SourceError> {
    Ok(credentials::read(path).await?.is_some_and(|file| file.has_entry(registry)))
}

impl Registry {
    /// Whether the registry of this name believes the credentials that this one was made with (distribution specification,
    /// "Determining Support": `/v2/` answers whoever may come in).
    pub async fn check_login(&self, registry: &str) -> Result<(), SourceError> {
        let repository = stand_in(registry)?;
        let call = Call::at_origin(self, &repository, Access::Pull)?;
        let ask = Ask::new(Method::GET, call.host.endpoint.root(), MAX_ERROR_BODY);
        let answer = call.in_time(call.ask(&ask)).await?;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.unexpected("/v2/")) }
    }

    /// The address at which the registry of this name is asked.
    pub fn address(&self, registry: &str) -> Result<String, SourceError> {
        let endpoint = Endpoint::of(stand_in(registry)?.registry(), &self.options.insecure)?;
        Ok(endpoint.root().to_string())
    }
}

/// A question goes to a repository; to the registry as such, to one that need not be there.
fn stand_in(registry: &str) -> Result<Repository, SourceError> {
    let fault = || SourceError::Malformed { host: registry.to_owned(), fault: "its name is no host name".into() };
    format!("{registry}/login").parse().ok().filter(|_| !registry.contains('/')).ok_or_else(fault)
}
