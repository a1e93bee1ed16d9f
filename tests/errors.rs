//! The manual's list of codes is complete: every code in `src/` has its row in `docs/errors.md`, and every row its code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end in a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Texts in the form of a code that are none.
const NOT_CODES: &[(&str, &str)] = &[
    ("00-pratique", "the verifier's name where containerd calls it"),
    ("allow-referrers-api", "a flag"),
    ("attestation-manifest", "BuildKit's word"),
    ("cgroup-manager", "a flag of OCI runtimes"),
    ("cleanup-test", "a command"),
    ("containerd-lease", "a header of containerd"),
    ("containerd-namespace", "a header of containerd"),
    ("crl-dir", "a flag"),
    ("docker-content-digest", "a header of registries"),
    ("docker-archive", "a kind of location"),
    ("force-referrers-tag", "a flag"),
    ("hosts-dir", "a flag"),
    ("describe-key", "a command of plugins"),
    ("generate-envelope", "a command of plugins"),
    ("generate-signature", "a command of plugins"),
    ("generate-test", "a command"),
    ("get-plugin-metadata", "a command of plugins"),
    ("image-volumes", "a directory of CRI's"),
    ("insecure-registry", "a flag"),
    ("kebab-case", "serde's word"),
    ("library-description", "an attribute of PKCS #11 URIs"),
    ("library-manufacturer", "an attribute of PKCS #11 URIs"),
    ("library-version", "an attribute of PKCS #11 URIs"),
    ("log-format", "a flag of OCI runtimes"),
    ("log-level", "a flag of OCI runtimes"),
    ("max-signatures", "a flag"),
    ("media-type", "a flag"),
    ("module-name", "an attribute of PKCS #11 URIs"),
    ("module-path", "an attribute of PKCS #11 URIs"),
    ("no-descriptions", "a flag"),
    ("notation-dir", "a flag"),
    ("oci-archive", "a kind of location"),
    ("oci-layout", "a file of an image layout"),
    ("oci-subject", "a header of registries"),
    ("password-stdin", "a flag"),
    ("pin-source", "an attribute of PKCS #11 URIs"),
    ("pin-value", "an attribute of PKCS #11 URIs"),
    ("plugin-config", "a flag"),
    ("policy-name", "a flag"),
    ("pratique-canary", "a file in an image"),
    ("pratique-nonce", "a payload of our own questions"),
    ("pratique-runtime", "a program"),
    ("pratique-transfer", "our differ for the transfer service"),
    ("pratique-verifier", "a program"),
    ("registry-scope", "a flag"),
    ("rsa-2048", "a kind of key"),
    ("signature-directory", "a flag"),
    ("signature-format", "a flag"),
    ("slot-description", "an attribute of PKCS #11 URIs"),
    ("slot-id", "an attribute of PKCS #11 URIs"),
    ("slot-manufacturer", "an attribute of PKCS #11 URIs"),
    ("stdin-media-type", "a flag of containerd's verifiers"),
    ("systemd-cgroup", "a flag of OCI runtimes"),
    ("timestamp-root-cert", "a flag"),
    ("timestamp-url", "a flag"),
    ("trust-root", "a flag"),
    ("trust-store", "a flag"),
    ("trusted-identity", "a flag"),
    ("user-metadata", "a flag"),
    ("verify-signature", "a command of plugins"),
];

#[test]
fn every_code_has_its_row_in_the_manual_and_every_row_its_code() {
    let (documented, written) = (documented(), written());
    let missing: Vec<_> = written.difference(&documented).collect();
    assert!(missing.is_empty(), "without a row in docs/errors.md (or in NOT_CODES of this test): {missing:?}");
    let stale: Vec<_> = documented.difference(&written).collect();
    assert!(stale.is_empty(), "rows in docs/errors.md for codes that nothing gives: {stale:?}");
}

#[test]
fn what_is_said_to_be_no_code_stands_in_the_sources() {
    let texts = texts();
    let stale: Vec<_> = NOT_CODES.iter().filter(|(text, _)| !texts.contains(*text)).collect();
    assert!(stale.is_empty(), "{stale:?}");
}

/// The first cells of the manual's tables. A code that stands twice would have two meanings.
fn documented() -> BTreeSet<String> {
    let manual = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let mut codes = BTreeSet::new();
    for line in manual.lines() {
        let Some((code, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) else { continue };
        assert!(codes.insert(code.to_owned()), "docs/errors.md has `{code}` twice");
    }
    assert!(codes.len() > 100, "the tables were not found");
    codes
}

/// Every code in the sources: texts of two or more lowercase words joined by dashes, and the single words in `Code(…)`.
fn written() -> BTreeSet<String> {
    let is_code = |text: &String| !NOT_CODES.iter().any(|(other, _)| other == text);
    texts().into_iter().filter(is_code).collect()
}

fn texts() -> BTreeSet<String> {
    sources(&root().join("src")).iter().flat_map(|file| texts_of(&code_of(file))).collect()
}

fn texts_of(code: &str) -> Vec<String> {
    let mut texts = Vec::new();
    // Every second part of a text split at its quotes stood between two of them, or stood between two texts: the form
    // of a code tells which.
    let mut before = "";
    for part in code.split('"') {
        let is_single = before.trim_end().ends_with("Code(") && is_word(part);
        let is_joined = part.contains('-') && part.split('-').all(is_word);
        if is_single || is_joined {
            texts.push(part.to_owned());
        }
        before = part;
    }
    texts
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// The file without its comments and without its tests, which stand last.
fn code_of(file: &Path) -> String {
    if file.ends_with("tests.rs") {
        return String::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if !path.ends_with("testing.rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
