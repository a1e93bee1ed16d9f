//! `pratique sign --approved`: makes the signature that enough have agreed to.
//!
//! A request is good for one signature. What was made is in the record before anybody gets it; whoever asks again, after a
//! registry that did not answer or a process that was killed, gets the very same.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::board::{Board, exit_of};
use super::summary::Summary;
use super::{denied, read_request, recorded};
use crate::cli::attaching::Attachable;
use crate::cli::exit::{Exit, Failure};
use crate::cli::signing::{Signature, SigningArguments};
use crate::cli::{Output, output};
use crate::clock;
use crate::sign::approval::{QuorumRefusal, RequestFile, SigningRequest, Step, decide, weigh};
use crate::verify::Problem;

/// A request that may be acted on, and what is needed for that.
pub(in crate::cli) struct Released {
    pub(in crate::cli) request: SigningRequest,
    pub(in crate::cli) signature: Signature,
    /// Whether it had been made before.
    pub(in crate::cli) was_made: bool,
}

/// The request in this file, not believed yet.
pub(in crate::cli) fn open(path: &Path) -> Result<RequestFile, Failure> {
    read_request(path)
}

/// The signature that the request is for.
pub(in crate::cli) async fn release(
    file: RequestFile,
    signing: SigningArguments,
    output: Output,
) -> Result<Released, Failure> {
    let directory = signing.directory();
    let board = Board::open(&directory, &file.request.key)?;
    let digest = file.request.digest();
    if let Some(envelope) = board.record.signed(&digest)? {
        return again(file.request, envelope);
    }
    let made = make(&board, &file, signing, output).await;
    let Made { signature, step } = made.map_err(|failure| match failure.exit {
        Exit::Denied => recorded(&board.record, &digest, "sign", None, failure),
        _ => failure,
    })?;
    match board.record.append_signed(step)? {
        // Somebody else was faster: only one signature gets out.
        Some(envelope) => again(file.request, envelope),
        None => Ok(Released { request: file.request, signature, was_made: false }),
    }
}

/// A signature that nobody has yet, and what is to be written down about it.
struct Made {
    signature: Signature,
    step: Step,
}

async fn make(board: &Board, file: &RequestFile, signing: SigningArguments, output: Output) -> Result<Made, Failure> {
    let (request, now) = (&file.request, clock::now());
    let requester = board.requester(file, now).await?;
    let judged = board.approvals(file, now).await;
    let approvals: Vec<_> = judged.iter().map(|judged| judged.approval.clone()).collect();
    let approved = decide(request, &board.quorum(), &requester, &approvals, now).map_err(|error| {
        if output == Output::Text && !judged.is_empty() {
            output::to_stderr(&Summary::of(board, request, &requester, &judged, now).text());
        }
        match error {
            QuorumRefusal::TooFew { counted, needed, .. } => {
                Failure { exit: exit_of(&judged, needed.saturating_sub(counted)), ..denied(&error) }
            }
            _ => denied(&error),
        }
    })?;
    let counting = weigh(request, &board.quorum(), &requester, &approvals, now);
    let signature = signing.open_named(&request.key)?.sign_approved(&approved).await?;
    // What holds the key may have taken its time.
    if clock::now() > request.not_after {
        return Err(denied(&QuorumRefusal::Expired(request.not_after)));
    }
    let counting = judged.into_iter().zip(counting).filter(|(_, weight)| weight.is_ok());
    let step = Step::Signed {
        request: request.digest(),
        artifact: request.artifact.clone(),
        key: request.key.clone(),
        requester: requester.subject,
        approvals: counting.map(|(judged, _)| judged.given).collect(),
        envelope: BASE64_STANDARD.encode(signature.signed.envelope.bytes()),
    };
    Ok(Made { signature, step })
}

/// What was made before.
fn again(request: SigningRequest, envelope: Vec<u8>) -> Result<Released, Failure> {
    let attachable = Attachable::check(&request.artifact.bare(), request.format, envelope);
    let signed = attachable.map_err(|problem: Problem| Failure::of_problem(problem))?.into_signed();
    let signature = Signature { signed, timestamp: None, warnings: Vec::new() };
    Ok(Released { request, signature, was_made: true })
}
