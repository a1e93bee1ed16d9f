//! The platform that a manifest of an index is for, and which of an index's manifests is meant by one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Descriptor;
use crate::remedy::{Code, Remedy};

/// How many platforms are named to somebody who has asked for another one: more than any image of this day has.
const MAX_NAMED: usize = 40;

/// Operating system and architecture (OCI image index, member `platform`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the architecture, such as `amd64`.
    pub architecture: String,
    /// Go's name of the operating system, such as `linux`.
    pub os: String,
    /// The variant of the architecture, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The manifest for this platform. Where no variant is asked for, the only one there is will do: builders write `v8`
    /// behind `arm64` or leave it out.
    pub fn choose(&self, manifests: &[(Descriptor, Option<Self>)]) -> Result<Descriptor, PlatformError> {
        let is_meant = |found: &Self| found == self;
        let is_like_it =
            |found: &Self| self.variant.is_none() && (&found.os, &found.architecture) == (&self.os, &self.architecture);
        let among = |is_it: &dyn Fn(&Self) -> bool| -> Vec<&Descriptor> {
            let images = manifests.iter().filter(|(manifest, _)| !manifest.is_attestation());
            images.filter(|(_, found)| found.as_ref().is_some_and(is_it)).map(|(manifest, _)| manifest).collect()
        };
        let exact = among(&is_meant);
        let found = if exact.is_empty() { among(&is_like_it) } else { exact };
        match found.as_slice() {
            [one] => Ok(one.bare()),
            [] => Err(PlatformError::NotThere { wanted: self.clone(), there: named(manifests) }),
            _ => Err(PlatformError::Ambiguous { wanted: self.clone(), there: named(manifests) }),
        }
    }
}

/// The platforms that there are.
fn named(manifests: &[(Descriptor, Option<Platform>)]) -> Vec<Platform> {
    let images = manifests.iter().filter(|(manifest, _)| !manifest.is_attestation());
    images.filter_map(|(_, platform)| platform.clone()).take(MAX_NAMED).collect()
}

impl fmt::Display for Platform {
    /// `os/architecture[/variant]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// Why a text names no platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write os/architecture[/variant], such as linux/arm64 or linux/arm/v7")]
pub struct InvalidPlatform;

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let mut parts = text.split('/').map(|part| if part.is_empty() { Err(InvalidPlatform) } else { Ok(part) });
        let (Some(os), Some(architecture), variant, None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidPlatform);
        };
        let variant = variant.transpose()?.map(str::to_owned);
        Ok(Self { os: os?.to_owned(), architecture: architecture?.to_owned(), variant })
    }
}

/// Why no manifest of an image is the one for a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// There is none for it.
    #[error("there is no manifest for the platform `{wanted}`{}", Named(there))]
    NotThere {
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        there: Vec<Platform>,
    },
    /// There are several that it may mean.
    #[error("there is more than one manifest for the platform `{wanted}`{}", Named(there))]
    Ambiguous {
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        there: Vec<Platform>,
    },
}

/// The platforms that there are, behind a sentence.
struct Named<'a>(&'a [Platform]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return write!(f, ": the image lists no platforms") };
        write!(f, ": there are {first}")?;
        rest.iter().try_for_each(|platform| write!(f, ", {platform}"))
    }
}

impl Remedy for PlatformError {
    fn code(&self) -> Code {
        match self {
            Self::NotThere { .. } => Code("platform-not-there"),
            Self::Ambiguous { .. } => Code("platform-ambiguous"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NotThere { there, .. } if there.is_empty() => "leave `--platform` out".into(),
            Self::NotThere { .. } => "name one that there is".into(),
            Self::Ambiguous { .. } => "name the variant too, or the manifest by its digest".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    fn manifests(platforms: &[&str]) -> Vec<(Descriptor, Option<Platform>)> {
        let manifest = |text: &&str| {
            let descriptor = Descriptor::of(media_type::IMAGE_MANIFEST, text.as_bytes());
            (descriptor, Some(text.trim_end_matches('!').parse().unwrap()))
        };
        platforms.iter().map(manifest).collect()
    }

    #[test]
    fn a_platform_names_one_manifest_or_none() {
        let all = manifests(&["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "a/b", "a/b!"]);
        let choose = |text: &str| text.parse::<Platform>().unwrap().choose(&all);
        for (text, at) in [("linux/amd64", 0), ("linux/arm/v7", 2), ("linux/arm64", 3), ("linux/arm64/v8", 3)] {
            assert_eq!(choose(text).unwrap(), all[at].0, "{text}");
        }
        for text in ["linux/arm", "a/b"] {
            assert_eq!(choose(text).unwrap_err().code(), Code("platform-ambiguous"), "{text}");
        }
        for text in ["linux/s390x", "linux/amd64/v2", "linux/arm64/v9"] {
            let error = choose(text).unwrap_err();
            assert_eq!(error.code(), Code("platform-not-there"), "{text}");
            assert!(
                error
                    .to_string()
                    .ends_with("there are linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8, a/b, a/b")
            );
        }
        let error = "linux/amd64".parse::<Platform>().unwrap().choose(&[]).unwrap_err();
        assert!(error.to_string().ends_with("the image lists no platforms"));
    }

    #[test]
    fn what_builders_say_about_an_image_is_no_platform_of_it() {
        let mut all = manifests(&["linux/amd64", "unknown/unknown"]);
        all[1].0.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        let error = "unknown/unknown".parse::<Platform>().unwrap().choose(&all).unwrap_err();
        assert!(error.to_string().ends_with("there are linux/amd64"), "{error}");
        all[1].0.annotations.clear();
        "unknown/unknown".parse::<Platform>().unwrap().choose(&all).unwrap();
    }

    #[test]
    fn a_platform_has_two_parts_or_three() {
        for text in ["", "linux", "linux/", "/amd64", "linux//v7", "linux/arm/v7/", "linux/arm/v7/x"] {
            assert_eq!(text.parse::<Platform>(), Err(InvalidPlatform), "{text}");
        }
    }
}
