//! What an installation has changed, or would.

use std::fmt;
use std::path::PathBuf;

/// What was changed, or would be. Shown as a unified diff, and as lines where it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they are made.
    pub changes: Vec<Change>,
    /// What else there is to know, one sentence each.
    pub notes: Vec<String>,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Whether all of it was done. What somebody has changed since is not taken back.
    pub is_whole: bool,
}

/// One path that was changed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: PathBuf,
    /// What becomes of it.
    pub kind: ChangeKind,
    /// The difference, as `diff -u` shows it.
    pub diff: String,
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is made.
    Create,
    /// It was there, and says something else now.
    Change,
    /// It is as it was before.
    Restore,
    /// It is removed.
    Remove,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.kind {
            ChangeKind::Create => "created",
            ChangeKind::Change => "changed",
            ChangeKind::Restore => "restored",
            ChangeKind::Remove => "removed",
        };
        write!(f, "{done} {}", self.path.display())
    }
}

impl fmt::Display for Report {
    /// One line for each change and note, each ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            writeln!(f, "nothing to change")?;
        }
        self.changes.iter().try_for_each(|change| write!(f, "{}", change.diff))?;
        if !self.dry_run {
            self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}
