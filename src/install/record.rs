//! The record of what was installed: enough to take exactly that back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::InstallError;
use super::candidate::Shown;
use super::state::State;

/// Everything that was installed, in the order in which it was put there.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) entries: Vec<Entry>,
}

/// One path: what it was, and what it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// The text and mode of the file that was changed; none where there was nothing.
    pub(super) before: Option<Before>,
    pub(super) after: After,
    /// What an earlier call had made it, while this one is under way: until then the path may still be that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) earlier: Option<After>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    text: String,
    mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum After {
    Directory,
    Link(PathBuf),
    /// The SHA-256 of the file, in hex.
    File(String),
}

impl Entry {
    /// The entry for a change. None where it is not of a kind that is installed.
    pub(super) fn of(path: &Path, before: &State, after: &State) -> Option<Self> {
        let after = match after {
            State::Directory => After::Directory,
            State::Link(target) => After::Link(target.clone()),
            State::File { bytes, .. } => After::File(hash(bytes)),
            State::Absent | State::Other => return None,
        };
        let before = match before {
            State::Absent => None,
            State::File { bytes, mode } => Some(Before { text: String::from_utf8(bytes.clone()).ok()?, mode: *mode }),
            _ => return None,
        };
        Some(Self { path: path.to_owned(), before, after, earlier: None })
    }

    /// The entry once the change is made.
    pub(super) fn settled(self) -> Self {
        Self { earlier: None, ..self }
    }

    /// Whether this is what was installed.
    pub(super) fn made(&self, now: &State) -> bool {
        [Some(&self.after), self.earlier.as_ref()].into_iter().flatten().any(|after| after.is(now))
    }

    /// What there was before.
    pub(super) fn before(&self) -> State {
        match &self.before {
            None => State::Absent,
            Some(Before { text, mode }) => State::File { bytes: text.clone().into_bytes(), mode: *mode },
        }
    }
}

impl After {
    fn is(&self, now: &State) -> bool {
        match (self, now) {
            (Self::Directory, State::Directory) => true,
            (Self::Link(target), State::Link(now)) => target == now,
            (Self::File(expected), State::File { bytes, .. }) => *expected == hash(bytes),
            _ => false,
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Record {
    /// The record in this file; empty where there is none.
    pub(super) fn read(path: &Path) -> Result<Self, InstallError> {
        match fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| InstallError::Record { path: path.to_owned(), source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(InstallError::Read { path: path.to_owned(), source }),
        }
    }

    /// Writes the record, or removes it when there is nothing to record.
    pub(super) fn write(&self, path: &Path) -> Result<(), InstallError> {
        if self.entries.is_empty() {
            return State::Absent.put(path);
        }
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|source| InstallError::Record { path: path.to_owned(), source })?;
        bytes.push(b'\n');
        if let Some(directory) = path.parent() {
            let made = fs::create_dir_all(directory);
            made.map_err(|source| InstallError::Write { path: directory.to_owned(), source })?;
        }
        // containerd's configuration may hold credentials, and the record holds what it was.
        State::File { bytes, mode: 0o600 }.put(path)
    }

    /// What a file said before an earlier call changed it, if it is as that call left it.
    pub(super) fn original(&self, path: &Path) -> Result<Shown, InstallError> {
        let Some(entry) = self.entry(path) else { return Ok(Shown::AsItLies) };
        if !entry.made(&State::read(path)?) {
            return Ok(Shown::AsItLies);
        }
        Ok(entry.before.as_ref().map_or(Shown::NotAtAll, |before| Shown::As(before.text.clone())))
    }

    pub(super) fn entry(&self, path: &Path) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_goes_with_its_last_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/install.json");
        assert_eq!(Record::read(&path).unwrap(), Record::default());
        let file = State::text("after".into());
        let entries = [
            (State::text("before".into()), file.clone()),
            (State::Absent, State::Directory),
            (State::Absent, State::Link("/x".into())),
        ];
        let entries = entries.iter().map(|(before, after)| Entry::of(Path::new("/etc/it"), before, after).unwrap());
        let record = Record { entries: entries.collect() };
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record);
        assert!(record.entries[0].made(&file) && !record.entries[0].made(&State::text("other".into())));
        assert_eq!(record.entries[0].before(), State::text("before".into()));
        Record::default().write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), State::Absent);
        fs::write(&path, "{").unwrap();
        assert!(matches!(Record::read(&path), Err(InstallError::Record { .. })));
    }
}
