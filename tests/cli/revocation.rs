//! `pratique verify` and revocation: whom it asks, how long it waits, and what it makes of the answers.
//!
//! The certificates name hosts that do not exist; a proxy stands for all of them (`tests/revocation/make.sh`).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use pratique::config::NotationDir;
use serde_json::{Value, json};

use crate::approval::{Board, refused};
use crate::node::{Node, Scene};
use crate::responders::{Answer, Responders};

const OCSP: &str = "http://ocsp.pratique.example/";
const CRL: &str = "http://crl.pratique.example/ca.crl";

/// Far above what an answer takes here, and below what would mean that no bound holds.
const PATIENCE: Duration = Duration::from_secs(20);

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/revocation").join(name)).unwrap()
}

fn bytes(name: &str) -> Answer {
    Answer::Bytes(file(name))
}

/// An image signed with the leaf, whose issuer is trusted; and a policy at this level.
async fn signed(level: &str) -> Scene {
    let scene = Scene::new().await;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/revocation");
    let keys = NotationDir::new(scene.node.path(""));
    keys.add_signing_key("leaf", &directory.join("leaf.key"), &directory.join("chain.pem"), false).unwrap();
    scene.node.write("truststore/x509/ca/issuer/issuer.pem", file("issuer.pem"));
    trust(&scene, level, "ca:issuer");
    scene.run("sign --key leaf").exits(0);
    scene
}

fn trust(scene: &Scene, level: &str, store: &str) {
    let statement = json!({
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": { "level": level },
        "trustStores": [store],
        "trustedIdentities": ["*"],
    });
    scene.node.write("trustpolicy.json", json!({ "version": "1.0", "trustPolicies": [statement] }).to_string());
}

/// Puts these servers into the place of the network.
fn network(scene: &mut Scene, answers: &[(&str, Answer)]) -> Responders {
    let answers = answers.iter().map(|(url, answer)| ((*url).to_owned(), answer.clone()));
    let responders = Responders::start(answers);
    scene.node.set("http_proxy", responders.address().to_owned());
    responders
}

/// What `verify` answers: exit status, answer and code; and what it asked.
fn verdict(scene: &Scene, responders: &Responders, arguments: &str) -> (String, usize) {
    let before = responders.asked().len();
    let ran = scene.verify(arguments);
    let document = ran.json();
    let text = |member: &str| document[member].as_str().unwrap_or_default().to_owned();
    (format!("{} {} {}", ran.exit, text("answer"), text("code")), responders.asked().len() - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_signer_is_denied_and_one_in_good_standing_admitted() {
    for (ocsp, crl, expected, asked) in [
        (bytes("ocsp-good.der"), bytes("crl-revoked.der"), "0 admit admitted", 1),
        (bytes("ocsp-revoked.der"), bytes("crl-good.der"), "1 deny certificate-revoked", 1),
        (bytes("ocsp-unknown.der"), bytes("crl-good.der"), "0 admit admitted", 2),
        (Answer::Status(503), bytes("crl-good.der"), "0 admit admitted", 2),
        (Answer::Status(503), bytes("crl-revoked.der"), "1 deny certificate-revoked", 2),
        (Answer::Status(503), Answer::Status(404), "3 inconclusive revocation-unknown", 2),
        (bytes("ocsp-expired.der"), bytes("crl-expired.der"), "3 inconclusive revocation-unknown", 2),
    ] {
        let mut scene = signed("strict").await;
        let responders = network(&mut scene, &[(OCSP, ocsp.clone()), (CRL, crl)]);
        let (got, count) = verdict(&scene, &responders, "");
        assert_eq!((got.as_str(), count), (expected, asked), "{ocsp:?} {:?}", responders.asked());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_says_which_certificate_was_revoked_when_and_by_whose_word() {
    let mut scene = signed("strict").await;
    let _responders = network(&mut scene, &[(OCSP, bytes("ocsp-revoked.der"))]);
    let document = scene.verify("").json();
    let reason = document["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "the certificate `CN=leaf,O=Acme,ST=WA,C=US` was revoked at 2026-02-01T00:00:00Z, says OCSP http://ocsp.pratique.example/"
    );
    let status = &document["signatures"][0]["revocation"][0];
    assert_eq!((&status["status"], &status["revokedAt"]), (&json!("revoked"), &json!("2026-02-01T00:00:00Z")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revocation_means_is_for_the_level_to_say() {
    for (level, expected) in [("permissive", "0 admit admitted"), ("audit", "0 admit admitted")] {
        let mut scene = signed(level).await;
        let responders = network(&mut scene, &[(OCSP, bytes("ocsp-revoked.der"))]);
        assert_eq!(verdict(&scene, &responders, ""), (expected.to_owned(), 1));
        assert_eq!(scene.verify("").json()["logged"], json!(["revocation"]), "{level}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_of_a_stranger_are_not_asked() {
    for level in ["strict", "audit"] {
        let mut scene = signed(level).await;
        let responders = network(&mut scene, &[(OCSP, bytes("ocsp-good.der"))]);
        assert_eq!(verdict(&scene, &responders, "").1, 1, "{level}");
        trust(&scene, level, "ca:ann");
        assert_eq!(verdict(&scene, &responders, "").1, 0, "{level}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_misbehave_cost_no_more_than_their_time_and_answer_nothing() {
    let huge = || Answer::Bytes(vec![0x30; 33 * 1024 * 1024]);
    for (ocsp, crl, code) in [
        (Answer::Hang, Answer::Hang, "revocation-timed-out"),
        (Answer::Endless, Answer::Endless, "revocation-answer-too-large"),
        (Answer::Bytes(vec![0x30; 21 * 1024]), huge(), "revocation-answer-too-large"),
        (Answer::Status(500), Answer::Status(500), "revocation-status"),
        (bytes("make.sh"), bytes("make.sh"), "ocsp-malformed"),
        (Answer::Redirect(OCSP.into()), Answer::Redirect(CRL.into()), "revocation-redirect-refused"),
        (Answer::Redirect("https://x.example/".into()), Answer::Status(500), "revocation-redirect-refused"),
    ] {
        let mut scene = signed("strict").await;
        let _responders = network(&mut scene, &[(OCSP, ocsp), (CRL, crl)]);
        let started = Instant::now();
        let document = scene.verify("").exits(3).json();
        assert!(started.elapsed() < PATIENCE, "{code}: {:?}", started.elapsed());
        assert_eq!(document["code"], json!("revocation-unknown"), "{document:#}");
        assert_eq!(
            document["signatures"][0]["revocation"][0]["problems"][0]["code"],
            Value::from(code),
            "{document:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_and_no_redirect_leads_to_this_machine_unless_it_is_allowed() {
    let mut scene = signed("strict").await;
    let own = Responders::start([(String::new(), bytes("ocsp-good.der"))]);
    let responders = network(&mut scene, &[(OCSP, Answer::Redirect(format!("{}/x", own.address())))]);
    let document = scene.verify("").exits(3).json();
    let code = &document["signatures"][0]["revocation"][0]["problems"][0]["code"];
    assert_eq!(code, &json!("revocation-address-refused"), "{document:#}");
    assert_eq!(own.asked(), Vec::<String>::new());
    assert_eq!(verdict(&scene, &responders, "--allow-private-responders").0, "0 admit admitted");
    assert_eq!(own.asked().len(), 1);
    let responders = network(&mut scene, &[(OCSP, Answer::Redirect("http://169.254.169.254/latest".into()))]);
    assert_eq!(verdict(&scene, &responders, "--allow-private-responders").0, "3 inconclusive revocation-unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_fetched_once_and_kept_where_notation_keeps_it() {
    let mut scene = signed("strict").await;
    let responders = network(&mut scene, &[(OCSP, Answer::Status(503)), (CRL, bytes("crl-good.der"))]);
    assert_eq!(verdict(&scene, &responders, ""), ("0 admit admitted".to_owned(), 2));
    assert_eq!(verdict(&scene, &responders, ""), ("0 admit admitted".to_owned(), 1));
    let lists = responders.asked().into_iter().filter(|asked| *asked == format!("GET {CRL}"));
    assert_eq!(lists.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_without_a_network_imports_its_lists() {
    let mut scene = signed("strict").await;
    let responders = network(&mut scene, &[(OCSP, bytes("ocsp-good.der"))]);
    scene.node.write("good/issuer.crl", file("crl-good.der"));
    scene.node.write("revoked/issuer.crl", file("crl-revoked.der"));
    scene.node.write("broken/issuer.crl", "not a list");
    let directory = scene.node.path("");
    let with = |name: &str| format!("--crl-dir {}", directory.join(name).display());
    assert_eq!(verdict(&scene, &responders, &with("good")), ("0 admit admitted".to_owned(), 0));
    assert_eq!(verdict(&scene, &responders, &with("revoked")), ("1 deny certificate-revoked".to_owned(), 0));
    // A list that cannot be read must not go unnoticed where nobody else can be asked.
    let responders = network(&mut scene, &[]);
    assert_eq!(verdict(&scene, &responders, &with("broken")).0, "3 inconclusive revocation-unknown");
}

#[test]
fn lists_are_imported_each_in_the_place_of_an_older_one() {
    let node = Node::new();
    for name in ["crl-good", "crl-revoked", "crl-delta", "ocsp-good"] {
        node.write(&format!("{name}.der"), file(&format!("{name}.der")));
    }
    let directory = format!("--crl-dir {}", node.path("crls").display());
    let import = |name: &str| node.run(&format!("crl import {} {directory}", node.path(name).display()));
    let listed = || node.run(&format!("crl ls -o json {directory}")).exits(0).json().as_array().unwrap().len();
    import("crl-good.der").exits(0);
    import("crl-revoked.der").exits(0);
    assert_eq!(listed(), 1);
    import("crl-delta.der").exits(0);
    assert_eq!(listed(), 2);
    let text = node.run(&format!("crl ls {directory}")).stdout;
    assert!(text.contains("  of CN=issuer,O=Acme,ST=WA,C=US\n  good until [TIME]"), "{text}");
    assert!(text.contains("  delta of CN=issuer,O=Acme,ST=WA,C=US\n"), "{text}");

    let ran = import("ocsp-good.der").exits(2);
    assert!(ran.stderr.contains("[crl-malformed]"), "{ran:?}");
    assert_eq!(node.run("crl import no-such.crl").exits(3).stdout, "");
    node.run("crl ls --crl-dir no-such").exits(3);
}

#[test]
fn an_older_list_does_not_take_the_place_of_a_newer_one() {
    let node = Node::new();
    let directory = format!("--crl-dir {}", node.path("crls").display());
    for name in ["crl-future", "crl-good"] {
        node.write(&format!("{name}.der"), file(&format!("{name}.der")));
    }
    let import = |name: &str| node.run(&format!("crl import {} {directory}", node.path(name).display()));
    import("crl-good.der").exits(0);
    import("crl-future.der").exits(0);
    let ran = import("crl-good.der").exits(2);
    assert!(ran.stderr.contains("[crl-older]"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_who_was_revoked_does_not_count_and_one_of_whom_nobody_knows_leaves_it_open() {
    let mut board = Board::new().await;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/revocation");
    let keys = NotationDir::new(board.0.node.path(""));
    keys.add_signing_key("leaf", &directory.join("leaf.key"), &directory.join("chain.pem"), false).unwrap();
    board.0.node.write("truststore/x509/ca/issuer/issuer.pem", file("issuer.pem"));
    let subject = "x509.subject: C=US, ST=WA, O=Acme, CN=leaf";
    let rule = fs::read_to_string(board.0.node.path("keyusage.toml")).unwrap();
    let rule = rule.replace("approvals = 2", "approvals = 1").replace("\"ca:ann\"", "\"ca:ann\", \"ca:issuer\"");
    let rule = rule.replacen("approvers = [", &format!("approvers = [\"{subject}\", "), 1);
    board.0.node.write("keyusage.toml", rule);
    board.request("").exits(0);
    let _network = network(&mut board.0, &[]);
    refused(&board.approve("leaf"), 3, "revocation-unknown");
    let _network = network(&mut board.0, &[(OCSP, bytes("ocsp-revoked.der"))]);
    refused(&board.approve("leaf"), 1, "approval-not-an-approver");
    let _network = network(&mut board.0, &[(OCSP, bytes("ocsp-good.der"))]);
    board.approve("leaf").exits(0);
    let _network = network(&mut board.0, &[]);
    refused(&board.sign(""), 3, "approval-quorum-missing");
    let _network = network(&mut board.0, &[(OCSP, bytes("ocsp-revoked.der"))]);
    let signed = board.sign("");
    refused(&signed, 1, "approval-quorum-missing");
    let _network = network(&mut board.0, &[(OCSP, bytes("ocsp-good.der"))]);
    board.sign("").exits(0);
}
