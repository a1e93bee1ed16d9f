//! `pratique doctor`: is there a way round the gates on this node?

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Output, output};
use crate::doctor::{self, Condition, Finding, Report, Severity};
use crate::probe::{self, Where};

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
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let place = Where {
        containerd: arguments.containerd,
        containerd_config: arguments.containerd_config,
        config: arguments.config,
        state_dir: arguments.state_dir,
    };
    let facts = probe::gather(&place).await.map_err(|error| Failure::of(&error))?;
    let report = doctor::examine(&facts);
    let exit = exit(report.condition(), arguments.strict);
    let seen = format!("containerd {}", facts.version);
    output::print(output, &Document { containerd: facts.version.to_string(), report: &report }, || {
        text(&report, &seen)
    });
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
}

/// The first line stands alone; what calls for somebody has its fix below it.
fn text(report: &Report, seen: &str) -> String {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let first = match report.condition() {
        Condition::Well => format!("all gates are up ({seen})"),
        Condition::Unknown => format!("could not find out everything ({seen})"),
        _ => format!("{} wrong, {} weak ({seen})", count(Severity::Error), count(Severity::Warning)),
    };
    let findings = report.findings.iter().map(finding);
    let unknown = report.unknown.iter().map(|what| format!("unknown  {what}"));
    [first].into_iter().chain(findings).chain(unknown).collect::<Vec<_>>().join("\n")
}

fn finding(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let fix = finding.fix.as_ref().map(|fix| format!("\n         fix: {fix}")).unwrap_or_default();
    format!("{severity:<8} {} [{}]{fix}", finding.fact, finding.code)
}
