//! What if somebody who may push to the registry tampers with the signatures?

use std::fs;
use std::time::Duration;

use crate::scene::{RELEASE, Refusal, Scene};
use crate::signature::Signature;
use crate::tools::wait_until;

#[test]
fn a_signature_of_another_image_is_refused() {
    let scene = Scene::new();
    let signature = Signature::of(&scene, &scene.signed("app", "app"));
    let other = scene.push("other", "moved");
    signature.attach(&scene, &other);
    scene.refuses(&other, Refusal::Denied("artifact-mismatch"));
    // The same signature, moved to another repository on the image that it was made for.
    let same = scene.push("app", "copied");
    signature.attach(&scene, &same);
    scene.admits(&same);
}

#[test]
fn an_envelope_with_another_signature_value_is_refused() {
    let scene = Scene::new();
    let signed = scene.signed("app", "app");
    let mut signature = Signature::of(&scene, &signed);
    signature.alter_signature_value();
    let image = scene.push("app", "altered");
    signature.attach(&scene, &image);
    scene.refuses(&image, Refusal::Denied("signature-invalid"));
    scene.admits(&signed);
}

#[test]
fn a_cose_envelope_with_another_signature_value_is_refused() {
    let scene = Scene::new();
    let signed = scene.push("app", "app");
    scene.notation.sign(&signed, RELEASE, &["--signature-format", "cose"]);
    let mut signature = Signature::of(&scene, &signed);
    // The signature value stands last in the envelope.
    *signature.envelope.last_mut().expect("the envelope is not empty") ^= 1;
    let image = scene.push("app", "altered");
    signature.attach(&scene, &image);
    scene.refuses(&image, Refusal::Denied("signature-invalid"));
    scene.admits(&signed);
}

#[test]
fn an_envelope_that_was_given_the_payload_of_another_is_refused() {
    let scene = Scene::new();
    let signed = scene.signed("app", "app");
    let mut signature = Signature::of(&scene, &signed);
    let other = scene.push("other", "other");
    scene.notation.generate("stranger");
    scene.notation.sign(&other, "stranger", &[]);
    // Now it speaks of `other`, and its signature value is a trusted key's, over something else.
    signature.take_payload_of(&Signature::of(&scene, &other));
    let image = scene.push("other", "altered");
    signature.attach(&scene, &image);
    scene.refuses(&image, Refusal::Denied("signature-invalid"));
    scene.admits(&signed);
}

#[test]
fn an_envelope_that_was_altered_in_the_registry_s_storage_is_refused() {
    let scene = Scene::new();
    let image = scene.signed("app", "altered");
    let blob = scene.stored_blob(&Signature::of(&scene, &image).envelope_digest());
    let mut bytes = fs::read(&blob).expect("the registry has the envelope");
    *bytes.last_mut().expect("the envelope is not empty") ^= 1;
    fs::write(&blob, bytes).expect("the registry's storage can be written");
    // A registry that serves other bytes than it was asked for says nothing about who signed.
    scene.refuses(&image, Refusal::CouldNotTell(&["content-mismatch"]));
    // Another image, since the registry keeps only one copy of envelopes that are the same to the byte.
    let twin = scene.signed("other", "unaltered");
    scene.admits(&twin);
}

#[test]
fn a_signature_that_has_expired_is_refused() {
    let scene = Scene::new();
    let image = scene.push("app", "expired");
    scene.notation.sign(&image, RELEASE, &["--expiry", "1s"]);
    wait_until("the signature expires", Duration::from_secs(10), || {
        (scene.notation.verdict(&image) == "signature-expired").then_some(())
    });
    scene.refuses(&image, Refusal::Denied("signature-expired"));
    let twin = scene.push("app", "fresh");
    scene.notation.sign(&twin, RELEASE, &["--expiry", "24h"]);
    scene.admits(&twin);
}
