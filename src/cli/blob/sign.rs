//! `pratique blob sign`: signs a file, and puts the signature beside it.

use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{describe_file, format_of, is_stdin};
use crate::cli::approval::request::{hash_of, write as write_request};
use crate::cli::exit::{Exit, Failure};
use crate::cli::signing::{Signature, Signing, SigningArguments, Stamped};
use crate::cli::{Output, output};
use crate::config::{Existing, write_whole};
use crate::envelope::Format;
use crate::oci::{Descriptor, media_type};
use crate::verify::Problem;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The file; `-` for the standard input.
    file: PathBuf,
    /// The media type that the file is signed as.
    #[arg(long, value_name = "TYPE", default_value = media_type::OCTET_STREAM)]
    media_type: String,
    /// Where the signature goes, as NAME.jws.sig or NAME.cose.sig; the directory of the file without it.
    #[arg(long, value_name = "DIR")]
    signature_directory: Option<PathBuf>,
    /// The file that the signature goes to, instead of one that is named after what is signed.
    #[arg(long, short = 's', value_name = "FILE", conflicts_with = "signature_directory")]
    signature: Option<PathBuf>,
    /// Replace a signature that is there already.
    #[arg(long)]
    force: bool,
    /// Sign nothing, and write a request to this file: others approve it with `pratique approve`, and `pratique sign --approved
    /// FILE --output-signature NAME.jws.sig` makes the signature.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["signature", "signature_directory", "force", "plugin", "plugin_config", "timestamp_url", "key_certificates", "approval_timeout"])]
    request: Option<PathBuf>,
    /// The key of who asks, by its name in `signingkeys.json`; the default key without it.
    #[arg(long, value_name = "NAME", requires = "request")]
    request_key: Option<String>,
    #[command(flatten)]
    signing: SigningArguments,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    if let Some(request) = &arguments.request {
        let asking = arguments.signing.ask(arguments.request_key.as_deref())?;
        check_media_type(&arguments.media_type)?;
        let blob = describe_file(&arguments.file, hash_of(&asking)?, &arguments.media_type)?;
        write_request(request, asking, blob, None, output).await?;
        return Ok(Exit::Done);
    }
    let signing = arguments.signing.open()?;
    let existing = if arguments.force { Existing::Replace } else { Existing::Keep };
    let directory = arguments.signature_directory.as_deref();
    let target = target(&arguments.file, directory, arguments.signature.as_deref(), signing.format)?;
    // Nobody waits for a large file to be read, only to be told then. What appears meanwhile is found when it is written.
    if existing == Existing::Keep && target.symlink_metadata().is_ok() {
        return Err(taken(&target));
    }
    let made = make(&arguments.file, &arguments.media_type, &signing).await?;
    write(&target, &made.envelope, existing).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(&target),
        _ => unwritable(&target, &error),
    })?;
    report(output, &arguments.file, &target, signing.format, made);
    Ok(Exit::Done)
}

/// A signature that is made, and lies nowhere yet.
pub(in crate::cli) struct Made {
    pub(in crate::cli) blob: Descriptor,
    pub(in crate::cli) envelope: Vec<u8>,
    pub(in crate::cli) stamped: Option<Stamped>,
    pub(in crate::cli) warnings: Vec<Problem>,
}

/// Signs the file as it is now: it is read once, by the hash of the key.
pub(in crate::cli) async fn make(file: &Path, media_type: &str, signing: &Signing) -> Result<Made, Failure> {
    check_media_type(media_type)?;
    let blob = describe_file(file, signing.key.algorithm()?.hash(), media_type)?;
    let Signature { signed, timestamp: stamped, warnings } = signing.sign(&blob).await?;
    Ok(Made { blob, envelope: signed.envelope.bytes().to_vec(), stamped, warnings })
}

fn check_media_type(media_type: &str) -> Result<(), Failure> {
    if media_type::is_well_formed(media_type) {
        return Ok(());
    }
    let message = format!("`{media_type}` is not a media type");
    Err(Failure::usage("media-type-malformed", message).hint("write a type such as text/plain"))
}

/// Puts an envelope at this path, whole or not at all.
pub(in crate::cli) fn write(target: &Path, envelope: &[u8], existing: Existing) -> io::Result<()> {
    if let Some(directory) = target.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).create(directory)?;
    }
    write_whole(target, envelope, existing)
}

/// The file for the signature. A name that `verify` would not take for one of this format is refused.
fn target(file: &Path, directory: Option<&Path>, signature: Option<&Path>, format: Format) -> Result<PathBuf, Failure> {
    if let Some(signature) = signature {
        return check_name(signature, format).map(|()| signature.to_owned());
    }
    if is_stdin(file) {
        let message = "what comes from the standard input has no name to put beside its signature".to_owned();
        let remedy = Some("say where the signature goes with `--signature`".to_owned());
        return Err(Failure { remedy, ..Failure::usage("signature-without-name", message) });
    }
    Ok(beside(file, directory, format))
}

/// Whether the name is one of a signature in this format.
pub(in crate::cli) fn check_name(signature: &Path, format: Format) -> Result<(), Failure> {
    match format_of(signature)? {
        named if named == format => Ok(()),
        named => {
            let message = format!("{} is the name of a {named} signature, not of {format}", signature.display());
            let remedy = Some("name the format with `--signature-format`".to_owned());
            Err(Failure { remedy, ..Failure::usage("signature-format-mismatch", message) })
        }
    }
}

/// `NAME.jws.sig` or `NAME.cose.sig`, in this directory or in that of the file.
pub(in crate::cli) fn beside(file: &Path, directory: Option<&Path>, format: Format) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(match format {
        Format::Jws => ".jws.sig",
        Format::Cose => ".cose.sig",
    });
    directory.map_or_else(|| file.with_file_name(&name), |directory| directory.join(&name))
}

fn taken(target: &Path) -> Failure {
    let remedy = Some("replace it with `--force`, or name another file with `--signature`".to_owned());
    Failure { remedy, ..Failure::usage("signature-exists", format!("{} is there already", target.display())) }
}

fn unwritable(target: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", target.display());
    Failure::unreadable("file-unwritable", message, Some("name another directory with `--signature-directory`"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    file: String,
    signature: String,
    media_type: &'static str,
    blob: &'a Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Stamped>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Problem>,
}

fn report(output: Output, file: &Path, target: &Path, format: Format, made: Made) {
    let report = Report {
        file: file.display().to_string(),
        signature: target.display().to_string(),
        media_type: format.media_type(),
        blob: &made.blob,
        timestamp: made.stamped,
        warnings: made.warnings,
    };
    output::print(output, &report, || {
        let Descriptor { digest, size, media_type, .. } = report.blob;
        let mut text = format!(
            "signed {}\n  content     {digest}, {size} bytes, {media_type}\n  signature   {}",
            report.file, report.signature
        );
        if let Some(stamped) = &report.timestamp {
            text = format!("{text}\n  {stamped}");
        }
        text
    });
}
