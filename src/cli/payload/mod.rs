//! `pratique payload generate`: what an external signing service is to sign, as one file for each manifest, and an index.
//!
//! A payload must be true to the byte, or no verifier accepts what is made of it. So what a build says is asked of the
//! registry, by digest, a whole descriptor too, and nothing is written before every answer is there. The index is written last: where it is, all
//! payloads are.

mod inquiry;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use self::inquiry::{Inquiry, describe};
use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::registry::RegistryArguments;
use super::{Output, output};
use crate::config::{Existing, write_whole};
use crate::oci::Descriptor;
use crate::sign::{
    BuildOutput, MAX_BUILD_OUTPUT, MAX_PAYLOAD_INDEX, PAYLOAD_INDEX_FILE, PayloadEntry, PayloadIndex, PayloadKind,
};

/// How many questions a registry is asked at a time, unless said otherwise. Public registries begin to refuse at some
/// dozens.
pub(super) const DEFAULT_JOBS: u8 = 8;
/// The most that may be asked for.
pub(super) const MAX_JOBS: u8 = 64;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write one payload for each manifest and each index of a build, for an external signing service.
    Generate(Generate),
}

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// What was built: the image-info of docker-tools, BuildKit's metadata file, or references, one a line.
    #[arg(long, value_name = "FILE")]
    image_info: PathBuf,
    /// The directory for the payloads and their index.
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Leave what lies in the directory as it is, whatever became of it, and ask only about the rest.
    #[arg(long)]
    skip_existing: bool,
    /// The registry, and a path in it, that goes in front of the repositories of an image-info document.
    #[arg(long, value_name = "HOST[/PATH]")]
    registry: Option<String>,
    /// How many questions the registry is asked at a time.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_JOBS, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_JOBS)))]
    jobs: u8,
    /// Believe the whole descriptors that BuildKit's file may have, and do not ask the registry about them.
    #[arg(long)]
    unverified: bool,
    #[command(flatten)]
    access: RegistryArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

pub(super) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let Command::Generate(arguments) = command;
    let bytes = read(&arguments.image_info, MAX_BUILD_OUTPUT as u64)?;
    let built = BuildOutput::parse(&bytes, arguments.registry.as_deref())
        .map_err(|error| Failure::usage_of(&error).in_file(&arguments.image_info))?;
    let directory = &arguments.output_dir;
    let known = if arguments.skip_existing { known(directory)? } else { PayloadIndex::default() };
    let insecure = arguments.notation_dir.open().insecure_registries().map_err(|error| Failure::of(&error))?;
    let registry = arguments.access.open(insecure, &[])?.at_origin();
    let inquiry = Inquiry {
        registry: &registry,
        is_complete: built.is_complete,
        known: &known,
        unverified: arguments.unverified,
    };
    let unverified = built.images.iter().filter(|image| inquiry.believed(image).is_some()).count();
    let mut index = describe(&inquiry, &built, usize::from(arguments.jobs)).await?;
    index.merge(known).map_err(|error| Failure::of(&error))?;
    let written = write(directory, &index, arguments.skip_existing)?;
    if unverified > 0 {
        output::warning(&format!("{unverified} descriptors were taken on trust: no registry was asked about them"));
    }
    report(output, directory, &index, Counts { written, unverified });
    Ok(Exit::Done)
}

/// What an earlier run has put there.
fn known(directory: &Path) -> Result<PayloadIndex, Failure> {
    match load_index(&directory.join(PAYLOAD_INDEX_FILE)) {
        Err(failure) if failure.code.as_str() == "payload-index-missing" => Ok(PayloadIndex::default()),
        index => index,
    }
}

/// The index in this file.
pub(super) fn load_index(path: &Path) -> Result<PayloadIndex, Failure> {
    if matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        let message = format!("there is no index of payloads at {}", path.display());
        let remedy = "make it with `pratique payload generate`";
        return Err(Failure::unreadable("payload-index-missing", message, Some(remedy)));
    }
    PayloadIndex::parse(&read(path, MAX_PAYLOAD_INDEX)?).map_err(|error| Failure::usage_of(&error).in_file(path))
}

/// A file of at most so many bytes; one byte more, where it has more.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    file.map_err(|error| {
        Failure::unreadable("file-unreadable", format!("cannot read {}: {error}", path.display()), None)
    })?;
    Ok(bytes)
}

/// Writes the payloads and then the index; how many payloads were not there before. A file that says something else is
/// not overwritten: it may be the envelope that a signing service has put in its payload's place.
fn write(directory: &Path, index: &PayloadIndex, skip_existing: bool) -> Result<usize, Failure> {
    let unwritable = |path: &Path, error: &io::Error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::unreadable("file-unwritable", message, Some("see whether the directory can be written"))
    };
    fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    let mut missing = Vec::new();
    for entry in index.entries() {
        let path = directory.join(entry.payload_file());
        match is_there(&path, entry) {
            Ok(None) => missing.push((path, entry)),
            Ok(Some(true)) => {}
            Ok(Some(false)) if skip_existing => {}
            Ok(Some(false)) => return Err(other_content(&path)),
            Err(error) => return Err(unwritable(&path, &error)),
        }
    }
    for (path, entry) in &missing {
        write_whole(path, &entry.payload(), Existing::Replace).map_err(|error| unwritable(path, &error))?;
    }
    let path = directory.join(PAYLOAD_INDEX_FILE);
    write_whole(&path, &index.to_bytes(), Existing::Replace).map_err(|error| unwritable(&path, &error))?;
    Ok(missing.len())
}

/// Whether the payload is there, or something else in its place; nothing where there is no file.
fn is_there(path: &Path, entry: &PayloadEntry) -> io::Result<Option<bool>> {
    let payload = entry.payload();
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(payload.len() as u64 + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(bytes == payload))
}

fn other_content(path: &Path) -> Failure {
    let message = format!("{} is there already, and is not the payload", path.display());
    let remedy = "attach what lies there and use another directory, or go on with `--skip-existing`";
    Failure { remedy: Some(remedy.to_owned()), ..Failure::usage("payload-exists", message) }
}

/// How many payloads were not there before, and how many descriptors were believed.
#[derive(Clone, Copy)]
struct Counts {
    written: usize,
    unverified: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    index: PathBuf,
    manifests: usize,
    indexes: usize,
    /// How many payloads were not there before.
    written: usize,
    /// How many descriptors of the build's were believed.
    unverified: usize,
    payloads: Vec<Line<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    payload: String,
    kind: PayloadKind,
    artifact: &'a Descriptor,
    references: Vec<String>,
}

fn report(output: Output, directory: &Path, index: &PayloadIndex, counts: Counts) {
    let Counts { written, unverified } = counts;
    let indexes = index.entries().filter(|entry| entry.kind() == PayloadKind::Index).count();
    let payloads: Vec<Line<'_>> = index
        .entries()
        .map(|entry| Line {
            payload: entry.payload_file(),
            kind: entry.kind(),
            artifact: &entry.artifact,
            references: entry.references(),
        })
        .collect();
    let manifests = payloads.len() - indexes;
    let index = directory.join(PAYLOAD_INDEX_FILE);
    let report = Report { index, manifests, indexes, written, unverified, payloads };
    output::print(output, &report, || {
        format!(
            "{} payloads, {written} of them new\n  manifests  {manifests}\n  indexes    {indexes}\n  listed in  {}",
            report.payloads.len(),
            report.index.display()
        )
    });
}
