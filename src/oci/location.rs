//! Where an image lies, as a person writes it: in a registry, in containerd, or in a file or a directory.
//!
//! | written | is |
//! |---|---|
//! | `containerd:[NAMESPACE/]REF` | an image record of containerd |
//! | `oci-layout:DIR[:TAG\|@DIGEST]` | an OCI image layout in a directory |
//! | `oci-archive:FILE[:TAG\|@DIGEST]` | the same in a tar archive |
//! | `docker-archive:FILE[:REF]` | what `docker save` writes |
//! | anything else | a reference to a registry |
//!
//! What stands before the first colon decides, so the image `containerd:2.1` of Docker Hub is written
//! `docker.io/library/containerd:2.1`.
//!
//! Paths may have colons. In `oci-layout:` and `oci-archive:` only what follows the last slash of the text is looked at: a digest
//! after its `@`, or else a tag after its last colon. A path whose own last part has a colon is closed by another one, with
//! nothing after it (`oci-archive:backup-12:30.tar:`), or, where it is a directory, by a slash. References have slashes and
//! colons of their own, so in `docker-archive:` the first colon ends the file's name: a file with a colon in its path cannot be
//! named there.
//!
//! Whether the first part of what follows `containerd:` is a namespace cannot be told from the text: `k8s.io/pause:3.9` may be
//! `pause:3.9` in the namespace `k8s.io`, or an image of a registry `k8s.io`. [`ContainerdName`] gives both readings, and
//! whoever asks containerd finds out which one has an image.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Digest, InvalidDigest, InvalidReference, Reference, Tag};
use crate::remedy::{Code, Remedy, excerpt};

const CONTAINERD: &str = "containerd";
const OCI_LAYOUT: &str = "oci-layout";
const OCI_ARCHIVE: &str = "oci-archive";
const DOCKER_ARCHIVE: &str = "docker-archive";
/// The longest name of a namespace (containerd, `pkg/identifiers`).
const MAX_NAMESPACE: usize = 76;

/// Where an image lies, and which one is meant there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a registry.
    Registry(Reference),
    /// In containerd, under this name.
    Containerd(ContainerdName),
    /// In an image layout.
    OciLayout {
        /// The layout's directory.
        directory: PathBuf,
        /// Which of its images; its only one where nothing is said.
        image: Option<LayoutName>,
    },
    /// In an image layout that is packed into a tar archive.
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// Which of its images; its only one where nothing is said.
        image: Option<LayoutName>,
    },
    /// In an archive as `docker save` writes it.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// Which of its images; its only one where nothing is said.
        image: Option<Reference>,
    },
}

/// What an image is called in an image layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutName {
    /// By a tag.
    Tag(Tag),
    /// By the digest of its manifest or index.
    Digest(Digest),
}

/// What follows `containerd:`, which has up to two readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerdName(String);

impl ContainerdName {
    /// The name of an image of this namespace.
    pub fn of(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}"))
    }

    /// The text as the name of an image, with the namespace known from elsewhere.
    pub fn whole(&self) -> &str {
        &self.0
    }

    /// The text as a namespace and the name of an image in it, where its first part may be a namespace's name.
    pub fn in_namespace(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.0.split_once('/')?;
        (is_namespace(namespace) && !name.is_empty()).then_some((namespace, name))
    }
}

impl Location {
    /// The tag by which the image is named, where nothing better than a tag names it. A tag may be moved.
    pub fn tag(&self) -> Option<Tag> {
        let of = |reference: &Reference| reference.digest().is_none().then(|| reference.tag().cloned()).flatten();
        match self {
            Self::Registry(reference) | Self::DockerArchive { image: Some(reference), .. } => of(reference),
            Self::Containerd(name) => of(&name.whole().parse().ok()?),
            Self::OciLayout { image: Some(LayoutName::Tag(tag)), .. }
            | Self::OciArchive { image: Some(LayoutName::Tag(tag)), .. } => Some(tag.clone()),
            Self::OciLayout { .. } | Self::OciArchive { .. } | Self::DockerArchive { image: None, .. } => None,
        }
    }

    /// The digest by which the image is named.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Registry(reference) | Self::DockerArchive { image: Some(reference), .. } => {
                reference.digest().cloned()
            }
            Self::Containerd(name) => name.whole().rsplit_once('@')?.1.parse().ok(),
            Self::OciLayout { image: Some(LayoutName::Digest(digest)), .. }
            | Self::OciArchive { image: Some(LayoutName::Digest(digest)), .. } => Some(digest.clone()),
            Self::OciLayout { .. } | Self::OciArchive { .. } | Self::DockerArchive { image: None, .. } => None,
        }
    }

    /// The same place, and exactly this content in it. The tag goes: it must not be asked again.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        let by_digest = |digest| Some(LayoutName::Digest(digest));
        match self {
            Self::Registry(reference) => Self::Registry(reference.pinned(digest)),
            Self::Containerd(ContainerdName(text)) => {
                Self::Containerd(ContainerdName(format!("{}@{digest}", untagged(text))))
            }
            Self::OciLayout { directory, .. } => {
                Self::OciLayout { directory: directory.clone(), image: by_digest(digest) }
            }
            Self::OciArchive { file, .. } => Self::OciArchive { file: file.clone(), image: by_digest(digest) },
            Self::DockerArchive { file, image } => Self::DockerArchive {
                file: file.clone(),
                image: image.as_ref().map(|reference| reference.pinned(digest)),
            },
        }
    }
}

/// Why a text does not say where an image lies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLocation {
    /// It begins with none of our words and is no reference, either.
    #[error(transparent)]
    Reference(InvalidReference),
    /// Nothing follows the word.
    #[error("`{0}:` is followed by nothing")]
    Empty(&'static str),
    /// What follows the last colon is no tag.
    #[error("what follows the last colon of `{0}` is no tag")]
    Tag(String, #[source] InvalidReference),
    /// What follows the `@` is no digest.
    #[error("what follows the `@` of `{0}` is no digest")]
    Digest(String, #[source] InvalidDigest),
    /// What follows the file is no reference.
    #[error("what follows the first colon of `{0}` is no reference")]
    ImageOfArchive(String, #[source] InvalidReference),
}

impl Remedy for InvalidLocation {
    fn code(&self) -> Code {
        match self {
            Self::Reference(error) => error.code(),
            _ => Code("invalid-location"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Reference(error) => return error.remedy(),
            Self::Empty(CONTAINERD) => "write `containerd:[NAMESPACE/]REFERENCE`".into(),
            Self::Empty(word) => format!("write `{word}:PATH`"),
            Self::Tag(..) | Self::Digest(..) => {
                "write PATH:TAG or PATH@DIGEST; a path whose last part has a colon or an @ ends with a colon more"
                    .into()
            }
            Self::ImageOfArchive(..) => {
                "write `docker-archive:FILE:REFERENCE`; the path of the file must have no colon".into()
            }
        })
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(s: &str) -> Result<Self, InvalidLocation> {
        let Some((word, rest)) = s.split_once(':') else { return registry(s) };
        match word {
            CONTAINERD if rest.is_empty() => Err(InvalidLocation::Empty(CONTAINERD)),
            CONTAINERD => Ok(Self::Containerd(ContainerdName(rest.to_owned()))),
            OCI_LAYOUT => {
                let (directory, image) = path_and_image(OCI_LAYOUT, rest)?;
                Ok(Self::OciLayout { directory, image })
            }
            OCI_ARCHIVE => {
                let (file, image) = path_and_image(OCI_ARCHIVE, rest)?;
                Ok(Self::OciArchive { file, image })
            }
            DOCKER_ARCHIVE => docker_archive(rest),
            _ => registry(s),
        }
    }
}

fn registry(text: &str) -> Result<Location, InvalidLocation> {
    text.parse().map(Location::Registry).map_err(InvalidLocation::Reference)
}

/// A path, and the tag or digest behind it. Only what follows the last slash can hold one.
fn path_and_image(word: &'static str, text: &str) -> Result<(PathBuf, Option<LayoutName>), InvalidLocation> {
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    let (parent, name) = text.split_at(last);
    let (name, image) = match (name.strip_suffix(':'), name.rsplit_once('@'), name.rsplit_once(':')) {
        (Some(name), ..) => (name, None),
        (None, Some((name, digest)), _) => {
            let digest = digest.parse().map_err(|source| InvalidLocation::Digest(excerpt(text), source))?;
            (name, Some(LayoutName::Digest(digest)))
        }
        (None, None, Some((name, tag))) => {
            let tag = tag.parse().map_err(|source| InvalidLocation::Tag(excerpt(text), source))?;
            (name, Some(LayoutName::Tag(tag)))
        }
        (None, None, None) => (name, None),
    };
    let path = format!("{parent}{name}");
    if path.is_empty() { Err(InvalidLocation::Empty(word)) } else { Ok((path.into(), image)) }
}

fn docker_archive(text: &str) -> Result<Location, InvalidLocation> {
    let (file, image) = text.split_once(':').map_or((text, ""), |parts| parts);
    if file.is_empty() {
        return Err(InvalidLocation::Empty(DOCKER_ARCHIVE));
    }
    let image = match image {
        "" => None,
        image => Some(image.parse().map_err(|source| InvalidLocation::ImageOfArchive(excerpt(text), source))?),
    };
    Ok(Location::DockerArchive { file: file.into(), image })
}

/// Letters, digits, and single `.`, `-` or `_` between them (containerd, `pkg/identifiers`).
fn is_namespace(text: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= MAX_NAMESPACE && text.split(['.', '-', '_']).all(is_word)
}

/// The name of an image without its tag and its digest.
fn untagged(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

impl fmt::Display for Location {
    /// In the form that is read as the same location.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "{reference}"),
            Self::Containerd(ContainerdName(text)) => write!(f, "{CONTAINERD}:{text}"),
            Self::OciLayout { directory, image } => write_path(f, OCI_LAYOUT, directory, image.as_ref()),
            Self::OciArchive { file, image } => write_path(f, OCI_ARCHIVE, file, image.as_ref()),
            Self::DockerArchive { file, image } => {
                write!(f, "{DOCKER_ARCHIVE}:{}", file.display())?;
                image.iter().try_for_each(|reference| write!(f, ":{reference}"))
            }
        }
    }
}

fn write_path(f: &mut fmt::Formatter<'_>, word: &str, path: &Path, image: Option<&LayoutName>) -> fmt::Result {
    let path = path.display().to_string();
    write!(f, "{word}:{path}")?;
    let last = path.rsplit('/').next().unwrap_or_default();
    match image {
        Some(LayoutName::Tag(tag)) => write!(f, ":{}", tag.as_str()),
        Some(LayoutName::Digest(digest)) => write!(f, "@{digest}"),
        None if last.contains([':', '@']) => f.write_str(":"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::sha256(b"image")
    }

    /// What was read, for comparison: the kind, the path or name, and the tag or digest.
    fn read(text: &str) -> (&'static str, String, String) {
        let location: Location = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(location.to_string().parse::<Location>().as_ref(), Ok(&location), "{text}: {location}");
        let image = |image: &Option<LayoutName>| match image {
            None => String::new(),
            Some(LayoutName::Tag(tag)) => tag.as_str().to_owned(),
            Some(LayoutName::Digest(digest)) => digest.to_string(),
        };
        match &location {
            Location::Registry(reference) => ("registry", reference.to_string(), String::new()),
            Location::Containerd(name) => (CONTAINERD, name.whole().to_owned(), String::new()),
            Location::OciLayout { directory, image: name } => {
                (OCI_LAYOUT, directory.display().to_string(), image(name))
            }
            Location::OciArchive { file, image: name } => (OCI_ARCHIVE, file.display().to_string(), image(name)),
            Location::DockerArchive { file, image } => {
                let image = image.as_ref().map(Reference::to_string).unwrap_or_default();
                (DOCKER_ARCHIVE, file.display().to_string(), image)
            }
        }
    }

    #[test]
    fn each_kind_is_read_with_its_path_and_its_image() {
        let digest = digest();
        let by_digest = format!("oci-layout:out/img@{digest}");
        for (text, kind, place, image) in [
            ("alpine", "registry", "docker.io/library/alpine:latest", ""),
            ("docker.io/library/containerd:2.1", "registry", "docker.io/library/containerd:2.1", ""),
            ("localhost:5000/app:v1", "registry", "localhost:5000/app:v1", ""),
            ("containerd:moby/app:v1", CONTAINERD, "moby/app:v1", ""),
            ("oci-layout:out", OCI_LAYOUT, "out", ""),
            ("oci-layout:/srv/out:v1", OCI_LAYOUT, "/srv/out", "v1"),
            (&by_digest, OCI_LAYOUT, "out/img", digest.as_str()),
            ("oci-archive:app.tar", OCI_ARCHIVE, "app.tar", ""),
            ("oci-archive:./app.tar:v1", OCI_ARCHIVE, "./app.tar", "v1"),
            ("docker-archive:app.tar", DOCKER_ARCHIVE, "app.tar", ""),
            ("docker-archive:/tmp/app.tar:localhost:5000/a:v1", DOCKER_ARCHIVE, "/tmp/app.tar", "localhost:5000/a:v1"),
        ] {
            assert_eq!(read(text), (kind, place.to_owned(), image.to_owned()), "{text}");
        }
    }

    #[test]
    fn colons_and_ats_in_paths_have_their_rules() {
        for (text, path, image) in [
            ("oci-layout:a:b/c", "a:b/c", ""),
            ("oci-layout:a@b/c:v1", "a@b/c", "v1"),
            ("oci-layout:c:d/", "c:d/", ""),
            ("oci-layout:c:d:v1", "c:d", "v1"),
            ("oci-layout:c:d:", "c:d", ""),
            ("oci-layout:out:", "out", ""),
            ("oci-layout:me@home:", "me@home", ""),
        ] {
            assert_eq!(read(text), (OCI_LAYOUT, path.to_owned(), image.to_owned()), "{text}");
        }
        assert_eq!(read("oci-archive:a-12:30.tar:").1, "a-12:30.tar");
    }

    #[test]
    fn what_is_none_says_why() {
        let error = |text: &str| text.parse::<Location>().expect_err(text);
        for (text, code) in [
            ("oci-layout:", "invalid-location"),
            ("oci-archive::v1", "invalid-location"),
            ("containerd:", "invalid-location"),
            ("docker-archive::app:v1", "invalid-location"),
            ("docker-archive:app.tar:UPPER", "invalid-location"),
            ("oci-layout:out:-v", "invalid-location"),
            ("oci-layout:out@v1", "invalid-location"),
            ("registry.example/App", "invalid-reference"),
            ("https://registry.example/app", "invalid-reference"),
        ] {
            assert_eq!(error(text).code(), Code(code), "{text}");
        }
        assert!(matches!(error("oci-layout:out@sha256:1"), InvalidLocation::Digest(..)));
    }

    #[test]
    fn a_name_in_containerd_has_two_readings_where_its_first_part_may_be_a_namespace() {
        let name = |text: &str| ContainerdName(text.to_owned());
        assert_eq!(name("k8s.io/pause:3.9").in_namespace(), Some(("k8s.io", "pause:3.9")));
        assert_eq!(name("moby/docker.io/library/app:v1").in_namespace(), Some(("moby", "docker.io/library/app:v1")));
        for whole in ["app:v1", "localhost:5000/app", "a..b/app", "-a/app", "moby/", &format!("{}/app", "a".repeat(77))]
        {
            assert_eq!(name(whole).in_namespace(), None, "{whole}");
        }
    }

    #[test]
    fn pinning_keeps_the_place_and_drops_the_tag() {
        let digest = digest();
        for (text, pinned) in [
            ("alpine:3", "docker.io/library/alpine@"),
            ("containerd:moby/localhost:5000/app:v1", "containerd:moby/localhost:5000/app@"),
            ("containerd:moby/app", "containerd:moby/app@"),
            ("oci-layout:out:v1", "oci-layout:out@"),
            ("oci-archive:a.tar", "oci-archive:a.tar@"),
            ("docker-archive:a.tar:app:v1", "docker-archive:a.tar:docker.io/library/app@"),
        ] {
            let location = text.parse::<Location>().unwrap().pinned(digest.clone());
            assert_eq!(location.to_string(), format!("{pinned}{digest}"), "{text}");
            assert_eq!((location.digest(), location.tag()), (Some(digest.clone()), None), "{text}");
        }
    }

    #[test]
    fn a_tag_is_known_where_nothing_better_names_the_image() {
        let tag = |text: &str| text.parse::<Location>().unwrap().tag().map(|tag| tag.as_str().to_owned());
        for (text, expected) in [
            ("alpine", Some("latest")),
            ("containerd:moby/app:v1", Some("v1")),
            ("oci-layout:out:v1", Some("v1")),
            ("docker-archive:a.tar:app:v2", Some("v2")),
            ("oci-layout:out", None),
            ("docker-archive:a.tar", None),
            (&format!("alpine:3@{}", digest()), None),
            (&format!("containerd:moby/app@{}", digest()), None),
        ] {
            assert_eq!(tag(text).as_deref(), expected, "{text}");
        }
    }
}
