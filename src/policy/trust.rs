//! The policy and its trust anchors at one moment.
//!
//! A verdict is made against one [`Trust`] and records its digest. Reloading makes another one and swaps it in whole, so
//! no question is ever answered half by the old policy and half by the new one, and a cached verdict is out of reach as
//! soon as one byte of either has changed.
//!
//! A trust store that could not be loaded stays in the snapshot as a [`StoreProblem`]: it fails the statements that name
//! it, says why, and leaves the others in force.
//!
//! Follows the Notary trust policy specification, "Trust Store".

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Policy, Statement};
use crate::oci::Digest;
use crate::pki::Certificate;
use crate::remedy::{Code, Remedy, excerpt};

/// What the anchors of a trust store vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKind {
    /// Signers under the scheme `notary.x509`.
    Ca,
    /// Signers under the scheme `notary.x509.signingAuthority`.
    SigningAuthority,
    /// Time-stamping authorities.
    Tsa,
}

/// The name of a trust store, written `ca:acme`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustStore {
    kind: StoreKind,
    name: String,
}

/// Why a text does not name a trust store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTrustStore {
    /// There is no colon.
    #[error("the trust store `{0}` is not written `type:name`")]
    NoKind(String),
    /// What stands before the colon is not a type.
    #[error("the trust store type `{kind}` is none of ca, signingAuthority, tsa")]
    Kind {
        /// The type as written.
        kind: String,
        /// What follows the colon.
        name: String,
    },
    /// What follows the colon could lead out of the directory of trust stores, or is not in the specification's alphabet.
    #[error("the trust store name `{name}` is not made of letters, digits, `_`, `-` and `.`, or is dots alone")]
    Name {
        /// The type.
        kind: StoreKind,
        /// The name as written.
        name: String,
    },
}

impl Remedy for InvalidTrustStore {
    fn code(&self) -> Code {
        Code("trust-store-name-invalid")
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoKind(_) | Self::Kind { .. } => "write `ca:NAME`, `signingAuthority:NAME` or `tsa:NAME`".into(),
            Self::Name { .. } => "choose a name of letters, digits, `_`, `.` and `-`, and not of dots alone".into(),
        })
    }
}

/// Whether a name can be a file's or a directory's without leading anywhere else: letters, digits, `_`, `.` and `-`, and
/// not dots alone. The specification's alphabet lets `..` through.
pub fn is_safe_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    name.bytes().all(is_allowed) && name.bytes().any(|b| b != b'.')
}

impl StoreKind {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Ca, Self::SigningAuthority, Self::Tsa];

    /// The type as it stands in a trust policy, and the name of its directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::SigningAuthority => "signingAuthority",
            Self::Tsa => "tsa",
        }
    }

    /// Why a certificate cannot be an anchor of a store of this kind, said of the certificate; nothing where it can
    /// (specification, "Trust Store": an authority or self-signed, for time-stamping both).
    pub fn fault_of(self, certificate: &Certificate) -> Option<&'static str> {
        let (is_anchor, fault) = match self {
            Self::Ca | Self::SigningAuthority => {
                (certificate.is_ca() || certificate.is_self_signed(), "neither a certificate authority nor self-signed")
            }
            Self::Tsa => {
                (certificate.is_ca() && certificate.is_self_signed(), "not a self-signed certificate authority")
            }
        };
        (!is_anchor).then_some(fault)
    }
}

impl TrustStore {
    /// The store of this kind and name.
    pub fn new(kind: StoreKind, name: impl Into<String>) -> Result<Self, InvalidTrustStore> {
        let name = name.into();
        if is_safe_name(&name) {
            Ok(Self { kind, name })
        } else {
            Err(InvalidTrustStore::Name { kind, name: excerpt(&name) })
        }
    }

    /// What its anchors vouch for.
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// The name alone, safe as the name of a directory.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for TrustStore {
    type Err = InvalidTrustStore;

    fn from_str(s: &str) -> Result<Self, InvalidTrustStore> {
        let (kind, name) = s.split_once(':').ok_or_else(|| InvalidTrustStore::NoKind(excerpt(s)))?;
        let kind = StoreKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| InvalidTrustStore::Kind { kind: excerpt(kind), name: excerpt(name) })?;
        Self::new(kind, name)
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// Why a trust store has no anchors: pure data, so that it can be kept beside the stores that do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreProblem {
    code: Code,
    message: String,
    remedy: Option<String>,
}

impl StoreProblem {
    /// There is no such trust store.
    pub const MISSING: Code = Code("trust-store-missing");
    /// The trust store holds nothing.
    pub const EMPTY: Code = Code("trust-store-empty");

    /// Whether nobody is trusted by this store, rather than something written wrongly in it: then trust was taken away,
    /// which must not wait until somebody mends a file.
    pub fn is_absence(&self) -> bool {
        [Self::MISSING, Self::EMPTY].contains(&self.code)
    }

    /// The message names the path; the remedy is one sentence without a full stop.
    pub fn new(code: Code, message: String, remedy: Option<String>) -> Self {
        Self { code, message, remedy }
    }

    fn not_loaded(what: &str) -> Self {
        Self::new(Code("trust-store-not-loaded"), format!("{what} was not loaded"), None)
    }
}

impl Remedy for StoreProblem {
    fn code(&self) -> Code {
        self.code
    }

    fn remedy(&self) -> Option<String> {
        self.remedy.clone()
    }
}

/// The trust anchors of a store, or why there are none.
type Anchors = Result<Vec<Certificate>, StoreProblem>;

/// A policy and the trust anchors it names: the one immutable snapshot that a verdict is made against.
#[derive(Debug)]
pub struct Trust {
    policy: Policy,
    stores: BTreeMap<TrustStore, Anchors>,
    origin: String,
    digest: Digest,
    /// The answer about a store that the policy does not name.
    not_named: StoreProblem,
}

impl Trust {
    /// Joins a policy with what was loaded for the stores it names. A store that is missing from `stores` becomes a
    /// problem of its own. `origin` says where the policy came from, such as its path, for messages.
    pub fn new(policy: Policy, mut stores: BTreeMap<TrustStore, Anchors>, origin: String) -> Self {
        for store in policy.trust_stores() {
            let problem = || Err(StoreProblem::not_loaded(&format!("the trust store `{store}`")));
            stores.entry(store.clone()).or_insert_with(problem);
        }
        let digest = digest_of(&policy, &stores);
        let not_named = StoreProblem::not_loaded("a trust store that no statement names");
        Self { policy, stores, origin, digest, not_named }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The trust anchors of this store, at least one, or why it has none.
    pub fn anchors(&self, store: &TrustStore) -> Result<&[Certificate], &StoreProblem> {
        match self.stores.get(store) {
            Some(Ok(anchors)) => Ok(anchors),
            Some(Err(problem)) => Err(problem),
            None => Err(&self.not_named),
        }
    }

    /// Every store that could not be loaded, and why.
    pub fn problems(&self) -> impl Iterator<Item = (&TrustStore, &StoreProblem)> {
        self.stores.iter().filter_map(|(store, anchors)| Some((store, anchors.as_ref().err()?)))
    }

    /// Why a trust store that the statement names cannot be used, if one cannot.
    pub fn problem_of(&self, statement: &Statement) -> Option<&StoreProblem> {
        statement.trust_stores().iter().find_map(|store| self.anchors(store).err())
    }

    /// Where the policy came from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// SHA-256 over the policy's bytes and every store's name and anchors: equal for equal trust, and different as soon
    /// as either changes. The order of the files in a store does not matter.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

fn digest_of(policy: &Policy, stores: &BTreeMap<TrustStore, Anchors>) -> Digest {
    let mut bytes = Vec::new();
    // Lengths stand before the parts, so that no byte can move from one part to the next unnoticed.
    let mut part = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    part(policy.text().as_bytes());
    for (store, anchors) in stores {
        part(store.to_string().as_bytes());
        match anchors {
            Ok(anchors) => {
                let mut anchors: Vec<&[u8]> = anchors.iter().map(Certificate::der).collect();
                anchors.sort_unstable();
                part(b"anchors");
                part(&(anchors.len() as u64).to_be_bytes());
                anchors.into_iter().for_each(&mut part);
            }
            Err(problem) => {
                part(b"problem");
                part(problem.code.as_str().as_bytes());
                part(problem.message.as_bytes());
            }
        }
    }
    Digest::sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"{"version": "1.0", "trustPolicies": [{"name": "all", "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"}, "trustStores": ["ca:acme", "tsa:clock"],
        "trustedIdentities": ["*"]}]}"#;

    fn store(text: &str) -> TrustStore {
        text.parse().unwrap()
    }

    fn trust(text: &str, stores: impl IntoIterator<Item = (TrustStore, Anchors)>) -> Trust {
        Trust::new(Policy::parse(text.as_bytes()).unwrap(), stores.into_iter().collect(), "test".into())
    }

    #[test]
    fn a_trust_store_has_a_known_type_and_a_name_that_stays_in_its_directory() {
        for text in ["ca:acme", "signingAuthority:Acme_1.x", "tsa:-.a"] {
            assert_eq!(store(text).to_string(), text);
        }
        let error = |text: &str| text.parse::<TrustStore>().unwrap_err();
        assert_eq!(error("acme"), InvalidTrustStore::NoKind("acme".into()));
        assert_eq!(error("CA:acme"), InvalidTrustStore::Kind { kind: "CA".into(), name: "acme".into() });
        for name in ["", ".", "..", "...", "a/b", "a b", "a:b", "ä", "a\0"] {
            assert!(matches!(error(&format!("ca:{name}")), InvalidTrustStore::Name { .. }), "{name:?}");
        }
    }

    #[test]
    fn a_store_that_nobody_loaded_is_a_problem_and_not_an_empty_store() {
        let trust = trust(POLICY, []);
        assert_eq!(trust.problems().count(), 2);
        let problem = trust.anchors(&store("ca:acme")).unwrap_err();
        assert_eq!(problem.to_string(), "the trust store `ca:acme` was not loaded");
        assert_eq!(trust.anchors(&store("ca:other")).unwrap_err().code(), Code("trust-store-not-loaded"));
    }

    #[test]
    fn the_digest_changes_with_the_policy_and_with_each_store() {
        let problem = |message: &str| Err(StoreProblem::new(StoreProblem::EMPTY, message.into(), None));
        let digests = [
            trust(POLICY, []),
            trust(&format!("{POLICY}\n"), []),
            trust(POLICY, [(store("ca:acme"), problem("a"))]),
            trust(POLICY, [(store("tsa:clock"), problem("a"))]),
            trust(POLICY, [(store("ca:acme"), problem("b"))]),
        ]
        .map(|trust| trust.digest().clone());
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), digests.len());
        assert_eq!(trust(POLICY, []).digest(), &digests[0]);
    }

    #[test]
    fn the_digest_changes_with_the_anchors_and_not_with_their_order() {
        let certificate = |name: &str| {
            let path = format!("tests/vectors/truststores/acme/x509/ca/acme-rockets/{name}");
            Certificate::read_all(&std::fs::read(path).unwrap()).unwrap().remove(0)
        };
        let (one, two) = (certificate("p256-root.pem"), certificate("p384-root.pem"));
        let digest = |anchors: Vec<Certificate>| trust(POLICY, [(store("ca:acme"), Ok(anchors))]).digest().clone();
        assert_ne!(digest(vec![one.clone()]), digest(vec![two.clone()]));
        assert_ne!(digest(vec![one.clone()]), digest(vec![one.clone(), two.clone()]));
        assert_eq!(digest(vec![one.clone(), two.clone()]), digest(vec![two, one]));
    }
}
