//! Where a target begins: the project's vectors, and what little of `seeds/` none of them covers.

use std::fs;
use std::path::{Path, PathBuf};

/// The largest seed, in bytes: what is larger is slow to change and says nothing new.
const MAX_SEED: u64 = 64 * 1024;

/// The seeds of a target, always in the same order.
pub fn of(root: &Path, target: &str) -> Vec<Vec<u8>> {
    let vectors = root.join("tests/vectors");
    let mut files = files(&root.join("fuzz/seeds").join(target), "");
    files.extend(match target {
        "jws" => self::files(&vectors.join("envelopes"), "jws"),
        "cose" => self::files(&vectors.join("envelopes"), "cose"),
        "certificate_chain" => {
            [self::files(&vectors.join("chains"), "pem"), self::files(&root.join("tests/certificates"), "pem")].concat()
        }
        "ocsp_response" => ocsp_and_lists(root, "ocsp-"),
        "crl" => ocsp_and_lists(root, "crl-"),
        "timestamp_token" => self::files(&root.join("tests/timestamps"), "der"),
        "trust_policy" => self::files(&vectors.join("policies"), "json"),
        "manifest" => self::files(&vectors.join("subjects"), "json"),
        "layout_index" => self::files(&vectors.join("oci-layouts"), "index.json"),
        _ => Vec::new(),
    });
    files.iter().filter(|file| fs::metadata(file).is_ok_and(|about| about.len() <= MAX_SEED)).map(read).collect()
}

/// The responses, or the lists, that the tests about revocation have.
fn ocsp_and_lists(root: &Path, kind: &str) -> Vec<PathBuf> {
    let all = files(&root.join("tests/revocation"), "der");
    all.into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind)))
        .collect()
}

fn read(path: &PathBuf) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a directory whose name ends so, sorted.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let below = |path: PathBuf| if path.is_dir() { files(&path, ending) } else { vec![path] };
    let ends = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ending));
    paths.into_iter().flat_map(below).filter(ends).collect()
}
