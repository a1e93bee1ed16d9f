//! `pratique blob`: files that lie in no registry, signed and verified by a signature in a file beside them.

mod inspect;
pub(super) mod sign;
mod verify;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::{Output, policy};
use crate::envelope::limits::{DEFAULT_ENVELOPE_SIZE, MAX_ENVELOPE_SIZE};
use crate::envelope::{Envelope, Format, InvalidEnvelope};
use crate::oci::{Descriptor, DigestAlgorithm};
use crate::source::file::describe;
use crate::verify::Check;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sign a file.
    Sign(Box<sign::Arguments>),
    /// Verify a file against the trust policy for blobs.
    Verify(verify::Arguments),
    /// Show what the signature of a file says.
    Inspect(inspect::Arguments),
    /// Begin, put in force and show the trust policy for blobs.
    #[command(subcommand)]
    Policy(policy::Command<policy::Blobs>),
}

pub(super) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Sign(arguments) => sign::run(*arguments, output).await,
        Command::Verify(arguments) => verify::run(arguments, output).await,
        Command::Inspect(arguments) => inspect::run(&arguments, output),
        Command::Policy(command) => policy::run(command, output),
    }
}

/// Stands for the standard input in the place of a file's name.
const STDIN: &str = "-";

fn is_stdin(file: &Path) -> bool {
    file == Path::new(STDIN)
}

/// What the file is, read to its end. However large it is, little of it is in memory at a time.
pub(super) fn describe_file(file: &Path, algorithm: DigestAlgorithm, media_type: &str) -> Result<Descriptor, Failure> {
    let described = if is_stdin(file) {
        describe(io::stdin().lock(), algorithm, media_type)
    } else {
        File::open(file).and_then(|content| describe(content, algorithm, media_type))
    };
    described.map_err(|error| unreadable(file, &error))
}

/// The format of a signature, by the name of its file.
pub(super) fn format_of(signature: &Path) -> Result<Format, Failure> {
    let name = signature.file_name().unwrap_or_default().to_string_lossy();
    Format::from_signature_file_name(&name).map_err(|error| Failure::usage_of(&error))
}

/// The envelope in a signature's file.
pub(super) fn read_signature(file: &Path, format: Format) -> Result<Result<Envelope, InvalidEnvelope>, Failure> {
    let mut bytes = Vec::new();
    // One byte more than the limit tells an envelope that is too large from one that just fits.
    let read = File::open(file).and_then(|content| content.take(MAX_ENVELOPE_SIZE + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(file, &error))?;
    Ok(Envelope::parse(format.media_type(), &bytes, DEFAULT_ENVELOPE_SIZE))
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    Failure::unreadable(
        "file-unreadable",
        format!("cannot read {}: {error}", file.display()),
        Some("see whether the path is right and may be read"),
    )
    .about(Check::Retrieval)
}
