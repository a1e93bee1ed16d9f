//! Is the signer one that the statement trusts?
//!
//! Follows the Notary trust policy specification, "Trust Store" and "Trusted Identities": some certificate of the chain,
//! byte for byte, stands in a named store of the scheme's type, and the leaf's subject matches a trusted identity.

use super::outcome::{Problem, State};
use crate::envelope::{SignedAttributes, SigningScheme};
use crate::pki::Chain;
use crate::policy::{Action, Identities, Statement, StoreKind, StoreProblem, Trust, Validation};

/// What was found out about the signer.
#[derive(Debug)]
pub(super) struct Authentic {
    state: State,
    /// What a bad state means.
    pub(super) action: Action,
    /// Whether the chain leads to a trust anchor, whoever the signer is.
    pub(super) reaches_anchor: bool,
}

impl Authentic {
    /// The finding. Where a plugin says who may sign, its word stands in the place of the trusted identities, never in
    /// that of the trust anchors.
    pub(super) fn state(&self, plugin: Option<State>) -> State {
        plugin.filter(|_| self.reaches_anchor).unwrap_or_else(|| self.state.clone())
    }
}

/// The finding, and the action that a bad one calls for. An unusable trust store is the operator's fault and not the
/// image's: it is enforced at every level, or an image would be let through because something was missing.
pub(super) fn check(chain: &Chain, attributes: &SignedAttributes, statement: &Statement, trust: &Trust) -> Authentic {
    let action = statement.action(Validation::Authenticity);
    let failed = |problem| State::Failed { problem };
    match leads_to_an_anchor(chain, attributes.scheme, statement, trust) {
        Err(problem) => {
            let state = State::Inconclusive { problem: Problem::of(problem) };
            Authentic { state, action: Action::Enforce, reaches_anchor: false }
        }
        Ok(false) => {
            let state = failed(untrusted_chain(chain, attributes.scheme, statement));
            Authentic { state, action, reaches_anchor: false }
        }
        Ok(true) => {
            let is_accepted = accepts(statement.identities(), chain);
            let state = if is_accepted { State::Passed } else { failed(untrusted_identity(chain, statement)) };
            Authentic { state, action, reaches_anchor: true }
        }
    }
}

/// All named stores of the scheme's type must be usable, whichever of them holds the anchor.
fn leads_to_an_anchor<'t>(
    chain: &Chain,
    scheme: SigningScheme,
    statement: &Statement,
    trust: &'t Trust,
) -> Result<bool, &'t StoreProblem> {
    let mut found = false;
    for store in statement.trust_stores().iter().filter(|store| store.kind() == store_kind(scheme)) {
        let anchors = trust.anchors(store)?;
        found |= chain.certificates().iter().any(|certificate| anchors.contains(certificate));
    }
    Ok(found)
}

fn store_kind(scheme: SigningScheme) -> StoreKind {
    match scheme {
        SigningScheme::X509 => StoreKind::Ca,
        SigningScheme::SigningAuthority => StoreKind::SigningAuthority,
    }
}

fn accepts(identities: &Identities, chain: &Chain) -> bool {
    identities.accepts(chain.leaf().subject())
}

fn untrusted_chain(chain: &Chain, scheme: SigningScheme, statement: &Statement) -> Problem {
    let root = chain.certificates().last().map(|root| root.subject().to_string()).unwrap_or_default();
    let kind = store_kind(scheme);
    let stores: Vec<String> =
        statement.trust_stores().iter().filter(|store| store.kind() == kind).map(ToString::to_string).collect();
    let message = if stores.is_empty() {
        format!(
            "the signature uses the scheme {}, and statement `{}` names no trust store of type {kind}",
            scheme.as_str(),
            statement.name()
        )
    } else {
        format!("the signer's root `{root}` is in none of the trust stores {}", stores.join(", "))
    };
    let remedy = "if this signer may be trusted, put its root certificate into a trust store that the statement names";
    Problem::new("untrusted-signer", &message, remedy)
}

fn untrusted_identity(chain: &Chain, statement: &Statement) -> Problem {
    let count = match statement.identities() {
        Identities::Any => 0,
        Identities::Listed(identities) => identities.len(),
    };
    let subject = chain.leaf().subject();
    let fact = match count {
        1 => "does not match the trusted identity".to_owned(),
        _ => format!("matches none of the {count} trusted identities"),
    };
    let message = format!("the signer `{subject}` {fact} of `{}`", statement.name());
    let remedy =
        format!("if it may sign these images, add its subject to `trustedIdentities` in `{}`", statement.name());
    Problem::new("untrusted-identity", &message, &remedy)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::pki::Certificate;
    use crate::policy::Policy;

    /// Whether a chain leads to one of these.
    fn reaches(anchors: &[Certificate], chain: &[Certificate]) -> bool {
        let policy = serde_json::json!({"version": "1.0", "trustPolicies": [{
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:acme"],
            "trustedIdentities": ["*"],
        }]});
        let policy = Policy::parse(policy.to_string().as_bytes()).unwrap();
        let stores = BTreeMap::from([("ca:acme".parse().unwrap(), Ok(anchors.to_vec()))]);
        let trust = Trust::new(policy, stores, "test".to_owned());
        let statement = &trust.policy().statements()[0];
        let chain = Chain::code_signing(chain.to_vec()).unwrap();
        leads_to_an_anchor(&chain, SigningScheme::X509, statement, &trust).unwrap()
    }

    #[test]
    fn a_root_that_was_issued_anew_is_another_one() {
        let file = |name: &str| {
            let path = format!("{}/tests/revocation/{name}", env!("CARGO_MANIFEST_DIR"));
            Certificate::read_all(&std::fs::read(&path).expect(&path)).unwrap()
        };
        let chain = file("chain.pem");
        for anchor in &chain {
            assert!(reaches(std::slice::from_ref(anchor), &chain), "{}", anchor.subject());
        }
        let anew = file("issuer-without-crl-sign.pem");
        let root = chain.last().unwrap();
        assert_eq!((anew[0].subject(), anew[0].public_key()), (root.subject(), root.public_key()), "name and key");
        assert!(!reaches(&anew, &chain));
    }
}
