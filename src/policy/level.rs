//! How strictly a statement judges: one action for each of the five validations.
//!
//! A level is a row of the specification's table and nothing more. Validations state what they found; whether a failed
//! one denies, is recorded or is not even looked at is answered here alone, so that `audit` and `strict` run the same
//! code.
//!
//! Follows the Notary trust policy specification, "Signature Verification details" and "Custom Verification Level".

use std::fmt;

use serde::Serialize;

use crate::remedy::excerpt;

/// What is asked about a signature, in the order of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Validation {
    /// The envelope is of good form and its signature is that of the key in its certificate.
    Integrity,
    /// The chain leads to a trust anchor and the signer is a trusted identity.
    Authenticity,
    /// The signature was made while its certificates were valid.
    AuthenticTimestamp,
    /// The signer's own time limit has not passed.
    Expiry,
    /// No certificate of the chain is revoked.
    Revocation,
}

/// What a failed validation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The signature does not count.
    Enforce,
    /// The failure is recorded and the signature counts.
    Log,
    /// The validation is not made.
    Skip,
}

/// The four rows of the specification's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LevelName {
    /// Every validation is enforced.
    Strict,
    /// Integrity and authenticity are enforced, the others recorded.
    Permissive,
    /// Integrity is enforced, the others recorded.
    Audit,
    /// Nothing is looked at.
    Skip,
}

/// A row of the table, with the overrides of a statement applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    name: LevelName,
    integrity: Action,
    authenticity: Action,
    authentic_timestamp: Action,
    expiry: Action,
    revocation: Action,
}

/// When the time-stamp of a signature is asked for (specification, "verifyTimestamp").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VerifyTimestamp {
    /// Whenever the statement names a `tsa` trust store.
    #[default]
    Always,
    /// Only when a certificate of the chain has expired.
    AfterCertExpiry,
}

impl Level {
    /// The row of this name, without overrides.
    pub fn named(name: LevelName) -> Self {
        use Action::{Enforce, Log, Skip};
        let (integrity, authenticity, rest) = match name {
            LevelName::Strict => (Enforce, Enforce, Enforce),
            LevelName::Permissive => (Enforce, Enforce, Log),
            LevelName::Audit => (Enforce, Log, Log),
            LevelName::Skip => (Skip, Skip, Skip),
        };
        Self { name, integrity, authenticity, authentic_timestamp: rest, expiry: rest, revocation: rest }
    }

    /// The name of the row.
    pub fn name(&self) -> LevelName {
        self.name
    }

    /// What a failure of this validation leads to.
    pub fn action(&self, validation: Validation) -> Action {
        match validation {
            Validation::Integrity => self.integrity,
            Validation::Authenticity => self.authenticity,
            Validation::AuthenticTimestamp => self.authentic_timestamp,
            Validation::Expiry => self.expiry,
            Validation::Revocation => self.revocation,
        }
    }

    /// Replaces one action, both sides as they stand in the policy. Integrity is never negotiable, `skip` is for
    /// revocation alone, and the level `skip` cannot be customised.
    pub fn override_action(&mut self, validation: &str, action: &str) -> Result<(), InvalidOverride> {
        if self.name == LevelName::Skip {
            return Err(InvalidOverride::OfSkip);
        }
        let slot = match Validation::named(validation) {
            Some(Validation::Integrity) => return Err(InvalidOverride::Integrity),
            Some(Validation::Authenticity) => &mut self.authenticity,
            Some(Validation::AuthenticTimestamp) => &mut self.authentic_timestamp,
            Some(Validation::Expiry) => &mut self.expiry,
            Some(Validation::Revocation) => &mut self.revocation,
            None => return Err(InvalidOverride::Validation(excerpt(validation))),
        };
        *slot = match Action::named(action) {
            Some(Action::Skip) if validation != Validation::Revocation.as_str() => {
                return Err(InvalidOverride::Skip(excerpt(validation)));
            }
            Some(action) => action,
            None => return Err(InvalidOverride::Action(excerpt(action))),
        };
        Ok(())
    }
}

/// Why an entry of `override` is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOverride {
    /// The statement's level is `skip`.
    #[error("the level `skip` cannot be customised")]
    OfSkip,
    /// Integrity is always enforced.
    #[error("the validation `integrity` cannot be overridden")]
    Integrity,
    /// There is no such validation.
    #[error("`{0}` is none of the validations authenticity, authenticTimestamp, expiry, revocation")]
    Validation(String),
    /// There is no such action.
    #[error("`{0}` is none of the actions enforce, log, skip")]
    Action(String),
    /// Only revocation can be skipped.
    #[error("the validation `{0}` can be enforced or logged, not skipped")]
    Skip(String),
}

impl Validation {
    /// All five, in the order of the specification.
    pub const ALL: [Self; 5] =
        [Self::Integrity, Self::Authenticity, Self::AuthenticTimestamp, Self::Expiry, Self::Revocation];

    /// The name as it stands in a trust policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Authenticity => "authenticity",
            Self::AuthenticTimestamp => "authenticTimestamp",
            Self::Expiry => "expiry",
            Self::Revocation => "revocation",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|validation| validation.as_str() == name)
    }
}

impl Action {
    /// The name as it stands in a trust policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Log => "log",
            Self::Skip => "skip",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Enforce, Self::Log, Self::Skip].into_iter().find(|action| action.as_str() == name)
    }
}

impl LevelName {
    /// The name as it stands in a trust policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Permissive => "permissive",
            Self::Audit => "audit",
            Self::Skip => "skip",
        }
    }

    /// The level of this exact name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Strict, Self::Permissive, Self::Audit, Self::Skip].into_iter().find(|level| level.as_str() == name)
    }
}

impl VerifyTimestamp {
    /// The name as it stands in a trust policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::AfterCertExpiry => "afterCertExpiry",
        }
    }

    /// The choice of this exact name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Always, Self::AfterCertExpiry].into_iter().find(|choice| choice.as_str() == name)
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for LevelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for VerifyTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(level: &Level) -> String {
        Validation::ALL.map(|validation| level.action(validation).as_str()).join(" ")
    }

    #[test]
    fn the_four_levels_are_the_rows_of_the_specification() {
        for (name, expected) in [
            ("strict", "enforce enforce enforce enforce enforce"),
            ("permissive", "enforce enforce log log log"),
            ("audit", "enforce log log log log"),
            ("skip", "skip skip skip skip skip"),
        ] {
            let level = Level::named(LevelName::named(name).unwrap());
            assert_eq!((level.name().as_str(), row(&level).as_str()), (name, expected));
        }
        assert_eq!(LevelName::named("Strict"), None);
    }

    #[test]
    fn an_override_replaces_one_action_and_no_other() {
        let mut level = Level::named(LevelName::Strict);
        level.override_action("expiry", "log").unwrap();
        level.override_action("revocation", "skip").unwrap();
        assert_eq!(row(&level), "enforce enforce enforce log skip");
        let mut level = Level::named(LevelName::Audit);
        level.override_action("authenticity", "enforce").unwrap();
        level.override_action("authenticTimestamp", "enforce").unwrap();
        assert_eq!(row(&level), "enforce enforce enforce log log");
    }

    #[test]
    fn what_cannot_be_overridden_is_told_apart() {
        let error = |level, validation, action| Level::named(level).override_action(validation, action).unwrap_err();
        assert_eq!(error(LevelName::Strict, "integrity", "log"), InvalidOverride::Integrity);
        assert_eq!(error(LevelName::Strict, "expiry", "skip"), InvalidOverride::Skip("expiry".into()));
        assert_eq!(error(LevelName::Strict, "expiry", "Log"), InvalidOverride::Action("Log".into()));
        assert_eq!(error(LevelName::Strict, "Expiry", "log"), InvalidOverride::Validation("Expiry".into()));
        assert_eq!(error(LevelName::Skip, "expiry", "log"), InvalidOverride::OfSkip);
    }
}
