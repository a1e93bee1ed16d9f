//! The trust policy file, from bytes to statements.
//!
//! Every rule of the document is checked while it is read, and what comes out needs no further check: a [`Policy`] is
//! put in force whole or not at all. The order of the checks is that of the file, so that the line reported is the first
//! one a person would have to mend.
//!
//! Follows the Notary trust policy specification, version 1.0, "OCI Trust Policy" and "Blob Trust Policy".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::TrustStore;
use super::fault::{InvalidPolicy, PolicyFault};
use super::members::{Object, PolicyText};
use super::selection::Selection;
use super::statement::{self, Statement};
use crate::oci::Repository;
use crate::remedy::excerpt;

/// The largest trust policy, in bytes: what fits into a Kubernetes `ConfigMap`, which is how most of them reach a node,
/// and room for a thousand statements.
pub const MAX_POLICY_SIZE: usize = 1024 * 1024;

pub(super) const VERSION: &str = "1.0";

/// A trust policy in which every rule of the specification holds: one for images or one for blobs.
#[derive(Clone, Debug)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
    selection: Selection,
}

impl Policy {
    /// The policy for images in the bytes of a `trustpolicy.json` or `trustpolicy.oci.json`.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidPolicy> {
        Self::read(text, Selection::by_repository())
    }

    /// The same, for the stand-in for the reference implementation, which also takes a statement that skips verification
    /// for every repository, and short scopes such as `local/app` for image layouts. The specification forbids the one,
    /// containerd never asks by the other, and no gate of this node reads a policy so.
    pub fn parse_allowing_unverified_everywhere(text: &[u8]) -> Result<Self, InvalidPolicy> {
        Self::read(text, Selection::by_repository_allowing_unverified_everywhere())
    }

    /// The policy for blobs in the bytes of a `trustpolicy.blob.json`.
    pub fn parse_blob(text: &[u8]) -> Result<Self, InvalidPolicy> {
        Self::read(text, Selection::by_name())
    }

    fn read(text: &[u8], selection: Selection) -> Result<Self, InvalidPolicy> {
        let text = checked_text(text)?;
        let file = PolicyText::new(text);
        let document = file.object(file.document()?, "the document")?.expect(&file, &["version", "trustPolicies"])?;
        check_version(&file, &document)?;
        let list = document.require(&file, "trustPolicies")?;
        let values = file.list(list, "`trustPolicies`")?;
        if values.is_empty() {
            return Err(file.fault(list, PolicyFault::NoStatements));
        }
        let mut policy = Self { text: text.to_owned(), statements: Vec::with_capacity(values.len()), selection };
        let mut names = BTreeMap::new();
        for value in values {
            policy.add(&file, value, &mut names)?;
        }
        Ok(policy)
    }

    /// Reads one more statement and checks it against those before it.
    fn add(
        &mut self,
        file: &PolicyText<'_>,
        value: &RawValue,
        names: &mut BTreeMap<String, usize>,
    ) -> Result<(), InvalidPolicy> {
        let in_place = |error: InvalidPolicy| error.within(&format!("#{}", self.statements.len() + 1));
        let object = file
            .object(value, "a statement")
            .and_then(|object| object.expect(file, self.selection.members()))
            .map_err(in_place)?;
        let name = statement::read_name(file, &object).map_err(in_place)?;
        let within = |error: InvalidPolicy| error.within(&name);
        if let Some(first) = names.insert(name.clone(), file.line_of(value)) {
            return Err(within(file.fault(value, PolicyFault::DuplicateName { first })));
        }
        let reach = self.selection.read(file, &object, &name, &self.statements).map_err(within)?;
        let fault_of_skip = self.selection.fault_of_skip(&reach);
        let statement = Statement::read(file, &object, &name, reach, fault_of_skip).map_err(within)?;
        self.statements.push(statement);
        Ok(())
    }

    /// The statement that governs this repository: the one that names it, else the one for `*`, else none. A policy for
    /// blobs governs no repository.
    pub fn statement_for(&self, repository: &Repository) -> Option<&Statement> {
        self.statement_for_scope(&repository.to_string())
    }

    /// The same for `registry/repository` as text, which is compared as it stands.
    pub fn statement_for_scope(&self, repository: &str) -> Option<&Statement> {
        let Selection::ByRepository { named, elsewhere, .. } = &self.selection else { return None };
        let index = named.get(repository).copied().or(*elsewhere)?;
        self.statements.get(index)
    }

    /// The statement that governs a blob: the one of this exact name, or the global one where none is named. A policy
    /// for images governs no blob.
    pub fn statement_for_blob(&self, name: Option<&str>) -> Option<&Statement> {
        let Selection::ByName { global } = &self.selection else { return None };
        match name {
            Some(name) => self.statements.iter().find(|statement| statement.name() == name),
            None => global.and_then(|index| self.statements.get(index)),
        }
    }

    /// The statements, in the order of the file. At least one.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Every trust store that some statement names, once.
    pub fn trust_stores(&self) -> BTreeSet<&TrustStore> {
        self.statements.iter().flat_map(Statement::trust_stores).collect()
    }

    /// The file's text, to the byte.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn checked_text(bytes: &[u8]) -> Result<&str, InvalidPolicy> {
    if bytes.len() > MAX_POLICY_SIZE {
        return Err(InvalidPolicy::new(1, PolicyFault::TooLarge(bytes.len())));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        InvalidPolicy::new(good.split(|byte| *byte == b'\n').count(), PolicyFault::NotUtf8)
    })?;
    if text.starts_with('\u{feff}') {
        return Err(InvalidPolicy::new(1, PolicyFault::ByteOrderMark));
    }
    Ok(text)
}

fn check_version(file: &PolicyText<'_>, document: &Object<'_>) -> Result<(), InvalidPolicy> {
    let value = document.require(file, "version")?;
    let version = file.string(value, "`version`")?;
    if version == VERSION { Ok(()) } else { Err(file.fault(value, PolicyFault::Version(excerpt(&version)))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, Identities, LevelName, Validation, VerifyTimestamp};
    use crate::remedy::{Code, Remedy, one_line};

    /// Two statements; what a test changes stands on a line of its own.
    const GOOD: &str = r#"{
  "version": "1.0",
  "trustPolicies": [
    {
      "name": "apps",
      "registryScopes": ["registry.example/app", "registry.example:5000/app"],
      "signatureVerification": {
        "level": "permissive",
        "override": {"expiry": "enforce"},
        "verifyTimestamp": "afterCertExpiry"
      },
      "trustStores": ["ca:acme", "tsa:clock"],
      "trustedIdentities": ["com.acme.id: 7"]
    },
    {
      "name": "rest",
      "registryScopes": ["*"],
      "signatureVerification": {"level": "strict"},
      "trustStores": ["ca:acme"],
      "trustedIdentities": ["*"]
    }
  ]
}
"#;

    fn error_of(text: &str) -> InvalidPolicy {
        Policy::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_statement_says_what_its_lines_say() {
        let policy = Policy::parse(GOOD.as_bytes()).unwrap();
        let [apps, rest] = policy.statements() else { panic!("two statements") };
        assert_eq!((apps.name(), apps.line(), apps.level()), ("apps", 4, LevelName::Permissive));
        assert_eq!(
            apps.scopes().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["registry.example/app", "registry.example:5000/app"]
        );
        assert_eq!(apps.action(Validation::Expiry), Action::Enforce);
        assert_eq!(apps.action(Validation::Revocation), Action::Log);
        assert_eq!(apps.verify_timestamp(), VerifyTimestamp::AfterCertExpiry);
        assert_eq!(apps.trust_stores().iter().map(ToString::to_string).collect::<Vec<_>>(), ["ca:acme", "tsa:clock"]);
        assert!(matches!(apps.identities(), Identities::Listed(listed) if listed.len() == 1));
        assert_eq!((rest.name(), rest.line(), rest.level()), ("rest", 15, LevelName::Strict));
        assert_eq!(rest.verify_timestamp(), VerifyTimestamp::Always);
        assert_eq!(rest.identities(), &Identities::Any);
        assert_eq!(policy.trust_stores().len(), 2);
        assert_eq!(policy.text(), GOOD);
    }

    #[test]
    fn a_repository_is_governed_by_the_statement_that_names_it_or_else_by_the_star() {
        let policy = Policy::parse(GOOD.as_bytes()).unwrap();
        let governing = |text: &str| policy.statement_for(&text.parse().unwrap()).map(Statement::name);
        assert_eq!(governing("registry.example/app"), Some("apps"));
        assert_eq!(governing("registry.example:5000/app"), Some("apps"));
        assert_eq!(governing("registry.example:5001/app"), Some("rest"));
        assert_eq!(governing("registry.example/app/x"), Some("rest"));
        assert_eq!(governing("alpine"), Some("rest"));
        let named_only =
            Policy::parse(GOOD.replace("\"*\"],\n      \"sig", "\"a.example/b\"],\n      \"sig").as_bytes());
        assert_eq!(named_only.unwrap().statement_for_scope("registry.example/app/x"), None);
    }

    #[test]
    fn each_broken_rule_is_told_with_its_code_its_statement_and_its_line() {
        let long = "[".repeat(100);
        #[rustfmt::skip]
        let cases = [
            // what is replaced, by what, code, statement, line
            ("{\n  \"version\"", "\u{feff}{\n  \"version\"", "policy-malformed", None, 1),
            ("{\n  \"version\"", "{ // comment\n  \"version\"", "policy-malformed", None, 1),
            ("\"*\"]\n    }", "\"*\"],\n    }", "policy-malformed", None, 21),
            ("  ]\n}\n", "  ]\n}\n{}", "policy-malformed", None, 24),
            ("\"ca:acme\"]", long.as_str(), "policy-malformed", None, 19),
            ("\"name\": \"apps\"", "\"name\": \"\\ud800\"", "policy-malformed", Some("#1"), 5),
            ("\"1.0\"", "1.0", "policy-member-type", None, 2),
            ("\"1.0\"", "\"1\"", "policy-version", None, 2),
            ("\"version\": \"1.0\",", "", "policy-member-missing", None, 1),
            ("\"version\": \"1.0\",", "\"version\": null,", "policy-member-missing", None, 1),
            ("\"version\": \"1.0\",", "\"version\": \"1.0\", \"version\": \"1.0\",", "policy-member-duplicate", None, 2),
            ("\"version\": \"1.0\",", "\"version\": \"1.0\", \"Version\": \"1.0\",", "policy-member-case", None, 2),
            ("\"name\": \"apps\"", "\"name\": \"\"", "policy-statement-name", Some("#1"), 5),
            ("\"name\": \"apps\"", "\"title\": \"apps\"", "policy-member-missing", Some("#1"), 4),
            ("\"name\": \"apps\"", "\"name\": [\n\"apps\"]", "policy-member-type", Some("#1"), 5),
            ("\"name\": \"rest\"", "\"name\": \"apps\"", "policy-statement-name-duplicate", Some("apps"), 15),
            ("\"level\": \"permissive\",\n", "\"level\": \"Permissive\",\n", "policy-level-unknown", Some("apps"), 8),
            ("\"level\": \"permissive\",\n", "\n", "policy-member-missing", Some("apps"), 7),
            ("\"level\": \"permissive\",\n", "\"Level\": \"permissive\",\n", "policy-member-case", Some("apps"), 8),
            ("\"override\": {", "\"override\": {\n\"expiry\": \"log\", ", "policy-member-duplicate", Some("apps"), 10),
            ("\"expiry\"", "\"integrity\"", "policy-override-invalid", Some("apps"), 9),
            ("{\"expiry\": \"enforce\"}", "{\"expiry\": \"skip\"}", "policy-override-invalid", Some("apps"), 9),
            ("{\"expiry\": \"enforce\"}", "[]", "policy-member-type", Some("apps"), 9),
            ("afterCertExpiry", "never", "policy-verify-timestamp-invalid", Some("apps"), 10),
            ("\"ca:acme\", \"tsa:clock\"", "\"ca:acme\",\n\"ca:..\"", "policy-store-invalid", Some("apps"), 13),
            ("\"ca:acme\", \"tsa:clock\"", "", "policy-stores-missing", Some("apps"), 12),
            ("\"com.acme.id: 7\"", "", "policy-identities-missing", Some("apps"), 13),
            ("\"com.acme.id: 7\"", "\"acme\"", "policy-identity-invalid", Some("apps"), 13),
            ("\"com.acme.id: 7\"", "\"com.acme.id: 7\",\n\"*\"", "policy-identity-wildcard", Some("apps"), 14),
            ("\"registry.example:5000/app\"", "\"registry.example/app\"", "policy-scope-duplicate", Some("apps"), 6),
            ("[\"*\"],\n      \"signature", "[\n\"registry.example/app\"],\n      \"signature", "policy-scope-duplicate", Some("rest"), 18),
            ("[\"*\"],\n      \"signature", "[\"*\", \"a.example/b\"],\n      \"signature", "policy-scope-wildcard", Some("rest"), 17),
            ("[\"*\"],\n      \"signature", "[\"a.example/b:v1\"],\n      \"signature", "policy-scope-invalid", Some("rest"), 17),
            ("[\"*\"],\n      \"signature", "[],\n      \"signature", "policy-scopes-missing", Some("rest"), 17),
            ("{\"level\": \"strict\"}", "{\"level\": \"skip\"}", "policy-skip-invalid", Some("rest"), 15),
        ];
        for (from, to, code, statement, line) in cases {
            assert!(GOOD.contains(from), "{from}");
            let text = GOOD.replacen(from, to, 1);
            let error = Policy::parse(text.as_bytes()).expect_err(&text);
            let got = (error.code().as_str(), error.statement(), error.line());
            assert_eq!(got, (code, statement, line), "{to}: {error}");
            assert!(error.remedy().is_some_and(|remedy| !remedy.ends_with('.')), "{error}");
        }
    }

    #[test]
    fn an_error_reads_as_one_line() {
        let error = error_of(&GOOD.replace("permissive", "paranoid"));
        let expected =
            "line 8, statement `apps`: `paranoid` is none of the levels strict, permissive, audit, skip".to_owned();
        assert_eq!(one_line(&error), expected);
        let error = error_of(&GOOD.replace("\"rest\"", "\"apps\""));
        assert_eq!(error.to_string(), "line 15, statement `apps`: the statement at line 4 has the same name");
    }

    #[test]
    fn a_statement_that_skips_names_nobody_and_governs_named_repositories_only() {
        let skip = |members: &str| {
            format!(
                r#"{{"version": "1.0", "trustPolicies": [{{"name": "p", "registryScopes": ["a.example/b"],
                "signatureVerification": {{"level": "skip", "override": {{}}}}{members}}}]}}"#
            )
        };
        for members in ["", ", \"trustStores\": [], \"trustedIdentities\": []", ", \"trustStores\": null"] {
            let policy = Policy::parse(skip(members).as_bytes()).unwrap();
            assert_eq!(policy.statements()[0].action(Validation::Integrity), Action::Skip);
        }
        for members in [", \"trustStores\": [\"ca:a\"]", ", \"trustedIdentities\": [\"*\"]"] {
            assert_eq!(error_of(&skip(members)).code(), Code("policy-skip-invalid"));
        }
        let customised = skip("").replace("{}", "{\"expiry\": \"log\"}");
        assert_eq!(error_of(&customised).code(), Code("policy-override-invalid"));
    }

    #[test]
    fn bytes_that_are_no_policy_are_refused_without_a_panic() {
        for bytes in
            [&b""[..], b" ", b"null", b"[]", b"\"1.0\"", b"{}", b"{\"version\"", b"\xff\xfe", b"{\"a\":\"\xff\"}"]
        {
            assert!(Policy::parse(bytes).is_err(), "{bytes:?}");
        }
        let padded = |size: usize| format!("{GOOD}{}", " ".repeat(size - GOOD.len()));
        assert!(Policy::parse(padded(MAX_POLICY_SIZE).as_bytes()).is_ok());
        assert_eq!(error_of(&padded(MAX_POLICY_SIZE + 1)).code(), Code("policy-too-large"));
        let line_of_bad_byte = [GOOD.as_bytes(), b"\n\xff"].concat();
        assert_eq!(Policy::parse(&line_of_bad_byte).unwrap_err().line(), 25);
    }

    #[test]
    fn the_list_of_trusted_identities_is_bounded() {
        let with = |count: usize| {
            let identities: Vec<String> = (0..count).map(|at| format!("\"com.acme.id: {at}\"")).collect();
            GOOD.replace("\"com.acme.id: 7\"", &identities.join(","))
        };
        assert!(Policy::parse(with(crate::policy::MAX_IDENTITIES).as_bytes()).is_ok());
        assert_eq!(error_of(&with(crate::policy::MAX_IDENTITIES + 1)).code(), Code("policy-identities-too-many"));
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Case {
        #[serde(rename = "case")]
        name: String,
        policy_text: String,
        artifact_reference: String,
        expected: Expected,
    }

    #[derive(serde::Deserialize)]
    struct Expected {
        result: String,
        statement: Option<String>,
    }

    impl Case {
        /// `statement NAME`, `none` or `invalid`.
        fn run(&self) -> String {
            let Ok(policy) = Policy::parse(self.policy_text.as_bytes()) else { return "invalid".into() };
            let (repository, _) = self.artifact_reference.rsplit_once('@').unwrap();
            match policy.statement_for_scope(repository) {
                Some(statement) => format!("statement {}", statement.name()),
                None => "none".into(),
            }
        }
    }

    #[test]
    fn vectors_select_the_statement_they_expect() {
        let cases: Vec<Case> =
            serde_json::from_slice(&std::fs::read("tests/vectors/policy-cases.json").unwrap()).unwrap();
        assert_eq!(cases.len(), 36);
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|case| {
                let expected = [Some(case.expected.result.as_str()), case.expected.statement.as_deref()];
                let expected = expected.into_iter().flatten().collect::<Vec<_>>().join(" ");
                let got = case.run();
                (got != expected).then(|| format!("{}: expected {expected}, got {got}", case.name))
            })
            .collect();
        assert!(wrong.is_empty(), "{} of {} vectors:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }
}
