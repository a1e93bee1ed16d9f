//! What a build says that it has made: the images for which signatures are wanted.
//!
//! Three forms are read, told apart by their content and never by a file's name: the image-info document of dotnet's
//! docker-tools (`repos[].images[]`, each with `platforms[].digest` and, where there is a manifest list,
//! `manifest.digest`), BuildKit's metadata file (of one build, or of a bake with several targets), and a plain list of
//! references, one a line. What they say is a stranger's text until the registry has confirmed it.

use serde::Deserialize;

use crate::oci::{Descriptor, InvalidJson, InvalidReference, JsonMembers, Reference, parse_json};
use crate::remedy::{Code, Remedy, excerpt};

/// The largest file, in bytes. The image-info of all of .NET's images, some two thousand, has 3 MB.
pub const MAX_BUILD_OUTPUT: usize = 32 * 1024 * 1024;
/// How many images a file may name: five times those of the largest image-info in public.
pub const MAX_BUILT_IMAGES: usize = 10_000;

/// An image that a build has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// Where it was pushed to. Without a digest, the registry has to say what is meant.
    pub reference: Reference,
    /// What the builder says that it is, where the file has a whole descriptor.
    pub descriptor: Option<Descriptor>,
}

/// The images that a build has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOutput {
    /// In the order of the file, each once.
    pub images: Vec<BuiltImage>,
    /// Whether the file names every manifest by itself, as image-info does. Elsewhere an index stands for the manifests of
    /// its platforms, too.
    pub is_complete: bool,
}

/// Why a file does not say what was built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBuildOutput {
    /// More bytes than are read.
    #[error("it has more than {MAX_BUILD_OUTPUT} bytes")]
    TooLarge,
    /// More images than are taken.
    #[error("it names more than {MAX_BUILT_IMAGES} images")]
    TooMany,
    /// Not text.
    #[error("it is neither JSON nor a list of references")]
    NotText,
    /// Not JSON, or not of the shape that its members promise.
    #[error("its JSON cannot be read")]
    Json(#[source] InvalidJson),
    /// JSON of another kind.
    #[error(
        "its JSON is neither an image-info document, which has `repos`, nor BuildKit's metadata, which has `containerimage.digest`"
    )]
    UnknownJson,
    /// A member that decides stands twice.
    #[error("`{0}` stands twice in one object")]
    Duplicate(&'static str),
    /// A digest or a name that is none.
    #[error("`{text}` at {place} does not name an image")]
    Reference {
        /// What stands there.
        text: String,
        /// Where: a line, or the way to the member.
        place: String,
        /// What is wrong with it.
        source: InvalidReference,
    },
    /// A repository of image-info without its registry.
    #[error("the repository `{0}` stands there without a registry")]
    NoRegistry(String),
    /// The digest of an image stands in two places with two values.
    #[error("`containerimage.digest` of {place} is {digest}, and its descriptor says {described}")]
    Contradiction {
        /// The target.
        place: String,
        /// The one value.
        digest: String,
        /// The other.
        described: String,
    },
    /// A build that was not pushed under any name.
    #[error("{place} has no `image.name`, so that nobody knows where the image is")]
    NoName {
        /// The target.
        place: String,
    },
    /// Nothing to sign.
    #[error("it names no image")]
    Empty,
}

impl Remedy for InvalidBuildOutput {
    fn code(&self) -> Code {
        Code(match self {
            Self::TooLarge | Self::TooMany => "build-output-too-large",
            Self::NotText | Self::Json(_) | Self::UnknownJson | Self::Duplicate(_) => "build-output-malformed",
            Self::Reference { .. } | Self::Contradiction { .. } | Self::NoName { .. } => "build-output-image",
            Self::NoRegistry(_) => "build-output-no-registry",
            Self::Empty => "build-output-empty",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::TooLarge | Self::TooMany => "split the file".into(),
            Self::NotText | Self::Json(_) | Self::UnknownJson | Self::Duplicate(_) => {
                "give the image-info of docker-tools, the file of `--metadata-file`, or references, one a line".into()
            }
            Self::Reference { .. } | Self::Contradiction { .. } => "have the file written anew by the build".into(),
            Self::NoRegistry(_) => "name the registry, with a path in it where there is one, with `--registry`".into(),
            Self::NoName { .. } => "push the image in the build, with `--output type=image,name=…,push=true`".into(),
            Self::Empty => "see whether the build has made anything".into(),
        })
    }
}

impl BuildOutput {
    /// The images that this file names. `registry`, with a path in it where there is one, goes in front of the repositories
    /// of an image-info document, in the place of what stands there.
    pub fn parse(bytes: &[u8], registry: Option<&str>) -> Result<Self, InvalidBuildOutput> {
        if bytes.len() > MAX_BUILD_OUTPUT {
            return Err(InvalidBuildOutput::TooLarge);
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes); // .NET writes a byte order mark
        let mut found = Found { registry, images: Vec::new() };
        let is_complete = match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => found.read_json(text)?,
            Some(b'[') => return Err(InvalidBuildOutput::UnknownJson),
            _ => {
                found.read_list(std::str::from_utf8(text).map_err(|_| InvalidBuildOutput::NotText)?)?;
                false
            }
        };
        if found.images.is_empty() {
            return Err(InvalidBuildOutput::Empty);
        }
        Ok(Self { images: found.images, is_complete })
    }
}

/// What has been read so far.
struct Found<'a> {
    registry: Option<&'a str>,
    images: Vec<BuiltImage>,
}

impl Found<'_> {
    /// Whether the document names every manifest by itself.
    fn read_json(&mut self, text: &[u8]) -> Result<bool, InvalidBuildOutput> {
        let JsonMembers(members) = parse_json(text).map_err(InvalidBuildOutput::Json)?;
        let count = |wanted: &str| members.iter().filter(|(name, _)| name == wanted).count();
        match (count("repos"), count(DIGEST)) {
            (0, 0) => {}
            (0, 1) => return self.read_metadata(text, "the file").map(|()| false),
            (1, 0) => return self.read_image_info(text).map(|()| true),
            (0 | 1, _) => return Err(InvalidBuildOutput::Duplicate(DIGEST)),
            (_, _) => return Err(InvalidBuildOutput::Duplicate("repos")),
        }
        // A bake writes one object for each target, beside warnings and references to its history.
        for (target, value) in &members {
            let is_target = parse_json::<JsonMembers<'_>>(value.get().as_bytes())
                .is_ok_and(|JsonMembers(members)| members.iter().any(|(name, _)| name == DIGEST));
            if is_target {
                self.read_metadata(value.get().as_bytes(), &format!("target `{}`", excerpt(target)))?;
            }
        }
        if self.images.is_empty() { Err(InvalidBuildOutput::UnknownJson) } else { Ok(false) }
    }

    fn read_image_info(&mut self, text: &[u8]) -> Result<(), InvalidBuildOutput> {
        let info: ImageInfo = parse_json(text).map_err(InvalidBuildOutput::Json)?;
        for (at, repository) in info.repos.into_iter().enumerate() {
            for (image_at, image) in repository.images.unwrap_or_default().into_iter().enumerate() {
                let at = format!("repos[{at}].images[{image_at}]");
                let platforms = image.platforms.unwrap_or_default().into_iter();
                let digests = platforms.map(|platform| (platform.digest, "platforms"));
                let index = image.manifest.map(|manifest| (manifest.digest, "manifest"));
                for (digest, member) in digests.chain(index) {
                    // A platform that was not built has none, or an empty one.
                    let Some(digest) = digest.filter(|digest| !digest.is_empty()) else { continue };
                    let name = self.placed(&digest, &repository.repo)?;
                    self.add(&name, &format!("{at}.{member}"), None)?;
                }
            }
        }
        Ok(())
    }

    fn read_metadata(&mut self, text: &[u8], place: &str) -> Result<(), InvalidBuildOutput> {
        let metadata: Metadata = parse_json(text).map_err(InvalidBuildOutput::Json)?;
        if let Some(described) = metadata.descriptor.as_ref().filter(|d| d.digest.as_str() != metadata.digest) {
            return Err(InvalidBuildOutput::Contradiction {
                place: place.to_owned(),
                digest: excerpt(&metadata.digest),
                described: described.digest.to_string(),
            });
        }
        let names = metadata.name.unwrap_or_default();
        let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty()).peekable();
        if names.peek().is_none() {
            return Err(InvalidBuildOutput::NoName { place: place.to_owned() });
        }
        for name in names {
            let image = format!("{}@{}", without_digest(name), metadata.digest);
            self.add(&image, place, metadata.descriptor.as_ref())?;
        }
        Ok(())
    }

    fn read_list(&mut self, text: &str) -> Result<(), InvalidBuildOutput> {
        for (number, line) in text.lines().enumerate() {
            let name = line.trim();
            if !name.is_empty() && !name.starts_with('#') {
                self.add(name, &format!("line {}", number + 1), None)?;
            }
        }
        Ok(())
    }

    /// The name of an image of image-info, which writes `repository@digest`, or the digest alone. Without a registry it would
    /// be one of Docker Hub's.
    fn placed(&self, digest: &str, repository: &str) -> Result<String, InvalidBuildOutput> {
        let (before, digest) =
            digest.rsplit_once('@').map_or((repository, digest), |(before, digest)| (before, digest));
        match self.registry {
            Some(registry) => Ok(format!("{}/{repository}@{digest}", registry.trim_end_matches('/'))),
            None if has_registry(before) => Ok(format!("{before}@{digest}")),
            None => Err(InvalidBuildOutput::NoRegistry(excerpt(before))),
        }
    }

    fn add(&mut self, name: &str, place: &str, descriptor: Option<&Descriptor>) -> Result<(), InvalidBuildOutput> {
        let reference = name.parse::<Reference>().map_err(|source| InvalidBuildOutput::Reference {
            text: excerpt(name),
            place: place.to_owned(),
            source,
        })?;
        // Where there is a digest, the tag beside it says nothing.
        let reference = match reference.digest() {
            Some(digest) => reference.pinned(digest.clone()),
            None => reference,
        };
        if self.images.len() >= MAX_BUILT_IMAGES {
            return Err(InvalidBuildOutput::TooMany);
        }
        self.images.push(BuiltImage { reference, descriptor: descriptor.map(Descriptor::bare) });
        Ok(())
    }
}

/// Whether the first part of a name is a host, by docker's rule.
fn has_registry(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| first == "localhost" || first.contains(['.', ':']))
}

/// BuildKit repeats the digest in the name of an image that was pushed by it.
fn without_digest(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

const DIGEST: &str = "containerimage.digest";

/// The image-info of docker-tools, as far as signatures are concerned. Its other members differ from version to version.
#[derive(Deserialize)]
struct ImageInfo {
    repos: Vec<InfoRepository>,
}

#[derive(Deserialize)]
struct InfoRepository {
    repo: String,
    images: Option<Vec<InfoImage>>,
}

#[derive(Deserialize)]
struct InfoImage {
    platforms: Option<Vec<InfoDigest>>,
    manifest: Option<InfoDigest>,
}

#[derive(Deserialize)]
struct InfoDigest {
    digest: Option<String>,
}

/// What BuildKit writes about one build.
#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "containerimage.digest")]
    digest: String,
    #[serde(rename = "containerimage.descriptor")]
    descriptor: Option<Descriptor>,
    #[serde(rename = "image.name")]
    name: Option<String>,
}

#[cfg(test)]
mod tests;
