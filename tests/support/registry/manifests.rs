//! Manifests to fill a scripted registry with.

use pratique::oci::{Digest, media_type};
use serde_json::{Value, json};

/// The manifest of an image without layers.
pub fn image(name: &str) -> Vec<u8> {
    manifest(&json!({"annotations": {"org.opencontainers.image.title": name}}))
}

/// The manifest of a Notary signature with this envelope, in the current form.
pub fn signature(subject: &[u8], envelope: &[u8]) -> Vec<u8> {
    referring(media_type::NOTARY_SIGNATURE, subject, envelope)
}

/// The same with an envelope of this type.
pub fn signed_as(envelope_type: &str, subject: &[u8], envelope: &[u8]) -> Vec<u8> {
    of_one_layer(media_type::NOTARY_SIGNATURE, subject, descriptor(envelope_type, envelope))
}

/// The manifest of an artifact of any type with this one blob.
pub fn referring(artifact_type: &str, subject: &[u8], blob: &[u8]) -> Vec<u8> {
    of_one_layer(artifact_type, subject, descriptor(media_type::JWS_ENVELOPE, blob))
}

#[allow(clippy::needless_pass_by_value, reason = "it is made for this")]
fn of_one_layer(artifact_type: &str, subject: &[u8], layer: Value) -> Vec<u8> {
    manifest(&json!({
        "artifactType": artifact_type,
        "layers": [layer],
        "subject": descriptor(media_type::IMAGE_MANIFEST, subject),
        "annotations": {"io.cncf.notary.x509chain.thumbprint#S256": "[]"},
    }))
}

fn manifest(members: &Value) -> Vec<u8> {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::IMAGE_MANIFEST,
        "config": descriptor(media_type::EMPTY, b"{}"),
        "layers": [],
    });
    for (name, value) in members.as_object().unwrap() {
        manifest[name] = value.clone();
    }
    manifest.to_string().into_bytes()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(bytes).as_str(), "size": bytes.len()})
}
