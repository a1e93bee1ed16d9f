//! Why something is not enrolled, besides what its image's verdict says.

use std::path::PathBuf;
use std::time::Duration;

use crate::judge::run;
use crate::ledger::LedgerError;
use crate::oci::Digest;
use crate::remedy::{Code, Remedy};
use crate::rootfs::{Difference, RootfsError};
use crate::source::SourceError;
use crate::source::tree::TreeError;
use crate::verify::Answer;

/// Why something is not enrolled, besides what its image's verdict says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// Another enrollment is going on.
    #[error("another enrollment is going on")]
    Busy,
    /// containerd has no such namespace.
    #[error("containerd has no namespace `{name}`")]
    NoNamespace {
        /// Its name.
        name: String,
    },
    /// containerd has no such snapshotter.
    #[error("containerd has no snapshotter `{name}`")]
    NoSnapshotter {
        /// Its name.
        name: String,
    },
    /// No image record has this name.
    #[error("containerd has no image of this name in the namespaces that were looked into")]
    NoImage,
    /// The directory is not what the layer makes.
    #[error("{} does not hold what the layer {layer} makes: {difference}", directory.display())]
    Differs {
        /// The directory.
        directory: PathBuf,
        /// The layer.
        layer: Digest,
        /// The first difference.
        difference: Difference,
    },
    /// The blob is not what it is said to be.
    #[error("what containerd's content store holds as the layer {layer} is not what the image's config lists")]
    Altered {
        /// The layer.
        layer: Digest,
    },
    /// There is nothing to compare with.
    #[error("the layer {layer} is not in containerd's content store any more, so {} cannot be re-hashed", directory.display())]
    NoBlob {
        /// The layer.
        layer: Digest,
        /// The directory that should hold it.
        directory: PathBuf,
    },
    /// containerd does not tell what it has unpacked.
    #[error("containerd does not tell the digest of what it has unpacked from the layer {layer}")]
    Untold {
        /// The layer.
        layer: Digest,
    },
    /// The directories could not be compared.
    #[error("{} cannot be compared with the layer {layer}", directory.display())]
    Tree {
        /// The directory.
        directory: PathBuf,
        /// The layer.
        layer: Digest,
        /// Why not.
        source: TreeError,
    },
    /// The time is up.
    #[error("the layer {layer} could not be unpacked and compared within {} s", limit.as_secs())]
    TimedOut {
        /// The layer.
        layer: Digest,
        /// How long it was given.
        limit: Duration,
    },
    /// Whoever asked has gone, or the daemon ends.
    #[error("it was broken off")]
    Stopped,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomNumbers,
    /// What stands in the way of a start, too.
    #[error(transparent)]
    Run(#[from] run::Problem),
}

impl From<RootfsError> for EnrollError {
    fn from(error: RootfsError) -> Self {
        Self::Run(error.into())
    }
}

impl From<LedgerError> for EnrollError {
    fn from(error: LedgerError) -> Self {
        Self::Run(error.into())
    }
}

impl From<SourceError> for EnrollError {
    fn from(error: SourceError) -> Self {
        Self::Run(error.into())
    }
}

impl EnrollError {
    /// Whether this says something about the image or its directories, or only that nobody could find out.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Differs { .. } | Self::Altered { .. } => Answer::Deny,
            Self::Run(problem) => problem.answer(),
            _ => Answer::Inconclusive,
        }
    }
}

impl Remedy for EnrollError {
    fn code(&self) -> Code {
        match self {
            Self::Busy => Code("enroll-busy"),
            Self::NoNamespace { .. } => Code("namespace-unknown"),
            Self::NoSnapshotter { .. } => Code("snapshotter-unknown"),
            Self::NoImage => Code("image-unknown"),
            Self::Differs { .. } => Code("layer-differs"),
            Self::Altered { .. } => Code("layer-altered"),
            Self::NoBlob { .. } => Code("layer-missing"),
            Self::Untold { .. } => Code("layer-untold"),
            Self::Tree { source, .. } => source.code(),
            Self::TimedOut { .. } => Code("layer-timed-out"),
            Self::Stopped => Code("enroll-stopped"),
            Self::NoRandomNumbers => Code("no-random-numbers"),
            Self::Run(problem) => problem.code(),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Busy => "wait for its end, then run it again".into(),
            Self::NoNamespace { .. } => "see `ctr namespaces ls` for those that it has".into(),
            Self::NoSnapshotter { .. } => "see `ctr plugins ls` for those that it has".into(),
            Self::NoImage => "see `ctr --namespace NAMESPACE images ls` for those that it has".into(),
            Self::Differs { .. } => {
                "see who has written there; then remove the image with its snapshots and pull it again".into()
            }
            Self::Altered { .. } => "remove the image with its content and its snapshots, and pull it again".into(),
            Self::NoBlob { .. } => {
                "remove the image with its snapshots and pull it again; or, if you vouch for the directory yourself, \
                 `--unverified`"
                    .into()
            }
            Self::Untold { .. } => "see which differ containerd is configured with".into(),
            Self::Tree { source, .. } => return source.remedy(),
            Self::TimedOut { .. } => "see what keeps the disk busy, then run it again".into(),
            Self::Stopped => "run it again: it goes on where it was broken off".into(),
            Self::NoRandomNumbers => return None,
            Self::Run(problem) => return problem.remedy(),
        })
    }
}
