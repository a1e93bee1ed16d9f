//! `pratique policy` and `pratique blob policy`: the trust policy of a notation directory, begun, put in force and shown.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::notation_dir::NotationDirArgument;
use super::{Output, output};
use crate::config::{Existing, ImportError, LoadError, PolicyKind};
use crate::policy::{FirstStatement, MAX_POLICY_SIZE};
use crate::remedy::one_line;
use crate::verify::Problem;

/// For one kind of policy, whose first statement is described by `Of`.
#[derive(Debug, Subcommand)]
pub(super) enum Command<Of: Kind> {
    /// Begin a policy with one strict statement.
    Init(Init<Of>),
    /// Put the policy in a file in force, if it holds by the rules.
    Import(Import),
    /// Show the policy in force.
    Show(Show),
}

/// What the policies of a kind say that those of the other do not.
pub(super) trait Kind: Args {
    const KIND: PolicyKind;

    fn scopes(&self) -> Vec<String>;

    fn is_global(&self) -> bool;
}

#[derive(Debug, Args)]
pub(super) struct Images {
    /// A repository that the statement governs, registry/repository, or `*` for all (may be given again).
    #[arg(long = "scope", value_name = "SCOPE", visible_alias = "registry-scope", default_value = "*")]
    scopes: Vec<String>,
}

impl Kind for Images {
    const KIND: PolicyKind = PolicyKind::Image;

    fn scopes(&self) -> Vec<String> {
        self.scopes.clone()
    }

    fn is_global(&self) -> bool {
        false
    }
}

#[derive(Debug, Args)]
pub(super) struct Blobs {
    /// The statement governs files for whoever names no statement.
    #[arg(long)]
    global: bool,
}

impl Kind for Blobs {
    const KIND: PolicyKind = PolicyKind::Blob;

    fn scopes(&self) -> Vec<String> {
        Vec::new()
    }

    fn is_global(&self) -> bool {
        self.global
    }
}

#[derive(Debug, Args)]
pub(super) struct Init<Of: Kind> {
    /// The name of the statement.
    #[arg(long, short = 'n', value_name = "NAME")]
    name: String,
    #[command(flatten)]
    of: Of,
    /// A trust store with the signers' roots, such as ca:example (may be given again).
    #[arg(long = "trust-store", value_name = "TYPE:NAME", required = true)]
    trust_stores: Vec<String>,
    /// A signer, as x509.subject: C=…, ST=…, O=…, or `*` for everybody below the roots (may be given again).
    #[arg(long = "trusted-identity", value_name = "IDENTITY", required = true)]
    trusted_identities: Vec<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file; `-` for the standard input.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Where a policy is put.
#[derive(Debug, Args)]
struct Place {
    /// Replace a policy that is there already.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    notation_dir: NotationDirArgument,
}

pub(super) fn run<Of: Kind>(command: Command<Of>, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Init(arguments) => {
            let first = FirstStatement {
                name: arguments.name,
                registry_scopes: arguments.of.scopes(),
                is_global: arguments.of.is_global(),
                trust_stores: arguments.trust_stores,
                trusted_identities: arguments.trusted_identities,
            };
            let text = format!("{}\n", first.document());
            // Nobody has seen the text, so a line of it says nothing.
            arguments
                .place
                .notation_dir
                .clone()
                .open()
                .parse_policy(Of::KIND, text.as_bytes())
                .map_err(|error| Failure { message: one_line(error.fault()), ..Failure::usage_of(&error) })?;
            put(Of::KIND, text.as_bytes(), arguments.place, output)
        }
        Command::Import(Import { file, place }) => put(Of::KIND, &read(&file)?, place, output),
        Command::Show(Show { notation_dir }) => show(Of::KIND, notation_dir, output),
    }
}

#[derive(Serialize)]
struct Written {
    path: PathBuf,
    statements: Vec<String>,
}

fn put(kind: PolicyKind, text: &[u8], place: Place, output: Output) -> Result<Exit, Failure> {
    let existing = if place.force { Existing::Replace } else { Existing::Keep };
    let directory = place.notation_dir.open();
    let path = directory.import_policy(kind, text, existing).map_err(|error| match error {
        ImportError::Refused(LoadError::Invalid { source, .. }) => Failure::usage_of(&source),
        ImportError::Exists { .. } => Failure::usage_of(&error),
        error => Failure::of(&error),
    })?;
    let trust = directory.load_trust_of(kind).map_err(|error| Failure::of(&error))?;
    // It is in force all the same: the store may come next.
    trust.problems().for_each(|(_, problem)| output::problem(&Problem::of(problem)));
    let statements = trust.policy().statements().iter().map(|statement| statement.name().to_owned()).collect();
    let written = Written { path, statements };
    output::print(output, &written, || {
        format!("put in force {}\n  statements  {}", written.path.display(), written.statements.join(", "))
    });
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    // One byte more than the limit tells a policy that is too large from one that just fits.
    let limit = MAX_POLICY_SIZE as u64 + 1;
    let mut text = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut text)
    } else {
        fs::File::open(file).and_then(|content| content.take(limit).read_to_end(&mut text))
    };
    read.map_err(|error| {
        Failure::unreadable("file-unreadable", format!("cannot read {}: {error}", file.display()), None)
    })?;
    Ok(text)
}

/// The policy to the byte, and whether it holds by the rules: one that does not is in force nowhere.
fn show(kind: PolicyKind, notation_dir: NotationDirArgument, output: Output) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Shown {
        path: PathBuf,
        policy: String,
    }
    let directory = notation_dir.open();
    let text = directory.policy_text(kind).map_err(|error| Failure::of(&error))?;
    if output == Output::Text {
        output::to_stdout_whole(&text);
    }
    let (path, policy) = directory.load_policy(kind).map_err(|error| Failure::of(&error))?;
    if output == Output::Json {
        output::print(output, &Shown { path, policy: policy.text().to_owned() }, String::new);
    }
    Ok(Exit::Done)
}
