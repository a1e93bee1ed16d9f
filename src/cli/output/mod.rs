//! What the command line prints: results to stdout, hints and warnings to stderr.
//!
//! The only place that writes to the terminal. A reader that went away (a closed pipe) is no error of ours, so failures
//! to write are passed over.

mod human;
mod progress;

use std::fmt;
use std::io::Write;

pub(super) use progress::Progress;
use serde::Serialize;

use super::Output;
use super::exit::{Exit, Failure};
use crate::oci::Location;
use crate::remedy::{is_unprintable, printable};
use crate::verify::{Answer, Check, Finding, Problem, Verdict};

/// A result, as text or as JSON.
pub(super) fn print<T: Serialize>(output: Output, result: &T, text: impl FnOnce() -> String) {
    match output {
        Output::Text => to_stdout(&text()),
        Output::Json => to_stdout(&json(result)),
    }
}

/// One line of a result of which more is to come.
pub(super) fn line(text: &str) {
    to_stdout(&printable(text));
}

/// A verdict; its hint goes to stderr.
pub(super) fn verdict(output: Output, verdict: &Verdict) {
    print(output, verdict, || human::verdict(verdict));
    if let (Output::Text, Some(remedy)) = (output, &verdict.remedy) {
        hint(remedy);
    }
}

/// An error that ended the command.
pub(super) fn failure(output: Output, failure: &Failure) {
    /// The same members as a verdict has, so that one reader does for both.
    #[derive(Serialize)]
    struct Document<'a> {
        answer: Option<Answer>,
        code: &'static str,
        failed: Option<Check>,
        reason: &'a str,
        remedy: Option<&'a str>,
        findings: [Finding; 0],
    }
    match output {
        Output::Text => {
            to_stderr(&format!("error [{}]: {}", failure.code, printable(&failure.message)));
            failure.remedy.iter().for_each(|remedy| hint(remedy));
        }
        Output::Json => to_stdout(&json(&Document {
            answer: (failure.exit == Exit::Inconclusive).then_some(Answer::Inconclusive),
            code: failure.code.as_str(),
            failed: failure.check,
            reason: &failure.message,
            remedy: failure.remedy.as_deref(),
            findings: [],
        })),
    }
}

/// A tag may point to something else by the time that somebody acts on the answer.
pub(super) fn warn_about_tag(location: &Location, does: &str) {
    if let Some(tag) = location.tag() {
        to_stderr(&format!(
            "warning: `{}` is a tag, which may be moved; pratique {does} what it points to now. Write the digest to be sure",
            tag.as_str()
        ));
    }
}

/// Something that is done all the same, and that somebody should know of.
pub(super) fn warning(text: &str) {
    to_stderr(&format!("warning: {}", printable(text)));
}

/// The same, of something that has a code: one line.
pub(super) fn problem(problem: &Problem) {
    let Problem { code, message, remedy } = problem;
    let remedy = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
    to_stderr(&format!("warning [{code}]: {}", printable(&format!("{message}{remedy}"))));
}

/// A sentence about what to do.
pub(super) fn hint(text: &str) {
    to_stderr(&format!("hint: {}", printable(text)));
}

/// One document. What could steer a terminal stands escaped: the same text to a reader of JSON.
fn json<T: Serialize>(value: &T) -> String {
    let document = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut escaped = String::with_capacity(document.len());
    for c in document.chars() {
        match c {
            // Between the members; inside of texts the serializer has escaped them.
            '\n' => escaped.push(c),
            c if is_unprintable(c) => {
                // Writing to a string does not fail. All of these have four digits at most.
                let _ = fmt::Write::write_fmt(&mut escaped, format_args!("\\u{:04x}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Bytes of the operator's own, such as a policy, as they are.
pub(super) fn to_stdout_whole(bytes: &[u8]) {
    let _ = std::io::stdout().lock().write_all(bytes);
}

/// A question to a person, beside the results.
pub(super) fn question(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{} [y/N] ", printable(text));
    let _ = stderr.flush();
}

/// A question, behind which the answer is written.
pub(super) fn to_stdout_unended(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = write!(stdout, "{}", safe(text));
    let _ = stdout.flush();
}

pub(super) fn to_stdout(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", safe(text));
}

pub(super) fn to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", safe(text));
}

/// The last guard: whatever the line was made of, it does not steer the terminal.
pub(super) fn safe(text: &str) -> String {
    let line = |line: &str| line.split('\t').map(printable).collect::<Vec<_>>().join("\t");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
