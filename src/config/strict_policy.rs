//! A policy for one question: whoever is named, and nobody else.
//!
//! It is written as a trust policy and read as one, so that names and identities are held to the same rules, and a signature
//! is judged by the code that judges it on a node.

use serde_json::json;

use super::RevocationChoice;
use crate::policy::{Action, InvalidPolicy, Policy, TrustStore};

/// The policy of one strict statement with these stores and identities.
pub fn strict_policy<'s>(
    name: &str,
    stores: impl Iterator<Item = &'s TrustStore>,
    identities: &[String],
    revocation: RevocationChoice,
) -> Result<Policy, InvalidPolicy> {
    let level = match revocation.action() {
        Action::Skip => json!({"level": "strict", "override": {"revocation": "skip"}}),
        _ => json!({"level": "strict"}),
    };
    let policy = json!({"version": "1.0", "trustPolicies": [{
        "name": name,
        "registryScopes": ["*"],
        "signatureVerification": level,
        "trustStores": stores.map(ToString::to_string).collect::<Vec<_>>(),
        "trustedIdentities": identities,
    }]});
    Policy::parse(policy.to_string().as_bytes())
}
