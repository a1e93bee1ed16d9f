//! One statement of a trust policy: how strictly it judges, and whom it trusts.
//!
//! Follows the Notary trust policy specification, "Trust Policy Properties" and "Trusted Identities Constraints".

use serde_json::value::RawValue;

use super::fault::{InvalidPolicy, PolicyFault};
use super::members::{Object, PolicyText};
use super::selection::Reach;
use super::{
    Action, Identities, Identity, InvalidIdentity, InvalidTrustStore, Level, LevelName, Scope, TrustStore, Validation,
    VerifyTimestamp,
};
use crate::remedy::excerpt;

/// The most trusted identities of a statement. Each is compared with each when the policy is read, and half a million
/// comparisons still take well under a second.
pub const MAX_IDENTITIES: usize = 1000;

/// One entry of a trust policy: what it governs, and what a signature must satisfy there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    name: String,
    line: usize,
    reach: Reach,
    level: Level,
    verify_timestamp: VerifyTimestamp,
    trust_stores: Vec<TrustStore>,
    identities: Identities,
}

impl Statement {
    /// Reads what judges, for a statement whose name and reach are known to be good.
    pub(super) fn read(
        file: &PolicyText<'_>,
        object: &Object<'_>,
        name: &str,
        reach: Reach,
        fault_of_skip: Option<PolicyFault>,
    ) -> Result<Self, InvalidPolicy> {
        let (level, verify_timestamp) = read_judging(file, object)?;
        if let Some(fault) = fault_of_skip.filter(|_| level.name() == LevelName::Skip) {
            return Err(file.fault(object.value(), fault));
        }
        let (trust_stores, identities) = read_trust(file, object, level.name())?;
        let (name, line) = (name.to_owned(), file.line_of(object.value()));
        Ok(Self { name, line, reach, level, verify_timestamp, trust_stores, identities })
    }

    /// The name, unique in its policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line of the file on which the statement begins, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The repositories that the statement governs: at least one in a policy for images, none in one for blobs.
    pub fn scopes(&self) -> &[Scope] {
        match &self.reach {
            Reach::Repositories(scopes) => scopes,
            Reach::Blobs { .. } => &[],
        }
    }

    /// Whether the statement governs every blob for which no statement is named.
    pub fn is_global(&self) -> bool {
        self.reach == Reach::Blobs { global: true }
    }

    /// The verification level. Overrides may have changed single actions: see [`Statement::action`].
    pub fn level(&self) -> LevelName {
        self.level.name()
    }

    /// What a failure of this validation leads to.
    pub fn action(&self, validation: Validation) -> Action {
        self.level.action(validation)
    }

    /// When a time-stamp is asked for.
    pub fn verify_timestamp(&self) -> VerifyTimestamp {
        self.verify_timestamp
    }

    /// The trust stores whose anchors count. Empty at level skip only.
    pub fn trust_stores(&self) -> &[TrustStore] {
        &self.trust_stores
    }

    /// The signers that are accepted. Nobody at level skip.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }
}

/// The name, once no member is known to be misspelt or doubled.
pub(super) fn read_name(file: &PolicyText<'_>, statement: &Object<'_>) -> Result<String, InvalidPolicy> {
    let value = statement.require(file, "name")?;
    let name = file.string(value, "`name`")?;
    if name.is_empty() { Err(file.fault(value, PolicyFault::EmptyName)) } else { Ok(name) }
}

/// Level, overrides and the choice about time-stamps.
fn read_judging(file: &PolicyText<'_>, statement: &Object<'_>) -> Result<(Level, VerifyTimestamp), InvalidPolicy> {
    let value = statement.require(file, "signatureVerification")?;
    let judging =
        file.object(value, "`signatureVerification`")?.expect(file, &["level", "override", "verifyTimestamp"])?;
    let value = judging.require(file, "level")?;
    let text = file.string(value, "`level`")?;
    let name = LevelName::named(&text).ok_or_else(|| file.fault(value, PolicyFault::Level(excerpt(&text))))?;
    let mut level = Level::named(name);
    if let Some(value) = judging.get("override") {
        let overrides = file.object(value, "`override`")?;
        for (validation, value) in overrides.unique(file)? {
            let action = file.string(value, "an action of `override`")?;
            level.override_action(validation, &action).map_err(|error| file.fault(value, error))?;
        }
    }
    let verify_timestamp = match judging.get("verifyTimestamp") {
        None => VerifyTimestamp::default(),
        Some(value) => {
            let text = file.string(value, "`verifyTimestamp`")?;
            let unknown = || file.fault(value, PolicyFault::VerifyTimestamp(excerpt(&text)));
            VerifyTimestamp::named(&text).ok_or_else(unknown)?
        }
    };
    Ok((level, verify_timestamp))
}

/// Whom to trust: nobody may be named at level skip, and somebody must be at every other level.
fn read_trust(
    file: &PolicyText<'_>,
    statement: &Object<'_>,
    level: LevelName,
) -> Result<(Vec<TrustStore>, Identities), InvalidPolicy> {
    let entries = |name, what| match statement.get(name) {
        Some(value) => file.list(value, what).map(|entries| (Some(value), entries)),
        None => Ok((None, Vec::new())),
    };
    let (stores_at, stores) = entries("trustStores", "`trustStores`")?;
    let (identities_at, identities) = entries("trustedIdentities", "`trustedIdentities`")?;
    if level == LevelName::Skip {
        for (at, name, entries) in
            [(stores_at, "trustStores", &stores), (identities_at, "trustedIdentities", &identities)]
        {
            if let Some(value) = at.filter(|_| !entries.is_empty()) {
                return Err(file.fault(value, PolicyFault::SkipWithTrust(name)));
            }
        }
        return Ok((Vec::new(), Identities::Listed(Vec::new())));
    }
    if stores.is_empty() {
        return Err(file.fault(stores_at.unwrap_or(statement.value()), PolicyFault::NoStores));
    }
    if identities.is_empty() {
        return Err(file.fault(identities_at.unwrap_or(statement.value()), PolicyFault::NoIdentities));
    }
    Ok((read_stores(file, &stores)?, read_identities(file, &identities)?))
}

fn read_stores(file: &PolicyText<'_>, values: &[&RawValue]) -> Result<Vec<TrustStore>, InvalidPolicy> {
    let read = |value: &&RawValue| {
        let text = file.string(value, "a trust store")?;
        text.parse().map_err(|error: InvalidTrustStore| file.fault(value, error))
    };
    values.iter().map(read).collect()
}

fn read_identities(file: &PolicyText<'_>, values: &[&RawValue]) -> Result<Identities, InvalidPolicy> {
    let mut identities: Vec<Identity> = Vec::with_capacity(values.len().min(MAX_IDENTITIES));
    for value in values {
        if values.len() > MAX_IDENTITIES {
            return Err(file.fault(value, PolicyFault::TooManyIdentities(values.len())));
        }
        let text = file.string(value, "a trusted identity")?;
        if text == "*" {
            let alone = values.len() == 1;
            let not_alone = || file.fault(value, PolicyFault::WildcardIdentity);
            return alone.then_some(Identities::Any).ok_or_else(not_alone);
        }
        let identity: Identity = text.parse().map_err(|error: InvalidIdentity| file.fault(value, error))?;
        if let Some(other) = identities.iter().find(|other| other.overlaps(&identity)) {
            let (one, other) = (excerpt(identity.as_str()), excerpt(other.as_str()));
            return Err(file.fault(value, PolicyFault::IdentitiesOverlap { one, other }));
        }
        identities.push(identity);
    }
    Ok(Identities::Listed(identities))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Certificate;
    use crate::policy::Policy;
    use crate::remedy::{Code, Remedy};

    fn policy_with(identities: &[String]) -> Result<Policy, InvalidPolicy> {
        let document = serde_json::json!({"version": "1.0", "trustPolicies": [{
            "name": "p", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:acme"], "trustedIdentities": identities,
        }]});
        Policy::parse(document.to_string().as_bytes())
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Case {
        #[serde(rename = "case")]
        name: String,
        trusted_identities: Vec<String>,
        subject_cert: String,
        expected: Expected,
    }

    #[derive(serde::Deserialize)]
    struct Expected {
        result: String,
    }

    impl Case {
        fn run(&self) -> &'static str {
            let Ok(policy) = policy_with(&self.trusted_identities) else { return "invalid-policy" };
            let certificate = std::fs::read(format!("tests/vectors/{}", self.subject_cert)).unwrap();
            let certificate = Certificate::read_all(&certificate).unwrap().remove(0);
            let accepts = policy.statements()[0].identities().accepts(certificate.subject());
            if accepts { "match" } else { "no-match" }
        }
    }

    #[test]
    fn vectors_accept_the_signers_they_expect() {
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read("tests/vectors/dn-cases.json").unwrap()).unwrap();
        assert_eq!(cases.len(), 20);
        for case in cases {
            assert_eq!(case.run(), case.expected.result, "{}", case.name);
        }
    }

    #[test]
    fn a_bad_identity_is_told_by_its_own_code() {
        let code = |identities: &[&str]| {
            let identities: Vec<String> = identities.iter().map(ToString::to_string).collect();
            policy_with(&identities).map(|_| ()).map_err(|error| error.code())
        };
        let (narrow, wide) = ("x509.subject: C=US, ST=WA, O=a, OU=b", "x509.subject: C=US, ST=WA, O=a");
        assert_eq!(code(&[narrow, "x509.subject: C=US, ST=WA, O=a, OU=c"]), Ok(()));
        assert_eq!(code(&[narrow, wide]), Err(Code("policy-identities-overlap")));
        assert_eq!(code(&[wide, narrow]), Err(Code("policy-identities-overlap")));
        assert_eq!(code(&["x509.subject: C=US, ST=WA"]), Err(Code("policy-identity-invalid")));
    }
}
