//! What a person can do about an error: a stable code, and one sentence of advice.
//!
//! An error's `Display` is one fact and never repeats its source. Its [`Code`] is what scripts, metrics and the manual
//! hold on to, and stays the same when the wording changes. Its remedy is a second method, so that a log line, a
//! terminal and a JSON document can each decide where to put it.

use std::error::Error;
use std::fmt;

use serde::{Serialize, Serializer};

/// A stable, kebab-case name of a kind of answer or error, such as `untrusted-identity`.
///
/// Codes are part of the public interface: one is never renamed, and never reused for something else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub &'static str);

impl Code {
    /// The code as text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An error that carries a [`Code`] and knows what could be done about it.
pub trait Remedy: Error {
    /// The stable code of this error.
    fn code(&self) -> Code;

    /// One sentence that says what to do, where there is something to do. No full stop.
    fn remedy(&self) -> Option<String> {
        None
    }
}

/// The whole chain of facts of an error, joined by `: `, on one line.
///
/// Control characters are replaced: parts of an error may come from a registry, and the line ends up on terminals and
/// in logs.
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    printable(&line)
}

/// The line for a question that nobody could answer: what it is about, and the error with its code and remedy.
pub fn could_not_tell(what: &str, error: &impl Remedy) -> String {
    format!("could not tell: {what} [{}]: {}{}", error.code(), one_line(error), hint(error.remedy().as_deref()))
}

/// A remedy at the end of a line, where there is one.
pub fn hint(remedy: Option<&str>) -> String {
    remedy.map(|remedy| format!("; hint: {remedy}")).unwrap_or_default()
}

/// The longest excerpt, in characters: no name that anybody gives is longer, and a line with two of them is still read.
const MAX_EXCERPT: usize = 120;

/// Enough of a bad text to recognise it by, on one line.
pub fn excerpt(text: &str) -> String {
    cut(text, MAX_EXCERPT)
}

/// A stranger's text on one line, cut after this many characters.
pub fn cut(text: &str, characters: usize) -> String {
    let end = text.char_indices().nth(characters).map_or(text.len(), |(end, _)| end);
    printable(text.get(..end).unwrap_or_default())
}

/// The text with every control character and every invisible direction mark replaced by a blank.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

/// Whether a character could steer a terminal, or make a line read as another one: control characters, characters
/// without width, and direction marks.
pub fn is_unprintable(c: char) -> bool {
    let is_mark = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    c.is_control() || is_mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_becomes_a_blank_and_letters_stay() {
        assert_eq!(printable("a\u{1b}[2J\r\n\u{9b}1m\u{7f}\t\u{202e}\u{feff}z"), "a [2J   1m    z");
        assert_eq!(printable("Zoë, 山田 «x»"), "Zoë, 山田 «x»");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("山田\nx", 3), "山田 ");
        assert_eq!(cut("山田", 2), "山田");
        assert_eq!(excerpt(&"ö".repeat(500)), "ö".repeat(MAX_EXCERPT));
    }
}
