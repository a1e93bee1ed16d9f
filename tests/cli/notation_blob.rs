//! `notation blob`, in the words of the line that follows version 1.3: scripts match them.

use std::fs;

use serde_json::json;

use crate::authority::TimestampAuthority;
use crate::node::{Node, Ran};

/// A node with a key and a file, and no policy yet.
fn node() -> Node {
    let mut node = Node::new();
    node.set("NOTATION_CONFIG", node.path("").display().to_string());
    node.run("notation cert generate-test --default ann").exits(0);
    node.write_home("list.txt", "cargo");
    node
}

/// A node whose policy takes whatever ann has signed.
fn trusting(arguments: &str) -> Node {
    let node = node();
    let init = "notation blob policy init --name files --trust-store ca:ann --trusted-identity *";
    node.run(&format!("{init} {arguments}")).exits(0);
    node
}

/// Holds the error of a run, after `Error: `.
#[track_caller]
fn fails(ran: &Ran, words: &str) {
    assert_eq!(ran.exit, 1, "{ran:?}");
    assert!(ran.stderr.contains(&format!("Error: {words}")), "{words}\n{ran:?}");
}

#[test]
fn a_file_is_signed_its_policy_begun_and_the_file_verified() {
    let node = node();
    let sign = "notation blob sign list.txt";
    let signed = "Successfully signed list.txt\n Signature file written to list.txt.jws.sig\n";
    node.run(sign).is(0, signed, "");
    let init = "notation blob policy init --name files --trust-store ca:ann --trusted-identity *";
    let done = "Successfully initialized blob trust policy file to [HOME]/notation/trustpolicy.blob.json.\n";
    node.run(init).is(0, done, "");
    let policy = r#"{
  "version": "1.0",
  "trustPolicies": [
    {
      "name": "files",
      "signatureVerification": {
        "level": "strict"
      },
      "trustStores": [
        "ca:ann"
      ],
      "trustedIdentities": [
        "*"
      ]
    }
  ]
}"#;
    assert_eq!(node.run("notation blob policy show").exits(0).raw_stdout, policy);
    let verify = "notation blob verify --signature list.txt.jws.sig --policy-name files list.txt";
    node.run(verify).is(0, "Successfully verified signature for list.txt\n", "");
    fails(
        &node.run("notation blob verify -s list.txt.jws.sig list.txt"),
        "signature verification failed: no global blob trust policy",
    );
    fails(
        &node.run(&verify.replace("files", "other")),
        "signature verification failed: no applicable blob trust policy with name \"other\"",
    );
}

#[test]
fn flags_may_stand_before_the_name_of_the_command() {
    let node = trusting("--global");
    node.run("notation blob --signature-format cose sign list.txt").exits(0);
    let told = node.run("notation blob verify -d -s list.txt.cose.sig list.txt").exits(0).stderr;
    for line in ["msg=Verify signature of media type application/cose\n", "Name:files "] {
        assert!(told.contains(line), "{line}: {told}");
    }
    node.run("notation blob --signature-format jws sign list.txt").exits(0);
    let told = node.run("notation blob verify -d -s list.txt.jws.sig list.txt").exits(0).stderr;
    assert!(told.contains("Verify signature of media type application/jose+json\n"), "{told}");
}

#[test]
fn what_was_signed_is_told_and_what_is_demanded_is_held_to() {
    let node = trusting("--global");
    node.run("notation blob sign -m build=7 --media-type text/plain list.txt").exits(0);
    let verify = "notation blob verify -s list.txt.jws.sig list.txt";
    let told = "
Successfully verified signature for list.txt

The artifact was signed with the following user metadata.

KEY     VALUE   
build   7       
";
    node.run(&format!("{verify} -m build=7 --media-type text/plain")).is(0, told, "");
    let failed = "signature verification failed: ";
    let metadata = format!("{failed}unable to find specified metadata in the signature");
    fails(&node.run(&format!("{verify} -m build=8")), &metadata);
    let other = format!("{failed}integrity check failed. signature does not match the given blob");
    fails(&node.run(&format!("{verify} --media-type image/jpeg")), &other);
    node.write_home("list.txt", "other");
    fails(&node.run(verify), &other);
}

#[test]
fn a_statement_that_skips_says_so() {
    let node = node();
    let policy =
        json!({"version": "1.0", "trustPolicies": [{"name": "any", "signatureVerification": {"level": "skip"}}]});
    node.write_home("policy.json", policy.to_string());
    let done = "Successfully imported blob trust policy configuration to [HOME]/notation/trustpolicy.blob.json.\n";
    node.run("notation blob policy import policy.json").is(0, done, "");
    node.run("notation blob sign list.txt").exits(0);
    node.run("notation blob verify --policy-name any -s list.txt.jws.sig list.txt").is(
        0,
        "Trust policy is configured to skip signature verification for list.txt\n",
        "",
    );
}

#[test]
fn a_check_that_is_only_logged_is_warned_about() {
    let node = trusting("--global");
    node.run("notation cert generate-test bob").exits(0);
    node.run("notation blob sign --key bob list.txt").exits(0);
    let verify = "notation blob verify -s list.txt.jws.sig list.txt";
    node.run(verify).exits(1);
    let policy = fs::read_to_string(node.path("trustpolicy.blob.json")).unwrap();
    node.write("trustpolicy.blob.json", policy.replace("strict", "audit"));
    let ran = node.run(verify).exits(0);
    assert_eq!(ran.stdout, "\nSuccessfully verified signature for list.txt\n");
    assert!(ran.stderr.starts_with("Warning: authenticity was set to \"log\" and failed with error: "), "{ran:?}");
}

#[test]
fn mistakes_are_told_in_the_same_words_and_order() {
    let node = node();
    node.run("notation blob sign list.txt").exits(0);
    for name in ["list.sig", "list.jws.invalid", "list.txt.invalid.sig"] {
        fs::copy(node.home().join("list.txt.jws.sig"), node.home().join(name)).unwrap();
    }
    let see = |command| format!("use `notation blob {command} --help` to see what parameters are required");
    let group = "if any flags in the group [timestamp-url timestamp-root-cert] are set they must all be set; missing";
    let pair = r#"key-value pair requires "=" as separator"#;
    let missing = "trust policy is not present. To create a trust policy, see: \
                   https://notaryproject.dev/docs/quickstart/#create-a-trust-policy";
    let unknown =
        "signature format \"invalid\" not supported\nSupported signature envelope formats are \"jws\" and \"cose\"";
    for (command, words) in [
        ("sign", format!("missing file path to the blob artifact: {}", see("sign"))),
        ("sign list.txt --signature-directory=", "signature directory cannot be empty".into()),
        ("sign list.txt --signature-format invalid", unknown.into()),
        ("sign list.txt --key invalid", "signing key invalid not found".into()),
        ("sign list.txt --user-metadata invalid", format!("could not parse flag user-metadata: {pair}")),
        ("sign list.txt --timestamp-url x", format!("{group} [timestamp-root-cert]")),
        ("sign list.txt --timestamp-root-cert x", format!("{group} [timestamp-url]")),
        ("sign list.txt --timestamp-url= --timestamp-root-cert x", "timestamping: tsa url cannot be empty".into()),
        (
            "sign list.txt --timestamp-url x --timestamp-root-cert=",
            "timestamping: tsa root certificate path cannot be empty".into(),
        ),
        ("sign nowhere.txt", "open nowhere.txt: no such file or directory".into()),
        ("sign list.txt --media-type a/b/c", "invalid content media-type \"a/b/c\"".into()),
        (
            "sign list.txt -m io.cncf.notary.x=1",
            "error adding user metadata: metadata key io.cncf.notary.x has reserved prefix io.cncf.notary".into(),
        ),
        ("verify", format!("missing path to the blob artifact: {}", see("verify"))),
        ("verify list.txt", "filepath of the signature cannot be empty".into()),
        ("verify list.txt -s nowhere.jws.sig", "open nowhere.jws.sig: no such file or directory".into()),
        ("verify list.txt -s list.txt.jws.sig --media-type=", "--media-type is set but with empty value".into()),
        ("verify list.txt -s list.txt.jws.sig", missing.into()),
        ("inspect", format!("missing signature path: {}", see("inspect"))),
        ("inspect -o yaml list.txt.jws.sig", "unrecognized output format yaml".into()),
        ("inspect unknown.sig", "invalid signature filename unknown.sig. A valid signature file name must".into()),
        ("inspect nowhere.jws.sig", "failed to read signature file: ".into()),
        ("policy show", "failed to show blob trust policy as the configuration does not exist.".into()),
        ("policy import", "requires 1 argument but received 0.".into()),
        ("policy import nowhere", "failed to read blob trust policy file: open nowhere: no such file".into()),
        ("policy import list.txt", "failed to parse blob trust policy configuration: ".into()),
        ("policy init -n x --trust-store ca:x", "required flag(s) \"trusted-identity\" not set".into()),
        ("policy init -n x --trust-store ca:x --trusted-identity y", "invalid blob policy: ".into()),
    ] {
        fails(&node.run(&format!("notation blob {command}")), &words);
    }
    fails(&node.run_all(&["notation", "blob", "sign", ""], ""), "blob path cannot be empty");
    node.run("notation blob policy init -n files --trust-store ca:ann --trusted-identity * --global").exits(0);
    for (signature, words) in [
        ("list.jws.invalid", "invalid signature filename list.jws.invalid. The file extension must be .sig"),
        (
            "list.sig",
            "invalid signature filename list.sig. A valid signature file name must contain signature format and .sig \
             file extension",
        ),
        ("list.txt.invalid.sig", unknown),
    ] {
        fails(&node.run(&format!("notation blob verify list.txt -s {signature}")), words);
    }
}

#[test]
fn what_is_there_is_replaced_after_a_yes_alone() {
    let node = trusting("");
    node.write_home("list.txt.jws.sig", "mine");
    let run = |arguments: &str, answer: &str| node.run_all(&arguments.split_whitespace().collect::<Vec<_>>(), answer);
    let sign = "notation blob sign list.txt";
    let question = "The signature file already exists, do you want to overwrite it? [y/N] ";
    run(sign, "n\n").is(0, &format!("{question}Operation cancelled.\n"), "");
    assert_eq!(fs::read(node.home().join("list.txt.jws.sig")).unwrap(), b"mine");
    let signed = "Successfully signed list.txt\n Signature file written to list.txt.jws.sig\n";
    run(sign, "y\n").is(0, &format!("{question}{signed}"), "");
    run(&format!("{sign} --force"), "").is(0, signed, "Warning: existing signature file will be overwritten\n");

    let init = "notation blob policy init -n second --trust-store ca:ann --trusted-identity *";
    let question = "The blob trust policy configuration already exists, do you want to overwrite it? [y/N] ";
    assert_eq!(run(init, "").exits(0).stdout, question);
    assert!(!node.run("notation blob policy show").stdout.contains("second"));
    let warning = "Warning: existing blob trust policy configuration will be overwritten\n";
    assert_eq!(run(&format!("{init} --force"), "").exits(0).stderr, warning);
    assert!(node.run("notation blob policy show").stdout.contains("second"));
    node.write("trustpolicy.blob.json", "{");
    let broken = node.run("notation blob policy show").exits(1);
    assert_eq!(broken.stdout, "{");
    assert!(broken.stderr.contains("Existing blob trust policy configuration is invalid"), "{broken:?}");
    // Nobody is asked about one that is malformed.
    assert!(!run(init, "").exits(0).stdout.contains("[y/N]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_shown_with_its_time_stamp() {
    let (node, authority) = (node(), TimestampAuthority::start());
    let (url, root) = (authority.url(), authority.root().display().to_string());
    node.run(&format!("notation blob sign list.txt --timestamp-url {url} --timestamp-root-cert {root}")).exits(0);
    let ran = node.run("notation blob inspect list.txt.jws.sig").exits(0);
    let shown: Vec<&str> =
        ran.stdout.lines().map(|line| line.split(": ").next().unwrap()).take_while(|line| !line.is_empty()).collect();
    assert_eq!(
        shown.join("\n"),
        "list.txt.jws.sig
├── signature algorithm
├── signature envelope type
├── signed attributes
│   ├── content type
│   ├── signing scheme
│   └── signing time
├── user defined attributes
│   └── (empty)
├── unsigned attributes
│   ├── signing agent
│   └── timestamp signature
│       ├── timestamp
│       └── certificates
│           └── SHA256 fingerprint
│               ├── issued to
│               ├── issued by
│               └── expiry
├── certificates
│   └── SHA256 fingerprint
│       ├── issued to
│       ├── issued by
│       └── expiry
└── signed artifact
    ├── media type
    ├── digest
    └── size"
    );
    let document = node.run("notation blob inspect -o json list.txt.jws.sig").exits(0).json();
    assert_eq!(document["signatureEnvelopeType"], "application/jose+json");
    assert_eq!(document["userDefinedAttributes"], json!(null));
    let stamp = &document["unsignedAttributes"]["timestampSignature"];
    assert_eq!(stamp["certificates"][0]["issuedTo"], "CN=stamper,O=Clocks");
    assert!(stamp["timestamp"].as_str().unwrap().starts_with("[20"), "{stamp}");
}
