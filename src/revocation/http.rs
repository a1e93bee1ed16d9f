//! The servers that certificates name, asked over plain http.
//!
//! Answers are signed, and fetching them over TLS could need the very certificate that is asked about (RFC 5280, section 8),
//! so there is no TLS here. What a server may do is bounded: how long it takes, how much it sends, and where it leads to.
//!
//! The proxy variables of the environment hold for all but hosts that are written as private addresses. Behind a proxy it is the proxy
//! that resolves names, and its operator who says where it may go.

use std::collections::BTreeSet;
use std::env;
use std::error::Error as _;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::address::{Reach, reach_of, reach_of_host};
use super::fault::AskError;
use crate::remedy::{cut, printable};
use crate::verify::Need;

/// The longest request that goes into the address, in characters of base64: what RFC 6960, appendix A.1 says of requests
/// that caches between us and the responder may keep.
const MAX_REQUEST_IN_PATH: usize = 254;

/// How many redirects in a row are followed. A server that moved needs one.
const MAX_REDIRECTS: usize = 3;

/// How many characters of the network's words are passed on.
const MAX_FAULT: usize = 200;

/// The variables that name a proxy for http.
const PROXY_VARIABLES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

pub(super) struct Http {
    ocsp_timeout: Duration,
    crl_timeout: Duration,
    allow_private: bool,
    /// The names of the proxies, which may live anywhere.
    proxies: Arc<BTreeSet<String>>,
    /// For this machine's own and its site's addresses, which no proxy need reach.
    own: OnceLock<Client>,
    others: OnceLock<Client>,
}

impl Http {
    pub(super) fn new(ocsp_timeout: Duration, crl_timeout: Duration, allow_private: bool) -> Self {
        let variables = PROXY_VARIABLES.iter().filter_map(|name| env::var(name).ok());
        let proxies = Arc::new(variables.filter_map(|value| host_of_proxy(&value)).collect());
        let (own, others) = (OnceLock::new(), OnceLock::new());
        Self { ocsp_timeout, crl_timeout, allow_private, proxies, own, others }
    }

    /// The bytes that the server answers with.
    pub(super) async fn ask(&self, need: &Need) -> Result<Vec<u8>, AskError> {
        let limit = match need {
            Need::Ocsp { .. } => self.ocsp_timeout,
            Need::Crl { .. } => self.crl_timeout,
        };
        let asked = tokio::time::timeout(limit, self.follow(need)).await;
        asked.map_err(|_| AskError::TimedOut { limit })?
    }

    async fn follow(&self, need: &Need) -> Result<Vec<u8>, AskError> {
        let (mut url, body) = target(need)?;
        for _ in 0..=MAX_REDIRECTS {
            let request = match &body {
                None => self.client(&url)?.get(url.clone()),
                Some(body) => {
                    let post = self.client(&url)?.post(url.clone());
                    post.header(CONTENT_TYPE, "application/ocsp-request").body(body.clone())
                }
            };
            let response = send(request).await?;
            match redirect(&response)? {
                Some(next) => url = next,
                None => return read(response, need.size_limit()).await,
            }
        }
        Err(AskError::Redirect)
    }

    /// The client that may go to this address.
    fn client(&self, url: &Url) -> Result<&Client, AskError> {
        let host = url.host_str().unwrap_or_default();
        let refused = || AskError::PrivateAddress { host: cut(host, MAX_FAULT) };
        let reach = reach_of_host(url);
        // The names of proxies are resolved without a look at their addresses.
        if reach.is_some_and(|reach| !reach.is_allowed(self.allow_private)) || self.proxies.contains(host) {
            return Err(refused());
        }
        let cell = if reach == Some(Reach::Private) { &self.own } else { &self.others };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let resolver = Guarded { allow_private: self.allow_private, proxies: Arc::clone(&self.proxies) };
        let builder = Client::builder()
            .user_agent(concat!("pratique/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .tls_certs_only([])
            .dns_resolver(Arc::new(resolver));
        let builder = if reach == Some(Reach::Private) { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| unreachable_server(&error))?;
        // Two tasks may get here at once; then one of the two clients is dropped unused.
        Ok(cell.get_or_init(|| client))
    }
}

/// Where a need is sent, and with which body (RFC 6960, appendix A.1).
fn target(need: &Need) -> Result<(Url, Option<Vec<u8>>), AskError> {
    let parse = |url: &str| Url::parse(url).ok().filter(is_plain).ok_or(AskError::Url);
    let Need::Ocsp { url, request } = need else { return Ok((parse(need.url())?, None)) };
    let encoded: String = STANDARD.encode(request).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    if encoded.len() <= MAX_REQUEST_IN_PATH {
        parse(&format!("{}/{encoded}", url.trim_end_matches('/'))).map(|url| (url, None))
    } else {
        Ok((parse(url)?, Some(request.clone())))
    }
}

fn is_plain(url: &Url) -> bool {
    url.scheme() == "http" && url.has_host() && url.username().is_empty() && url.password().is_none()
}

async fn send(request: RequestBuilder) -> Result<Response, AskError> {
    request.send().await.map_err(|error| unreachable_server(&error))
}

/// Where a redirect leads, where the answer is one.
fn redirect(response: &Response) -> Result<Option<Url>, AskError> {
    let Some(location) = response.headers().get(LOCATION).filter(|_| response.status().is_redirection()) else {
        return Ok(None);
    };
    let next = location.to_str().ok().and_then(|location| response.url().join(location).ok());
    next.filter(is_plain).map(Some).ok_or(AskError::Redirect)
}

async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, AskError> {
    if response.status() != StatusCode::OK {
        return Err(AskError::Status { status: response.status().as_u16() });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable_server(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(AskError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost account of a failure, which is the one that tells something.
fn unreachable_server(error: &reqwest::Error) -> AskError {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        if let Some(refused) = source.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(PrivateOnly { host }) = refused.downcast_ref()
        {
            return AskError::PrivateAddress { host: host.clone() };
        }
        innermost = source;
    }
    let outermost = error.source().is_none();
    let fault = if outermost { "the connection failed".to_owned() } else { innermost.to_string() };
    AskError::Unreachable { fault: cut(&printable(&fault), MAX_FAULT) }
}

/// Resolves names to addresses that may be gone to: a name is chosen by whoever wrote the certificate, and what it resolves
/// to by whoever owns it.
struct Guarded {
    allow_private: bool,
    proxies: Arc<BTreeSet<String>>,
}

#[derive(Debug, thiserror::Error)]
#[error("`{host}` has private addresses only")]
struct PrivateOnly {
    host: String,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (allow_private, is_proxy) = (self.allow_private, self.proxies.contains(name.as_str()));
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<_> =
                found.filter(|address| is_proxy || reach_of(address.ip()).is_allowed(allow_private)).collect();
            if addresses.is_empty() {
                let fault = PrivateOnly { host: cut(name.as_str(), MAX_FAULT) };
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, fault).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The host in the value of a proxy variable, which may lack a scheme; none where it is an address, which nobody resolves.
fn host_of_proxy(value: &str) -> Option<String> {
    let url = Url::parse(value).ok().filter(Url::has_host).or_else(|| Url::parse(&format!("http://{value}")).ok());
    url.and_then(|url| url.domain().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy as _;

    fn asked(url: &str, allow_private: bool) -> &'static str {
        let second = Duration::from_secs(1);
        let http = Http::new(second, second, allow_private);
        let need = Need::Crl { url: url.to_owned() };
        let target = target(&need).and_then(|(url, _)| http.client(&url).map(|_| ()));
        target.map_or_else(|error| error.code().as_str(), |()| "asked")
    }

    #[test]
    fn only_plain_http_to_a_public_host_is_spoken_unless_private_ones_are_allowed() {
        for (url, expected, if_allowed) in [
            ("http://crl.example/a.crl", "asked", "asked"),
            ("HTTP://crl.example:8080/a.crl", "asked", "asked"),
            ("http://127.0.0.1/a.crl", "revocation-address-refused", "asked"),
            ("http://localhost/a.crl", "revocation-address-refused", "asked"),
            ("http://10.1.2.3/a.crl", "revocation-address-refused", "asked"),
            ("http://[::ffff:10.1.2.3]/a.crl", "revocation-address-refused", "asked"),
            ("http://169.254.169.254/latest", "revocation-address-refused", "revocation-address-refused"),
            ("http://[fe80::1]/a.crl", "revocation-address-refused", "revocation-address-refused"),
            ("https://crl.example/a.crl", "revocation-url-unsupported", "revocation-url-unsupported"),
            ("http://user@crl.example/a.crl", "revocation-url-unsupported", "revocation-url-unsupported"),
            ("ldap://crl.example/a.crl", "revocation-url-unsupported", "revocation-url-unsupported"),
            ("http://", "revocation-url-unsupported", "revocation-url-unsupported"),
        ] {
            assert_eq!((asked(url, false), asked(url, true)), (expected, if_allowed), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_alone_is_not_gone_to() {
        let resolve = async |allow_private| {
            let proxies = Arc::default();
            Guarded { allow_private, proxies }.resolve("localhost".parse().unwrap()).await.map(Iterator::count)
        };
        let error = resolve(false).await.unwrap_err();
        assert_eq!(error.to_string(), "`localhost` has private addresses only");
        assert!(resolve(true).await.unwrap() > 0);
    }

    #[test]
    fn a_short_request_goes_into_the_path_and_a_long_one_into_the_body() {
        let target = |length| {
            let need = Need::Ocsp { url: "http://ocsp.example/a/".into(), request: vec![0xff; length] };
            target(&need).map(|(url, body)| (url.to_string(), body.is_some())).unwrap()
        };
        assert_eq!(target(4), ("http://ocsp.example/a/%2F%2F%2F%2F%2Fw%3D%3D".into(), false));
        assert_eq!(target(300), ("http://ocsp.example/a/".into(), true));
        assert_eq!(target(0).0, "http://ocsp.example/a/");
    }

    #[test]
    fn the_proxy_is_known_by_its_name_however_its_variable_is_written() {
        for value in
            ["http://proxy.example:3128", "proxy.example:3128", "http://user:word@proxy.example/", "proxy.example"]
        {
            assert_eq!(host_of_proxy(value).as_deref(), Some("proxy.example"), "{value}");
        }
        assert_eq!(host_of_proxy("http://10.0.0.1:3128"), None);
    }
}
