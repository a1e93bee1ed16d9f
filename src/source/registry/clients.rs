//! The HTTP clients: one for each way to reach an address, made when first needed.
//!
//! Reading the machine's CA certificates takes longer than a whole verification over loopback, so a client that only
//! ever speaks plain http has none, and a client for https is made only when there is an https address to go to.
//!
//! The proxy variables of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) hold for all but
//! loopback addresses, which no proxy could reach.
//!
//! A host that `hosts.toml` says something about has clients of its own. Its authorities count for whatever it points to, which
//! often is another server of the same house; that its certificate is not looked at, and the client certificate, are for the
//! host alone.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};

use super::answer::fault_of;
use super::endpoint::{Route, is_elsewhere, is_localhost};
use crate::source::SourceError;

/// How a host proves itself, and we to it.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// Authorities that are believed beside the machine's own.
    pub authorities: Vec<Certificate>,
    /// The client certificate with its key.
    pub identity: Option<Identity>,
    /// Whether the host's certificate is not looked at.
    pub is_unverified: bool,
}

/// Clients, by route and by whether they speak TLS.
pub(super) struct Clients {
    connect_timeout: Duration,
    tls: Tls,
    /// For the host itself, where there is something that is for it alone.
    own: Pair,
    loopback: Pair,
    asked: Pair,
    named: Pair,
}

#[derive(Default)]
struct Pair {
    plain: OnceLock<Client>,
    tls: OnceLock<Client>,
}

impl Clients {
    pub fn new(connect_timeout: Duration, tls: Tls) -> Self {
        let (own, loopback, asked, named) = (Pair::default(), Pair::default(), Pair::default(), Pair::default());
        Self { connect_timeout, tls, own, loopback, asked, named }
    }

    /// The client for a route, and whether it leads to the host itself. Its connections are kept and used again.
    pub fn client(&self, route: Route, tls: bool, is_own: bool) -> Result<&Client, SourceError> {
        let is_own = is_own && (self.tls.identity.is_some() || self.tls.is_unverified);
        let pair = match route {
            _ if is_own => &self.own,
            Route::Loopback => &self.loopback,
            Route::Asked => &self.asked,
            Route::Named => &self.named,
        };
        let cell = if tls { &pair.tls } else { &pair.plain };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // Two tasks may get here at once; then one of the two clients is dropped unused.
        let made = self.make(route, tls, is_own).map_err(|error| SourceError::Client { source: fault_of(&error) })?;
        Ok(cell.get_or_init(|| made))
    }

    fn make(&self, route: Route, tls: bool, is_own: bool) -> reqwest::Result<Client> {
        // Redirects are followed by `transport`, which looks at where they lead.
        let mut builder = Client::builder()
            .user_agent(concat!("pratique/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .redirect(Policy::none())
            .referer(false);
        if !tls {
            builder = builder.tls_certs_only([]);
        } else if !self.tls.authorities.is_empty() {
            builder = builder.tls_certs_merge(self.tls.authorities.iter().cloned());
        }
        if tls && is_own {
            builder = builder.tls_danger_accept_invalid_certs(self.tls.is_unverified);
            if let Some(identity) = self.tls.identity.clone() {
                builder = builder.identity(identity);
            }
        }
        match route {
            Route::Loopback => builder.no_proxy(),
            Route::Asked => builder,
            Route::Named => builder.dns_resolver(Arc::new(ElsewhereResolver)),
        }
        .build()
    }
}

/// Resolves names to addresses of other machines only: a name is chosen by whoever names it, and so is what it
/// resolves to.
struct ElsewhereResolver;

impl Resolve for ElsewhereResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            // Only the proxy of this machine still has such a name: as a target it has been refused before.
            let own_proxy = is_localhost(name.as_str());
            let addresses: Vec<_> = found.filter(|address| own_proxy || is_elsewhere(address.ip())).collect();
            if addresses.is_empty() {
                let fault = "the name resolves to this machine's own or its cloud's addresses only";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, fault).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_made_once_for_each_way() {
        let clients = Clients::new(Duration::from_secs(1), Tls::default());
        assert!(clients.loopback.plain.get().is_none());
        let _ = clients.client(Route::Loopback, false, true).unwrap();
        assert!(clients.loopback.plain.get().is_some());
        assert!(clients.loopback.tls.get().is_none() && clients.asked.plain.get().is_none());
    }
}
