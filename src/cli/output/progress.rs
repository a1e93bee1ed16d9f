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
        self.show(&bar(doing, done, all, failed));
    }

    /// Makes room for what is to stay.
    pub(in crate::cli) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(std::io::stderr().lock(), "{OVERWRITE}");
        }
    }
}

fn bar(doing: &str, done: usize, all: usize, failed: usize) -> String {
    let full = done.saturating_mul(BAR).checked_div(all).unwrap_or(BAR).min(BAR);
    let (full, empty) = ("#".repeat(full), "-".repeat(BAR - full));
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{doing} [{full}{empty}] {done}/{all}{failed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_as_it_goes_on_and_tells_what_failed() {
        let line = |done, all, failed| bar("attaching", done, all, failed);
        let drawn =
            |full: usize, numbers: &str| format!("attaching [{}{}] {numbers}", "#".repeat(full), "-".repeat(40 - full));
        assert_eq!(line(0, 4, 0), drawn(0, "0/4"));
        assert_eq!(line(2, 4, 0), drawn(20, "2/4"));
        assert_eq!(line(3, 4, 2), drawn(30, "3/4, 2 failed"));
        assert_eq!(line(4, 4, 0), drawn(40, "4/4"));
        // Nothing to do is done.
        assert_eq!(line(0, 0, 0), drawn(40, "0/0"));
        assert_eq!(line(5, 4, 0), drawn(40, "5/4"));
        assert!(line(10_000, 10_000, 1_000).len() < WIDTH, "the numbers are what is cut off first");
    }
}
