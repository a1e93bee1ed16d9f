//! `pratique attach`: envelopes that an external signing service has made, onto the images that they are for.
//!
//! Every envelope is checked against the manifest whose payload went out, and against whom is trusted where that is told,
//! before the registry is asked about any. What is there already is not attached again, so that a run which broke off is
//! gone on with by repeating it.

mod demand;
mod envelopes;
mod work;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use self::demand::{Demand, TrustArguments};
use self::work::{Manner, State, Task, Work};
use super::attaching::{Attachable, Attached};
use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::payload::{DEFAULT_JOBS, MAX_JOBS, load_index};
use super::registry::RegistryArguments;
use super::revocation::RevocationArguments;
use super::{Output, output};
use crate::clock;
use crate::oci::{Digest, Repository};
use crate::remedy::printable;
use crate::revocation::Servers;
use crate::sign::{PAYLOAD_INDEX_FILE, PayloadEntry, PayloadIndex};
use crate::verify::Problem;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory that `pratique payload generate` has filled.
    #[arg(long, value_name = "DIR", required_unless_present = "index")]
    payload_dir: Option<PathBuf>,
    /// The index of payloads, where it lies elsewhere or has another name.
    #[arg(long, value_name = "FILE", conflicts_with = "payload_dir")]
    index: Option<PathBuf>,
    /// The directory with the envelopes, instead of the index's own.
    #[arg(long, value_name = "DIR")]
    signatures: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArguments,
    /// Once an envelope is attached, take older signatures of the same signer away. Needs to be told whom to trust.
    #[arg(long)]
    replace: bool,
    /// Look at everything, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// How many envelopes are attached at a time.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_JOBS, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_JOBS)))]
    jobs: u8,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    revocation: RevocationArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let index = match (arguments.payload_dir, arguments.index) {
        (Some(directory), _) => directory.join(PAYLOAD_INDEX_FILE),
        (None, Some(index)) => index,
        (None, None) => return Err(Failure::usage("arguments-missing", "name the directory of the payloads".into())),
    };
    if arguments.replace && !arguments.trust.is_given() {
        // Whoever can write a certificate with the same subject could have the signer's signatures taken away.
        let message = "`--replace` needs `--trust-store`, `--trust-root` or `--profile`".to_owned();
        return Err(Failure::usage("replace-untrusted", message));
    }
    let payloads = load_index(&index)?;
    let directory = arguments.notation_dir.open();
    let demand = arguments.trust.open(&directory)?;
    let insecure = directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let registry = arguments.registry.open(insecure)?;
    let envelopes = arguments.signatures.unwrap_or_else(|| index.parent().map(Path::to_owned).unwrap_or_default());
    let servers = arguments.revocation.open();
    let Checked { tasks, mut lines } = check(&payloads, &envelopes, demand.as_ref(), &servers).await;
    let (replaces, is_dry_run) = (arguments.replace, arguments.dry_run);
    let manner = Manner { jobs: usize::from(arguments.jobs), replaces, is_dry_run };
    let states = Work::new(&registry, manner).run(&tasks).await;
    lines.extend(tasks.iter().zip(states).map(|(task, state)| Line::of(task, state)));
    Ok(report(output, lines))
}

/// What is to be attached, and what is known by now not to be.
struct Checked {
    tasks: Vec<Task>,
    lines: Vec<Line>,
}

/// Looks at every envelope. Asks no registry.
async fn check(payloads: &PayloadIndex, envelopes: &Path, demand: Option<&Demand>, servers: &Servers) -> Checked {
    let mut checked = Checked { tasks: Vec::new(), lines: Vec::new() };
    for entry in payloads.entries() {
        let returned = envelopes::find(envelopes, entry);
        if returned.is_empty() {
            checked.fail(entry, None, &missing(entry));
        }
        for returned in returned {
            let judged = match returned.envelope {
                Ok(envelope) => match demand {
                    Some(demand) => demand.judge(&envelope, servers, clock::now()).await.map(|()| envelope),
                    None => Ok(envelope),
                },
                Err(problem) => Err(problem),
            };
            match judged {
                Ok(envelope) => checked.take(entry, &returned.file, envelope, demand),
                Err(problem) => checked.fail(entry, Some(&returned.file), &problem),
            }
        }
    }
    checked
}

impl Checked {
    fn take(&mut self, entry: &PayloadEntry, file: &Path, envelope: Attachable, demand: Option<&Demand>) {
        let envelope = Arc::new(envelope);
        for repository in &entry.repositories {
            let task = Task { repository: repository.clone(), file: file.to_owned(), envelope: Arc::clone(&envelope) };
            match demand.map_or(Ok(()), |demand| demand.permit_place(repository)) {
                Ok(()) => self.tasks.push(task),
                Err(problem) => self.lines.push(Line::of(&task, State::Failed(problem))),
            }
        }
    }

    fn fail(&mut self, entry: &PayloadEntry, file: Option<&Path>, problem: &Problem) {
        self.lines.extend(entry.repositories.iter().map(|repository| Line {
            file: file.map(Path::to_owned),
            problem: Some(problem.clone()),
            ..Line::about(repository, &entry.artifact.digest)
        }));
    }
}

fn missing(entry: &PayloadEntry) -> Problem {
    let message =
        format!("there is neither {0}.cose nor {0}.jws, nor an envelope in the payload's place", entry.stem());
    Problem::new("envelope-missing", &message, "name the directory with the envelopes with `--signatures`")
}

/// What became of one envelope in one place.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
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

    fn of(task: &Task, state: State) -> Self {
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
fn report(output: Output, mut lines: Vec<Line>) -> Exit {
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
