//! The links that stand where containerd's shim looks for an OCI runtime, and the handlers of CRI that are led to them.
//!
//! The shim looks for `runc` in its path, in which containerd puts `<opt>/bin` first: a link there is found by whoever
//! names no runtime. CRI's handlers are told the link's whole path besides, because a path that is gone is an error,
//! and a name that is gone is looked for further on.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::state::State;
use super::{InstallError, hook_program};
use crate::effective::{Effective, Handler, RUNC};

/// Where a service looks for programs unless it is told otherwise (systemd.exec(5), `$PATH`): containerd's path is more
/// likely this one than that of whoever installs.
const PATH_OF_SERVICES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What tells `pratique-runtime` which runtime is the real one.
const RUNTIME_VARIABLE: &str = "PRATIQUE_RUNTIME";

/// What is to be there.
#[derive(Debug, Default)]
pub(super) struct Runtimes {
    /// The links, each with what it is.
    pub(super) links: Vec<(PathBuf, State)>,
    /// The handlers, each with the link that it is to call.
    pub(super) handlers: Vec<(String, PathBuf)>,
    /// What is to be known.
    pub(super) notes: Vec<String>,
}

/// The programs that there are, and what they are told.
pub(super) struct Setting<'a> {
    /// The program `pratique-runtime`.
    pub(super) program: &'a Path,
    /// The daemon's socket, where it is not the usual one.
    pub(super) socket: Option<&'a Path>,
    /// Where runtimes are looked for.
    pub(super) path: Vec<PathBuf>,
}

impl<'a> Setting<'a> {
    /// With the path of services, and then this process's own.
    pub(super) fn new(program: &'a Path, socket: Option<&'a Path>) -> Self {
        let own = env::var_os("PATH").unwrap_or_default();
        let path = env::split_paths(PATH_OF_SERVICES).chain(env::split_paths(&own)).collect();
        Self { program, socket, path }
    }

    /// The first runtime of this name that is not ours.
    fn find(&self, name: &str, opt_bin: &Path) -> Option<PathBuf> {
        let elsewhere = self.path.iter().filter(|directory| directory.is_absolute() && *directory != opt_bin);
        elsewhere.map(|directory| directory.join(name)).find(|path| is_program(path) && !self.is_ours(path))
    }

    fn is_ours(&self, path: &Path) -> bool {
        is_same(path, self.program)
    }

    /// What the link is: it has to be told about the socket, and about a runtime that it would not find by its own name.
    fn link(&self, name: &str, real: Option<&Path>, opt_bin: &Path) -> Result<State, InstallError> {
        let finds_it = real.is_none_or(|real| self.find(name, opt_bin).is_some_and(|found| is_same(&found, real)));
        let Some(real) = real.filter(|_| self.socket.is_some() || !finds_it) else {
            if self.socket.is_some() {
                return Err(InstallError::NoRuntime { name: name.to_owned() });
            }
            return hook_program::placed(self.program, &[]);
        };
        let socket = self.socket.map(|socket| ("PRATIQUE_SOCKET", socket));
        let environment: Vec<_> = socket.into_iter().chain([(RUNTIME_VARIABLE, real)]).collect();
        hook_program::placed(self.program, &environment)
    }
}

/// Works out the links for what the configuration says without us.
pub(super) fn runtimes(setting: &Setting<'_>, effective: &Effective) -> Result<Runtimes, InstallError> {
    let opt_bin = effective.opt().join("bin");
    let mut real_of: BTreeMap<String, Option<PathBuf>> = BTreeMap::new();
    real_of.insert(RUNC.to_owned(), setting.find(RUNC, &opt_bin));
    let mut found = Runtimes::default();
    for handler in effective.handlers() {
        if !handler.calls_oci_runtime() {
            found.notes.push(other_shim(&handler));
            continue;
        }
        let name = handler.runtime_name();
        let named = named(&handler, &opt_bin).filter(|real| is_program(real));
        let Some(real) = named.or_else(|| setting.find(name, &opt_bin)) else {
            if name != RUNC {
                found
                    .notes
                    .push(format!("CRI's handler `{}` calls `{name}`, which is not there: left alone", handler.name));
                continue;
            }
            found.handlers.push((handler.name.clone(), opt_bin.join(RUNC)));
            continue;
        };
        let is_free = real_of.get(name).is_none_or(|known| known.as_deref().is_none_or(|known| is_same(known, &real)));
        let link = if is_free { name.to_owned() } else { format!("{name}.{}", handler.name) };
        real_of.insert(link.clone(), Some(real));
        found.handlers.push((handler.name.clone(), opt_bin.join(link)));
    }
    for (name, real) in real_of {
        found.links.push((opt_bin.join(&name), setting.link(&name, real.as_deref(), &opt_bin)?));
    }
    Ok(found)
}

/// The runtime that a handler names by its path; where that is a script of ours already, the one that it was told.
fn named(handler: &Handler, opt_bin: &Path) -> Option<PathBuf> {
    let binary = handler.binary.as_ref().filter(|binary| binary.is_absolute())?;
    if !binary.starts_with(opt_bin) {
        return Some(binary.clone());
    }
    hook_program::told(binary, RUNTIME_VARIABLE)
}

fn other_shim(handler: &Handler) -> String {
    let shim = handler.shim_path.as_ref().map_or_else(|| handler.shim.clone(), |path| path.display().to_string());
    format!(
        "CRI's handler `{}` starts `{shim}`, which calls no OCI runtime: nobody is asked before its containers run",
        handler.name
    )
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Whether both are the same file in the end.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::effective::{CRI_RUNTIME, RUNC_SHIM};
    use crate::remedy::Remedy as _;

    /// A machine with these programs in its path, and with this one beside `pratique`.
    fn machine(programs: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        for name in ["pratique-runtime"].iter().chain(programs) {
            let path = dir.path().join("bin").join(name);
            fs::write(&path, *name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    fn handlers(dir: &TempDir, handlers: &[(&str, &str, &str)]) -> Effective {
        let opt = format!("[plugins.'io.containerd.internal.v1.opt']\npath = '{}/opt'\n", dir.path().display());
        let mut tables = vec![opt];
        for (name, shim, binary) in handlers {
            let binary = binary.replace("BIN", &dir.path().join("bin").display().to_string());
            let table = format!("plugins.'{CRI_RUNTIME}'.containerd.runtimes.{name}");
            tables.push(format!("[{table}]\nruntime_type = '{shim}'\n[{table}.options]\nBinaryName = '{binary}'\n"));
        }
        Effective::new(tables.concat().parse().unwrap())
    }

    fn found(dir: &TempDir, socket: Option<&Path>, effective: &Effective) -> Result<Runtimes, InstallError> {
        let program = dir.path().join("bin/pratique-runtime");
        let setting =
            Setting { program: &program, socket, path: vec![dir.path().join("opt/bin"), dir.path().join("bin")] };
        runtimes(&setting, effective)
    }

    fn found_again(dir: &TempDir, effective: &Effective) -> String {
        let again = found(dir, None, effective).unwrap();
        let State::File { bytes, .. } = &again.links.last().unwrap().1 else { panic!("no script") };
        String::from_utf8(bytes.clone()).unwrap()
    }

    fn names(dir: &TempDir, runtimes: &Runtimes) -> Vec<String> {
        let opt = dir.path().join("opt/bin");
        runtimes.links.iter().map(|(path, _)| path.strip_prefix(&opt).unwrap().display().to_string()).collect()
    }

    #[test]
    fn every_runtime_of_the_shim_has_a_link_and_its_handler_is_led_there() {
        let dir = machine(&["runc", "crun"]);
        let effective = handlers(
            &dir,
            &[("runc", RUNC_SHIM, ""), ("fast", RUNC_SHIM, "crun"), ("kata", "io.containerd.kata.v2", "")],
        );
        let found = found(&dir, None, &effective).unwrap();
        assert_eq!(names(&dir, &found), ["crun", "runc"]);
        let opt = dir.path().join("opt/bin");
        assert_eq!(found.handlers, [("runc".into(), opt.join("runc")), ("fast".into(), opt.join("crun"))]);
        assert!(found.notes.len() == 1 && found.notes[0].contains("`kata`"), "{:?}", found.notes);
        // Each finds its runtime by its own name: nothing has to be told.
        assert!(
            found
                .links
                .iter()
                .all(|(_, state)| *state == State::File { bytes: b"pratique-runtime".into(), mode: 0o755 })
        );
    }

    #[test]
    fn a_runtime_outside_of_the_path_is_told_to_its_link() {
        let dir = machine(&["runc"]);
        fs::create_dir(dir.path().join("srv")).unwrap();
        fs::copy(dir.path().join("bin/runc"), dir.path().join("srv/runc")).unwrap();
        let other = dir.path().join("srv/runc").display().to_string();
        let effective = handlers(&dir, &[("runc", RUNC_SHIM, "BIN/runc"), ("other", RUNC_SHIM, &other)]);
        let found = found(&dir, None, &effective).unwrap();
        assert_eq!(names(&dir, &found), ["runc", "runc.other"]);
        let State::File { bytes, .. } = &found.links[1].1 else { panic!("no script") };
        let script = String::from_utf8(bytes.clone()).unwrap();
        assert!(script.contains(&format!("PRATIQUE_RUNTIME='{other}' exec ")), "{script}");
        // Once the handler calls our script, that alone knows.
        let link = dir.path().join("opt/bin/runc.other");
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        fs::write(&link, &script).unwrap();
        let again = handlers(&dir, &[("runc", RUNC_SHIM, "BIN/runc"), ("other", RUNC_SHIM, link.to_str().unwrap())]);
        assert_eq!(found_again(&dir, &again), script);
    }

    #[test]
    fn another_socket_makes_a_script_which_needs_a_runtime() {
        let socket = Some(Path::new("/run/other/hook.sock"));
        let dir = machine(&["runc"]);
        let effective = handlers(&dir, &[("runc", RUNC_SHIM, "")]);
        let script = found(&dir, socket, &effective).unwrap().links.remove(0).1;
        let State::File { bytes, .. } = script else { panic!("no script") };
        let runc = dir.path().join("bin/runc");
        let expected = format!("PRATIQUE_SOCKET='/run/other/hook.sock' PRATIQUE_RUNTIME='{}' exec ", runc.display());
        assert!(String::from_utf8(bytes).unwrap().contains(&expected));
        let without = machine(&[]);
        let error = found(&without, socket, &handlers(&without, &[])).unwrap_err();
        assert_eq!(error.code().as_str(), "install-runtime-missing");
        assert!(found(&without, None, &handlers(&without, &[])).is_ok(), "a link waits for its runtime");
    }

    #[test]
    fn a_handler_whose_runtime_is_missing_is_left_alone() {
        let dir = machine(&["runc"]);
        let effective =
            handlers(&dir, &[("runc", RUNC_SHIM, ""), ("gpu", RUNC_SHIM, "/none/nvidia-container-runtime")]);
        let found = found(&dir, None, &effective).unwrap();
        assert_eq!((found.handlers.len(), names(&dir, &found)), (1, vec!["runc".to_owned()]));
        assert!(found.notes[0].contains("`nvidia-container-runtime`, which is not there"), "{:?}", found.notes);
    }
}
