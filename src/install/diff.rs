//! What would change, in the form that `diff -u` and `git diff` have made everybody's.

use std::fmt::Write as _;
use std::path::Path;

use super::state::State;

/// How many unchanged lines stand around a change.
const CONTEXT: usize = 3;

/// The difference between two states of a path. Changes of one file stand in one hunk: they lie together.
pub(super) fn unified(path: &Path, before: &State, after: &State) -> String {
    let name = |state: &State| match state {
        State::Absent => "/dev/null".to_owned(),
        _ => path.display().to_string(),
    };
    let mut out = format!("--- {}\n+++ {}\n", name(before), name(after));
    match (lines(before), lines(after)) {
        (Some(before), Some(after)) => hunk(&mut out, &before, &after),
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

fn hunk(out: &mut String, before: &[String], after: &[String]) {
    let same = |pair: &(&String, &String)| pair.0 == pair.1;
    let head = before.iter().zip(after).take_while(same).count();
    let most = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(most).take_while(same).count();
    let start = head.saturating_sub(CONTEXT);
    let end = |lines: &[String]| (lines.len() - tail + CONTEXT).min(lines.len());
    let range = |lines: &[String]| {
        let count = end(lines) - start;
        // An empty range is told by the line before it.
        format!("{},{count}", if count == 0 { start } else { start + 1 })
    };
    let _ = writeln!(out, "@@ -{} +{} @@", range(before), range(after)); // a String takes everything
    let part = |lines: &[String], from: usize, to: usize| lines.get(from..to).unwrap_or_default().to_vec();
    for (sign, lines) in [
        (' ', part(before, start, head)),
        ('-', part(before, head, before.len() - tail)),
        ('+', part(after, head, after.len() - tail)),
        (' ', part(after, after.len() - tail, end(after))),
    ] {
        for line in lines {
            let missing_end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
            let _ = write!(out, "{sign}{line}{missing_end}");
        }
    }
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
