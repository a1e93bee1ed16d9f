//! From an image's config to the names of the snapshots that are made of its layers.
//!
//! A chain ID names a stack of layers: the digest of the one below it and of the layer's own (image specification,
//! "Layer `ChainID`"). Snapshotters give it to the snapshot that holds the stack.

use serde::Deserialize;

use super::RootfsError;
use crate::oci::{Descriptor, Digest, InvalidJson, Manifest, parse_json};

/// How many layers an image may have. Overlayfs mounts some 500, and no builder makes as many.
const MAX_LAYERS: usize = 1024;

/// The digests of an image's unpacked layers, base first, as its config lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffIds(Vec<Digest>);

/// The name of the snapshot that holds a stack of layers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChainId(String);

/// The layers of one manifest, and the snapshots that unpacking them makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// The manifest.
    pub manifest: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Digest>,
    /// What each layer is when it is unpacked. The same may be packed in several ways.
    pub diff_ids: Vec<Digest>,
    /// The snapshot after each layer, base first.
    pub chain: Vec<ChainId>,
}

/// A config, as far as it matters here.
#[derive(Deserialize)]
struct Config {
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

impl DiffIds {
    /// The list in this config (image specification, "rootfs").
    pub fn parse(config: &[u8]) -> Result<Self, InvalidJson> {
        let config: Config = parse_json(config)?;
        Ok(Self(config.rootfs.diff_ids))
    }

    /// The snapshot after each layer, base first.
    pub fn chain(&self) -> Vec<ChainId> {
        let mut below: Option<ChainId> = None;
        self.0
            .iter()
            .map(|layer| {
                let chain = ChainId::on(below.as_ref(), layer);
                below = Some(chain.clone());
                chain
            })
            .collect()
    }
}

impl ChainId {
    /// The name of the stack that this unpacked layer makes, alone or on another stack.
    pub fn on(below: Option<&Self>, layer: &Digest) -> Self {
        match below {
            None => Self(layer.to_string()),
            Some(Self(below)) => Self(Digest::sha256(format!("{below} {layer}").as_bytes()).to_string()),
        }
    }

    /// The snapshot's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Layers {
    /// The layers that this manifest and its config speak of. Each has one place in both.
    pub fn of(descriptor: &Descriptor, manifest: &Manifest, config: &[u8]) -> Result<Self, RootfsError> {
        let unusable = |source| RootfsError::Config { config: manifest.config.digest.clone(), source };
        let diff_ids = DiffIds::parse(config).map_err(unusable)?;
        let layers: Vec<Digest> = manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
        if layers.len() != diff_ids.0.len() || layers.len() > MAX_LAYERS {
            let (in_manifest, in_config) = (layers.len(), diff_ids.0.len());
            return Err(RootfsError::Uneven { manifest: descriptor.digest.clone(), in_manifest, in_config });
        }
        Ok(Self { manifest: descriptor.clone(), layers, chain: diff_ids.chain(), diff_ids: diff_ids.0 })
    }

    /// The snapshot that containers of this image are made on; none where the image has no layers.
    pub fn top(&self) -> Option<&ChainId> {
        self.chain.last()
    }

    /// What this layer of the image is when it is unpacked.
    pub fn diff_id(&self, layer: &Digest) -> Option<&Digest> {
        let place = self.layers.iter().position(|own| own == layer)?;
        self.diff_ids.get(place)
    }

    /// Whether a snapshot with this parent is one of this image.
    pub fn are_below(&self, parent: &str) -> bool {
        self.top().map_or("", ChainId::as_str) == parent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;
    use crate::remedy::Remedy as _;

    fn config(layers: &[&str]) -> String {
        let ids: Vec<String> = layers.iter().map(|text| format!("\"{}\"", Digest::sha256(text.as_bytes()))).collect();
        format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            ids.join(",")
        )
    }

    #[test]
    fn each_stack_is_named_by_the_one_below_and_its_layer() {
        let ids = DiffIds::parse(config(&["a", "b", "c"]).as_bytes()).unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|text| Digest::sha256(text.as_bytes()).to_string());
        let ab = Digest::sha256(format!("{a} {b}").as_bytes()).to_string();
        let abc = Digest::sha256(format!("{ab} {c}").as_bytes()).to_string();
        assert_eq!(ids.chain(), [ChainId(a), ChainId(ab), ChainId(abc)]);
        assert!(DiffIds::parse(config(&[]).as_bytes()).unwrap().chain().is_empty());
    }

    #[test]
    fn a_manifest_and_its_config_speak_of_the_same_number_of_layers() {
        let document = |layers: usize| {
            let layer = format!(r#"{{"mediaType":"l","digest":"{}","size":1}}"#, Digest::sha256(b"blob"));
            let layers = vec![layer.clone(); layers].join(",");
            format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[{layers}]}}"#)
        };
        let of = |layers: usize, config: &str| {
            let manifest = Manifest::parse(document(layers).as_bytes()).unwrap();
            Layers::of(&Descriptor::of(media_type::IMAGE_MANIFEST, b"m"), &manifest, config.as_bytes())
        };
        let two = of(2, &config(&["a", "b"])).unwrap();
        assert!(two.are_below(two.chain[1].as_str()) && !two.are_below(two.chain[0].as_str()) && !two.are_below(""));
        assert!(of(0, &config(&[])).unwrap().are_below(""));
        assert_eq!(of(1, &config(&["a", "b"])).unwrap_err().code().as_str(), "image-layers-uneven");
        assert_eq!(of(1, "{}").unwrap_err().code().as_str(), "image-config-malformed");
    }
}
