//! Why a trust policy is not valid, in the words of the Notary Project's own command.
//!
//! It tells the rule, and pratique tells the line too; a script matches the former. A rule that only pratique has keeps
//! pratique's words.

use crate::pki::{InvalidPattern, SubjectPattern};
use crate::policy::{InvalidIdentity, InvalidOverride, InvalidPolicy, InvalidScope, InvalidTrustStore, PolicyFault};

/// How a scope is written.
pub(super) const SCOPE_FORM: &str = "make sure it is a fully qualified repository without the scheme, protocol or tag. \
                                     For example domain.com/my/repository or a local scope like local/myOCILayout";

/// What the original finds out about a statement before it looks at the scopes begins with this.
const OF_STATEMENT: &str = "trust policy: ";

/// The sentence about the broken rule.
pub(super) fn words(invalid: &InvalidPolicy) -> String {
    let name = invalid.statement().unwrap_or_default();
    let of_statement = |what: String| format!("{OF_STATEMENT}trust policy statement {name:?} {what}");
    match invalid.fault() {
        PolicyFault::MissingMember("version") => {
            "trust policy document has empty version, version must be specified".to_owned()
        }
        PolicyFault::Version(version) => format!("trust policy document uses unsupported version {version:?}"),
        PolicyFault::NoStatements | PolicyFault::MissingMember("trustPolicies") => {
            "trust policy document can not have zero trust policy statements".to_owned()
        }
        PolicyFault::EmptyName | PolicyFault::MissingMember("name") => {
            format!("{OF_STATEMENT}a trust policy statement is missing a name, every statement requires a name")
        }
        PolicyFault::DuplicateName { .. } => {
            format!("multiple trust policy statements use the same name {name:?}, statement names must be unique")
        }
        PolicyFault::NoScopes | PolicyFault::MissingMember("registryScopes") => format!(
            "trust policy statement {name:?} has zero registry scopes, it must specify registry scopes with at least one \
             value"
        ),
        PolicyFault::WildcardScope => format!(
            "trust policy statement {name:?} uses wildcard registry scope '*', a wildcard scope cannot be used in \
             conjunction with other scope values"
        ),
        PolicyFault::DuplicateScope { scope, .. } => format!(
            "registry scope {scope:?} is present in multiple trust policy statements, one registry scope value can only \
             be associated with one statement"
        ),
        PolicyFault::Scope(fault) => scope(fault).unwrap_or_else(|| invalid.to_string()),
        PolicyFault::MissingMember("level" | "signatureVerification") => of_statement(
            "has invalid signatureVerification: signature verification level is empty or missing in the trust policy \
             statement"
                .to_owned(),
        ),
        PolicyFault::Level(level) => {
            of_statement(format!("has invalid signatureVerification: invalid signature verification level {level:?}"))
        }
        PolicyFault::Override(fault) => {
            of_statement(format!("has invalid signatureVerification: {}", overriding(fault)))
        }
        PolicyFault::VerifyTimestamp(option) => of_statement(format!(
            "has invalid signatureVerification: verifyTimestamp must be \"always\" or \"afterCertExpiry\", but got \
             {option:?}"
        )),
        PolicyFault::SkipWithTrust(_) => of_statement(
            "is set to skip signature verification but configured with trust stores and/or trusted identities, remove \
             them if signature verification needs to be skipped"
                .to_owned(),
        ),
        PolicyFault::NoStores | PolicyFault::NoIdentities => {
            of_statement("is either missing trust stores or trusted identities, both must be specified".to_owned())
        }
        PolicyFault::Store(fault) => of_statement(store(fault)),
        PolicyFault::WildcardIdentity => of_statement(
            "uses a wildcard trusted identity '*', a wildcard identity cannot be used in conjunction with other values"
                .to_owned(),
        ),
        PolicyFault::Identity(fault) => of_statement(identity(fault)),
        PolicyFault::IdentitiesOverlap { one, other } => {
            let (narrow, wide) = if is_within(one, other) { (one, other) } else { (other, one) };
            of_statement(format!("has overlapping x509 trustedIdentities, {narrow:?} overlaps with {wide:?}"))
        }
        _ => invalid.to_string(),
    }
}

/// Nothing where the original would take the scope.
fn scope(fault: &InvalidScope) -> Option<String> {
    match fault {
        InvalidScope::Pattern(scope) => {
            Some(format!("registry scope {scope:?} with wild card(s) is not valid, {SCOPE_FORM}"))
        }
        InvalidScope::NoRepository(scope)
        | InvalidScope::Scheme(scope)
        | InvalidScope::Registry(scope)
        | InvalidScope::Path(scope) => Some(format!("registry scope {scope:?} is not valid, {SCOPE_FORM}")),
        _ => None,
    }
}

fn overriding(fault: &InvalidOverride) -> String {
    match fault {
        InvalidOverride::OfSkip => {
            "signature verification level \"skip\" can't be used to customize signature verification".to_owned()
        }
        InvalidOverride::Integrity => {
            "\"integrity\" verification can not be overridden in custom signature verification".to_owned()
        }
        InvalidOverride::Validation(validation) => format!(
            "verification type {validation:?} in custom signature verification is not supported, supported values are \
             [\"integrity\" \"authenticity\" \"authenticTimestamp\" \"expiry\" \"revocation\"]"
        ),
        InvalidOverride::Action(action) => format!(
            "verification action {action:?} in custom signature verification is not supported, supported values are \
             [\"enforce\" \"log\" \"skip\"]"
        ),
        InvalidOverride::Skip(validation) => {
            format!("{validation:?} verification can not be skipped in custom signature verification")
        }
    }
}

fn store(fault: &InvalidTrustStore) -> String {
    match fault {
        InvalidTrustStore::NoKind(value) => format!(
            "has malformed trust store value {value:?}. The required format is <TrustStoreType>:<TrustStoreName>"
        ),
        InvalidTrustStore::Kind { kind, name } => {
            format!("uses an unsupported trust store type {kind:?} in trust store value {:?}", format!("{kind}:{name}"))
        }
        InvalidTrustStore::Name { kind, name } => format!(
            "uses an unsupported trust store name {name:?} in trust store value {:?}. Named store name needs to follow \
             [a-zA-Z0-9_.-]+ format",
            format!("{}:{name}", kind.as_str())
        ),
    }
}

fn identity(fault: &InvalidIdentity) -> String {
    match fault {
        InvalidIdentity::NoPrefix(identity) if identity.is_empty() => "has an empty trusted identity".to_owned(),
        InvalidIdentity::NoPrefix(identity) => format!("has trusted identity {identity:?} missing separator"),
        InvalidIdentity::Subject { identity, source } => {
            let subject = subject(identity);
            if subject.is_empty() {
                return format!("has trusted identity {identity:?} without an identity value");
            }
            format!("has trusted identity {identity:?} with invalid identity value: {}", pattern(subject, source))
        }
    }
}

fn pattern(subject: &str, fault: &InvalidPattern) -> String {
    match fault {
        InvalidPattern::Hex => format!(
            "unsupported distinguished name (DN) {subject:?}: notation does not support x509.subject identities \
             containing \"=#\""
        ),
        InvalidPattern::MultiValued => format!(
            "distinguished name (DN) {subject:?} has multi-valued RDN attributes, remove multi-valued RDN attributes as \
             they are not supported"
        ),
        InvalidPattern::Repeated { kind } => format!(
            "distinguished name (DN) {subject:?} has duplicate RDN attribute for {kind:?}, DN can only have unique RDN \
             attributes"
        ),
        InvalidPattern::Missing { kind } => format!(
            "distinguished name (DN) {subject:?} has no mandatory RDN attribute for {kind:?}, it must contain 'C', 'ST' \
             or 'S', and 'O' RDN attributes at a minimum"
        ),
        fault => format!(
            "parsing distinguished name (DN) {subject:?} failed with err: {fault}. A valid DN must contain 'C', 'ST' or \
             'S', and 'O' RDN attributes at a minimum, and follow RFC 4514 standard"
        ),
    }
}

/// What stands behind the prefix of an identity.
fn subject(identity: &str) -> &str {
    identity.split_once(':').map_or("", |(_, subject)| subject)
}

/// Whether the one identity says no more than the other.
fn is_within(one: &str, other: &str) -> bool {
    let read = |identity| subject(identity).parse::<SubjectPattern>();
    matches!((read(one), read(other)), (Ok(one), Ok(other)) if one.is_subset_of(&other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn told(from: &str, to: &str) -> String {
        const POLICY: &str = r#"{"version": "1.0", "trustPolicies": [{"name": "one", "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"}, "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}"#;
        assert!(POLICY.contains(from), "{from}");
        words(&Policy::parse(POLICY.replace(from, to).as_bytes()).unwrap_err())
    }

    #[test]
    fn a_rule_that_both_have_is_told_in_the_words_of_the_original() {
        for (from, to, expected) in [
            (
                r#"["*"],"#,
                "[],",
                r#"trust policy statement "one" has zero registry scopes, it must specify registry scopes with at least one value"#,
            ),
            (
                "ca:acme",
                "acme",
                r#"trust policy: trust policy statement "one" has malformed trust store value "acme". The required format is <TrustStoreType>:<TrustStoreName>"#,
            ),
            (
                r#"["*"]}"#,
                r#"["x509.subject"]}"#,
                r#"trust policy: trust policy statement "one" has trusted identity "x509.subject" missing separator"#,
            ),
            (
                "strict",
                "loose",
                r#"trust policy: trust policy statement "one" has invalid signatureVerification: invalid signature verification level "loose""#,
            ),
        ] {
            assert_eq!(told(from, to), expected);
        }
    }

    #[test]
    fn a_rule_that_only_pratique_has_is_told_with_its_line() {
        assert_eq!(
            told(r#""name""#, r#""Name""#),
            "line 1, statement `#1`: `Name` is not `name`: the names of members are compared with case"
        );
    }
}
