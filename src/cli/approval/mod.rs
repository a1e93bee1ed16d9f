//! Signatures that others must agree to: asked for, approved, made, and written down.
//!
//! A request is a file. Who asks signs it, approvers sign the same bytes, and each of these signatures is a Notary signature
//! of a file like any other, judged by the same code. Whose count is decided in `sign::approval`; here they are fetched,
//! shown and put together.
//!
//! Nothing takes effect before it is in the record, and where the record cannot be relied upon nothing is signed.

pub(super) mod approve;
pub(super) mod board;
pub(super) mod list;
mod record;
pub(super) mod request;
pub(super) mod signed;
mod summary;

use std::path::Path;

use super::exit::{Exit, Failure};
use super::payload::read;
use crate::oci::Digest;
use crate::remedy::Remedy;
use crate::sign::approval::{MAX_REQUEST_FILE, RefusedKey, RequestFile, Step};
use crate::verify::Problem;

/// The request in a file, well formed and not believed.
fn read_request(path: &Path) -> Result<RequestFile, Failure> {
    RequestFile::parse(&read(path, MAX_REQUEST_FILE)?).map_err(|error| denied(&error).in_file(path))
}

/// A "no", as an error states it.
fn denied(error: &impl Remedy) -> Failure {
    Failure { exit: Exit::Denied, ..Failure::of(error) }
}

/// A "no", for this reason.
fn refusal(code: &'static str, message: &str, remedy: &str) -> Failure {
    Failure { exit: Exit::Denied, ..Failure::of_problem(Problem::new(code, message, remedy)) }
}

/// Writes a refusal down before it is told. A refusal stays one where that fails.
fn recorded(
    record: &record::RecordFile,
    request: &Digest,
    command: &str,
    by: Option<RefusedKey>,
    failure: Failure,
) -> Failure {
    let code = failure.code.as_str().to_owned();
    let step = Step::Refused { request: request.clone(), command: command.to_owned(), code, by };
    match record.append(step) {
        Ok(()) => failure,
        Err(of_record) => {
            let message = format!("{}; and it cannot be written down: {}", failure.message, of_record.message);
            Failure { message, ..failure }
        }
    }
}
