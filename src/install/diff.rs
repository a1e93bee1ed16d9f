//! What would change, in the form that `diff -u` and `git diff` have made everybody's.

use std::fmt::Write as _;
use std::path::Path;

use super::state::State;

/// How many unchanged lines stand around a change.
const CONTEXT: usize = 3;

/// The largest table that is made to compare two texts, in cells: two files of containerd's defaults have a tenth.
const MAX_TABLE: usize = 4 * 1024 * 1024;

/// The difference between two states of a path.
pub(super) fn unified(path: &Path, before: &State, after: &State) -> String {
    let name = |state: &State| match state {
        State::Absent => "/dev/null".to_owned(),
        _ => path.display().to_string(),
    };
    let mut out = format!("--- {}\n+++ {}\n", name(before), name(after));
    match (lines(before), lines(after)) {
        (Some(before), Some(after)) => hunks(&mut out, &before, &after),
        _ => out.push_str("(binary)\n"),
    }
    out
}

/// The lines of a state, each with its end. None where it is no text.
fn lines(state: &State) -> Option<Vec<String>> {
    let text = match state {
        State::Absent => String::new(),
        State::Directory => "(directory)\n".into(),
        State::Link(target) => format!("(link to {})\n", target.display()),
        State::File { bytes, .. } => String::from_utf8(bytes.clone()).ok().filter(|text| !text.contains('\0'))?,
        State::Other => return None,
    };
    Some(text.split_inclusive('\n').map(str::to_owned).collect())
}

/// What becomes of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    Comes,
}

fn hunks(out: &mut String, before: &[String], after: &[String]) {
    let edits = edits(before, after);
    let mut changes =
        (0..edits.len()).filter(|at| edits.get(*at).is_some_and(|(fate, _)| *fate != Fate::Stays)).peekable();
    while let Some(first) = changes.next() {
        let mut last = first;
        // Changes whose surroundings touch stand together.
        while let Some(next) = changes.next_if(|next| *next <= last + 2 * CONTEXT) {
            last = next;
        }
        let (start, end) = (first.saturating_sub(CONTEXT), (last + CONTEXT + 1).min(edits.len()));
        hunk(out, &edits, start, end);
    }
}

fn hunk(out: &mut String, edits: &[(Fate, &str)], start: usize, end: usize) {
    let (earlier, shown) = (edits.get(..start).unwrap_or_default(), edits.get(start..end).unwrap_or_default());
    let range = |left_out: Fate| {
        let count = |edits: &[(Fate, &str)]| edits.iter().filter(|(fate, _)| *fate != left_out).count();
        let (skipped, count) = (count(earlier), count(shown));
        // An empty range is told by the line before it.
        format!("{},{count}", if count == 0 { skipped } else { skipped + 1 })
    };
    let _ = writeln!(out, "@@ -{} +{} @@", range(Fate::Comes), range(Fate::Goes)); // a String takes everything
    for (fate, line) in shown {
        let sign = match fate {
            Fate::Stays => ' ',
            Fate::Goes => '-',
            Fate::Comes => '+',
        };
        let missing_end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
        let _ = write!(out, "{sign}{line}{missing_end}");
    }
}

/// Every line of both, in order: what stays is a longest common subsequence of what lies between the first change and the
/// last one.
fn edits<'a>(before: &'a [String], after: &'a [String]) -> Vec<(Fate, &'a str)> {
    let same = |pair: &(&String, &String)| pair.0 == pair.1;
    let head = before.iter().zip(after).take_while(same).count();
    let most = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(most).take_while(same).count();
    let middle = |lines: &'a [String]| lines.get(head..lines.len() - tail).unwrap_or_default();
    let (old, new) = (middle(before), middle(after));
    let common = common(old, new);
    let stays = |lines: &'a [String]| lines.iter().map(|line| (Fate::Stays, line.as_str()));
    let mut edits: Vec<_> = stays(before.get(..head).unwrap_or_default()).collect();
    let (mut old_at, mut new_at) = (0, 0);
    for (old_next, new_next) in common.into_iter().chain([(old.len(), new.len())]) {
        edits.extend(old.get(old_at..old_next).unwrap_or_default().iter().map(|line| (Fate::Goes, line.as_str())));
        edits.extend(new.get(new_at..new_next).unwrap_or_default().iter().map(|line| (Fate::Comes, line.as_str())));
        edits.extend(old.get(old_next).map(|line| (Fate::Stays, line.as_str())));
        (old_at, new_at) = (old_next + 1, new_next + 1);
    }
    edits.extend(stays(before.get(before.len() - tail..).unwrap_or_default()));
    edits
}

/// The places of a longest common subsequence, found in a table of the lengths from each pair of places on. None where
/// the table would be too large: then everything in between goes, and comes anew.
fn common(old: &[String], new: &[String]) -> Vec<(usize, usize)> {
    if old.len().saturating_mul(new.len()) > MAX_TABLE {
        return Vec::new();
    }
    let width = new.len() + 1;
    let mut lengths = vec![0_usize; (old.len() + 1) * width];
    let length = |lengths: &[usize], i: usize, j: usize| lengths.get(i * width + j).copied().unwrap_or_default();
    for (i, old) in old.iter().enumerate().rev() {
        for (j, new) in new.iter().enumerate().rev() {
            let (skip_old, skip_new) = (length(&lengths, i + 1, j), length(&lengths, i, j + 1));
            let best = if old == new { length(&lengths, i + 1, j + 1) + 1 } else { skip_old.max(skip_new) };
            lengths.get_mut(i * width + j).into_iter().for_each(|cell| *cell = best);
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while let (Some(one), Some(other)) = (old.get(i), new.get(j)) {
        if one == other {
            found.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if length(&lengths, i + 1, j) >= length(&lengths, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(before: &str, after: &str) -> String {
        let state = |text: &str| if text.is_empty() { State::Absent } else { State::text(text.to_owned()) };
        unified(Path::new("/etc/it"), &state(before), &state(after))
    }

    #[test]
    fn a_change_stands_among_the_lines_around_it() {
        assert_eq!(
            diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n5\nnew\n6\n7\n8\n9\n"),
            "--- /etc/it\n+++ /etc/it\n@@ -3,6 +3,7 @@\n 3\n 4\n 5\n+new\n 6\n 7\n 8\n"
        );
        assert_eq!(diff("a\nb\n", "a\nc\n"), "--- /etc/it\n+++ /etc/it\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
    }

    #[test]
    fn changes_that_lie_apart_stand_in_hunks_of_their_own() {
        let lines = |changed: &[usize]| -> String {
            let line = |n: usize| if changed.contains(&n) { format!("new {n}\n") } else { format!("{n}\n") };
            (1..=20).map(line).collect::<Vec<_>>().concat()
        };
        assert_eq!(
            diff(&lines(&[]), &lines(&[2, 18])),
            "--- /etc/it\n+++ /etc/it\n@@ -1,5 +1,5 @@\n 1\n-2\n+new 2\n 3\n 4\n 5\n\
             @@ -15,6 +15,6 @@\n 15\n 16\n 17\n-18\n+new 18\n 19\n 20\n"
        );
        assert_eq!(diff(&lines(&[]), &lines(&[2, 8])).matches("@@ -").count(), 1, "their surroundings touch");
    }

    #[test]
    fn what_is_made_and_what_is_removed_is_told_whole() {
        assert_eq!(diff("", "a\nb\n"), "--- /dev/null\n+++ /etc/it\n@@ -0,0 +1,2 @@\n+a\n+b\n");
        assert_eq!(diff("a", ""), "--- /etc/it\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n\\ No newline at end of file\n");
        let link = unified(Path::new("/x"), &State::Absent, &State::Link("/y".into()));
        assert_eq!(link, "--- /dev/null\n+++ /x\n@@ -0,0 +1,1 @@\n+(link to /y)\n");
    }

    #[test]
    fn what_is_no_text_is_not_shown() {
        let binary = State::File { bytes: vec![0x7f, 0, 0xff], mode: 0o755 };
        assert_eq!(unified(Path::new("/x"), &State::Absent, &binary), "--- /dev/null\n+++ /x\n(binary)\n");
    }
}
