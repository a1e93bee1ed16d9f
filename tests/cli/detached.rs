//! Signatures that are made apart from the image, and attached later.

use std::fs;

use pratique::oci::{Descriptor, media_type};
use serde_json::Value;

use crate::node::{REPOSITORY, Scene};
use crate::places::copied;
use crate::registry;

/// A scene with a descriptor of its image and the signature `app.jws.sig` over it, neither of which is in the registry.
async fn signed() -> Scene {
    let scene = Scene::new().await;
    scene.run("descriptor --output-file app.json").exits(0);
    scene.registry.forget_requests();
    scene.node.run("sign --descriptor app.json --output-signature app.jws.sig").exits(0);
    assert!(scene.registry.lines().is_empty(), "nobody is asked");
    scene
}

fn push(scene: &Scene) -> Value {
    scene.node.run(&format!("push -o json app.jws.sig {}", scene.tag())).exits(0).json()
}

fn refused(scene: &Scene, exit: i32, file: &str, image: &str) -> String {
    scene.registry.forget_requests();
    let document = scene.node.run(&format!("push -o json {file} {image}")).exits(exit).json();
    assert!(scene.registry.lines().iter().all(|line| line.starts_with("GET") || line.starts_with("HEAD")));
    assert_eq!(listed(scene), 0);
    document["code"].as_str().unwrap().to_owned()
}

fn listed(scene: &Scene) -> usize {
    scene.run("ls -o json").exits(0).json()["signatures"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_is_the_same_wherever_the_image_lies() {
    let scene = Scene::new().await;
    copied(&scene, "out");
    let expected = serde_json::to_value(Descriptor::of(media_type::IMAGE_MANIFEST, &scene.image)).unwrap();
    assert_eq!(scene.run("descriptor").exits(0).json(), expected);
    assert_eq!(scene.node.run("descriptor oci-layout:out:v1").exits(0).json(), expected);
    scene.node.run("descriptor oci-layout:out:v1 --output-file app.json").is(
        0,
        "",
        "
warning: `v1` is a tag, which may be moved; pratique describes what it points to now. Write the digest to be sure
",
    );
    let written = fs::read(scene.node.home().join("app.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_over_a_descriptor_verifies_beside_it() {
    let scene = signed().await;
    let verify = "verify -o json --descriptor app.json --signature app.jws.sig --media-type application/jose+json";
    scene.node.run(&format!("{verify} --reference {}", scene.image())).answers(0, "admit", "admitted", None);
    let again = scene.node.run("sign -o json --descriptor app.json --output-signature app.jws.sig").exits(2).json();
    assert_eq!(again["code"], "signature-exists");
    let other = scene.node.run("sign -o json --descriptor app.json --output-signature app.cose.sig").exits(2).json();
    assert_eq!(other["code"], "signature-format-mismatch");
    scene.node.run("sign --descriptor app.json").exits(2);
    scene.run("sign --output-signature app2.jws.sig").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_refused_where_a_digest_is_required() {
    let scene = Scene::new().await;
    let refused = scene.node.run(&format!("sign -o json --require-digest {}", scene.tag())).exits(2).json();
    assert_eq!(refused["code"], "digest-required");
    assert!(scene.registry.lines().is_empty(), "nobody is asked");
    scene.run("sign --require-digest").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_signature_is_listed_and_a_second_push_changes_nothing() {
    let scene = signed().await;
    let first = push(&scene);
    assert_eq!((first["wasThere"].as_bool(), listed(&scene)), (Some(false), 1));
    scene.verify("").answers(0, "admit", "admitted", None);
    scene.registry.forget_requests();
    let second = push(&scene);
    assert_eq!((second["wasThere"].as_bool(), listed(&scene)), (Some(true), 1));
    assert_eq!(first["signature"], second["signature"]);
    assert!(scene.registry.lines().iter().all(|line| line.starts_with("GET") || line.starts_with("HEAD")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_image_under_the_tag_gets_no_signature() {
    let scene = signed().await;
    let put = |image: &[u8]| scene.registry.put_manifest(REPOSITORY, Some("v1"), media_type::IMAGE_MANIFEST, image);
    put(&registry::image("other"));
    assert_eq!(refused(&scene, 1, "app.jws.sig", &scene.tag()), "image-not-signed");
    put(&scene.image);
    push(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_for_another_image_is_refused() {
    let scene = signed().await;
    let other = Descriptor::of(media_type::IMAGE_MANIFEST, &registry::image("other"));
    scene.node.write_home("other.json", serde_json::to_vec(&other).unwrap());
    scene.node.run("sign --descriptor other.json --output-signature other.jws.sig").exits(0);
    assert_eq!(refused(&scene, 1, "other.jws.sig", &scene.image()), "image-not-signed");
    push(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_signature_is_refused_before_anybody_is_asked() {
    let scene = signed().await;
    let whole = fs::read(scene.node.home().join("app.jws.sig")).unwrap();
    let mut document: Value = serde_json::from_slice(&whole).unwrap();
    let signature = document["signature"].as_str().unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    document["signature"] = Value::from(format!("{first}{}", &signature[1..]));
    scene.node.write_home("bad.jws.sig", document.to_string());
    assert_eq!(refused(&scene, 1, "bad.jws.sig", &scene.tag()), "signature-invalid");
    push(&scene);
}
