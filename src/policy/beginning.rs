//! The text of a trust policy that somebody begins with: one statement, which takes signatures from named signers alone.

use serde::Serialize;

use super::LevelName;
use super::document::VERSION;

/// The one statement of a new trust policy, level `strict`. What it says is checked when the text is read.
#[derive(Clone, Debug)]
pub struct FirstStatement {
    /// Its name.
    pub name: String,
    /// The repositories that it governs; none in a policy for blobs.
    pub registry_scopes: Vec<String>,
    /// Whether it governs blobs for whoever names no statement.
    pub is_global: bool,
    /// Each `type:name`.
    pub trust_stores: Vec<String>,
    /// The signers.
    pub trusted_identities: Vec<String>,
}

impl FirstStatement {
    /// The document with this statement. Members stand in the order in which the reference implementation writes them.
    pub fn document(&self) -> String {
        let document = Document {
            version: VERSION,
            trust_policies: [Statement {
                name: &self.name,
                registry_scopes: &self.registry_scopes,
                signature_verification: SignatureVerification { level: LevelName::Strict },
                trust_stores: &self.trust_stores,
                trusted_identities: &self.trusted_identities,
                global_policy: self.is_global,
            }],
        };
        // A struct of texts always has a JSON form.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    version: &'static str,
    trust_policies: [Statement<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    registry_scopes: &'a [String],
    signature_verification: SignatureVerification,
    trust_stores: &'a [String],
    trusted_identities: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    global_policy: bool,
}

#[derive(Serialize)]
struct SignatureVerification {
    level: LevelName,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn what_is_begun_with_is_a_policy_of_its_kind() {
        let statement = |registry_scopes: &[&str], is_global| FirstStatement {
            name: "apps".into(),
            registry_scopes: registry_scopes.iter().map(ToString::to_string).collect(),
            is_global,
            trust_stores: vec!["ca:acme".into()],
            trusted_identities: vec!["*".into()],
        };
        let images = statement(&["registry.example/app"], false).document();
        let policy = Policy::parse(images.as_bytes()).unwrap();
        assert_eq!(policy.statement_for_scope("registry.example/app").unwrap().name(), "apps");
        let blobs = statement(&[], true).document();
        assert_eq!(Policy::parse_blob(blobs.as_bytes()).unwrap().statement_for_blob(None).unwrap().name(), "apps");
        let named = statement(&[], false).document();
        assert_eq!(Policy::parse_blob(named.as_bytes()).unwrap().statement_for_blob(None), None);
        assert!(!named.contains("globalPolicy") && !named.contains("registryScopes"), "{named}");
    }
}
