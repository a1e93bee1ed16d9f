//! `pratique plugin`: the plugins of this machine.

use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::{Output, output, plugins};
use crate::plugin::{InstallError, InstallOrder, Installed, Listed, Metadata, PluginFolder, checksum, fetch};
use crate::remedy::{Remedy as _, one_line};
use crate::verify::Problem;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Install a plugin, or put a later version into the place of the one that is there.
    Install(Install),
    /// Show the plugins that are installed, and what each says about itself.
    #[command(visible_alias = "list")]
    Ls(Folder),
    /// Take a plugin away, with all that lies in its directory.
    Uninstall(Uninstall),
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

#[derive(Debug, Args)]
pub(super) struct Install {
    /// The program `notation-NAME`, a directory, a zip or a tar.gz with it; or an https URL of one of the files.
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The SHA-256 of the file; it must be given for a URL.
    #[arg(long, value_name = "DIGITS")]
    sha256sum: Option<String>,
    /// Install it although the version that is there is the same or a later one, or does not answer.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Args)]
pub(super) struct Uninstall {
    /// The name of the plugin.
    name: String,
    #[command(flatten)]
    folder: Folder,
}

impl Folder {
    fn open(self) -> PluginFolder {
        plugins::folder(&self.notation_dir.open())
    }
}

pub(super) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Install(arguments) => install(arguments, output).await,
        Command::Ls(folder) => list(&folder.open(), output).await,
        Command::Uninstall(Uninstall { name, folder }) => {
            folder.open().uninstall(&name).map_err(|error| failure(&error))?;
            output::print(output, &Removed { name: name.clone() }, || format!("uninstalled {name}"));
            Ok(Exit::Done)
        }
    }
}

async fn install(arguments: Install, output: Output) -> Result<Exit, Failure> {
    let folder = arguments.folder.open();
    let wanted = arguments.sha256sum.as_deref().map(checksum).transpose().map_err(|error| failure(&error))?;
    let order = |source| InstallOrder { source, checksum: wanted.as_ref(), force: arguments.force };
    let installed = if arguments.source.contains("://") {
        if wanted.is_none() {
            let message = "a plugin is installed from a URL only with its SHA-256".to_owned();
            let remedy = Some("give the publisher's checksum with `--sha256sum`".to_owned());
            return Err(Failure { remedy, ..Failure::usage("plugin-checksum-missing", message) });
        }
        let download = fetch(&arguments.source, &folder).await.map_err(|error| failure(&error))?;
        folder.install(order(download.path())).await
    } else {
        folder.install(order(Path::new(&arguments.source))).await
    };
    let Installed { metadata, replaced } = installed.map_err(|error| failure(&error))?;
    let report = Report { name: &metadata.name, version: &metadata.version, replaced: replaced.as_deref() };
    output::print(output, &report, || match report.replaced {
        None => format!("installed {} {}", report.name, report.version),
        Some(old) => format!("installed {} {} in the place of {old}", report.name, report.version),
    });
    Ok(Exit::Done)
}

/// What the operator has asked for and cannot have is wrong usage.
fn failure(error: &InstallError) -> Failure {
    match error {
        InstallError::Url(_)
        | InstallError::ChecksumForm(_)
        | InstallError::SameVersion { .. }
        | InstallError::Downgrade { .. } => Failure::usage_of(error),
        error => Failure::of(error),
    }
}

async fn list(folder: &PluginFolder, output: Output) -> Result<Exit, Failure> {
    let listed = folder.list().await.map_err(|error| {
        let message = format!("cannot look into {}: {error}", folder.path().display());
        Failure::unreadable("plugin-inaccessible", message, Some("see its permissions"))
    })?;
    let shown: Vec<Shown> = listed.into_iter().map(Shown::of).collect();
    output::print(output, &shown, || match shown.as_slice() {
        [] => format!("no plugins in {}", folder.path().display()),
        shown => shown.iter().map(Shown::text).collect::<Vec<_>>().join("\n"),
    });
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<&'a str>,
}

#[derive(Serialize)]
struct Removed {
    name: String,
}

/// A plugin, as it is shown.
#[derive(Serialize)]
struct Shown {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

impl Shown {
    fn of(Listed { name, metadata }: Listed) -> Self {
        match metadata {
            Ok(metadata) => Self { name, metadata: Some(metadata), problem: None },
            Err(error) => {
                let problem = Problem { code: error.code(), message: one_line(&error), remedy: error.remedy() };
                Self { name, metadata: None, problem: Some(problem) }
            }
        }
    }

    fn text(&self) -> String {
        let mut text = self.name.clone();
        if let Some(metadata) = &self.metadata {
            let capabilities = metadata.capabilities.join(", ");
            text = format!("{text} {}\n  {}\n  {capabilities}", metadata.version, metadata.description);
        }
        if let Some(problem) = &self.problem {
            text = format!("{text}\n  error [{}]: {}", problem.code, problem.message);
        }
        text
    }
}
