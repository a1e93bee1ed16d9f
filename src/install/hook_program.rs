//! How one of our programs is put where containerd calls it: a link, a copy, or a script.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::InstallError;
use super::state::State;

/// Where programs stay where they are. A link to one of these survives an update of the program, and when the program
/// is removed, containerd refuses to pull. Anything elsewhere, such as in a build directory, is copied.
const STABLE: [&str; 4] = ["/usr", "/opt", "/bin", "/sbin"];

/// The program that was named, or the one of this name beside this program. None where that is no program.
pub(super) fn found(named: Option<&Path>, name: &str) -> Result<PathBuf, PathBuf> {
    let program = match named {
        Some(program) => program.to_owned(),
        None => env::current_exe().map(|this| this.with_file_name(name)).map_err(|_| PathBuf::from(name))?,
    };
    let is_program = |program: &Path| {
        fs::metadata(program).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    std::path::absolute(&program).ok().filter(|program| is_program(program)).ok_or(program)
}

/// What containerd is to call: a link to the program, a copy of it where it might not stay, or a script where it has to
/// be told something.
pub(super) fn placed(program: &Path, environment: &[(&str, &Path)]) -> Result<State, InstallError> {
    if !environment.is_empty() {
        return script(program, environment);
    }
    let stays = fs::canonicalize(program).is_ok_and(|real| STABLE.iter().any(|stable| real.starts_with(stable)));
    if stays && STABLE.iter().any(|stable| program.starts_with(stable)) {
        return Ok(State::Link(program.to_owned()));
    }
    let bytes = fs::read(program).map_err(|source| InstallError::Read { path: program.to_owned(), source })?;
    Ok(State::File { bytes, mode: 0o755 })
}

fn script(program: &Path, environment: &[(&str, &Path)]) -> Result<State, InstallError> {
    let quoted = |path: &Path| {
        let text = path.to_str().filter(|_| path.is_absolute());
        let text = text.ok_or_else(|| InstallError::UnusablePath { path: path.to_owned() })?;
        Ok::<_, InstallError>(format!("'{}'", text.replace('\'', r"'\''")))
    };
    let told = environment.iter().map(|(name, value)| Ok(format!("{name}={} ", quoted(value)?)));
    let told = told.collect::<Result<Vec<_>, InstallError>>()?.concat();
    let script = format!("#!/bin/sh\n{told}exec {} \"$@\"\n", quoted(program)?);
    Ok(State::File { bytes: script.into_bytes(), mode: 0o755 })
}

/// What a script of ours tells under this name. None where it is no script, or tells nothing.
pub(super) fn told(script: &Path, name: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(script).ok()?;
    let (_, after) = text.split_once(&format!("{name}='"))?;
    let (quoted, _) = after.split_once("' ")?;
    Some(quoted.replace(r"'\''", "'").into())
}
