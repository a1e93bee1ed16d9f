//! Arguments about registries, shared by every command that talks to one.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use crate::oci::{Descriptor, Location, Repository};
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
    /// Which registry the name and the password are for, where the command line names several of them or none. Others are
    /// never told.
    #[arg(long, value_name = "HOST", requires = "username")]
    username_for: Option<String>,
    /// The directory of Docker's `config.json`.
    #[arg(long, value_name = "DIR", env = "DOCKER_CONFIG")]
    docker_config: Option<PathBuf>,
    /// A directory with containerd's configuration of registry hosts, `hosts.toml` (may be given again; the first that knows a
    /// registry counts). Without it `/etc/containerd/certs.d` and `/etc/docker/certs.d`, as with nerdctl; an empty DIR: none.
    #[arg(long = "hosts-dir", value_name = "DIR")]
    hosts_dirs: Vec<String>,
}

/// Where nerdctl looks for the hosts of registries, and containerd unless it is told otherwise.
const HOSTS_DIRS: [&str; 2] = ["/etc/containerd/certs.d", "/etc/docker/certs.d"];

impl RegistryArguments {
    /// The registries, with the credentials and the leave that the arguments give. `insecure` are further hosts, from a
    /// configuration file; `named` are the images that the command line names, and not those that some file does.
    pub(super) fn open(self, mut insecure: Vec<String>, named: &[&str]) -> Result<Registry, Failure> {
        insecure.extend(self.insecure);
        let given = match self.username {
            Some(username) => {
                let registry = match self.username_for {
                    Some(host) => registry_of(&host)?,
                    None => only_registry(named)?,
                };
                Some((registry, Credential::Password { username, password: Secret::new(password_from_stdin()?) }))
            }
            None => None,
        };
        let hosts_dirs = match self.hosts_dirs.as_slice() {
            [] => HOSTS_DIRS.map(PathBuf::from).to_vec(),
            named => named.iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
        };
        let docker = self.docker_config;
        Ok(RegistryAccess { insecure, given, own: None, docker, lists_by_tag: false, hosts_dirs }.open())
    }
}

/// What a command knows about registries before it asks one.
pub(super) struct RegistryAccess {
    /// Those that are spoken to by plain http.
    pub(super) insecure: Vec<String>,
    /// A registry, and what it alone is told. Without it, files are asked.
    pub(super) given: Option<(String, Credential)>,
    /// A file in the form of docker's `config.json`, asked before docker's own.
    pub(super) own: Option<PathBuf>,
    /// The directory of docker's `config.json`, where it is not the usual one.
    pub(super) docker: Option<PathBuf>,
    /// Whether what is stored is listed under the fallback tag in any case.
    pub(super) lists_by_tag: bool,
    /// The directories in which the hosts of registries are looked for.
    pub(super) hosts_dirs: Vec<PathBuf>,
}

impl RegistryAccess {
    pub(super) fn open(self) -> Registry {
        let Self { insecure, given, own, docker, lists_by_tag, hosts_dirs } = self;
        let credentials = if let Some((registry, credential)) = given {
            Credentials::Given { registry, credential }
        } else {
            let docker = docker.or_else(default_docker_config).map(|directory| directory.join("config.json"));
            Credentials::Files(own.into_iter().chain(docker).collect())
        };
        Registry::new(RegistryOptions { insecure, credentials, lists_by_tag, hosts_dirs, ..RegistryOptions::default() })
    }
}

/// The directory of docker's own configuration.
pub(super) fn default_docker_config() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".docker"))
}

/// The registry of this host, as repositories name it.
fn registry_of(host: &str) -> Result<String, Failure> {
    // A word without a dot or a port would be the first part of a repository of Docker Hub.
    let repository = format!("{host}/any").parse().ok();
    let own = repository.as_ref().map(Repository::registry).filter(|own| own.eq_ignore_ascii_case(host));
    if let Some(registry) = own {
        return Ok(registry.to_owned());
    }
    let message = format!("`{host}` is not a registry's host, or host and port");
    let remedy = Some("write it as in the names of its images; Docker Hub is `docker.io`".to_owned());
    Err(Failure { remedy, ..Failure::usage("registry-host-invalid", message) })
}

/// The one registry that the images on the command line lie in.
fn only_registry(named: &[&str]) -> Result<String, Failure> {
    let of = |text: &&str| match text.parse() {
        Ok(Location::Registry(reference)) => Some(reference.repository().registry().to_owned()),
        _ => None,
    };
    let mut registries: Vec<String> = named.iter().filter_map(of).collect();
    registries.dedup();
    match registries.as_slice() {
        [registry] => Ok(registry.clone()),
        registries => {
            let named = if registries.is_empty() { "none".to_owned() } else { registries.join(" and ") };
            let message = format!("a name and a password are for one registry, and the command line names {named}");
            let remedy = "say which with `--username-for HOST`, or log in with `docker login`".to_owned();
            Err(Failure { remedy: Some(remedy), ..Failure::usage("credentials-for-whom", message) })
        }
    }
}

fn password_from_stdin() -> Result<String, Failure> {
    let mut password = String::new();
    let read = std::io::stdin().take(MAX_PASSWORD).read_to_string(&mut password);
    read.map_err(|error| {
        Failure::usage("password-unreadable", format!("cannot read the password from stdin: {error}"))
            .hint("pipe it in as text, as `echo \"$TOKEN\" | pratique …` does")
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
