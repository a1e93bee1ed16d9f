//! What is to be there once pratique is installed.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::state::State;
use super::{InstallError, InstallOptions, containerd, drop_in};

/// The drop-in: its name comes last, because containerd lets the later file win.
const DROP_IN: &str = "99-pratique.toml";
/// The verifier's name where containerd calls it: it comes first, because containerd calls only so many.
const VERIFIER: &str = "00-pratique";
/// The verifier's name where it was installed.
const PROGRAM: &str = "pratique-verifier";
/// Where containerd looks for verifiers unless its configuration says otherwise.
const DEFAULT_DIRECTORY: &str = "/opt/containerd/image-verifier/bin";
/// Where programs stay where they are. A link to one of these survives an update of the program, and when the program
/// is removed, containerd refuses to pull. Anything elsewhere, such as in a build directory, is copied.
const STABLE: [&str; 4] = ["/usr", "/opt", "/bin", "/sbin"];

/// What is to be there.
pub(super) struct Plan {
    /// In the order in which it is put there, directories first.
    pub(super) wanted: Vec<(PathBuf, State)>,
    /// containerd's main file: the only one that is somebody else's and may be changed.
    pub(super) main: PathBuf,
    /// What is to be known about it.
    pub(super) notes: Vec<String>,
}

/// Works out what is to be there, from the options and from what containerd's configuration says already.
pub(super) fn plan(options: &InstallOptions) -> Result<Plan, InstallError> {
    // Where the usual place is a link, containerd takes relative paths from there, and what is edited is the file itself.
    let (usual, main) = (usual_file(options), main_file(options));
    let drop_in = usual.with_file_name("conf.d").join(DROP_IN);
    let old_text = containerd::read_text(&main)?;
    let containerd::Main { settings, text } = containerd::read(&usual, old_text.as_deref(), &drop_in)?;
    let bin_dir = options.verifier_dir.clone().or_else(|| settings.bin_dir.clone());
    let bin_dir = bin_dir.unwrap_or_else(|| DEFAULT_DIRECTORY.into());
    for path in &settings.later {
        if containerd::overrides(path, &bin_dir)? {
            return Err(InstallError::Overridden { path: path.clone() });
        }
    }
    let notes = settings
        .later
        .iter()
        .map(|path| format!("{} also configures image verifiers, and containerd reads it after ours", path.display()));
    let mode = match State::read(&main)? {
        State::File { mode, .. } => mode,
        _ => 0o644,
    };
    let link = bin_dir.join(VERIFIER);
    let mut wanted = directories_of(&link)?;
    wanted.extend(directories_of(&drop_in)?);
    // The verifier before the configuration that demands it, and the import last: each step alone leaves a containerd
    // that starts.
    wanted.push((link, verifier(options)?));
    wanted.push((drop_in, State::text(drop_in::text(&settings, &bin_dir)?)));
    wanted.push((main.clone(), State::File { bytes: text.into_bytes(), mode }));
    Ok(Plan { wanted, main, notes: notes.collect() })
}

/// The main file's place, from the root on.
fn usual_file(options: &InstallOptions) -> PathBuf {
    std::path::absolute(&options.containerd_config).unwrap_or_else(|_| options.containerd_config.clone())
}

/// The main file itself, where its usual place is a link to it.
fn main_file(options: &InstallOptions) -> PathBuf {
    fs::canonicalize(&options.containerd_config).unwrap_or_else(|_| usual_file(options))
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

/// What containerd is to call: a link to the verifier, a copy of it where it might not stay, or a script where it has to
/// be told about the socket.
pub(super) fn verifier(options: &InstallOptions) -> Result<State, InstallError> {
    let program = match &options.verifier {
        Some(program) => program.clone(),
        None => beside_this_program().ok_or_else(|| InstallError::NoVerifier { path: PROGRAM.into() })?,
    };
    let missing = || InstallError::NoVerifier { path: program.clone() };
    let metadata = fs::metadata(&program).map_err(|_| missing())?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(missing());
    }
    let program = std::path::absolute(&program).map_err(|_| missing())?;
    if let Some(socket) = &options.socket {
        return script(&program, socket);
    }
    let stays = fs::canonicalize(&program).is_ok_and(|real| STABLE.iter().any(|stable| real.starts_with(stable)));
    if stays && STABLE.iter().any(|stable| program.starts_with(stable)) {
        return Ok(State::Link(program));
    }
    let bytes = fs::read(&program).map_err(|source| InstallError::Read { path: program, source })?;
    Ok(State::File { bytes, mode: 0o755 })
}

fn beside_this_program() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.with_file_name(PROGRAM))
}

fn script(program: &Path, socket: &Path) -> Result<State, InstallError> {
    let quoted = |path: &Path| {
        let text = path.to_str().filter(|_| path.is_absolute());
        let text = text.ok_or_else(|| InstallError::UnusablePath { path: path.to_owned() })?;
        Ok::<_, InstallError>(format!("'{}'", text.replace('\'', r"'\''")))
    };
    let script = format!("#!/bin/sh\nPRATIQUE_SOCKET={} exec {} \"$@\"\n", quoted(socket)?, quoted(program)?);
    Ok(State::File { bytes: script.into_bytes(), mode: 0o755 })
}
