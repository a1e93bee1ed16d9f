//! Credentials for a registry: given by the caller, or found where `docker login` puts them.
//!
//! Docker's `config.json` either holds them (`auths`) or names a program that does (`credHelpers` for one host,
//! `credsStore` for all). The environment is not read here; whoever makes the registry says which files there are.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::endpoint::{DOCKER_HUB, DOCKER_HUB_HOST};
use super::helper;
use crate::oci::parse_json;
use crate::source::SourceError;
use crate::source::limits::MAX_CREDENTIALS_FILE;

/// The key under which `docker login` keeps the credentials for Docker Hub, a relic of its first API.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Other names under which they are found.
const DOCKER_HUB_NAMES: [&str; 3] = [DOCKER_HUB, "index.docker.io", DOCKER_HUB_HOST];

/// Where the credentials come from.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// There are none: only what everybody may read is read.
    #[default]
    Anonymous,
    /// These, for one registry. Others are asked as by anybody: where an image lies is often for a stranger to say.
    Given {
        /// The registry, as repositories name it.
        registry: String,
        /// What it is told.
        credential: Credential,
    },
    /// The first of these files (docker's `config.json`, or another of its form) that knows the registry. A file that
    /// does not exist is skipped.
    Files(Vec<PathBuf>),
}

/// Something that a registry, or its token service, believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password, or what stands for it.
        password: Secret,
    },
    /// An identity token (a refresh token in OAuth), for a token service only.
    Identity(Secret),
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text from being shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, for sending it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The members of docker's `config.json` that are about credentials.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConfigFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
}

impl Credentials {
    /// The credentials for the repository of this path at a host, where there are any. What a registry is told is not told to
    /// a host that is asked in its place.
    pub async fn find(&self, host: &str, path: &str) -> Result<Option<Credential>, SourceError> {
        let paths = match self {
            Self::Anonymous => return Ok(None),
            Self::Given { registry, credential } => {
                let is_meant = registry.eq_ignore_ascii_case(host);
                return Ok(is_meant.then(|| credential.clone()));
            }
            Self::Files(paths) => paths,
        };
        for file in paths {
            let found = match read(file).await? {
                Some(config) => config.find(file, host, path).await?,
                None => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

pub(super) async fn read(path: &Path) -> Result<Option<ConfigFile>, SourceError> {
    let fault = |fault: String| SourceError::CredentialsUnreadable { path: path.to_owned(), fault };
    let file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error.to_string())),
    };
    let mut bytes = Vec::new();
    let read = file.take(MAX_CREDENTIALS_FILE + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| fault(error.to_string()))?;
    if bytes.len() as u64 > MAX_CREDENTIALS_FILE {
        return Err(fault(format!("it has more than {MAX_CREDENTIALS_FILE} bytes")));
    }
    // The parser's own account may quote what stands there.
    parse_json(&bytes).map(Some).map_err(|_| fault("it is not JSON of the form that `docker login` writes".into()))
}

impl ConfigFile {
    /// Docker's order: the host's own helper, the helper for all, the file itself. A helper that has none does not
    /// hide what stands in the file.
    async fn find(&self, file: &Path, host: &str, path: &str) -> Result<Option<Credential>, SourceError> {
        if let Some(helper) = self.helper(host)
            && let Some(credential) = helper::ask(helper, server(host)).await?
        {
            return Ok(Some(credential));
        }
        self.entry(host, path).map_or(Ok(None), |entry| entry.credential(file))
    }

    /// The helper for a host.
    pub(super) fn helper(&self, host: &str) -> Option<&str> {
        let own = names(host).into_iter().find_map(|name| self.cred_helpers.get(name));
        own.or(self.creds_store.as_ref()).map(String::as_str).filter(|helper| !helper.is_empty())
    }

    /// Whether the file says anything about credentials at all.
    pub(super) fn is_about_credentials(&self) -> bool {
        let has_store = self.creds_store.as_ref().is_some_and(|store| !store.is_empty());
        has_store || !self.cred_helpers.is_empty() || !self.auths.is_empty()
    }

    /// Whether a credential of the host stands in the file itself.
    pub(super) fn has_entry(&self, host: &str) -> bool {
        self.auths.keys().any(|key| names(host).into_iter().any(|name| host_of(key).eq_ignore_ascii_case(name)))
    }

    /// The entry for the repository, or for what it lies in: the most specific one (containers-auth.json), then the
    /// registry's under any of the spellings in use.
    fn entry(&self, host: &str, path: &str) -> Option<&Entry> {
        let full = format!("{host}/{path}");
        let prefixes =
            std::iter::successors(Some(full.as_str()), |name| name.rsplit_once('/').map(|(parent, _)| parent));
        prefixes.flat_map(names).find_map(|name| {
            let is_same = |key: &str| host_of(key).eq_ignore_ascii_case(name);
            self.auths.get(name).or_else(|| self.auths.iter().find(|(key, _)| is_same(key)).map(|(_, entry)| entry))
        })
    }
}

impl Entry {
    fn credential(&self, path: &Path) -> Result<Option<Credential>, SourceError> {
        let is_there = |secret: &&Secret| !secret.is_empty();
        if let Some(token) = self.identitytoken.as_ref().filter(is_there) {
            return Ok(Some(Credential::Identity(token.clone())));
        }
        if let Some(auth) = self.auth.as_ref().filter(is_there) {
            let fault = || "an `auth` in it is not base64 of `name:password`".to_owned();
            let bad = || SourceError::CredentialsUnreadable { path: path.to_owned(), fault: fault() };
            return decode(&auth.0).ok_or_else(bad).map(Some);
        }
        Ok(match (&self.username, &self.password) {
            (Some(username), Some(password)) if !username.is_empty() => {
                Some(Credential::Password { username: username.clone(), password: password.clone() })
            }
            _ => None,
        })
    }
}

fn decode(auth: &str) -> Option<Credential> {
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker pads old entries with zero bytes.
    let password = Secret(password.trim_end_matches('\0').to_owned());
    Some(Credential::Password { username: username.to_owned(), password })
}

/// The names under which a registry, or a prefix of a repository, may stand.
fn names(name: &str) -> Vec<&str> {
    match name {
        DOCKER_HUB => [DOCKER_HUB_KEY].into_iter().chain(DOCKER_HUB_NAMES).collect(),
        name => vec![name],
    }
}

/// What a helper is asked for.
pub(super) fn server(host: &str) -> &str {
    if host == DOCKER_HUB { DOCKER_HUB_KEY } else { host }
}

/// The host of a key that is written as a URL; a key without a scheme as it is.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    rest.map_or(key, |rest| rest.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Repository;

    fn credential(config: &str, repository: &str) -> Option<(String, String)> {
        let file: ConfigFile = parse_json(config.as_bytes()).unwrap();
        let repository: Repository = repository.parse().unwrap();
        let entry = file.entry(repository.registry(), repository.path())?;
        match entry.credential(Path::new("config.json")).unwrap()? {
            Credential::Password { username, password } => Some((username, password.0)),
            Credential::Identity(token) => Some(("<token>".into(), token.0)),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what `credential` gives")]
    fn pair(username: &str, password: &str) -> Option<(String, String)> {
        Some((username.into(), password.into()))
    }

    #[test]
    fn a_login_is_found_under_every_spelling_of_its_host() {
        let auth = STANDARD.encode("ann:one:two");
        for key in ["registry.example", "https://registry.example", "http://registry.example/v2/", "REGISTRY.example"] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}},"HttpHeaders":{{}}}}"#);
            assert_eq!(credential(&config, "registry.example/team/app"), pair("ann", "one:two"), "{key}");
            assert_eq!(credential(&config, "registry.example:5000/team/app"), None, "{key}");
            assert_eq!(credential(&config, "evil.registry.example/team/app"), None, "{key}");
        }
        let hub = format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}}}}}}"#);
        assert_eq!(credential(&hub, "alpine"), pair("ann", "one:two"));
        assert_eq!(credential(&hub, "registry.example/alpine"), None);
    }

    #[test]
    fn the_most_specific_entry_is_taken() {
        let config = r#"{"auths":{
            "registry.example":{"username":"all","password":"1"},
            "registry.example/team":{"username":"team","password":"2"},
            "token.example":{"auth":"","identitytoken":"3"},
            "empty.example":{}}}"#;
        assert_eq!(credential(config, "registry.example/team/app"), pair("team", "2"));
        assert_eq!(credential(config, "registry.example/teams/app"), pair("all", "1"));
        assert_eq!(credential(config, "token.example/app"), pair("<token>", "3"));
        assert_eq!(credential(config, "empty.example/app"), None);
    }

    #[test]
    fn an_auth_that_is_not_a_pair_is_an_error_that_does_not_show_it() {
        let file: ConfigFile = parse_json(br#"{"auths":{"registry.example":{"auth":"c2VjcmV0"}}}"#).unwrap();
        let entry = file.entry("registry.example", "app").unwrap();
        let error = entry.credential(Path::new("/x/config.json")).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("/x/config.json") && !text.contains("c2VjcmV0") && !text.contains("secret"), "{text}");
    }

    #[tokio::test]
    async fn what_was_given_is_for_one_registry() {
        let credential = Credential::Password { username: "ann".into(), password: Secret::new("1".into()) };
        let given = Credentials::Given { registry: "registry.example:5000".into(), credential: credential.clone() };
        let found = async |repository: &str| {
            let repository: Repository = repository.parse().unwrap();
            given.find(repository.registry(), repository.path()).await.unwrap()
        };
        assert_eq!(found("registry.example:5000/team/app").await, Some(credential));
        for other in ["registry.example/team/app", "registry.example:5001/app", "evil.example/registry.example", "app"]
        {
            assert_eq!(found(other).await, None, "{other}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let given = Credential::Password { username: "ann".into(), password: Secret::new("hunter2".into()) };
        let text = format!("{:?}", Credentials::Given { registry: "registry.example".into(), credential: given });
        assert!(text.contains("ann") && !text.contains("hunter2"), "{text}");
    }
}
