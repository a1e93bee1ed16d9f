//! The particulars of an archive's failure.

use std::io;

use crate::remedy::{Code, Remedy};
use crate::source::limits::{MAX_ARCHIVE_EXTENSION, MAX_ARCHIVE_MEMBERS, MAX_UNPACKED_ARCHIVE};

/// Why a file cannot be read as an archive, or an archive as an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveFault {
    /// What the operating system says, or the unpacker.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// A directory, a socket, a device or a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// Packed with something that is not unpacked here.
    #[error("it is compressed with {0}")]
    Compression(&'static str),
    /// No tar archive, or one of which readers would make different things.
    #[error("it is no sound tar archive: {0}")]
    Malformed(&'static str),
    /// It ends before its end.
    #[error("it is cut off")]
    Truncated,
    /// More than [`MAX_UNPACKED_ARCHIVE`].
    #[error("unpacked it has more than {MAX_UNPACKED_ARCHIVE} bytes")]
    TooLarge,
    /// More than [`MAX_ARCHIVE_MEMBERS`].
    #[error("it has more than {MAX_ARCHIVE_MEMBERS} members")]
    TooManyMembers,
    /// More than [`MAX_ARCHIVE_EXTENSION`].
    #[error("an extended head has more than {MAX_ARCHIVE_EXTENSION} bytes")]
    ExtensionTooLarge,
    /// Two members of one name.
    #[error("its member `{0}` stands in it twice")]
    Twice(String),
    /// A name that leads out of the archive.
    #[error("its member `{0}` lies outside")]
    Outside(String),
    /// A link where content should be.
    #[error("its member `{0}` is a link")]
    Link(String),
    /// Whole images are neither put into it nor taken out of it.
    #[error("nothing but signatures is put into it, and nothing is taken out")]
    ReadOnly,
    /// Compressed, where something is to be put into it.
    #[error("it is packed with gzip, and signatures are only put into one that is not")]
    Packed,
    /// What the operating system says.
    #[error("it cannot be written")]
    Unwritable(#[source] io::Error),
    /// Somebody else writes it, and has not come to an end.
    #[error("another command is writing it")]
    Busy,
    /// It is not what it was when the command began.
    #[error("it was changed while it was being written anew")]
    Changed,
    /// What docker wrote in its older form, which holds no manifest.
    #[error("it holds layers and no manifest, so the digest that the image will have in a registry is not known")]
    NoManifest,
    /// What docker's older image store made up a manifest for.
    #[error(
        "its image has uncompressed layers, as docker's older image store writes them, and gets another digest when it is pushed"
    )]
    DigestChanges,
}

impl From<io::Error> for ArchiveFault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Unreadable(error) }
    }
}

impl Remedy for ArchiveFault {
    fn code(&self) -> Code {
        Code(match self {
            Self::Unreadable(_) => "archive-unreadable",
            Self::NotAFile => "archive-not-a-file",
            Self::Compression(_) => "archive-compression",
            Self::Malformed(_) => "archive-malformed",
            Self::Truncated => "archive-truncated",
            Self::TooLarge => "archive-too-large",
            Self::TooManyMembers => "archive-too-many-members",
            Self::ExtensionTooLarge => "archive-extension-too-large",
            Self::Twice(_) => "archive-member-twice",
            Self::Outside(_) => "archive-member-outside",
            Self::Link(_) => "archive-member-link",
            Self::ReadOnly => "archive-read-only",
            Self::Packed => "archive-packed",
            Self::Unwritable(_) => "archive-unwritable",
            Self::Busy => "archive-busy",
            Self::Changed => "archive-changed",
            Self::NoManifest | Self::DigestChanges => "archive-digest-unknown",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable(_) => "see whether the file is there, may be read, and is whole".into(),
            Self::NotAFile => "name the file that `docker save` or `skopeo copy` has written".into(),
            Self::Compression(with) => format!("unpack it with {with}, or pack it with gzip"),
            Self::Malformed(_) | Self::Truncated | Self::Twice(_) | Self::Outside(_) | Self::Link(_) => {
                "write the archive anew from where the image came".into()
            }
            Self::TooLarge | Self::TooManyMembers | Self::ExtensionTooLarge => {
                "unpack it with tar, and name the directory: `oci-layout:DIR`".into()
            }
            Self::ReadOnly => {
                "copy the image into a layout, and work on that one: `pratique copy oci-archive:FILE oci-layout:DIR`"
                    .into()
            }
            Self::Packed => {
                "unpack it with `gunzip`; or sign what `pratique descriptor` says of it into a file: \
                 `pratique sign --descriptor FILE --output-signature FILE`"
                    .into()
            }
            Self::Unwritable(_) => {
                "see whether the file and its directory may be written to, and whether the disk has room for a second one"
                    .into()
            }
            Self::Busy => "wait for the other command, and run this one again".into(),
            Self::Changed => "nothing was written; see what else writes it, and run the command again".into(),
            Self::NoManifest => {
                "build with docker's containerd image store and save again, or push the image and sign it in the registry"
                    .into()
            }
            Self::DigestChanges => {
                "build with docker's containerd image store, or push the image and sign it in the registry; \
                 where another tool will push this very archive, name it `oci-archive:FILE`"
                    .into()
            }
        })
    }
}
