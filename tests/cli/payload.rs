//! `pratique payload generate`: what is written, that it is true, and that nothing is written where it might not be.

use std::fs;

use pratique::envelope::{Format, Payload};
use pratique::oci::{Descriptor, media_type};
use serde_json::{Value, json};

use crate::node::{REPOSITORY, Scene};
use crate::registry::{Fault, ScriptedRegistry, image};
use crate::service::{Release, Service, payloads};

fn index(release: &Release) -> Value {
    serde_json::from_slice(&fs::read(release.payload_dir().join("payload-index.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_image_gets_a_payload_and_a_place_in_the_index() {
    let release = Release::of(ScriptedRegistry::builder(), 3).await;
    release.generate("").is(
        0,
        "
3 payloads, 3 of them new
  manifests  3
  indexes    0
  listed in  payloads/payload-index.json
",
        "",
    );
    for number in 0..3 {
        let payload = Payload::parse(&fs::read(release.payload(number)).unwrap()).unwrap();
        assert_eq!(payload.target_artifact, release.artifact(number));
    }
    let index = index(&release);
    let digests: Vec<&str> =
        index["payloads"].as_array().unwrap().iter().map(|e| e["digest"].as_str().unwrap()).collect();
    assert!(digests.is_sorted() && digests.len() == 3, "{digests:?}");
    let artifact = release.artifact(0);
    let entry = index["payloads"].as_array().unwrap().iter().find(|e| e["digest"] == artifact.digest.as_str()).unwrap();
    assert_eq!(
        *entry,
        json!({
            "digest": artifact.digest,
            "payload": format!("sha256-{}.payload.json", artifact.digest.hex()),
            "kind": "manifest",
            "references": [release.reference(0)],
            "mediaType": artifact.media_type,
            "size": artifact.size,
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_build_gives_the_same_bytes() {
    let release = Release::of(ScriptedRegistry::builder(), 4).await;
    release.generate("").exits(0);
    let index = fs::read(release.payload_dir().join("payload-index.json")).unwrap();
    let list: Vec<String> = (0..4).rev().chain(0..4).map(|number| release.reference(number)).collect();
    release.scene.node.write_home("images.txt", list.join("\n"));
    let again = release.generate("--jobs 1").exits(0);
    assert!(again.stdout.starts_with("4 payloads, 0 of them new\n"), "{again:?}");
    assert_eq!(fs::read(release.payload_dir().join("payload-index.json")).unwrap(), index);
    assert_eq!(fs::read_dir(release.payload_dir()).unwrap().count(), 5, "no litter");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_pinned_with_a_warning() {
    let scene = Scene::new().await;
    scene.node.write_home("images.txt", scene.tag());
    let ran = scene.node.run("payload generate --image-info images.txt --output-dir out --output json").exits(0);
    assert!(ran.stderr.starts_with("warning: `v1` is a tag, which may be moved; pratique pins"), "{ran:?}");
    assert_eq!(ran.json()["payloads"][0]["references"], json!([scene.image()]));
}

/// An index of two platforms and what BuildKit says about one of them.
fn multi_platform(scene: &Scene) -> (Vec<Descriptor>, Descriptor) {
    let put = |media_type: &str, bytes: &[u8]| {
        scene.registry.put_manifest(REPOSITORY, None, media_type, bytes);
        Descriptor::of(media_type, bytes)
    };
    let platforms: Vec<Descriptor> =
        ["amd64", "arm64"].iter().map(|name| put(media_type::IMAGE_MANIFEST, &image(name))).collect();
    let statement = put(media_type::IMAGE_MANIFEST, &image("provenance"));
    let mut entries: Vec<Value> = platforms.iter().map(|platform| json!(platform)).collect();
    let mut attestation = json!(statement);
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    entries.push(attestation);
    let document = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": entries});
    let index = put(media_type::IMAGE_INDEX, document.to_string().as_bytes());
    (platforms, index)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_buildkit_stands_for_its_platforms_too() {
    let scene = Scene::new().await;
    let (platforms, index) = multi_platform(&scene);
    let name = format!("{}/{REPOSITORY}:v7", scene.registry.host());
    let metadata = json!({
        "containerimage.descriptor": index, "containerimage.digest": index.digest, "image.name": name,
    });
    scene.node.write_home("metadata.json", metadata.to_string());
    let ran = scene.node.run("payload generate --image-info metadata.json --output-dir out -o json").exits(0);
    let document = ran.json();
    assert_eq!((&document["manifests"], &document["indexes"]), (&json!(2), &json!(1)));
    let mut expected: Vec<Descriptor> = platforms.into_iter().chain([index]).collect();
    expected.sort_by(|a, b| a.digest.cmp(&b.digest));
    let described: Vec<&Value> =
        document["payloads"].as_array().unwrap().iter().map(|line| &line["artifact"]).collect();
    assert_eq!(json!(described), json!(expected), "and not for statements about them");
}

/// What BuildKit says of an image.
fn metadata(scene: &Scene, descriptor: &Descriptor) -> String {
    let name = format!("{}/{REPOSITORY}:v7", scene.registry.host());
    json!({"containerimage.descriptor": descriptor, "containerimage.digest": descriptor.digest, "image.name": name})
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_of_the_build_is_compared_with_the_registry() {
    let scene = Scene::new().await;
    let truth = Descriptor::of(media_type::IMAGE_MANIFEST, &scene.image);
    let generate = |claimed: &Descriptor, options: &str| {
        scene.node.write_home("metadata.json", metadata(&scene, claimed));
        let _ = fs::remove_dir_all(scene.node.home().join("out"));
        scene.node.run(&format!("payload generate --image-info metadata.json --output-dir out -o json {options}"))
    };
    for (claimed, code) in [
        (truth.clone(), None),
        (Descriptor { size: truth.size + 1, ..truth.clone() }, Some("build-output-differs")),
        (
            Descriptor { media_type: "application/vnd.docker.distribution.manifest.v2+json".into(), ..truth.clone() },
            Some("build-output-differs"),
        ),
    ] {
        let ran = generate(&claimed, "");
        match code {
            None => assert_eq!(ran.exits(0).json()["unverified"], 0),
            Some(code) => assert_eq!(ran.exits(1).json()["code"], code, "{claimed:?}"),
        }
        assert_eq!(scene.node.home().join("out").try_exists().unwrap(), code.is_none());
    }
    let absent = Descriptor::of(media_type::IMAGE_MANIFEST, b"never pushed");
    assert_eq!(generate(&absent, "").exits(3).json()["code"], "not-found");
    scene.registry.always("/manifests/", Fault::Status(503));
    generate(&truth, "").exits(3);
    scene.registry.forget_requests();
    let believed = generate(&absent, "--unverified").exits(0);
    assert_eq!((&believed.json()["unverified"], scene.registry.requests().len()), (&json!(1), 0));
    assert!(believed.stderr.contains("1 descriptors were taken on trust"), "{believed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn image_info_means_exactly_what_it_names() {
    let scene = Scene::new().await;
    let (platforms, index) = multi_platform(&scene);
    let info = json!({"schemaVersion": "2.0", "repos": [{"repo": REPOSITORY, "images": [{
        "manifest": {"digest": format!("{REPOSITORY}@{}", index.digest), "sharedTags": ["latest"]},
        "platforms": [{"dockerfile": "Dockerfile", "digest": platforms[0].digest, "architecture": "amd64"}],
    }]}]});
    scene.node.write_home("image-info.json", info.to_string());
    let command = "payload generate --image-info image-info.json --output-dir out -o json";
    let refused = scene.node.run(command).exits(2);
    assert_eq!(refused.json()["code"], "build-output-no-registry");
    let ran = scene.node.run(&format!("{command} --registry {}", scene.registry.host())).exits(0);
    assert_eq!((&ran.json()["manifests"], &ran.json()["indexes"]), (&json!(1), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_something_is_not_known() {
    let release = Release::of(ScriptedRegistry::builder(), 3).await;
    release.scene.registry.always(release.artifact(1).digest.as_str(), Fault::Status(404));
    let ran = release.generate("").exits(3);
    assert!(ran.stderr.starts_with("error [not-found]: "), "{ran:?}");
    assert!(ran.stderr.contains("; nothing was written\n"), "{ran:?}");
    assert!(!release.payload_dir().try_exists().unwrap());
    // One that answers something else is not believed either.
    let release = Release::of(ScriptedRegistry::builder(), 1).await;
    let other = Descriptor::of(media_type::IMAGE_MANIFEST, b"other").digest.to_string();
    release.scene.registry.always("HEAD", Fault::With("docker-content-digest", other));
    assert!(release.generate("").exits(3).stderr.starts_with("error [content-mismatch]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_in_its_payloads_place_is_not_overwritten() {
    let release = Release::of(ScriptedRegistry::builder(), 2).await;
    release.generate("").exits(0);
    Service::new(&release.scene.node, "ann", Format::Cose).sign_in_place(&release.payload(0));
    let envelope = fs::read(release.payload(0)).unwrap();
    let refused = release.generate("").exits(2);
    assert!(refused.stderr.starts_with("error [payload-exists]"), "{refused:?}");
    release.scene.registry.forget_requests();
    let ran = release.generate("--skip-existing").exits(0);
    assert!(ran.stdout.starts_with("2 payloads, 0 of them new\n"), "{ran:?}");
    assert_eq!(release.scene.registry.requests().len(), 0, "what is known is not asked for again");
    assert_eq!(fs::read(release.payload(0)).unwrap(), envelope);
}

#[tokio::test(flavor = "multi_thread")]
async fn skipping_what_is_there_adds_the_rest() {
    let release = Release::of(ScriptedRegistry::builder(), 3).await;
    release.scene.node.write_home("first.txt", release.reference(0));
    let first = "payload generate --image-info first.txt --output-dir payloads";
    release.scene.node.run(first).exits(0);
    let ran = release.generate("--skip-existing").exits(0);
    assert!(ran.stdout.starts_with("3 payloads, 2 of them new\n"), "{ran:?}");
    assert_eq!(index(&release)["payloads"].as_array().unwrap().len(), 3);
    assert_eq!(payloads(&release.payload_dir()).len(), 3);
    // And what is listed there stays listed.
    release.scene.node.run(&format!("{first} --skip-existing")).exits(0);
    assert_eq!(index(&release)["payloads"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_written_is_named() {
    let release = Release::of(ScriptedRegistry::builder(), 1).await;
    let node = &release.scene.node;
    let ran = node.run("payload generate --image-info none.txt --output-dir out").exits(3);
    assert!(ran.stderr.starts_with("error [file-unreadable]"), "{ran:?}");
    node.write_home("empty.json", "{}");
    let ran = node.run("payload generate --image-info empty.json --output-dir out").exits(2);
    assert!(ran.stderr.starts_with("error [build-output-malformed]: empty.json: "), "{ran:?}");
    node.write_home("blocked", "a file");
    let ran = node.run("payload generate --image-info images.txt --output-dir blocked").exits(3);
    assert!(ran.stderr.starts_with("error [file-unwritable]"), "{ran:?}");
    for wrong in
        ["payload", "payload generate", "payload generate --image-info images.txt", "payload generate --jobs 0"]
    {
        node.run(wrong).exits(2);
    }
}
