//! Images for several platforms: all of them signed, or one of them picked.

use pratique::oci::{Descriptor, media_type};
use serde_json::{Value, json};

use crate::node::REPOSITORY;
use crate::push_sign::Built;
use crate::registry::image;

fn digests(built: &Built) -> [String; 3] {
    let other = Descriptor::of(media_type::IMAGE_MANIFEST, &image("other")).digest.to_string();
    [Descriptor::of(media_type::IMAGE_MANIFEST, &built.scene.image).digest.to_string(), other, built.digest()]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_and_each_platform_are_signed_and_what_the_builder_states_is_not() {
    let built = Built::new().await;
    let node = &built.scene.node;
    let registry = format!("{}/{REPOSITORY}", built.scene.registry.host());
    let in_registry = (format!("{registry}:all"), registry);
    let stated = Descriptor::of(media_type::IMAGE_MANIFEST, &image("stated")).digest.to_string();
    for (name, place) in [in_registry, ("oci-layout:out:v1".to_owned(), "oci-layout:out".to_owned())] {
        let signed = node.run(&format!("sign --recursive -o json {name}")).exits(0).json();
        let lines = signed["signatures"].as_array().unwrap();
        let told: Vec<_> = lines.iter().map(|line| line["reference"].as_str().unwrap().to_owned()).collect();
        let [app, other, index] = digests(&built).map(|digest| format!("{place}@{digest}"));
        assert_eq!(told, [app.clone(), other.clone(), index.clone()], "the index is last");
        assert_eq!(lines[1]["platform"], json!({"os": "linux", "architecture": "arm64"}));
        assert_eq!((&lines[2]["platform"], signed["left"][0]["digest"].as_str()), (&Value::Null, Some(&*stated)));
        for image in [app, other, index] {
            node.run(&format!("verify {} {image}", scope(&image))).exits(0);
        }
        let denied = node.run(&format!("verify -o json {} {place}@{stated}", scope(&place)));
        denied.answers(1, "deny", "no-signature", Some("retrieval"));
    }
}

fn scope(image: &str) -> &'static str {
    if image.starts_with("oci-layout:") { "--scope registry.example/app" } else { "" }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signature_covers_one_manifest() {
    let built = Built::new().await;
    let node = &built.scene.node;
    let [app, other, _] = digests(&built);
    let signed = node.run("sign -o json oci-layout:out:v1").exits(0).json();
    assert_eq!(signed["reference"], format!("oci-layout:out@{}", built.digest()));
    assert!(signed.get("platform").is_none() && signed.get("signatures").is_none(), "{signed}");
    let verify = |image: &str| node.run(&format!("verify -o json --scope registry.example/app {image}"));
    verify("--platform linux/amd64 oci-layout:out:v1").answers(1, "deny", "no-signature", Some("retrieval"));
    let signed = node.run("sign -o json --platform linux/amd64 oci-layout:out:v1").exits(0).json();
    assert_eq!(signed["reference"], format!("oci-layout:out@{app}"));
    verify("--platform linux/amd64 oci-layout:out:v1").answers(0, "admit", "admitted", None);
    verify("--platform linux/arm64 oci-layout:out:v1").answers(1, "deny", "no-signature", Some("retrieval"));
    let of_other = |command: &str| node.run(&format!("{command} --platform linux/arm64 oci-layout:out:v1")).exits(0);
    assert_eq!(of_other("descriptor").json()["digest"], *other);
    assert_eq!(of_other("ls -o json").json()["artifact"]["digest"], *other);
    assert!(of_other("inspect -o json").json()["signatures"].as_array().unwrap().is_empty());
    let text = node.run("sign --recursive oci-layout:out:v1").exits(0).stdout;
    assert!(text.contains(", linux/arm64\n  signature  sha256:") && text.contains("left sha256:"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_there_is_not_is_refused_with_those_that_there_are() {
    let built = Built::new().await;
    let node = &built.scene.node;
    for command in ["sign", "descriptor", "ls", "verify --scope registry.example/app"] {
        let ran = node.run(&format!("{command} -o json --platform linux/s390x oci-layout:out:v1")).exits(2);
        assert_eq!(ran.json()["code"], "platform-not-there", "{ran:?}");
        assert!(ran.json()["reason"].as_str().unwrap().ends_with("there are linux/amd64, linux/arm64"), "{ran:?}");
    }
    node.run("sign --platform linux oci-layout:out:v1").exits(2);
    node.run("sign --recursive --platform linux/amd64 oci-layout:out:v1").exits(2);
    node.run("sign --recursive --descriptor app.json --output-signature app.jws.sig").exits(2);
    let one = format!("sign -o json --platform linux/amd64 {}", built.scene.image());
    assert_eq!(node.run(&one).exits(2).json()["code"], "platform-not-there");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_of_an_image_that_is_here_in_part() {
    let built = Built::new().await;
    let node = &built.scene.node;
    let [_, other, _] = digests(&built);
    let blob = node.home().join("out/blobs").join(other.replace(':', "/"));
    let bytes = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    let refused = node.run("sign --recursive -o json oci-layout:out:v1").exits(3).json();
    assert_eq!(refused["code"], "platform-manifest-missing");
    let listed = || node.run("ls -o json oci-layout:out:v1").exits(0).json()["signatures"].as_array().unwrap().len();
    assert_eq!(listed(), 0);
    std::fs::write(&blob, bytes).unwrap();
    node.run("sign --recursive oci-layout:out:v1").exits(0);
    assert_eq!(listed(), 1);
}
