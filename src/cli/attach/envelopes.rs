//! The envelopes that a signing service has given back: which files they are in, and whose payload each belongs to.
//!
//! A service is handed `sha256-HEX.payload.json` and gives back `sha256-HEX.cose` or `sha256-HEX.jws`, or puts the envelope
//! into the payload's own place. A file's name tells which manifest it is for, and the envelope's own payload must agree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::cli::attaching::Attachable;
use crate::cli::exit::Failure;
use crate::cli::payload::read;
use crate::envelope::Format;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::sign::PayloadEntry;
use crate::verify::Problem;

/// What the files of envelopes are called behind the digest.
const SUFFIXES: [(&str, Format); 2] = [(".cose", Format::Cose), (".jws", Format::Jws)];
/// What a tagged `COSE_Sign1` begins with (RFC 9052, section 4.2), and no JSON does.
const COSE_START: &[u8] = &[0xd2];

/// An envelope, or why the file that should hold one does not.
pub(super) struct Returned {
    /// Where it lies.
    pub(super) file: PathBuf,
    /// The envelope, over exactly this manifest.
    pub(super) envelope: Result<Attachable, Problem>,
}

/// Every envelope for this manifest in a directory. None is an answer: the service has given nothing back.
pub(super) fn find(directory: &Path, entry: &PayloadEntry) -> Vec<Returned> {
    let named = SUFFIXES.iter().map(|(suffix, format)| (entry.stem() + suffix, Some(*format)));
    let files = named.chain([(entry.payload_file(), None)]);
    let mut seen = BTreeSet::new();
    files
        .filter_map(|(name, format)| returned(directory.join(name), format, entry))
        .filter(|r| is_new(r, &mut seen))
        .collect()
}

/// The same envelope may lie there under two names.
fn is_new(returned: &Returned, seen: &mut BTreeSet<String>) -> bool {
    let digest = returned.envelope.as_ref().map(|envelope| envelope.envelope_descriptor().digest.to_string());
    digest.map_or(true, |digest| seen.insert(digest))
}

/// What is in this file, where there is one. The payload's own file is read for an envelope in its place.
fn returned(file: PathBuf, format: Option<Format>, entry: &PayloadEntry) -> Option<Returned> {
    match fs::metadata(&file) {
        Ok(metadata) if metadata.is_file() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        // A pipe would wait for a writer when opened.
        _ => return Some(Returned { envelope: Err(not_a_file(&file)), file }),
    }
    let envelope = match read(&file, DEFAULT_ENVELOPE_SIZE) {
        Err(failure) => Err(problem_of(failure)),
        Ok(bytes) => match format.or_else(|| format_in_place(&bytes)) {
            Some(format) => Attachable::check(&entry.artifact, format, bytes),
            None if bytes == entry.payload() => return None,
            None => Err(changed_payload()),
        },
    };
    Some(Returned { file, envelope })
}

/// The format of an envelope that stands in its payload's place. A payload has one member, `targetArtifact`, and an envelope
/// in JSON has never this one.
fn format_in_place(bytes: &[u8]) -> Option<Format> {
    let is_payload = || crate::envelope::Payload::parse(bytes).is_ok();
    match bytes {
        _ if bytes.starts_with(COSE_START) => Some(Format::Cose),
        [b'{', ..] if !is_payload() => Some(Format::Jws),
        _ => None,
    }
}

fn not_a_file(path: &Path) -> Problem {
    Problem::new("file-unreadable", &format!("{} is not a file", path.display()), "put the envelope itself there")
}

fn changed_payload() -> Problem {
    Problem::new(
        "payload-changed",
        "the payload is not the one that the index lists",
        "generate the payloads again, and have them signed again",
    )
}

fn problem_of(failure: Failure) -> Problem {
    Problem { code: failure.code, message: failure.message, remedy: failure.remedy }
}
