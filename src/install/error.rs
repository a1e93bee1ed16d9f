//! Why nothing was installed, or not everything taken back.

use std::io;
use std::path::PathBuf;

use crate::effective::Version;
use crate::remedy::{Code, Remedy};

/// Why nothing was installed, or not everything taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file, link or directory cannot be written or removed.
    #[error("cannot write {}", path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of containerd's configuration is not what containerd would read.
    #[error("{}:{line}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// containerd's configuration switches image verifiers off.
    #[error("{} switches containerd's image verifiers off with `disabled_plugins`", path.display())]
    Disabled {
        /// The file.
        path: PathBuf,
    },
    /// A file that containerd reads after ours takes back what ours says.
    #[error("{} is read after ours, and lets containerd call no verifier, or those of another directory", path.display())]
    Overridden {
        /// The file.
        path: PathBuf,
    },
    /// The verifier is not where it was looked for.
    #[error("there is no program pratique-verifier at {}", path.display())]
    NoVerifier {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The program that stands where a runtime stands is not where it was looked for.
    #[error("there is no program pratique-runtime at {}", path.display())]
    NoRuntimeHook {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is no OCI runtime to call.
    #[error("there is no OCI runtime `{name}` in the path")]
    NoRuntime {
        /// Its name.
        name: String,
    },
    /// containerd's program cannot be run.
    #[error("cannot run {}", program.display())]
    NoContainerd {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// containerd does not take its configuration, or prints what cannot be used.
    #[error("{} does not take the configuration: {said}", program.display())]
    ContainerdRefuses {
        /// The program.
        program: PathBuf,
        /// Its own words.
        said: String,
    },
    /// containerd is older than what the gates need.
    #[error("containerd {version} is older than {}", Version::OLDEST)]
    TooOld {
        /// Its version.
        version: Version,
    },
    /// The configuration is of the first version, whose names are other ones.
    #[error("{} has no `version`, so that containerd reads it as version 1", path.display())]
    FirstVersion {
        /// The file.
        path: PathBuf,
    },
    /// containerd would read the new configuration otherwise than it is meant.
    #[error("containerd would not read the new configuration as it is meant: {}", differences.join("; "))]
    NotAsMeant {
        /// What would be otherwise, one sentence each.
        differences: Vec<String>,
    },
    /// Something else lies in the way.
    #[error("{} is there already, and is not as pratique made it", path.display())]
    Conflict {
        /// Its path.
        path: PathBuf,
    },
    /// A path that cannot stand in a text file.
    #[error("the path {} is not UTF-8, or is not absolute", path.display())]
    UnusablePath {
        /// The path.
        path: PathBuf,
    },
    /// The record of what was installed is damaged.
    #[error("the record {} cannot be understood", path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Remedy for InstallError {
    fn code(&self) -> Code {
        match self {
            Self::Read { .. } => Code("install-unreadable"),
            Self::Write { .. } => Code("install-unwritable"),
            Self::Config { .. } => Code("containerd-config-invalid"),
            Self::Disabled { .. } => Code("image-verifiers-disabled"),
            Self::Overridden { .. } => Code("image-verifiers-overridden"),
            Self::NoVerifier { .. } => Code("verifier-missing"),
            Self::NoRuntimeHook { .. } => Code("runtime-hook-missing"),
            Self::NoRuntime { .. } => Code("install-runtime-missing"),
            Self::NoContainerd { .. } => Code("containerd-program-missing"),
            Self::ContainerdRefuses { .. } => Code("containerd-config-refused"),
            Self::TooOld { .. } => Code("containerd-too-old"),
            Self::FirstVersion { .. } => Code("containerd-config-version"),
            Self::NotAsMeant { .. } => Code("install-not-as-meant"),
            Self::Conflict { .. } => Code("install-conflict"),
            Self::UnusablePath { .. } => Code("path-unusable"),
            Self::Record { .. } => Code("install-record-malformed"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Read { source, .. } | Self::Write { source, .. }
                if source.kind() != io::ErrorKind::PermissionDenied =>
            {
                return None;
            }
            Self::Read { .. } | Self::Write { .. } => "run it as root".into(),
            Self::Config { .. } | Self::ContainerdRefuses { .. } => {
                "mend it first: see what `containerd config dump` says".into()
            }
            Self::Disabled { .. } => "remove `io.containerd.image-verifier.v1.bindir` from `disabled_plugins`".into(),
            Self::Overridden { .. } => "remove `bin_dir` and `max_verifiers` from that file, or rename it".into(),
            Self::NoVerifier { .. } => "name the verifier that was installed with pratique: `--verifier FILE`".into(),
            Self::NoRuntimeHook { .. } => "name the program that was installed with pratique: `--runtime FILE`".into(),
            Self::NoRuntime { .. } => "install runc first, or put it into the path".into(),
            Self::NoContainerd { .. } => "name it: `--containerd FILE`".into(),
            Self::TooOld { .. } => "update containerd".into(),
            Self::FirstVersion { .. } => "put what `containerd config migrate` prints in its place".into(),
            Self::NotAsMeant { .. } => {
                "nothing was changed; look for another file of its configuration that says something about the same"
                    .into()
            }
            Self::Conflict { .. } => "look at what it is; move it away if it is not needed".into(),
            Self::UnusablePath { .. } => "name an absolute path of plain characters".into(),
            Self::Record { .. } => "remove it, and what it lists, by hand".into(),
        })
    }
}
