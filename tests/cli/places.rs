//! Images that lie in no registry, by their exit status and output.

use std::fs;
use std::path::{Path, PathBuf};

use pratique::oci::{Descriptor, Digest, SignatureManifest, media_type};
use serde_json::{Value, json};

use crate::node::{REPOSITORY, Scene};
use crate::registry;

/// An image layout that is being written.
pub struct Directory {
    path: PathBuf,
    entries: Vec<Value>,
}

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Self { path, entries: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn blob(&self, bytes: &[u8]) {
        fs::write(self.path.join("blobs/sha256").join(Digest::sha256(bytes).hex()), bytes).unwrap();
    }

    fn manifest(&mut self, tag: Option<&str>, bytes: &[u8]) {
        let annotations = tag.map_or(json!({}), |tag| json!({"org.opencontainers.image.ref.name": tag}));
        self.annotated(&annotations, bytes);
    }

    pub fn annotated(&mut self, annotations: &Value, bytes: &[u8]) {
        self.blob(bytes);
        let mut entry = serde_json::to_value(Descriptor::of(media_type::IMAGE_MANIFEST, bytes)).unwrap();
        if annotations != &json!({}) {
            entry["annotations"] = annotations.clone();
        }
        self.entries.push(entry);
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }
}

/// The scene's image in a layout in the node's home, and its signatures, as the registry has them.
pub fn copied(scene: &Scene, name: &str) -> Directory {
    let mut layout = Directory::new(Path::new(&scene.node.path("..")).join(name));
    layout.manifest(Some("v1"), &scene.image);
    let signatures = scene.run("ls --output json").json();
    for signature in signatures["signatures"].as_array().unwrap() {
        let digest = signature["digest"].as_str().unwrap();
        let manifest = scene.registry.manifest(REPOSITORY, digest).unwrap();
        let envelope = SignatureManifest::parse(media_type::IMAGE_MANIFEST, &manifest).unwrap().envelope;
        layout.blob(&scene.registry.blob(REPOSITORY, &envelope.digest).unwrap());
        layout.manifest(None, &manifest);
    }
    layout
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_a_layout_is_listed_and_verified_under_the_statement_that_is_named() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    copied(&scene, "signed");
    scene.node.run("ls oci-layout:signed:v1").is(
        0,
        "
oci-layout:signed@[IMAGE]
└── application/vnd.cncf.notary.signature
    └── sha256:[HEX]
",
        "
warning: `v1` is a tag, which may be moved; pratique lists what it points to now. Write the digest to be sure
",
    );
    let verify = |arguments: &str| scene.node.run(&format!("verify --output json {arguments}"));
    verify("--scope registry.example/app oci-layout:signed").answers(0, "admit", "admitted", None);
    assert_eq!(verify("oci-layout:signed").exits(2).json()["code"], "scope-missing");
    let registry = format!("--scope registry.example/app {}", scene.image());
    assert_eq!(verify(&registry).exits(2).json()["code"], "scope-not-applicable");
    let shown = scene.node.run("inspect --output json oci-layout:signed").exits(0).json();
    assert_eq!(shown["signatures"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_layout_without_the_signature_is_denied() {
    let scene = Scene::new().await;
    copied(&scene, "unsigned");
    let verify = "verify --output json --scope registry.example/app oci-layout:unsigned:v1";
    scene.node.run(verify).answers(1, "deny", "no-signature", Some("retrieval"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_layout_needs_a_name_where_there_are_several() {
    let scene = Scene::new().await;
    let mut layout = copied(&scene, "two");
    let code = |location: &str| scene.node.run(&format!("ls --output json {location}")).json()["code"].clone();
    assert_eq!(code("oci-layout:two"), Value::Null);
    layout.manifest(Some("v2"), &registry::image("other"));
    assert_eq!(code("oci-layout:two"), "layout-several-images");
    assert_eq!(code("oci-layout:two:v2"), Value::Null);
    assert_eq!(code("oci-layout:two:v3"), "not-found");
    assert_eq!(code("oci-layout:none:v1"), "layout-incomplete");
    assert_eq!(code("oci-layout:two@v1"), "invalid-location");
}
