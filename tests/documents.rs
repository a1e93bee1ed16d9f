//! Every link among the documents leads somewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end in a panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Documents with links in them.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/policy.md",
    "docs/containerd.md",
    "docs/errors.md",
    "docs/notary-conformance.md",
];

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_of_it() {
    for name in DOCUMENTS {
        let text = fs::read_to_string(name).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path =
                if file.is_empty() { PathBuf::from(name) } else { Path::new(name).with_file_name("").join(file) };
            assert!(fs::metadata(&path).is_ok(), "{name}: {link}");
            if !heading.is_empty() {
                let target = fs::read_to_string(&path).unwrap();
                assert!(target.lines().any(|line| anchor(line) == heading), "{name}: {link}");
            }
        }
    }
}

/// The anchor that a heading gets where Markdown is shown.
fn anchor(line: &str) -> String {
    let Some(title) = line.strip_prefix('#') else { return String::new() };
    let title = title.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    title.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}
