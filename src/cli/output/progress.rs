//! What is going on, in one line of the terminal that gives way to the next.

use std::io::{IsTerminal, Write};

use crate::remedy::cut;

/// To the beginning of the line, and away with what stands there (ECMA-48, "erase in line").
const OVERWRITE: &str = "\r\x1b[K";
/// So that it stays one line on a terminal of 80 columns.
const WIDTH: usize = 78;
/// How long a bar is, which leaves room for what it is about and for the numbers.
const BAR: usize = 40;

/// A line on stderr where that is a terminal, and nothing where it is not.
#[derive(Default)]
pub(in crate::cli) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Shows this in the place of what was shown.
    pub(in crate::cli) fn show(&mut self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        if stderr.is_terminal() {
            let _ = write!(stderr, "{OVERWRITE}{}", cut(text, WIDTH));
            let _ = stderr.flush();
            self.is_shown = true;
        }
    }

    /// Shows how far something has come.
    pub(in crate::cli) fn show_bar(&mut self, doing: &str, done: usize, all: usize, failed: usize) {
        let full = (done * BAR).checked_div(all).unwrap_or(BAR).min(BAR);
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR - full));
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        self.show(&format!("{doing} [{bar}] {done}/{all}{failed}"));
    }

    /// Makes room for what is to stay.
    pub(in crate::cli) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(std::io::stderr().lock(), "{OVERWRITE}");
        }
    }
}
