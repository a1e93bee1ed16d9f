//! Signatures in a registry and in a layout: either program's are told and read by the other in the same words.

use std::fs;
use std::path::Path;

use super::pair::Pair;
use crate::node::{Image, Node};
use crate::notation::{identity, policy};
use crate::tools::tool;

/// Signing, each with keys of its own in a repository of its own.
const SIGNING: &str = "
sign --insecure-registry --key none IMAGE
sign --insecure-registry REPOSITORY
sign --insecure-registry team
sign --insecure-registry -m a IMAGE
sign --insecure-registry -e -1h IMAGE
sign --insecure-registry -e 1500ms IMAGE
sign --insecure-registry -m io.cncf.notary.x=1 IMAGE
sign --insecure-registry --signature-format pgp IMAGE
sign --insecure-registry REPOSITORY:none
sign --insecure-registry --allow-referrers-api --force-referrers-tag IMAGE
sign --insecure-registry --allow-referrers-api REPOSITORY:v1
sign --insecure-registry REPOSITORY:v1
";

/// Reading, from one repository and one home: nothing differs, and nothing is made alike.
const READING: &str = "
list --insecure-registry IMAGE
list --insecure-registry REPOSITORY:v1
list --insecure-registry --max-signatures 1 IMAGE
list --insecure-registry REPOSITORY:none
list --insecure-registry UNSIGNED
inspect --insecure-registry IMAGE
inspect --insecure-registry -o json IMAGE
inspect --insecure-registry --max-signatures 1 REPOSITORY:v1
inspect --insecure-registry UNSIGNED
inspect --insecure-registry -o json UNSIGNED
cert show -t ca -s one one.crt
verify --insecure-registry IMAGE
verify --insecure-registry REPOSITORY:v1
verify --insecure-registry REPOSITORY
verify --insecure-registry team
verify --insecure-registry -m build=7 IMAGE
verify --insecure-registry -m build=8 IMAGE
verify --insecure-registry --allow-referrers-api IMAGE
list --insecure-registry --allow-referrers-api IMAGE
inspect --insecure-registry --allow-referrers-api -o json IMAGE
verify --insecure-registry -m build IMAGE
verify --insecure-registry --max-signatures 0 IMAGE
verify --insecure-registry REPOSITORY@sha256:0000000000000000000000000000000000000000000000000000000000000000
verify --insecure-registry UNSIGNED
";

#[test]
fn signing_is_told_alike_and_what_is_signed_is_read_alike() {
    let node = Node::start();
    let image = node.push("signed", "signed");
    let unsigned = node.push("bare", "bare");
    let pair = Pair::new();
    let line = |script: &str, image: &Image| {
        let script = script.replace("IMAGE", &image.by_digest()).replace("REPOSITORY", image.repository());
        script.replace("UNSIGNED", &unsigned.by_digest())
    };
    pair.run_apart("cert generate-test --default one\ncert generate-test two");
    pair.run_apart(&line(SIGNING, &image));
    // Signed by both, in both formats: by the run above, and here.
    let more = line("sign --insecure-registry --signature-format cose -e 24h -m build=7 IMAGE", &image);
    pair.said(&pair.ours(), "a", &more);
    for (level, store, signer) in
        [("strict", "one", "*"), ("strict", "two", "*"), ("audit", "two", "*"), ("audit", "one", &*identity("other"))]
    {
        let policy = policy("*", store, signer).replace("strict", level);
        pair.write(".config/notation/trustpolicy.json", &policy);
        pair.run_together(&line(READING, &image));
    }
    for policy in [
        policy("registry.example/other", "one", "*"),
        policy("*", "none", "*"),
        policy(image.repository(), "one", "*")
            .replace("strict", "skip")
            .replace(r#""ca:one""#, "")
            .replace(r#""*""#, ""),
    ] {
        pair.write(".config/notation/trustpolicy.json", &policy);
        pair.run_together(&line("verify --insecure-registry IMAGE\nverify --insecure-registry REPOSITORY:v1", &image));
    }
}

#[test]
fn what_fails_is_told_with_its_reason_when_that_is_asked_for() {
    let node = Node::start();
    let image = node.push("signed", "signed");
    let pair = Pair::new();
    pair.said(&tool("notation"), "a", "cert generate-test --default one");
    pair.said(&tool("notation"), "a", "cert generate-test two");
    pair.said(&tool("notation"), "a", &format!("sign --insecure-registry {}", image.by_digest()));
    pair.write(".config/notation/trustpolicy.json", &policy("*", "two", "*"));
    let reason = "authenticity validation failed. Failure reason: the signature's certificate chain does not contain any \
                  trusted certificate";
    for (flag, is_told) in [("-v", true), ("--verbose", true), ("-d", true), ("--debug", true), ("-v=false", false)] {
        for program in [tool("notation"), pair.ours()] {
            let said = pair.said(&program, "a", &format!("verify --insecure-registry {flag} {}", image.by_digest()));
            assert_eq!(said.contains(reason), is_told, "{} {flag}: {said}", program.display());
        }
    }
}

/// The certificate names a host that does not exist (`tests/revocation/make.sh`).
#[test]
fn a_standing_that_nobody_tells_is_told_alike() {
    let node = Node::start();
    let image = node.push("signed", "signed");
    let pair = Pair::new();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/revocation");
    let keys = serde_json::json!({"default": "leaf", "keys": [
        {"name": "leaf", "keyPath": files.join("leaf.key"), "certPath": files.join("chain.pem")},
    ]});
    pair.write(".config/notation/signingkeys.json", &keys.to_string());
    let issuer = fs::read_to_string(files.join("issuer.pem")).expect("a certificate");
    pair.write(".config/notation/truststore/x509/ca/issuer/issuer.pem", &issuer);
    pair.said(&pair.ours(), "a", &format!("sign --insecure-registry {}", image.by_digest()));
    let reason = r#"signing certificate with subject "CN=leaf,O=Acme,ST=WA,C=US" revocation status is unknown"#;
    for (level, outcome) in
        [("strict", "Error: signature verification failed"), ("permissive", "Successfully verified")]
    {
        let policy = policy("*", "issuer", "*").replace("strict", level);
        pair.write(".config/notation/trustpolicy.json", &policy);
        pair.run_together(&format!("verify --insecure-registry {}", image.by_digest()));
        for program in [tool("notation"), pair.ours()] {
            let said = pair.said(&program, "a", &format!("verify --insecure-registry -v {}", image.by_digest()));
            assert!(said.contains(outcome) && said.contains(reason), "{} {level}: {said}", program.display());
        }
    }
}

#[test]
fn a_layout_that_either_has_signed_is_read_alike() {
    let pair = Pair::new();
    pair.set("NOTATION_EXPERIMENTAL", "1");
    pair.said(&tool("notation"), "a", "cert generate-test --default one");
    pair.write(".config/notation/trustpolicy.json", &policy("local/app", "one", "*"));
    let layout = pair.layout();
    for program in [tool("notation"), pair.ours()] {
        let said = pair.said(&program, "a", "sign --oci-layout layout:v1 --signature-format cose");
        assert!(said.contains("Successfully signed layout@sha256:"), "{said}");
        pair.run_together(
            "verify --oci-layout --scope local/app layout:v1\nverify --oci-layout --scope other/app layout:v1",
        );
    }
    let index = fs::read_to_string(layout.join("index.json")).expect("an index");
    assert_eq!(index.matches("org.opencontainers.image.ref.name").count(), 1, "{index}");
    let count = |program: &Path| pair.said(program, "a", "list --oci-layout layout:v1").matches("── sha256:").count();
    assert_eq!((count(&tool("notation")), count(&pair.ours())), (2, 2));
    pair.run_together("list --oci-layout layout:none\nlist --oci-layout none:v1\nlist --oci-layout layout\nsign --oci-layout --force-referrers-tag layout:v1\nverify --oci-layout layout:v1");
}

#[test]
fn the_configured_format_is_taken() {
    let node = Node::start();
    let image = node.push("signed", "signed");
    let pair = Pair::new();
    pair.write(
        ".config/notation/config.json",
        &format!(r#"{{"signatureFormat": "cose", "insecureRegistries": ["{}"]}}"#, node.registry()),
    );
    pair.run_apart("cert generate-test --default one");
    pair.run_apart(&format!("sign {0}\nsign --signature-format pgp {0}", image.by_digest()));
    let inspected = pair.said(&pair.ours(), "b", &format!("inspect {}", image.by_digest()));
    assert_eq!(inspected.matches("media type: application/cose").count(), 2, "{inspected}");
}
