//! Time-stamps on the command line: asked for when signing, shown, and verified long after.

use std::fs;

use crate::authority::{Manner, TimestampAuthority};
use crate::node::{EXPIRES_SOON, Ran, Scene, policy};
use crate::responders::{Answer, Responders};

/// Signs with a stamp of this authority.
fn sign(scene: &Scene, authority: &TimestampAuthority, options: &str) -> Ran {
    let (url, root) = (authority.url(), authority.root());
    scene.run(&format!("sign --timestamp-url {url} --timestamp-root-cert {} {options}", root.display()))
}

/// Believes this authority, and nobody without a time-stamp.
fn trust(scene: &Scene, authority: &TimestampAuthority) {
    scene.node.write("truststore/x509/tsa/clocks/root.pem", fs::read(authority.root()).unwrap());
    scene.node.write("trustpolicy.json", policy("strict", &["ca:ann", "tsa:clocks"], &["*"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamped_signature_is_admitted_where_a_time_stamp_is_demanded() {
    for format in ["jws", "cose"] {
        let (scene, authority) = (Scene::new().await, TimestampAuthority::start());
        trust(&scene, &authority);
        scene.run(&format!("sign --signature-format {format}")).exits(0);
        scene.verify("").answers(1, "deny", "timestamp-missing", Some("authenticTimestamp"));
        sign(&scene, &authority, &format!("--signature-format {format}")).exits(0);
        scene.verify("").answers(0, "admit", "admitted", None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_is_stamped_by_its_own_hash() {
    let (scene, authority) = (Scene::new().await, TimestampAuthority::start());
    for (key, hash) in [("rsa-2048", "sha256"), ("rsa-3072", "sha384"), ("ec-384", "sha384"), ("ec-521", "sha512")] {
        scene.node.run(&format!("cert generate-test {key} --key-type {key}")).exits(0);
        let signed = sign(&scene, &authority, &format!("--key {key} --output json")).exits(0).json();
        let inspected = scene.run("inspect -o json").json();
        let signatures = inspected["signatures"].as_array().unwrap();
        let signature = signatures.iter().find(|shown| shown["digest"] == signed["signature"]["digest"]).unwrap();
        assert_eq!(signature["unsignedAttributes"]["timestamp"]["hashAlgorithm"], hash, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_tells_who_vouches_for_which_time() {
    let (scene, authority) = (Scene::new().await, TimestampAuthority::start());
    sign(&scene, &authority, "").is(
        0,
        "
signed [HOST]/team/app@[IMAGE]
  signature   sha256:[HEX], application/jose+json
  time-stamp  [TIME], by CN=stamper,O=Clocks
",
        EXPIRES_SOON,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_stamp_is_shown_with_its_accuracy_and_its_authority() {
    let scene = Scene::new().await;
    let authority = TimestampAuthority::start();
    sign(&scene, &authority, "").exits(0);
    let document = scene.run("inspect -o json").json();
    let stamp = &document["signatures"][0]["unsignedAttributes"]["timestamp"];
    assert_eq!(stamp["accuracy"], "PT0S");
    assert_eq!(stamp["authority"], "CN=stamper,O=Clocks");
    assert_eq!(stamp["policy"], "1.2.3.4");
    assert!(stamp["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_is_not_believed_by_either_side() {
    let scene = Scene::new().await;
    let (authority, other) = (TimestampAuthority::start(), TimestampAuthority::start());
    sign(&scene, &authority, "").exits(0);
    trust(&scene, &other);
    scene.verify("").answers(1, "deny", "timestamp-authority-untrusted", Some("authenticTimestamp"));
    trust(&scene, &authority);
    scene.verify("").answers(0, "admit", "admitted", None);
    let root = other.root();
    let ran = scene.run(&format!("sign --timestamp-url {} --timestamp-root-cert {}", authority.url(), root.display()));
    assert!(ran.exits(3).stderr.starts_with("error [timestamp-authority-untrusted]: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_but_a_good_one_is_stored() {
    let (scene, authority) = (Scene::new().await, TimestampAuthority::start());
    sign(&scene, &authority, "").exits(0);
    for (manner, code) in [
        (Manner::Status(500), "timestamp-authority-answer"),
        (Manner::Status(301), "timestamp-authority-answer"),
        (Manner::OtherType, "timestamp-authority-answer"),
        (Manner::Babbling, "timestamp-answer-malformed"),
        (Manner::Endless, "timestamp-too-large"),
        (Manner::Replaying, "timestamp-of-other-request"),
    ] {
        authority.becomes(manner);
        scene.registry.forget_requests();
        let ran = sign(&scene, &authority, "").exits(3);
        assert!(ran.stderr.starts_with(&format!("error [{code}]: ")), "{manner:?}: {ran:?}");
        let writes = scene.registry.lines().into_iter().filter(|line| !line.starts_with("HEAD ")).count();
        assert_eq!(writes, 0, "{manner:?}: nothing is stored");
    }
    authority.becomes(Manner::Honest);
    sign(&scene, &authority, "").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_may_refuse_and_may_be_too_inexact() {
    let scene = Scene::new().await;
    scene.node.run("cert generate-test big --key-type ec-384").exits(0);
    let choosy = TimestampAuthority::with("digests = sha256");
    sign(&scene, &choosy, "").exits(0);
    let refused = sign(&scene, &choosy, "--key big").exits(3);
    assert!(refused.stderr.starts_with("error [timestamp-refused]: "), "{refused:?}");
    // A test certificate becomes valid when it is made, and the stamp may have been made a day before.
    let inexact = TimestampAuthority::with("accuracy = secs:86400");
    let outside = sign(&scene, &inexact, "").exits(3);
    assert!(outside.stderr.starts_with("error [timestamp-outside-validity]: "), "{outside:?}");
}

/// The scene's policy overrides `revocation` with `skip`, which is about the signer alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_of_a_revoked_authority_is_neither_taken_nor_believed() {
    const LIST: &str = "http://crl.pratique.example/clocks.crl";
    let (mut scene, authority) = (Scene::new().await, TimestampAuthority::revocable(LIST));
    trust(&scene, &authority);
    let responders = Responders::start([(LIST.to_owned(), Answer::Bytes(authority.crl(false)))]);
    scene.node.set("http_proxy", responders.address().to_owned());
    sign(&scene, &authority, "").exits(0);
    scene.verify("").answers(0, "admit", "admitted", None);

    for (number, (answer, exit, word, code)) in [
        (Answer::Bytes(authority.crl(true)), 1, "deny", "certificate-revoked"),
        (Answer::Status(503), 3, "inconclusive", "revocation-unknown"),
    ]
    .into_iter()
    .enumerate()
    {
        // Lists are kept as long as they are good.
        scene.node.set("NOTATION_CACHE", scene.node.path(&format!("cache-{number}")).display().to_string());
        responders.answers([(LIST.to_owned(), answer)]);
        scene.registry.forget_requests();
        let ran = sign(&scene, &authority, "").exits(exit);
        assert!(ran.stderr.starts_with(&format!("error [{code}]: the time-stamp cannot be relied upon: ")), "{ran:?}");
        let writes = scene.registry.lines().into_iter().filter(|line| !line.starts_with("HEAD ")).count();
        assert_eq!(writes, 0, "nothing is stored");
        scene.verify("").answers(exit, word, code, Some("authenticTimestamp"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_where_no_authority_is() {
    let (scene, authority) = (Scene::new().await, TimestampAuthority::start());
    let root = authority.root();
    // Port 9 is for discarding what is sent, and nobody does that any more.
    let ran = scene.run(&format!("sign --timestamp-url http://127.0.0.1:9 --timestamp-root-cert {}", root.display()));
    assert!(ran.exits(3).stderr.starts_with("error [timestamp-authority-unreachable]: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn url_and_root_go_together_and_both_are_looked_at_before_anything_is_asked() {
    let (scene, authority) = (Scene::new().await, TimestampAuthority::start());
    let (root, stamper) = (authority.root().display().to_string(), authority.stamper().display().to_string());
    scene.registry.forget_requests();
    let url = authority.url();
    scene.run(&format!("sign --timestamp-url {url}")).exits(2);
    scene.run(&format!("sign --timestamp-root-cert {root}")).exits(2);
    let code = |url: &str, root: &str, exit: i32| {
        let ran = scene.run(&format!("sign --timestamp-url {url} --timestamp-root-cert {root}")).exits(exit);
        ran.stderr.split(['[', ']']).nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(code("ftp://tsa.example", &root, 2), "timestamp-url-invalid");
    assert_eq!(code(&url, "/nowhere.pem", 3), "timestamp-root-unreadable");
    assert_eq!(code(&url, &stamper, 3), "timestamp-root-unsuitable");
    let both = authority.root().with_file_name("both.pem");
    fs::write(&both, [fs::read(&root).unwrap(), fs::read(&root).unwrap()].concat()).unwrap();
    assert_eq!(code(&url, &both.display().to_string(), 3), "timestamp-root-unsuitable");
    assert!(scene.registry.lines().is_empty(), "nothing is asked on behalf of a wrong command");
}
