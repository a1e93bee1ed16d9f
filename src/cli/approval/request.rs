//! `pratique sign --request`: asks for a signature that others must agree to.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::board::{Board, endorse};
use super::denied;
use crate::cli::exit::Failure;
use crate::cli::sign::unwritable;
use crate::cli::signing::Asking;
use crate::cli::{Output, output};
use crate::clock;
use crate::config::{Existing, write_whole};
use crate::oci::{Descriptor, DigestAlgorithm};
use crate::remedy::printable;
use crate::sign::approval::{REQUEST_MEDIA_TYPE, RequestFile, SigningRequest, Step};
use crate::sign::{SignError, payload};

/// The hash by which the key that is to sign digests a file.
pub(in crate::cli) fn hash_of(asking: &Asking) -> Result<DigestAlgorithm, Failure> {
    let certificate = Board::open(&asking.directory, &asking.key)?.rule.certificate;
    let key = certificate.public_key().map_err(|error| Failure::of(&error))?;
    Ok(key.spec().signature_algorithm().hash())
}

/// Writes a request for a signature of this artifact.
pub(in crate::cli) async fn write(
    path: &Path,
    asking: Asking,
    artifact: Descriptor,
    reference: Option<String>,
    output: Output,
) -> Result<(), Failure> {
    let board = Board::open(&asking.directory, &asking.key)?;
    // Nobody is asked, and nothing is written down, in vain. What appears meanwhile is found when it is written.
    if path.symlink_metadata().is_ok() {
        return Err(taken(path));
    }
    let request = request(&board, &asking, artifact, reference)?;
    let now = request.created;
    let envelope = endorse(&asking.requester, &request, REQUEST_MEDIA_TYPE, now).await?;
    let file = RequestFile { request, requester: envelope, approvals: Vec::new() };
    let requester = board.requester(&file, now).await?;
    let request = &file.request;
    board.record.append(Step::Requested {
        request: request.digest(),
        artifact: request.artifact.clone(),
        reference: request.reference.clone(),
        key: request.key.clone(),
        requester: requester.subject.clone(),
        not_after: request.not_after,
    })?;
    let bytes = file.to_bytes().map_err(|error| denied(&error))?;
    write_whole(path, &bytes, Existing::Keep).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(path),
        _ => unwritable(path, &error),
    })?;
    report(output, path, request, &requester.subject);
    Ok(())
}

fn request(
    board: &Board,
    asking: &Asking,
    artifact: Descriptor,
    reference: Option<String>,
) -> Result<SigningRequest, Failure> {
    // What cannot be signed is not asked for.
    payload(&artifact, &asking.user_metadata).map_err(|error| Failure::usage_of(&error))?;
    let created = Timestamp::from_second(clock::now().as_second()).unwrap_or_default();
    let not_after = created.checked_add(board.rule.valid_for).map_err(|_| Failure::usage_of(&SignError::Expiry))?;
    let mut nonce = [0; 16];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| {
        Failure::unreadable("no-random-numbers", "this machine gives no random numbers".to_owned(), None)
    })?;
    Ok(SigningRequest {
        artifact,
        reference,
        format: asking.format,
        user_metadata: asking.user_metadata.clone(),
        expiry_seconds: asking.expiry.map(|expiry| expiry.as_secs()),
        key: board.rule.name.clone(),
        certificate: board.rule.certificate.thumbprint(),
        nonce: hex::encode(nonce),
        created,
        not_after,
    })
}

fn taken(path: &Path) -> Failure {
    let remedy = Some("name another file".to_owned());
    Failure { remedy, ..Failure::usage("approval-request-exists", format!("{} is there already", path.display())) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    file: String,
    digest: String,
    requester: &'a str,
    request: &'a SigningRequest,
}

fn report(output: Output, path: &Path, request: &SigningRequest, requester: &str) {
    let report = Report { file: path.display().to_string(), digest: request.digest().to_string(), requester, request };
    output::print(output, &report, || {
        format!(
            "asked for a signature of {}\n  request     {}\n  in          {}\n  key         {}\n  asked by    {}\n  until       {}",
            request.artifact.digest,
            report.digest,
            report.file,
            printable(&request.key),
            printable(requester),
            request.not_after
        )
    });
}
