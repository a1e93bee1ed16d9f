//! Whose envelopes `pratique attach` takes, by name: one profile for the keys of a release, another for test keys.
//!
//! A test key that gets onto a released image is found out by its users, or worse, is trusted by some of them. So a profile
//! of test keys must say which repositories it is for, and no trust store serves both kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::file::FileError;
use super::toml_file::{self, TomlFileError, TomlText};
use crate::oci::Repository;
use crate::policy::{Action, TrustStore};
use crate::remedy::{Code, Remedy, excerpt, printable};

/// The name of the file in a notation directory.
const FILE: &str = "attach.toml";
/// The largest file, in bytes: a thousand profiles of the usual kind.
const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// Whose envelopes are taken, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachProfile {
    /// The stores of the notation directory whose anchors count, such as `ca:release` or `tsa:clocks`.
    #[serde(deserialize_with = "trust_stores")]
    pub trust_stores: Vec<TrustStore>,
    /// The signers, as a trust policy writes them.
    pub trusted_identities: Vec<String>,
    /// Where their signatures may go: `HOST`, `HOST/PATH`, each with everything below it. Empty: anywhere.
    #[serde(default, deserialize_with = "repositories")]
    pub repositories: Vec<String>,
    /// Whether these are keys that no released image must be signed with.
    #[serde(default)]
    pub test_keys: bool,
    /// What becomes of an envelope whose signer was revoked, or of whom that cannot be found out.
    #[serde(default)]
    pub revocation: RevocationChoice,
}

/// Whether a revoked signer matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevocationChoice {
    /// It is asked about, and a bad answer or none refuses the envelope.
    #[default]
    Enforce,
    /// Nobody is asked: for a pipeline without a way to the issuers' servers.
    Skip,
}

impl RevocationChoice {
    /// The same, as a verification level has it.
    pub fn action(self) -> Action {
        match self {
            Self::Enforce => Action::Enforce,
            Self::Skip => Action::Skip,
        }
    }
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachProfileError {
    /// The file with the profiles cannot be used.
    #[error(transparent)]
    File(#[from] TomlFileError),
    /// Nobody is trusted by it.
    #[error("the profile `{0}` names no trust store, or no trusted identity")]
    TrustsNobody(String),
    /// Test keys for everything.
    #[error("the profile `{0}` is for test keys and does not say for which repositories")]
    TestKeysAnywhere(String),
    /// One store for both kinds of keys.
    #[error("the trust store `{store}` serves `{test}`, which is for test keys, and `{other}`, which is not")]
    SharedStore {
        /// The store.
        store: TrustStore,
        /// The profile for test keys.
        test: String,
        /// The other one.
        other: String,
    },
    /// There is no profile of this name.
    #[error("there is no profile `{name}` in {}", path.display())]
    Unknown {
        /// The name asked for.
        name: String,
        /// The file.
        path: PathBuf,
        /// The names that there are.
        known: Vec<String>,
    },
}

/// How many names are told to whoever asks for another.
const MAX_TOLD: usize = 20;

impl Remedy for AttachProfileError {
    fn code(&self) -> Code {
        Code(match self {
            Self::File(TomlFileError::Unreadable { .. }) => "profile-unreadable",
            Self::File(TomlFileError::Invalid { .. }) | Self::TrustsNobody(_) => "profile-invalid",
            Self::TestKeysAnywhere(_) | Self::SharedStore { .. } => "profile-test-keys",
            Self::Unknown { .. } => "profile-unknown",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::File(TomlFileError::Unreadable { source: FileError::Absent, .. }) => {
                "write the profiles there, or name their file with `--profiles`".into()
            }
            Self::File(fault) => return fault.remedy(),
            Self::TrustsNobody(_) => {
                "give it both; `trusted_identities = [\"*\"]` is every signer below the anchors".into()
            }
            Self::TestKeysAnywhere(_) => "name the repositories that may have test signatures in `repositories`".into(),
            Self::SharedStore { .. } => "keep the roots of test keys in a trust store of their own".into(),
            Self::Unknown { known, .. } if known.is_empty() => "write it as a table `[profiles.NAME]`".into(),
            Self::Unknown { known, .. } => {
                let told: Vec<String> = known.iter().take(MAX_TOLD).map(|name| printable(name)).collect();
                format!("name one of {}{}", told.join(", "), if known.len() > MAX_TOLD { ", …" } else { "" })
            }
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    profiles: BTreeMap<String, AttachProfile>,
}

impl AttachProfile {
    /// The profile of this name in a file, or in `attach.toml` of the notation directory. All profiles of the file are
    /// looked at: what one of them must not say depends on the others.
    pub fn load(file: Option<&Path>, notation_dir: &Path, name: &str) -> Result<Self, AttachProfileError> {
        let path = file.map_or_else(|| notation_dir.join(FILE), Path::to_owned);
        let bytes = toml_file::read(&path, MAX_FILE_SIZE)?;
        let mut document: Document = TomlText { path: &path, bytes: &bytes }.parse()?;
        agree(&document.profiles)?;
        let found = document.profiles.remove(name);
        found.ok_or_else(|| {
            let known = document.profiles.into_keys().collect();
            AttachProfileError::Unknown { name: excerpt(name), path, known }
        })
    }

    /// Whether signatures of these keys may be put into this repository.
    pub fn is_for(&self, repository: &Repository) -> bool {
        let name = repository.to_string();
        let is_in = |place: &String| {
            name.strip_prefix(place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.repositories.is_empty() || self.repositories.iter().any(is_in)
    }
}

fn agree(profiles: &BTreeMap<String, AttachProfile>) -> Result<(), AttachProfileError> {
    for (name, profile) in profiles {
        if profile.trust_stores.is_empty() || profile.trusted_identities.is_empty() {
            return Err(AttachProfileError::TrustsNobody(printable(name)));
        }
        if profile.test_keys && profile.repositories.is_empty() {
            return Err(AttachProfileError::TestKeysAnywhere(printable(name)));
        }
    }
    for (test, of_test) in profiles.iter().filter(|(_, profile)| profile.test_keys) {
        let stores: BTreeSet<&TrustStore> = of_test.trust_stores.iter().filter(|store| signs(store)).collect();
        for (other, profile) in profiles.iter().filter(|(_, profile)| !profile.test_keys) {
            if let Some(store) = profile.trust_stores.iter().find(|store| stores.contains(store)) {
                let (test, other) = (printable(test), printable(other));
                return Err(AttachProfileError::SharedStore { store: store.clone(), test, other });
            }
        }
    }
    Ok(())
}

/// Authorities that vouch for the time may well serve both kinds of keys.
fn signs(store: &TrustStore) -> bool {
    store.kind() != crate::policy::StoreKind::Tsa
}

pub(super) fn trust_stores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TrustStore>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

/// A registry, or a path in one, as the names of repositories begin.
fn repositories<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let places = Vec::<String>::deserialize(deserializer)?;
    let is_place = |place: &str| {
        let below = format!("{place}/x").parse::<Repository>();
        below.is_ok_and(|repository| repository.to_string() == format!("{place}/x"))
    };
    match places.iter().find(|place| !is_place(place)) {
        Some(place) => Err(de::Error::custom(format!("`{place}` is not a registry or a path in one"))),
        None => Ok(places),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PRODUCTION: &str = r#"
        [profiles.production]
        trust_stores = ["ca:release", "tsa:clocks"]
        trusted_identities = ["x509.subject: C=FR, ST=IDF, O=Example, CN=release"]
    "#;
    const TEST: &str = r#"
        [profiles.test]
        trust_stores = ["ca:test", "tsa:clocks"]
        trusted_identities = ["*"]
        repositories = ["staging.example", "registry.example/nightly"]
        test_keys = true
        revocation = "skip"
    "#;

    fn load(text: &str, name: &str) -> Result<AttachProfile, AttachProfileError> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), text).unwrap();
        AttachProfile::load(None, directory.path(), name)
    }

    fn code(text: &str) -> Code {
        load(text, "test").unwrap_err().code()
    }

    #[test]
    fn a_profile_says_whose_envelopes_go_where() {
        let both = [PRODUCTION, TEST].concat();
        let production = load(&both, "production").unwrap();
        assert_eq!((production.revocation, production.test_keys), (RevocationChoice::Enforce, false));
        let test = load(&both, "test").unwrap();
        assert_eq!((test.revocation, test.test_keys), (RevocationChoice::Skip, true));
        for (repository, of_test) in [
            ("staging.example/app", true),
            ("registry.example/nightly", true),
            ("registry.example/nightly/app", true),
            ("registry.example/nightly-app", false),
            ("registry.example/app", false),
            ("staging.example.evil/app", false),
        ] {
            let repository = repository.parse().unwrap();
            assert!(production.is_for(&repository), "{repository}");
            assert_eq!(test.is_for(&repository), of_test, "{repository}");
        }
    }

    #[test]
    fn test_keys_stay_apart_from_others() {
        assert_eq!(code(&TEST.replace("repositories", "#")), Code("profile-test-keys"));
        let shared = [PRODUCTION, &TEST.replace("ca:test", "ca:release")].concat();
        assert_eq!(code(&shared), Code("profile-test-keys"));
        // Two profiles of test keys may share what they like.
        load(&[TEST, &TEST.replace("profiles.test", "profiles.more")].concat(), "more").unwrap();
    }

    #[test]
    fn a_mistake_is_told_and_never_a_default() {
        assert_eq!(code(PRODUCTION), Code("profile-unknown"));
        assert_eq!(code(&TEST.replace("[\"*\"]", "[]")), Code("profile-invalid"));
        for (right, wrong) in [
            ("test_keys", "test_key"),
            ("ca:test", "ca:.."),
            ("ca:test", "test"),
            ("\"skip\"", "\"log\""),
            ("staging.example", "https://staging.example"),
            ("staging.example", "staging.example/App"),
            ("staging.example", "staging.example/app:v1"),
        ] {
            assert_eq!(code(&TEST.replace(right, wrong)), Code("profile-invalid"), "{wrong}");
        }
        let Err(AttachProfileError::File(TomlFileError::Invalid { line, .. })) = load("\n\nprofiles = 1", "test")
        else {
            panic!()
        };
        assert_eq!(line, 3);
        let nowhere = AttachProfile::load(None, Path::new("/nonexistent"), "test").unwrap_err();
        assert_eq!(nowhere.code(), Code("profile-unreadable"));
    }
}
