//! A notation configuration directory, in notation's own layout: policy, trust stores, keys.
//!
//! The policy is `trustpolicy.oci.json`, or `trustpolicy.json` where there is no file of the newer name. A newer file
//! that is broken is an error and never a reason to read the older one: the two may say different things, and which of
//! them is in force must not depend on a typing error. Blobs have a policy of their own, `trustpolicy.blob.json`.
//!
//! A trust store that cannot be loaded does not keep the policy out of force. It fails the statements that name it, and
//! says why (see [`Trust::problems`]).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::file::{self, FileError, NotationFileError};
use super::trust_store;
use crate::files::{self, Existing};
use crate::policy::{InvalidPolicy, MAX_POLICY_SIZE, Policy, StoreKind, Trust, TrustStore, is_safe_name};
use crate::remedy::{Code, Remedy, excerpt};

/// The name since notation 2, which comes first.
const POLICY_FILE: &str = "trustpolicy.oci.json";
/// The name until notation 1.3, which most nodes still have.
const OLD_POLICY_FILE: &str = "trustpolicy.json";
/// The policy for blobs, since notation 2.
const BLOB_POLICY_FILE: &str = "trustpolicy.blob.json";

/// What a trust policy is about. The two kinds lie in files of their own, and neither stands in for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// Images and other artifacts of registries.
    Image,
    /// Files outside of any registry.
    Blob,
}

/// A directory such as `/etc/pratique` or `~/.config/notation`.
#[derive(Clone, Debug)]
pub struct NotationDir {
    path: PathBuf,
    may_skip_everywhere: bool,
}

/// Why a trust policy could not be put into force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is neither of the two files.
    #[error("there is no trust policy at {}", path.display())]
    Missing {
        /// Where one would be found.
        path: PathBuf,
    },
    /// There is a file, and it cannot be read.
    #[error("cannot read the trust policy {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        source: FileError,
    },
    /// The file breaks a rule of the specification.
    #[error("the trust policy {} is not valid", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The rule, with its statement and line.
        source: InvalidPolicy,
    },
}

impl LoadError {
    /// The file that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing { path } | Self::Unreadable { path, .. } | Self::Invalid { path, .. } => path,
        }
    }

    /// The line of that file, counted from 1, where there is one to name.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Invalid { source, .. } => Some(source.line()),
            Self::Missing { .. } | Self::Unreadable { .. } => None,
        }
    }
}

impl Remedy for LoadError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code("policy-missing"),
            Self::Unreadable { source, .. } => match source {
                FileError::SymbolicLink => Code("policy-symlink"),
                FileError::NotAFile => Code("policy-not-a-file"),
                FileError::TooLarge(_) => Code("policy-too-large"),
                _ => Code("policy-unreadable"),
            },
            Self::Invalid { source, .. } => source.code(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Missing { path } => {
                let blob = if path.ends_with(BLOB_POLICY_FILE) { "blob " } else { "" };
                Some(format!("begin one with `pratique {blob}policy init`, or write it to {}", path.display()))
            }
            Self::Unreadable { source, .. } => source.remedy(),
            Self::Invalid { source, .. } => source.remedy(),
        }
    }
}

/// Why a policy was not put into force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It breaks a rule.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// There is one already, and nobody said that it may be replaced.
    #[error("there is a trust policy at {} already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
}

impl Remedy for ImportError {
    fn code(&self) -> Code {
        match self {
            Self::Refused(error) => error.code(),
            Self::Exists { .. } => Code("policy-exists"),
            Self::Unwritable { .. } => Code("policy-unwritable"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Refused(error) => error.remedy(),
            Self::Exists { .. } => Some("replace it with `--force`".into()),
            Self::Unwritable { .. } => Some("see whether the directory can be written".into()),
        }
    }
}

/// A name that must not become part of a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name `{0}` is not made of letters, digits, `_`, `-` and `.`, or is dots alone")]
pub struct InvalidName(String);

impl InvalidName {
    /// Whether this may become part of a path, or name a key.
    pub fn check(name: &str) -> Result<(), Self> {
        if is_safe_name(name) { Ok(()) } else { Err(Self(excerpt(name))) }
    }
}

impl Remedy for InvalidName {
    fn code(&self) -> Code {
        Code("invalid-name")
    }

    fn remedy(&self) -> Option<String> {
        Some("choose a name of letters, digits, `_`, `.` and `-`, and not of dots alone".into())
    }
}

/// What is read of `config.json`; the rest concerns notation alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NotationConfig {
    insecure_registries: Option<Vec<String>>,
    signature_format: Option<String>,
}

impl NotationDir {
    /// The directory at this path. Nothing is read yet, and it need not be there.
    pub fn new(path: PathBuf) -> Self {
        Self { path, may_skip_everywhere: false }
    }

    /// The same directory, whose policy may skip verification for every repository: only for the stand-in for the
    /// reference implementation (see [`Policy::parse_allowing_unverified_everywhere`]).
    #[must_use]
    pub fn allowing_unverified_everywhere(self) -> Self {
        Self { may_skip_everywhere: true, ..self }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The policy for images in force and every trust store it names, as they lie on disk now.
    pub fn load_trust(&self) -> Result<Trust, LoadError> {
        self.load_trust_of(PolicyKind::Image)
    }

    /// The same for the policy that governs blobs, `trustpolicy.blob.json`. No other file stands in for it.
    pub fn load_blob_trust(&self) -> Result<Trust, LoadError> {
        self.load_trust_of(PolicyKind::Blob)
    }

    /// The same for the policy of this kind.
    pub fn load_trust_of(&self, kind: PolicyKind) -> Result<Trust, LoadError> {
        let (path, policy) = self.load_policy(kind)?;
        Ok(self.with_stores(&path, policy))
    }

    /// The error where the snapshot in force came from the file of the newer name, and this one from the older: somebody
    /// has removed the newer file, or is about to put another in its place, and has not said that the older one is to
    /// govern again.
    pub fn check_succession(&self, in_force: &Trust, next: &Trust) -> Result<(), LoadError> {
        let path = self.path.join(POLICY_FILE);
        let newer = path.display().to_string();
        if in_force.origin() == newer && next.origin() != newer { Err(LoadError::Missing { path }) } else { Ok(()) }
    }

    fn with_stores(&self, path: &Path, policy: Policy) -> Trust {
        let load = |store: &TrustStore| (store.clone(), trust_store::load(&self.trust_store(store), store));
        let stores = policy.trust_stores().into_iter().map(load).collect();
        Trust::new(policy, stores, path.display().to_string())
    }

    /// The policy of this kind in force, and the file it lies in.
    pub fn load_policy(&self, kind: PolicyKind) -> Result<(PathBuf, Policy), LoadError> {
        let (path, text) = self.read_policy(kind);
        parsed(path, text, |text| self.parse_policy(kind, text))
    }

    /// The policy of this kind in a text, by the rules that hold for this directory.
    pub fn parse_policy(&self, kind: PolicyKind, text: &[u8]) -> Result<Policy, InvalidPolicy> {
        match kind {
            PolicyKind::Image if self.may_skip_everywhere => Policy::parse_allowing_unverified_everywhere(text),
            PolicyKind::Image => Policy::parse(text),
            PolicyKind::Blob => Policy::parse_blob(text),
        }
    }

    fn read_policy(&self, kind: PolicyKind) -> (PathBuf, Result<Vec<u8>, FileError>) {
        let path = self.policy_path(kind);
        let text = file::read(&path, MAX_POLICY_SIZE as u64);
        (path, text)
    }

    /// The file that the policy of this kind lies in, or would. For images that is the file of the newer name where there
    /// is anything of that name, and else that of the older: tools of that time read no other.
    pub fn policy_path(&self, kind: PolicyKind) -> PathBuf {
        let newer = self.path.join(POLICY_FILE);
        match kind {
            PolicyKind::Blob => self.path.join(BLOB_POLICY_FILE),
            PolicyKind::Image if newer.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) => {
                self.path.join(OLD_POLICY_FILE)
            }
            PolicyKind::Image => newer,
        }
    }

    /// Puts a policy into force that holds by the rules, in the place of the one of its kind that is in force, if one is
    /// and may be replaced. Gives the file that it lies in.
    pub fn import_policy(&self, kind: PolicyKind, text: &[u8], existing: Existing) -> Result<PathBuf, ImportError> {
        let path = self.policy_path(kind);
        self.parse_policy(kind, text).map_err(|source| LoadError::Invalid { path: path.clone(), source })?;
        let written = file::lock_directory(&self.path).and_then(|_lock| files::put(&path, text, 0o600, existing));
        match written {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(ImportError::Exists { path }),
            Err(source) => Err(ImportError::Unwritable { path, source }),
        }
    }

    /// The text of the policy as it lies there, whether it holds by the rules or not.
    pub fn policy_text(&self, kind: PolicyKind) -> Result<Vec<u8>, LoadError> {
        let (path, text) = self.read_policy(kind);
        text.map_err(|source| match source {
            FileError::Absent => LoadError::Missing { path },
            source => LoadError::Unreadable { path, source },
        })
    }

    /// The directory of a trust store: `truststore/x509/TYPE/NAME`. The specification's text writes `trust-store`; every
    /// implementation reads `truststore`.
    pub fn trust_store(&self, store: &TrustStore) -> PathBuf {
        self.trust_stores(store.kind()).join(store.name())
    }

    /// The directory that holds the trust stores of a kind.
    pub fn trust_stores(&self, kind: StoreKind) -> PathBuf {
        self.path.join("truststore").join("x509").join(kind.as_str())
    }

    /// The file of a local private key, `localkeys/NAME.key`.
    pub fn local_key(&self, name: &str) -> Result<PathBuf, InvalidName> {
        self.local_file(name, "key")
    }

    /// The file of its certificates, `localkeys/NAME.crt`.
    pub fn local_certificate(&self, name: &str) -> Result<PathBuf, InvalidName> {
        self.local_file(name, "crt")
    }

    fn local_file(&self, name: &str, extension: &str) -> Result<PathBuf, InvalidName> {
        InvalidName::check(name)?;
        Ok(self.path.join("localkeys").join(format!("{name}.{extension}")))
    }

    /// The registries that `config.json` allows to be asked without TLS, as written there. None where there is no file.
    pub fn insecure_registries(&self) -> Result<Vec<String>, NotationFileError> {
        Ok(self.config()?.and_then(|config| config.insecure_registries).unwrap_or_default())
    }

    /// The format of envelopes that `config.json` wishes for, as written there.
    pub fn signature_format(&self) -> Result<Option<String>, NotationFileError> {
        Ok(self.config()?.and_then(|config| config.signature_format))
    }

    fn config(&self) -> Result<Option<NotationConfig>, NotationFileError> {
        file::read_json(&self.path.join("config.json"))
    }
}

/// The policy in what was read at this path.
fn parsed(
    path: PathBuf,
    text: Result<Vec<u8>, FileError>,
    parse: impl Fn(&[u8]) -> Result<Policy, InvalidPolicy>,
) -> Result<(PathBuf, Policy), LoadError> {
    match text.map(|text| parse(&text)) {
        Ok(Ok(policy)) => Ok((path, policy)),
        Ok(Err(source)) => Err(LoadError::Invalid { path, source }),
        Err(FileError::Absent) => Err(LoadError::Missing { path }),
        Err(source) => Err(LoadError::Unreadable { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::one_line;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    const POLICY: &str = include_str!("../../tests/vectors/policies/files/only-old-name-trustpolicy.json");

    fn directory_with(files: &[(&str, &str)]) -> (tempfile::TempDir, NotationDir) {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(directory.path().join(name), content).unwrap();
        }
        let notation = NotationDir::new(directory.path().to_owned());
        (directory, notation)
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Case {
        #[serde(rename = "case")]
        name: String,
        files: BTreeMap<String, String>,
        artifact_reference: String,
        expected: Expected,
    }

    #[derive(Deserialize)]
    struct Expected {
        result: String,
        statement: Option<String>,
    }

    #[test]
    fn vectors_read_the_file_they_expect() {
        let cases: Vec<Case> =
            serde_json::from_slice(&fs::read("tests/vectors/policy-file-cases.json").unwrap()).unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let read = |path: &String| fs::read_to_string(format!("tests/vectors/{path}")).unwrap();
            let files: Vec<_> = case.files.iter().map(|(name, path)| (name.as_str(), read(path))).collect();
            let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
            let (_guard, notation) = directory_with(&files);
            let (repository, _) = case.artifact_reference.rsplit_once('@').unwrap();
            let policy = notation.load_policy(PolicyKind::Image);
            let got = policy.as_ref().ok().map(|(_, policy)| policy.statement_for_scope(repository).unwrap().name());
            assert_eq!(got, case.expected.statement.as_deref(), "{}", case.name);
            assert_eq!(got.is_none(), case.expected.result == "error", "{}", case.name);
        }
    }

    #[test]
    fn no_policy_is_an_error_that_says_which_file_to_write() {
        let (directory, notation) = directory_with(&[]);
        let error = notation.load_trust().unwrap_err();
        assert_eq!((error.code(), error.line()), (Code("policy-missing"), None));
        let path = directory.path().join("trustpolicy.json");
        assert_eq!(error.path(), path);
        assert!(error.remedy().unwrap().contains(path.to_str().unwrap()));
        let nowhere = NotationDir::new(directory.path().join("none"));
        assert_eq!(nowhere.load_trust().unwrap_err().code(), Code("policy-missing"));
    }

    #[test]
    fn a_broken_policy_is_told_with_its_path_and_line() {
        let (directory, notation) = directory_with(&[
            ("trustpolicy.oci.json", "{\n  \"version\": \"1.0\",\n  \"trustPolicies\": []\n}"),
            ("trustpolicy.json", POLICY),
        ]);
        let error = notation.load_trust().unwrap_err();
        assert_eq!((error.code(), error.line()), (Code("policy-statements-missing"), Some(3)));
        let path = directory.path().join("trustpolicy.oci.json");
        assert_eq!(
            one_line(&error),
            format!("the trust policy {} is not valid: line 3: `trustPolicies` has no statement", path.display())
        );
    }

    #[test]
    fn a_policy_that_is_no_regular_file_is_refused_and_not_passed_over() {
        let (directory, notation) = directory_with(&[("elsewhere.json", POLICY), ("trustpolicy.json", POLICY)]);
        assert!(notation.load_trust().is_ok());
        let newer = directory.path().join("trustpolicy.oci.json");
        symlink(directory.path().join("elsewhere.json"), &newer).unwrap();
        let error = notation.load_trust().unwrap_err();
        assert_eq!((error.code(), error.path()), (Code("policy-symlink"), newer.as_path()));
        fs::remove_file(&newer).unwrap();
        symlink(directory.path().join("nowhere"), &newer).unwrap();
        assert_eq!(notation.load_trust().unwrap_err().code(), Code("policy-symlink"));
        fs::remove_file(&newer).unwrap();
        fs::create_dir(&newer).unwrap();
        assert_eq!(notation.load_trust().unwrap_err().code(), Code("policy-not-a-file"));
        fs::remove_dir(&newer).unwrap();
        fs::write(&newer, " ".repeat(MAX_POLICY_SIZE + 1)).unwrap();
        assert_eq!(notation.load_trust().unwrap_err().code(), Code("policy-too-large"));
        let inside_a_file = NotationDir::new(directory.path().join("elsewhere.json"));
        assert_eq!(inside_a_file.load_trust().unwrap_err().code(), Code("policy-unreadable"));
    }

    #[test]
    fn blobs_are_governed_by_their_own_file_and_by_no_other() {
        let blobs = POLICY.replace("\"registryScopes\"", "\"elsewhere\"");
        let (directory, notation) = directory_with(&[("trustpolicy.json", POLICY), ("trustpolicy.oci.json", POLICY)]);
        let error = notation.load_blob_trust().unwrap_err();
        let path = directory.path().join("trustpolicy.blob.json");
        assert_eq!((error.code(), error.path()), (Code("policy-missing"), path.as_path()));
        fs::write(&path, &blobs).unwrap();
        assert_eq!(notation.load_blob_trust().unwrap().policy().text(), blobs);
    }

    #[test]
    fn a_missing_trust_store_leaves_the_policy_in_force_and_is_a_problem() {
        let (directory, notation) = directory_with(&[("trustpolicy.json", POLICY)]);
        let trust = notation.load_trust().unwrap();
        assert_eq!(trust.origin(), directory.path().join("trustpolicy.json").display().to_string());
        let problems: Vec<_> = trust.problems().map(|(_, problem)| problem.code()).collect();
        assert_eq!(problems, [Code("trust-store-missing")]);
    }

    #[test]
    fn a_name_becomes_part_of_a_path_only_when_it_stays_in_its_directory() {
        let notation = NotationDir::new("/etc/notation".into());
        assert_eq!(notation.local_key("build.7").unwrap(), Path::new("/etc/notation/localkeys/build.7.key"));
        assert_eq!(notation.local_certificate("a").unwrap(), Path::new("/etc/notation/localkeys/a.crt"));
        for name in ["", "..", "../x", "a/b", "a\0"] {
            assert!(notation.local_key(name).is_err(), "{name:?}");
        }
        let store: TrustStore = "signingAuthority:acme".parse().unwrap();
        let expected = Path::new("/etc/notation/truststore/x509/signingAuthority/acme");
        assert_eq!(notation.trust_store(&store), expected);
    }

    #[test]
    fn insecure_registries_are_those_of_notations_own_file() {
        let (_guard, notation) = directory_with(&[]);
        assert_eq!(notation.insecure_registries().unwrap(), Vec::<String>::new());
        let listed = r#"{"insecureRegistries": ["registry.example:5000"], "credsStore": "pass"}"#;
        let (_guard, notation) = directory_with(&[("config.json", listed)]);
        assert_eq!(notation.insecure_registries().unwrap(), ["registry.example:5000"]);
        let (_guard, notation) = directory_with(&[("config.json", "{\"insecureRegistries\": \"a\"}")]);
        assert_eq!(notation.insecure_registries().unwrap_err().code(), Code("notation-file-malformed"));
    }
}
