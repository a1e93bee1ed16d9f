//! Why the hosts of a registry are not known.

use std::path::PathBuf;

use crate::remedy::{Code, Remedy};

/// Why the configuration of a registry's hosts cannot be used. Nobody is asked then, for it could be the wrong one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostsFault {
    /// A file or a directory cannot be read.
    #[error("cannot read {}: {fault}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What stands in the way.
        fault: String,
    },
    /// A file does not say what it should.
    #[error("{}: {fault}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key where there is one.
        fault: String,
    },
    /// No host is there for it.
    #[error("none of the hosts that are configured for {registry} may be asked to {capability}")]
    NoHost {
        /// The registry, as references name it.
        registry: String,
        /// What was to be done.
        capability: &'static str,
    },
}

impl Remedy for HostsFault {
    fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code("hosts-unreadable"),
            Self::Invalid { .. } => Code("hosts-invalid"),
            Self::NoHost { .. } => Code("hosts-not-capable"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { path, .. } => format!(
                "make {} readable, or name other directories: `--hosts-dir`, or `registry.config_path` of pratiqued",
                path.display()
            ),
            Self::Invalid { path, .. } => {
                format!("mend {}; containerd's docs/hosts.md has its form", path.display())
            }
            Self::NoHost { registry, capability } => {
                format!("give a host `{capability}` among its `capabilities` in the hosts.toml of {registry}")
            }
        })
    }
}
