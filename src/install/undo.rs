//! Takes back what was installed, and leaves what is not ours any more or still in use.

use std::fs;
use std::path::{Path, PathBuf};

use super::record::Entry;
use super::state::State;
use super::{ChangeKind, InstallError, Step};

/// What takes entries back, and what does not go.
#[derive(Default)]
pub(super) struct Undone {
    pub(super) steps: Vec<Step>,
    /// Changed by somebody since, and so not ours any more.
    changed: Vec<Entry>,
    /// Ours, and still called by a file that does not go. Each with that file.
    called: Vec<(Entry, PathBuf)>,
}

impl Undone {
    pub(super) fn notes(&self) -> Vec<String> {
        let changed = self
            .changed
            .iter()
            .map(|entry| format!("{} was changed since it was installed, and is left as it is", entry.path.display()));
        let called = self.called.iter().map(|(entry, by)| {
            let (path, by) = (entry.path.display(), by.display());
            format!("{path} stays, since {by} still calls it: take that out of the file and uninstall again")
        });
        changed.chain(called).collect()
    }

    /// Everything that stays, in the order in which it was put there.
    pub(super) fn left(&self) -> Vec<Entry> {
        let called = self.called.iter().map(|(entry, _)| entry);
        self.changed.iter().chain(called).rev().cloned().collect()
    }
}

/// What takes these entries back. A program goes only when no file that stays calls it: containerd would start nothing any
/// more.
pub(super) fn undo(entries: Vec<Entry>) -> Result<Undone, InstallError> {
    let mut undone = Undone::default();
    let mut staying: Vec<(PathBuf, State)> = Vec::new();
    let mut ours = Vec::new();
    for entry in entries {
        let (before, after) = (State::read(&entry.path)?, entry.before());
        if before == after {
            continue; // it was never put there, or somebody has taken it back already
        }
        if entry.made(&before) {
            ours.push((entry, before, after));
        } else {
            staying.push((entry.path.clone(), before));
            undone.changed.push(entry);
        }
    }
    for (entry, before, after) in ours {
        let caller = staying.iter().find(|(_, state)| after == State::Absent && state.names(&entry.path));
        if let Some((caller, _)) = caller {
            undone.called.push((entry, caller.clone()));
            continue;
        }
        let kind = if after == State::Absent { ChangeKind::Remove } else { ChangeKind::Restore };
        let path = entry.path;
        if before == State::Directory && !empties(&path, &undone.steps)? {
            continue; // somebody uses it
        }
        undone.steps.push(Step { path, before, after, kind });
    }
    Ok(undone)
}

/// Whether nothing is left in a directory after these steps.
fn empties(directory: &Path, steps: &[Step]) -> Result<bool, InstallError> {
    let unreadable = |source| InstallError::Read { path: directory.to_owned(), source };
    let removed = |path: &Path| steps.iter().any(|step| step.after == State::Absent && step.path == path);
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        if !removed(&entry.map_err(unreadable)?.path()) {
            return Ok(false);
        }
    }
    Ok(true)
}
