//! `pratique approvals`: what a request asks for and who has agreed; and the record of all steps, checked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::board::{Board, exit_of};
use super::record::RecordFile;
use super::summary::Summary;
use super::{read_request, refusal};
use crate::cli::exit::{Exit, Failure};
use crate::cli::notation_dir::NotationDirArgument;
use crate::cli::{Output, output};
use crate::clock;
use crate::config::KeyUsageError;
use crate::oci::Digest;
use crate::remedy::{Code, printable};
use crate::sign::approval::{Entry, Step};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Show what a request asks for, and whose approvals count. Exit status 1 where too few do.
    Show(Show),
    /// Check the record of requests, approvals, refusals and signatures, and print it.
    Record(RecordArguments),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The request.
    file: PathBuf,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RecordArguments {
    /// The hash of a line that must still be there, as an earlier run has told it.
    #[arg(long, value_name = "DIGEST")]
    contains: Option<Digest>,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

pub(in crate::cli) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Show(arguments) => show(arguments, output).await,
        Command::Record(arguments) => record(arguments, output),
    }
}

async fn show(arguments: Show, output: Output) -> Result<Exit, Failure> {
    let file = read_request(&arguments.file).map_err(|failure| match failure.code {
        // Nothing is refused: the file is not what somebody took it for.
        Code("approval-request-malformed") => Failure { exit: Exit::Usage, ..failure },
        _ => failure,
    })?;
    let board = Board::open(&arguments.notation_dir.open(), &file.request.key)?;
    let now = clock::now();
    let requester = board.requester(&file, now).await?;
    let judged = board.approvals(&file, now).await;
    let summary = Summary::of(&board, &file.request, &requester, &judged, now);
    output::print(output, &summary, || summary.text());
    Ok(match summary.wanting() {
        0 => Exit::Done,
        wanting => exit_of(&judged, wanting),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    entries: Vec<Entry>,
    length: u64,
    head: Digest,
}

fn record(arguments: RecordArguments, output: Output) -> Result<Exit, Failure> {
    let RecordArguments { contains, notation_dir } = arguments;
    let directory = notation_dir.open();
    let usage = directory.key_usage().map_err(|error| Failure::of(&error))?;
    let missing = || Failure::of(&KeyUsageError::missing_in(&directory));
    let file = RecordFile::new(usage.ok_or_else(missing)?.record);
    let (mut entries, mut is_there) = (Vec::new(), contains.is_none());
    let record = file.entries(|entry, head| {
        is_there |= contains.as_ref() == Some(head);
        entries.push(entry.clone());
    })?;
    if !is_there {
        let message = "the record does not hold the line with that hash: its end was cut off, or it was begun anew";
        return Err(refusal(
            "approval-record-shortened",
            message,
            "restore it from a copy, and find out who has changed it",
        ));
    }
    let report = Report { entries, length: record.length(), head: record.head().clone() };
    output::print(output, &report, || {
        let mut lines: Vec<String> = report.entries.iter().map(line).collect();
        lines.push(format!("{} entries, in order; the last has the hash {}", report.length, report.head));
        lines.join("\n")
    });
    Ok(Exit::Done)
}

fn line(entry: &Entry) -> String {
    let what = match &entry.step {
        Step::Requested { artifact, key, requester, .. } => {
            format!("requested  {} with {key} by {requester}", artifact.digest)
        }
        Step::Approved { given, .. } => format!("approved   by {}", given.approver),
        Step::Refused { command, code, by, .. } => {
            let by = by.as_ref().map(|by| format!(" to {}, {}", printable(&by.subject), by.thumbprint));
            format!("refused    {command} [{code}]{}", by.unwrap_or_default())
        }
        Step::Signed { approvals, .. } => {
            let approvers: Vec<&str> = approvals.iter().map(|given| given.approver.as_str()).collect();
            format!("signed     approved by {}", approvers.join("; "))
        }
    };
    format!("{} {} {} {what}", entry.sequence, entry.time, entry.step.request().short())
}
