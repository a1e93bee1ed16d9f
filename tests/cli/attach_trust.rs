//! Whom `pratique attach` trusts, and what `--replace` takes away.

use std::fs;

use pratique::envelope::Format;
use serde_json::{Value, json};

use crate::node::Ran;
use crate::registry::{Builder, ScriptedRegistry};
use crate::service::{Release, Service};

/// How often each state stands in the report, and the codes of what went wrong.
fn told(ran: &Ran) -> (u64, u64, Vec<String>) {
    let document = ran.json();
    let lines = document["signatures"].as_array().unwrap();
    let codes = lines.iter().filter_map(|line| line["problem"]["code"].as_str().map(str::to_owned));
    let count = |state: &str| document[state].as_u64().unwrap();
    (count("attached") + count("present") + count("wouldAttach"), count("failed"), codes.collect())
}

#[track_caller]
fn refused(ran: &Ran, code: &str) {
    assert_eq!((ran.exit, told(ran)), (1, (0, 1, vec![code.to_owned()])), "{ran:?}");
}

#[track_caller]
fn taken(ran: &Ran) {
    assert_eq!((ran.exit, told(ran)), (0, (1, 0, vec![])), "{ran:?}");
}

fn profile(release: &Release, name: &str, further: &str) {
    let text = format!("[profiles.{name}]\ntrust_stores = [\"ca:{name}\"]\ntrusted_identities = [\"*\"]\n{further}\n");
    let path = release.scene.node.path("attach.toml");
    let known = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, known + &text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whom_the_trust_store_knows_is_taken() {
    let release = Release::start(1).await;
    release.scene.add_signer("bob");
    refused(&release.attach("--trust-store ca:bob -o json"), "untrusted-signer");
    assert!(release.scene.registry.requests().is_empty(), "nothing is asked on behalf of a stranger");
    taken(&release.attach("--trust-store ca:ann -o json --dry-run"));
    taken(&release.attach("--trust-store ca:ann --trust-store ca:bob -o json"));
    let ran = release.attach("--trust-store ca:carol -o json").exits(3);
    assert_eq!(ran.json()["code"], "trust-store-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_on_the_command_line_is_trusted() {
    let release = Release::start(1).await;
    release.scene.add_signer("bob");
    let root = |name: &str| release.scene.node.path(&format!("localkeys/{name}.crt")).display().to_string();
    refused(&release.attach(&format!("--trust-root {} -o json", root("bob"))), "untrusted-signer");
    taken(&release.attach(&format!("--trust-root {} -o json", root("ann"))));
    let ran = release.attach("--trust-root images.txt -o json").exits(3);
    assert_eq!(ran.json()["code"], "certificate-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_keeps_test_keys_from_what_is_released() {
    let release = Release::start(1).await;
    release.scene.add_signer("bob");
    profile(&release, "bob", "");
    let host = release.scene.registry.host();
    profile(&release, "ann", &format!("test_keys = true\nrepositories = [\"{host}/nightly\"]"));
    refused(&release.attach("--profile bob -o json"), "untrusted-signer");
    refused(&release.attach("--profile ann -o json"), "profile-repository-refused");
    assert!(release.scene.registry.requests().is_empty());
    let staging = release.scene.node.path("attach.toml");
    let text = fs::read_to_string(&staging).unwrap();
    release.scene.node.write_home("staging.toml", text.replace("/nightly", ""));
    taken(&release.attach("--profile ann --profiles staging.toml -o json"));
    let ran = release.attach("--profile carol -o json").exits(2);
    assert_eq!(ran.json()["code"], "profile-unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_accepts_the_identities_that_it_names() {
    let release = Release::start(1).await;
    profile(&release, "ann", "");
    let path = release.scene.node.path("attach.toml");
    let of = |name: &str| format!("[\"x509.subject: C=US, ST=WA, L=Seattle, O=Notary, CN={name}\"]");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("[\"*\"]", &of("bob"))).unwrap();
    refused(&release.attach("--profile ann -o json"), "untrusted-identity");
    fs::write(&path, text.replace("[\"*\"]", &of("ann"))).unwrap();
    taken(&release.attach("--profile ann -o json"));
    fs::write(&path, text.replace("[\"*\"]", "[\"x509.subject: C=US\"]")).unwrap();
    assert_eq!(release.attach("--profile ann -o json").exits(2).json()["code"], "policy-identity-invalid");
}

/// The signatures of the first image by two runs: the second one later, and told to replace.
async fn replaced(script: Builder) -> (Release, String, Ran) {
    let release = Release::signed(script, 1).await;
    let node = &release.scene.node;
    Service::new(node, "ann", Format::Cose).earlier(60).sign(&release.payload(0));
    release.attach("").exits(0);
    release.scene.add_signer("bob");
    release.scene.node.run(&format!("sign --key bob {}", release.reference(0))).exits(0);
    let old = release.listed(0)[0].clone();
    Service::new(node, "ann", Format::Cose).sign(&release.payload(0));
    Service::new(node, "ann", Format::Jws).sign(&release.payload(0));
    let ran = release.attach("--trust-store ca:ann --replace -o json");
    (release, old, ran)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_signature_of_the_same_signer_is_replaced_and_no_other() {
    for script in [ScriptedRegistry::builder(), ScriptedRegistry::builder().without_referrers()] {
        let (release, old, ran) = replaced(script).await;
        let document = ran.exits(0).json();
        assert_eq!(document["attached"], 2, "one run's own envelopes do not replace each other");
        let lines = document["signatures"].as_array().unwrap();
        let gone: Vec<&Value> = lines.iter().filter_map(|line| line["replaced"].as_array()).flatten().collect();
        assert!(gone.iter().all(|digest| **digest == json!(old)) && !gone.is_empty(), "{document}");
        let listed = release.listed(0);
        assert!(listed.len() == 3 && !listed.contains(&old), "bob's and the two new ones: {listed:?}");
        let lines = release.scene.registry.lines();
        let at = |part: &str| lines.iter().position(|line| line.starts_with(part)).unwrap();
        let new = listed.last().unwrap();
        assert!(at(&format!("PUT /v2/team/app/manifests/{new}")) < at("DELETE /v2/team/app/manifests/"), "{lines:?}");
        let again = release.attach("--trust-store ca:ann --replace -o json").exits(0).json();
        assert_eq!((&again["present"], &again["attached"]), (&json!(2), &json!(0)));
        assert_eq!(release.listed(0), listed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_envelope_replaces_nothing() {
    let release = Release::start(1).await;
    release.attach("").exits(0);
    Service::new(&release.scene.node, "ann", Format::Cose).earlier(60).sign(&release.payload(0));
    taken(&release.attach("--trust-store ca:ann --replace -o json"));
    assert_eq!(release.listed(0).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_deletes_nothing_keeps_both_and_is_told() {
    let (release, old, ran) = replaced(ScriptedRegistry::builder().without_delete()).await;
    let document = ran.exits(1).json();
    assert_eq!(
        (&document["attached"], &document["failed"], &document["notReplaced"]),
        (&json!(2), &json!(0), &json!(2))
    );
    assert!(release.listed(0).contains(&old));
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_needs_to_know_whom_to_trust() {
    let release = Release::start(1).await;
    let ran = release.attach("--replace -o json").exits(2);
    assert_eq!(ran.json()["code"], "replace-untrusted");
    // And a dry run says what would go.
    Service::new(&release.scene.node, "ann", Format::Cose).earlier(60).sign(&release.payload(0));
    release.attach("").exits(0);
    Service::new(&release.scene.node, "ann", Format::Cose).sign(&release.payload(0));
    let document = release.attach("--trust-store ca:ann --replace --dry-run -o json").exits(0).json();
    assert_eq!(document["signatures"][0]["replaced"], json!([release.listed(0)[0]]));
    assert_eq!(release.listed(0).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_of_the_same_name_replaces_nothing_of_another() {
    let release = Release::start(1).await;
    release.attach("").exits(0);
    // Another key and certificate with ann's subject, which whoever runs this trusts by mistake.
    let old = release.listed(0);
    let (key, certificate) = ("localkeys/ann.key", "localkeys/ann.crt");
    let node = &release.scene.node;
    for file in [key, certificate] {
        fs::remove_file(node.path(file)).unwrap();
    }
    fs::remove_file(node.path("signingkeys.json")).unwrap();
    fs::remove_dir_all(node.path("truststore")).unwrap();
    node.run("cert generate-test ann --key-type ec-256 --default").exits(0);
    Service::new(node, "ann", Format::Cose).sign(&release.payload(0));
    taken(&release.attach("--trust-store ca:ann --replace -o json"));
    let listed = release.listed(0);
    assert!(listed.len() == 2 && listed.contains(&old[0]), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_whose_certificate_has_expired_is_not_taken() {
    let release = Release::start(1).await;
    let chain = crate::cases::vectors().join("chains/expired-leaf");
    let node = &release.scene.node;
    for (from, to) in [("leaf.key", "localkeys/old.key"), ("chain.pem", "localkeys/old.crt")] {
        node.write(to, fs::read(chain.join(from)).unwrap());
    }
    let root = fs::read_to_string(chain.join("chain.pem")).unwrap();
    node.write_home("root.pem", &root[root.rfind("-----BEGIN CERTIFICATE-----").unwrap()..]);
    let service = Service::new(node, "old", Format::Cose).at("2025-03-01T00:00:00Z");
    service.sign(&release.payload(0));
    refused(&release.attach("--trust-root root.pem -o json"), "certificate-not-valid-now");
    // Whether it still counts is asked only where somebody is to be trusted.
    taken(&release.attach("-o json"));
}
