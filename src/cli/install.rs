//! `pratique install` and `uninstall`: containerd's configuration, there and back.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Output, output};
use crate::install::{self, InstallOptions, Report};
use crate::source::SourceError;
use crate::source::containerd::{Containerd, Introspection, SNAPSHOTTER};

#[derive(Debug, Args)]
pub(super) struct InstallArguments {
    /// containerd's program, which is asked for its version and for what its configuration comes to.
    #[arg(long, value_name = "FILE", default_value = "containerd")]
    containerd: PathBuf,
    /// The program that containerd is to start before it pulls; the `pratique-verifier` beside this program without it.
    #[arg(long, value_name = "FILE")]
    verifier: Option<PathBuf>,
    /// The program that stands where runtimes are looked for; the `pratique-runtime` beside this program without it.
    #[arg(long, value_name = "FILE")]
    runtime: Option<PathBuf>,
    /// The directory that containerd starts verifiers from; the one its configuration names without it.
    #[arg(long, value_name = "DIR")]
    verifier_dir: Option<PathBuf>,
    /// The daemon's socket `hook.sock`, where it is not the usual one.
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct UninstallArguments {
    #[command(flatten)]
    place: Place,
}

/// What both directions must agree on.
#[derive(Debug, Args)]
struct Place {
    /// containerd's main configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/containerd/config.toml")]
    containerd_config: PathBuf,
    /// Where the record of what was installed is kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pratique")]
    state_dir: PathBuf,
    /// Show what would change, as a diff, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn install(arguments: InstallArguments, output: Output) -> Result<Exit, Failure> {
    let mut options = InstallOptions {
        containerd: arguments.containerd,
        verifier: arguments.verifier,
        runtime: arguments.runtime,
        verifier_dir: arguments.verifier_dir,
        socket: arguments.socket,
        ..arguments.place.options()
    };
    let socket = install::containerd_socket(&options).map_err(|error| Failure::of(&error))?;
    // Where it does not run, its configuration says what there is to know.
    let asked = match Containerd::new(&socket) {
        Ok(containerd) => snapshotters(&containerd).await,
        Err(error) => Err(error),
    };
    let is_up = asked.is_ok();
    options.snapshotters = asked.unwrap_or_default();
    let mut report = install::install(&options).map_err(|error| Failure::of(&error))?;
    if !is_up {
        report
            .notes
            .push("containerd does not answer: which snapshotters it has is taken from its configuration".into());
    }
    show(output, &report);
    Ok(Exit::Done)
}

/// The snapshotters that work.
async fn snapshotters(containerd: &Containerd) -> Result<BTreeSet<String>, SourceError> {
    let plugins = containerd.plugins().await?.into_iter();
    let working = plugins.filter(|plugin| plugin.kind == SNAPSHOTTER && plugin.fault.is_none());
    Ok(working.map(|plugin| plugin.name).collect())
}

pub(super) fn uninstall(arguments: UninstallArguments, output: Output) -> Result<Exit, Failure> {
    let report = install::uninstall(&arguments.place.options()).map_err(|error| Failure::of(&error))?;
    show(output, &report);
    // A script must not go on to remove the programs that containerd still calls.
    Ok(if report.is_whole { Exit::Done } else { Exit::Denied })
}

impl Place {
    fn options(self) -> InstallOptions {
        InstallOptions {
            containerd_config: self.containerd_config,
            state_dir: self.state_dir,
            dry_run: self.dry_run,
            ..InstallOptions::default()
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    dry_run: bool,
    changes: Vec<String>,
    diffs: Vec<&'a str>,
    notes: &'a [String],
}

fn show(output: Output, report: &Report) {
    let document = Document {
        dry_run: report.dry_run,
        changes: report.changes.iter().map(ToString::to_string).collect(),
        diffs: report.changes.iter().map(|change| change.diff.as_str()).collect(),
        notes: &report.notes,
    };
    output::print(output, &document, || report.to_string().trim_end().to_owned());
}
