//! Where a registry is, and which other addresses it may send us to.
//!
//! A registry names further addresses in redirects, in the realm of a challenge, in `Location` and in `Link`. Whoever
//! controls it could otherwise make this machine talk to its own services or to its cloud's metadata service, or make
//! it say a password over plain http. So every such address passes through [`Endpoint::route_to`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use super::hosts::Address;
use crate::address::embedded_ipv4;
use crate::oci::Repository;
use crate::source::{SourceError, TargetFault};

/// Docker Hub's name in references, and the host that serves its registry API.
pub(super) const DOCKER_HUB: &str = "docker.io";
pub(super) const DOCKER_HUB_HOST: &str = "registry-1.docker.io";
/// The parameter in which a host is told for which registry it is asked.
const NAMESPACE: &str = "ns";

/// The path of the API (distribution specification, "API").
const API: &str = "/v2";

/// The address of one registry, or of a host that is asked in its place.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Host and port, for the registry itself as the reference has them; what messages and credentials call it.
    pub name: String,
    base: Url,
    /// What stands before the repository in a path.
    api: String,
    /// The registry in whose place the host is asked, where it is another.
    namespace: Option<String>,
    locality: Locality,
}

/// Which of the HTTP clients reaches an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// This machine itself: never through a proxy.
    Loopback,
    /// The registry that was asked for, by whatever addresses its name has.
    Asked,
    /// A host that the registry named: never by an address of this machine or its link.
    Named,
}

/// Whose an address is. The later ones are gone to less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Locality {
    Elsewhere,
    /// This machine's own.
    Loopback,
    /// Link-local (where clouds put their metadata service), unspecified, multicast or broadcast.
    Link,
}

impl Endpoint {
    /// The endpoint of a registry itself. Plain http is spoken with this machine itself (but not on port 443) and with the
    /// hosts of `insecure`, compared without case.
    pub fn of(name: &str, insecure: &[String]) -> Result<Self, SourceError> {
        let host = if name == DOCKER_HUB { DOCKER_HUB_HOST } else { name };
        let unusable = || SourceError::Malformed { host: name.to_owned(), fault: "its name is no host name".into() };
        let secure = Url::parse(&format!("https://{host}/")).map_err(|_| unusable())?;
        let locality = locality(&secure);
        let plain = is_listed(insecure, name) || is_plain(locality, host);
        let base = if plain { Url::parse(&format!("http://{host}/")).map_err(|_| unusable())? } else { secure };
        Ok(Self { name: name.to_owned(), base, api: API.to_owned(), namespace: None, locality })
    }

    /// The endpoint of a host that is asked about the images of a registry.
    pub fn at(registry: &str, address: &Address) -> Self {
        let Address { base, path } = address.clone();
        let is_own = is_host_of(registry, &base);
        let name = if is_own { registry.to_owned() } else { host_and_port(&base) };
        let namespace = (!is_own).then(|| registry.to_owned());
        Self { name, locality: locality(&base), base, api: path, namespace }
    }

    /// The same host by https, where its port leaves open which of both it speaks.
    pub fn by_tls(&self) -> Option<Self> {
        let mut base = self.base.clone();
        let is_open = base.scheme() == "http" && base.port().is_some();
        is_open.then(|| base.set_scheme("https").ok())??;
        Some(Self { base, ..self.clone() })
    }

    /// The URL of a path under the API of the repository, such as `manifests/latest`. A host that is asked in the place of a
    /// registry is told of which, as containerd does.
    pub fn url(&self, repository: &Repository, rest: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{}/{rest}", self.api, repository.path()));
        self.with_namespace(url)
    }

    /// The address with the registry that is meant, where it does not name it by itself.
    pub fn with_namespace(&self, mut url: Url) -> Url {
        if let Some(namespace) = &self.namespace
            && !url.query_pairs().any(|(name, _)| name == NAMESPACE)
        {
            url.query_pairs_mut().append_pair(NAMESPACE, namespace);
        }
        url
    }

    /// The URL of the API itself, `/v2/`.
    pub fn root(&self) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/", self.api));
        url
    }

    /// Scheme, host and port, and the registry that it stands for: what is learned of one host is not known of another.
    pub fn key(&self) -> String {
        format!("{} for {}", self.base, self.namespace.as_deref().unwrap_or(&self.name))
    }

    /// Whether this is the registry itself: the same scheme, host and port.
    pub fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// How an address that the registry names is reached from `from`, if it may be.
    pub fn route_to(&self, from: &Url, to: &Url, insecure: &[String]) -> Result<Route, TargetFault> {
        let has_user = !to.username().is_empty() || to.password().is_some();
        if has_user || !to.has_host() {
            return Err(TargetFault::Unusable);
        }
        if self.owns(to) && self.owns(from) {
            return Ok(self.route());
        }
        let target = locality(to);
        match to.scheme() {
            "http" if from.scheme() != "http" => return Err(TargetFault::Downgrade),
            "http" if target != Locality::Loopback && !is_listed(insecure, &host_and_port(to)) => {
                return Err(TargetFault::PlainHttp);
            }
            "http" | "https" => {}
            _ => return Err(TargetFault::Unusable),
        }
        match (self.locality, target) {
            (Locality::Loopback, Locality::Loopback) => Ok(Route::Loopback),
            // A registry on this machine may name hosts that resolve to this machine.
            (Locality::Loopback, Locality::Elsewhere) => Ok(Route::Asked),
            (_, Locality::Elsewhere) => Ok(Route::Named),
            (_, Locality::Loopback | Locality::Link) => Err(TargetFault::Local),
        }
    }

    /// How the registry itself is reached.
    pub fn route(&self) -> Route {
        if self.locality == Locality::Loopback { Route::Loopback } else { Route::Asked }
    }

    /// The error for an address that is not gone to. Names no path and no query, which may hold tokens.
    pub fn refuse(&self, to: &Url, reason: TargetFault) -> SourceError {
        let target = crate::remedy::printable(&format!("{}://{}", to.scheme(), host_and_port(to)));
        SourceError::TargetRefused { host: self.name.clone(), target, reason }
    }

    /// Whether plain http is spoken with the registry.
    #[cfg(test)]
    fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }
}

/// Whether a host is the registry itself, and not one in its place.
fn is_host_of(registry: &str, base: &Url) -> bool {
    let is_at = |host: &str| {
        let own = Url::parse(&format!("{}://{host}/", base.scheme()));
        own.is_ok_and(|own| own.origin() == base.origin())
    };
    is_at(registry) || (registry == DOCKER_HUB && is_at(DOCKER_HUB_HOST))
}

/// Host and, where it is not the scheme's own, port.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether a name resolves, for a host that a registry named, to an address that is gone to.
pub(super) fn is_elsewhere(address: IpAddr) -> bool {
    locality_of(address) == Locality::Elsewhere
}

/// Whether plain http is spoken with this host (and port) though nobody has listed it.
pub(in crate::source) fn is_plain_unlisted(host: &str) -> bool {
    Url::parse(&format!("https://{host}/")).is_ok_and(|url| is_plain(locality(&url), host))
}

/// The URL parser drops 443, the default port of https, so it is looked for in the text.
fn is_plain(locality: Locality, host: &str) -> bool {
    locality == Locality::Loopback && !host.ends_with(":443")
}

/// Whether the name stands for this machine by definition (RFC 6761, section 6.3).
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_listed(insecure: &[String], host: &str) -> bool {
    insecure.iter().any(|listed| listed.eq_ignore_ascii_case(host))
}

/// The locality of the host as it is written: the URL parser has brought every spelling of an address to its usual one.
fn locality(url: &Url) -> Locality {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    match literal.parse::<IpAddr>() {
        Ok(address) => locality_of(address),
        Err(_) if is_localhost(host) => Locality::Loopback,
        Err(_) => Locality::Elsewhere,
    }
}

fn locality_of(address: IpAddr) -> Locality {
    match address {
        IpAddr::V4(v4) => locality_of_v4(v4),
        IpAddr::V6(v6) => embedded_ipv4(v6).into_iter().map(locality_of_v4).max().unwrap_or_else(|| locality_of_v6(v6)),
    }
}

fn locality_of_v4(address: Ipv4Addr) -> Locality {
    let is_link = address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        // "This network" (RFC 1122); Linux takes 0.0.0.0 for itself.
        || address.octets().first() == Some(&0);
    match address {
        _ if address.is_loopback() => Locality::Loopback,
        _ if is_link => Locality::Link,
        _ => Locality::Elsewhere,
    }
}

fn locality_of_v6(address: Ipv6Addr) -> Locality {
    // Amazon's metadata service over IPv6 has a fixed unique local address.
    const CLOUD_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let is_link = address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified();
    match address {
        _ if address.is_loopback() => Locality::Loopback,
        _ if is_link || address == CLOUD_METADATA => Locality::Link,
        _ => Locality::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, insecure: &[String]) -> Endpoint {
        Endpoint::of(name, insecure).unwrap()
    }

    fn route(from: &str, to: &str) -> Result<Route, TargetFault> {
        let insecure = ["plain.example".to_owned(), "store.example:9000".to_owned()];
        let endpoint = endpoint(from, &insecure);
        endpoint.route_to(&endpoint.base, &Url::parse(to).unwrap(), &insecure)
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_the_hosts_listed() {
        let insecure = ["Plain.example:5000".to_owned()];
        for (name, plain) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("localhost:443", false),
            ("127.0.0.1:5000", true),
            ("127.8.8.8:80", true),
            ("127.0.0.1:443", false),
            ("[::1]:5000", true),
            ("[::1]:443", false),
            ("plain.example:5000", true),
            ("PLAIN.example:5000", true),
            ("plain.example", false),
            ("plain.example:5001", false),
            ("registry.example", false),
            ("localhost.example", false),
            ("10.0.0.1:5000", false),
            ("docker.io", false),
        ] {
            assert_eq!(endpoint(name, &insecure).is_plain(), plain, "{name}");
        }
    }

    #[test]
    fn of_hosts_that_nobody_lists_only_this_machine_is_spoken_to_by_plain_http() {
        for (host, plain) in
            [("localhost:5000", true), ("127.0.0.1:5000", true), ("localhost:443", false), ("registry.example", false)]
        {
            assert_eq!(is_plain_unlisted(host), plain, "{host}");
        }
    }

    #[test]
    fn docker_hub_is_served_by_another_host_than_it_is_called() {
        let hub = endpoint("docker.io", &[]);
        let url = hub.url(&"alpine".parse().unwrap(), "manifests/latest");
        assert_eq!(url.as_str(), "https://registry-1.docker.io/v2/library/alpine/manifests/latest");
        assert_eq!(hub.name, "docker.io");
    }

    #[test]
    fn a_host_in_the_place_of_a_registry_is_told_which_one() {
        let url = |registry: &str, base: &str, path: &str| {
            let address = Address { base: Url::parse(base).unwrap(), path: path.into() };
            let endpoint = Endpoint::at(registry, &address);
            (
                endpoint.name.clone(),
                endpoint.url(&"registry.example/r/team/app".parse().unwrap(), "blobs/x").to_string(),
            )
        };
        #[rustfmt::skip]
        let cases = [
            ("r.example:5000", "https://m.example", "/v2", "m.example",
                "https://m.example/v2/r/team/app/blobs/x?ns=r.example%3A5000"),
            ("r.example", "http://127.0.0.1:30020", "/v2/up", "127.0.0.1:30020",
                "http://127.0.0.1:30020/v2/up/r/team/app/blobs/x?ns=r.example"),
            ("docker.io", "https://m.example", "", "m.example", "https://m.example/r/team/app/blobs/x?ns=docker.io"),
            ("docker.io", "https://registry-1.docker.io", "/v2", "docker.io",
                "https://registry-1.docker.io/v2/r/team/app/blobs/x"),
            ("r.example", "https://r.example", "/v2", "r.example", "https://r.example/v2/r/team/app/blobs/x"),
            ("r.example:443", "https://r.example", "/v2", "r.example:443", "https://r.example/v2/r/team/app/blobs/x"),
            ("r.example", "http://r.example", "/v2", "r.example", "http://r.example/v2/r/team/app/blobs/x"),
            ("r.example", "https://r.example:5000", "/v2", "r.example:5000",
                "https://r.example:5000/v2/r/team/app/blobs/x?ns=r.example"),
        ];
        for (registry, base, path, name, expected) in cases {
            assert_eq!(url(registry, base, path), (name.to_owned(), expected.to_owned()), "{registry} at {base}");
        }
    }

    #[test]
    fn a_registry_may_point_to_other_hosts_by_https() {
        assert_eq!(route("registry.example", "https://registry.example/x"), Ok(Route::Asked));
        assert_eq!(route("registry.example", "https://cdn.example/x"), Ok(Route::Named));
        for private in ["https://10.1.2.3/x", "https://[64:ff9b::a01:203]/x", "https://[64:ff9b:1::808:808]/x"] {
            assert_eq!(route("registry.example", private), Ok(Route::Named), "{private}");
        }
    }

    #[test]
    fn https_is_never_left_for_http() {
        assert_eq!(route("registry.example", "http://registry.example/x"), Err(TargetFault::Downgrade));
        assert_eq!(route("registry.example", "http://plain.example/x"), Err(TargetFault::Downgrade));
        assert_eq!(route("plain.example", "http://store.example:9000/x"), Ok(Route::Named));
        assert_eq!(route("plain.example", "http://store.example:9001/x"), Err(TargetFault::PlainHttp));
        assert_eq!(route("plain.example", "https://store.example:9001/x"), Ok(Route::Named));
    }

    #[test]
    fn only_a_registry_on_this_machine_may_point_to_this_machine() {
        for own in ["https://127.0.0.1/x", "https://localhost:8443/x", "https://a.localhost/x", "https://[::1]/x"] {
            assert_eq!(route("registry.example", own), Err(TargetFault::Local), "{own}");
            assert_eq!(route("127.0.0.1:5000", own), Ok(Route::Loopback), "{own}");
        }
        for spelling in [
            "https://0x7f.1/x",
            "https://2130706433/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://[64:ff9b::7f00:1]/x",
            "https://[2002:7f00:1::]/x",
        ] {
            assert_eq!(route("registry.example", spelling), Err(TargetFault::Local), "{spelling}");
        }
        for link in [
            "https://169.254.169.254/latest/meta-data",
            "https://[fe80::1]/x",
            "https://[fd00:ec2::254]/x",
            "https://[64:ff9b::a9fe:a9fe]/x",
            "https://[64:ff9b:1::a9fe:a9fe]/x",
            "https://[2002:a9fe:a9fe::]/x",
            "https://0.0.0.0/x",
            "https://[::]/x",
        ] {
            assert_eq!(route("registry.example", link), Err(TargetFault::Local), "{link}");
            assert_eq!(route("127.0.0.1:5000", link), Err(TargetFault::Local), "{link}");
        }
    }

    #[test]
    fn an_address_with_a_user_or_another_scheme_is_refused() {
        assert_eq!(route("registry.example", "https://user@cdn.example/x"), Err(TargetFault::Unusable));
        assert_eq!(route("registry.example", "ftp://cdn.example/x"), Err(TargetFault::Unusable));
        assert_eq!(route("registry.example", "file:///etc/passwd"), Err(TargetFault::Unusable));
    }

    #[test]
    fn a_refusal_names_no_path_and_no_query() {
        let to = Url::parse("http://cdn.example:99/blob?token=secret").unwrap();
        let error = endpoint("registry.example", &[]).refuse(&to, TargetFault::Downgrade);
        assert_eq!(
            error.to_string(),
            "the registry registry.example points to http://cdn.example:99: that would leave https"
        );
    }
}
