//! What strangers write reaches the terminal as text, and never as commands to it.

use rcgen::{CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;

use crate::node::{Ran, Scene, policy};
use crate::registry::Fault;

/// Clears the screen, goes to the beginning of the line, begins a new one, a C1 control, and a mark that turns the
/// direction of writing.
const HOSTILE: &str = "eve\u{1b}[2J\r\nadmitted: all\u{9b}1m\u{202e}\u{7f}";

/// A scene in which a signer with a hostile name has signed.
async fn signed_by_eve() -> Scene {
    let scene = Scene::new().await;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "WA"),
        (DnType::OrganizationName, HOSTILE),
        (DnType::CommonName, HOSTILE),
    ] {
        params.distinguished_name.push(kind, DnValue::Utf8String(value.to_owned()));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let certificate = params.self_signed(&key).unwrap();
    scene.node.write("localkeys/eve.key", key.serialize_pem());
    scene.node.write("localkeys/eve.crt", certificate.pem());
    scene.node.write("truststore/x509/ca/eve/eve.crt", certificate.pem());
    let entry = json!({
        "name": "eve",
        "keyPath": scene.node.path("localkeys/eve.key"),
        "certPath": scene.node.path("localkeys/eve.crt"),
    });
    scene.node.write("signingkeys.json", json!({"keys": [entry]}).to_string());
    let metadata = format!("note={HOSTILE}");
    scene.node.run_all(&["sign", "--key", "eve", "-m", &metadata, &scene.image()], "").exits(0);
    scene
}

/// No character of either stream steers a terminal, and no line looks like another answer.
#[track_caller]
fn is_harmless(ran: &Ran) {
    let steers =
        |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{200b}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    for stream in [&ran.raw_stdout, &ran.stderr] {
        assert!(!stream.chars().any(steers), "{stream:?}");
        assert!(!stream.contains("\nadmitted: all"), "{stream:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signers_name_is_shown_as_text() {
    let scene = signed_by_eve().await;
    scene.run("verify").is(1, r"
denied: [HOST]/team/app@[IMAGE] [untrusted-signer]

  reason     the signer's root `O=eve\1b[2J\0d\0aadmitted: all\c2\9b1m \7f,ST=WA,C=US,CN=eve\1b[2J\0d\0aadmitted: all\c2\9b1m \7f` is in none of the trust stores ca:ann
  policy     `all` at [HOME]/notation/trustpolicy.json:4, level strict
  signature  1 of 1: sha256:[HEX], JWS, signed [DATE] by O=eve\1b[2J\0d\0aadmitted: all\c2\9b1m \7f,ST=WA,C=US,CN=eve\1b[2J\0d\0aadmitted: all\c2\9b1m \7f
    passed   integrity, user metadata, plugin
    failed   authenticity: the signer's root `O=eve\1b[2J\0d\0aadmitted: all\c2\9b1m \7f,ST=WA,C=US,CN=eve\1b[2J\0d\0aadmitted: all\c2\9b1m \7f` is in none of the trust stores ca:ann [untrusted-signer]
    not reached: expiry, authentic timestamp, revocation
", "
hint: if this signer may be trusted, put its root certificate into a trust store that the statement names
");
    scene.node.write("trustpolicy.json", policy("strict", &["ca:eve"], &["x509.subject: C=US, ST=WA, O=eve"]));
    is_harmless(&scene.run("verify").exits(1));
    scene.node.write("trustpolicy.json", policy("strict", &["ca:eve"], &["*"]));
    for command in ["verify", "verify -o json", "inspect", "inspect -o json", "ls", "ls -o json"] {
        is_harmless(&scene.run(command).exits(0));
    }
    is_harmless(&scene.run("verify -m note=other").exits(1));
    // For programs nothing is lost.
    let inspected = scene.run("inspect -o json").json();
    assert_eq!(inspected["signatures"][0]["userDefinedAttributes"]["note"], HOSTILE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrys_words_are_shown_as_text() {
    let body = json!({"errors": [{"code": HOSTILE, "message": HOSTILE}]}).to_string();
    for (part, status) in [("/referrers/", 403), ("GET /v2/", 401), ("GET /v2/", 418), ("GET /v2/", 500)] {
        let scene = Scene::new().await;
        scene.run("sign").exits(0);
        scene.registry.always(part, Fault::Answer(status, vec![], body.clone()));
        let ran = scene.run("verify");
        assert!(ran.exit == 3 && ran.stdout.contains("eve [2J"), "the words are shown: {ran:?}");
        is_harmless(&ran);
        is_harmless(&scene.verify(""));
        is_harmless(&scene.run("ls").exits(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_is_no_envelope_is_shown_as_text() {
    let scene = Scene::new().await;
    scene.put_envelope(json!({HOSTILE: HOSTILE, "protected": HOSTILE}).to_string().as_bytes());
    scene.put_envelope(HOSTILE.as_bytes());
    for command in ["verify", "verify -o json", "inspect", "inspect -o json"] {
        is_harmless(&scene.run(command));
    }
}
