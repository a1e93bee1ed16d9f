//! Exit statuses, and errors on their way to a person.

use std::path::Path;
use std::process::ExitCode;

use crate::remedy::{Code, Remedy, one_line};
use crate::verify::{Answer, Check, Problem};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or admitted.
    Done,
    /// Denied.
    Denied,
    /// Wrong usage.
    Usage,
    /// Could not tell: unreachable, time-out, unreadable.
    Inconclusive,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Denied => 1,
            Exit::Usage => 2,
            Exit::Inconclusive => 3,
        })
    }
}

impl From<Answer> for Exit {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Admit => Self::Done,
            Answer::Deny => Self::Denied,
            Answer::Inconclusive => Self::Inconclusive,
        }
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) remedy: Option<String>,
    /// What of a verification it stood in the way of.
    pub(super) check: Option<Check>,
}

impl Failure {
    /// The command was asked for something that cannot be. What to do instead is said by [`hint`](Self::hint).
    pub(super) fn usage(code: &'static str, message: String) -> Self {
        Self { exit: Exit::Usage, code: Code(code), message, remedy: None, check: None }
    }

    /// The same failure, with this advice.
    pub(super) fn hint(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Something that the command needs cannot be read, written or reached.
    pub(super) fn unreadable(code: &'static str, message: String, remedy: Option<&str>) -> Self {
        Self { exit: Exit::Inconclusive, code: Code(code), message, remedy: remedy.map(str::to_owned), check: None }
    }

    /// Wrong usage, as an error states it.
    pub(super) fn usage_of(error: &impl Remedy) -> Self {
        Self { exit: Exit::Usage, ..Self::of(error) }
    }

    /// An error on the way, as it states itself.
    pub(super) fn of(error: &impl Remedy) -> Self {
        Self {
            exit: Exit::Inconclusive,
            code: error.code(),
            message: one_line(error),
            remedy: error.remedy(),
            check: None,
        }
    }

    /// A problem that was found on the way.
    pub(super) fn of_problem(problem: Problem) -> Self {
        let Problem { code, message, remedy } = problem;
        Self { exit: Exit::Inconclusive, code, message, remedy, check: None }
    }

    /// What the daemon says stood in the way.
    pub(super) fn told(code: &str, message: String, remedy: &str) -> Self {
        let remedy = (!remedy.is_empty()).then(|| remedy.to_owned());
        // A process says it once and ends.
        let code = Code(String::leak(code.to_owned()));
        Self { exit: Exit::Inconclusive, code, message, remedy, check: None }
    }

    /// The same failure, said of this file.
    pub(super) fn in_file(self, path: &Path) -> Self {
        Self { message: format!("{}: {}", path.display(), self.message), ..self }
    }

    /// The same failure, as one that stood in the way of this check.
    pub(super) fn about(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }
}
