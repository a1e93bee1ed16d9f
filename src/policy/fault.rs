//! Why a trust policy is not put in force: the line, the statement, and the rule it breaks.

use std::error::Error;
use std::fmt;

use super::document::MAX_POLICY_SIZE;
use super::statement::MAX_IDENTITIES;
use super::{InvalidIdentity, InvalidOverride, InvalidScope, InvalidTrustStore};
use crate::oci::InvalidJson;
use crate::remedy::{Code, Remedy, excerpt};

/// A broken rule, and where in the file it is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPolicy {
    line: usize,
    statement: Option<String>,
    // Errors travel in every `Result` here, and the faults are large.
    fault: Box<PolicyFault>,
}

impl InvalidPolicy {
    pub(super) fn new(line: usize, fault: PolicyFault) -> Self {
        Self { line, statement: None, fault: Box::new(fault) }
    }

    /// The same, said of the statement with this name.
    pub(super) fn within(self, statement: &str) -> Self {
        Self { statement: Some(excerpt(statement)), ..self }
    }

    /// The line of the file, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The name of the statement, `#2` for the second statement where it has no name of good form, and nothing where the
    /// document as a whole is meant.
    pub fn statement(&self) -> Option<&str> {
        self.statement.as_deref()
    }

    /// The broken rule.
    pub fn fault(&self) -> &PolicyFault {
        &self.fault
    }
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(statement) = &self.statement {
            write!(f, ", statement `{statement}`")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl Error for InvalidPolicy {
    /// The fault is part of the text already; what lies under it is not.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// The rules that a trust policy can break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// Longer than [`MAX_POLICY_SIZE`].
    #[error("a trust policy has at most {MAX_POLICY_SIZE} bytes, this one has {0}")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Begins with U+FEFF.
    #[error("the file begins with a byte order mark")]
    ByteOrderMark,
    /// Nested too deep.
    #[error(transparent)]
    Json(#[from] InvalidJson),
    /// Not JSON. Holds the JSON library's account, without its position.
    #[error("the text is not JSON: {0}")]
    Malformed(String),
    /// A member that must be there is not.
    #[error("`{0}` is missing")]
    MissingMember(&'static str),
    /// A known member stands twice in one object.
    #[error("`{0}` stands twice in one object")]
    DuplicateMember(String),
    /// A member's name differs from a known one in case only.
    #[error("`{found}` is not `{meant}`: the names of members are compared with case")]
    MemberCase {
        /// The name in the file.
        found: String,
        /// The name it was taken for.
        meant: &'static str,
    },
    /// A value of another JSON type than the specification gives it.
    #[error("{name} must be {expected}")]
    WrongType {
        /// What the value is called.
        name: &'static str,
        /// The type, with its article.
        expected: &'static str,
    },
    /// A `version` other than 1.0.
    #[error("the version `{0}` is not `1.0`")]
    Version(String),
    /// `trustPolicies` is an empty list.
    #[error("`trustPolicies` has no statement")]
    NoStatements,
    /// A statement whose name is empty.
    #[error("the name is empty")]
    EmptyName,
    /// Two statements with one name.
    #[error("the statement at line {first} has the same name")]
    DuplicateName {
        /// The line of the first of the two.
        first: usize,
    },
    /// `registryScopes` is an empty list.
    #[error("`registryScopes` is empty")]
    NoScopes,
    /// A text that is not a scope.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// `*` together with other scopes.
    #[error("the scope `*` must be the only one of its statement")]
    WildcardScope,
    /// One scope in two places of the document.
    #[error("the scope `{scope}` stands in the statement `{statement}` already")]
    DuplicateScope {
        /// The scope.
        scope: String,
        /// The name of the statement that has it first; it may be the same statement.
        statement: String,
    },
    /// Two statements with `globalPolicy`.
    #[error("the statement `{statement}` is the global one already")]
    DuplicateGlobal {
        /// The name of the first of the two.
        statement: String,
    },
    /// A `level` that does not exist.
    #[error("`{0}` is none of the levels strict, permissive, audit, skip")]
    Level(String),
    /// An entry of `override` that is not allowed.
    #[error(transparent)]
    Override(#[from] InvalidOverride),
    /// A `verifyTimestamp` that does not exist.
    #[error("`verifyTimestamp` is `{0}`, which is neither `always` nor `afterCertExpiry`")]
    VerifyTimestamp(String),
    /// No trust store at a level that needs one.
    #[error("`trustStores` names no trust store")]
    NoStores,
    /// A text that does not name a trust store.
    #[error(transparent)]
    Store(#[from] InvalidTrustStore),
    /// No trusted identity at a level that needs one.
    #[error("`trustedIdentities` names nobody")]
    NoIdentities,
    /// A text that is not a trusted identity.
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
    /// `*` together with other identities.
    #[error("the trusted identity `*` must be the only one of its statement")]
    WildcardIdentity,
    /// Two trusted identities of which one says all that the other says.
    #[error("the trusted identities `{one}` and `{other}` overlap")]
    IdentitiesOverlap {
        /// The later one of the two.
        one: String,
        /// The earlier one.
        other: String,
    },
    /// More than [`MAX_IDENTITIES`].
    #[error("a statement has at most {MAX_IDENTITIES} trusted identities, this one has {0}")]
    TooManyIdentities(usize),
    /// A statement that skips verification and names whom to trust.
    #[error("a statement of level skip must not have `{0}`")]
    SkipWithTrust(&'static str),
    /// A statement that skips verification for every repository.
    #[error("the level skip cannot be used with the scope `*`")]
    SkipEverywhere,
    /// A statement that skips verification for every blob for which no statement is named.
    #[error("the level skip cannot be used in the global statement")]
    SkipGlobal,
}

impl Remedy for InvalidPolicy {
    fn code(&self) -> Code {
        Code(match *self.fault {
            PolicyFault::TooLarge(_) => "policy-too-large",
            PolicyFault::NotUtf8 | PolicyFault::ByteOrderMark | PolicyFault::Json(_) | PolicyFault::Malformed(_) => {
                "policy-malformed"
            }
            PolicyFault::MissingMember(_) => "policy-member-missing",
            PolicyFault::DuplicateMember(_) => "policy-member-duplicate",
            PolicyFault::MemberCase { .. } => "policy-member-case",
            PolicyFault::WrongType { .. } => "policy-member-type",
            PolicyFault::Version(_) => "policy-version",
            PolicyFault::NoStatements => "policy-statements-missing",
            PolicyFault::EmptyName => "policy-statement-name",
            PolicyFault::DuplicateName { .. } => "policy-statement-name-duplicate",
            PolicyFault::NoScopes => "policy-scopes-missing",
            PolicyFault::Scope(_) => "policy-scope-invalid",
            PolicyFault::WildcardScope => "policy-scope-wildcard",
            PolicyFault::DuplicateScope { .. } => "policy-scope-duplicate",
            PolicyFault::DuplicateGlobal { .. } => "policy-global-duplicate",
            PolicyFault::Level(_) => "policy-level-unknown",
            PolicyFault::Override(_) => "policy-override-invalid",
            PolicyFault::VerifyTimestamp(_) => "policy-verify-timestamp-invalid",
            PolicyFault::NoStores => "policy-stores-missing",
            PolicyFault::Store(_) => "policy-store-invalid",
            PolicyFault::NoIdentities => "policy-identities-missing",
            PolicyFault::Identity(_) => "policy-identity-invalid",
            PolicyFault::WildcardIdentity => "policy-identity-wildcard",
            PolicyFault::IdentitiesOverlap { .. } => "policy-identities-overlap",
            PolicyFault::TooManyIdentities(_) => "policy-identities-too-many",
            PolicyFault::SkipWithTrust(_) | PolicyFault::SkipEverywhere | PolicyFault::SkipGlobal => {
                "policy-skip-invalid"
            }
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match &*self.fault {
            PolicyFault::TooLarge(_) => "join statements that differ in their scopes only".into(),
            PolicyFault::NotUtf8 | PolicyFault::ByteOrderMark => {
                "save the file as UTF-8 without a byte order mark".into()
            }
            PolicyFault::Json(_) | PolicyFault::Malformed(_) => {
                "mend the JSON: it has no comments, no comma after the last entry, and nothing after the document".into()
            }
            PolicyFault::MissingMember(name) => format!("add `{name}`"),
            PolicyFault::DuplicateMember(name) => format!("keep one `{name}`"),
            PolicyFault::MemberCase { meant, .. } => format!("write `{meant}`"),
            PolicyFault::WrongType { name, expected } => format!("make {name} {expected}"),
            PolicyFault::Version(_) => "write `\"version\": \"1.0\"`".into(),
            PolicyFault::NoStatements => "add a statement to `trustPolicies`".into(),
            PolicyFault::EmptyName => "give the statement a name".into(),
            PolicyFault::DuplicateName { .. } => "give each statement a name of its own".into(),
            PolicyFault::NoScopes => "name the repositories that the statement governs, or `*` alone".into(),
            PolicyFault::Scope(_) => {
                "write `registry/repository` without scheme, tag, digest or wildcard, or `*` alone".into()
            }
            PolicyFault::WildcardScope => "move the other scopes to a statement of their own".into(),
            PolicyFault::DuplicateScope { .. } => "keep each scope in one statement".into(),
            PolicyFault::DuplicateGlobal { .. } => "keep `globalPolicy` in one statement".into(),
            PolicyFault::Level(_) => "choose one of strict, permissive, audit, skip".into(),
            PolicyFault::Override(_) => "`override` takes authenticity, authenticTimestamp, expiry and revocation, each \
                `enforce` or `log`, and `skip` for revocation"
                .into(),
            PolicyFault::VerifyTimestamp(_) => "choose `always` or `afterCertExpiry`".into(),
            PolicyFault::NoStores => "name a trust store, such as `ca:acme`".into(),
            PolicyFault::Store(_) => {
                "write `ca:NAME`, `signingAuthority:NAME` or `tsa:NAME`, with a NAME of letters, digits, `_`, `.` and `-`".into()
            }
            PolicyFault::NoIdentities => {
                "name a signer, such as `x509.subject: C=US, ST=WA, O=acme`, or `*` for all of the trust store".into()
            }
            PolicyFault::Identity(_) => {
                "write `x509.subject: C=…, ST=…, O=…` with any further attributes, each once and `,` escaped as `\\\\,`".into()
            }
            PolicyFault::WildcardIdentity => "keep `*` or the others".into(),
            PolicyFault::IdentitiesOverlap { .. } => "keep the wider one, or make both narrower".into(),
            PolicyFault::TooManyIdentities(_) => "name fewer attributes, so that one entry stands for many signers".into(),
            PolicyFault::SkipWithTrust(name) => format!("remove `{name}`, or choose another level"),
            PolicyFault::SkipEverywhere => "name the repositories that need no signature one by one".into(),
            PolicyFault::SkipGlobal => "take `globalPolicy` out of the statement, and name it where it is meant".into(),
        })
    }
}
