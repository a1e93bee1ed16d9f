//! Why the daemon does not run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{LoadError, NodeConfigError, NotationFileError};
use crate::ledger::LedgerError;
use crate::policy::StoreProblem;
use crate::remedy::{Code, Remedy};
use crate::source::SourceError;

/// Why the daemon does not run. It starts with everything in order or not at all: containerd's hooks refuse every image
/// while nobody answers, which is what half a policy must do too.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The node's configuration.
    #[error("the configuration cannot be put into force")]
    Config(#[from] NodeConfigError),
    /// notation's own configuration beside the trust policy.
    #[error("notation's configuration cannot be put into force")]
    Notation(#[from] NotationFileError),
    /// The trust policy.
    #[error("the trust policy cannot be put into force")]
    Policy(#[from] LoadError),
    /// A trust store that the policy names.
    #[error("a trust store that the trust policy {origin} names cannot be put into force")]
    TrustStore {
        /// The policy's file.
        origin: String,
        /// What is wrong with the store.
        source: StoreProblem,
    },
    /// containerd cannot even be named.
    #[error("containerd cannot be asked")]
    Containerd(#[from] SourceError),
    /// What must not be forgotten.
    #[error("the ledger cannot be used")]
    Ledger(#[from] LedgerError),
    /// The directory of the sockets.
    #[error("cannot make the directory {} for the sockets", path.display())]
    SocketDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody answers on the socket already.
    #[error("another process listens on {}", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket lies where the socket is to be.
    #[error("{} is there and is not a socket", path.display())]
    NotASocket {
        /// The socket's place.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The metrics cannot be served at their address.
    #[error("cannot listen on {address} for the metrics")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The log cannot be written as configured.
    #[error("the log cannot be set up: {0}")]
    Log(String),
    /// The system refuses something without which nothing goes.
    #[error("cannot {what}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A part of the running daemon ended that must not.
    #[error("the part of the daemon that serves {0} has failed")]
    PartFailed(&'static str),
}

impl Remedy for StartError {
    fn code(&self) -> Code {
        match self {
            Self::Config(error) => error.code(),
            Self::Notation(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::TrustStore { source, .. } => source.code(),
            Self::Containerd(error) => error.code(),
            Self::Ledger(error) => error.code(),
            Self::SocketDirectory { .. } => Code("socket-directory"),
            Self::SocketInUse { .. } => Code("socket-in-use"),
            Self::NotASocket { .. } => Code("socket-occupied"),
            Self::Socket { .. } => Code("socket-failed"),
            Self::Metrics { .. } => Code("metrics-address"),
            Self::Log(_) => Code("log-failed"),
            Self::System { .. } => Code("system"),
            Self::PartFailed(_) => Code("internal-error"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.remedy(),
            Self::Notation(error) => error.remedy(),
            Self::Policy(error) => error.remedy(),
            Self::TrustStore { source, .. } => source.remedy(),
            Self::Containerd(error) => error.remedy(),
            Self::Ledger(error) => error.remedy(),
            Self::SocketInUse { .. } => Some(
                "is pratiqued running already? see `systemctl status pratiqued`, or name another `sockets.dir`".into(),
            ),
            Self::NotASocket { .. } => Some("move it away, or name another `sockets.dir`".into()),
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                Some("name a shorter `sockets.dir`: the path of a socket has at most 107 bytes".into())
            }
            Self::SocketDirectory { .. } | Self::Socket { .. } => {
                Some("run pratiqued as root, or name a `sockets.dir` that it may write to".into())
            }
            Self::Metrics { .. } => Some("name another `metrics.listen`, or none".into()),
            Self::Log(_) => Some("mend `log.filter` in the configuration".into()),
            Self::System { .. } => None,
            Self::PartFailed(_) => Some("this is a mistake in pratique: report it with the daemon's log".into()),
        }
    }
}
