//! `pratique doctor`: is there a way round the gates on this node?

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Output, output};
use crate::doctor::{self, Attempt, Condition, Ended, Facts, Report, Severity};
use crate::probe::{self, Where, canary};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// containerd's program, which is asked for what its configuration comes to.
    #[arg(long, value_name = "FILE", default_value = "containerd")]
    containerd: PathBuf,
    /// containerd's main configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/containerd/config.toml")]
    containerd_config: PathBuf,
    /// The node's configuration; `/etc/pratique/config.toml` without it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the record of what was installed is kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pratique")]
    state_dir: PathBuf,
    /// Answer 1 to warnings, too.
    #[arg(long)]
    strict: bool,
    /// Send an unsigned image through every way in, in a containerd namespace of its own: each must refuse it.
    #[arg(long)]
    canary: bool,
    /// An image that must be let in, which is pulled as well.
    #[arg(long, value_name = "REFERENCE", requires = "canary")]
    canary_image: Option<String>,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let place = Where {
        containerd: arguments.containerd,
        containerd_config: arguments.containerd_config,
        config: arguments.config,
        state_dir: arguments.state_dir,
    };
    let mut facts = probe::gather(&place).await.map_err(|error| Failure::of(&error))?;
    if arguments.canary {
        canary::send(&mut facts, arguments.canary_image.as_deref()).await;
    }
    let report = doctor::examine(&facts);
    let exit = exit(report.condition(), arguments.strict);
    let document = Document {
        containerd: facts.version.to_string(),
        report: &report,
        attempts: facts.attempts.iter().map(Tried::of).collect(),
    };
    output::print(output, &document, || text(&report, &facts));
    Ok(exit)
}

fn exit(condition: Condition, is_strict: bool) -> Exit {
    match condition {
        Condition::Open => Exit::Denied,
        Condition::Unknown => Exit::Inconclusive,
        Condition::Weak if is_strict => Exit::Denied,
        Condition::Weak | Condition::Well => Exit::Done,
    }
}

#[derive(Serialize)]
struct Document<'a> {
    containerd: String,
    #[serde(flatten)]
    report: &'a Report,
    attempts: Vec<Tried<'a>>,
}

/// One way in that was tried.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried<'a> {
    what: &'a str,
    signed: bool,
    ended: &'static str,
    line: Option<&'a str>,
}

impl<'a> Tried<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        let (ended, line) = match &attempt.ended {
            Ended::LetIn => ("admitted", None),
            Ended::Refused(line) => ("refused", Some(line.as_str())),
            Ended::Failed(reason) => ("failed", Some(reason.as_str())),
        };
        Self { what: attempt.what, signed: attempt.is_signed, ended, line }
    }
}

/// The first line stands alone; what calls for somebody has its fix below it, once where one fix does for several.
fn text(report: &Report, facts: &Facts) -> String {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let seen = format!("containerd {}", facts.version);
    let mut lines = vec![match report.condition() {
        Condition::Well => format!("all gates are up ({seen})"),
        Condition::Unknown => format!("could not find out everything ({seen})"),
        _ => format!("{} wrong, {} weak ({seen})", count(Severity::Error), count(Severity::Warning)),
    }];
    for (place, found) in report.findings.iter().enumerate() {
        lines.push(format!("{:<8} {} [{}]", word(found.severity), found.fact, found.code));
        let is_last = report.findings.get(place + 1).is_none_or(|next| next.fix != found.fix);
        lines.extend(found.fix.iter().filter(|_| is_last).map(|fix| format!("         fix: {fix}")));
    }
    let refused = facts.attempts.iter().filter(|attempt| matches!(attempt.ended, Ended::Refused(_)));
    let refused: Vec<&str> = refused.filter(|attempt| !attempt.is_signed).map(|attempt| attempt.what).collect();
    if !refused.is_empty() {
        lines.push(format!("canary   an unsigned image was refused: {}", refused.join(", ")));
    }
    let signed = facts.attempts.iter().find(|attempt| attempt.is_signed && attempt.ended == Ended::LetIn);
    lines.extend(signed.map(|attempt| format!("canary   the signed image was let in: {}", attempt.what)));
    lines.extend(report.unknown.iter().map(|what| format!("unknown  {what}")));
    lines.join("\n")
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
