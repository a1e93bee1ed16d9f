//! Signing with a plugin: a plugin that does well signs, and whatever else it does, nothing is stored.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pratique::pki::Certificate;
use serde_json::{Value, json};

use crate::cases::vectors;
use crate::node::{Scene, policy};

pub const PLUGIN: &str = "com.acme.kms";

/// A plugin with the key of the vectors' RSA chain, whose root is trusted.
pub async fn scene(capability: &str) -> Scene {
    let scene = Scene::new().await;
    let chain = |name: &str, file: &str| fs::read(vectors().join("chains").join(name).join(file)).unwrap();
    let certificates = |name: &str| Certificate::read_all(&chain(name, "chain.pem")).unwrap();
    let listed = |name: &str| -> Value {
        certificates(name).iter().map(|certificate| Value::from(STANDARD.encode(certificate.der()))).collect()
    };
    scene.node.install_plugin(PLUGIN);
    write(&scene, "capabilities", &format!("\"{capability}\""));
    write(&scene, "chain.json", &listed("rsa2048").to_string());
    write(&scene, "other.json", &listed("rsa3072").to_string());
    scene.node.write(&format!("plugins/{PLUGIN}/key.pem"), chain("rsa2048", "leaf.key"));
    let root = certificates("rsa2048").pop().unwrap();
    scene.node.write("truststore/x509/ca/acme/root.crt", root.der());
    scene.node.write("trustpolicy.json", policy("strict", &["ca:acme"], &["*"]));
    let key = json!({"name": "kms", "id": "alias/build", "pluginName": PLUGIN, "pluginConfig": {"region": "x"}});
    scene.node.write("signingkeys.json", json!({"keys": [key]}).to_string());
    let path = std::env::var("PATH").unwrap();
    let mut scene = scene;
    scene.node.set("PATH", path);
    scene
}

pub fn write(scene: &Scene, name: &str, content: &str) {
    scene.node.write(&format!("plugins/{PLUGIN}/{name}"), content);
}

fn asked(scene: &Scene, command: &str) -> Value {
    let request = fs::read(scene.node.path(&format!("plugins/{PLUGIN}/request-{command}"))).unwrap();
    serde_json::from_slice(&request).unwrap()
}

/// Signs while the plugin does this; gives the code, and whether something was stored.
fn refusal(scene: &Scene, behaviour: &str) -> String {
    write(scene, "behaviour", behaviour);
    scene.registry.forget_requests();
    let ran = scene.run("sign --key kms -m build=7 --expiry 1h");
    assert!(!scene.registry.lines().iter().any(|line| line.starts_with("PUT ")), "{behaviour}: stored");
    assert!(ran.stderr.contains(&format!("the plugin `{PLUGIN}`: ")), "{behaviour}: {}", ran.stderr);
    let code = ran.stderr.split(['[', ']']).nth(1).unwrap_or_default().to_owned();
    format!("{} {code}", ran.exit)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_signs_bytes_signs_in_both_formats_and_each_misbehaviour_stores_nothing() {
    let scene = scene("SIGNATURE_GENERATOR.RAW").await;
    for (behaviour, wanted) in [
        ("describe-key fail", "3 plugin-crashed"),
        ("describe-key other-key", "3 plugin-key-mismatch"),
        ("describe-key unknown-spec", "3 plugin-key-unsupported"),
        ("describe-key other-spec", "3 plugin-algorithm-mismatch"),
        ("generate-signature crash", "3 plugin-crashed"),
        ("generate-signature text", "3 plugin-answer-malformed"),
        ("generate-signature not-base64", "3 plugin-answer-malformed"),
        ("generate-signature says-ACCESS_DENIED", "3 plugin-says-access-denied"),
        ("generate-signature other-key", "3 plugin-key-mismatch"),
        ("generate-signature other-algorithm", "3 plugin-algorithm-mismatch"),
        ("generate-signature other-payload", "3 plugin-signature-invalid"),
        ("generate-signature no-signature", "3 plugin-signature-invalid"),
        ("generate-signature other-chain", "3 plugin-chain-refused"),
        ("generate-signature no-chain", "3 plugin-chain-refused"),
    ] {
        assert_eq!(refusal(&scene, behaviour), wanted, "{behaviour}");
    }
    write(&scene, "behaviour", "");
    for format in ["jws", "cose"] {
        scene.run(&format!("sign --key kms --plugin-config zone=1 --signature-format {format}")).exits(0);
        let request = asked(&scene, "generate-signature");
        assert_eq!(request["pluginConfig"], json!({"region": "x", "zone": "1"}));
        assert_eq!((&request["keySpec"], &request["hashAlgorithm"]), (&json!("RSA-2048"), &json!("SHA-256")));
        scene.verify("").answers(0, "admit", "admitted", None);
    }
    scene.run(&format!("sign --plugin {PLUGIN} --id other/key")).exits(0);
    assert_eq!(asked(&scene, "generate-signature")["keyId"], "other/key");
    let agent = &scene.run("inspect -o json").json()["signatures"][0]["unsignedAttributes"]["signingAgent"];
    assert!(agent.as_str().unwrap().ends_with(&format!(" {PLUGIN}/1.2.0")), "{agent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_makes_envelopes_signs_and_each_misbehaviour_stores_nothing() {
    let scene = scene("SIGNATURE_GENERATOR.ENVELOPE").await;
    for (behaviour, wanted) in [
        ("generate-envelope fail", "3 plugin-crashed"),
        ("generate-envelope text", "3 plugin-answer-malformed"),
        ("generate-envelope other-type", "3 plugin-envelope-type"),
        ("generate-envelope other-payload", "3 plugin-envelope-refused"),
        ("generate-envelope other-chain", "3 plugin-envelope-refused"),
        ("generate-envelope other-size", "3 plugin-envelope-refused"),
        ("generate-envelope other-member", "3 plugin-payload-changed"),
        ("generate-envelope other-annotation", "3 plugin-payload-changed"),
        ("generate-envelope no-expiry", "3 plugin-expiry-ignored"),
        ("generate-envelope reserved-annotation", "3 plugin-annotation-refused"),
    ] {
        assert_eq!(refusal(&scene, behaviour), wanted, "{behaviour}");
    }
    write(&scene, "behaviour", "generate-envelope more-annotations");
    scene.run("sign --key kms -m build=7 --expiry 1h").exits(0);
    scene.verify("-m build=7 -m by=plugin").answers(0, "admit", "admitted", None);
    let stamping = scene.run("sign --key kms --timestamp-url http://tsa.example --timestamp-root-cert none");
    assert_ne!(stamping.exit, 0);
    write(&scene, "capabilities", "\"SIGNATURE_VERIFIER.REVOCATION_CHECK\"");
    assert_eq!(refusal(&scene, ""), "3 plugin-without-signing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_cannot_sign_yet_is_asked_for_the_same_again_until_the_time_is_over() {
    for (capability, command) in
        [("SIGNATURE_GENERATOR.RAW", "generate-signature"), ("SIGNATURE_GENERATOR.ENVELOPE", "generate-envelope")]
    {
        let scene = scene(capability).await;
        let sign = |often: &str, arguments: &str| {
            for old in ["ran", "first"] {
                let _ = fs::remove_file(scene.node.path(&format!("plugins/{PLUGIN}/{old}")));
            }
            write(&scene, "behaviour", &format!("{command} {often}"));
            scene.run(&format!("sign --key kms {arguments}"))
        };
        assert!(sign("later-3", "").exits(3).stderr.starts_with("error [plugin-says-throttled]"));
        let late = sign("later-1000", "--approval-timeout 1s").exits(3);
        assert!(
            late.stderr.contains("error [approval-timeout]: what holds the key has not signed within 1 s"),
            "{late:?}"
        );
        assert!(late.stderr.contains("one of two has approved"), "{late:?}");
        let other = sign("says-ACCESS_DENIED", "--approval-timeout 60s").exits(3);
        assert!(other.stderr.starts_with("error [plugin-says-access-denied]"), "{other:?}");
        assert!(!scene.registry.lines().iter().any(|line| line.starts_with("PUT ")));
        let waited = sign("later-3", "--approval-timeout 60s --expiry 1h").exits(0);
        assert!(waited.stderr.starts_with("waiting for up to 60 s: the plugin"), "{waited:?}");
        scene.verify("").answers(0, "admit", "admitted", None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_has_signed_with_a_key_that_needs_approvals_is_dropped_without_them() {
    for capability in ["SIGNATURE_GENERATOR.RAW", "SIGNATURE_GENERATOR.ENVELOPE"] {
        let scene = scene(capability).await;
        let rule = |name: &str, chain: &str| {
            let certificate = vectors().join("chains").join(chain).join("chain.pem");
            let text = format!(
                "[keys.{name}]\ncertificate = \"{}\"\napprovals = 1\nvalid_for = \"1h\"\ntrust_stores = [\"ca:ann\"]\n\
                 approvers = [\"x509.subject: C=US, ST=WA, O=Notary, CN=ann\"]\nrequester_may_approve = true\n",
                certificate.display()
            );
            scene.node.write("keyusage.toml", text);
        };
        let list = fs::read_to_string(scene.node.path("signingkeys.json")).unwrap();
        let mut list: Value = serde_json::from_str(&list).unwrap();
        let file = |extension: &str| scene.node.path(&format!("localkeys/ann.{extension}")).display().to_string();
        list["keys"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "ann", "keyPath": file("key"), "certPath": file("crt")}));
        scene.node.write("signingkeys.json", list.to_string());
        // By its certificate, which nobody knows before; and by its name.
        rule("other", "rsa2048");
        assert!(scene.run("sign --key kms").exits(1).stderr.starts_with("error [approval-required]"));
        assert!(scene.run(&format!("sign --plugin {PLUGIN} --id x")).exits(1).stderr.contains("[approval-required]"));
        rule("kms", "rsa3072");
        assert!(scene.run("sign --key kms").exits(1).stderr.starts_with("error [approval-required]"));
        scene.run("sign --key kms --request a --request-key ann").exits(0);
        scene.node.run("approve a --yes --key ann").exits(0);
        // The policy's certificate is another than the plugin's.
        assert!(scene.node.run("sign --approved a").exits(1).stderr.contains("[approval-other-certificate]"));
        assert!(!scene.registry.lines().iter().any(|line| line.starts_with("PUT ")));
        rule("kms", "rsa2048");
        scene.run("sign --key kms --request b --request-key ann").exits(0);
        scene.node.run("approve b --yes --key ann").exits(0);
        scene.node.run("sign --approved b").exits(0);
        scene.verify("").answers(0, "admit", "admitted", None);
    }
}
