//! Which hosts are asked about the images of a registry: what containerd's `hosts.toml` says, and else the registry itself.
//!
//! The files are read when a registry is first asked, and again when one of them has changed; until then the clients with their
//! connections are used again.

mod fault;
mod find;
mod parse;
mod tally;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderMap;

pub use self::fault::HostsFault;
use self::find::{Found, Seen};
pub(super) use self::parse::{Address, Capability};
use self::parse::{Capabilities, HostEntry};
pub(super) use self::tally::{first, further, lists, united};
use super::RegistryOptions;
use super::clients::{Clients, Tls};
use super::endpoint::Endpoint;
use crate::source::SourceError;
use crate::source::limits::MAX_REMEMBERED;

/// A host that is asked about the images of a registry.
pub(super) struct Host {
    pub endpoint: Endpoint,
    pub clients: Arc<Clients>,
    /// What is sent along with each request to the host itself.
    pub headers: HeaderMap,
    capabilities: Capabilities,
    /// Whether it may not be there at all: a host whose TLS is configured though its URL says http is tried by TLS first, as
    /// containerd does.
    pub is_guess: bool,
}

impl Host {
    /// Whether it may be asked for this.
    fn serves(&self, need: Need) -> bool {
        let has = |capability| self.capabilities.has(capability);
        match need {
            Need::Content => has(Capability::Pull),
            // What is listed is checked like anything else, so whoever has content may list.
            Need::Referrers => has(Capability::Pull) || has(Capability::Referrers),
            Need::Name => has(Capability::Pull) && has(Capability::Resolve),
            // What is sent once cannot be sent to see who is there.
            Need::Change => has(Capability::Push) && !self.is_guess,
        }
    }
}

/// What a host is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Content by its digest.
    Content,
    /// What refers to a manifest.
    Referrers,
    /// What a tag points to.
    Name,
    /// To store something, or to take it away.
    Change,
}

impl Need {
    /// In a message: what no host may be asked to do.
    fn as_str(self) -> &'static str {
        match self {
            Self::Content | Self::Referrers => "pull",
            Self::Name => "resolve",
            Self::Change => "push",
        }
    }
}

/// The hosts of the registries that were asked so far.
#[derive(Default)]
pub(super) struct Hosts(Mutex<HashMap<String, Known>>);

struct Known {
    directory: Option<PathBuf>,
    seen: Option<Seen>,
    hosts: Arc<[Arc<Host>]>,
}

impl Known {
    fn is_current(&self, directory: Option<&PathBuf>) -> bool {
        self.directory.as_ref() == directory && self.seen.as_ref().is_none_or(Seen::is_current)
    }
}

impl Hosts {
    /// The hosts of a registry that serve this need, in the order in which they are asked. At least one; of those that things
    /// are stored at, the first is it.
    pub fn serving(
        &self,
        registry: &str,
        need: Need,
        options: &RegistryOptions,
        usual: &Arc<Clients>,
    ) -> Result<Vec<Arc<Host>>, SourceError> {
        let hosts = self.of(registry, options, usual)?;
        let mut serving: Vec<Arc<Host>> = hosts.iter().filter(|host| host.serves(need)).cloned().collect();
        if need == Need::Change {
            serving.truncate(1);
        }
        if serving.is_empty() {
            let source = HostsFault::NoHost { registry: registry.to_owned(), capability: need.as_str() };
            return Err(SourceError::Hosts { source });
        }
        Ok(serving)
    }

    /// All hosts of a registry. A few looks at files on the disk, which tell whether they must be read.
    fn of(
        &self,
        registry: &str,
        options: &RegistryOptions,
        usual: &Arc<Clients>,
    ) -> Result<Arc<[Arc<Host>]>, SourceError> {
        let fault = |source: HostsFault| SourceError::Hosts { source };
        let directory = find::directory(&options.hosts_dirs, registry).map_err(fault)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(registry).filter(|known| known.is_current(directory.as_ref())) {
            return Ok(Arc::clone(&known.hosts));
        }
        let (entries, seen) = match &directory {
            None => (vec![(HostEntry::default(), Tls::default())], None),
            Some(directory) => {
                let Found { hosts, seen } = find::read(directory).map_err(fault)?;
                (hosts, Some(seen))
            }
        };
        let mut hosts = Vec::new();
        for (entry, tls) in entries {
            hosts.extend(hosts_of(registry, &entry, tls, options, usual)?);
        }
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        let hosts: Arc<[Arc<Host>]> = hosts.into();
        known.insert(registry.to_owned(), Known { directory, seen, hosts: Arc::clone(&hosts) });
        Ok(hosts)
    }
}

/// The host of an entry; before it, where there is a doubt, the same by TLS.
fn hosts_of(
    registry: &str,
    entry: &HostEntry,
    tls: Tls,
    options: &RegistryOptions,
    usual: &Arc<Clients>,
) -> Result<Vec<Arc<Host>>, SourceError> {
    let endpoint = match &entry.address {
        Some(address) => Endpoint::at(registry, address),
        None => Endpoint::of(registry, &options.insecure)?,
    };
    let has_tls = !tls.authorities.is_empty() || tls.identity.is_some() || entry.skip_verify.is_some();
    let guess = endpoint.by_tls().filter(|_| has_tls);
    let clients = if has_tls || entry.dial_timeout.is_some() {
        Arc::new(Clients::new(entry.dial_timeout.unwrap_or(options.connect_timeout), tls))
    } else {
        Arc::clone(usual)
    };
    let host = |endpoint: Endpoint, is_guess: bool| {
        let (headers, capabilities) = (entry.headers.clone(), entry.capabilities.clone());
        Arc::new(Host { endpoint, clients: Arc::clone(&clients), headers, capabilities, is_guess })
    };
    Ok(guess.map(|guess| host(guess, true)).into_iter().chain([host(endpoint, false)]).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::remedy::{Code, Remedy as _};

    fn asked(known: &Hosts, root: &Path, registry: &str, need: Need) -> Result<Vec<String>, Code> {
        let options = RegistryOptions { hosts_dirs: vec![root.into()], ..RegistryOptions::default() };
        let usual = Arc::new(Clients::new(Duration::from_secs(1), Tls::default()));
        let hosts = known.serving(registry, need, &options, &usual).map_err(|error| error.code())?;
        Ok(hosts.iter().map(|host| host.endpoint.root().to_string()).collect())
    }

    fn of(text: &str, registry: &str, need: Need) -> Result<Vec<String>, Code> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("_default")).unwrap();
        fs::write(root.path().join("_default/hosts.toml"), text).unwrap();
        asked(&Hosts::default(), root.path(), registry, need)
    }

    type Expected = Result<&'static [&'static str], Code>;

    #[test]
    fn hosts_are_asked_for_what_they_may_do_in_the_files_order() {
        const THREE: &str = "server = \"o.example\"\n[host.\"a.example\"]\ncapabilities = [\"pull\"]\n\
                             [host.\"b.example\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
                             [host.\"c.example\"]\ncapabilities = [\"push\", \"referrers\"]\n";
        const FOR_CONTENT: &str = "server = \"o.example\"\ncapabilities = [\"pull\"]";
        #[rustfmt::skip]
        let cases: &[(&str, Need, Expected)] = &[
            ("", Need::Content, Ok(&["https://r.example/v2/"])),
            ("", Need::Change, Ok(&["https://r.example/v2/"])),
            (THREE, Need::Content, Ok(&["https://a.example/v2/", "https://b.example/v2/", "https://o.example/v2/"])),
            (THREE, Need::Name, Ok(&["https://b.example/v2/", "https://o.example/v2/"])),
            (THREE, Need::Change, Ok(&["https://c.example/v2/"])),
            (THREE, Need::Referrers, Ok(&["https://a.example/v2/", "https://b.example/v2/", "https://c.example/v2/",
                "https://o.example/v2/"])),
            (FOR_CONTENT, Need::Content, Ok(&["https://o.example/v2/"])),
            (FOR_CONTENT, Need::Name, Err(Code("hosts-not-capable"))),
            (FOR_CONTENT, Need::Change, Err(Code("hosts-not-capable"))),
            ("server = 1", Need::Content, Err(Code("hosts-invalid"))),
            // What containerd tries by https first.
            ("server = \"http://o.example:5000\"\nskip_verify = true", Need::Content,
                Ok(&["https://o.example:5000/v2/", "http://o.example:5000/v2/"])),
            ("server = \"http://o.example:5000\"\nskip_verify = true", Need::Change, Ok(&["http://o.example:5000/v2/"])),
            ("server = \"http://o.example\"\nskip_verify = true", Need::Content, Ok(&["http://o.example/v2/"])),
            ("server = \"http://o.example:5000\"", Need::Content, Ok(&["http://o.example:5000/v2/"])),
        ];
        for (text, need, expected) in cases {
            let expected = expected.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect());
            assert_eq!(of(text, "r.example", *need), expected, "{need:?} by {text}");
        }
    }

    #[test]
    fn a_file_is_read_again_when_it_has_changed_and_not_before() {
        let (root, known) = (tempfile::tempdir().unwrap(), Hosts::default());
        let ask = || asked(&known, root.path(), "r.example", Need::Content);
        let kept = || Arc::as_ptr(&known.0.lock().unwrap().get("r.example").unwrap().hosts);
        assert_eq!(ask(), Ok(vec!["https://r.example/v2/".into()]));
        fs::create_dir(root.path().join("r.example")).unwrap();
        let file = root.path().join("r.example/hosts.toml");
        fs::write(&file, "server = \"one.example\"").unwrap();
        assert_eq!(ask(), Ok(vec!["https://one.example/v2/".into()]));
        let before = kept();
        assert_eq!((ask().is_ok(), kept()), (true, before));
        fs::write(&file, "server = \"three.example\"").unwrap();
        assert_eq!(ask(), Ok(vec!["https://three.example/v2/".into()]));
        fs::write(&file, "server = ").unwrap();
        assert_eq!(ask(), Err(Code("hosts-invalid")));
        fs::remove_dir_all(root.path().join("r.example")).unwrap();
        assert_eq!(ask(), Ok(vec!["https://r.example/v2/".into()]));
    }
}
