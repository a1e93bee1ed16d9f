//! `pratique cert`: keys to try things out with, and trust anchors.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::cases::vectors;
use crate::node::{Node, Scene};

#[test]
fn a_test_key_is_made_for_its_owner_alone() {
    let node = Node::new();
    node.run("cert generate-test ann --default").is(
        0,
        "
made a test key and certificate `ann`, valid until [TIME]
  key          [HOME]/notation/localkeys/ann.key
  certificate  [HOME]/notation/localkeys/ann.crt
  trusted in   ca:ann
",
        "",
    );
    let mode = |name: &str| fs::metadata(node.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("localkeys"), mode("localkeys/ann.key")), (0o700, 0o600));
    node.run("cert generate-test bob --key-type ec-521 --output json").is(
        0,
        r#"
{
  "name": "bob",
  "key": "[HOME]/notation/localkeys/bob.key",
  "certificate": "[HOME]/notation/localkeys/bob.crt",
  "trustStore": "ca:bob",
  "notAfter": "[TIME]"
}
"#,
        "",
    );
}

#[test]
fn no_key_is_ever_overwritten() {
    let node = Node::new();
    node.run("cert generate-test ann --key-type ec-256").exits(0);
    let key = fs::read(node.path("localkeys/ann.key")).unwrap();
    node.run("cert generate-test ann --key-type ec-256").is(
        2,
        "",
        "
error [signing-key-taken]: there is a signing key `ann` already
hint: choose another name
",
    );
    fs::remove_file(node.path("signingkeys.json")).unwrap();
    node.run("cert generate-test ann --key-type ec-256").is(
        3,
        "",
        "
error [file-unwritable]: cannot write [HOME]/notation/localkeys/ann.key: File exists (os error 17)
hint: choose another name, or take the old file away first
",
    );
    assert_eq!(fs::read(node.path("localkeys/ann.key")).unwrap(), key);
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let node = Node::new();
    for name in ["..", "../ann", "a/b", "/tmp/ann", "ann\u{1b}[2J"] {
        node.run_all(&["cert", "generate-test", name], "").exits(2);
        node.run_all(&["cert", "add", "--store", name, "ROOT.pem"], "").exits(2);
    }
    node.run("cert generate-test ..").is(
        2,
        "",
        "
error [invalid-name]: the name `..` is not made of letters, digits, `_`, `-` and `.`, or is dots alone
hint: choose a name of letters, digits, `_`, `.` and `-`, and not of dots alone
",
    );
    node.run("cert generate-test ann --key-type rsa-1024").exits(2);
    assert_eq!(fs::read_dir(node.path("")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_key_signs_and_is_trusted() {
    let scene = Scene::new().await;
    for kind in ["ec-384", "ec-521", "rsa-2048", "rsa-3072"] {
        scene.node.run(&format!("cert generate-test {kind} --key-type {kind}")).exits(0);
        scene.node.write("trustpolicy.json", crate::node::policy("strict", &[&format!("ca:{kind}")], &["*"]));
        scene.verify("").exits(1);
        scene.run(&format!("sign --key {kind}")).exits(0);
        scene.verify("").answers(0, "admit", "admitted", None);
    }
}

#[test]
fn roots_are_added_and_other_files_are_not() {
    let node = Node::new();
    let store = vectors().join("truststores/acme/x509/ca/acme-rockets");
    let root = |name: &str| store.join(name).display().to_string();
    let add = |files: &str| node.run(&format!("cert add --store acme {files}"));
    add(&format!("{} {}", root("p256-root.pem"), root("p384-root.pem"))).is(
        0,
        "
added 2 file(s) to the trust store ca:acme
",
        "",
    );
    add(&root("p256-root.pem")).is(
        3,
        "",
        "
error [file-unwritable]: cannot write [HOME]/notation/truststore/x509/ca/acme/p256-root.pem: File exists (os error 17)
hint: choose another name, or take the old file away first
",
    );
    node.run(&format!("cert add --type tsa --store acme --output json {}", root("p256-root.pem"))).is(
        0,
        r#"
{
  "trustStore": "tsa:acme",
  "files": [
    "[HOME]/notation/truststore/x509/tsa/acme/p256-root.pem"
  ]
}
"#,
        "",
    );
    add("nowhere.pem").is(
        3,
        "",
        "
error [file-unreadable]: cannot read nowhere.pem: No such file or directory (os error 2)
",
    );
    node.write_home("text.pem", "no certificate");
    add("text.pem").is(
        2,
        "",
        "
error [certificate-missing]: text.pem: there is no certificate
hint: keep nothing but certificates in the file, in PEM or DER
",
    );
    let chain = fs::read_to_string(vectors().join("chains/p256/chain.pem")).unwrap();
    node.write_home("chain.pem", chain);
    add("chain.pem").is(2, "", "
error [trust-store-not-an-anchor]: chain.pem: `CN=builder-p256,OU=Release,O=Acme Rockets,ST=WA,C=US` is neither a certificate authority nor self-signed
hint: give the issuing root certificate alone
");
    node.run("cert add --type root --store acme text.pem").exits(2);
    let mut names: Vec<_> =
        fs::read_dir(node.path("truststore/x509/ca/acme")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["p256-root.pem", "p384-root.pem"]);
}

#[test]
fn what_would_spoil_a_trust_store_is_never_put_into_it() {
    let node = Node::with_policy(crate::node::policy("strict", &["ca:acme"], &["*"]));
    let root = fs::read(vectors().join("truststores/acme/x509/ca/acme-rockets/p256-root.pem")).unwrap();
    for name in ["root", "root.der", ".root.pem", "root.CER"] {
        node.write_home(name, &root);
    }
    node.run("cert add --store acme root root.der .root.pem root.CER").exits(0);
    let store = "ca:acme".parse().unwrap();
    let directory = pratique::config::NotationDir::new(node.path(""));
    let trust = directory.load_trust().unwrap();
    assert_eq!(trust.anchors(&store).unwrap().len(), 4);
    // Self-signed is enough for signers, but not for time-stamping.
    let own = fs::read(vectors().join("chains/selfsigned-rsa3072/chain.pem")).unwrap();
    node.write_home("own.pem", own);
    node.run("cert add --store acme own.pem").exits(0);
    node.run("cert add --type tsa --store acme own.pem").is(
        2,
        "",
        "
error [trust-store-not-an-anchor]: own.pem: `CN=self-rsa,OU=Release,O=Acme Rockets,ST=WA,C=US` is not a self-signed certificate authority
hint: give the issuing root certificate alone
",
    );
}
