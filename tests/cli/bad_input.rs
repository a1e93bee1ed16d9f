//! What the operator has not provided, or not as it should be: the answer names it and says what to do, and nothing is
//! ever admitted because something was missing.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::json;

use crate::cases::vectors;
use crate::node::{Node, Ran, Scene};

const IMAGE: &str = "registry.example/app@sha256:8ff84d599ad8e6a531da367352233112a73d686a69f6f0f93a936bdbcac0865f";

const POLICY: &str = r#"{
  "version": "1.0",
  "trustPolicies": [
    {
      "name": "acme",
      "registryScopes": ["*"],
      "signatureVerification": {LEVEL},
      "trustStores": ["ca:acme"],
      "trustedIdentities": ["*"]
    }
  ]
}
"#;

const LEVELS: [&str; 3] = ["strict", "permissive", "audit"];

/// A node that admits the image, at this level.
fn admitting(level: &str) -> Node {
    // Revocation is the one check that asks the network; the other levels do not enforce it.
    let overrides = if level == "strict" { r#", "override": {"revocation": "skip"}"# } else { "" };
    let node = Node::with_policy(POLICY.replace("LEVEL", &format!(r#""level": "{level}"{overrides}"#)));
    node.write("truststore/x509/ca/acme/root.pem", read("truststores/acme/x509/ca/acme-rockets/rsa2048-root.pem"));
    node.write_home("envelope", read("envelopes/cli-rsa2048-jws.jws"));
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": IMAGE.split_once('@').unwrap().1,
        "size": 401,
    });
    node.write_home("descriptor", descriptor.to_string());
    node
}

fn verify(node: &Node) -> Ran {
    verify_as(node, "text")
}

fn verify_as(node: &Node, output: &str) -> Ran {
    let image = format!("--reference {IMAGE} --descriptor descriptor");
    node.run(&format!("verify -o {output} {image} --signature envelope --media-type application/jose+json"))
}

fn read(name: &str) -> Vec<u8> {
    fs::read(vectors().join(name)).unwrap()
}

/// The first certificate of a chain, alone.
fn leaf() -> String {
    let chain = String::from_utf8(read("chains/rsa2048/chain.pem")).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    chain.split_inclusive(end).next().unwrap().to_owned()
}

/// Replaces a text of the policy.
fn edit(node: &Node, from: &str, to: &str) {
    let policy = fs::read_to_string(node.path("trustpolicy.json")).unwrap();
    assert!(policy.contains(from), "{from}");
    node.write("trustpolicy.json", policy.replacen(from, to, 1));
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
}

const STORE: &str = "truststore/x509/ca/acme";
const ROOT: &str = "truststore/x509/ca/acme/root.pem";

/// One thing done to a node, the code that names it, and what the reason must say.
type Spoiled = (fn(&Node), &'static str, &'static str);

const POLICIES: &[Spoiled] = &[
    (|node| remove(&node.path("")), "policy-missing", "/notation/trustpolicy.json"),
    (|node| remove(&node.path("trustpolicy.json")), "policy-missing", "/notation/trustpolicy.json"),
    (
        |node| node.write("trustpolicy.json", ""),
        "policy-malformed",
        "/notation/trustpolicy.json is not valid: line 1: ",
    ),
    (|node| node.write("trustpolicy.json", "{}"), "policy-member-missing", "line 1: `version` is missing"),
    (|node| node.write("trustpolicy.json", "null"), "policy-member-type", "line 1: "),
    (|node| node.write("trustpolicy.json", b"\xff\xfe{"), "policy-malformed", "line 1: the text is not UTF-8"),
    (|node| node.write("trustpolicy.json", vec![b' '; 1 << 24]), "policy-too-large", "/notation/trustpolicy.json"),
    (
        |node| node.write("trustpolicy.oci.json", ""),
        "policy-malformed",
        "/notation/trustpolicy.oci.json is not valid: line 1: ",
    ),
    (|node| node.write("trustpolicy.json", "[".repeat(100_000)), "policy-malformed", "line 1: "),
    (|node| edit(node, "{", "\u{feff}{"), "policy-malformed", "line 1: the file begins with a byte order mark"),
    (|node| edit(node, "\"1.0\",", "\"1.0\""), "policy-malformed", "line 3: the text is not JSON"),
    (|node| edit(node, "[\"*\"]\n", "[\"*\"],\n"), "policy-malformed", "line 10: the text is not JSON"),
    (|node| edit(node, "  ]\n}\n", ""), "policy-malformed", "line 11: the text is not JSON"),
    (|node| edit(node, "  ]\n}\n", "  ]\n}\n{}\n"), "policy-malformed", "line 13: the text is not JSON"),
    (
        |node| edit(node, "\"version\"", "// the policy\n  \"version\""),
        "policy-malformed",
        "line 2: the text is not JSON",
    ),
    (|node| edit(node, "1.0", "2.0"), "policy-version", "line 2: the version `2.0` is not `1.0`"),
    (|node| edit(node, "\"1.0\"", "1.0"), "policy-member-type", "line 2: "),
    (
        |node| edit(node, "trustPolicies", "trustpolicies"),
        "policy-member-case",
        "line 3: `trustpolicies` is not `trustPolicies`",
    ),
    (
        |node| edit(node, "{\"level\": \"", "{\"level\": \"very "),
        "policy-level-unknown",
        "line 7, statement `acme`: `very ",
    ),
    (|node| edit(node, "ca:acme", "acme"), "policy-store-invalid", "line 8, statement `acme`: "),
    (|node| edit(node, "ca:acme", "ca:.."), "policy-store-invalid", "line 8, statement `acme`: "),
    (|node| edit(node, "ca:acme", "root:acme"), "policy-store-invalid", "line 8, statement `acme`: "),
    (|node| edit(node, "\"ca:acme\"", ""), "policy-stores-missing", "statement `acme`: "),
    (|node| edit(node, "[\"*\"]\n", "[]\n"), "policy-identities-missing", "statement `acme`: "),
    (
        |node| edit(node, "[\"*\"]\n", "[\"x509.subject: CN=a\"]\n"),
        "policy-identity-invalid",
        "line 9, statement `acme`: ",
    ),
    (|node| edit(node, "[\"*\"],", "[],"), "policy-scopes-missing", "statement `acme`: "),
    (|node| edit(node, "[\"*\"],", "[\"https://a.example/b\"],"), "policy-scope-invalid", "line 6, statement `acme`: "),
    (
        |node| {
            remove(&node.path("trustpolicy.json"));
            fs::create_dir(node.path("trustpolicy.json")).unwrap();
        },
        "policy-not-a-file",
        "/notation/trustpolicy.json: it is not a regular file",
    ),
    (
        |node| {
            remove(&node.path("trustpolicy.json"));
            UnixListener::bind(node.path("trustpolicy.json")).unwrap();
        },
        "policy-not-a-file",
        "/notation/trustpolicy.json: it is not a regular file",
    ),
    (
        |node| {
            fs::rename(node.path("trustpolicy.json"), node.path("policy.json")).unwrap();
            symlink("policy.json", node.path("trustpolicy.json")).unwrap();
        },
        "policy-symlink",
        "/notation/trustpolicy.json: it is a symbolic link",
    ),
    (
        |node| symlink("nowhere", node.path("trustpolicy.oci.json")).unwrap(),
        "policy-symlink",
        "/notation/trustpolicy.oci.json: it is a symbolic link",
    ),
    (|node| node.lock("trustpolicy.json"), "policy-unreadable", "/notation/trustpolicy.json: Permission denied"),
    (|node| node.lock(""), "policy-unreadable", "/notation/trustpolicy.oci.json: Permission denied"),
];

const STORES: &[Spoiled] = &[
    (|node| remove(&node.path("truststore")), "trust-store-missing", "/notation/truststore/x509/ca/acme"),
    (|node| remove(&node.path(STORE)), "trust-store-missing", "/notation/truststore/x509/ca/acme"),
    (|node| edit(node, "ca:acme", "ca:other"), "trust-store-missing", "/notation/truststore/x509/ca/other"),
    (
        |node| edit(node, "\"ca:acme\"", "\"ca:acme\", \"ca:other\""),
        "trust-store-missing",
        "/notation/truststore/x509/ca/other",
    ),
    (|node| remove(&node.path(ROOT)), "trust-store-empty", "/notation/truststore/x509/ca/acme"),
    (
        |node| fs::rename(node.path(ROOT), node.path("truststore/x509/ca/acme/.root.pem")).unwrap(),
        "trust-store-empty",
        "/notation/truststore/x509/ca/acme",
    ),
    (
        |node| node.write("truststore/x509/ca/acme/README", "our root"),
        "trust-store-foreign-file",
        "/notation/truststore/x509/ca/acme/README",
    ),
    (|node| node.write(ROOT, ""), "trust-store-not-a-certificate", "/acme/root.pem"),
    (|node| node.write(ROOT, "not a certificate"), "trust-store-not-a-certificate", "/acme/root.pem"),
    (|node| node.write(ROOT, read("chains/rsa2048/leaf.key")), "trust-store-not-a-certificate", "/acme/root.pem"),
    (|node| node.write(ROOT, leaf()), "trust-store-not-an-anchor", "/acme/root.pem"),
    (|node| node.write("truststore/x509/ca/acme/leaf.pem", leaf()), "trust-store-not-an-anchor", "/acme/leaf.pem"),
    (|node| node.write(ROOT, vec![b' '; 2 << 20]), "trust-store-too-large", "/acme/root.pem"),
    (
        |node| {
            fs::rename(node.path(ROOT), node.path("root.pem")).unwrap();
            symlink(node.path("root.pem"), node.path(ROOT)).unwrap();
        },
        "trust-store-symlink",
        "/acme/root.pem",
    ),
    (
        |node| {
            fs::rename(node.path(STORE), node.path("acme")).unwrap();
            symlink(node.path("acme"), node.path(STORE)).unwrap();
        },
        "trust-store-symlink",
        "/notation/truststore/x509/ca/acme",
    ),
    (
        |node| {
            remove(&node.path(STORE));
            node.write(STORE, read("truststores/acme/x509/ca/acme-rockets/rsa2048-root.pem"));
        },
        "trust-store-not-a-directory",
        "/notation/truststore/x509/ca/acme",
    ),
    (|node| node.lock(ROOT), "trust-store-unreadable", "/acme/root.pem: Permission denied"),
    (|node| node.lock(STORE), "trust-store-unreadable", "/notation/truststore/x509/ca/acme: Permission denied"),
];

#[test]
fn what_is_right_is_admitted_at_every_level() {
    for level in LEVELS {
        let mut node = admitting(level);
        node.drop_privileges();
        verify_as(&node, "json").answers(0, "admit", "admitted", None);
    }
}

#[test]
fn nothing_is_admitted_by_a_policy_that_cannot_be_put_in_force() {
    check(POLICIES, "policy", |_, _| {});
}

#[test]
fn nothing_is_admitted_by_a_trust_store_that_cannot_be_used() {
    check(STORES, "authenticity", |node, ran| {
        let policy = &ran.json()["policy"];
        assert_eq!(policy["origin"], node.path("trustpolicy.json").display().to_string());
        assert_eq!(policy["line"], 4, "where the statement stands that names the store");
    });
}

/// Every spoiled node answers with its code, the file and a remedy, whatever the level.
fn check(spoiled: &[Spoiled], failed: &str, further: fn(&Node, &Ran)) {
    let mut wrong = Vec::new();
    for level in LEVELS {
        for (spoil, code, says) in spoiled {
            let mut node = admitting(level);
            node.drop_privileges();
            spoil(&node);
            let ran = verify_as(&node, "json");
            let document = ran.json();
            let text = |member: &str| document[member].as_str().unwrap_or_default();
            let got = (ran.exit, text("answer"), text("code"), text("failed"));
            let is_told = text("reason").contains(says) && !text("remedy").is_empty();
            if got != (3, "inconclusive", code, failed) || !is_told {
                wrong.push(format!("wanted {code}, `{says}` at {level}: {}", ran.raw_stdout));
            } else {
                further(&node, &ran);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_person_is_told_the_line_of_the_policy_and_what_to_write() {
    let node = admitting("strickt");
    verify(&node).is(3, "", "
error [policy-level-unknown]: the trust policy [HOME]/notation/trustpolicy.json is not valid: line 7, statement `acme`: `strickt` is none of the levels strict, permissive, audit, skip
hint: choose one of strict, permissive, audit, skip
");
}

#[test]
fn a_person_is_told_the_trust_store_that_is_missing_and_how_to_fill_it() {
    let node = admitting("audit");
    remove(&node.path(STORE));
    verify(&node).is(
        3,
        "
could not tell: registry.example/app@sha256:[HEX] [trust-store-missing]

  reason     the trust store `ca:acme` does not exist: there is no [HOME]/notation/truststore/x509/ca/acme
  policy     `acme` at [HOME]/notation/trustpolicy.json:4, level audit
",
        "
hint: run `pratique cert add --type ca --store acme --notation-dir [HOME]/notation ROOT.pem`
",
    );
}

#[test]
fn the_advice_about_a_missing_trust_store_works() {
    let node = admitting("permissive");
    let root = node.path("root.pem");
    fs::rename(node.path(ROOT), &root).unwrap();
    remove(&node.path(STORE));
    verify(&node).exits(3);
    node.run(&format!("cert add --type ca --store acme {}", root.display())).exits(0);
    verify(&node).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_image_in_a_registry_is_not_admitted_either() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.run("verify").exits(0);
    remove(&scene.node.path("truststore"));
    scene.verify("").answers(3, "inconclusive", "trust-store-missing", Some("authenticity"));
    remove(&scene.node.path("trustpolicy.json"));
    scene.verify("").answers(3, "inconclusive", "policy-missing", Some("policy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_configuration_of_registries_is_named() {
    let scene = Scene::new().await;
    scene.run("sign").exits(0);
    scene.node.write("config.json", "{\n  \"insecureRegistries\": 1\n}\n");
    scene.run("verify").is(3, "", "
error [notation-file-malformed]: [HOME]/notation/config.json is malformed: invalid type: integer `1`, expected a sequence at line 2 column 25
hint: mend the JSON, or remove the file to begin anew
");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_credentials_are_named() {
    let scene = Scene::of(crate::registry::ScriptedRegistry::builder().basic("ann", "hunter2")).await;
    scene.node.write_home(".docker/config.json", "{");
    scene.run("verify").is(3, "", "
error [credentials-unreadable]: cannot read the credentials in [HOME]/.docker/config.json: it is not JSON of the form that `docker login` writes
hint: mend [HOME]/.docker/config.json, or log in again so that it is written anew
");
}

#[test]
fn a_signature_beside_the_image_needs_everything_that_is_said_of_it() {
    let node = admitting("strict");
    let run = |arguments: &str| node.run(&format!("verify {arguments}"));
    let all = "--descriptor descriptor --media-type application/jose+json --signature envelope";
    run(&format!("{all} --reference registry.example/app")).is(
        2,
        "",
        "
error [reference-without-digest]: the reference has no digest
hint: write `registry.example/app@sha256:[HEX]`
",
    );
    run(&format!("{all} --reference registry.example/app:v1")).is(
        2,
        "",
        "
error [reference-without-digest]: the reference has no digest
hint: write `registry.example/app@sha256:[HEX]`
",
    );
    run(&format!("{all} --reference registry.example/app@{}", IMAGE.split_once('@').unwrap().1.replace('8', "9"))).is(
        2,
        "",
        "
error [reference-mismatch]: the reference is about sha256:9ff94d599ad9, the descriptor about sha256:8ff84d599ad8
hint: name the image that the descriptor is of
",
    );
    node.write_home("descriptor", "{\"size\": 1}");
    run(&format!("{all} --reference {IMAGE}")).is(
        2,
        "",
        "
error [descriptor-malformed]: descriptor is not an OCI descriptor: missing field `mediaType` at line 1 column 11
hint: write it with `pratique descriptor`
",
    );
    remove(&node.path("../descriptor"));
    run(&format!("{all} --reference {IMAGE}")).is(
        3,
        "",
        "
error [file-unreadable]: cannot read descriptor: No such file or directory (os error 2)
",
    );
    let node = admitting("permissive");
    remove(&node.path("../envelope"));
    verify(&node).is(
        3,
        "",
        "
error [file-unreadable]: cannot read envelope: No such file or directory (os error 2)
",
    );
    node.write_home("envelope", "");
    verify(&node).is(
        1,
        "
denied: registry.example/app@sha256:[HEX] [envelope-not-json]

  reason     the envelope is not JSON: EOF while parsing a value at line 1 column 0
  policy     `acme` at [HOME]/notation/trustpolicy.json:4, level permissive
  signature  1 of 1: not an envelope
    failed   integrity: the envelope is not JSON: EOF while parsing a value at line 1 column 0 [envelope-not-json]
",
        "
hint: the envelope is damaged or was made by a tool that does not follow the specification: sign again
",
    );
    node.write_home("envelope", vec![b'a'; 2 << 20]);
    verify(&node).is(
        1,
        "
denied: registry.example/app@sha256:[HEX] [envelope-too-large]

  reason     the envelope has 1048577 bytes, the limit is 1048576
  policy     `acme` at [HOME]/notation/trustpolicy.json:4, level permissive
  signature  1 of 1: not an envelope
    failed   limit: the envelope has 1048577 bytes, the limit is 1048576 [envelope-too-large]
",
        "
hint: raise `limits.envelope_size` if envelopes of this size are expected
",
    );
}
