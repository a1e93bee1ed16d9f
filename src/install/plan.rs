//! What is to be there once pratique is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::candidate::{Reader, Shown};
use super::containerd::{Files, read_text};
use super::drop_in::{self, Wanted};
use super::record::Record;
use super::runtimes::{Runtimes, Setting, runtimes};
use super::state::State;
use super::{InstallError, InstallOptions, handlers, hook_program, meaning};
use crate::effective::{CRI, CRI_RUNTIME, Effective, TRANSFER_DIFFER, Unpack, VERIFIER, Version};

/// The drop-in: its name comes last, because containerd lets the later file win.
const DROP_IN: &str = "99-pratique.toml";
/// The verifier's name where it was installed.
const VERIFIER_PROGRAM: &str = "pratique-verifier";
/// The name, where it was installed, of what stands where a runtime stands.
const RUNTIME_PROGRAM: &str = "pratique-runtime";
/// The directory of the daemon's sockets, unless it is told otherwise.
const SOCKETS: &str = "/run/pratique";
/// What containerd unpacks into where it cannot be asked.
const SNAPSHOTTERS: [&str; 2] = ["overlayfs", "native"];

/// What is to be there.
pub(super) struct Plan {
    /// In the order in which it is put there, directories first.
    pub(super) wanted: Vec<(PathBuf, State)>,
    /// The files that are somebody else's and may be changed.
    pub(super) edited: Vec<PathBuf>,
    /// What is to be known about it.
    pub(super) notes: Vec<String>,
}

/// Works out what is to be there, from the options and from what containerd makes of its configuration, and has
/// containerd say that it would be read as it is meant.
pub(super) fn plan(options: &InstallOptions, record: &Record, reader: &impl Reader) -> Result<Plan, InstallError> {
    let version = reader.version()?;
    if version < Version::OLDEST {
        return Err(InstallError::TooOld { version });
    }
    let place = Place::of(options, version);
    let before = place.without_us(record, reader)?;
    let text = read_text(&place.main)?.unwrap_or_else(|| place.fresh.clone());
    let files = Files::read(&place.usual, &text, &place.drop_in)?;
    let mut notes = Vec::new();
    let found = found_runtimes(options, &before)?;
    let wanted = wanted(options, version, &place, &files, &before, &found, &mut notes)?;
    let drop_in = wanted.text()?;
    let importing = files.importing(&place.drop_in)?;
    let edits = place.edits(&files, &importing, &wanted, &before)?;
    place.validate(reader, (&before, &wanted), &edits, &drop_in)?;
    notes.extend(found.notes);
    let mut links = found.links;
    if let Some(verifiers) = &wanted.verifiers {
        links.insert(0, (verifiers.directory.join(VERIFIER), verifier(options)?));
    }
    let mut all = Vec::new();
    for path in links.iter().map(|(path, _)| path).chain([&place.drop_in]) {
        let missing = directories_of(path)?.into_iter().filter(|directory| !all.contains(directory));
        all.extend(missing.collect::<Vec<_>>());
    }
    // The programs before the configuration that demands them, and the imports last: each step alone leaves a containerd
    // that starts.
    all.extend(links);
    all.push((place.drop_in.clone(), State::text(drop_in)));
    let edited = edits.iter().map(|(path, _)| path.clone()).collect();
    for (path, text) in edits {
        let mode = mode_of(&path)?;
        all.push((path, State::File { bytes: text.into_bytes(), mode }));
    }
    Ok(Plan { wanted: all, edited, notes })
}

/// The main file of containerd's configuration as it is without us, and what it comes to.
pub(super) fn without_us(
    options: &InstallOptions,
    record: &Record,
    reader: &impl Reader,
) -> Result<Effective, InstallError> {
    Place::of(options, reader.version()?).without_us(record, reader)
}

/// Where things lie.
struct Place {
    /// The main file's usual place, from the root on: containerd takes relative paths from there.
    usual: PathBuf,
    /// The main file itself, where its usual place is a link to it.
    main: PathBuf,
    drop_in: PathBuf,
    /// The text of a main file that is not there.
    fresh: String,
}

impl Place {
    fn of(options: &InstallOptions, version: Version) -> Self {
        let usual =
            std::path::absolute(&options.containerd_config).unwrap_or_else(|_| options.containerd_config.clone());
        Self {
            main: fs::canonicalize(&usual).unwrap_or_else(|_| usual.clone()),
            drop_in: usual.with_file_name("conf.d").join(DROP_IN),
            usual,
            fresh: format!("version = {}\n", version.of_configuration()),
        }
    }

    /// What the configuration comes to without what an earlier call has made of it.
    fn without_us(&self, record: &Record, reader: &impl Reader) -> Result<Effective, InstallError> {
        let text = match record.original(&self.main)? {
            Shown::AsItLies => read_text(&self.main)?,
            Shown::As(text) => Some(text),
            Shown::NotAtAll => None,
        };
        let files = Files::read(&self.usual, text.as_deref().unwrap_or(&self.fresh), &self.drop_in)?;
        let paths = record.entries.iter().map(|entry| entry.path.clone());
        let originals = paths.map(|path| Ok((path.clone(), record.original(&path)?)));
        let originals: BTreeMap<PathBuf, Shown> = originals.collect::<Result<_, InstallError>>()?;
        reader.effective(&files.candidate(|path| {
            let original = originals.get(path).cloned().unwrap_or(Shown::AsItLies);
            if path == self.drop_in { Shown::NotAtAll } else { original }
        }))
    }

    /// The files that are somebody else's, each with its new text; the main file last, since it has the import.
    fn edits(
        &self,
        files: &Files,
        importing: &str,
        wanted: &Wanted,
        before: &Effective,
    ) -> Result<Vec<(PathBuf, String)>, InstallError> {
        let mut main = importing.to_owned();
        if !wanted.handlers_elsewhere {
            return Ok(vec![(self.main.clone(), main)]);
        }
        let elsewhere = files.cri.last().map(|(path, _)| path).filter(|path| **path != self.usual);
        let mut text = match elsewhere {
            Some(path) => read_text(path)?.unwrap_or_default(),
            None => main.clone(),
        };
        let path = elsewhere.unwrap_or(&self.main).clone();
        for (handler, runtime) in &wanted.handlers {
            let now = before.handler_table(handler);
            text = handlers::with_runtime(&path, &text, (wanted.cri, handler), runtime, now)?;
        }
        if elsewhere.is_none() {
            main = text;
            return Ok(vec![(self.main.clone(), main)]);
        }
        Ok(vec![(path, text), (self.main.clone(), main)])
    }

    /// Has containerd read the files as they would be.
    fn validate(
        &self,
        reader: &impl Reader,
        (before, wanted): (&Effective, &Wanted),
        edits: &[(PathBuf, String)],
        drop_in: &str,
    ) -> Result<(), InstallError> {
        let text_of = |wanted: &Path| edits.iter().find(|(path, _)| path == wanted).map(|(_, text)| text.clone());
        let main = text_of(&self.main).unwrap_or_default();
        let files = Files::read(&self.usual, &main, &self.drop_in)?;
        let candidate = files.candidate(|path| {
            let new = if path == self.drop_in { Some(drop_in.to_owned()) } else { text_of(path) };
            new.map_or(Shown::AsItLies, Shown::As)
        });
        let differences = meaning::differences(before, &reader.effective(&candidate)?, wanted);
        if differences.is_empty() {
            return Ok(());
        }
        let later = files.after(&self.drop_in).last().cloned();
        Err(match later.filter(|_| differences.iter().any(|difference| difference == meaning::VERIFIERS)) {
            Some(path) => InstallError::Overridden { path },
            // The names of version 1 are other ones, and a drop-in has to speak its version.
            None if files.version.is_none() => InstallError::FirstVersion { path: self.main.clone() },
            None => InstallError::NotAsMeant { differences },
        })
    }
}

fn found_runtimes(options: &InstallOptions, before: &Effective) -> Result<Runtimes, InstallError> {
    let program = hook_program::found(options.runtime.as_deref(), RUNTIME_PROGRAM);
    let program = program.map_err(|path| InstallError::NoRuntimeHook { path })?;
    runtimes(&Setting::new(&program, options.socket.as_deref()), before)
}

fn wanted(
    options: &InstallOptions,
    version: Version,
    place: &Place,
    files: &Files,
    before: &Effective,
    found: &Runtimes,
    notes: &mut Vec<String>,
) -> Result<Wanted, InstallError> {
    let is_second = version.is_second();
    let verifiers = before.verifiers().map(|now| {
        let directory = options.verifier_dir.clone().unwrap_or_else(|| now.directory.clone());
        drop_in::verifiers(&now, directory)
    });
    let unpack = if is_second {
        Some(drop_in::unpack(before, &snapshotters(options, place, before)?, notes))
    } else {
        notes.push("containerd 1.7 has no image verifiers: it asks before it unpacks and before it runs".into());
        None
    };
    let sockets = options.socket.as_deref().and_then(Path::parent).unwrap_or(Path::new(SOCKETS));
    Ok(Wanted {
        cri: name_of_cri(files),
        version: files.version.clone(),
        sockets: sockets.to_owned(),
        verifiers,
        diff_service: drop_in::diff_service(before, is_second),
        unpack,
        handlers: found.handlers.clone(),
        handlers_elsewhere: !is_second,
    })
}

/// The name that the files have for CRI; where none mentions it, that of their version.
fn name_of_cri(files: &Files) -> &'static str {
    let is_third = |version: &str| version.parse().is_ok_and(|version: u32| version >= 3);
    match files.cri.last() {
        Some((_, "cri")) => "cri",
        _ if files.version.as_deref().is_some_and(is_third) => CRI_RUNTIME,
        _ => CRI,
    }
}

/// The snapshotters in use: those that the running containerd has; where it does not run, those that its configuration
/// names and those that everybody has, without any that would keep it from starting.
fn snapshotters(options: &InstallOptions, place: &Place, before: &Effective) -> Result<BTreeSet<String>, InstallError> {
    if !options.snapshotters.is_empty() {
        return Ok(options.snapshotters.clone());
    }
    let mut names = before.cri_snapshotters();
    names.extend(SNAPSHOTTERS.map(str::to_owned));
    // What was found when containerd ran is as good as before.
    let ours = read_text(&place.drop_in)?.and_then(|text| text.parse().ok()).map(Effective::new);
    let is_ours = |unpack: &Unpack| unpack.differ.as_deref() == Some(TRANSFER_DIFFER);
    names.extend(ours.iter().flat_map(Effective::unpack).filter(is_ours).map(|unpack| unpack.snapshotter));
    names.retain(|name| !before.is_disabled(&format!("io.containerd.snapshotter.v1.{name}")));
    Ok(names)
}

fn mode_of(path: &Path) -> Result<u32, InstallError> {
    Ok(match State::read(path)? {
        State::File { mode, .. } => mode,
        _ => 0o644,
    })
}

/// The directories on the way to a file that are not there yet, and those that an earlier call has made.
fn directories_of(path: &Path) -> Result<Vec<(PathBuf, State)>, InstallError> {
    let mut missing = Vec::new();
    for directory in path.ancestors().skip(1) {
        // Followed where it is a link: what matters is that there is a directory.
        let is_there = fs::metadata(directory).is_ok_and(|metadata| metadata.is_dir());
        if is_there && State::read(directory)? != State::Directory {
            break;
        }
        missing.push((directory.to_owned(), State::Directory));
    }
    missing.reverse();
    Ok(missing)
}

/// What containerd is to call before it pulls.
pub(super) fn verifier(options: &InstallOptions) -> Result<State, InstallError> {
    let program = hook_program::found(options.verifier.as_deref(), VERIFIER_PROGRAM);
    let program = program.map_err(|path| InstallError::NoVerifier { path })?;
    let environment: Vec<_> = options.socket.as_deref().map(|socket| ("PRATIQUE_SOCKET", socket)).into_iter().collect();
    hook_program::placed(&program, &environment)
}
