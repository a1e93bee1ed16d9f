//! The Notary vectors as they lie in `tests/vectors/`, for whoever puts them to something. `tests/vectors/README.md` tells
//! their format.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a vector that cannot be read ends the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pratique::oci::Descriptor;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One of `cases.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvelopeCase {
    #[serde(rename = "case")]
    pub name: String,
    pub envelope: PathBuf,
    pub media_type: String,
    pub descriptor: Descriptor,
    pub trust_store: Option<PathBuf>,
    #[serde(default)]
    pub trust_store_symlinks: BTreeMap<PathBuf, PathBuf>,
    pub policy: PathBuf,
    pub artifact_reference: String,
    #[serde(default)]
    pub user_metadata: BTreeMap<String, String>,
    /// What the network answers; without it, nobody may be asked.
    pub http: Option<BTreeMap<String, String>>,
    /// The plugins that are installed, each with its script.
    #[serde(default)]
    pub plugins: BTreeMap<String, PathBuf>,
    pub expected: ExpectedVerdict,
}

/// One of `blob-cases.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobCase {
    #[serde(rename = "case")]
    pub name: String,
    pub blob: PathBuf,
    pub signature: PathBuf,
    pub signature_name: String,
    pub trust_store: PathBuf,
    pub policy: PathBuf,
    pub policy_name: Option<String>,
    pub blob_media_type: Option<String>,
    #[serde(default)]
    pub user_metadata: BTreeMap<String, String>,
    pub expected: ExpectedVerdict,
}

#[derive(Deserialize)]
pub struct ExpectedVerdict {
    outcome: String,
    failed_check: Option<String>,
    #[serde(default)]
    logged: Vec<String>,
}

impl ExpectedVerdict {
    /// `accept`, `accept, logged CHECKS` or `reject CHECK`.
    pub fn answer(&self) -> String {
        match (self.outcome.as_str(), &self.failed_check) {
            ("accept", None) if self.logged.is_empty() => "accept".to_owned(),
            ("accept", None) => format!("accept, logged {}", self.logged.join(" ")),
            ("reject", Some(check)) => format!("reject {check}"),
            other => panic!("a vector expects {other:?}"),
        }
    }
}

/// All cases of a file, of which there are so many: a file that is not read must not pass.
pub fn cases<T: DeserializeOwned>(file: &str, count: usize) -> Vec<T> {
    let cases: Vec<T> = serde_json::from_slice(&read(format!("{file}.json"))).unwrap();
    assert_eq!(cases.len(), count, "{file}");
    cases
}

/// What the cases of a file give instead of what they expect, by their names.
pub fn exceptions(file: &str) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Exception {
        gives: String,
        reason: String,
    }
    let text = String::from_utf8(read("exceptions.toml")).unwrap();
    let mut files: BTreeMap<String, BTreeMap<String, Exception>> = toml::from_str(&text).unwrap();
    let exceptions = files.remove(file).unwrap_or_default();
    assert!(exceptions.values().all(|exception| exception.reason.len() > 20), "every exception says why");
    exceptions.into_iter().map(|(name, exception)| (name, exception.gives)).collect()
}

/// A file of the vectors; unpacked, where it is packed.
pub fn read(name: impl AsRef<Path>) -> Vec<u8> {
    let bytes = fs::read(vectors().join(&name)).unwrap();
    if name.as_ref().extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
    unpacked
}

/// Copies a trust store of the vectors into this directory.
pub fn copy_trust_store(name: impl AsRef<Path>, to: &Path) {
    copy_tree(&vectors().join(name), to);
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else if entry.file_name() != ".gitkeep" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Where they lie.
pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}
