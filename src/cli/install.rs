//! `pratique install` and `uninstall`: containerd's configuration, there and back.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Output, output};
use crate::install::{self, InstallOptions, Report};

#[derive(Debug, Args)]
pub(super) struct InstallArguments {
    /// The program that containerd is to start; the `pratique-verifier` beside this program without it.
    #[arg(long, value_name = "FILE")]
    verifier: Option<PathBuf>,
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

pub(super) fn install(arguments: InstallArguments, output: Output) -> Result<Exit, Failure> {
    let options = InstallOptions {
        verifier: arguments.verifier,
        verifier_dir: arguments.verifier_dir,
        socket: arguments.socket,
        ..arguments.place.options()
    };
    let report = install::install(&options).map_err(|error| Failure::of(&error))?;
    show(output, &report);
    Ok(Exit::Done)
}

pub(super) fn uninstall(arguments: UninstallArguments, output: Output) -> Result<Exit, Failure> {
    let report = install::uninstall(&arguments.place.options()).map_err(|error| Failure::of(&error))?;
    show(output, &report);
    Ok(Exit::Done)
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
    notes: &'a [String],
}

fn show(output: Output, report: &Report) {
    let document = Document {
        dry_run: report.dry_run,
        changes: report.changes.iter().map(ToString::to_string).collect(),
        notes: &report.notes,
    };
    output::print(output, &document, || report.to_string().trim_end().to_owned());
}
