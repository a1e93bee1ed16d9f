//! `pratique attach`: envelopes that an external signing service has made, onto the images that they are for.
//!
//! Every envelope is checked against the manifest whose payload went out, and against whom is trusted where that is told,
//! before the registry is asked about any. What is there already is not attached again, so that a run which broke off is
//! gone on with by repeating it.

mod demand;
mod envelopes;
mod report;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use self::demand::{Demand, TrustArguments};
use self::report::{Line, report};
use self::work::{Manner, State, Task, Work};
use super::Output;
use super::attaching::Attachable;
use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::payload::{DEFAULT_JOBS, MAX_JOBS, load_index};
use super::registry::RegistryArguments;
use super::revocation::RevocationArguments;
use crate::clock;
use crate::revocation::Servers;
use crate::sign::{PAYLOAD_INDEX_FILE, PayloadEntry, PayloadIndex};
use crate::verify::Problem;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory that `pratique payload generate` has filled.
    #[arg(long, value_name = "DIR", required_unless_present = "index")]
    payload_dir: Option<PathBuf>,
    /// The index of payloads, where it lies elsewhere or has another name.
    #[arg(long, value_name = "FILE", conflicts_with = "payload_dir")]
    index: Option<PathBuf>,
    /// The directory with the envelopes, instead of the index's own.
    #[arg(long, value_name = "DIR")]
    signatures: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArguments,
    /// Once an envelope is attached, take older signatures of the same signer away. Needs to be told whom to trust.
    #[arg(long)]
    replace: bool,
    /// Look at everything, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// How many envelopes are attached at a time.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_JOBS, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_JOBS)))]
    jobs: u8,
    #[command(flatten)]
    registry: RegistryArguments,
    #[command(flatten)]
    revocation: RevocationArguments,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let index = match (arguments.payload_dir, arguments.index) {
        (Some(directory), _) => directory.join(PAYLOAD_INDEX_FILE),
        (None, Some(index)) => index,
        (None, None) => {
            let failure = Failure::usage("arguments-missing", "nothing says where the payloads are".into());
            return Err(failure.hint("name their directory with `--payload-dir`, or their index with `--index`"));
        }
    };
    if arguments.replace && !arguments.trust.is_given() {
        // Whoever can write a certificate with the same subject could have the signer's signatures taken away.
        let message = "`--replace` needs `--trust-store`, `--trust-root` or `--profile`".to_owned();
        return Err(Failure::usage("replace-untrusted", message)
            .hint("say whose signatures may replace others: whoever can write a certificate could take any away"));
    }
    if let Some(directory) = arguments.signatures.as_deref().filter(|directory| !directory.is_dir()) {
        let message = format!("{} is not a directory", directory.display());
        return Err(Failure::usage("signatures-directory-missing", message).hint(
            "name the directory with the envelopes, or leave `--signatures` out where they lie beside the payloads",
        ));
    }
    let payloads = load_index(&index)?;
    let directory = arguments.notation_dir.open();
    let demand = arguments.trust.open(&directory)?;
    let insecure = directory.insecure_registries().map_err(|error| Failure::of(&error))?;
    let registry = arguments.registry.open(insecure, &[])?.at_origin();
    let envelopes = arguments.signatures.unwrap_or_else(|| index.parent().map(Path::to_owned).unwrap_or_default());
    let servers = arguments.revocation.open();
    let Checked { tasks, mut lines } = check(&payloads, &envelopes, demand.as_ref(), &servers).await;
    let (replaces, is_dry_run) = (arguments.replace, arguments.dry_run);
    let manner = Manner { jobs: usize::from(arguments.jobs), replaces, is_dry_run };
    let states = Work::new(&registry, manner).run(&tasks).await;
    lines.extend(tasks.iter().zip(states).map(|(task, state)| Line::of(task, state)));
    Ok(report(output, lines))
}

/// What is to be attached, and what is known by now not to be.
struct Checked {
    tasks: Vec<Task>,
    lines: Vec<Line>,
}

/// Looks at every envelope. Asks no registry.
async fn check(payloads: &PayloadIndex, envelopes: &Path, demand: Option<&Demand>, servers: &Servers) -> Checked {
    let mut checked = Checked { tasks: Vec::new(), lines: Vec::new() };
    for entry in payloads.entries() {
        let returned = envelopes::find(envelopes, entry);
        if returned.is_empty() {
            checked.fail(entry, None, &missing(entry));
        }
        for returned in returned {
            let judged = match returned.envelope {
                Ok(envelope) => match demand {
                    Some(demand) => demand.judge(&envelope, servers, clock::now()).await.map(|()| envelope),
                    None => Ok(envelope),
                },
                Err(problem) => Err(problem),
            };
            match judged {
                Ok(envelope) => checked.take(entry, &returned.file, envelope, demand),
                Err(problem) => checked.fail(entry, Some(&returned.file), &problem),
            }
        }
    }
    checked
}

impl Checked {
    fn take(&mut self, entry: &PayloadEntry, file: &Path, envelope: Attachable, demand: Option<&Demand>) {
        let envelope = Arc::new(envelope);
        for repository in &entry.repositories {
            let task = Task { repository: repository.clone(), file: file.to_owned(), envelope: Arc::clone(&envelope) };
            match demand.map_or(Ok(()), |demand| demand.permit_place(repository)) {
                Ok(()) => self.tasks.push(task),
                Err(problem) => self.lines.push(Line::of(&task, State::Failed(problem))),
            }
        }
    }

    fn fail(&mut self, entry: &PayloadEntry, file: Option<&Path>, problem: &Problem) {
        let line = |repository| Line::failed(repository, &entry.artifact.digest, file, problem);
        self.lines.extend(entry.repositories.iter().map(line));
    }
}

fn missing(entry: &PayloadEntry) -> Problem {
    let message =
        format!("there is neither {0}.cose nor {0}.jws, nor an envelope in the payload's place", entry.stem());
    Problem::new("envelope-missing", &message, "name the directory with the envelopes with `--signatures`")
}
