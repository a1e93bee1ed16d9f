//! Tables and trees in the layout of the Notary Project's own command, byte for byte.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use super::Refusal;
pub(super) use crate::cli::output::{to_stderr as warn, to_stdout as say, to_stdout_unended as ask, to_stdout_whole};

use crate::cli::confirm;

/// Between two columns of a table.
const GAP: usize = 3;

/// Asks, and takes everything but a clear yes for no.
pub(super) fn is_confirmed(question: &str) -> bool {
    let answer = confirm::ask(|| ask(&format!("{question} [y/N] ")));
    if answer == confirm::Answer::No {
        say("Operation cancelled.");
    }
    answer == confirm::Answer::Yes
}

/// The text with blanks behind it, up to this many characters.
pub(super) fn pad(text: &str, width: usize) -> String {
    let blanks = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(blanks))
}

/// A table: every cell, the last too, padded to the widest of its column and three blanks more.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        row.iter().zip(&widths).map(|(cell, width)| pad(cell, width + GAP)).collect::<Vec<_>>().concat()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A document with this for each level of indentation, and with `<`, `>` and `&` escaped as the original escapes them.
pub(super) fn json(document: &impl Serialize, indent: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    let written = document.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
    written.map_err(|error| Refusal::new(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| Refusal::new(error.to_string()))?;
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// One node of a tree, and what hangs on it.
pub(super) struct Node {
    pub(super) text: String,
    pub(super) children: Vec<Node>,
}

impl Node {
    pub(super) fn leaf(text: impl Into<String>) -> Self {
        Self { text: text.into(), children: Vec::new() }
    }

    pub(super) fn of(text: impl Into<String>, children: Vec<Self>) -> Self {
        Self { text: text.into(), children }
    }

    /// The lines of the tree, this node's first.
    pub(super) fn draw(&self) -> String {
        let mut lines = vec![self.text.clone()];
        self.draw_below("", &mut lines);
        lines.join("\n")
    }

    fn draw_below(&self, indent: &str, lines: &mut Vec<String>) {
        for (index, child) in self.children.iter().enumerate() {
            let is_last = index + 1 == self.children.len();
            let (joint, below) = if is_last { ("└── ", "    ") } else { ("├── ", "│   ") };
            lines.push(format!("{indent}{joint}{}", child.text));
            child.draw_below(&format!("{indent}{below}"), lines);
        }
    }
}
