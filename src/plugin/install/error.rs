//! Why a plugin was not installed, or not taken away.

use std::io;
use std::path::PathBuf;

use super::MAX_SOURCE;
use crate::oci::Digest;
use crate::plugin::PluginError;
use crate::remedy::{Code, Remedy};

/// Why a plugin was not installed, or not taken away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The plugin itself.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// What is to be installed cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither a file nor a directory.
    #[error("{} is neither a file nor a directory", .0.display())]
    Source(PathBuf),
    /// More than is installed.
    #[error("the plugin has {MAX_SOURCE} bytes or more")]
    TooLarge,
    /// An archive with more in it than a plugin has.
    #[error("the archive has more than {0} entries")]
    TooManyEntries(usize),
    /// An archive that cannot be read.
    #[error("the archive {} cannot be read", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An entry that would be written elsewhere.
    #[error("the archive has an entry `{0}`, which leads out of it")]
    Escape(String),
    /// An entry that is no file, or one of two with a name.
    #[error("the archive has an entry `{name}`, which is {fault}")]
    Entry {
        /// Its name.
        name: String,
        /// What it is.
        fault: &'static str,
    },
    /// No program.
    #[error("there is no executable file `notation-NAME` in {}", .0.display())]
    NoProgram(PathBuf),
    /// More than one program.
    #[error("there is more than one executable file `notation-NAME` in {}", .0.display())]
    Programs(PathBuf),
    /// The file is not the one that was meant.
    #[error("the SHA-256 of {} is {found}, not {wanted}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: Digest,
        /// What it should be.
        wanted: Digest,
    },
    /// Not a SHA-256.
    #[error("`{0}` is not a SHA-256 in hexadecimal digits")]
    ChecksumForm(String),
    /// The version is there already.
    #[error("the plugin `{plugin}` is there already, in version {installed}")]
    SameVersion {
        /// The plugin.
        plugin: String,
        /// Its version.
        installed: String,
    },
    /// A later version is there.
    #[error("the plugin `{plugin}` is there in version {installed}, and {offered} is older")]
    Downgrade {
        /// The plugin.
        plugin: String,
        /// The version that is there.
        installed: String,
        /// The version that is offered.
        offered: String,
    },
    /// A version that cannot be compared.
    #[error("the version `{version}` of the plugin `{plugin}` is not a semantic version")]
    Version {
        /// The plugin.
        plugin: String,
        /// The version.
        version: String,
    },
    /// The directory cannot be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// What cannot be written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a URL that plugins are fetched from.
    #[error("`{0}` is not an https URL")]
    Url(String),
    /// The server does not give it.
    #[error("cannot fetch {url}: {fault}")]
    Fetch {
        /// Where from.
        url: String,
        /// Why not.
        fault: String,
    },
}

impl Remedy for InstallError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Plugin(error) => return error.code(),
            Self::Unreadable { .. } => "plugin-source-unreadable",
            Self::Source(_) => "plugin-source-kind",
            Self::TooLarge => "plugin-source-too-large",
            Self::TooManyEntries(_) => "plugin-archive-entries",
            Self::Archive { .. } => "plugin-archive-unreadable",
            Self::Escape(_) => "plugin-archive-escape",
            Self::Entry { .. } => "plugin-archive-entry",
            Self::NoProgram(_) => "plugin-program-missing",
            Self::Programs(_) => "plugin-programs",
            Self::Checksum { .. } => "plugin-checksum-mismatch",
            Self::ChecksumForm(_) => "plugin-checksum-form",
            Self::SameVersion { .. } => "plugin-same-version",
            Self::Downgrade { .. } => "plugin-downgrade",
            Self::Version { .. } => "plugin-version-invalid",
            Self::Unwritable { .. } => "plugin-folder-unwritable",
            Self::Url(_) => "plugin-url",
            Self::Fetch { .. } => "plugin-not-fetched",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Plugin(error) => return error.remedy(),
            Self::Unreadable { .. } | Self::Source(_) => {
                "name the plugin's program, a directory with it, or a zip or tar.gz archive".into()
            }
            Self::TooLarge | Self::TooManyEntries(_) => "install it by hand, if it is as large as that".into(),
            Self::Archive { .. } | Self::Checksum { .. } => "fetch it again from its publisher".into(),
            Self::Escape(_) | Self::Entry { .. } | Self::NoProgram(_) | Self::Programs(_) => {
                "ask its publisher for an archive of one program and its files".into()
            }
            Self::ChecksumForm(_) => "give the 64 digits that the publisher names".into(),
            Self::SameVersion { .. } | Self::Downgrade { .. } | Self::Version { .. } => {
                "give `--force` to install it all the same".into()
            }
            Self::Unwritable { .. } => "see whether the directory can be written".into(),
            Self::Url(_) => "give an https URL, or fetch the file and install that".into(),
            Self::Fetch { .. } => "see whether the server answers from this machine".into(),
        })
    }
}
