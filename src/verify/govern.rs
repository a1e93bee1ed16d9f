//! Which statement governs, and whether there is anything to verify under it.
//!
//! Follows the Notary trust policy specification, "Selecting a trust policy based on artifact URI" and "Blob Trust Policy".

use super::{Problem, Verdict, VerdictInput};
use crate::oci::Repository;
use crate::policy::{LevelName, Statement};

/// The statement that governs a repository, or the verdict where no signature needs to be looked at: there is no
/// statement, it skips verification, or a trust store that it names cannot be used. The last is the operator's fault and
/// not the image's, so it stops at every level: nothing is admitted because something was missing.
pub fn govern<'t>(input: VerdictInput<'t>, repository: &Repository) -> Result<&'t Statement, Box<Verdict>> {
    let statement = input.trust.policy().statement_for(repository);
    in_force(input, statement.ok_or_else(|| Box::new(Verdict::without_statement(input)))?)
}

/// The same for a blob, which is governed by the statement of this name, or by the global one where none is named.
pub fn govern_blob<'t>(input: VerdictInput<'t>, name: Option<&str>) -> Result<&'t Statement, Box<Verdict>> {
    let statement = input.trust.policy().statement_for_blob(name);
    in_force(input, statement.ok_or_else(|| Box::new(Verdict::without_blob_statement(input, name)))?)
}

fn in_force<'t>(input: VerdictInput<'t>, statement: &'t Statement) -> Result<&'t Statement, Box<Verdict>> {
    match input.trust.problem_of(statement) {
        _ if statement.level() == LevelName::Skip => Err(Box::new(Verdict::skipped(input, statement))),
        Some(problem) => Err(Box::new(Verdict::without_anchors(input, statement, Problem::of(problem)))),
        None => Ok(statement),
    }
}
