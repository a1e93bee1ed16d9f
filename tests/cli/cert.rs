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
        0,
        "
added 0 file(s) to the trust store ca:acme
  there already  [HOME]/notation/truststore/x509/ca/acme/p256-root.pem
",
        "",
    );
    node.write_home("p256-root.pem", fs::read(store.join("p384-root.pem")).unwrap());
    add("p256-root.pem").is(
        2,
        "",
        "
error [trust-store-file-taken]: the trust store `ca:acme` has another file of the name `p256-root.pem`
hint: give the file another name, or take the old one away with `pratique cert rm --type ca --store acme p256-root.pem`
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

/// A node with three anchors: two that end in years, and one that is about to.
fn node_with_anchors() -> Node {
    let node = Node::new();
    let store = vectors().join("truststores/acme/x509/ca/acme-rockets");
    node.write("truststore/x509/ca/acme/p256.pem", fs::read(store.join("p256-root.pem")).unwrap());
    node.write("truststore/x509/tsa/acme/p384.pem", fs::read(store.join("p384-root.pem")).unwrap());
    node.run("cert generate-test ann --key-type ec-256").exits(0);
    node
}

#[test]
fn the_anchors_of_every_store_are_listed_with_what_calls_for_somebody() {
    Node::new().run("cert ls").is(0, "\nthere is no certificate\n", "");
    let node = node_with_anchors();
    node.run("cert ls").is(
        0,
        "
ca:acme p256.pem
  CN=acme-p256 root,O=Acme Rockets,ST=WA,C=US, until [TIME]
ca:ann ann.crt
  CN=ann,O=Notary,L=Seattle,ST=WA,C=US, until [TIME], expires in less than a day
tsa:acme p384.pem
  CN=acme-p384 root,O=Acme Rockets,ST=WA,C=US, until [TIME]
",
        "",
    );
    let stores = |arguments: &str| -> Vec<String> {
        let listed = node.run(&format!("cert ls -o json {arguments}")).exits(0).json();
        let files = listed.as_array().unwrap().iter();
        files
            .map(|file| format!("{} {}", file["trustStore"].as_str().unwrap(), file["file"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(stores("--type ca"), ["ca:acme p256.pem", "ca:ann ann.crt"]);
    assert_eq!(stores("--store acme"), ["ca:acme p256.pem", "tsa:acme p384.pem"]);
    assert_eq!(stores("--store acme --type tsa"), ["tsa:acme p384.pem"]);
    assert_eq!(stores("--type signingAuthority"), Vec::<String>::new());
    node.run("cert ls --type root").exits(2);
    let listed = node.run("cert ls -o json --store ann").exits(0).json();
    assert_eq!(listed[0]["certificates"][0]["state"], "expiring");
}

#[test]
fn a_store_that_cannot_be_used_is_listed_with_its_reason() {
    let node = node_with_anchors();
    node.write("truststore/x509/ca/acme/README", "roots");
    node.write("truststore/x509/ca/not a name/root.pem", "");
    fs::create_dir_all(node.path("truststore/x509/ca/empty")).unwrap();
    let listed = node.run("cert ls --type ca -o json").exits(3).json();
    let codes: Vec<(&str, Option<&str>)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["trustStore"].as_str().unwrap(), file["problem"]["code"].as_str()))
        .collect();
    let wanted = [
        ("ca:acme", Some("trust-store-foreign-file")),
        ("ca:acme", None),
        ("ca:ann", None),
        ("ca:empty", Some("trust-store-empty")),
        ("ca:not a name", Some("trust-store-name-invalid")),
    ];
    assert_eq!(codes, wanted);
}

#[test]
fn a_certificate_of_a_store_is_shown() {
    let node = node_with_anchors();
    node.run("cert show ann.crt --store ann").is(
        0,
        "
CN=ann,O=Notary,L=Seattle,ST=WA,C=US
  issuer      CN=ann,O=Notary,L=Seattle,ST=WA,C=US
  valid       [TIME] to [TIME], expires in less than a day
  serial      [SERIAL]
  authority   no
  thumbprint  [HEX]
"
        .replace("[SERIAL]", &serial(&node))
        .as_str(),
        "",
    );
    let shown = node.run("cert show p384.pem --store acme --type tsa -o json").exits(0).json();
    assert_eq!((&shown[0]["isAuthority"], &shown[0]["state"]), (&true.into(), &"valid".into()));
    for name in ["other.pem", "../acme/p256.pem", "..", "/etc/passwd"] {
        let ran = node.run(&format!("cert show {name} --store acme")).exits(2);
        assert!(ran.stderr.starts_with("error [trust-store-file-unknown]"), "{ran:?}");
    }
    let ran = node.run("cert show p256.pem --store none").exits(2);
    assert!(ran.stderr.starts_with("error [trust-store-missing]"), "{ran:?}");
    node.run("cert show p256.pem --store ../acme").exits(2);
}

fn serial(node: &Node) -> String {
    let shown = node.run("cert show ann.crt --store ann -o json").exits(0).json();
    shown[0]["serialNumber"].as_str().unwrap().to_owned()
}

#[test]
fn an_anchor_is_removed_once_somebody_says_yes() {
    let node = node_with_anchors();
    let store = "--store acme";
    let (path, more) = (node.path("truststore/x509/ca/acme/p256.pem"), node.path("truststore/x509/ca/acme/more.pem"));
    fs::copy(&path, &more).unwrap();
    for (arguments, answer) in
        [("rm p256.pem", ""), ("rm p256.pem", "n\n"), ("rm p256.pem", "yesterday\n"), ("rm --all", "\n")]
    {
        let arguments: Vec<&str> = ["cert"].into_iter().chain(arguments.split(' ')).chain(store.split(' ')).collect();
        let ran = node.run_all(&arguments, answer).exits(2);
        assert!(ran.stderr.contains("error [not-confirmed]: nothing was removed"), "{ran:?}");
    }
    node.run(&format!("cert rm p256.pem other.pem --yes {store}")).exits(2);
    node.run(&format!("cert rm ../ann/ann.crt --yes {store}")).exits(2);
    node.run(&format!("cert rm --yes {store}")).exits(2);
    node.run(&format!("cert rm p256.pem --all --yes {store}")).exits(2);
    assert!(path.is_file() && more.is_file());
    let removed = ["cert", "rm", "p256.pem", "--store", "acme"];
    node.run_all(&removed, "y\n").is(
        0,
        "
trust store ca:acme: 1 file(s) left
  removed  [HOME]/notation/truststore/x509/ca/acme/p256.pem
",
        "Take p256.pem out of the trust store `ca:acme`? [y/N] ",
    );
    node.run(&format!("cert rm more.pem --yes -o json {store}")).is(
        0,
        r#"
{
  "trustStore": "ca:acme",
  "removed": [
    "[HOME]/notation/truststore/x509/ca/acme/more.pem"
  ],
  "remaining": 0
}
"#,
        "",
    );
    assert!(!node.path("truststore/x509/ca/acme").try_exists().unwrap());
    node.run("cert rm --all --yes --store acme --type tsa").exits(0);
    node.run("cert ls --store acme -o json").is(0, "\n[]\n", "");
    node.run("cert ls --store ann").exits(0);
}
