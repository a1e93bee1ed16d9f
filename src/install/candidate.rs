//! A configuration that containerd is shown before it is put in place, and what containerd makes of it.
//!
//! It never lies on the disk: each text is a file in memory, which containerd opens through `/proc`. So there is nothing
//! that a killed installation could leave behind, and nothing with somebody's credentials in it to be found.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use super::InstallError;
use super::containerd::with_imports;

use crate::effective::{Effective, Version};
use crate::remedy::cut;

/// How long containerd may take to print something: a hundred times what it takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest output that is read, in bytes. The dump of every default has 20 KiB.
const MAX_OUTPUT: u64 = 4 * 1024 * 1024;
/// How much of its complaint is shown, in characters: a line of its log and the error after it.
const MAX_WORDS: usize = 400;

/// A main file with its imports, some of which exist as texts alone.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) main: PathBuf,
    pub(super) text: String,
    pub(super) imports: Vec<Import>,
}

/// One import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Import {
    /// A file that is there, or a pattern.
    File(PathBuf),
    /// What this file is going to say.
    Text { path: PathBuf, text: String },
}

/// How a file is shown to containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// As it lies there.
    AsItLies,
    /// As if it said this.
    As(String),
    /// As if it were not there.
    NotAtAll,
}

/// Somebody who knows what a configuration comes to.
pub(super) trait Reader {
    /// The version of containerd.
    fn version(&self) -> Result<Version, InstallError>;

    /// What it makes of a configuration, before or after our changes.
    fn effective(&self, candidate: &Candidate) -> Result<Effective, InstallError>;
}

/// containerd's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(PathBuf);

impl Program {
    /// A name is looked for in the path, as a shell does.
    pub fn new(program: PathBuf) -> Self {
        Self(program)
    }

    /// Its version, as it prints it.
    pub fn version(&self) -> Result<Version, InstallError> {
        let printed = self.run(Command::new(&self.0).arg("--version"))?;
        Version::of(&printed).ok_or_else(|| self.unusable(&printed))
    }

    /// What the configuration that lies there comes to.
    pub fn in_force(&self, main: &Path) -> Result<Effective, InstallError> {
        self.dump(main)
    }

    fn dump(&self, main: &Path) -> Result<Effective, InstallError> {
        let printed = self.run(Command::new(&self.0).arg("--config").arg(main).args(["config", "dump"]))?;
        printed.parse().map(Effective::new).map_err(|_| self.unusable(&printed))
    }

    fn unusable(&self, printed: &str) -> InstallError {
        InstallError::ContainerdRefuses { program: self.0.clone(), said: cut(printed, MAX_WORDS) }
    }

    fn run(&self, command: &mut Command) -> Result<String, InstallError> {
        let missing = |source| InstallError::NoContainerd { program: self.0.clone(), source };
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let (succeeded, printed, said) = finish(child.map_err(missing)?).map_err(missing)?;
        if succeeded { Ok(printed) } else { Err(self.unusable(last_line(&said))) }
    }
}

impl Reader for Program {
    fn version(&self) -> Result<Version, InstallError> {
        Self::version(self)
    }

    fn effective(&self, candidate: &Candidate) -> Result<Effective, InstallError> {
        let in_memory =
            |text: &str| in_memory(text).map_err(|source| InstallError::Write { path: "memory".into(), source });
        let mut files = Vec::new();
        let mut imports = Vec::new();
        for import in &candidate.imports {
            imports.push(match import {
                Import::File(path) => path.display().to_string(),
                Import::Text { text, .. } => {
                    let file = in_memory(text)?;
                    let path = path_of(&file);
                    files.push(file);
                    path
                }
            });
        }
        let main = in_memory(&with_imports(&candidate.main, &candidate.text, &imports)?)?;
        self.dump(Path::new(&path_of(&main)))
    }
}

fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("containerd.toml", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

/// Whether it succeeded, and what it wrote. Killed when the time is up.
fn finish(mut child: Child) -> io::Result<(bool, String, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (done, finished) = mpsc::channel();
    let said = thread::Builder::new().spawn(move || read(stderr))?;
    thread::Builder::new().spawn(move || done.send(read(stdout)))?;
    let printed = match finished.recv_timeout(PATIENCE) {
        Ok(printed) => printed,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
    };
    let status = child.wait()?;
    Ok((status.success(), printed, said.join().unwrap_or_default()))
}

fn read(stream: Option<impl io::Read>) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is missing, and then the output is not what it must be.
    let _ = stream.map(|stream| stream.take(MAX_OUTPUT).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::remedy::Remedy as _;

    fn program(dir: &Path, script: &str) -> Program {
        let path = dir.join("containerd");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Program::new(path)
    }

    #[test]
    fn containerd_is_shown_texts_that_lie_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        // Prints the file that it imports.
        let program = program(dir.path(), r#"cat "$(sed -n 's/.*imports = \["\(.*\)"\].*/\1/p' "$2")""#);
        let imports = vec![Import::Text { path: "/x.toml".into(), text: "root = '/shown'".into() }];
        let candidate = Candidate { main: "/c.toml".into(), text: "version = 3\n".into(), imports };
        let effective = program.effective(&candidate).unwrap();
        assert_eq!(effective.table()["root"].as_str(), Some("/shown"));
    }

    #[test]
    fn what_containerd_refuses_is_told_in_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let error = |script: &str| program(dir.path(), script).in_force(Path::new("/c.toml")).unwrap_err();
        let refused = error("echo 'level=error' >&2; echo 'containerd: no such key' >&2; exit 1");
        assert!(refused.to_string().ends_with("containerd: no such key"), "{refused}");
        assert_eq!(refused.code().as_str(), "containerd-config-refused");
        assert_eq!(error("echo '= no toml ='").code().as_str(), "containerd-config-refused");
        let missing = Program::new(dir.path().join("none")).version().unwrap_err();
        assert_eq!(missing.code().as_str(), "containerd-program-missing");
    }
}
