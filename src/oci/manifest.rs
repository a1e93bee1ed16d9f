//! Manifests and indexes (OCI image specification; Docker's schema 2 forms, which have the same shape), and the
//! manifest that stores a Notary signature.
//!
//! oci-spec knows the shape; its types stop here and become ours, whose digests are always well formed.

use std::collections::BTreeMap;

use oci_spec::image as wire;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Descriptor, InvalidDigest, InvalidJson, Platform, media_type, parse_json};
use crate::remedy::{Code, Remedy, excerpt};

/// The largest manifest or index that is read, in bytes. Registries refuse larger ones on push (distribution
/// specification, "Pushing manifests"), and the reference implementation reads no more.
pub const MAX_MANIFEST_SIZE: u64 = 4 * 1024 * 1024;

/// An image manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The media type in the document; absent in some old ones.
    pub media_type: Option<String>,
    /// What the artifact is, where it is not an image.
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// Free pairs.
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests: an image for several platforms, or a page of referrers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The entries in the order of the document, each with its platform where it has one.
    pub manifests: Vec<(Descriptor, Option<Platform>)>,
}

/// What a Notary signature manifest points to: the envelope, and the subject signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureManifest {
    /// The envelope, whose media type tells its format.
    pub envelope: Descriptor,
    /// The manifest that the signature hangs on, where the document says it.
    pub subject: Option<Descriptor>,
    /// Free pairs, among them the thumbprints of the chain. Unsigned: nothing may depend on them.
    pub annotations: BTreeMap<String, String>,
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// Not JSON of the shape of a manifest.
    #[error("not a manifest")]
    Json(#[source] InvalidJson),
    /// A descriptor in it has a digest of bad form.
    #[error("a descriptor in the manifest has an unusable digest")]
    Digest(#[source] InvalidDigest),
    /// Not a Notary signature by its types.
    #[error("not a Notary signature manifest: its artifact type is `{0}`")]
    NotASignature(String),
    /// A signature manifest has exactly one layer, the envelope.
    #[error("a signature manifest has exactly one layer, this one has {0}")]
    LayerCount(usize),
}

impl Remedy for InvalidManifest {
    fn code(&self) -> Code {
        match self {
            Self::Json(_) | Self::Digest(_) => Code("manifest-malformed"),
            Self::NotASignature(_) => Code("not-a-signature"),
            Self::LayerCount(_) => Code("signature-manifest-layers"),
        }
    }
}

/// The media type of a manifest or an index that lies where nothing else says it: what it says itself, or what its members
/// show where it is silent, as the image specification lets it be. None for any other document.
pub fn media_type_of(bytes: &[u8]) -> Result<Option<String>, InvalidManifest> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        manifests: Option<IgnoredAny>,
        config: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
    }
    let Shape { media_type, manifests, config, layers } = parse_json(bytes).map_err(InvalidManifest::Json)?;
    let shown = match (manifests, config.and(layers)) {
        (Some(_), None) => Some(media_type::IMAGE_INDEX),
        (None, Some(_)) => Some(media_type::IMAGE_MANIFEST),
        _ => None,
    };
    Ok(media_type.or_else(|| shown.map(str::to_owned)))
}

impl Manifest {
    /// The image manifest in these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let manifest: wire::ImageManifest = parse_json(bytes).map_err(InvalidManifest::Json)?;
        Ok(Self {
            media_type: manifest.media_type().as_ref().map(ToString::to_string),
            artifact_type: manifest.artifact_type().as_ref().map(ToString::to_string),
            config: ours(manifest.config())?,
            layers: manifest.layers().iter().map(ours).collect::<Result<_, _>>()?,
            subject: manifest.subject().as_ref().map(ours).transpose()?,
            annotations: pairs(manifest.annotations().as_ref()),
        })
    }
}

impl Index {
    /// The index in these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let index: wire::ImageIndex = parse_json(bytes).map_err(InvalidManifest::Json)?;
        let entry =
            |descriptor: &wire::Descriptor| Ok((ours(descriptor)?, descriptor.platform().as_ref().map(platform)));
        Ok(Self { manifests: index.manifests().iter().map(entry).collect::<Result<_, _>>()? })
    }
}

impl SignatureManifest {
    /// The signature manifest in these bytes, in any of the three forms in use: with an artifact type and the empty
    /// config (current), with the artifact type in the config's media type (what notation 1.x writes), and as the
    /// retired OCI artifact manifest (Notary signature specification, "OCI Signature Storage").
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let parts = SignatureParts::parse(media_type, bytes)?;
        match <[Descriptor; 1]>::try_from(parts.layers) {
            Ok([envelope]) => Ok(Self { envelope, subject: parts.subject, annotations: parts.annotations }),
            Err(layers) => Err(InvalidManifest::LayerCount(layers.len())),
        }
    }

    /// Whether it says that it belongs to something other than this: also to the same digest as another media type, or with
    /// another size. No verifier takes such a one, so it stands in for none that would be taken, whatever envelope it holds.
    pub fn is_foreign_to(&self, artifact: &Descriptor) -> bool {
        self.subject.as_ref().is_some_and(|named| !named.same_content(artifact))
    }

    /// The subject in these bytes, which are a signature manifest by their types and may have a wrong number of layers:
    /// whoever lists signatures lists the broken ones too.
    pub fn subject_of(media_type: &str, bytes: &[u8]) -> Result<Option<Descriptor>, InvalidManifest> {
        Ok(SignatureParts::parse(media_type, bytes)?.subject)
    }
}

/// What stands in a manifest that is a signature by its types.
struct SignatureParts {
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
    annotations: BTreeMap<String, String>,
}

impl SignatureParts {
    fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        if media_type == media_type::ARTIFACT_MANIFEST {
            let ArtifactManifest { artifact_type, blobs, subject, annotations } =
                parse_json(bytes).map_err(InvalidManifest::Json)?;
            return Self { layers: blobs, subject, annotations }.of_kind(&artifact_type);
        }
        let manifest = Manifest::parse(bytes)?;
        let kind = match &manifest.artifact_type {
            // A declared artifact type counts alone, and then the config is the empty one: a foreign artifact must not
            // pass for a signature by the type of its config.
            Some(artifact_type) if manifest.config.media_type == media_type::EMPTY => artifact_type.clone(),
            Some(artifact_type) => format!("{artifact_type} with config {}", manifest.config.media_type),
            None => manifest.config.media_type.clone(),
        };
        Self { layers: manifest.layers, subject: manifest.subject, annotations: manifest.annotations }.of_kind(&kind)
    }

    fn of_kind(self, kind: &str) -> Result<Self, InvalidManifest> {
        if kind == media_type::NOTARY_SIGNATURE {
            return Ok(self);
        }
        Err(InvalidManifest::NotASignature(excerpt(kind)))
    }
}

/// The retired OCI artifact manifest, of which only signatures are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactManifest {
    artifact_type: String,
    #[serde(default)]
    blobs: Vec<Descriptor>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

pub(super) fn ours(descriptor: &wire::Descriptor) -> Result<Descriptor, InvalidManifest> {
    Ok(Descriptor {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor.digest().to_string().parse().map_err(InvalidManifest::Digest)?,
        size: descriptor.size(),
        artifact_type: descriptor.artifact_type().as_ref().map(ToString::to_string),
        annotations: pairs(descriptor.annotations().as_ref()),
    })
}

pub(super) fn platform(platform: &wire::Platform) -> Platform {
    Platform {
        architecture: platform.architecture().to_string(),
        os: platform.os().to_string(),
        variant: platform.variant().clone(),
    }
}

pub(super) fn pairs(annotations: Option<&std::collections::HashMap<String, String>>) -> BTreeMap<String, String> {
    annotations.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":2}}"#, "4".repeat(64))
    }

    fn signature(artifact_type: &str, config: &str, layers: usize) -> String {
        let layers = vec![descriptor(media_type::JWS_ENVELOPE); layers].join(",");
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{}",{artifact_type}"config":{},"layers":[{layers}],"subject":{}}}"#,
            media_type::IMAGE_MANIFEST,
            descriptor(config),
            descriptor(media_type::IMAGE_MANIFEST)
        )
    }

    fn parse(text: &str) -> Result<SignatureManifest, InvalidManifest> {
        SignatureManifest::parse(media_type::IMAGE_MANIFEST, text.as_bytes())
    }

    #[test]
    fn a_signature_manifest_is_read_in_its_current_and_its_legacy_form() {
        let typed = format!(r#""artifactType":"{}","#, media_type::NOTARY_SIGNATURE);
        let current = parse(&signature(&typed, media_type::EMPTY, 1)).unwrap();
        let legacy = parse(&signature("", media_type::NOTARY_SIGNATURE, 1)).unwrap();
        assert_eq!(current, legacy);
        assert_eq!(current.envelope.media_type, media_type::JWS_ENVELOPE);
        let retired = format!(
            r#"{{"artifactType":"{}","blobs":[{}],"subject":{}}}"#,
            media_type::NOTARY_SIGNATURE,
            descriptor(media_type::JWS_ENVELOPE),
            descriptor(media_type::IMAGE_MANIFEST)
        );
        assert_eq!(SignatureManifest::parse(media_type::ARTIFACT_MANIFEST, retired.as_bytes()).unwrap(), current);
    }

    #[test]
    fn a_foreign_artifact_or_another_number_of_layers_is_no_signature() {
        let foreign = signature(r#""artifactType":"example/sbom","#, media_type::NOTARY_SIGNATURE, 1);
        assert_eq!(parse(&foreign).unwrap_err().code(), Code("not-a-signature"));
        assert_eq!(parse(&signature("", media_type::NOTARY_SIGNATURE, 0)).unwrap_err(), InvalidManifest::LayerCount(0));
        let two_layers = signature("", media_type::NOTARY_SIGNATURE, 2);
        assert_eq!(parse(&two_layers).unwrap_err(), InvalidManifest::LayerCount(2));
        let subject_of = |text: &str| SignatureManifest::subject_of(media_type::IMAGE_MANIFEST, text.as_bytes());
        assert_eq!(subject_of(&two_layers).unwrap().unwrap().media_type, media_type::IMAGE_MANIFEST);
        assert_eq!(subject_of(&foreign).unwrap_err().code(), Code("not-a-signature"));
    }

    #[test]
    fn an_index_keeps_the_order_and_the_platform_of_its_entries() {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{m}","digest":"sha256:{d}","size":2,"platform":{{"architecture":"arm64","os":"linux","variant":"v8"}}}},{}]}}"#,
            descriptor(media_type::IMAGE_MANIFEST),
            m = media_type::IMAGE_MANIFEST,
            d = "5".repeat(64)
        );
        let index = Index::parse(text.as_bytes()).unwrap();
        let platforms: Vec<_> = index.manifests.iter().map(|(_, p)| p.as_ref().map(ToString::to_string)).collect();
        assert_eq!(platforms, [Some("linux/arm64/v8".to_owned()), None]);
    }

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        let text = signature("", media_type::NOTARY_SIGNATURE, 1).replace(&"4".repeat(64), "../../etc/passwd");
        assert_eq!(parse(&text).unwrap_err().code(), Code("manifest-malformed"));
    }
}
