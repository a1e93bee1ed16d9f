//! The manifests of an image for several platforms: the one that is meant, or all of them.

use std::collections::HashSet;

use super::{Target, unread};
use crate::cli::exit::Failure;
use crate::oci::{Descriptor, Links, Platform, media_type_of};
use crate::source::SourceError;

/// How many manifests of one image are signed at once. The images of this day with the most have some two dozen; a
/// stranger's index must not have a key sign thousands of times.
const MAX_PARTS: usize = 100;

/// A manifest of an image, or its index.
pub(in crate::cli) struct Part {
    pub(in crate::cli) descriptor: Descriptor,
    /// The platform that an index says it is for.
    pub(in crate::cli) platform: Option<Platform>,
}

/// Everything that an image is signed as.
pub(in crate::cli) struct Parts {
    /// Its manifests, and after them the index that lists them.
    pub(in crate::cli) signed: Vec<Part>,
    /// What a builder states about the image: it is covered by the signature of the index, and nobody runs it.
    pub(in crate::cli) left: Vec<Descriptor>,
}

impl Target {
    /// The image for this platform alone, or the whole one where none is named.
    pub(in crate::cli) async fn on_platform(self, platform: Option<&Platform>) -> Result<Self, Failure> {
        let Some(platform) = platform else { return Ok(self) };
        let links = self.links(&self.descriptor).await?;
        let descriptor = platform.choose(&links.manifests).map_err(|error| Failure::usage_of(&error))?;
        Ok(Self { descriptor, ..self })
    }

    /// The image's index and all that it lists, each of which must be here as the index says.
    pub(in crate::cli) async fn parts(&self) -> Result<Parts, Failure> {
        let (mut signed, mut left, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let mut pending = vec![Part { descriptor: self.descriptor.bare(), platform: None }];
        while let Some(part) = pending.pop() {
            if !seen.insert(part.descriptor.digest.clone()) {
                continue;
            }
            if seen.len() > MAX_PARTS {
                let message = format!("{} lists more than {MAX_PARTS} manifests", self.descriptor.digest);
                return Err(Failure::unreadable("index-too-large", message, Some("name one of them by its digest")));
            }
            let links = self.links(&part.descriptor).await?;
            for (entry, platform) in links.manifests {
                if entry.is_attestation() {
                    left.push(entry);
                } else {
                    pending.push(Part { descriptor: entry.bare(), platform });
                }
            }
            signed.push(part);
        }
        // What lists comes after what it lists, and the image itself last.
        signed.reverse();
        Ok(Parts { signed, left })
    }

    /// What a manifest of the image points to. The bytes are checked against what is said of them.
    async fn links(&self, part: &Descriptor) -> Result<Links, Failure> {
        let manifest = match self.place.source().manifest(&self.repository, part).await {
            Err(SourceError::NotFound { .. }) if part.digest != self.descriptor.digest => return Err(self.absent(part)),
            manifest => manifest.map_err(|error| unread(&error))?,
        };
        let links = Links::parse(&part.media_type, manifest.bytes()).map_err(|error| Failure::of(&error))?;
        match media_type_of(manifest.bytes()).map_err(|error| Failure::of(&error))? {
            Some(own) if own != part.media_type => {
                let what = &part.digest;
                let message = format!("{what} is listed as {}, and says of itself that it is {own}", part.media_type);
                Err(Failure::unreadable("manifest-type-differs", message, Some("build the image anew")))
            }
            _ => Ok(links),
        }
    }

    fn absent(&self, part: &Descriptor) -> Failure {
        let message = format!("the index {} lists {}, which is not here", self.descriptor.digest, part.digest);
        let remedy = "fetch the image for all platforms, or name one that is here with `--platform`";
        Failure::unreadable("platform-manifest-missing", message, Some(remedy))
    }
}
