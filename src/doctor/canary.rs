//! What became of the images that were sent ahead.

use super::{Facts, Finding};

/// One way in, tried with an image that nobody signed; or with one that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried, as one says it: `import`.
    pub what: &'static str,
    /// Whether the image is one that has to be let in.
    pub is_signed: bool,
    /// How it ended.
    pub ended: Ended,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It went through.
    LetIn,
    /// It was refused by us, with this line.
    Refused(String),
    /// It failed for another reason, and so shows nothing.
    Failed(String),
}

pub(super) fn examine(facts: &Facts, findings: &mut Vec<Finding>) {
    for Attempt { what, is_signed, ended } in &facts.attempts {
        let finding = match (is_signed, ended) {
            (false, Ended::Refused(_)) | (true, Ended::LetIn) => continue,
            (false, Ended::LetIn) => {
                let fact = format!("an image that nobody signed got through: {what}");
                Finding::error("canary-let-in", fact, "see the findings about that gate; pratique install")
            }
            (true, Ended::Refused(line)) => {
                let fact = format!("the image that has to be let in was refused: {what}: {line}");
                Finding::error("canary-refused", fact, "pratique verify that image")
            }
            (_, Ended::Failed(reason)) => {
                let fact = format!("what was tried shows nothing: {what}: {reason}");
                Finding::error("canary-failed", fact, "see containerd's log, and try again")
            }
        };
        findings.push(finding);
    }
    if !facts.attempts.is_empty() && !facts.attempts.iter().any(|attempt| attempt.is_signed) {
        let fact = "no signed image was tried: name one with `--canary-image`".to_owned();
        findings.push(Finding::note("canary-one-sided", fact));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::testing::{change, codes};

    #[test]
    fn an_unsigned_image_has_to_be_refused_and_a_signed_one_let_in() {
        let with = |is_signed: bool, ended: Ended| {
            codes(&change(|facts| facts.attempts = vec![Attempt { what: "import", is_signed, ended: ended.clone() }]))
        };
        assert_eq!(with(false, Ended::LetIn), ["canary-let-in"]);
        assert_eq!(with(false, Ended::Refused("denied: x".into())), [""; 0]);
        assert_eq!(with(false, Ended::Failed("no space".into())), ["canary-failed"]);
        assert_eq!(with(true, Ended::Refused("denied: x".into())), ["canary-refused"]);
        assert_eq!(with(true, Ended::LetIn), [""; 0]);
        assert_eq!(with(true, Ended::Failed("no space".into())), ["canary-failed"]);
    }
}
