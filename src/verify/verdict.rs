//! The policy's answer for one image, made of the outcomes of its signatures.
//!
//! A verdict is what is kept, shown and sent; a [`Permit`] is the only thing that lets an image through a hook, and only
//! a verdict that admits can make one.

use jiff::Timestamp;
use serde::Serialize;

use super::outcome::{Check, Finding, Outcome, Problem, State};
use crate::oci::{Descriptor, Digest};
use crate::policy::{LevelName, Mode, Statement, Trust};
use crate::remedy::{Code, hint, printable};

/// Yes, no, could not tell. The last two both stop the image; they differ in code, exit status and remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The image satisfies the policy.
    Admit,
    /// It does not.
    Deny,
    /// Nobody could find out.
    Inconclusive,
}

impl Answer {
    /// The answer as it stands in JSON and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Deny => "deny",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// What governed the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Governing {
    /// The name of the statement.
    pub statement: String,
    /// Where the trust policy came from.
    pub origin: String,
    /// The line at which the statement begins, from 1.
    pub line: usize,
    /// The statement's level.
    pub level: LevelName,
}

/// One signature of the image and what was found about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignatureReport {
    /// The digest of the signature manifest; none for an envelope that was handed over on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What was found.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The policy's answer for one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    answer: Answer, // private: only this file says yes
    /// The stable code of the reason.
    pub code: Code,
    /// The check that decided against the image.
    pub failed: Option<Check>,
    /// The reason in one sentence.
    pub reason: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The image's name and digest, as asked.
    pub reference: String,
    /// The image: media type, digest, size.
    pub artifact: Descriptor,
    /// The statement that governed.
    pub policy: Option<Governing>,
    /// The digest of the trust snapshot: policy and anchors.
    pub policy_digest: Digest,
    /// The findings about the signature that decided, or that came closest.
    pub findings: Vec<Finding>,
    /// Checks that failed and were only to be recorded.
    pub logged: Vec<Check>,
    /// Every signature that was examined, in the source's order.
    pub signatures: Vec<SignatureReport>,
    /// Whether there were more signatures than were examined.
    pub truncated: bool,
    /// The instant that the verdict is made for.
    pub decided_at: Timestamp,
    /// The first instant at which the verdict may change by the mere passing of time.
    pub good_until: Option<Timestamp>,
}

/// What every verdict is made from.
#[derive(Clone, Copy, Debug)]
pub struct VerdictInput<'a> {
    /// The image's name and digest, as asked.
    pub reference: &'a str,
    /// The image.
    pub artifact: &'a Descriptor,
    /// The snapshot that the verdict is made against.
    pub trust: &'a Trust,
    /// The instant that the verdict is made for.
    pub now: Timestamp,
}

impl Verdict {
    /// No statement of the policy governs the image.
    pub(super) fn without_statement(input: VerdictInput<'_>) -> Self {
        let problem = Problem::new(
            "no-policy-statement",
            &format!("no statement of the trust policy {} governs this repository", input.trust.origin()),
            "add the repository to `registryScopes` of a statement, or add a statement with the scope `*`",
        );
        Self::stopped(input, Answer::Deny, Check::Policy, problem, None)
    }

    /// No statement of the policy governs the blob: there is none of this name, or no global one where none is named.
    pub(super) fn without_blob_statement(input: VerdictInput<'_>, name: Option<&str>) -> Self {
        let origin = input.trust.origin();
        let (message, remedy) = match name {
            Some(name) => (
                format!("the trust policy {origin} has no statement `{name}`"),
                "name one of its statements, or none for the global one",
            ),
            None => (
                format!("the trust policy {origin} has no global statement"),
                "name the statement that governs the file, or give one of them `globalPolicy`",
            ),
        };
        let problem = Problem::new("no-policy-statement", &message, remedy);
        Self::stopped(input, Answer::Deny, Check::Policy, problem, None)
    }

    /// The statement says that nothing is to be verified.
    pub(super) fn skipped(input: VerdictInput<'_>, statement: &Statement) -> Self {
        let reason = format!("statement `{}` skips verification", statement.name());
        Self { reason, code: Code("verification-skipped"), ..Self::base(input, Some(statement)) }
    }

    /// The operator has pinned the image's digest: it is admitted whatever the trust policy says.
    pub fn pinned(input: VerdictInput<'_>) -> Self {
        let reason = "its digest is pinned on the boot floor of this node".to_owned();
        Self { reason, code: Code("boot-floor"), ..Self::base(input, None) }
    }

    /// A trust store that the statement names cannot be used.
    pub(super) fn without_anchors(input: VerdictInput<'_>, statement: &Statement, problem: Problem) -> Self {
        Self::stopped(input, Answer::Inconclusive, Check::Authenticity, problem, Some(statement))
    }

    /// The signatures could not be looked for, or not in time.
    pub fn unavailable(input: VerdictInput<'_>, statement: Option<&Statement>, problem: Problem) -> Self {
        Self::stopped(input, Answer::Inconclusive, Check::Retrieval, problem, statement)
    }

    /// The image does not come as far as its signatures.
    pub fn refused_unseen(input: VerdictInput<'_>, check: Check, problem: Problem) -> Self {
        Self::stopped(input, Answer::Deny, check, problem, None)
    }

    /// Nothing is decided here: what is asked about may proceed, and will be asked about again.
    pub fn deferred(input: VerdictInput<'_>, code: Code, reason: &str) -> Self {
        Self { reason: reason.to_owned(), code, ..Self::base(input, None) }
    }

    /// One good signature admits (Notary "Signing and Verification Workflow"); otherwise the signature that came closest
    /// gives the reason, and one that could not be examined leaves the question open.
    pub fn of_signatures(
        input: VerdictInput<'_>,
        statement: &Statement,
        signatures: Vec<SignatureReport>,
        truncated: bool,
    ) -> Self {
        let Some(closest) = closest(&signatures) else {
            let (answer, check, problem) = if truncated {
                (Answer::Inconclusive, Check::Limit, unlisted())
            } else {
                (Answer::Deny, Check::Retrieval, no_signature())
            };
            return Self { truncated, ..Self::stopped(input, answer, check, problem, Some(statement)) };
        };
        let verdict = match closest.outcome.decisive() {
            None => Self::admitted(input, statement, closest, signatures.len()),
            Some(finding) => Self::refused(input, statement, closest, finding, signatures.len(), truncated),
        };
        Self { signatures, truncated, ..verdict }
    }

    fn admitted(input: VerdictInput<'_>, statement: &Statement, by: &SignatureReport, examined: usize) -> Self {
        let signer = by.outcome.signer.as_ref().map_or("an unknown signer", |signer| signer.subject.as_str());
        Self {
            reason: format!("signature {examined} satisfies statement `{}`: signed by {signer}", statement.name()),
            findings: by.outcome.findings.clone(),
            logged: by.outcome.findings.iter().filter(|finding| finding.is_logged()).map(|f| f.check).collect(),
            good_until: by.outcome.good_until,
            ..Self::base(input, Some(statement))
        }
    }

    fn refused(
        input: VerdictInput<'_>,
        statement: &Statement,
        closest: &SignatureReport,
        finding: &Finding,
        examined: usize,
        truncated: bool,
    ) -> Self {
        let Some(mut problem) = finding.problem().cloned() else {
            return Self::stopped(input, Answer::Deny, finding.check, no_signature(), Some(statement));
        };
        if examined > 1 || truncated {
            let none = match examined {
                1 => "the one signature examined is not acceptable".to_owned(),
                _ => format!("none of {examined} signatures is acceptable"),
            };
            let more = if truncated { ", and there are more than may be examined" } else { "" };
            problem.message = format!("{none}{more}; the closest: {}", problem.message);
        }
        Self {
            findings: closest.outcome.findings.clone(),
            ..Self::stopped(input, answer_of(finding), finding.check, problem, Some(statement))
        }
    }

    fn stopped(
        input: VerdictInput<'_>,
        answer: Answer,
        check: Check,
        problem: Problem,
        statement: Option<&Statement>,
    ) -> Self {
        Self {
            answer,
            code: problem.code,
            failed: Some(check),
            reason: problem.message,
            remedy: problem.remedy,
            ..Self::base(input, statement)
        }
    }

    fn base(input: VerdictInput<'_>, statement: Option<&Statement>) -> Self {
        Self {
            answer: Answer::Admit,
            code: Code("admitted"),
            failed: None,
            reason: String::new(),
            remedy: None,
            reference: printable(input.reference),
            artifact: input.artifact.clone(),
            policy: statement.map(|statement| Governing {
                statement: statement.name().to_owned(),
                origin: input.trust.origin().to_owned(),
                line: statement.line(),
                level: statement.level(),
            }),
            policy_digest: input.trust.digest().clone(),
            findings: Vec::new(),
            logged: Vec::new(),
            signatures: Vec::new(),
            truncated: false,
            decided_at: input.now,
            good_until: None,
        }
    }

    /// Yes, no, could not tell.
    pub fn answer(&self) -> Answer {
        self.answer
    }

    /// The answer, the image, the code, the reason and the remedy on one line that stands alone: containerd cuts a
    /// verifier's output, and an event of Kubernetes shows one line.
    pub fn one_line(&self) -> String {
        format!("{}: {}{}", self.headline(), self.reason, hint(self.remedy.as_deref()))
    }

    /// The answer, the image and the code.
    pub fn headline(&self) -> String {
        let answer = match self.answer {
            Answer::Admit => "admitted",
            Answer::Deny => "denied",
            Answer::Inconclusive => "could not tell",
        };
        format!("{answer}: {} [{}]", self.reference, self.code)
    }

    /// What the verdict means at a hook: leave to proceed, or the reason not to. In audit mode an image that is not
    /// admitted proceeds too, and the caller records what would have been denied.
    pub fn permit(&self, mode: Mode) -> Result<Permit, Denial> {
        match (self.answer, mode) {
            (Answer::Admit, _) => Ok(Permit { would_have_denied: false }),
            (_, Mode::Audit) => Ok(Permit { would_have_denied: true }),
            (answer, Mode::Enforce) => Err(Denial { answer, code: self.code, line: self.one_line() }),
        }
    }
}

/// Leave to proceed. Only [`Verdict::permit`] makes one.
#[derive(Debug)]
#[must_use = "a permit is there to be shown to what it lets through"]
pub struct Permit {
    would_have_denied: bool,
}

impl Permit {
    /// Whether only audit mode lets the image through.
    pub fn would_have_denied(&self) -> bool {
        self.would_have_denied
    }
}

/// The reason not to proceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Deny or inconclusive.
    pub answer: Answer,
    /// The stable code.
    pub code: Code,
    /// One line for people.
    pub line: String,
}

fn answer_of(finding: &Finding) -> Answer {
    match finding.state {
        State::Inconclusive { .. } => Answer::Inconclusive,
        _ => Answer::Deny,
    }
}

/// The first signature that admits; else, of those that leave the question open, the one that got furthest; else the one
/// that got furthest.
fn closest(signatures: &[SignatureReport]) -> Option<&SignatureReport> {
    let rank = |report: &&SignatureReport| match report.outcome.decisive() {
        None => (2, 0),
        Some(finding) => (u8::from(answer_of(finding) == Answer::Inconclusive), report.outcome.reach()),
    };
    // `max_by_key` gives the last of equals; the source's order says that the first one counts.
    signatures.iter().rev().max_by_key(rank)
}

fn no_signature() -> Problem {
    Problem::new(
        "no-signature",
        "the image has no signature",
        "sign it with `pratique sign`, or have it signed by someone whom the trust policy accepts",
    )
}

/// What the source lists as signatures may stand behind where the list was cut.
fn unlisted() -> Problem {
    Problem::new(
        "signatures-beyond-limit",
        "the list of what refers to the image is longer than what is read, and no signature stands in that part",
        "see who attached so much to the image, and have it removed from the registry",
    )
}
