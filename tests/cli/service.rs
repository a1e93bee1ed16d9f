//! An external signing service, as far as a pipeline sees it: files with payloads go in, files with envelopes come out. And a
//! release with many images for it to sign.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pratique::clock;
use pratique::envelope::{Format, Payload};
use pratique::oci::{Descriptor, media_type};
use pratique::pki::{Certificate, PrivateKey};
use pratique::sign::{LocalKey, SignRequest, sign};

use crate::node::{Node, REPOSITORY, Ran, Scene, policy};
use crate::registry::{self, Builder, ScriptedRegistry};

/// Signs payloads with the local key of this name.
pub struct Service {
    key: LocalKey,
    format: Format,
    now: jiff::Timestamp,
}

impl Service {
    pub fn new(node: &Node, key: &str, format: Format) -> Self {
        let read = |suffix: &str| fs::read(node.path(&format!("localkeys/{key}.{suffix}"))).unwrap();
        let certificates = Certificate::read_all(&read("crt")).unwrap();
        let key = LocalKey::new(PrivateKey::from_pem(&read("key")).unwrap(), certificates).unwrap();
        Self { key, format, now: clock::now() }
    }

    /// The same, so many seconds ago.
    pub fn earlier(self, seconds: i64) -> Self {
        Self { now: self.now - jiff::SignedDuration::from_secs(seconds), ..self }
    }

    /// The same, at this instant.
    pub fn at(self, time: &str) -> Self {
        Self { now: time.parse().unwrap(), ..self }
    }

    /// The envelope with this payload.
    pub fn envelope(&self, payload: &[u8]) -> Vec<u8> {
        let artifact = Payload::parse(payload).unwrap().target_artifact;
        let request = SignRequest { format: self.format, user_metadata: BTreeMap::new(), expiry: None, now: self.now };
        sign(&artifact, &request, &self.key).unwrap().envelope.bytes().to_vec()
    }

    /// Gives back an envelope beside every payload of this directory.
    pub fn sign_all(&self, directory: &Path) {
        for payload in payloads(directory) {
            self.sign(&payload);
        }
    }

    /// Gives back an envelope beside this payload.
    pub fn sign(&self, payload: &Path) {
        let envelope = self.envelope(&fs::read(payload).unwrap());
        fs::write(envelope_file(payload, self.format), envelope).unwrap();
    }

    /// Puts the envelope into its payload's own place.
    pub fn sign_in_place(&self, payload: &Path) {
        fs::write(payload, self.envelope(&fs::read(payload).unwrap())).unwrap();
    }
}

/// Where the envelope of a payload is looked for.
pub fn envelope_file(payload: &Path, format: Format) -> PathBuf {
    let name = payload.file_name().unwrap().to_str().unwrap();
    let suffix = if format == Format::Cose { "cose" } else { "jws" };
    payload.with_file_name(format!("{}.{suffix}", name.strip_suffix(".payload.json").unwrap()))
}

/// The payloads in a directory, by name.
pub fn payloads(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_str().unwrap().ends_with(".payload.json"));
    files.sort();
    files
}

/// A release of several images, in a registry and as a list.
pub struct Release {
    pub scene: Scene,
    pub images: Vec<Vec<u8>>,
}

impl Release {
    /// So many images, and no payload yet.
    pub async fn of(script: Builder, count: usize) -> Self {
        let scene = Scene::of(script).await;
        scene.node.write("trustpolicy.json", policy("strict", &["ca:ann"], &["*"]));
        let images: Vec<Vec<u8>> = (0..count).map(|number| registry::image(&format!("image {number}"))).collect();
        for image in &images {
            scene.registry.put_manifest(REPOSITORY, None, media_type::IMAGE_MANIFEST, image);
        }
        let release = Self { scene, images };
        let list: Vec<String> = (0..count).map(|number| release.reference(number)).collect();
        release.scene.node.write_home("images.txt", list.join("\n"));
        release
    }

    /// With payloads, and an envelope for each of them by ann.
    pub async fn signed(script: Builder, count: usize) -> Self {
        let release = Self::of(script, count).await;
        release.generate("").exits(0);
        Service::new(&release.scene.node, "ann", Format::Cose).sign_all(&release.payload_dir());
        release.scene.registry.forget_requests();
        release
    }

    pub async fn start(count: usize) -> Self {
        Self::signed(ScriptedRegistry::builder(), count).await
    }

    pub fn artifact(&self, number: usize) -> Descriptor {
        Descriptor::of(media_type::IMAGE_MANIFEST, &self.images[number])
    }

    pub fn reference(&self, number: usize) -> String {
        format!("{}/{REPOSITORY}@{}", self.scene.registry.host(), self.artifact(number).digest)
    }

    /// Where the payload of an image is.
    pub fn payload(&self, number: usize) -> PathBuf {
        self.payload_dir().join(format!("sha256-{}.payload.json", self.artifact(number).digest.hex()))
    }

    pub fn payload_dir(&self) -> PathBuf {
        self.scene.node.home().join("payloads")
    }

    pub fn generate(&self, further: &str) -> Ran {
        self.scene.node.run(&format!("payload generate --image-info images.txt --output-dir payloads {further}"))
    }

    pub fn attach(&self, further: &str) -> Ran {
        self.scene.node.run(&format!("attach --payload-dir payloads {further}"))
    }

    /// The digests of the signature manifests that the registry lists for an image.
    pub fn listed(&self, number: usize) -> Vec<String> {
        let listing = self.scene.node.run(&format!("ls --output json {}", self.reference(number))).exits(0).json();
        let signatures = listing["signatures"].as_array().unwrap();
        signatures.iter().map(|signature| signature["digest"].as_str().unwrap().to_owned()).collect()
    }

    /// The same, looked up in the registry itself and not asked for.
    pub fn signatures(&self, number: usize) -> Vec<String> {
        self.scene.registry.listed(REPOSITORY, &self.artifact(number).digest)
    }
}

/// A seed for what happens at random: the one in the environment, or another each time. Printed, so that a run can be made
/// again.
pub fn seed() -> u64 {
    let given = std::env::var("PRATIQUE_CHAOS_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("PRATIQUE_CHAOS_SEED={seed}");
    seed
}
