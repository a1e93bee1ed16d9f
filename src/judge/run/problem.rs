//! Why a container is not started, besides what its image's verdict says.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::LedgerError;
use crate::oci::{Digest, InvalidManifest};
use crate::remedy::{Code, Remedy};
use crate::rootfs::RootfsError;
use crate::source::SourceError;
use crate::verify::{Answer, Verdict};

/// Why a container is not started, besides what its image's verdict says.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("containerd has no such container in the namespace that its bundle lies in{}", asked(.asked_by))]
    UnknownContainer { asked_by: String },
    #[error("the container names no image, so nobody vouches for what it is made of")]
    NoImage,
    #[error("the container's image `{name}` has no record in containerd any more")]
    NoImageRecord { name: String },
    #[error("the image's name demands {named}, and it points to another one")]
    OtherDigest { named: Digest },
    #[error("the image came from no registry, and nothing says which statement of the trust policy governs it")]
    NoStatement,
    #[error("the container has no snapshot `{key}`")]
    NoSnapshot { key: String },
    #[error("the image's manifest {manifest} cannot be read")]
    Manifest { manifest: Digest, source: InvalidManifest },
    #[error("{digest} of the image is not in containerd's content store any more")]
    NoContent { digest: Digest },
    #[error("what docker has put on the image's layers cannot be looked at with this snapshotter")]
    InitLayerHidden,
    #[error("an image is mounted at {at}, and `run.image_volumes` denies that")]
    VolumesDenied { at: String },
    #[error("nobody knows which image is mounted at {at}")]
    VolumeUnknown { at: String },
    #[error("the image that is mounted at {at} is not admitted: {}", verdict.headline())]
    Volume { at: String, verdict: Arc<Verdict> },
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    #[error("what was unpacked where cannot be looked up")]
    Ledger(#[from] LedgerError),
    #[error("the container cannot be looked up")]
    Source(#[from] SourceError),
    #[error("the container could not be looked up within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

impl Problem {
    /// Whether this says something about the container, or only that nobody could find out.
    pub(in crate::judge) fn answer(&self) -> Answer {
        match self {
            Self::Volume { verdict, .. } => verdict.answer(),
            Self::Manifest { .. }
            | Self::NoContent { .. }
            | Self::InitLayerHidden
            | Self::Ledger(_)
            | Self::Source(_)
            | Self::TimedOut(_)
            | Self::Rootfs(RootfsError::UnsupportedSnapshotter { .. }) => Answer::Inconclusive,
            Self::UnknownContainer { .. }
            | Self::NoImage
            | Self::NoImageRecord { .. }
            | Self::NoStatement
            | Self::OtherDigest { .. }
            | Self::NoSnapshot { .. }
            | Self::VolumesDenied { .. }
            | Self::VolumeUnknown { .. }
            | Self::Rootfs(_) => Answer::Deny,
        }
    }
}

fn asked(by: &str) -> String {
    if by.is_empty() { String::new() } else { format!("; the containerd at {} asks", by.trim()) }
}

impl Remedy for Problem {
    fn code(&self) -> Code {
        match self {
            Self::UnknownContainer { .. } => Code("container-unknown"),
            Self::NoImage => Code("container-without-image"),
            Self::NoImageRecord { .. } => Code("image-record-missing"),
            Self::OtherDigest { .. } => Code("digest-mismatch"),
            Self::NoStatement => Code("no-local-statement"),
            Self::NoSnapshot { .. } => Code("snapshot-missing"),
            Self::Manifest { source, .. } => source.code(),
            Self::NoContent { .. } => Code("image-content-missing"),
            Self::InitLayerHidden => Code("snapshotter-unsupported"),
            Self::VolumesDenied { .. } => Code("image-volume-denied"),
            Self::VolumeUnknown { .. } => Code("image-volume-unknown"),
            Self::Volume { .. } => Code("image-volume-not-admitted"),
            Self::Rootfs(error) => error.code(),
            Self::Ledger(error) => error.code(),
            Self::Source(error) => error.code(),
            Self::TimedOut(_) => Code("timed-out"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::UnknownContainer { .. } => {
                "start it through the containerd that `containerd.socket` in config.toml names; \
                 another one, such as docker's own, has to have its own directory of programs, without pratique in the \
                 place of its runtime"
                    .into()
            }
            Self::NoImage => "start it from an image, or set `run.without_image = \"allow\"` in config.toml".into(),
            Self::NoImageRecord { .. } | Self::NoSnapshot { .. } => {
                "pull the image and create the container again".into()
            }
            Self::OtherDigest { .. } => "see who gave it that name; remove the name and pull the image".into(),
            Self::NoStatement => {
                "pull the image by its name, or set `local_images.scope` in config.toml and sign the image".into()
            }
            Self::NoContent { .. } => "pull the image again".into(),
            Self::InitLayerHidden => "run docker with the snapshotter overlayfs".into(),
            Self::VolumesDenied { .. } => "set `run.image_volumes = \"verify\"` in config.toml".into(),
            Self::VolumeUnknown { .. } => "have the kubelet mount the image".into(),
            Self::Volume { verdict, .. } => return verdict.remedy.clone(),
            Self::Manifest { .. } => {
                "have the image built anew by a tool that writes it as the specification has it".into()
            }
            Self::Rootfs(error) => return error.remedy(),
            Self::Ledger(error) => return error.remedy(),
            Self::Source(error) => return error.remedy(),
            Self::TimedOut(_) => "see what keeps containerd busy, then try again".into(),
        })
    }
}
