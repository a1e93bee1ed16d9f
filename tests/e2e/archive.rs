//! Images as archives, the way they travel without a registry; and images that no builder would make.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use pratique::oci::Digest;
use serde_json::{Value, json};

use crate::node::{Image, Node};
use crate::tools::{succeed, tool};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// An OCI layout, copied so that it can be changed.
pub struct Layout(PathBuf);

impl Layout {
    /// A copy of this layout in the node's folder.
    pub fn copy(node: &Node, layout: &Path, name: &str) -> Self {
        let copy = node.folder().join(format!("layout-{name}"));
        succeed(Command::new("cp").arg("-r").arg(layout).arg(&copy));
        Self(copy)
    }

    /// An image with all its signatures, out of a registry.
    pub fn with_signatures(node: &Node, image: &Image, name: &str) -> Self {
        let layout = node.folder().join(format!("layout-{name}"));
        let mut oras = Command::new(tool("oras"));
        oras.args(["cp", "--no-tty", "--recursive", "--from-plain-http", "--to-oci-layout", &image.reference]);
        succeed(oras.arg(format!("{}:v1", layout.display())));
        Self(layout)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The digest of the image.
    pub fn digest(&self) -> String {
        self.index()["manifests"][0]["digest"].as_str().expect("the index names an image").to_owned()
    }

    /// Another config over the same layers: another image, of which every byte that is unpacked is known.
    pub fn with_other_config(self, message: &str) -> Self {
        let manifest = self.document(&self.digest());
        let mut config = self.document(manifest["config"]["digest"].as_str().expect("a config"));
        config["config"]["Cmd"] = json!(["/bin/echo", message]);
        self.with_config_of(manifest, &config)
    }

    fn with_config_of(self, mut manifest: Value, config: &Value) -> Self {
        let (digest, size) = self.put(config.to_string().as_bytes());
        manifest["config"]["digest"] = json!(digest);
        manifest["config"]["size"] = json!(size);
        self.with_manifest(&manifest.to_string())
    }

    /// One more layer on top, of what lies in this folder. Whiteouts are in it as files with the names that layers give them.
    pub fn with_layer(self, folder: &Path) -> Self {
        let archive = self.0.with_extension("layer");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(folder).args(["--sort=name", "--numeric-owner", "-cf"]).arg(&archive).arg(".");
        succeed(&mut tar);
        let bytes = fs::read(&archive).expect("the layer can be read");
        let layer = Digest::sha256(&bytes).to_string();
        fs::write(self.blob(&layer), &bytes).expect("the layout can be written");
        let mut manifest = self.document(&self.digest());
        let mut config = self.document(manifest["config"]["digest"].as_str().expect("a config"));
        config["rootfs"]["diff_ids"].as_array_mut().expect("a list").push(json!(layer));
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        let entry = json!({"mediaType": media_type, "digest": layer, "size": bytes.len()});
        manifest["layers"].as_array_mut().expect("a list").push(entry);
        self.with_config_of(manifest, &config)
    }

    /// The digests of the image's layers, base first.
    pub fn layers(&self) -> Vec<String> {
        let manifest = self.document(&self.digest());
        let layers = manifest["layers"].as_array().expect("a list");
        layers.iter().map(|layer| layer["digest"].as_str().expect("a digest").to_owned()).collect()
    }

    /// The same image in the words of docker's formats, which are older than OCI's.
    pub fn with_docker_media_types(self) -> Self {
        let manifest = self.document(&self.digest()).to_string();
        let manifest = manifest
            .replace("application/vnd.oci.image.manifest.v1+json", DOCKER_MANIFEST)
            .replace("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
            .replace(
                "application/vnd.oci.image.layer.v1.tar+gzip",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            );
        let layout = self.with_manifest(&manifest);
        let mut index = layout.index();
        index["manifests"][0]["mediaType"] = json!(DOCKER_MANIFEST);
        fs::write(layout.0.join("index.json"), index.to_string()).expect("the layout can be written");
        layout
    }

    /// The same image whose top layer is there twice.
    pub fn with_top_layer_twice(self) -> Self {
        let mut manifest = self.document(&self.digest());
        let mut config = self.document(manifest["config"]["digest"].as_str().expect("a config"));
        for list in [&mut manifest["layers"], &mut config["rootfs"]["diff_ids"]] {
            let list = list.as_array_mut().expect("the image has layers");
            list.push(list.last().expect("the image has layers").clone());
        }
        self.with_config_of(manifest, &config)
    }

    /// The same image with all layers compressed otherwise: other blobs, of which the same is unpacked.
    pub fn compressed_otherwise(self) -> Self {
        let mut manifest = self.document(&self.digest());
        for layer in manifest["layers"].as_array_mut().expect("the image has layers") {
            let blob = fs::File::open(self.blob(layer["digest"].as_str().expect("a digest"))).expect("a layer");
            let mut unpacked = Vec::new();
            GzDecoder::new(blob).read_to_end(&mut unpacked).expect("a layer is compressed");
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&unpacked).expect("a vector can be written");
            let (digest, size) = self.put(&encoder.finish().expect("a vector can be written"));
            layer["digest"] = json!(digest);
            layer["size"] = json!(size);
        }
        self.with_manifest(&manifest.to_string())
    }

    /// The same image in a manifest that containerd reads and a strict reader does not: Go's JSON does not tell `Layers`
    /// from `layers`.
    pub fn with_odd_manifest(self) -> Self {
        let manifest = self.document(&self.digest()).to_string().replace("\"layers\"", "\"Layers\"");
        self.with_manifest(&manifest)
    }

    fn with_manifest(self, manifest: &str) -> Self {
        let (digest, size) = self.put(manifest.as_bytes());
        fs::remove_file(self.blob(&self.digest())).expect("the layout can be written");
        let mut index = self.index();
        index["manifests"][0]["digest"] = json!(digest);
        index["manifests"][0]["size"] = json!(size);
        fs::write(self.0.join("index.json"), index.to_string()).expect("the layout can be written");
        self
    }

    /// The same layout, whose image docker loads under this name.
    pub fn named(&self, reference: &str) -> &Self {
        let mut index = self.index();
        index["manifests"][0]["annotations"]["io.containerd.image.name"] = json!(reference);
        fs::write(self.0.join("index.json"), index.to_string()).expect("the layout can be written");
        self
    }

    /// The archive of this layout, as `ctr images import` reads it.
    pub fn archive(&self) -> PathBuf {
        let archive = self.0.with_extension("tar");
        self.archive_at(&archive);
        archive
    }

    /// The same in this file.
    pub fn archive_at(&self, file: &Path) {
        succeed(Command::new("tar").arg("-C").arg(&self.0).arg("-cf").arg(file).arg("."));
    }

    fn index(&self) -> Value {
        read(&self.0.join("index.json"))
    }

    fn document(&self, digest: &str) -> Value {
        read(&self.blob(digest))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs").join(digest.replace(':', "/"))
    }

    fn put(&self, bytes: &[u8]) -> (String, usize) {
        let digest = Digest::sha256(bytes).to_string();
        fs::write(self.blob(&digest), bytes).expect("the layout can be written");
        (digest, bytes.len())
    }
}

/// The names of the snapshots that a layout's image is unpacked to, from its base on: image-spec, "Layer `ChainID`".
pub fn chain_ids(layout: &Path) -> Vec<String> {
    let layout = Layout(layout.to_owned());
    let manifest = layout.document(&layout.digest());
    let config = layout.document(manifest["config"]["digest"].as_str().expect("a config"));
    let mut chain: Vec<String> = Vec::new();
    for diff_id in config["rootfs"]["diff_ids"].as_array().expect("the config lists its layers") {
        let diff_id = diff_id.as_str().expect("a digest");
        let next = chain.last().map(|parent| Digest::sha256(format!("{parent} {diff_id}").as_bytes()).to_string());
        chain.push(next.unwrap_or_else(|| diff_id.to_owned()));
    }
    chain
}

fn read(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("JSON")
}
