//! Arguments about revocation, shared by every command that verifies.

use std::env;
use std::path::PathBuf;

use clap::Args;

use crate::config::RevocationConfig;
use crate::revocation::{RevocationOptions, Servers};

#[derive(Debug, Args)]
pub(super) struct RevocationArguments {
    /// A directory with CRLs that are asked before anybody else.
    #[arg(long, value_name = "DIR")]
    crl_dir: Option<PathBuf>,
    /// Ask OCSP responders and CRL servers at loopback and private addresses, too.
    #[arg(long)]
    allow_private_responders: bool,
}

impl RevocationArguments {
    /// The servers that certificates name. Lists are kept where notation keeps them.
    pub(super) fn open(self) -> Servers {
        // No other times than the daemon's.
        let RevocationConfig { timeout, ocsp_timeout, crl_timeout, .. } = RevocationConfig::default();
        Servers::new(RevocationOptions {
            timeout,
            ocsp_timeout,
            crl_timeout,
            allow_private: self.allow_private_responders,
            crl_dir: self.crl_dir,
            cache_dir: crl_cache(),
        })
    }
}

/// The servers as the Notary Project's own command asks them: also at private addresses, where a site's own authority
/// often has them. Only a chain that ends at a trust anchor of the user's leads there.
pub(super) fn as_notation_asks() -> Servers {
    RevocationArguments { crl_dir: None, allow_private_responders: true }.open()
}

/// The directory in which fetched lists are kept.
pub(super) fn crl_cache() -> Option<PathBuf> {
    cache_dir().map(|directory| directory.join("crl"))
}

/// Notation's cache: where its own variable says, else in the user's cache.
fn cache_dir() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("NOTATION_CACHE").or_else(|| {
        let of_user = variable("XDG_CACHE_HOME").or_else(|| env::home_dir().map(|home| home.join(".cache")));
        of_user.map(|directory| directory.join("notation"))
    })
}
