//! What `attach` tells about a run: each envelope in each place, those that failed first.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::work::{State, Task};
use crate::cli::attaching::Attached;
use crate::cli::exit::Exit;
use crate::cli::{Output, output};
use crate::oci::{Digest, Repository};
use crate::remedy::printable;
use crate::verify::Problem;

/// What became of one envelope in one place.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    reference: String,
    state: StateName,
    /// The digest of the signature manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// The digest of the envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    /// The signatures that it has taken the place of, or would.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replaced: Vec<Digest>,
    /// Why it was not attached, or why older signatures are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum StateName {
    Failed,
    WouldAttach,
    Attached,
    Present,
}

impl StateName {
    fn label(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::WouldAttach => "would attach",
            Self::Attached => "attached",
            Self::Present => "present",
        }
    }
}

impl Line {
    fn about(repository: &Repository, digest: &Digest) -> Self {
        Self {
            reference: repository.at(digest.clone()).to_string(),
            state: StateName::Failed,
            signature: None,
            file: None,
            envelope: None,
            signer: None,
            replaced: Vec::new(),
            problem: None,
        }
    }

    /// One that did not get as far as a registry.
    pub(super) fn failed(repository: &Repository, digest: &Digest, file: Option<&Path>, problem: &Problem) -> Self {
        let (file, problem) = (file.map(Path::to_owned), Some(problem.clone()));
        Self { file, problem, ..Self::about(repository, digest) }
    }

    /// What has become of a task.
    pub(super) fn of(task: &Task, state: State) -> Self {
        let envelope = &task.envelope;
        let line = Self {
            file: Some(task.file.clone()),
            envelope: Some(envelope.envelope_descriptor().digest.clone()),
            signer: Some(printable(&envelope.signer().subject().to_string())),
            ..Self::about(&task.repository, &envelope.artifact().digest)
        };
        match state {
            State::Good { attached: Some(Attached { signature, was_there }), replaced, left } => {
                let state = if was_there { StateName::Present } else { StateName::Attached };
                Self { state, signature: Some(signature), replaced, problem: left, ..line }
            }
            State::Good { attached: None, replaced, left } => {
                Self { state: StateName::WouldAttach, replaced, problem: left, ..line }
            }
            State::Failed(problem) => Self { problem: Some(problem), ..line },
        }
    }

    fn text(&self) -> String {
        let file = self.file.as_ref().map(|file| format!(" ({})", file.display())).unwrap_or_default();
        let label = self.state.label();
        let mut text = match &self.signature {
            Some(signature) => format!("  {label:<12}  {}\n{INDENT}{signature}", self.reference),
            None => format!("  {label:<12}  {}{file}", self.reference),
        };
        // Writing to a string does not fail.
        for replaced in &self.replaced {
            let _ = write!(text, "\n{INDENT}in the place of {replaced}");
        }
        if let Some(problem) = &self.problem {
            let _ = write!(text, "\n{INDENT}[{}] {}", problem.code, problem.message);
        }
        text
    }
}

/// Where the second line of a signature begins.
const INDENT: &str = "                ";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    attached: usize,
    /// How many were there before.
    present: usize,
    would_attach: usize,
    failed: usize,
    /// How many have their signature, and older ones beside it that should be gone.
    not_replaced: usize,
    /// In the order of the references, those that failed first.
    signatures: Vec<Line>,
}

/// One that did not get its signature is a no, whatever the reason: the release is not signed.
pub(super) fn report(output: Output, mut lines: Vec<Line>) -> Exit {
    lines.sort_by(|a, b| (a.state, &a.reference, &a.file).cmp(&(b.state, &b.reference, &b.file)));
    let not_replaced = lines.iter().filter(|line| line.state != StateName::Failed && line.problem.is_some()).count();
    let count = |state| lines.iter().filter(|line| line.state == state).count();
    let report = Report {
        attached: count(StateName::Attached),
        present: count(StateName::Present),
        would_attach: count(StateName::WouldAttach),
        failed: count(StateName::Failed),
        not_replaced,
        signatures: lines,
    };
    output::print(output, &report, || {
        let lines: Vec<String> = report.signatures.iter().map(Line::text).collect();
        [summary(&report)].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
    });
    if output == Output::Text {
        hints(&report.signatures);
    }
    if report.failed == 0 && report.not_replaced == 0 { Exit::Done } else { Exit::Denied }
}

fn summary(report: &Report) -> String {
    let all = report.signatures.len();
    if all == 0 {
        return "nothing to attach: the index lists no payload".to_owned();
    }
    let parts = [
        (report.attached, "attached"),
        (report.present, "there already"),
        (report.would_attach, "would be attached"),
        (report.failed, "without its signature"),
        (report.not_replaced, "with older ones left"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    format!("of {all} signatures: {}", parts.join(", "))
}

/// Each piece of advice once, in the order of the failures.
fn hints(lines: &[Line]) {
    let mut told: Vec<&str> = Vec::new();
    for remedy in lines.iter().filter_map(|line| line.problem.as_ref()?.remedy.as_deref()) {
        if !told.contains(&remedy) {
            told.push(remedy);
            output::hint(remedy);
        }
    }
}
