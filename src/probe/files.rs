//! What lies where containerd looks for verifiers and runtimes, and who may use the sockets.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::doctor::{Lying, Permissions, Program, RuntimePath, VerifierDirectory};
use crate::effective::{Effective, RUNC, VERIFIER};
use crate::install::Installed;

/// Our programs, as they are called where they were installed.
const VERIFIER_PROGRAM: &str = "pratique-verifier";
const RUNTIME_PROGRAM: &str = "pratique-runtime";
/// The most programs that are looked at: ten are called unless somebody says otherwise.
const MAX_PROGRAMS: usize = 1000;

/// What lies in the directory of the verifiers, in the order in which containerd calls it.
pub(super) fn verifiers(directory: &Path, installed: &Installed, unknown: &mut Vec<String>) -> VerifierDirectory {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => Some(entries),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                unknown.push(format!("what lies in {}: {error}", directory.display()));
            }
            None
        }
    };
    let programs = entries.map(|entries| {
        let paths: BTreeSet<PathBuf> =
            entries.take(MAX_PROGRAMS).filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.iter().map(|path| program(path, installed)).collect()
    });
    VerifierDirectory { path: directory.to_owned(), programs }
}

fn program(path: &Path, installed: &Installed) -> Program {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_executable =
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
    let is_ours = is_ours(path, VERIFIER_PROGRAM, installed) || (name == VERIFIER && !is_executable);
    Program { name, is_executable, is_ours }
}

/// What lies at each path at which containerd starts a runtime.
pub(super) fn runtimes(effective: &Effective, installed: &Installed, unknown: &mut Vec<String>) -> Vec<RuntimePath> {
    let named = effective.handlers().into_iter().filter_map(|handler| handler.binary);
    let paths: BTreeSet<PathBuf> =
        [effective.opt().join("bin").join(RUNC)].into_iter().chain(named.filter(|path| path.is_absolute())).collect();
    let mut found = Vec::new();
    for path in paths {
        let lies = match fs::canonicalize(&path) {
            Ok(_) if is_ours(&path, RUNTIME_PROGRAM, installed) => Lying::Ours,
            Ok(other) => Lying::Other(other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Lying::Missing,
            Err(error) => {
                unknown.push(format!("what lies at {}: {error}", path.display()));
                continue;
            }
        };
        found.push(RuntimePath { path, lies });
    }
    found
}

/// Whether it is as it was installed, or a link to our program that somebody else has made.
fn is_ours(path: &Path, program: &str, installed: &Installed) -> bool {
    let leads_to_ours = fs::canonicalize(path).is_ok_and(|real| real.file_name().is_some_and(|name| name == program));
    leads_to_ours || installed.holds(path).unwrap_or_default()
}

/// Who may use these sockets. One that is not there is used by nobody.
pub(super) fn permissions(sockets: [PathBuf; 2], unknown: &mut Vec<String>) -> Vec<Permissions> {
    let mut found = Vec::new();
    for path in sockets {
        match fs::metadata(&path) {
            Ok(metadata) => found.push(Permissions {
                mode: metadata.permissions().mode() & 0o777,
                user: metadata.uid(),
                group: metadata.gid(),
                path,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unknown.push(format!("who may use {}: {error}", path.display())),
        }
    }
    found
}
