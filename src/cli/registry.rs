//! Arguments about registries, shared by every command that talks to one.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use crate::oci::{Descriptor, Repository};
use crate::source::registry::{Credential, Credentials, Registry, RegistryOptions, Secret};
use crate::source::{Referrers, Source, SourceError};

/// How long a password on stdin may be, in bytes: registries issue tokens of a few kilobytes.
pub(super) const MAX_PASSWORD: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct RegistryArguments {
    /// Speak plain http to this registry (host or host:port; may be given again). Loopback needs no such leave.
    #[arg(long = "insecure-registry", value_name = "HOST")]
    insecure: Vec<String>,
    /// The user name for the registry. Without it, Docker's configuration is asked.
    #[arg(long, short = 'u', requires = "password_stdin")]
    username: Option<String>,
    /// Read the password for the registry from stdin.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// The directory of Docker's `config.json`.
    #[arg(long, value_name = "DIR", env = "DOCKER_CONFIG")]
    docker_config: Option<PathBuf>,
}

impl RegistryArguments {
    /// The registries, with the credentials and the leave that the arguments give. `insecure` are further hosts, from a
    /// configuration file.
    pub(super) fn open(self, mut insecure: Vec<String>) -> Result<Registry, Failure> {
        insecure.extend(self.insecure);
        let given = match self.username {
            Some(username) => Some(Credential::Password { username, password: Secret::new(password_from_stdin()?) }),
            None => None,
        };
        Ok(RegistryAccess { insecure, given, own: None, docker: self.docker_config, lists_by_tag: false }.open())
    }
}

/// What a command knows about registries before it asks one.
pub(super) struct RegistryAccess {
    /// Those that are spoken to by plain http.
    pub(super) insecure: Vec<String>,
    /// A user name and a password. Without them, files are asked.
    pub(super) given: Option<Credential>,
    /// A file in the form of docker's `config.json`, asked before docker's own.
    pub(super) own: Option<PathBuf>,
    /// The directory of docker's `config.json`, where it is not the usual one.
    pub(super) docker: Option<PathBuf>,
    /// Whether what is stored is listed under the fallback tag in any case.
    pub(super) lists_by_tag: bool,
}

impl RegistryAccess {
    pub(super) fn open(self) -> Registry {
        let credentials = if let Some(given) = self.given {
            Credentials::Given(given)
        } else {
            let docker = self.docker.or_else(default_docker_config).map(|directory| directory.join("config.json"));
            Credentials::Files(self.own.into_iter().chain(docker).collect())
        };
        let (insecure, lists_by_tag) = (self.insecure, self.lists_by_tag);
        Registry::new(RegistryOptions { insecure, credentials, lists_by_tag, ..RegistryOptions::default() })
    }
}

/// The directory of docker's own configuration.
pub(super) fn default_docker_config() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".docker"))
}

fn password_from_stdin() -> Result<String, Failure> {
    let mut password = String::new();
    let read = std::io::stdin().take(MAX_PASSWORD).read_to_string(&mut password);
    read.map_err(|error| {
        Failure::usage("password-unreadable", format!("cannot read the password from stdin: {error}"))
    })?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

/// The signatures of an artifact, at most so many. A source that does not know the artifact has none.
pub(super) async fn signatures(
    source: &dyn Source,
    repository: &Repository,
    artifact: &Descriptor,
    limit: usize,
) -> Result<Referrers, SourceError> {
    match source.signatures(repository, artifact, limit).await {
        Err(SourceError::NotFound { .. }) => Ok(Referrers::default()),
        answer => answer,
    }
}
