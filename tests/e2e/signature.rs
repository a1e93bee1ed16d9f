//! Signatures and manifests as they lie in the registry: taken from one image, altered, and put on another.
//!
//! The registry here has no referrers API, so an image's signatures are listed under a tag made of its digest.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::node::{Image, Node};
use crate::tools::{succeed, tool};

pub struct Signature {
    manifest: Value,
    config: Vec<u8>,
    pub envelope: Vec<u8>,
}

impl Signature {
    /// The one signature of an image.
    pub fn of(node: &Node, image: &Image) -> Self {
        let repository = image.repository();
        let manifest = fetch_manifest(&format!("{repository}@{}", digest_in_list(image)));
        let config = fetch_blob(node, repository, &manifest["config"]);
        let envelope = fetch_blob(node, repository, &manifest["layers"][0]);
        Self { manifest, config, envelope }
    }

    /// The digest of its envelope.
    pub fn envelope_digest(&self) -> String {
        digest(&self.envelope)
    }

    /// Puts it on an image, with all digests as they must be.
    pub fn attach(&self, node: &Node, image: &Image) {
        let repository = image.repository();
        let mut manifest = self.manifest.clone();
        manifest["layers"][0]["digest"] = self.envelope_digest().into();
        manifest["layers"][0]["size"] = self.envelope.len().into();
        manifest["subject"] = json(&succeed(oras(&["manifest", "fetch", "--descriptor"]).arg(image.by_digest())));
        push_blob(node, repository, &self.config);
        push_blob(node, repository, &self.envelope);
        let bytes = manifest.to_string().into_bytes();
        let file = put(node, &bytes);
        succeed(oras(&["manifest", "push"]).arg(format!("{repository}@{}", digest(&bytes))).arg(&file));
    }

    /// Changes the signature value of a JWS envelope, and leaves all else as it was.
    pub fn alter_signature_value(&mut self) {
        let mut envelope: Value = serde_json::from_slice(&self.envelope).expect("a JWS envelope is JSON");
        let value = envelope["signature"].as_str().expect("a JWS envelope has a signature").to_owned();
        let changed = if value.starts_with('A') { "B" } else { "A" };
        envelope["signature"] = format!("{changed}{}", &value[1..]).into();
        self.envelope = envelope.to_string().into_bytes();
    }

    /// Gives a JWS envelope the payload of another one, and leaves all else as it was.
    pub fn take_payload_of(&mut self, other: &Self) {
        let mut envelope: Value = serde_json::from_slice(&self.envelope).expect("a JWS envelope is JSON");
        let other: Value = serde_json::from_slice(&other.envelope).expect("a JWS envelope is JSON");
        envelope["payload"] = other["payload"].clone();
        self.envelope = envelope.to_string().into_bytes();
    }
}

/// The platforms of an image that is an index, each as an image of its own.
pub fn platforms(image: &Image) -> Vec<Image> {
    let index = fetch_manifest(&image.by_digest());
    let platforms = index["manifests"].as_array().expect("the image is an index");
    let digests = platforms.iter().map(|platform| platform["digest"].as_str().expect("a descriptor has a digest"));
    digests.map(|digest| Image { reference: image.reference.clone(), digest: digest.to_owned() }).collect()
}

/// The digest of the one signature manifest that the image's list names.
fn digest_in_list(image: &Image) -> String {
    let list = fetch_manifest(&format!("{}:{}", image.repository(), image.digest.replace(':', "-")));
    let signatures = list["manifests"].as_array().expect("the list of signatures is an index");
    assert_eq!(signatures.len(), 1, "{} has one signature", image.reference);
    signatures[0]["digest"].as_str().expect("a descriptor has a digest").to_owned()
}

fn fetch_manifest(reference: &str) -> Value {
    json(&succeed(oras(&["manifest", "fetch"]).arg(reference)))
}

fn fetch_blob(node: &Node, repository: &str, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
    let file = node.folder().join("fetched");
    succeed(oras(&["blob", "fetch", "--no-tty"]).arg("--output").arg(&file).arg(format!("{repository}@{digest}")));
    fs::read(file).expect("oras has written the blob")
}

fn push_blob(node: &Node, repository: &str, bytes: &[u8]) {
    let file = put(node, bytes);
    succeed(oras(&["blob", "push", "--no-tty"]).arg(format!("{repository}@{}", digest(bytes))).arg(&file));
}

fn put(node: &Node, bytes: &[u8]) -> PathBuf {
    let file = node.folder().join("pushed");
    fs::write(&file, bytes).expect("a file can be written");
    file
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn oras(arguments: &[&str]) -> Command {
    let mut oras = Command::new(tool("oras"));
    oras.args(arguments).arg("--plain-http");
    oras
}
