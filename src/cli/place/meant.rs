//! What somebody may have meant who wrote the name of an image that is none, or of one that is not there.
//!
//! Whatever begins with none of our words is the name of an image in a registry, so `./out` and `oci:out` are taken for such.
//! Nothing is guessed: the hint says what to write.

use std::path::Path;

use crate::cli::exit::Failure;
use crate::oci::Location;

/// Our words, and what other tools and people write for them.
const WORDS: [(&str, &[&str]); 4] = [
    ("oci-layout", &["oci", "layout", "dir", "directory"]),
    ("oci-archive", &["archive", "tar"]),
    ("docker-archive", &[]),
    ("containerd", &["ctr"]),
];
/// How many letters a word may be from ours to be taken for it: two that changed places are two.
const MAX_DISTANCE: usize = 2;

/// Where an image lies, as it was written.
pub(in crate::cli) fn location(text: &str) -> Result<Location, Failure> {
    text.parse().map_err(|error| {
        let failure = Failure::usage_of(&error);
        match meant(text) {
            Some(meant) => failure.hint(meant),
            None => failure,
        }
    })
}

/// What to write, where something on this machine is probably meant.
pub(super) fn meant(text: &str) -> Option<String> {
    if let Some((word, rest)) = text.split_once(':') {
        // What is wrong behind our own words has a hint of its own, and so has the scheme of a URL.
        if WORDS.iter().any(|(known, _)| *known == word) || rest.starts_with("//") {
            return None;
        }
        if let Some(known) = known_word(word) {
            return Some(format!("write `{known}:{rest}`"));
        }
    }
    let (path, name) = [text.rsplit_once('@'), text.rsplit_once(':')]
        .into_iter()
        .flatten()
        .find_map(|(path, _)| Some((path, text.get(path.len()..)?)).filter(|(path, _)| is_layout(path)))
        .unwrap_or((text, ""));
    match () {
        () if is_layout(path) => Some(format!("write `oci-layout:{path}{name}` for the layout in that directory")),
        () if is_archive(text) => {
            Some(format!("write `oci-archive:{text}`, or `docker-archive:{text}` for what `docker save` has written"))
        }
        () => None,
    }
}

/// Our word that somebody has written otherwise.
fn known_word(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let is_other = |others: &[&str]| others.contains(&word.as_str());
    let named = WORDS.iter().find(|(known, others)| *known == word || is_other(others));
    let near = || WORDS.iter().find(|(known, _)| distance(known, &word) <= MAX_DISTANCE);
    named.or_else(near).map(|(known, _)| *known)
}

fn is_layout(path: &str) -> bool {
    !path.is_empty() && Path::new(path).join("oci-layout").is_file()
}

fn is_archive(path: &str) -> bool {
    let is_tar = Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"));
    is_tar && Path::new(path).is_file()
}

/// In how many letters two words differ (Levenshtein). The words are short: what is longer differs in more anyway.
fn distance(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > MAX_DISTANCE {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (done, a) in one.bytes().enumerate() {
        let mut diagonal = done;
        let mut left = done + 1;
        let mut next = vec![left];
        for (b, above) in other.bytes().zip(row.iter().skip(1).copied()) {
            left = (above + 1).min(left + 1).min(diagonal + usize::from(a != b));
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_no_word_is_near_to_every_other() {
        for (word, known) in [
            ("oci-layuot", Some("oci-layout")),
            ("OCI-LAYOUT", Some("oci-layout")),
            ("oci", Some("oci-layout")),
            ("dir", Some("oci-layout")),
            ("oci-archiv", Some("oci-archive")),
            ("docker-archve", Some("docker-archive")),
            ("contianerd", Some("containerd")),
            ("localhost", None),
            ("alpine", None),
            ("", None),
        ] {
            assert_eq!(known_word(word), known, "{word}");
        }
    }

    #[test]
    fn letters_that_differ_are_counted() {
        for (one, other, differ) in
            [("abc", "abc", 0), ("abc", "abd", 1), ("abc", "ab", 1), ("abc", "acb", 2), ("", "ab", 2)]
        {
            assert_eq!(distance(one, other), differ, "{one} {other}");
        }
    }

    #[test]
    fn a_layout_on_this_machine_is_told_with_the_word_before_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().display().to_string();
        assert_eq!(meant(&path), None);
        std::fs::write(home.path().join("oci-layout"), "{}").unwrap();
        for name in ["", ":v1", "@sha256:12"] {
            let hint = meant(&format!("{path}{name}")).unwrap();
            assert!(hint.starts_with(&format!("write `oci-layout:{path}{name}` ")), "{hint}");
        }
        let archive = home.path().join("image.tar");
        std::fs::write(&archive, "").unwrap();
        assert!(meant(&archive.display().to_string()).unwrap().contains("oci-archive:"));
    }
}
