//! What a stranger may cost: each oversized or endless thing ends with its own error or with an answer, after a bounded number
//! of requests, and in bounded memory.
//!
//! Memory is what the kernel counted for the programs that a test has waited for.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nix::sys::resource::{UsageWho, getrusage};
use pratique::oci::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::node::{REPOSITORY, Scene, policy};
use crate::registry::{self, ScriptedRegistry};

/// The most memory that a program may have had at once: 60 MiB were seen, half of
/// them the program itself in a debug build.
const MAX_MEMORY: i64 = 96 * 1024 * 1024;
/// How many signatures are examined of one image, unless said otherwise.
const EXAMINED: usize = 100;
/// More than anybody attaches to an image.
const MANY: usize = 10_000;

/// The peak of all programs so far, in bytes.
fn peak() -> i64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() * 1024
}

#[track_caller]
fn assert_bounded_memory() {
    assert!(peak() < MAX_MEMORY, "{} MiB", peak() / 1024 / 1024);
}

/// Entries of signatures that are not there.
fn entries(count: usize, padding: usize) -> Vec<Value> {
    let entry = |number: usize| {
        json!({
            "mediaType": media_type::IMAGE_MANIFEST,
            "artifactType": media_type::NOTARY_SIGNATURE,
            "digest": Digest::sha256(&number.to_be_bytes()).to_string(),
            "size": 700,
            "annotations": {"io.cncf.notary.x509chain.thumbprint#S256": "x".repeat(padding)},
        })
    };
    (0..count).map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_referrers_cost_no_more_requests_than_are_examined() {
    // Three more: the image, and what lists and pages need.
    for (page_size, pages) in [(usize::MAX, 1), (50, 3)] {
        let scene = Scene::of(ScriptedRegistry::builder().page_size(page_size)).await;
        scene.registry.list_referrers(REPOSITORY, &subject(&scene), entries(MANY, 0));
        scene.verify("").answers(1, "deny", "not-found", Some("retrieval"));
        let asked = scene.registry.requests().len();
        assert!(asked <= EXAMINED + pages + 3, "{asked} requests at {page_size} a page");
    }
    assert_bounded_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_referrers_under_the_fallback_tag_are_an_answer_too() {
    let scene = Scene::of(ScriptedRegistry::builder().without_referrers()).await;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::IMAGE_INDEX,
        "manifests": entries(MANY, 0),
    });
    let tag = subject(&scene).replace(':', "-");
    scene.registry.put_manifest(REPOSITORY, Some(&tag), media_type::IMAGE_INDEX, index.to_string().as_bytes());
    scene.verify("").answers(1, "deny", "not-found", Some("retrieval"));
    let asked = scene.registry.requests().len();
    assert!(asked <= EXAMINED + 4, "{asked} requests");
    assert_bounded_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_more_than_four_mebibytes_is_not_read() {
    let scene = Scene::new().await;
    scene.registry.list_referrers(REPOSITORY, &subject(&scene), entries(MANY, 300));
    let document = scene.verify("").exits(3).json();
    assert_eq!(document["code"], "content-too-large", "{document:#}");
    assert!(scene.registry.requests().len() <= 4, "{:?}", scene.registry.lines());
    assert_bounded_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_signature_is_found_before_ten_thousand_that_are_none() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.registry.list_referrers(REPOSITORY, &subject(&scene), entries(MANY, 0));
    scene.registry.forget_requests();
    scene.verify("").answers(0, "admit", "admitted", None);
    assert!(scene.registry.requests().len() <= 5, "{:?}", scene.registry.lines());
    assert_bounded_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_that_are_deep_wide_or_large_end_with_their_own_errors() {
    let depth = 1_000_000;
    let certificates = |count: usize| {
        let list = vec!["AAAA"; count].join("\",\"");
        let protected = json!({
            "alg": "ES256",
            "cty": "application/vnd.cncf.notary.payload.v1+json",
            "crit": ["io.cncf.notary.signingScheme"],
            "io.cncf.notary.signingScheme": "notary.x509",
            "io.cncf.notary.signingTime": "2026-01-02T03:04:05Z",
        });
        let protected = BASE64_URL_SAFE_NO_PAD.encode(protected.to_string());
        format!(r#"{{"payload":"e30","protected":"{protected}","header":{{"x5c":["{list}"]}},"signature":"AAAA"}}"#)
    };
    for (kind, envelope, code) in [
        (media_type::JWS_ENVELOPE, format!(r#"{{"payload":{}"#, "[".repeat(depth)).into_bytes(), "envelope-too-deep"),
        (media_type::JWS_ENVELOPE, "{\"a\":".repeat(depth / 5).into_bytes(), "envelope-too-deep"),
        (media_type::COSE_ENVELOPE, [&[0xd2, 0x84][..], &vec![0x81; depth]].concat(), "cbor-too-deep"),
        (media_type::COSE_ENVELOPE, [&[0xd2, 0x84][..], &vec![0xa1; depth]].concat(), "cbor-too-deep"),
        (media_type::COSE_ENVELOPE, [&[0xd2, 0x84][..], &vec![0xc1; depth]].concat(), "cbor-too-deep"),
        (media_type::JWS_ENVELOPE, certificates(140_000).into_bytes(), "chain-too-long"),
        (media_type::JWS_ENVELOPE, vec![b' '; 10 * 1024 * 1024], "content-too-large"),
    ] {
        let scene = Scene::new().await;
        scene.registry.put_blob(REPOSITORY, &envelope);
        let manifest = registry::signed_as(kind, &scene.image, &envelope);
        scene.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
        let document = scene.verify("").json();
        let got = document["code"].as_str().unwrap();
        assert_eq!(got, code, "{document:#}");
        assert!(scene.registry.requests().len() <= 4, "{:?}", scene.registry.lines());
    }
    assert_bounded_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_with_a_huge_name_is_not_read() {
    let scene = Scene::new().await;
    let directory = tempfile::tempdir().unwrap();
    let mut config = String::from("[req]\nprompt = no\ndistinguished_name = name\nstring_mask = utf8only\n[name]\n");
    for number in 0..250 {
        writeln!(config, "{number}.OU = {}", "x".repeat(60)).unwrap();
    }
    fs::write(directory.path().join("config"), config).unwrap();
    let arguments =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config config -keyout key -out root.pem";
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(directory.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    scene.node.write("truststore/x509/ca/ann/huge.pem", fs::read(directory.path().join("root.pem")).unwrap());
    let ran = scene.verify("").exits(3);
    assert!(ran.raw_stdout.contains("a name in the certificate has "), "{ran:?}");
    assert_eq!(ran.json()["code"], "trust-store-not-a-certificate");
    assert_bounded_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_ten_megabytes_is_not_read() {
    let scene = Scene::new().await;
    let good = policy("strict", &["ca:ann"], &["*"]);
    scene.node.write("trustpolicy.json", format!("{}{good}", " ".repeat(10 * 1024 * 1024)));
    let ran = scene.verify("").exits(3);
    assert_eq!(ran.json()["code"], "policy-too-large", "{ran:?}");
    assert!(scene.registry.requests().is_empty());
    assert_bounded_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_of_ten_thousand_signatures_is_an_answer_too() {
    let scene = Scene::new().await;
    let (layout, digest) = layout_with(&scene, MANY + 10);
    let image = format!("{}@{digest}", layout.path().display());
    let arguments = ["notation", "verify", "--oci-layout", "--scope", "registry.example/app", &image];
    let mut command = Command::new(env!("CARGO_BIN_EXE_pratique"));
    command.args(arguments).env("NOTATION_EXPERIMENTAL", "1").env("NOTATION_CONFIG", scene.node.path(""));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("signature verification failed for all the signatures"), "{told}");
    assert_bounded_memory();
}

/// An image layout with the scene's image, and so many manifests about it that have no envelope.
fn layout_with(scene: &Scene, count: usize) -> (tempfile::TempDir, Digest) {
    let layout = tempfile::tempdir().unwrap();
    let blobs = layout.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let descriptor = Descriptor::of(media_type::IMAGE_MANIFEST, bytes);
        fs::write(blobs.join(descriptor.digest.hex()), bytes).unwrap();
        json!({"mediaType": descriptor.media_type, "digest": descriptor.digest.to_string(), "size": descriptor.size})
    };
    let mut manifests = vec![put(&scene.image)];
    for number in 0..count {
        manifests.push(put(&registry::signature(&scene.image, &number.to_be_bytes())));
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(layout.path().join("index.json"), index.to_string()).unwrap();
    fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    (layout, Descriptor::of(media_type::IMAGE_MANIFEST, &scene.image).digest)
}

fn subject(scene: &Scene) -> String {
    Descriptor::of(media_type::IMAGE_MANIFEST, &scene.image).digest.to_string()
}
