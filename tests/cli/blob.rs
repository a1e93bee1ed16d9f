//! `pratique blob` and `pratique policy`: files signed and verified without any registry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use pratique::config::NotationDir;
use serde_json::json;

use crate::authority::TimestampAuthority;
use crate::node::{EXPIRES_SOON, Node, Ran};
use crate::responders::{Answer, Responders};

const CONTENT: &str = "cargo, twelve crates of\n";

/// A node with a file, and a policy by which whatever ann has signed is good.
fn node() -> Node {
    let node = Node::new();
    node.run("cert generate-test ann --key-type ec-256 --default").exits(0);
    node.run("blob policy init --name files --trust-store ca:ann --trusted-identity * --global").exits(0);
    // A test certificate names nobody to ask about revocation.
    node.write_home("list.txt", CONTENT);
    node
}

/// `blob verify --output json` of the file with this signature and further arguments.
fn verify(node: &Node, signature: &str, arguments: &str) -> Ran {
    node.run(&format!("blob verify list.txt --output json --signature {signature} {arguments}"))
}

#[test]
fn a_signature_is_put_beside_its_file_and_verifies() {
    let mut node = node();
    node.call("24 bytes".into(), "[SIZE]");
    node.run("blob sign list.txt").is(
        0,
        "
signed list.txt
  content     sha256:[HEX], [SIZE], application/octet-stream
  signature   list.txt.jws.sig
",
        EXPIRES_SOON,
    );
    node.run("blob verify list.txt --signature list.txt.jws.sig").is(
        0,
        "
admitted: list.txt [admitted]

  reason     signature 1 satisfies statement `files`: signed by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
  policy     `files` at [HOME]/notation/trustpolicy.blob.json:4, level strict
  signature  1 of 1: JWS, signed [DATE] by CN=ann,O=Notary,L=Seattle,ST=WA,C=US
    passed   integrity, user metadata, plugin, authenticity, expiry, authentic timestamp, revocation
",
        "",
    );
    let mode = fs::metadata(node.home().join("list.txt.jws.sig")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "a signature is for everybody");
}

#[test]
fn every_kind_of_key_digests_by_its_own_hash_in_both_formats() {
    let node = node();
    for (key, hash) in [("rsa-2048", "sha256"), ("rsa-3072", "sha384"), ("ec-384", "sha384"), ("ec-521", "sha512")] {
        node.run(&format!("cert generate-test {key} --key-type {key}")).exits(0);
        node.run(&format!(
            "blob policy init --force --name files --trust-store ca:{key} --trusted-identity * --global"
        ))
        .exits(0);
        for format in ["jws", "cose"] {
            let signed = node.run(&format!("blob sign list.txt -k {key} --signature-format {format} --force -o json"));
            let signed = signed.exits(0).json();
            assert!(signed["blob"]["digest"].as_str().unwrap().starts_with(&format!("{hash}:")), "{signed}");
            let signature = format!("list.txt.{format}.sig");
            assert_eq!(signed["signature"], signature);
            verify(&node, &signature, "").answers(0, "admit", "admitted", None);
        }
    }
}

#[test]
fn another_file_is_denied_by_its_size_or_by_its_digest() {
    let node = node();
    node.run("blob sign list.txt").exits(0);
    let answer = |content: &str, exit, answer, code, failed| {
        node.write_home("list.txt", content);
        verify(&node, "list.txt.jws.sig", "").answers(exit, answer, code, failed);
    };
    answer(&format!("{CONTENT}!"), 1, "deny", "blob-size-mismatch", Some("integrity"));
    answer("", 1, "deny", "blob-size-mismatch", Some("integrity"));
    answer(&CONTENT.replace("twelve", "eleven"), 1, "deny", "blob-mismatch", Some("integrity"));
    answer(CONTENT, 0, "admit", "admitted", None);
}

#[test]
fn the_media_type_counts_where_it_is_asked_for() {
    let node = node();
    node.run("blob sign list.txt --media-type text/plain").exits(0);
    let signature = "list.txt.jws.sig";
    verify(&node, signature, "").answers(0, "admit", "admitted", None);
    verify(&node, signature, "--media-type text/plain").answers(0, "admit", "admitted", None);
    verify(&node, signature, "--media-type text/html").answers(
        1,
        "deny",
        "blob-media-type-mismatch",
        Some("integrity"),
    );
    node.run("blob sign list.txt --force --media-type a/b/c").is(
        2,
        "",
        "
error [media-type-malformed]: `a/b/c` is not a media type
hint: write a type such as text/plain
",
    );
}

#[test]
fn metadata_and_expiry_are_signed_and_held_to() {
    let node = node();
    node.run("blob sign list.txt -m build=42 -e 24h").exits(0);
    let signature = "list.txt.jws.sig";
    verify(&node, signature, "-m build=42").answers(0, "admit", "admitted", None);
    verify(&node, signature, "-m build=43").answers(1, "deny", "user-metadata-mismatch", Some("userMetadata"));
    let inspected = node.run(&format!("blob inspect {signature} -o json")).exits(0).json();
    assert_eq!(inspected["userDefinedAttributes"], json!({"build": "42"}));
    assert_eq!(inspected["signature"], signature);
    assert!(inspected["signedAttributes"]["expiry"].is_string(), "{inspected}");
    node.run("blob sign list.txt --force -m io.cncf.notary.x=1").exits(2);
    node.run("blob sign list.txt --force -e 1s").exits(0);
    let expired = || verify(&node, signature, "").json()["code"] == "signature-expired";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !expired() {
        assert!(std::time::Instant::now() < deadline, "it does not expire");
    }
}

#[test]
fn the_name_of_a_signature_tells_its_format_and_nothing_else_does() {
    let node = node();
    node.run("blob sign list.txt").exits(0);
    let bytes = fs::read(node.home().join("list.txt.jws.sig")).unwrap();
    for name in ["list.sig", "list.jws", "list.pem.sig", "list.jws.sig.txt"] {
        node.write_home(name, &bytes);
        let ran = verify(&node, name, "").exits(2);
        assert_eq!(ran.json()["code"], "signature-file-name", "{name}");
        assert_eq!(node.run(&format!("blob inspect -o json {name}")).exits(2).json()["code"], "signature-file-name");
    }
    node.write_home("list.cose.sig", &bytes);
    verify(&node, "list.cose.sig", "").answers(1, "deny", "envelope-not-cose-sign1", Some("integrity"));
    node.write_home("list.JWS.sig", &bytes);
    verify(&node, "list.JWS.sig", "").answers(0, "admit", "admitted", None);
}

#[test]
fn what_follows_a_signature_is_refused() {
    let node = node();
    for (format, code) in [("jws", "envelope-not-json"), ("cose", "cbor-trailing-bytes")] {
        node.run(&format!("blob sign list.txt --signature-format {format}")).exits(0);
        let name = format!("list.txt.{format}.sig");
        verify(&node, &name, "").answers(0, "admit", "admitted", None);
        let mut bytes = fs::read(node.home().join(&name)).unwrap();
        bytes.push(b'0');
        node.write_home(&name, bytes);
        verify(&node, &name, "").answers(1, "deny", code, Some("integrity"));
        assert_eq!(node.run(&format!("blob inspect -o json {name}")).exits(3).json()["code"], code);
    }
    node.write_home("list.jws.sig", vec![b' '; 1024 * 1024 + 1]);
    verify(&node, "list.jws.sig", "").answers(1, "deny", "envelope-too-large", Some("limit"));
}

#[test]
fn the_statement_is_the_one_named_or_the_global_one() {
    let node = node();
    node.run("blob sign list.txt").exits(0);
    let signature = "list.txt.jws.sig";
    verify(&node, signature, "--policy-name files").answers(0, "admit", "admitted", None);
    verify(&node, signature, "--policy-name Files").answers(1, "deny", "no-policy-statement", Some("policy"));
    node.run("blob policy init --force -n files --trust-store ca:ann --trusted-identity *").exits(0);
    verify(&node, signature, "").answers(1, "deny", "no-policy-statement", Some("policy"));
    verify(&node, signature, "--policy-name files").answers(0, "admit", "admitted", None);
    // The policy for images is about something else.
    fs::remove_file(node.path("trustpolicy.blob.json")).unwrap();
    node.run("policy init -n images --trust-store ca:ann --trusted-identity *").exits(0);
    verify(&node, signature, "--policy-name images").answers(3, "inconclusive", "policy-missing", Some("policy"));
}

#[test]
fn a_statement_that_skips_admits_without_a_look_at_the_signature() {
    let node = node();
    let policy = |level: &str| {
        let document = json!({"version": "1.0", "trustPolicies": [
            {"name": "any", "signatureVerification": {"level": level}},
        ]});
        document.to_string()
    };
    node.write_home("policy.json", policy("skip"));
    node.run("blob policy import policy.json --force").exits(0);
    node.write_home("list.txt.jws.sig", "no signature");
    verify(&node, "list.txt.jws.sig", "--policy-name any").answers(0, "admit", "verification-skipped", None);
    node.write_home("policy.json", policy("strict"));
    node.run("blob policy import policy.json --force").exits(2);
}

#[test]
fn a_stranger_is_denied_and_a_store_that_is_missing_leaves_the_question_open() {
    let node = node();
    node.run("cert generate-test bob --key-type ec-256").exits(0);
    node.run("blob sign list.txt --key bob").exits(0);
    verify(&node, "list.txt.jws.sig", "").answers(1, "deny", "untrusted-signer", Some("authenticity"));
    node.run("blob policy init --force -n files --trust-store ca:bob --trusted-identity * --global").exits(0);
    verify(&node, "list.txt.jws.sig", "").answers(0, "admit", "admitted", None);
    node.run("blob policy init --force -n files --trust-store ca:none --trusted-identity * --global").exits(0);
    verify(&node, "list.txt.jws.sig", "").answers(3, "inconclusive", "trust-store-missing", Some("authenticity"));
}

/// Its certificate names an OCSP server that a proxy stands for (`tests/revocation/make.sh`).
#[test]
fn a_revoked_signer_is_denied_and_one_in_good_standing_admitted() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/revocation");
    let file = |name: &str| fs::read(files.join(name)).unwrap();
    let mut node = node();
    let keys = NotationDir::new(node.path(""));
    keys.add_signing_key("leaf", &files.join("leaf.key"), &files.join("chain.pem"), false).unwrap();
    node.write("truststore/x509/ca/issuer/issuer.pem", file("issuer.pem"));
    node.run("blob policy init --force --name files --trust-store ca:issuer --trusted-identity * --global").exits(0);
    node.run("blob sign list.txt -k leaf").exits(0);
    let url = "http://ocsp.pratique.example/".to_owned();
    let responders = Responders::start([(url.clone(), Answer::Bytes(file("ocsp-good.der")))]);
    node.set("http_proxy", responders.address().to_owned());
    verify(&node, "list.txt.jws.sig", "").answers(0, "admit", "admitted", None);
    responders.answers([(url, Answer::Bytes(file("ocsp-revoked.der")))]);
    verify(&node, "list.txt.jws.sig", "").answers(1, "deny", "certificate-revoked", Some("revocation"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_stamp_is_made_and_demanded() {
    let (node, authority) = (node(), TimestampAuthority::start());
    node.write("truststore/x509/tsa/clocks/root.pem", fs::read(authority.root()).unwrap());
    let stores = "--trust-store ca:ann --trust-store tsa:clocks";
    node.run(&format!("blob policy init --force -n files {stores} --trusted-identity * --global")).exits(0);
    node.run("blob sign list.txt").exits(0);
    verify(&node, "list.txt.jws.sig", "").answers(1, "deny", "timestamp-missing", Some("authenticTimestamp"));
    let (url, root) = (authority.url(), authority.root());
    let sign = format!("blob sign list.txt --force --timestamp-url {url} --timestamp-root-cert {}", root.display());
    let signed = node.run(&sign).exits(0);
    assert!(signed.stdout.contains("\n  time-stamp  [TIME], by CN=stamper,O=Clocks\n"), "{signed:?}");
    verify(&node, "list.txt.jws.sig", "").answers(0, "admit", "admitted", None);
}

#[test]
fn a_signature_that_is_there_stays_unless_it_may_be_replaced() {
    let node = node();
    node.write_home("list.txt.jws.sig", "mine");
    node.run("blob sign list.txt").is(
        2,
        "",
        "
error [signature-exists]: list.txt.jws.sig is there already
hint: replace it with `--force`, or name another file with `--signature`
",
    );
    assert_eq!(fs::read(node.home().join("list.txt.jws.sig")).unwrap(), b"mine");
    node.run("blob sign list.txt --signature-directory out/deep").exits(0);
    verify(&node, "out/deep/list.txt.jws.sig", "").answers(0, "admit", "admitted", None);
    node.run("blob sign list.txt --signature other.jws.sig").exits(0);
    verify(&node, "other.jws.sig", "").answers(0, "admit", "admitted", None);
    node.run("blob sign list.txt --force").exits(0);
    verify(&node, "list.txt.jws.sig", "").answers(0, "admit", "admitted", None);
    let litter = fs::read_dir(node.home()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(litter.filter(|name| name.starts_with('.')).count(), 0);
}

#[test]
fn the_standard_input_is_signed_and_verified_like_a_file() {
    let node = node();
    let run = |arguments: &str, content: &str| node.run_all(&arguments.split_whitespace().collect::<Vec<_>>(), content);
    let nameless = run("blob sign - -o json", CONTENT).exits(2);
    assert_eq!(nameless.json()["code"], "signature-without-name");
    let wrong = run("blob sign - -s list.cose.sig -o json", CONTENT).exits(2);
    assert_eq!(wrong.json()["code"], "signature-format-mismatch");
    run("blob sign - -s list.cose.sig --signature-format cose", CONTENT).exits(0);
    verify(&node, "list.cose.sig", "").answers(0, "admit", "admitted", None);
    let other = "another cargo, of the same length".get(..CONTENT.len()).unwrap();
    let arguments = "blob verify - -s list.cose.sig -o json";
    run(arguments, CONTENT).answers(0, "admit", "admitted", None);
    run(arguments, other).answers(1, "deny", "blob-mismatch", Some("integrity"));
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let mut node = node();
    node.run("blob sign nowhere.txt").is(
        3,
        "",
        "
error [file-unreadable]: cannot read nowhere.txt: No such file or directory (os error 2)
hint: see whether the path is right and may be read
",
    );
    node.run("blob sign list.txt").exits(0);
    verify(&node, "nowhere.jws.sig", "").answers(3, "inconclusive", "file-unreadable", Some("retrieval"));
    node.run("blob verify nowhere.txt -s list.txt.jws.sig -o json").answers(
        3,
        "inconclusive",
        "file-unreadable",
        Some("retrieval"),
    );
    fs::create_dir(node.home().join("shut")).unwrap();
    node.drop_privileges();
    fs::set_permissions(node.home().join("shut"), fs::Permissions::from_mode(0o500)).unwrap();
    let ran = node.run("blob sign list.txt --signature-directory shut -o json").exits(3);
    assert_eq!(ran.json()["code"], "file-unwritable");
}

/// 96 MiB, with 88 MiB of memory for everything.
#[test]
fn a_file_larger_than_memory_is_digested_as_it_is_read() {
    let node = node();
    let file = fs::File::create(node.home().join("large")).unwrap();
    file.set_len(96 * 1024 * 1024).unwrap();
    let run = |arguments: &str| {
        let script = format!("ulimit -v 90000; exec {} {arguments}", env!("CARGO_BIN_EXE_pratique"));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(node.home()).env_clear();
        command.env("PRATIQUE_NOTATION_DIR", node.path("")).stderr(Stdio::inherit());
        assert!(command.status().unwrap().success(), "{arguments}");
    };
    run("blob sign large");
    run("blob verify large -s large.jws.sig");
}

#[test]
fn a_signature_is_shown_field_by_field() {
    let node = node();
    node.run("blob sign list.txt -m build=42").exits(0);
    let shown = node.run("blob inspect list.txt.jws.sig").exits(0);
    assert!(shown.stdout.starts_with("list.txt.jws.sig\n├── mediaType: application/jose+json\n"), "{shown:?}");
    for line in [
        "├── userDefinedAttributes\n│   └── build: 42\n",
        "    ├── mediaType: application/octet-stream\n    ├── digest: sha256:[HEX]\n    └── size: 24\n",
    ] {
        assert!(shown.stdout.contains(line), "{line}{}", shown.stdout);
    }
}

#[test]
fn a_policy_is_begun_put_in_force_and_shown_for_either_kind() {
    for (command, file, member) in [
        ("policy", "trustpolicy.json", "\n      \"registryScopes\": [\n        \"*\"\n      ],"),
        ("blob policy", "trustpolicy.blob.json", ""),
    ] {
        let node = Node::new();
        let missing = node.run(&format!("{command} show")).exits(3);
        assert!(missing.stderr.starts_with("error [policy-missing]: "), "{missing:?}");
        let init = format!("{command} init -n first --trust-store ca:acme --trusted-identity *");
        let root = "tests/vectors/truststores/acme/x509/ca/acme-rockets/p256-root.pem";
        node.write("truststore/x509/ca/acme/root.pem", fs::read(root).unwrap());
        let done = format!("put in force [HOME]/notation/{file}\n  statements  first\n");
        node.run(&init).is(0, &done, "");
        let text = format!(
            "{{
  \"version\": \"1.0\",
  \"trustPolicies\": [
    {{
      \"name\": \"first\",{member}
      \"signatureVerification\": {{
        \"level\": \"strict\"
      }},
      \"trustStores\": [
        \"ca:acme\"
      ],
      \"trustedIdentities\": [
        \"*\"
      ]
    }}
  ]
}}
"
        );
        node.run(&format!("{command} show")).is(0, &text, "");
        let shown = node.run(&format!("{command} show -o json")).exits(0).json();
        assert_eq!(shown["policy"], text);
        assert_eq!(node.run(&format!("{init} -o json")).exits(2).json()["code"], "policy-exists");
        node.run(&format!("{init} --force")).exits(0);

        node.write_home("other.json", text.replace("first", "second"));
        node.run(&format!("{command} import other.json")).exits(2);
        node.run(&format!("{command} import other.json --force")).exits(0);
        let bad = node.run_all(
            &format!("{command} import - --force -o json").split(' ').collect::<Vec<_>>(),
            &text.replace("strict", "lax"),
        );
        assert_eq!(bad.exits(2).json()["code"], "policy-level-unknown");
        assert!(node.run(&format!("{command} show")).exits(0).stdout.contains("second"), "the good one stays");
        node.write(file, "{");
        let broken = node.run(&format!("{command} show")).exits(3);
        assert_eq!(broken.stdout, "{");
        assert!(broken.stderr.starts_with("error [policy-malformed]: "), "{broken:?}");
        node.run(&format!("{command} init -n x --trust-store ca:acme --trusted-identity acme")).exits(2);
    }
}

#[test]
fn an_imported_policy_takes_the_place_of_the_one_that_is_read() {
    let node = Node::new();
    let init = "policy init --trust-store ca:acme --trusted-identity *";
    node.run(&format!("{init} -n older --scope registry.example/app")).exits(0);
    fs::rename(node.path("trustpolicy.json"), node.path("trustpolicy.oci.json")).unwrap();
    node.run(&format!("{init} -n newer --force")).exits(0);
    assert!(node.run("policy show").exits(0).stdout.contains("newer"));
    assert!(!node.path("trustpolicy.json").try_exists().unwrap());
}
