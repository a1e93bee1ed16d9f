//! `pratique attach`: what is attached, what is not and why, and that a repeated run does only the rest.

use std::fs;

use pratique::envelope::Format;
use pratique::oci::{Digest, media_type};
use serde_json::{Value, json};

use crate::node::REPOSITORY;
use crate::registry::{Fault, ScriptedRegistry};
use crate::service::{Release, Service, envelope_file};

/// How many signatures are in each state, and their codes.
fn counts(document: &Value) -> [u64; 4] {
    ["attached", "present", "wouldAttach", "failed"].map(|state| document[state].as_u64().unwrap())
}

fn codes(document: &Value) -> Vec<&str> {
    let lines = document["signatures"].as_array().unwrap();
    lines.iter().filter_map(|line| line["problem"]["code"].as_str()).collect()
}

fn writes(release: &Release) -> usize {
    release.scene.registry.lines().iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_is_attached_and_verifies() {
    let release = Release::start(1).await;
    release.attach("").is(
        0,
        "
of 1 signatures: 1 attached
  attached      [HOST]/team/app@sha256:[HEX]
                sha256:[HEX]
",
        "",
    );
    release.scene.node.run(&format!("verify {}", release.reference(0))).exits(0);
    let signature = release.listed(0).pop().unwrap();
    let manifest = release.scene.registry.manifest(REPOSITORY, &signature).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["artifactType"], media_type::NOTARY_SIGNATURE);
    assert_eq!(manifest["layers"][0]["mediaType"], media_type::COSE_ENVELOPE);
    let thumbprints = manifest["annotations"]["io.cncf.notary.x509chain.thumbprint#S256"].as_str().unwrap();
    let certificate = fs::read(release.scene.node.path("localkeys/ann.crt")).unwrap();
    let certificates = pratique::pki::Certificate::read_all(&certificate).unwrap();
    assert_eq!(thumbprints, json!([certificates[0].thumbprint()]).to_string());
    let inspected = release.scene.node.run(&format!("inspect -o json {}", release.reference(0))).json();
    let signing_time = &inspected["signatures"][0]["signedAttributes"]["signingTime"];
    assert_eq!(&manifest["annotations"]["org.opencontainers.image.created"], signing_time);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_formats_and_an_envelope_in_its_payloads_place_are_found() {
    let release = Release::of(ScriptedRegistry::builder(), 4).await;
    release.generate("").exits(0);
    let node = &release.scene.node;
    let (cose, jws) = (Service::new(node, "ann", Format::Cose), Service::new(node, "ann", Format::Jws));
    cose.sign(&release.payload(0));
    jws.sign(&release.payload(1));
    cose.sign_in_place(&release.payload(2));
    jws.sign_in_place(&release.payload(3));
    // One image has two, and one of them under two names.
    jws.sign(&release.payload(0));
    fs::copy(release.payload(2), envelope_file(&release.payload(2), Format::Cose)).unwrap();
    let document = release.attach("--output json").exits(0).json();
    assert_eq!(counts(&document), [5, 0, 0, 0]);
    assert_eq!([0, 1, 2, 3].map(|number| release.listed(number).len()), [2, 1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_envelope_is_attached_once() {
    for script in [ScriptedRegistry::builder(), ScriptedRegistry::builder().without_referrers()] {
        let release = Release::signed(script, 3).await;
        let first = release.attach("--output json").exits(0).json();
        assert_eq!(counts(&first), [3, 0, 0, 0]);
        release.scene.registry.forget_requests();
        let again = release.attach("--output json").exits(0).json();
        assert_eq!(counts(&again), [0, 3, 0, 0]);
        assert_eq!(writes(&release), 0);
        let signatures = |document: &Value| {
            let lines = document["signatures"].as_array().unwrap().iter();
            lines.map(|line| line["signature"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(signatures(&first), signatures(&again));
        assert!((0..3).all(|number| release.listed(number).len() == 1));
    }
}

/// The list under the fallback tag is whoever's who writes it, and says nothing of what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_listed_and_gone_is_attached_again() {
    let release = Release::signed(ScriptedRegistry::builder().without_referrers(), 1).await;
    assert_eq!(counts(&release.attach("--output json").exits(0).json()), [1, 0, 0, 0]);
    let [signature] = release.listed(0).try_into().unwrap();
    let place = release.scene.registry.url(&format!("/v2/{REPOSITORY}/manifests/{signature}"));
    let deleted = reqwest::Client::new().delete(place).send().await.unwrap();
    assert!(deleted.status().is_success() && release.scene.registry.manifest(REPOSITORY, &signature).is_none());
    assert_eq!(release.listed(0), std::slice::from_ref(&signature));
    assert_eq!(counts(&release.attach("--output json").exits(0).json()), [1, 0, 0, 0]);
    assert!(release.scene.registry.manifest(REPOSITORY, &signature).is_some());
    assert_eq!(release.listed(0), [signature]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_in_another_manifest_is_known_again() {
    let release = Release::start(1).await;
    let envelope = fs::read(envelope_file(&release.payload(0), Format::Cose)).unwrap();
    let registry = &release.scene.registry;
    registry.put_blob(REPOSITORY, &envelope);
    let manifest = crate::registry::signature(&release.images[0], &envelope);
    let digest = registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
    let document = release.attach("--output json").exits(0).json();
    assert_eq!(counts(&document), [0, 1, 0, 0]);
    assert_eq!(document["signatures"][0]["signature"], digest.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_in_a_manifest_that_no_verifier_takes_is_not_there() {
    for (member, value) in [("size", json!(1)), ("mediaType", json!(media_type::IMAGE_INDEX))] {
        let release = Release::start(1).await;
        let envelope = fs::read(envelope_file(&release.payload(0), Format::Cose)).unwrap();
        let registry = &release.scene.registry;
        registry.put_blob(REPOSITORY, &envelope);
        let manifest = crate::registry::signature(&release.images[0], &envelope);
        let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
        manifest["subject"][member] = value;
        let manifest = manifest.to_string();
        let foreign = registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, manifest.as_bytes());
        let document = release.attach("--output json").exits(0).json();
        assert_eq!(counts(&document), [1, 0, 0, 0]);
        assert!(registry.manifest(REPOSITORY, foreign.as_str()).is_some());
        release.scene.node.run(&format!("verify {}", release.reference(0))).exits(0);
    }
}

/// More are listed than are looked through, and none of them is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_no_list_shows_is_looked_for_by_its_digest() {
    let release = Release::signed(ScriptedRegistry::builder(), 1).await;
    let registry = &release.scene.registry;
    let entry = |number: u32| {
        let digest = Digest::sha256(&number.to_be_bytes());
        json!({"mediaType": media_type::IMAGE_MANIFEST, "artifactType": media_type::NOTARY_SIGNATURE,
            "digest": digest.to_string(), "size": 700})
    };
    let entries: Vec<Value> = (0..1001).map(entry).collect();
    let list = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": entries}).to_string();
    registry
        .always("/referrers/", Fault::Answer(200, vec![("content-type", media_type::IMAGE_INDEX.to_owned())], list));
    let document = release.attach("--output json").exits(0).json();
    assert_eq!(counts(&document), [1, 0, 0, 0], "{document:#}");
    let signature = registry.referring_manifests(REPOSITORY).pop().unwrap();
    for method in ["HEAD", "GET"] {
        registry.always(&format!("{method} /v2/{REPOSITORY}/manifests/{signature}"), Fault::Status(404));
    }
    let document = release.attach("--output json").exits(1).json();
    assert_eq!(counts(&document), [0, 0, 0, 1], "{document:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing() {
    let release = Release::start(2).await;
    let ran = release.attach("--dry-run").exits(0);
    assert!(ran.stdout.starts_with("of 2 signatures: 2 would be attached\n  would attach  "), "{ran:?}");
    assert_eq!(writes(&release), 0);
    release.attach("").exits(0);
    let document = release.attach("--dry-run --output json").exits(0).json();
    assert_eq!(counts(&document), [0, 2, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_listed_and_a_repeated_run_does_only_the_rest() {
    let release = Release::start(4).await;
    fs::remove_file(envelope_file(&release.payload(1), Format::Cose)).unwrap();
    let swapped = envelope_file(&release.payload(2), Format::Cose);
    let own = fs::read(&swapped).unwrap();
    fs::copy(envelope_file(&release.payload(3), Format::Cose), &swapped).unwrap();
    let ran = release.attach("--output json").exits(1);
    let document = ran.json();
    assert_eq!(counts(&document), [2, 0, 0, 2]);
    let mut expected = [(release.reference(1), "envelope-missing"), (release.reference(2), "artifact-mismatch")];
    expected.sort();
    let lines = document["signatures"].as_array().unwrap();
    let failed: Vec<_> = lines.iter().filter(|line| line["state"] == "failed").collect();
    let failed: Vec<_> = failed
        .iter()
        .map(|line| (line["reference"].as_str().unwrap().to_owned(), line["problem"]["code"].as_str().unwrap()))
        .collect();
    assert_eq!(failed, expected);
    let text = release.attach("").exits(1);
    assert!(
        text.stdout.starts_with("of 4 signatures: 2 there already, 2 without its signature\n  failed  "),
        "{text:?}"
    );
    assert!(text.stderr.contains("hint: "), "{text:?}");
    fs::write(&swapped, own).unwrap();
    Service::new(&release.scene.node, "ann", Format::Cose).sign(&release.payload(1));
    let again = release.attach("--output json").exits(0).json();
    assert_eq!(counts(&again), [2, 2, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_envelope_over_this_manifest_is_refused_before_the_registry_is_asked() {
    let release = Release::start(1).await;
    let file = envelope_file(&release.payload(0), Format::Cose);
    let good = fs::read(&file).unwrap();
    let mut altered = good.clone();
    *altered.last_mut().unwrap() ^= 1;
    let payload = fs::read(release.payload(0)).unwrap();
    for (bytes, code) in [
        (vec![], "envelope-not-cose-sign1"),
        (b"{}".to_vec(), "envelope-not-cose-sign1"),
        (good[..good.len() - 1].to_vec(), "cbor-truncated"),
        (payload, "envelope-not-cose-sign1"),
        (vec![0; 1024 * 1024 + 1], "envelope-too-large"),
        (altered, "signature-invalid"),
    ] {
        fs::write(&file, bytes).unwrap();
        let document = release.attach("--output json").exits(1).json();
        assert_eq!(codes(&document), [code]);
        assert!(release.scene.registry.requests().is_empty());
    }
    fs::write(&file, &good).unwrap();
    fs::write(release.payload(0), "{}").unwrap();
    let document = release.attach("--output json").exits(1).json();
    assert_eq!(counts(&document), [1, 0, 0, 1], "the good one is attached, the changed payload told");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_must_hold_exactly_what_was_signed() {
    let release = Release::start(2).await;
    let digest = release.artifact(0).digest.to_string();
    release.scene.registry.always(&format!("HEAD /v2/{REPOSITORY}/manifests/{digest}"), Fault::Status(404));
    let document = release.attach("--output json").exits(1).json();
    assert_eq!((counts(&document), codes(&document)), ([1, 0, 0, 1], vec!["not-found"]));
    let release = Release::start(1).await;
    release
        .scene
        .registry
        .always("HEAD /v2/team/app/manifests", Fault::With("content-type", media_type::IMAGE_INDEX.into()));
    let document = release.attach("--output json").exits(1).json();
    assert_eq!(codes(&document), ["subject-mismatch"]);
    assert_eq!(writes(&release), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_not_waited_for() {
    let release = Release::start(2).await;
    let file = envelope_file(&release.payload(0), Format::Cose);
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let document = release.attach("--output json").exits(1).json();
    assert_eq!((counts(&document), codes(&document)), ([1, 0, 0, 1], vec!["file-unreadable"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_may_lie_elsewhere_and_is_refused_when_changed() {
    let release = Release::start(1).await;
    let node = &release.scene.node;
    let index = fs::read_to_string(release.payload_dir().join("payload-index.json")).unwrap();
    node.write_home("elsewhere/release.json", &index);
    let document = node.run("attach --index elsewhere/release.json --signatures payloads -o json").exits(0).json();
    assert_eq!(counts(&document), [1, 0, 0, 0]);
    let name = "payload\": \"sha256-";
    assert!(index.contains(name));
    node.write_home("elsewhere/release.json", index.replace(name, "payload\": \"../sha256-"));
    let ran = node.run("attach --index elsewhere/release.json --signatures payloads -o json").exits(2);
    assert_eq!(ran.json()["code"], "payload-index-invalid");
    let ran = node.run("attach --payload-dir elsewhere -o json").exits(3);
    assert_eq!(ran.json()["code"], "payload-index-missing");
    node.write_home("elsewhere/release.json", json!({"version": 1, "payloads": []}).to_string());
    node.run("attach --index elsewhere/release.json").is(0, "\nnothing to attach: the index lists no payload\n", "");
}
