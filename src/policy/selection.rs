//! What tells the two kinds of trust policy apart: how they choose the statement that governs.
//!
//! A policy for images chooses by repository, one for blobs by the statement's name; everything else is the same. A
//! policy of one kind never answers a question of the other.
//!
//! Follows the Notary trust policy specification, "Registry Scopes Constraints" and "Blob Trust Policy".

use std::collections::BTreeMap;

use super::fault::{InvalidPolicy, PolicyFault};
use super::members::{Object, PolicyText};
use super::{InvalidScope, Scope, Statement};
use crate::remedy::excerpt;

/// The members that the specification gives a statement; others are ignored.
const IMAGE_MEMBERS: [&str; 5] =
    ["name", "registryScopes", "signatureVerification", "trustStores", "trustedIdentities"];
const BLOB_MEMBERS: [&str; 5] = ["name", "globalPolicy", "signatureVerification", "trustStores", "trustedIdentities"];

/// How a policy chooses, with what its statements say about it. Statements are told by their place in the file.
#[derive(Clone, Debug)]
pub(super) enum Selection {
    /// For images.
    ByRepository {
        /// Repository → the statement that names it.
        named: BTreeMap<String, usize>,
        /// The statement with the scope `*`.
        elsewhere: Option<usize>,
        /// Whether it is read as the reference implementation reads it: the statement with the scope `*` may skip
        /// verification, and a scope need not begin with a registry's full name.
        as_reference: bool,
    },
    /// For blobs.
    ByName {
        /// The statement for whoever names none.
        global: Option<usize>,
    },
}

/// What one statement governs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Repositories(Vec<Scope>),
    Blobs { global: bool },
}

impl Selection {
    pub(super) fn by_repository() -> Self {
        Self::ByRepository { named: BTreeMap::new(), elsewhere: None, as_reference: false }
    }

    pub(super) fn by_repository_allowing_unverified_everywhere() -> Self {
        Self::ByRepository { named: BTreeMap::new(), elsewhere: None, as_reference: true }
    }

    pub(super) fn by_name() -> Self {
        Self::ByName { global: None }
    }

    /// The members of a statement in a policy of this kind.
    pub(super) fn members(&self) -> &'static [&'static str] {
        match self {
            Self::ByRepository { .. } => &IMAGE_MEMBERS,
            Self::ByName { .. } => &BLOB_MEMBERS,
        }
    }

    /// What the statement that comes after `before` governs, which none of those may govern.
    pub(super) fn read(
        &mut self,
        file: &PolicyText<'_>,
        object: &Object<'_>,
        name: &str,
        before: &[Statement],
    ) -> Result<Reach, InvalidPolicy> {
        match self {
            Self::ByRepository { named, elsewhere, as_reference } => {
                read_scopes(file, object, *as_reference, |scope| {
                    let first = match scope {
                        Scope::Any => elsewhere.replace(before.len()),
                        Scope::Repository(repository) => named.insert(repository.clone(), before.len()),
                    }?;
                    // The statement that is being read is not in the list yet.
                    Some(excerpt(before.get(first).map_or(name, Statement::name)))
                })
            }
            Self::ByName { global } => read_global(file, object, || {
                let first = global.replace(before.len())?;
                before.get(first).map(|statement| excerpt(statement.name()))
            }),
        }
    }

    /// The fault of a statement that governs this and skips verification, where there is one: nobody may wave through
    /// what no statement was written for.
    pub(super) fn fault_of_skip(&self, reach: &Reach) -> Option<PolicyFault> {
        match (self, reach) {
            (Self::ByRepository { as_reference: true, .. }, _) => None,
            (_, Reach::Repositories(scopes)) if scopes.contains(&Scope::Any) => Some(PolicyFault::SkipEverywhere),
            (_, Reach::Blobs { global: true }) => Some(PolicyFault::SkipGlobal),
            (_, Reach::Repositories(_) | Reach::Blobs { .. }) => None,
        }
    }
}

/// `registryScopes`. Each scope may stand once in the whole document; `claim` gives the name of the statement that has
/// it already.
fn read_scopes(
    file: &PolicyText<'_>,
    object: &Object<'_>,
    takes_short: bool,
    mut claim: impl FnMut(&Scope) -> Option<String>,
) -> Result<Reach, InvalidPolicy> {
    let list = object.require(file, "registryScopes")?;
    let values = file.list(list, "`registryScopes`")?;
    if values.is_empty() {
        return Err(file.fault(list, PolicyFault::NoScopes));
    }
    let mut scopes = Vec::with_capacity(values.len());
    for value in &values {
        let scope = match file.string(value, "a scope")?.parse() {
            Ok(scope) => scope,
            // Governs what is asked about by the same short name.
            Err(InvalidScope::NotFull { full, .. }) if takes_short => Scope::Repository(full.to_string()),
            Err(error) => return Err(file.fault(value, error)),
        };
        if scope == Scope::Any && values.len() > 1 {
            return Err(file.fault(value, PolicyFault::WildcardScope));
        }
        if let Some(statement) = claim(&scope) {
            let scope = excerpt(&scope.to_string());
            return Err(file.fault(value, PolicyFault::DuplicateScope { scope, statement }));
        }
        scopes.push(scope);
    }
    Ok(Reach::Repositories(scopes))
}

/// `globalPolicy`. One statement may have it; `claim` gives the name of the statement that does already.
fn read_global(
    file: &PolicyText<'_>,
    object: &Object<'_>,
    claim: impl FnOnce() -> Option<String>,
) -> Result<Reach, InvalidPolicy> {
    let Some(value) = object.get("globalPolicy") else { return Ok(Reach::Blobs { global: false }) };
    let global = file.boolean(value, "`globalPolicy`")?;
    match if global { claim() } else { None } {
        Some(statement) => Err(file.fault(value, PolicyFault::DuplicateGlobal { statement })),
        None => Ok(Reach::Blobs { global }),
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{LevelName, Policy};
    use crate::remedy::{Code, Remedy};

    const BLOBS: &str = r#"{"version": "1.0", "trustPolicies": [
{"name": "all", "globalPolicy": true, "signatureVerification": {"level": "strict"},
    "trustStores": ["ca:acme"], "trustedIdentities": ["*"]},
{"name": "tools", "globalPolicy": false, "signatureVerification": {"level": "skip"}}
]}"#;

    #[test]
    fn a_blob_is_governed_by_the_statement_named_or_else_by_the_global_one() {
        let policy = Policy::parse_blob(BLOBS.as_bytes()).unwrap();
        let name = |asked| policy.statement_for_blob(asked).map(super::Statement::name);
        assert_eq!(name(None), Some("all"));
        assert_eq!(name(Some("all")), Some("all"));
        assert_eq!(name(Some("tools")), Some("tools"));
        assert_eq!(name(Some("Tools")), None);
        assert_eq!(name(Some("")), None);
        let without = Policy::parse_blob(BLOBS.replace("true", "false").as_bytes()).unwrap();
        assert_eq!(without.statement_for_blob(None), None);
    }

    #[test]
    fn a_policy_of_one_kind_governs_nothing_of_the_other() {
        let blobs = Policy::parse_blob(BLOBS.as_bytes()).unwrap();
        assert_eq!(blobs.statement_for(&"registry.example/app".parse().unwrap()), None);
        assert_eq!(blobs.statements()[0].scopes(), []);
        assert_eq!(Policy::parse(BLOBS.as_bytes()).unwrap_err().code(), Code("policy-member-missing"));
        let images = BLOBS.replace(r#""globalPolicy": true"#, r#""registryScopes": ["*"]"#);
        let images = images.replace(r#""globalPolicy": false"#, r#""registryScopes": ["registry.example/app"]"#);
        let images = Policy::parse(images.as_bytes()).unwrap();
        assert_eq!(images.statement_for_blob(None), None);
        assert_eq!(images.statement_for_blob(Some("all")), None);
        let statement = images.statement_for(&"registry.example/app".parse().unwrap()).unwrap();
        assert_eq!((statement.level(), statement.is_global()), (LevelName::Skip, false));
    }

    #[test]
    fn each_broken_rule_of_a_blob_policy_is_told_with_its_code_and_its_line() {
        #[rustfmt::skip]
        let cases = [
            ("\"globalPolicy\": false", "\"globalPolicy\":\ntrue", "policy-global-duplicate", 5),
            ("\"globalPolicy\": false", "\"globalPolicy\": \"false\"", "policy-member-type", 4),
            ("\"globalPolicy\": true", "\"GlobalPolicy\": true", "policy-member-case", 2),
            ("\"globalPolicy\": true", "\"globalPolicy\": true, \"globalPolicy\": true", "policy-member-duplicate", 2),
            ("true, \"signatureVerification\": {\"level\": \"strict\"},", "true, \"signatureVerification\": {\"level\": \"skip\"},", "policy-skip-invalid", 2),
            ("\"tools\"", "\"all\"", "policy-statement-name-duplicate", 4),
            ("\"ca:acme\"", "", "policy-stores-missing", 3),
        ];
        for (from, to, code, line) in cases {
            assert!(BLOBS.contains(from), "{from}");
            let error = Policy::parse_blob(BLOBS.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!((error.code().as_str(), error.line()), (code, line), "{to}");
        }
    }
}
