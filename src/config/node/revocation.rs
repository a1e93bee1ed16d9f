//! `[revocation]`: how issuers are asked whether they have taken a certificate back.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::super::value;

/// How issuers' servers are asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RevocationConfig {
    /// The longest that one question may spend with asking, over all its signatures. Not zero.
    #[serde(deserialize_with = "value::positive_duration")]
    pub timeout: Duration,
    /// The longest that one OCSP responder may take. Not zero.
    #[serde(deserialize_with = "value::positive_duration")]
    pub ocsp_timeout: Duration,
    /// The longest that one server may take to send a revocation list. Not zero.
    #[serde(deserialize_with = "value::positive_duration")]
    pub crl_timeout: Duration,
    /// Whether servers at loopback and private addresses are asked.
    pub allow_private: bool,
    /// The directory with lists that are asked before anybody else. None: there are none.
    #[serde(deserialize_with = "value::optional_absolute_path")]
    pub crl_dir: Option<PathBuf>,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self {
            // Leaves time for the registry within the 8 s that a question has.
            timeout: Duration::from_secs(5),
            // Both as the reference implementation has them.
            ocsp_timeout: Duration::from_secs(2),
            crl_timeout: Duration::from_secs(5),
            allow_private: false,
            crl_dir: None,
        }
    }
}
