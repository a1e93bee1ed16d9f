//! The particulars of a source's failure: what the network, the registry and our own rules said.

use std::fmt;

/// What the network or the TLS library said, without addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NetworkFault(pub String);

/// Why an address that a registry names is not gone to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetFault {
    /// It is no http or https URL, or one with a username in it.
    #[error("not an http address")]
    Unusable,
    /// There were too many redirects before it.
    #[error("that is one redirect too many")]
    TooMany,
    /// From https to http.
    #[error("that would leave https")]
    Downgrade,
    /// Plain http to a host that is not configured for it.
    #[error("plain http is not permitted for that host")]
    PlainHttp,
    /// A loopback or link-local address, from a registry that is elsewhere.
    #[error("that address is this machine's own or its cloud's")]
    Local,
    /// Another host, where the request must stay with the registry.
    #[error("the request must stay with the registry")]
    OtherHost,
}

impl TargetFault {
    /// What to do about it. `target` is scheme, host and port.
    pub(super) fn remedy(self, host: &str, target: &str) -> String {
        match self {
            Self::PlainHttp => {
                let target = target.strip_prefix("http://").unwrap_or(target);
                format!(
                    "if {target} may be reached by plain http, list it as insecure: `--insecure-registry`, or `registry.insecure` of pratiqued"
                )
            }
            Self::Downgrade | Self::OtherHost => {
                format!("have {host} name itself by its public https address (`X-Forwarded-Proto` in its proxy)")
            }
            Self::Unusable | Self::TooMany | Self::Local => format!("ask the operator of {host} why it points there"),
        }
    }
}

/// A registry's own account of a refusal: its code and its message, made printable and cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryWords(pub String);

impl fmt::Display for RegistryWords {
    /// ` (words)`, or nothing where there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}
