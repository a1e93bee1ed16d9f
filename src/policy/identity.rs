//! Whose signatures a statement accepts.
//!
//! An entry is `prefix:value`. Only `x509.subject` is understood here; an entry of another prefix is well formed and
//! accepts nobody, which is the safe reading of what one does not know.
//!
//! Follows the Notary trust policy specification, "Trusted Identities Constraints".

use std::fmt;
use std::str::FromStr;

use crate::pki::{DistinguishedName, InvalidPattern, SubjectPattern};
use crate::remedy::excerpt;

const SUBJECT_PREFIX: &str = "x509.subject";

/// The signers that a statement accepts, among those whose chain leads to one of its trust anchors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identities {
    /// `*`: every signer.
    Any,
    /// A signer whom one of the entries accepts.
    Listed(Vec<Identity>),
}

/// One entry of `trustedIdentities` other than `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    text: String,
    // `None`: a prefix that only a plugin would understand.
    subject: Option<SubjectPattern>,
}

/// Why a text is not a trusted identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIdentity {
    /// No colon, or nothing in front of it.
    #[error("the trusted identity `{0}` is not written `prefix:value`")]
    NoPrefix(String),
    /// The value of an `x509.subject` entry is not a list of attributes that a subject can be compared with.
    #[error("the trusted identity `{identity}` is not a certificate subject")]
    Subject {
        /// The entry as written.
        identity: String,
        /// What is wrong with its value.
        source: InvalidPattern,
    },
}

impl Identities {
    /// The entries; none where every signer is accepted.
    pub fn listed(&self) -> &[Identity] {
        match self {
            Self::Any => &[],
            Self::Listed(identities) => identities,
        }
    }

    /// Whether a certificate with this subject may sign.
    pub fn accepts(&self, subject: &DistinguishedName) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(identities) => identities.iter().any(|identity| identity.accepts(subject)),
        }
    }
}

impl Identity {
    /// The entry as written in the policy.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether every attribute of this entry is in the subject. An entry of an unknown prefix accepts nobody.
    pub fn accepts(&self, subject: &DistinguishedName) -> bool {
        self.subject.as_ref().is_some_and(|pattern| pattern.matches(subject))
    }

    /// Whether the pairs of one entry are among those of the other: then one of the two says nothing, and which one was
    /// meant is unknown.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (&self.subject, &other.subject) {
            (Some(one), Some(two)) => one.is_subset_of(two) || two.is_subset_of(one),
            _ => false,
        }
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(s: &str) -> Result<Self, InvalidIdentity> {
        let subject = match s.split_once(':') {
            None | Some(("", _)) => return Err(InvalidIdentity::NoPrefix(excerpt(s))),
            Some((SUBJECT_PREFIX, value)) => {
                let not_a_subject = |source| InvalidIdentity::Subject { identity: excerpt(s), source };
                Some(value.parse().map_err(not_a_subject)?)
            }
            Some(_) => None,
        };
        Ok(Self { text: s.to_owned(), subject })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_a_prefix_is_refused_and_one_with_an_unknown_prefix_is_not() {
        for text in ["", "acme", ":7"] {
            assert_eq!(text.parse::<Identity>().unwrap_err(), InvalidIdentity::NoPrefix(text.into()));
        }
        let unknown: Identity = "com.acme.id: 7".parse().unwrap();
        assert_eq!(unknown.as_str(), "com.acme.id: 7");
        assert!(!unknown.overlaps(&unknown.clone()));
        // The prefix is compared with case.
        assert!("X509.Subject: anything".parse::<Identity>().is_ok());
        assert!(matches!("x509.subject: C=US, ST=WA".parse::<Identity>(), Err(InvalidIdentity::Subject { .. })));
    }

    #[test]
    fn an_entry_overlaps_another_when_its_pairs_are_among_the_others() {
        let identity = |value: &str| format!("x509.subject: C=US, ST=WA, O=a{value}").parse::<Identity>().unwrap();
        assert!(identity("").overlaps(&identity(", OU=b")));
        assert!(identity(", OU=b").overlaps(&identity("")));
        assert!(identity("").overlaps(&identity("")));
        assert!(!identity(", OU=a").overlaps(&identity(", OU=b")));
    }
}
