//! `pratique blob inspect`: what the signature of a file says, field by field. Nothing is judged and nothing believed.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{format_of, read_signature};
use crate::cli::exit::{Exit, Failure};
use crate::cli::inspect::{Fields, branches, fields};
use crate::cli::{Output, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The signature, in a file that is named after its format: NAME.jws.sig or NAME.cose.sig.
    signature: PathBuf,
}

#[derive(Serialize)]
struct Inspection {
    signature: String,
    #[serde(flatten)]
    fields: Fields,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> Result<Exit, Failure> {
    let format = format_of(&arguments.signature)?;
    let unreadable = |failure: Failure| failure.in_file(&arguments.signature);
    let envelope = read_signature(&arguments.signature, format)?.map_err(|error| unreadable(Failure::of(&error)))?;
    let fields = fields(&envelope).map_err(|problem| unreadable(Failure::of_problem(problem)))?;
    let inspection = Inspection { signature: arguments.signature.display().to_string(), fields };
    output::print(output, &inspection, || {
        let mut lines = vec![inspection.signature.clone()];
        branches(&mut lines, "", serde_json::to_value(&inspection.fields).unwrap_or_default());
        lines.iter().map(|line| crate::remedy::printable(line)).collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Done)
}
