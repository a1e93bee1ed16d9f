//! Why a server that a certificate names has not answered.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::pki::revocation::InvalidCrl;
use crate::remedy::{Code, Remedy};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Whoever asks us wants nobody to be asked.
    #[error("no {kind} server is asked here")]
    NotAsked {
        /// OCSP or CRL.
        kind: &'static str,
    },
    /// The address cannot be gone to.
    #[error("the address is no http URL with a host")]
    Url,
    /// The host is this machine, or in a network that strangers' certificates must not lead us into.
    #[error("`{host}` is at a private address, and those are not asked")]
    PrivateAddress {
        /// The host as the address has it.
        host: String,
    },
    /// A redirect leads to no http URL, or there are too many.
    #[error("it redirects to where nobody follows")]
    Redirect,
    /// The connection could not be opened, or broke.
    #[error("it cannot be reached: {fault}")]
    Unreachable {
        /// The account of the network.
        fault: String,
    },
    /// The server answers with another status than 200.
    #[error("it answers with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is longer than what is read.
    #[error("it answers with more than {limit} bytes")]
    TooLarge {
        /// How many bytes are read.
        limit: usize,
    },
    /// One question would have asked more servers than it may.
    #[error("more than {limit} servers would have to be asked")]
    TooMany {
        /// How many are asked.
        limit: usize,
    },
    /// There was no whole answer in time.
    #[error("it has not answered within {} ms", limit.as_millis())]
    TimedOut {
        /// The time that it had.
        limit: Duration,
    },
}

impl Remedy for AskError {
    fn code(&self) -> Code {
        match self {
            Self::NotAsked { .. } => Code("revocation-unchecked"),
            Self::Url => Code("revocation-url-unsupported"),
            Self::PrivateAddress { .. } => Code("revocation-address-refused"),
            Self::Redirect => Code("revocation-redirect-refused"),
            Self::Unreachable { .. } => Code("revocation-unreachable"),
            Self::Status { .. } => Code("revocation-status"),
            Self::TooLarge { .. } => Code("revocation-answer-too-large"),
            Self::TooMany { .. } => Code("revocation-too-many-servers"),
            Self::TimedOut { .. } => Code("revocation-timed-out"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::PrivateAddress { .. } => "allow private addresses, if the issuer's server is one of yours".into(),
            _ => "see whether this machine reaches its issuer's servers, or import the issuer's CRL".into(),
        })
    }
}

/// Why imported lists cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The directory, or a file in it, cannot be read.
    #[error("cannot read the imported CRLs in {}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What stands in the way.
        source: io::Error,
    },
    /// A file is no list.
    #[error("the imported CRL {} cannot be used", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: InvalidCrl,
    },
    /// More files, or more bytes, than are read.
    #[error("{} holds more CRLs than are read", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

impl Remedy for ImportError {
    fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code("crl-dir-unreadable"),
            Self::Invalid { source, .. } => source.code(),
            Self::TooMany { .. } => Code("crl-dir-too-large"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some("keep nothing but CRLs in the directory, in PEM or DER, that this user may read".into())
    }
}
