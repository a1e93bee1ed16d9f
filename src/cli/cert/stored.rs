//! `pratique cert show` and `rm`: one file of a trust store.
//!
//! A file is looked for among those that the store is seen to have, so that no name leads out of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::StoreArguments;
use crate::cli::certificate_summary::CertificateSummary;
use crate::cli::confirm::{Answer, ask};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Output, output};
use crate::clock;
use crate::config::{NotationDir, StoredCertificates};
use crate::pki::Certificate;
use crate::policy::{StoreKind, StoreProblem, TrustStore};
use crate::remedy::{Remedy as _, printable};

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The name of the file in the trust store.
    file: String,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Remove {
    /// The names of the files in the trust store.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "FILE")]
    files: Vec<String>,
    /// Take the whole trust store away.
    #[arg(long)]
    all: bool,
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    store: StoreArguments,
}

/// A certificate, with what a person compares when it was received by another way.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(flatten)]
    summary: CertificateSummary,
    issuer: String,
    not_before: Timestamp,
    serial_number: String,
    is_authority: bool,
    thumbprint: String,
}

pub(super) fn show(arguments: Show, output: Output) -> Result<Exit, Failure> {
    let (notation, store) = arguments.store.open()?;
    let files = files(&notation, &store)?;
    let file = find(&files, &store, &arguments.file)?;
    let certificates = file.certificates.as_ref().map_err(Failure::of)?;
    let now = clock::now();
    let details: Vec<Details> = certificates.iter().map(|certificate| Details::of(certificate, now)).collect();
    output::print(output, &details, || details.iter().map(Details::text).collect::<Vec<_>>().join("\n"));
    Ok(Exit::Done)
}

fn files(notation: &NotationDir, store: &TrustStore) -> Result<Vec<StoredCertificates>, Failure> {
    notation.stored_certificates(store).map_err(|problem| match problem.code() {
        StoreProblem::MISSING => unknown(notation, store),
        _ => Failure::of(&problem),
    })
}

/// That there is no such store, and which there are.
fn unknown(notation: &NotationDir, store: &TrustStore) -> Failure {
    /// How many are told: as many as somebody reads to find a name that was mistyped.
    const MAX_TOLD: usize = 20;
    let told = |kind: StoreKind| {
        let names = notation.trust_store_names(kind).unwrap_or_default();
        names.into_iter().map(move |name| format!("{}:{}", kind.as_str(), printable(&name)))
    };
    let mut stores: Vec<String> = StoreKind::ALL.into_iter().flat_map(told).collect();
    let more = if stores.len() > MAX_TOLD { ", …" } else { "" };
    stores.truncate(MAX_TOLD);
    let remedy = match stores.as_slice() {
        [] => "no trust store is there; `pratique cert add` makes one".to_owned(),
        stores => format!("there are {}{more}; `--type` and `--store` name one", stores.join(", ")),
    };
    let message = format!("there is no trust store `{store}` in {}", notation.path().display());
    Failure { exit: Exit::Usage, code: StoreProblem::MISSING, message, remedy: Some(remedy), check: None }
}

fn find<'f>(
    files: &'f [StoredCertificates],
    store: &TrustStore,
    name: &str,
) -> Result<&'f StoredCertificates, Failure> {
    files.iter().find(|file| file.name == name).ok_or_else(|| {
        let message = format!("the trust store `{store}` has no file `{}`", printable(name));
        let remedy = Some("see the names of its files with `pratique cert ls`".to_owned());
        Failure { remedy, ..Failure::usage("trust-store-file-unknown", message) }
    })
}

impl Details {
    fn of(certificate: &Certificate, at: Timestamp) -> Self {
        Self {
            summary: CertificateSummary::of(certificate, at),
            issuer: certificate.issuer().to_string(),
            not_before: certificate.not_before(),
            serial_number: hex::encode(certificate.serial_number()),
            is_authority: certificate.is_ca(),
            thumbprint: certificate.thumbprint(),
        }
    }

    fn text(&self) -> String {
        let mark = self.summary.mark().map(|mark| format!(", {mark}")).unwrap_or_default();
        format!(
            "{}\n  issuer      {}\n  valid       {} to {}{mark}\n  serial      {}\n  authority   {}\n  thumbprint  {}",
            printable(&self.summary.subject),
            printable(&self.issuer),
            self.not_before,
            self.summary.not_after,
            self.serial_number,
            if self.is_authority { "yes" } else { "no" },
            self.thumbprint
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    trust_store: String,
    removed: Vec<PathBuf>,
    /// How many files it still has.
    remaining: usize,
}

/// All of these files, or none where one is not there: what is left is what was meant.
pub(super) fn remove(arguments: Remove, output: Output) -> Result<Exit, Failure> {
    let (notation, store) = arguments.store.open()?;
    let directory = notation.trust_store(&store);
    let (removed, remaining) = if arguments.all {
        if fs::symlink_metadata(&directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Err(unknown(&notation, &store));
        }
        confirm(arguments.yes, &format!("Take the trust store `{store}` away with all that is in it?"))?;
        fs::remove_dir_all(&directory).map_err(|error| unremovable(&directory, &error))?;
        (vec![directory], 0)
    } else {
        let files = files(&notation, &store)?;
        arguments.files.iter().try_for_each(|name| find(&files, &store, name).map(|_| ()))?;
        let question = format!("Take {} out of the trust store `{store}`?", arguments.files.join(", "));
        confirm(arguments.yes, &question)?;
        let removed = remove_files(&directory, &arguments.files)?;
        // Without a file it would vouch for nobody, as one that is not there; what is hidden in it keeps it.
        let _ = fs::remove_dir(&directory);
        let remaining = files.len().saturating_sub(removed.len());
        (removed, remaining)
    };
    let report = Report { trust_store: store.to_string(), removed, remaining };
    output::print(output, &report, || text(&report));
    Ok(Exit::Done)
}

fn confirm(is_confirmed: bool, question: &str) -> Result<(), Failure> {
    if is_confirmed {
        return Ok(());
    }
    match ask(|| output::question(question)) {
        Answer::Yes => Ok(()),
        answer => {
            if answer == Answer::Nothing {
                output::to_stderr("");
            }
            let remedy = Some("answer `y`, or give `--yes`".to_owned());
            Err(Failure { remedy, ..Failure::usage("not-confirmed", "nothing was removed".to_owned()) })
        }
    }
}

fn remove_files(directory: &Path, names: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let mut removed: Vec<PathBuf> = Vec::new();
    for path in names.iter().map(|name| directory.join(name)) {
        // A name that was given twice is a file all the same.
        if !removed.contains(&path) {
            fs::remove_file(&path).map_err(|error| unremovable(&path, &error))?;
            removed.push(path);
        }
    }
    Ok(removed)
}

fn unremovable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot remove {}: {error}", path.display());
    Failure::unreadable("file-unremovable", message, Some("see the permissions of the directory"))
}

fn text(report: &Report) -> String {
    let left = match report.remaining {
        0 => "it vouches for nobody now".to_owned(),
        left => format!("{left} file(s) left"),
    };
    let removed = report.removed.iter().map(|path| format!("  removed  {}", path.display()));
    let first = format!("trust store {}: {left}", report.trust_store);
    [first].into_iter().chain(removed).collect::<Vec<_>>().join("\n")
}
