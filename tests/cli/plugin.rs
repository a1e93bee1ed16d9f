//! Verification plugins: a signature that demands one, and what it comes to when the plugin does well or does not.

use std::fs;

use serde_json::{Value, json};

use crate::cases::{copy_trust_store, vectors};
use crate::node::Node;

const PLUGIN: &str = "vec-verify";
const REFERENCE: &str = "registry.acme-rockets.example/software/net-monitor@\
                         sha256:8ff84d599ad8e6a531da367352233112a73d686a69f6f0f93a936bdbcac0865f";
const DESCRIPTOR: &str = r#"{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 401,
    "digest": "sha256:8ff84d599ad8e6a531da367352233112a73d686a69f6f0f93a936bdbcac0865f"}"#;

/// A node that trusts the signer of the vector `plugin-ok`, with the plugin that it demands.
fn node() -> Node {
    let node = Node::with_policy(policy(&json!({"level": "strict"}), "*"));
    copy_trust_store("truststores/acme", &node.path("truststore"));
    node.write("envelope", fs::read(vectors().join("envelopes/plugin-ok.jws")).unwrap());
    node.write("descriptor.json", DESCRIPTOR);
    node.install_plugin(PLUGIN);
    node
}

fn policy(verification: &Value, identity: &str) -> String {
    let statement = json!({
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": verification,
        "trustStores": ["ca:acme-rockets"],
        "trustedIdentities": [identity],
    });
    json!({ "version": "1.0", "trustPolicies": [statement] }).to_string()
}

/// Exit status, answer, code and failed check.
fn verdict(node: &Node, more: &str) -> String {
    let (envelope, descriptor) = (node.path("envelope"), node.path("descriptor.json"));
    let (envelope, descriptor) = (envelope.display(), descriptor.display());
    let ran = node.run(&format!(
        "verify -o json --signature {envelope} --descriptor {descriptor} --media-type application/jose+json \
         --reference {REFERENCE} {more}"
    ));
    let document = ran.json();
    let text = |member: &str| document[member].as_str().unwrap_or("-").to_owned();
    format!("{} {} {} {}", ran.exit, text("answer"), text("code"), text("failed"))
}

fn of_plugin(name: &str) -> String {
    format!("plugins/{PLUGIN}/{name}")
}

#[test]
fn a_plugin_that_does_well_admits_and_each_misbehaviour_does_not() {
    let node = node();
    for (behaviour, wanted) in [
        ("", "0 admit admitted -"),
        ("get-plugin-metadata crash", "3 inconclusive plugin-crashed plugin"),
        ("get-plugin-metadata text", "3 inconclusive plugin-answer-malformed plugin"),
        ("get-plugin-metadata other-contract", "3 inconclusive plugin-contract-version plugin"),
        ("get-plugin-metadata other-name", "3 inconclusive plugin-metadata-invalid plugin"),
        ("verify-signature fail", "3 inconclusive plugin-crashed plugin"),
        ("verify-signature flood", "3 inconclusive plugin-output-too-large plugin"),
        ("verify-signature says-THROTTLED", "3 inconclusive plugin-says-throttled plugin"),
        ("verify-signature no-results", "3 inconclusive plugin-answer-malformed plugin"),
        ("verify-signature unprocessed", "1 deny plugin-attribute-unprocessed plugin"),
        ("verify-signature identity-fails", "1 deny plugin-untrusted-identity authenticity"),
        ("verify-signature without-reason", "1 deny plugin-untrusted-identity authenticity"),
        ("verify-signature revoked", "1 deny plugin-revoked revocation"),
    ] {
        node.write(&of_plugin("behaviour"), behaviour);
        assert_eq!(verdict(&node, ""), wanted, "{behaviour}");
    }
}

#[test]
fn a_release_that_the_signer_does_not_accept_is_not_asked() {
    let node = node();
    for (version, wanted) in [
        ("1.2.0", "0 admit admitted -"),
        ("1.2.0+build.7", "0 admit admitted -"),
        ("0.9.0", "1 deny plugin-too-old plugin"),
        ("1.0.0-rc.1", "1 deny plugin-too-old plugin"),
        ("v2.0.0", "1 deny plugin-version-invalid plugin"),
        ("2", "1 deny plugin-version-invalid plugin"),
    ] {
        node.write(&of_plugin("version"), version);
        assert_eq!(verdict(&node, ""), wanted, "{version}");
    }
    node.write(&of_plugin("version"), "1.2.0");
    node.write(&of_plugin("capabilities"), r#""SIGNATURE_GENERATOR.RAW""#);
    assert_eq!(verdict(&node, ""), "1 deny plugin-without-verification plugin");
}

#[test]
fn what_a_plugin_takes_over_counts_in_the_place_of_our_own_check_and_at_the_levels_action() {
    let node = node();
    let stranger = "x509.subject: C=US, ST=WA, O=somebody else";
    // The plugin's word stands in the place of the trusted identities, and only where it gives it.
    node.write("trustpolicy.json", policy(&json!({"level": "strict"}), stranger));
    assert_eq!(verdict(&node, ""), "0 admit admitted -");
    node.write(&of_plugin("capabilities"), r#""SIGNATURE_VERIFIER.REVOCATION_CHECK""#);
    assert_eq!(verdict(&node, ""), "1 deny untrusted-identity authenticity");
    node.write("trustpolicy.json", policy(&json!({"level": "strict"}), "*"));
    assert_eq!(verdict(&node, ""), "0 admit admitted -");
    // At audit a plugin's no is only told.
    node.write(&of_plugin("capabilities"), r#""SIGNATURE_VERIFIER.TRUSTED_IDENTITY""#);
    node.write(&of_plugin("behaviour"), "verify-signature identity-fails");
    node.write("trustpolicy.json", policy(&json!({"level": "audit"}), "*"));
    assert_eq!(verdict(&node, ""), "0 admit admitted -");
    // But never that it has not answered.
    node.write(&of_plugin("behaviour"), "verify-signature fail");
    assert_eq!(verdict(&node, ""), "3 inconclusive plugin-crashed plugin");
}

#[test]
fn a_plugin_is_told_its_configuration_and_not_asked_for_what_is_skipped() {
    let node = node();
    let asked = || -> Value {
        serde_json::from_slice(&fs::read(node.path(&of_plugin("request-verify-signature"))).unwrap()).unwrap()
    };
    assert_eq!(verdict(&node, "--plugin-config region=x --plugin-config a=b=c"), "0 admit admitted -");
    assert_eq!(asked()["pluginConfig"], json!({"region": "x", "a": "b=c"}));
    let both = json!(["SIGNATURE_VERIFIER.TRUSTED_IDENTITY", "SIGNATURE_VERIFIER.REVOCATION_CHECK"]);
    assert_eq!(asked()["trustPolicy"]["signatureVerification"], both);
    assert_eq!(asked()["signature"]["unprocessedAttributes"], json!(["com.acme.extra"]));
    let skipping = json!({"level": "strict", "override": {"revocation": "skip"}});
    node.write("trustpolicy.json", policy(&skipping, "*"));
    assert_eq!(verdict(&node, ""), "0 admit admitted -");
    assert_eq!(asked()["trustPolicy"]["signatureVerification"], json!([both[0]]));
    assert!(verdict(&node, "--plugin-config a=1 --plugin-config a=2").starts_with("2 - plugin-config-duplicate"));
}

#[test]
fn a_strangers_signature_starts_no_plugin() {
    let node = node();
    fs::remove_dir_all(node.path("truststore")).unwrap();
    copy_trust_store("truststores/stranger", &node.path("truststore"));
    assert_eq!(verdict(&node, ""), "1 deny untrusted-signer authenticity");
    node.write("trustpolicy.json", policy(&json!({"level": "audit"}), "*"));
    assert_eq!(verdict(&node, ""), "1 deny plugin-not-asked plugin");
    assert!(!node.path(&of_plugin("ran")).try_exists().unwrap());
}

#[test]
fn plugins_lie_in_the_directory_for_programs_where_there_is_one() {
    let mut node = node();
    let elsewhere = tempfile::tempdir().unwrap();
    node.set("NOTATION_LIBEXEC", elsewhere.path().display().to_string());
    assert_eq!(verdict(&node, ""), "1 deny plugin-unavailable plugin");
    fs::rename(node.path("plugins"), elsewhere.path().join("plugins")).unwrap();
    assert_eq!(verdict(&node, ""), "0 admit admitted -");
}
