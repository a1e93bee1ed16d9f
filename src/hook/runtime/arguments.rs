//! What a runtime is called for: the little of runc's command line that matters here.
//!
//! Nothing is refused that is not understood: the real runtime knows its own flags. But where a flag is not known it is
//! not known either whether the next word is its value or the command, and then whatever might be a start is taken for
//! one.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The commands that start a container's first process, or make it ready to be.
const STARTS: [&str; 3] = ["create", "run", "restore"];
/// Flags before the command that stand alone, of runc, crun, youki and runsc.
const ALONE: [&str; 6] = ["debug", "systemd-cgroup", "help", "h", "version", "v"];
/// Flags before the command that are followed by a value.
const WITH_VALUE: [&str; 8] = ["log", "log-format", "log-level", "root", "criu", "rootless", "cgroup-manager", "l"];

/// A call of the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The file that errors are written to.
    pub log: Option<PathBuf>,
    /// Whether that file holds a JSON document on each line.
    pub json: bool,
    /// What is to be started, if anything is.
    pub start: Option<Start>,
}

/// A container that is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its identifier.
    pub id: String,
    /// The directory with its config.json.
    pub bundle: PathBuf,
}

impl Call {
    /// What these arguments ask for, without the program's own name.
    pub fn parse(arguments: &[OsString]) -> Self {
        let mut call = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            // Ends the flags; the command comes next.
            if argument == "--" {
                continue;
            }
            let Some((flag, value)) = flag(argument) else {
                let after = rest.as_slice();
                call.start = STARTS.iter().any(|start| argument == start).then(|| Start::parse(after));
                return call;
            };
            let value = match value {
                Some(value) => Some(value),
                None if WITH_VALUE.contains(&flag.as_str()) => rest.next().map(OsString::as_os_str),
                None if ALONE.contains(&flag.as_str()) => None,
                None => {
                    call.start = could_be_a_start(rest.as_slice());
                    return call;
                }
            };
            match (flag.as_str(), value) {
                ("log", Some(value)) => call.log = Some(value.into()),
                ("log-format", Some(value)) => call.json = value == "json",
                _ => {}
            }
        }
        call
    }
}

/// The first start among these words, if there is one.
fn could_be_a_start(words: &[OsString]) -> Option<Start> {
    let place = words.iter().position(|word| STARTS.iter().any(|start| word == start))?;
    Some(Start::parse(words.get(place + 1..).unwrap_or_default()))
}

impl Start {
    /// What these arguments of the command ask for: its identifier comes last.
    fn parse(arguments: &[OsString]) -> Self {
        let mut bundle = None;
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let Some((flag, value)) = flag(word) else { continue };
            if flag == "bundle" || flag == "b" {
                bundle = value.or_else(|| words.next().map(OsString::as_os_str)).map(PathBuf::from);
            }
        }
        let id = arguments.last().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default();
        // runc looks for the bundle where it was started.
        let here = || env::current_dir().unwrap_or_default();
        let bundle = bundle.map_or_else(here, |bundle| std::path::absolute(&bundle).unwrap_or(bundle));
        Self { id, bundle }
    }

    /// The containerd namespace: a shim's bundle lies in a directory of that name, and has the container's identifier as
    /// its own. Empty where it does not look like that: then containerd knows nothing of the container.
    pub fn namespace(&self) -> String {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_shims = name(&self.bundle).as_deref() == Some(&self.id);
        let namespace = is_shims.then(|| self.bundle.parent().and_then(name)).flatten();
        namespace.unwrap_or_default()
    }

    /// The container for people.
    pub fn for_people(&self) -> String {
        format!("container {}", crate::remedy::excerpt(&self.id))
    }
}

/// The name of a flag, and its value where that stands behind an equals sign. One dash or two, as Go has it.
fn flag(argument: &OsStr) -> Option<(String, Option<&OsStr>)> {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = argument.as_bytes();
    let rest = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-")).filter(|rest| !rest.is_empty())?;
    let (name, value) = match rest.iter().position(|byte| *byte == b'=') {
        Some(at) => (rest.get(..at)?, rest.get(at + 1..).map(OsStr::from_bytes)),
        None => (rest, None),
    };
    Some((String::from_utf8_lossy(name).into_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Call {
        Call::parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    fn start(id: &str, bundle: &str) -> Start {
        Start { id: id.into(), bundle: bundle.into() }
    }

    #[test]
    fn the_shims_call_is_understood() {
        let call = parse(
            "--root /run/containerd/runc/default --log /run/t/default/w1/log.json --log-format json create --bundle \
             /run/t/default/w1 --pid-file /run/t/default/w1/init.pid w1",
        );
        assert_eq!((call.log.as_deref(), call.json), (Some(Path::new("/run/t/default/w1/log.json")), true));
        assert_eq!(call.start, Some(start("w1", "/run/t/default/w1")));
        assert_eq!(call.start.unwrap().namespace(), "default");
    }

    #[test]
    fn every_way_to_start_is_seen_and_nothing_else() {
        for line in [
            "run -b /b/ns/c c",
            "--debug run --bundle=/b/ns/c --detach c",
            "--systemd-cgroup --log=/l restore --image-path /i --bundle /b/ns/c c",
            "-root /r create -bundle /b/ns/c c",
            "--root=/r --rootless true create --bundle /b/ns/c c",
            "--unknown value create --bundle /b/ns/c c",
            "--unknown create --bundle /b/ns/c c",
            "--root /r -- create --bundle /b/ns/c c",
        ] {
            assert_eq!(parse(line).start, Some(start("c", "/b/ns/c")), "{line}");
        }
        for line in ["start create", "delete --force run", "--root /r state restore", "exec -d c run", "--version", "-"]
        {
            assert_eq!(parse(line).start, None, "{line}");
        }
    }

    #[test]
    fn a_bundle_that_is_no_shims_names_no_namespace() {
        for (id, bundle) in [("c", "/b/ns/other"), ("c", "/"), ("", "/b/ns/c")] {
            assert_eq!(start(id, bundle).namespace(), "");
        }
    }
}
