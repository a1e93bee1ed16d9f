//! The smallest image that there can be: one layer with one file, and nobody's signature.

use std::env::consts::ARCH;

use serde_json::{Value, json};

use crate::oci::{Descriptor, Digest, media_type};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The unit of a tar archive, in bytes (POSIX, ustar).
const BLOCK: usize = 512;

/// An image that nobody has signed.
pub(super) struct Canary {
    pub(super) layer: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) manifest: Vec<u8>,
}

impl Canary {
    /// An image that no other is equal to, by a text that no other has.
    pub(super) fn new(text: &str) -> Self {
        let layer = tar(&[("pratique-canary", text.as_bytes())]);
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Cmd": ["/pratique-canary"] },
            "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(&layer).as_str()] },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::IMAGE_MANIFEST,
            "config": described(CONFIG, &config),
            "layers": [described(LAYER, &layer)],
        });
        Self { layer, config, manifest: manifest.to_string().into_bytes() }
    }

    pub(super) fn layer_descriptor(&self) -> Descriptor {
        Descriptor::of(LAYER, &self.layer)
    }

    pub(super) fn manifest_descriptor(&self) -> Descriptor {
        Descriptor::of(media_type::IMAGE_MANIFEST, &self.manifest)
    }

    /// The image as an archive of an OCI layout.
    pub(super) fn archive(&self, name: &str) -> Vec<u8> {
        let manifest = json!({
            "mediaType": media_type::IMAGE_MANIFEST,
            "digest": Digest::sha256(&self.manifest).as_str(),
            "size": self.manifest.len(),
            "annotations": { "io.containerd.image.name": name },
        });
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": [manifest] });
        let path = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::sha256(bytes).hex());
        tar(&[
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json", index.to_string().as_bytes()),
            (&path(&self.manifest), &self.manifest),
            (&path(&self.config), &self.config),
            (&path(&self.layer), &self.layer),
        ])
    }
}

/// This machine's architecture, in Go's word for it.
pub(super) fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn described(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::sha256(bytes).as_str(), "size": bytes.len() })
}

/// An archive of these files, in the form that POSIX calls ustar.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        archive.extend(header(name, bytes.len()));
        archive.extend(*bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// The fields in their order, each with its length; the sum counts its own field as blanks.
fn header(name: &str, size: usize) -> Vec<u8> {
    let fields = |sum: &str| {
        let size = format!("{size:011o}");
        let fields: [(&str, usize); 10] = [
            (name, 100),
            ("0000444", 8),
            ("0000000", 8),
            ("0000000", 8),
            (&size, 12),
            ("00000000000", 12),
            (sum, 8),
            ("0", 1),
            ("", 100),
            ("ustar\u{0}00", BLOCK - 257),
        ];
        let mut header = Vec::with_capacity(BLOCK);
        for (text, length) in fields {
            let end = header.len() + length;
            header.extend(text.as_bytes());
            header.resize(end, 0);
        }
        header
    };
    let sum: u32 = fields("        ").iter().map(|byte| u32::from(*byte)).sum();
    fields(&format!("{sum:06o}\u{0} "))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_archive_is_one_that_tar_reads() {
        let dir = tempfile::tempdir().unwrap();
        let canary = Canary::new("a text");
        fs::write(dir.path().join("image.tar"), canary.archive("x.invalid/y:v1")).unwrap();
        let unpacked =
            Command::new("tar").arg("-C").arg(dir.path()).arg("-xf").arg(dir.path().join("image.tar")).status();
        assert!(unpacked.unwrap().success());
        let manifest = canary.manifest_descriptor();
        let blob = fs::read(dir.path().join("blobs/sha256").join(manifest.digest.hex())).unwrap();
        assert_eq!(blob, canary.manifest);
        fs::write(dir.path().join("layer.tar"), &canary.layer).unwrap();
        let listed = Command::new("tar").arg("-xOf").arg(dir.path().join("layer.tar")).output().unwrap();
        assert_eq!(listed.stdout, b"a text");
    }

    #[test]
    fn no_two_are_the_same() {
        assert_ne!(Canary::new("one").layer_descriptor(), Canary::new("two").layer_descriptor());
    }
}
