//! What a manifest of any kind points to: whoever takes an artifact somewhere has to take that along.

use std::collections::BTreeMap;

use oci_spec::image as wire;
use serde::Deserialize;

use super::manifest::{ours, pairs, platform};
use super::{Descriptor, InvalidManifest, Platform, media_type, parse_json};

/// What one manifest points to, and what it says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// What the artifact is, as a list of referrers has it: the declared type, or else that of the config (distribution
    /// specification, "Listing Referrers").
    pub artifact_type: Option<String>,
    /// Content that is no manifest: the config first.
    pub blobs: Vec<Descriptor>,
    /// Manifests within it, each with its platform where it has one.
    pub manifests: Vec<(Descriptor, Option<Platform>)>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// Free pairs.
    pub annotations: BTreeMap<String, String>,
}

/// The retired OCI artifact manifest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactManifest {
    artifact_type: Option<String>,
    blobs: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Links {
    /// What the manifest in these bytes points to; `media_type` is that of its descriptor.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        match media_type {
            media_type::ARTIFACT_MANIFEST => parse_json(bytes).map(Self::of_artifact).map_err(InvalidManifest::Json),
            _ if media_type::is_index(media_type) => Self::of_index(bytes),
            _ => Self::of_image(bytes),
        }
    }

    fn of_artifact(manifest: ArtifactManifest) -> Self {
        let ArtifactManifest { artifact_type, blobs, subject, annotations } = manifest;
        Self { artifact_type, blobs: blobs.unwrap_or_default(), subject, annotations, ..Self::default() }
    }

    fn of_image(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let manifest = super::Manifest::parse(bytes)?;
        let artifact_type = manifest.artifact_type.filter(|artifact_type| !artifact_type.is_empty());
        Ok(Self {
            artifact_type: artifact_type.or_else(|| Some(manifest.config.media_type.clone())),
            blobs: [manifest.config].into_iter().chain(manifest.layers).collect(),
            manifests: Vec::new(),
            subject: manifest.subject,
            annotations: manifest.annotations,
        })
    }

    /// An index may list other content than manifests, as caches of builds do.
    fn of_index(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let index: wire::ImageIndex = parse_json(bytes).map_err(InvalidManifest::Json)?;
        let entry =
            |descriptor: &wire::Descriptor| Ok((ours(descriptor)?, descriptor.platform().as_ref().map(platform)));
        let entries = index.manifests().iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let (manifests, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(entry, _)| media_type::is_manifest(&entry.media_type));
        Ok(Self {
            artifact_type: index.artifact_type().as_ref().map(ToString::to_string),
            blobs: others.into_iter().map(|(entry, _)| entry).collect(),
            manifests,
            subject: index.subject().as_ref().map(ours).transpose()?,
            annotations: pairs(index.annotations().as_ref()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn descriptor(media_type: &str, digit: char) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", digit.to_string().repeat(64)), "size": 2})
    }

    fn links(media_type: &str, document: &Value) -> Links {
        Links::parse(media_type, document.to_string().as_bytes()).unwrap()
    }

    fn types(descriptors: &[Descriptor]) -> Vec<&str> {
        descriptors.iter().map(|descriptor| descriptor.media_type.as_str()).collect()
    }

    #[test]
    fn a_manifest_points_to_its_config_its_layers_and_its_subject() {
        let mut manifest = json!({
            "schemaVersion": 2, "config": descriptor("config", '1'), "layers": [descriptor("layer", '2')],
            "subject": descriptor(media_type::IMAGE_MANIFEST, '3'), "annotations": {"a": "b"},
        });
        let found = links(media_type::IMAGE_MANIFEST, &manifest);
        assert_eq!(types(&found.blobs), ["config", "layer"]);
        assert_eq!(found.subject.unwrap().media_type, media_type::IMAGE_MANIFEST);
        assert_eq!((found.artifact_type.as_deref(), found.annotations["a"].as_str()), (Some("config"), "b"));
        manifest["artifactType"] = "sbom".into();
        assert_eq!(links(media_type::IMAGE_MANIFEST, &manifest).artifact_type.as_deref(), Some("sbom"));
    }

    #[test]
    fn an_index_points_to_manifests_and_to_what_is_none() {
        let index = json!({
            "schemaVersion": 2, "artifactType": "set", "subject": descriptor(media_type::IMAGE_INDEX, '3'),
            "manifests": [descriptor(media_type::IMAGE_MANIFEST, '1'), descriptor("application/x-cache", '2')],
        });
        let found = links(media_type::IMAGE_INDEX, &index);
        assert_eq!(found.manifests.len(), 1);
        assert_eq!(types(&found.blobs), ["application/x-cache"]);
        assert_eq!((found.artifact_type.as_deref(), found.subject.is_some()), (Some("set"), true));
    }

    #[test]
    fn the_retired_artifact_manifest_points_to_its_blobs() {
        let artifact = json!({"artifactType": "sbom", "blobs": [descriptor("layer", '2')]});
        assert_eq!(types(&links(media_type::ARTIFACT_MANIFEST, &artifact).blobs), ["layer"]);
        assert_eq!(links(media_type::ARTIFACT_MANIFEST, &json!({"blobs": null})), Links::default());
    }
}
