//! Which folder may import which: the house plan, as a test.
//!
//! Every `crate::…` path in `src/` is looked at. A folder that is not in the table, or an import that is not, fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end in a panic"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Everyone may import `remedy`; only what runs on a host may read the `clock`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // stone: names and numbers
    ("remedy", &[]),
    ("oci", &[]),
    ("pki", &["oci"]),
    // cellar: what decides
    ("envelope", &["oci", "pki"]),
    ("policy", &["oci", "pki"]),
    ("verify", &["policy", "envelope", "oci", "pki"]),
    ("sign", &["envelope", "oci", "pki"]),
    ("rootfs", &["oci"]),
    // yard and bench: what carries
    ("clock", &[]),
    ("address", &[]),
    ("effective", &[]),
    ("proto", &[]),
    ("files", &[]),
    ("source", &["address", "files", "oci", "rootfs"]),
    ("stamping", &["pki", "oci"]),
    ("keys", &["sign", "pki", "oci"]),
    ("ledger", &["source", "rootfs", "oci"]),
    ("config", &["files", "policy", "pki", "oci", "envelope"]),
    ("client", &["proto"]),
    ("revocation", &["address", "verify", "pki", "oci"]),
    ("plugin", &["verify", "sign", "policy", "envelope", "pki", "oci"]),
    ("judge", &["verify", "policy", "envelope", "source", "revocation", "plugin", "ledger", "rootfs", "oci", "clock"]),
    // doors
    ("hook", &["client", "oci", "proto", "rootfs", "clock"]),
    ("install", &["effective"]),
    ("doctor", &["effective"]),
    ("probe", &["doctor", "install", "effective", "config", "source", "proto", "policy", "oci", "clock"]),
    // attic: people and processes
    (
        "daemon",
        &[
            "hook",
            "judge",
            "config",
            "source",
            "revocation",
            "plugin",
            "ledger",
            "proto",
            "policy",
            "verify",
            "rootfs",
            "oci",
            "clock",
        ],
    ),
    (
        "cli",
        &[
            "judge",
            "config",
            "source",
            "revocation",
            "plugin",
            "stamping",
            "keys",
            "proto",
            "client",
            "install",
            "doctor",
            "probe",
            "sign",
            "verify",
            "policy",
            "envelope",
            "oci",
            "pki",
            "clock",
        ],
    ),
];

/// The deciding half: no I/O, no async, no clock, no environment.
const DECIDES: &[&str] =
    &["remedy", "oci", "pki", "envelope", "policy", "verify", "sign", "rootfs", "effective", "doctor"];

/// What the deciding half may not name.
const NOT_WHERE_IT_IS_DECIDED: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env::",
    "std::process",
    "std::thread",
    "std::io::",
    "std::time::",
    "tokio",
    "async fn",
    ".await",
    "Timestamp::now",
    "SystemTime",
    "Instant::now",
    "tracing::",
];

#[test]
fn folders_import_only_what_the_house_plan_allows() {
    let wrong: Vec<String> = sources().iter().flat_map(|file| forbidden_imports(file)).collect();
    assert!(wrong.is_empty(), "imports against the house plan:\n{}", wrong.join("\n"));
}

#[test]
fn what_decides_does_no_io_and_reads_no_clock() {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|file| DECIDES.contains(&room_of(file).as_str()))
        .flat_map(|file| forbidden_words(file))
        .collect();
    assert!(wrong.is_empty(), "the deciding half reaches outside:\n{}", wrong.join("\n"));
}

#[test]
fn the_host_feature_is_named_only_where_modules_are_declared() {
    let named: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|file| fs::read_to_string(file).unwrap().contains("feature = \"host\""))
        .filter(|file| !file.ends_with("src/lib.rs"))
        .collect();
    assert!(named.is_empty(), "only src/lib.rs may name the feature: {named:?}");
}

#[test]
fn the_table_has_exactly_the_folders_that_exist() {
    let rooms: BTreeSet<String> =
        sources().iter().map(|file| room_of(file)).filter(|room| room != "lib" && room != "bin").collect();
    let table: BTreeSet<String> = MAY_IMPORT.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, table);
}

fn forbidden_imports(file: &Path) -> Vec<String> {
    let room = room_of(file);
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else { return Vec::new() };
    code_of(file)
        .lines()
        .enumerate()
        .flat_map(|(number, line)| imports(line).into_iter().map(move |import| (number + 1, import)))
        .filter(|(_, import)| *import != room && import != "remedy" && !allowed.contains(&import.as_str()))
        .map(|(number, import)| format!("{}:{number}: `{room}` may not import `{import}`", file.display()))
        .collect()
}

fn forbidden_words(file: &Path) -> Vec<String> {
    code_of(file)
        .lines()
        .enumerate()
        .flat_map(|(number, line)| {
            let found = NOT_WHERE_IT_IS_DECIDED.iter().filter(move |word| line.contains(**word));
            found.map(move |word| format!("{}:{}: {word}", file.display(), number + 1))
        })
        .collect()
}

/// The first part of every `crate::…` path of a line, grouped imports included.
fn imports(line: &str) -> Vec<String> {
    let after = line.split("crate::").skip(1);
    after
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group.split(',').map(first_word).collect::<Vec<_>>(),
            None => vec![first_word(rest)],
        })
        .filter(|word| word.chars().next().is_some_and(|c| c.is_ascii_lowercase()))
        .collect()
}

fn first_word(text: &str) -> String {
    text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The file without its comments and without its tests, which stand last.
fn code_of(file: &Path) -> String {
    if file.ends_with("tests.rs") {
        return String::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// The folder, or the file's own name, directly under `src/`.
fn room_of(file: &Path) -> String {
    let relative = file.strip_prefix(root()).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => pending.push(path),
                // `testing.rs` is compiled for tests alone.
                Some(extension) if extension == "rs" && !path.ends_with("testing.rs") => found.push(path),
                _ => {}
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
