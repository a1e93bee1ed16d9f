//! What somebody is told who stumbles: each mistake by its code, with what to do instead, beside the same thing done right.

use crate::node::{EXPIRES_SOON, Node, Ran, Scene, policy};
use crate::places::{Directory, copied};
use crate::registry;

/// The code, and the hint.
fn told(ran: &Ran) -> (String, String) {
    let code = ran.stderr.split(['[', ']']).nth(1).unwrap_or_default();
    let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_default();
    (code.to_owned(), hint.to_owned())
}

#[track_caller]
fn tells(ran: &Ran, exit: i32, code: &str, hint: &str) {
    let (told, said) = told(ran);
    assert_eq!((ran.exit, told.as_str()), (exit, code), "{ran:?}");
    assert!(said.contains(hint), "{hint}: {ran:?}");
}

#[test]
fn whoever_names_no_trust_store_is_told_which_there_are() {
    let node = Node::new();
    for command in
        ["cert rm --store typo --all --yes", "cert rm --store typo x.crt --yes", "cert show --store typo x.crt"]
    {
        tells(&node.run(command), 2, "trust-store-missing", "no trust store is there");
    }
    node.run("cert generate-test ann --key-type ec-256").exits(0);
    tells(&node.run("cert rm --store typo --all --yes"), 2, "trust-store-missing", "there are ca:ann; ");
    tells(&node.run("cert rm --store ann --type tsa --all --yes"), 2, "trust-store-missing", "there are ca:ann; ");
    node.run("cert rm --store ann --all --yes").exits(0);
}

#[test]
fn a_key_that_is_not_there_is_not_added() {
    let node = Node::new();
    node.run("cert generate-test ann --key-type ec-256").exits(0);
    let certificates = node.path("localkeys/ann.crt").display().to_string();
    for command in [
        "key add x --key nowhere.key".to_owned(),
        format!("key add x --key nowhere.key --key-certificates {certificates}"),
    ] {
        tells(&node.run(&command), 3, "signing-key-unreadable", "with `--key`");
    }
    let uri = |module: &str| format!("key add card --key pkcs11:token=T;object=O?module-path={module}");
    tells(&node.run(&uri("/nowhere/module.so")), 3, "token-module-unusable", "`module-path`");
    assert_eq!(node.run("key ls -o json").json().as_array().unwrap().len(), 1);
    node.write_home("module.so", "");
    node.run(&uri(&node.home().join("module.so").display().to_string())).exits(0);
}

#[test]
fn a_name_that_is_none_is_told_with_the_word_before_it() {
    let node = Node::with_policy(policy("strict", &["ca:ann"], &["*"]));
    let mut layout = Directory::new(node.home().join("out"));
    layout.annotated(&serde_json::json!({"org.opencontainers.image.ref.name": "v1"}), &registry::image("app"));
    for (image, meant) in [
        ("./out", "write `oci-layout:./out` "),
        ("./out:v1", "write `oci-layout:./out:v1` "),
        ("oci-layuot:./out", "write `oci-layout:./out`"),
        ("oci:./out", "write `oci-layout:./out`"),
        ("dir:./out", "write `oci-layout:./out`"),
    ] {
        for command in ["verify", "ls", "sign --require-digest"] {
            tells(&node.run(&format!("{command} {image}")), 2, "invalid-reference", meant);
        }
        tells(&node.run(&format!("copy oci-layout:out {image}")), 2, "invalid-reference", meant);
    }
    let other = node.run("verify ./other").exits(2);
    assert!(!other.stderr.contains("oci-layout"), "{other:?}");
    node.run("ls oci-layout:./out:v1").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_says_which_tags_it_has_and_push_what_it_takes() {
    let scene = Scene::new().await;
    copied(&scene, "out");
    let node = &scene.node;
    tells(&node.run("ls oci-layout:out:v2"), 3, "not-found", "it has `v1`");
    node.run("ls oci-layout:out:v1").exits(0);
    let host = scene.registry.host();
    for image in ["oci-layout:out:v1", "containerd:app:v1"] {
        for destination in ["", &format!("{host}/copy/app:v1")] {
            let ran = node.run(&format!("push {image} {destination}"));
            tells(&ran, 2, "push-without-sign", &format!("`pratique push --sign {image} DESTINATION`"));
            assert!(told(&ran).1.contains(&format!("`pratique copy {image} DESTINATION`")), "{ran:?}");
        }
    }
    tells(&node.run("push app.jws.sig"), 2, "arguments-missing", "name the signed image");
    node.run(&format!("push --sign oci-layout:out:v1 {host}/copy/app:v1")).exits(0);
}

#[test]
fn a_registry_on_this_machine_is_told_of_with_plain_http() {
    let node = Node::new();
    node.run("cert generate-test ann --key-type ec-256 --default").exits(0);
    // A port that nothing listens on, as nobody may.
    let refused = node.run("sign localhost:1/app:v1");
    tells(&refused, 3, "registry-unreachable", "`curl -v http://localhost:1/v2/`");
}

#[test]
fn what_must_be_there_first_is_named() {
    let node = Node::new();
    tells(&node.run("verify registry.example/app:v1"), 3, "policy-missing", "`pratique policy init`");
    node.write_home("file", "content");
    node.write_home("file.jws.sig", "");
    tells(&node.run("blob verify file --signature file.jws.sig"), 3, "policy-missing", "`pratique blob policy init`");
    tells(&node.run("sign registry.example/app:v1"), 2, "signing-key-no-default", "`pratique key add`");
}

#[test]
fn a_policy_that_is_begun_is_told_of_without_lines_and_with_stores_that_are_missing() {
    let node = Node::new();
    let init = |more: &str| node.run(&format!("policy init --name first --trusted-identity * {more}"));
    let wrong = init("--trust-store acme");
    tells(&wrong, 2, "policy-store-invalid", "");
    assert!(!wrong.stderr.contains("line "), "{wrong:?}");
    let unknown = init("--trust-store ca:acme --registry-scope registry.example/app");
    assert!(unknown.stderr.starts_with("warning [trust-store-missing]: "), "{unknown:?}");
    assert_eq!(unknown.exit, 0);
    let shown = node.run("policy show").exits(0).stdout;
    assert!(shown.contains("\"registry.example/app\""), "{shown}");
    node.run("cert generate-test acme --key-type ec-256").exits(0);
    assert_eq!(init("--trust-store ca:acme --scope registry.example/app --force").exits(0).stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_is_not_written_over_a_file_unless_that_is_forced() {
    let scene = Scene::new().await;
    scene.run("descriptor --output-file app.json").exits(0);
    scene.node.write_home("app.json", "mine");
    tells(&scene.run("descriptor --output-file app.json"), 2, "descriptor-exists", "`--force`");
    assert_eq!(std::fs::read_to_string(scene.node.home().join("app.json")).unwrap(), "mine");
    scene.run("descriptor --output-file app.json --force").exits(0);
    assert_ne!(std::fs::read_to_string(scene.node.home().join("app.json")).unwrap(), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_warned_about_once_however_many_signatures_are_made() {
    let scene = Scene::new().await;
    let platform = |name: &str| serde_json::json!({"os": "linux", "architecture": name});
    let entries = ["amd64", "arm64"].map(|name| {
        let manifest = registry::image(name);
        scene.registry.put_manifest(
            crate::node::REPOSITORY,
            None,
            pratique::oci::media_type::IMAGE_MANIFEST,
            &manifest,
        );
        let mut entry =
            serde_json::to_value(pratique::oci::Descriptor::of(pratique::oci::media_type::IMAGE_MANIFEST, &manifest))
                .unwrap();
        entry["platform"] = platform(name);
        entry
    });
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": pratique::oci::media_type::IMAGE_INDEX, "manifests": entries,
    });
    let index = index.to_string();
    scene.registry.put_manifest(
        crate::node::REPOSITORY,
        Some("many"),
        pratique::oci::media_type::IMAGE_INDEX,
        index.as_bytes(),
    );
    let host = scene.registry.host();
    let ran = scene.node.run(&format!("sign --recursive {host}/{}:many", crate::node::REPOSITORY)).exits(0);
    assert_eq!(ran.stderr.matches(EXPIRES_SOON.trim_end()).count(), 1, "{ran:?}");
    assert_eq!(ran.stdout.matches("signed ").count(), 3, "{ran:?}");
}

#[test]
fn a_directory_of_envelopes_that_is_not_there_is_told_before_anything_is_read() {
    let node = Node::new();
    let attach = node.run("attach --payload-dir payloads --signatures nowhere");
    tells(&attach, 2, "signatures-directory-missing", "`--signatures`");
}
