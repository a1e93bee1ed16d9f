//! `notation blob`, as the line that follows version 1.3 has it: files that lie in no registry. Version 1.3 has no such
//! commands, so nothing here departs from its words; they need no leave for experiments, as there.

pub(super) mod inspect;
pub(super) mod policy;
pub(super) mod sign;
pub(super) mod verify;

use std::ffi::OsStr;
use std::path::Path;

use super::artifact::system_words;
use super::flags::Parsed;
use super::sign::format_named;
use super::{Refusal, Said};
use crate::envelope::Format;

/// The first argument must be there.
fn first_of(parsed: &Parsed, what: &str, command: &str) -> Said {
    if parsed.rest.is_empty() {
        return Err(Refusal(format!(
            "missing {what}: use `notation blob {command} --help` to see what parameters are required"
        )));
    }
    Ok(())
}

/// The format of a signature, by the name of its file.
fn format_of(path: &str) -> Result<Format, Refusal> {
    let name = Path::new(path).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let Some(stem) = name.strip_suffix(".sig") else {
        return Err(Refusal(format!("invalid signature filename {name}. The file extension must be .sig")));
    };
    let Some((_, format)) = stem.rsplit_once('.') else {
        return Err(Refusal(format!(
            "invalid signature filename {name}. A valid signature file name must contain signature format and .sig \
             file extension"
        )));
    };
    format_named(&format.to_lowercase())
}

/// Why a file was not opened, as the original's library says it.
fn unopened(path: &str, error: &std::io::Error) -> String {
    format!("open {path}: {}", system_words(error))
}
