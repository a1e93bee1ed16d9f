//! The particulars of a layout's failure.

use std::io;

use crate::oci::{BlobMismatch, InvalidJson, InvalidManifest};
use crate::remedy::{Code, Remedy};
use crate::source::archive::ArchiveFault;
use crate::source::limits::{MAX_LAYOUT_DEPTH, MAX_LAYOUT_MANIFESTS};

/// Why a directory or an archive cannot be read as an OCI image layout.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutFault {
    /// A file that every layout has is not there.
    #[error("it has no file `{0}`")]
    Missing(&'static str),
    /// The file with the version is not one.
    #[error("`{file}` does not tell the version of the layout")]
    Version {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        source: InvalidJson,
    },
    /// Another version than the one that exists.
    #[error("its version is `{0}` and not 1.0.0")]
    UnknownVersion(String),
    /// An index is of bad form.
    #[error("`{file}` is no image index")]
    Index {
        /// The file, or the digest it lies under.
        file: String,
        /// What is wrong with it.
        source: InvalidManifest,
    },
    /// Something other than a file lies where a file should be.
    #[error("`{0}` is not a regular file")]
    NotAFile(String),
    /// What the operating system says.
    #[error("cannot read `{file}`")]
    Unreadable {
        /// The file, within the layout.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// What the operating system says about something that is to be written.
    #[error("cannot write `{file}`")]
    Unwritable {
        /// The file, within the layout.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// A link, which would have something written or deleted elsewhere.
    #[error("`{0}` is a link, or lies behind one: nothing is written or deleted there")]
    Linked(String),
    /// Somebody else has it, and does not let go.
    #[error("somebody else is writing to it, or deleting from it")]
    Busy,
    /// Content that is not what its name says.
    #[error("it is damaged")]
    Damaged {
        /// How it differs.
        source: BlobMismatch,
    },
    /// It lies in an archive that cannot be read as one.
    #[error("its archive cannot be used")]
    Archive {
        /// What is wrong with the archive.
        source: ArchiveFault,
    },
    /// One tag for different content.
    #[error("different manifests have the tag `{0}`")]
    AmbiguousTag(String),
    /// No name was given, and there is more than one image.
    #[error("it holds several images")]
    SeveralImages,
    /// More than [`MAX_LAYOUT_MANIFESTS`].
    #[error("it lists more than {MAX_LAYOUT_MANIFESTS} manifests")]
    TooManyManifests,
    /// Indexes within indexes, deeper than [`MAX_LAYOUT_DEPTH`].
    #[error("its indexes nest deeper than {MAX_LAYOUT_DEPTH} levels")]
    TooDeep,
}

impl Remedy for LayoutFault {
    fn code(&self) -> Code {
        Code(match self {
            Self::Missing(_) => "layout-incomplete",
            Self::Version { .. } | Self::UnknownVersion(_) => "layout-version",
            Self::Index { .. } => "layout-index-malformed",
            Self::NotAFile(_) => "layout-not-a-file",
            Self::Unreadable { .. } => "layout-unreadable",
            Self::Unwritable { .. } => "layout-unwritable",
            Self::Linked(_) => "layout-linked",
            Self::Busy => "layout-busy",
            Self::Damaged { .. } => "layout-damaged",
            Self::Archive { source } => return source.code(),
            Self::AmbiguousTag(_) => "layout-tag-ambiguous",
            Self::SeveralImages => "layout-several-images",
            Self::TooManyManifests => "layout-too-many-manifests",
            Self::TooDeep => "layout-too-deep",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Missing(_) => "name the directory that holds `oci-layout`, `index.json` and `blobs`".into(),
            Self::Version { .. } | Self::UnknownVersion(_) => "write the layout anew with a current tool".into(),
            Self::Index { .. } | Self::NotAFile(_) | Self::Damaged { .. } => {
                "copy the layout again from where it came".into()
            }
            Self::Unreadable { .. } => "make the layout readable for the user that pratique runs as".into(),
            Self::Unwritable { .. } => {
                "see whether the disk is full, and whether the directory may be written to".into()
            }
            Self::Archive { source } => return source.remedy(),
            Self::Linked(_) => "copy the image into a new layout, and work on that one".into(),
            Self::Busy => "wait until the other command has ended, and try again".into(),
            Self::AmbiguousTag(_) => "name the manifest by its digest".into(),
            Self::SeveralImages => "name the image by its tag or its digest".into(),
            Self::TooManyManifests | Self::TooDeep => "copy the image into a layout of its own".into(),
        })
    }
}
