//! What signing keys may be used for, and who must agree: `keyusage.toml`.
//!
//! A key is known by its certificate's public key, not by a name: whoever renames it in `signingkeys.json`, or gives it
//! another certificate, is asked for the same approvals. The name counts as well, for keys whose certificate nobody knows
//! before they have signed.
//!
//! The file is read whole or not at all. While it is broken nothing is signed: what it would have said is unknown.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::attach_profile::{RevocationChoice, trust_stores};
use super::file::FileError;
use super::toml_file::{self, TomlFileError, TomlText};
use super::value;
use super::{NotationDir, strict_policy};
use crate::pki::{Certificate, InvalidCertificate};
use crate::policy::{Identity, InvalidPolicy, Policy, TrustStore};
use crate::remedy::{Code, Remedy, one_line, printable};

/// The name of the file in a notation directory.
const FILE: &str = "keyusage.toml";
/// The record of the steps, where the file names no other.
const RECORD: &str = "approvals.log";
/// The largest file, in bytes: hundreds of keys.
const MAX_FILE_SIZE: u64 = 256 * 1024;
/// The largest certificate file, in bytes. A chain of four RSA certificates has eight thousand.
const MAX_CERTIFICATE_SIZE: u64 = 256 * 1024;
/// How an approver is written: nothing else tells people apart here.
const SUBJECT: &str = "x509.subject:";
/// The most approvers that a key may have, as many as a request file has room for.
const MAX_APPROVERS: usize = 32;

/// The usage policies of a notation directory.
#[derive(Clone, Debug)]
pub struct KeyUsage {
    /// Where each step is written down.
    pub record: PathBuf,
    rules: Vec<UsageRule>,
}

/// Who must agree before a key signs.
#[derive(Clone, Debug)]
pub struct UsageRule {
    /// What the file calls the key.
    pub name: String,
    /// The key's certificate.
    pub certificate: Certificate,
    /// How many approvers must agree.
    pub approvals: NonZeroUsize,
    /// How long a request is good.
    pub valid_for: Duration,
    /// Whether who asks may also approve.
    pub requester_may_approve: bool,
    /// Whose signatures are approvals.
    pub approvers: Policy,
    /// Whose signatures are requests.
    pub requesters: Policy,
}

/// Why nothing is known about the usage of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyUsageError {
    /// The file, or the certificate that it names, cannot be used.
    #[error(transparent)]
    File(#[from] TomlFileError),
    /// What it names as the key's certificate is none.
    #[error("{} holds no certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidCertificate,
    },
    /// There is no such file, and somebody asks for approvals by it.
    #[error("there is no usage policy for keys at {}", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// It says nothing about this key.
    #[error("{} says nothing about the key `{key}`", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        key: String,
    },
}

impl KeyUsageError {
    /// There is no such file in this directory.
    pub fn missing_in(directory: &NotationDir) -> Self {
        Self::Missing { path: directory.path().join(FILE) }
    }
}

impl Remedy for KeyUsageError {
    fn code(&self) -> Code {
        Code(match self {
            Self::File(TomlFileError::Unreadable { .. }) => "usage-policy-unreadable",
            Self::File(TomlFileError::Invalid { .. }) => "usage-policy-invalid",
            Self::Certificate { .. } => "usage-policy-certificate",
            Self::Missing { .. } => "usage-policy-missing",
            Self::Unknown { .. } => "usage-policy-unknown",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::File(TomlFileError::Unreadable { source: FileError::Absent, .. }) | Self::Certificate { .. } => {
                "put the certificate of the key there, leaf first".into()
            }
            Self::File(fault) => return fault.remedy(),
            Self::Missing { path } => format!("write {}, with a table `[keys.NAME]` for the key", path.display()),
            Self::Unknown { .. } => "name a key as its table `[keys.NAME]` does".into(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, deserialize_with = "value::optional_absolute_path")]
    record: Option<PathBuf>,
    keys: BTreeMap<String, Spanned<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    certificate: PathBuf,
    approvals: NonZeroUsize,
    #[serde(deserialize_with = "value::positive_duration")]
    valid_for: Duration,
    #[serde(deserialize_with = "trust_stores")]
    trust_stores: Vec<TrustStore>,
    approvers: Vec<String>,
    requesters: Option<Vec<String>>,
    #[serde(default)]
    requester_may_approve: bool,
    #[serde(default)]
    revocation: RevocationChoice,
}

impl NotationDir {
    /// What the directory says about the usage of its keys; nothing where there is no such file.
    pub fn key_usage(&self) -> Result<Option<KeyUsage>, KeyUsageError> {
        let path = self.path().join(FILE);
        let bytes = match toml_file::read(&path, MAX_FILE_SIZE) {
            Err(TomlFileError::Unreadable { source: FileError::Absent, .. }) => return Ok(None),
            bytes => bytes?,
        };
        let text = TomlText { path: &path, bytes: &bytes };
        let document: Document = text.parse()?;
        let mut rules: Vec<UsageRule> = Vec::new();
        for (name, rule) in document.keys {
            let start = rule.span().start;
            let rule = self.usage_rule(&text, start, name, rule.get_ref())?;
            if let Some(other) = rules.iter().find(|other| is_same_key(&other.certificate, &rule.certificate)) {
                let message = format!("`{}` and `{}` are the same key", printable(&other.name), printable(&rule.name));
                return Err(text.invalid(start, &message).into());
            }
            rules.push(rule);
        }
        let record = document.record.unwrap_or_else(|| self.path().join(RECORD));
        Ok(Some(KeyUsage { record, rules }))
    }

    /// The rule for the key of this name, with the record.
    pub fn usage_rule_of(&self, key: &str) -> Result<(UsageRule, PathBuf), KeyUsageError> {
        let path = self.path().join(FILE);
        let Some(usage) = self.key_usage()? else { return Err(KeyUsageError::missing_in(self)) };
        let rule = usage.rules.into_iter().find(|rule| rule.name == key);
        let rule = rule.ok_or_else(|| KeyUsageError::Unknown { path, key: printable(key) })?;
        Ok((rule, usage.record))
    }

    fn usage_rule(
        &self,
        text: &TomlText<'_>,
        at: usize,
        name: String,
        rule: &Rule,
    ) -> Result<UsageRule, KeyUsageError> {
        let invalid =
            |message: &str| KeyUsageError::from(text.invalid(at, &format!("the key `{}` {message}", printable(&name))));
        if rule.approvers.len() > MAX_APPROVERS {
            return Err(invalid(&format!("has more than {MAX_APPROVERS} approvers")));
        }
        // The requester's approval may be one that does not count.
        if rule.approvals.get() > rule.approvers.len() {
            return Err(invalid("needs more approvals than it has approvers"));
        }
        let policy = |what: &str, identities: &[String]| {
            let policy = strict_policy(what, rule.trust_stores.iter(), identities, rule.revocation);
            policy.map_err(|error: InvalidPolicy| {
                invalid(&format!("has {what} that cannot be: {}", one_line(error.fault())))
            })
        };
        let approvers = policy("approvers", &rule.approvers)?;
        if identities_of(&approvers).is_empty() {
            return Err(invalid("has `*` as its approver, which tells nobody from anybody"));
        }
        if let Some(other) = identities_of(&approvers).iter().find(|identity| !identity.as_str().starts_with(SUBJECT)) {
            return Err(invalid(&format!("has the approver `{other}`, which is not a subject `{SUBJECT} …`")));
        }
        let requesters = policy("requesters", rule.requesters.as_ref().unwrap_or(&rule.approvers))?;
        Ok(UsageRule {
            certificate: leaf(&self.path().join(&rule.certificate))?,
            approvals: rule.approvals,
            valid_for: rule.valid_for,
            requester_may_approve: rule.requester_may_approve,
            approvers,
            requesters,
            name,
        })
    }
}

impl KeyUsage {
    /// The rule for a key, known by its name, by its certificate, or by both.
    pub fn governing(&self, name: Option<&str>, certificate: Option<&Certificate>) -> Option<&UsageRule> {
        let is_it = |rule: &&UsageRule| {
            name == Some(rule.name.as_str())
                || certificate.is_some_and(|certificate| is_same_key(&rule.certificate, certificate))
        };
        self.rules.iter().find(is_it)
    }
}

impl UsageRule {
    /// Who may approve, each of them one person.
    pub fn approver_identities(&self) -> &[Identity] {
        identities_of(&self.approvers)
    }
}

fn identities_of(policy: &Policy) -> &[Identity] {
    policy.statements().first().map_or(&[], |statement| statement.identities().listed())
}

/// Also where the two certificates write the key in different ways.
fn is_same_key(one: &Certificate, other: &Certificate) -> bool {
    let is_equal = matches!((one.public_key(), other.public_key()), (Ok(one), Ok(other)) if one == other);
    is_equal || one.key_bits() == other.key_bits()
}

/// The first certificate of a file.
fn leaf(path: &Path) -> Result<Certificate, KeyUsageError> {
    let bytes = toml_file::read(path, MAX_CERTIFICATE_SIZE)?;
    let certificates = Certificate::read_all(&bytes);
    let certificates = certificates.map_err(|source| KeyUsageError::Certificate { path: path.to_owned(), source })?;
    let absent = TomlFileError::Unreadable { path: path.to_owned(), source: FileError::Absent };
    Ok(certificates.into_iter().next().ok_or(absent)?)
}
