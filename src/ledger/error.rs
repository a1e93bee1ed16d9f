//! Why the ledger could not be opened, read or written.

use std::io;
use std::path::{Path, PathBuf};

use crate::remedy::{Code, Remedy};

/// Why the ledger could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The directory cannot be made.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another daemon has it open.
    #[error("the ledger {} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be used.
    #[error("cannot {what} the ledger {}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was to be done with it.
        what: &'static str,
        /// What the storage says.
        source: Box<redb::Error>,
    },
}

impl LedgerError {
    pub(super) fn of(path: &Path, what: &'static str, source: redb::Error) -> Self {
        let path = path.to_owned();
        match source {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path },
            source => Self::Unusable { path, what, source: Box::new(source) },
        }
    }
}

impl Remedy for LedgerError {
    fn code(&self) -> Code {
        match self {
            Self::Directory { .. } => Code("ledger-directory"),
            Self::InUse { .. } => Code("ledger-in-use"),
            Self::Unusable { .. } => Code("ledger-unusable"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Directory { .. } => "run the daemon as root, or name another `state_dir` in config.toml".into(),
            Self::InUse { .. } => "see whether another pratiqued runs: `systemctl status pratiqued`".into(),
            Self::Unusable { path, .. } => format!(
                "see whether the disk is full or failing; where the file is damaged, move {} away, start the daemon and \
                 run `pratique enroll --all`",
                path.display()
            ),
        })
    }
}
