//! `pratique crl`: revocation lists for a site without a way to the issuers' servers.
//!
//! Nothing here says that a list is to be believed: its signature is checked against the issuer of the certificate in
//! question, each time it is asked.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Output, output};
use crate::config::{Existing, write_whole};
use crate::oci::Digest;
use crate::pki::revocation::{Crl, MAX_CRL_SIZE, crls_in};
use crate::revocation::is_list_file;
use crate::{clock, remedy::printable};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put CRLs into the directory, each in the place of an older one of its issuer.
    Import(Import),
    /// Show the CRLs of the directory, and which of them are too old.
    Ls(Directory),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Files with CRLs, PEM or DER.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    directory: Directory,
}

#[derive(Debug, Args)]
pub(super) struct Directory {
    /// The directory, which `revocation.crl_dir` in config.toml names for the daemon.
    #[arg(long = "crl-dir", value_name = "DIR", default_value = "/etc/pratique/crls")]
    path: PathBuf,
}

/// A list, as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    file: PathBuf,
    issuer: String,
    is_delta: bool,
    this_update: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_update: Option<Timestamp>,
    is_stale: bool,
}

pub(super) fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Import(arguments) => import(&arguments, output),
        Command::Ls(directory) => ls(&directory.path, output),
    }
}

/// Every file is looked at before the first list is put in place.
fn import(arguments: &Import, output: Output) -> Result<Exit, Failure> {
    let directory = &arguments.directory.path;
    let mut lists = Vec::new();
    for file in &arguments.files {
        for list in lists_of(file)? {
            let target = directory.join(name_of(&read(&list, file)?));
            refuse_older(&list, file, &target)?;
            lists.push((target, list));
        }
    }
    let mut imported = Vec::new();
    for (target, list) in lists {
        write(&target, &list).map_err(|error| unwritable(&target, &error))?;
        imported.push(Listed::of(&read(&list, &target)?, target.clone()));
    }
    output::print(output, &imported, || text(&imported));
    Ok(Exit::Done)
}

fn ls(directory: &Path, output: Output) -> Result<Exit, Failure> {
    let unreadable = |error: io::Error| {
        let message = format!("cannot read {}: {error}", directory.display());
        Failure::unreadable("file-unreadable", message, Some("name the directory with `--crl-dir`"))
    };
    let mut listed = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if !is_list_file(&file) {
            continue;
        }
        for list in lists_of(&file)? {
            listed.push(Listed::of(&read(&list, &file)?, file.clone()));
        }
    }
    listed.sort_by(|a, b| (&a.issuer, a.this_update).cmp(&(&b.issuer, b.this_update)));
    output::print(output, &listed, || text(&listed));
    Ok(Exit::Done)
}

/// The lists of a file, each in DER.
fn lists_of(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    // PEM is a third longer; what is cut off does not decode.
    let limit = 2 * MAX_CRL_SIZE as u64;
    File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|error| {
        Failure::unreadable("file-unreadable", format!("cannot read {}: {error}", file.display()), None)
    })?;
    crls_in(&bytes).map_err(|error| Failure::usage_of(&error).in_file(file))
}

fn read<'a>(list: &'a [u8], file: &Path) -> Result<Crl<'a>, Failure> {
    Crl::from_der(list).map_err(|error| Failure::usage_of(&error).in_file(file))
}

/// The same for every list of a series, so that a newer one takes the place of an older one.
fn name_of(list: &Crl<'_>) -> String {
    let digest = Digest::sha256(&list.series());
    let kind = if list.is_delta() { "-delta" } else { "" };
    format!("{}{kind}.crl", digest.short().trim_start_matches("sha256:"))
}

/// An older list would bring back what has been revoked since.
fn refuse_older(list: &[u8], file: &Path, target: &Path) -> Result<(), Failure> {
    let Ok(present) = fs::read(target) else { return Ok(()) };
    let there = crls_in(&present).ok().and_then(|lists| Some(Crl::from_der(lists.first()?).ok()?.this_update()));
    let this_update = read(list, file)?.this_update();
    match there.filter(|there| *there > this_update) {
        None => Ok(()),
        Some(there) => {
            let message = format!("{} is of {this_update}, and one of {there} is there", file.display());
            let remedy = Some(format!("remove {} first, if the older one is what you want", target.display()));
            Err(Failure { remedy, ..Failure::usage("crl-older", message) })
        }
    }
}

/// At one stroke: a daemon that looks meanwhile finds the old list or the new one.
fn write(target: &Path, list: &[u8]) -> io::Result<()> {
    let directory = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    write_whole(target, list, Existing::Replace)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::unreadable("file-unwritable", message, Some("name another directory with `--crl-dir`"))
}

impl Listed {
    fn of(list: &Crl<'_>, file: PathBuf) -> Self {
        Self {
            file,
            issuer: printable(&list.issuer().map(|issuer| issuer.to_string()).unwrap_or_default()),
            is_delta: list.is_delta(),
            this_update: list.this_update(),
            next_update: list.next_update(),
            is_stale: list.next_update().is_none_or(|until| clock::now() > until),
        }
    }
}

fn text(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "there is no CRL".to_owned();
    }
    let line = |list: &Listed| {
        let kind = if list.is_delta { "delta of" } else { "of" };
        let until = list.next_update.map_or_else(|| "nobody says when".to_owned(), |until| until.to_string());
        let stale = if list.is_stale { ", TOO OLD" } else { "" };
        format!("{}\n  {kind} {}\n  good until {until}{stale}", list.file.display(), list.issuer)
    };
    listed.iter().map(line).collect::<Vec<_>>().join("\n")
}
