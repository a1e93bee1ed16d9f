//! Which program is the real runtime.
//!
//! The one that is named in the environment; else the first of our own name in the search path that is not ourselves.
//! containerd puts its own directory of programs in front of that path, which is how this program comes to be called.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::remedy::{Code, Remedy};
use crate::rootfs::Identity;

/// Names the real runtime, by its path or by a name in the search path.
const RUNTIME_VARIABLE: &str = "PRATIQUE_RUNTIME";
/// Our own name, which is no runtime's.
const OWN_NAME: &str = "pratique-runtime";
/// The runtime that is meant when nothing says which.
const DEFAULT: &str = "runc";
/// Where programs are looked for when the environment does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the real runtime was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// There is none.
    #[error("there is no OCI runtime `{}` besides pratique-runtime", name.display())]
    Missing {
        /// Its name or path.
        name: PathBuf,
    },
    /// It is there and cannot be started.
    #[error("the OCI runtime {} cannot be started", runtime.display())]
    Exec {
        /// The program.
        runtime: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Remedy for RuntimeError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code("runtime-missing"),
            Self::Exec { .. } => Code("runtime-failed"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Missing { name } => Some(format!(
                "install `{}` in the search path of containerd, or name it in `{RUNTIME_VARIABLE}`",
                name.display()
            )),
            Self::Exec { .. } => None,
        }
    }
}

/// The real runtime, for a program that was called by this name.
pub(super) fn find(called: &Path) -> Result<PathBuf, RuntimeError> {
    let named = env::var_os(RUNTIME_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
    let directories: Vec<PathBuf> = env::split_paths(&path).collect();
    let own = env::current_exe().ok().and_then(|own| identity(&own));
    find_among(called, named, &directories, own)
}

fn find_among(
    called: &Path,
    named: Option<PathBuf>,
    directories: &[PathBuf],
    own: Option<Identity>,
) -> Result<PathBuf, RuntimeError> {
    let is_other = |path: &PathBuf| is_program(path) && identity(path) != own;
    let name = named.unwrap_or_else(|| match called.file_name() {
        Some(name) if name != OWN_NAME => name.into(),
        _ => DEFAULT.into(),
    });
    let candidates = if name.is_absolute() {
        vec![name.clone()]
    } else {
        directories.iter().map(|directory| directory.join(&name)).collect()
    };
    candidates.into_iter().find(is_other).ok_or(RuntimeError::Missing { name })
}

/// Which file it is, also where a link leads to it.
fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::metadata(path).ok()?;
    Some(Identity { device: metadata.dev(), inode: metadata.ino() })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of programs: each a name, and whether it can be run.
    fn programs(names: &[(&str, u32)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in names {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(*mode)).unwrap();
        }
        dir
    }

    #[test]
    fn the_next_program_of_our_name_that_is_not_ourselves_is_the_runtime() {
        let (first, plain, real) =
            (programs(&[("ours", 0o755)]), programs(&[("runc", 0o644)]), programs(&[("runc", 0o755), ("crun", 0o755)]));
        let ours = first.path().join("ours");
        std::os::unix::fs::symlink(&ours, first.path().join("runc")).unwrap();
        let directories = [first.path().to_owned(), plain.path().to_owned(), real.path().to_owned()];
        let find = |called: &str, named: Option<&Path>| {
            find_among(Path::new(called), named.map(Path::to_owned), &directories, identity(&ours)).ok()
        };
        let runc = Some(real.path().join("runc"));
        for called in ["runc", "/opt/containerd/bin/runc", "/usr/bin/pratique-runtime", ""] {
            assert_eq!(find(called, None), runc, "{called}");
        }
        let crun = real.path().join("crun");
        assert_eq!(find("crun", None).as_ref(), Some(&crun));
        assert_eq!(find("runc", Some(Path::new("crun"))).as_ref(), Some(&crun));
        assert_eq!(find("runc", Some(&crun)).as_ref(), Some(&crun));
        assert_eq!(find("runc", Some(&ours)), None, "never ourselves again");
        assert_eq!(find("youki", None), None);
    }
}
