//! `pratique sign`: what is signed, how it is stored, and what is refused before anything is stored.

use std::fs;

use pratique::oci::media_type;
use serde_json::json;

use crate::cases::vectors;
use crate::node::{EXPIRES_SOON, Node, REPOSITORY, Scene};
use crate::registry::{Fault, ScriptedRegistry};

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_stored_beside_the_image() {
    let scene = Scene::new().await;
    scene.run("sign").is(
        0,
        "
signed [HOST]/team/app@[IMAGE]
  signature  sha256:[HEX], application/jose+json
",
        EXPIRES_SOON,
    );
    let document = scene.run("sign --signature-format cose --output json").exits(0).json();
    assert_eq!(document["reference"], scene.image());
    assert_eq!(document["envelope"]["mediaType"], media_type::COSE_ENVELOPE);
    let signatures = scene.run("ls -o json").json()["signatures"].clone();
    assert_eq!(signatures.as_array().unwrap().len(), 2);
    assert_eq!(signatures[1]["digest"], document["signature"]["digest"]);
    assert_eq!(signatures[1]["artifactType"], media_type::NOTARY_SIGNATURE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_goes_last_so_that_nobody_finds_half_a_signature() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    let writes: Vec<String> = scene.registry.lines().into_iter().filter(|line| line.starts_with("PUT ")).collect();
    assert!(writes[0].contains("/blobs/uploads/") && writes[1].contains("/blobs/uploads/"), "{writes:?}");
    assert!(writes[2].contains("/manifests/sha256:"), "{writes:?}");
    assert_eq!(writes.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_pinned_and_warned_about() {
    let scene = Scene::new().await;
    scene.node.run(&format!("sign {}", scene.tag())).is(
        0,
        "
signed [HOST]/team/app@[IMAGE]
  signature  sha256:[HEX], application/jose+json
",
        &format!(
            "
warning: `v1` is a tag, which may be moved; pratique signs what it points to now. Write the digest to be sure
{EXPIRES_SOON}"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_signed_in_whole_seconds() {
    let scene = Scene::new().await;
    for good in ["24h", "90s", "1h30m", "1s", "PT24H"] {
        scene.run(&format!("sign --expiry {good}")).exits(0);
    }
    let inspected = scene.run("inspect -o json").json();
    let signed = &inspected["signatures"][0]["signedAttributes"];
    let time = |name: &str| signed[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("expiry").duration_since(time("signingTime")), jiff::SignedDuration::from_hours(24));
    scene.verify("").answers(0, "admit", "admitted", None);
    scene.registry.forget_requests();
    for bad in ["0s", "-1h", "500ms", "1.5s", "24", "h", "forever", "", "1y", "2026-11-21"] {
        let ran = scene.run(&format!("sign --expiry={bad}")).exits(2);
        assert!(ran.stderr.contains("for '--expiry <DURATION>'"), "{bad}: {ran:?}");
    }
    assert!(scene.registry.lines().is_empty(), "nothing is asked on behalf of a wrong command");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_beyond_the_calendar_is_refused() {
    let scene = Scene::new().await;
    scene.run("sign --expiry 100000000h").is(
        2,
        "",
        "
error [expiry-invalid]: an expiry is a whole number of seconds, at least one, and ends before the year 10000
hint: write a duration such as `24h` or `90s`
",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_pairs_of_the_signers_own() {
    let scene = Scene::new().await;
    scene.run("sign -m build=42 -m empty= -m expression=a=b").exits(0);
    let inspected = scene.run("inspect -o json").json();
    let signed = &inspected["signatures"][0]["userDefinedAttributes"];
    assert_eq!(signed, &json!({"build": "42", "empty": "", "expression": "a=b"}));
    scene.run("sign -m build").exits(2);
    scene.run("sign -m =42").exits(2);
    scene.run("sign -m build=42 -m build=42").is(
        2,
        "",
        "
error [user-metadata-duplicate]: the user metadata `build` is given twice
hint: give each key once
",
    );
    scene.run("sign -m io.cncf.notary.x=1").is(
        2,
        "",
        "
error [metadata-key-refused]: the metadata key `io.cncf.notary.x` has the reserved prefix `io.cncf.notary`
hint: choose another key
",
    );
    assert_eq!(scene.run("ls -o json").json()["signatures"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_the_one_named_or_the_default() {
    let scene = Scene::new().await;
    scene.add_signer("bob");
    scene.run("sign").exits(0);
    scene.run("sign --key bob").exits(0);
    let signers = scene.run("inspect").stdout;
    assert!(signers.contains("CN=ann,") && signers.contains("CN=bob,"), "{signers}");
    scene.run("sign --key carol").is(
        2,
        "",
        "
error [signing-key-unknown]: there is no signing key `carol`
hint: see the names of keys with `pratique key ls`
",
    );
    let keys = fs::read_to_string(scene.node.path("signingkeys.json")).unwrap();
    scene.node.write("signingkeys.json", keys.replace("\"default\": \"ann\",", ""));
    scene.run("sign").is(
        2,
        "",
        "
error [signing-key-no-default]: no signing key is the default
hint: name a key with `--key`, or make one the default: `pratique key default NAME`, or `--default` of `pratique key add`
",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_read_is_named() {
    let mut scene = Scene::new().await;
    scene.node.drop_privileges();
    scene.node.lock("localkeys/ann.key");
    scene.run("sign").is(
        3,
        "",
        "
error [signing-key-unreadable]: cannot read [HOME]/notation/localkeys/ann.key: Permission denied (os error 13)
hint: see the paths in `signingkeys.json`
",
    );
    fs::remove_file(scene.node.path("localkeys/ann.crt")).unwrap();
    fs::remove_file(scene.node.path("localkeys/ann.key")).unwrap();
    scene.run("sign").is(
        3,
        "",
        "
error [signing-key-unreadable]: cannot read [HOME]/notation/localkeys/ann.key: No such file or directory (os error 2)
hint: see the paths in `signingkeys.json`
",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_certificate_that_do_not_belong_together_are_refused() {
    let scene = Scene::new().await;
    scene.add_signer("bob");
    fs::copy(scene.node.path("localkeys/bob.crt"), scene.node.path("localkeys/ann.crt")).unwrap();
    scene.run("sign").is(3, "", "
error [key-certificate-mismatch]: [HOME]/notation/localkeys/ann.crt: the certificate `CN=bob,O=Notary,L=Seattle,ST=WA,C=US` does not belong to the private key
hint: put the leaf certificate of this key first in the certificate file
");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_or_no_certificate_is_refused() {
    let scene = Scene::new().await;
    let certificate = fs::read(scene.node.path("localkeys/ann.crt")).unwrap();
    scene.node.write("localkeys/ann.crt", "");
    scene.run("sign").is(
        3,
        "",
        "
error [certificate-missing]: [HOME]/notation/localkeys/ann.crt: there is no certificate
hint: keep nothing but certificates in the file, in PEM or DER
",
    );
    scene.node.write("localkeys/ann.crt", &certificate);
    scene.node.write("localkeys/ann.key", &certificate);
    scene.run("sign").is(
        3,
        "",
        "
error [private-key-missing]: [HOME]/notation/localkeys/ann.key: the file has no private key in PEM
",
    );
    scene.node.write("signingkeys.json", "{\"keys\": [{\"name\": \"ann\"}], \"default\": \"ann\"}");
    scene.run("sign").is(3, "", "
error [signing-keys-invalid]: [HOME]/notation/signingkeys.json: the key `ann` has neither keyPath and certPath alone nor id and pluginName alone
hint: mend [HOME]/notation/signingkeys.json
");
    scene.node.write("signingkeys.json", "{\n\"keys\":");
    scene.run("sign").is(3, "", "
error [notation-file-malformed]: [HOME]/notation/signingkeys.json is malformed: EOF while parsing a value at line 2 column 7
hint: mend the JSON, or remove the file to begin anew
");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_signs_nothing() {
    let scene = Scene::new().await;
    let chain = vectors().join("chains/expired-leaf");
    let key = json!({"name": "old", "keyPath": chain.join("leaf.key"), "certPath": chain.join("chain.pem")});
    scene.node.write("signingkeys.json", json!({"keys": [key]}).to_string());
    let ran = scene.run("sign --key old").exits(3);
    assert!(ran.stderr.contains("error [signing-certificate-not-valid]: "), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_chain_that_notation_signs_with_signs_here() {
    let scene = Scene::new().await;
    for name in ["rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521", "selfsigned-rsa3072"] {
        let chain = vectors().join("chains").join(name);
        let key = json!({"name": name, "keyPath": chain.join("leaf.key"), "certPath": chain.join("chain.pem")});
        scene.node.write("signingkeys.json", json!({"keys": [key]}).to_string());
        scene.run(&format!("sign --key {name}")).exits(0);
        scene.run(&format!("sign --key {name} --signature-format cose")).exits(0);
    }
    let signatures = scene.run("inspect -o json").json()["signatures"].as_array().unwrap().len();
    assert_eq!(signatures, 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_behind_a_plugin_that_is_not_installed_is_told() {
    let scene = Scene::new().await;
    let key = json!({"name": "kms", "id": "1", "pluginName": "com.example.kms"});
    scene.node.write("signingkeys.json", json!({"keys": [key]}).to_string());
    let ran = scene.run("sign --key kms").exits(3);
    assert!(ran.stderr.starts_with("error [plugin-unavailable]: the plugin `com.example.kms`: "), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_takes_nothing_is_named() {
    let scene = Scene::new().await;
    scene.registry.always("/blobs/uploads", Fault::Status(403));
    scene.run("sign").is(
        3,
        "",
        &format!(
            "
{EXPIRES_SOON}error [registry-forbidden]: the registry [HOST] denies access to [HOST]/team/app
hint: have the account that is used for [HOST] permitted to access [HOST]/team/app
"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_not_signed() {
    let scene = Scene::new().await;
    scene.node.run(&format!("sign {}/{REPOSITORY}:v2", scene.registry.host())).is(
        3,
        "",
        "
error [not-found]: v2 is not in [HOST]/team/app
hint: check the name and the tag, and that it was pushed to [HOST]/team/app
",
    );
    scene.node.run("sign registry.example/App").is(2, "", "
error [invalid-reference]: `App` is not a repository path: lowercase letters and digits, joined by `.`, `_`, `__` or dashes
hint: write `registry/repository:tag` or `registry/repository@sha256:…`
");
}

#[test]
fn without_a_notation_directory_there_is_no_key() {
    let node = Node::new();
    node.run("sign registry.example/app:v1").is(
        2,
        "",
        "
error [signing-key-no-default]: no signing key is the default
hint: name a key with `--key`, or make one the default: `pratique key default NAME`, or `--default` of `pratique key add`
",
    );
    fs::remove_dir(node.path("")).unwrap();
    node.run("sign registry.example/app:v1").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_signed_without_a_password_where_everybody_gets_a_token() {
    let scene = Scene::of(ScriptedRegistry::builder().bearer()).await;
    scene.run("sign").exits(0);
    scene.run("verify").exits(0);
}
