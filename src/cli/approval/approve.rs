//! `pratique approve`: agrees to a signature that somebody has asked for.
//!
//! The file is looked at twice: before the person is asked, and again, while nobody else writes it, before the approval is
//! put in. So two approvers at the same time both find their approval in it.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::board::{Board, Judged, endorse};
use super::summary::Summary;
use super::{denied, read_request, recorded, refusal};
use crate::cli::exit::{Exit, Failure};
use crate::cli::notation_dir::NotationDirArgument;
use crate::cli::sign::unwritable;
use crate::cli::signing_key::SigningKeyArguments;
use crate::cli::{Output, output};
use crate::clock;
use crate::config::{Existing, NotationDir, lock_directory, write_whole};
use crate::oci::Digest;
use crate::sign::approval::{APPROVAL_MEDIA_TYPE, Discounted, Person, RefusedKey, RequestFile, Step, weigh};
use crate::verify::State;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The request, as `pratique sign --request` has written it. The approval is put into it.
    file: PathBuf,
    /// Approve without being asked: what is to be signed was looked at before, with `pratique approvals show`.
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    key: SigningKeyArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

pub(in crate::cli) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let directory = arguments.notation_dir.clone().open();
    let file = read_request(&arguments.file)?;
    let board = Board::open(&directory, &file.request.key)?;
    let request = file.request.digest();
    let mut by = None;
    let approved = approve(&arguments, &directory, &board, file, &mut by).await;
    let summary = approved.map_err(|failure| recorded_refusal(&board, &request, by, failure))?;
    output::print(output, &summary, || format!("approved\n{}", summary.text()));
    Ok(Exit::Done)
}

/// A "no" is a step; what somebody called wrongly, or what could not be told, is none.
fn recorded_refusal(board: &Board, request: &Digest, by: Option<RefusedKey>, failure: Failure) -> Failure {
    match failure.exit {
        Exit::Denied => recorded(&board.record, request, "approve", by, failure),
        _ => failure,
    }
}

/// `by` is told whose key it is as soon as that is known: a refusal names it, too.
async fn approve(
    arguments: &Arguments,
    directory: &NotationDir,
    board: &Board,
    file: RequestFile,
    by: &mut Option<RefusedKey>,
) -> Result<Summary, Failure> {
    let now = clock::now();
    let requester = board.requester(&file, now).await?;
    if board.record.signed(&file.request.digest())?.is_some() {
        let message = "the signature that this request is for was made already";
        return Err(refusal("approval-signed-already", message, "see `pratique approvals record`"));
    }
    let judged = board.approvals(&file, now).await;
    if !arguments.yes {
        confirm(&Summary::of(board, &file.request, &requester, &judged, now))?;
    }
    let key = arguments.key.open(directory)?;
    *by = key.certificate().map(|certificate| RefusedKey {
        subject: certificate.subject().to_string(),
        thumbprint: certificate.thumbprint(),
    });
    let now = clock::now();
    let envelope = endorse(&key, &file.request, APPROVAL_MEDIA_TYPE, now).await?;
    add(&arguments.file, board, &file, &requester, envelope).await
}

/// Puts the approval into the file, if it counts there.
async fn add(
    path: &Path,
    board: &Board,
    before: &RequestFile,
    requester: &Person,
    envelope: Vec<u8>,
) -> Result<Summary, Failure> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Held until the end: another approver may be adding.
    let _lock = lock_directory(directory).map_err(|error| unwritable(path, &error))?;
    let mut file = read_request(path)?;
    if file.request != before.request {
        let message = format!("{} has become another request meanwhile", path.display());
        return Err(refusal("approval-request-altered", &message, "look at it again before you approve"));
    }
    file.approvals.push(envelope);
    let now = clock::now();
    let judged = board.approvals(&file, now).await;
    check_own(board, &file, requester, &judged, now)?;
    let bytes = file.to_bytes().map_err(|error| denied(&error))?;
    if let Some(own) = judged.last() {
        board.record.append(Step::Approved { request: file.request.digest(), given: own.given.clone() })?;
    }
    write_whole(path, &bytes, Existing::Replace).map_err(|error| unwritable(path, &error))?;
    Ok(Summary::of(board, &file.request, requester, &judged, now))
}

/// Whether the last approval counts.
fn check_own(
    board: &Board,
    file: &RequestFile,
    requester: &Person,
    judged: &[Judged],
    now: Timestamp,
) -> Result<(), Failure> {
    let approvals: Vec<_> = judged.iter().map(|judged| judged.approval.clone()).collect();
    let weighed = weigh(&file.request, &board.quorum(), requester, &approvals, now);
    let (Some(Err(discounted)), Some(own)) = (weighed.last(), judged.last()) else { return Ok(()) };
    let who = &own.given.approver;
    Err(match discounted {
        Discounted::NoApprover => not_an_approver(own),
        Discounted::Repeated => {
            let message = format!("`{who}`, or the key, has approved this request before");
            refusal("approval-repeated", &message, "have somebody else approve it")
        }
        Discounted::Requester => {
            let message = format!("`{who}` has asked for the signature, and may not approve it");
            refusal("approval-by-requester", &message, "have somebody else approve it")
        }
        Discounted::OutOfTime | Discounted::OtherRequest => {
            let message = "the approval is not one of this request while it is good";
            refusal("approval-out-of-time", message, "look at this machine's clock")
        }
    })
}

fn not_an_approver(own: &Judged) -> Failure {
    let who = &own.given.approver;
    let why = match &own.state {
        State::Inconclusive { problem } => return Failure::of_problem(problem.clone()),
        state => state.problem().map(|problem| format!(" [{}]: {}", problem.code, problem.message)),
    };
    let message = format!("`{who}` is no approver for this key{}", why.unwrap_or_default());
    let remedy = "sign with a key whose certificate is among `approvers` of the usage policy";
    refusal("approval-not-an-approver", &message, remedy)
}

/// Asks the person at the terminal.
fn confirm(summary: &Summary) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let message = "nobody is there to confirm the approval".to_owned();
        let remedy = Some("approve at a terminal, or with `--yes`".to_owned());
        return Err(Failure { remedy, ..Failure::usage("confirmation-missing", message) });
    }
    output::to_stdout(&summary.text());
    output::to_stdout_unended("Approve this signature? Type `yes`: ");
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    if read.is_ok() && line.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::usage("confirmation-missing", "the approval was not confirmed".to_owned())
        .hint("type the whole word `yes`, or approve with `--yes`"))
}
