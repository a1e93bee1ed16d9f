//! Keys on PKCS #11 tokens, with `SoftHSM`: found, unlocked, and what they sign is what notation accepts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::cases::vectors;
use crate::node::Scene;
use crate::soft_hsm::{PIN, SoftHsm, module};

/// A scene with a token named `card`, and the PIN in the variable `PIN`.
async fn scene_with_token() -> (Scene, SoftHsm) {
    let mut scene = Scene::new().await;
    let hsm = SoftHsm::with_token("card");
    scene.node.set("SOFTHSM2_CONF", hsm.configuration());
    scene.node.set("PIN", PIN.to_owned());
    scene.node.call(module().display().to_string(), "[MODULE]");
    (scene, hsm)
}

fn chain(name: &str) -> PathBuf {
    vectors().join("chains").join(name)
}

/// The certificates of a chain, each in a file of its own.
fn certificates(name: &str, folder: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(chain(name).join("chain.pem")).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let parts = text.split_inclusive(end).filter(|part| part.contains(end)).enumerate();
    parts
        .map(|(number, part)| {
            let path = folder.join(format!("{name}-{number}.pem"));
            fs::write(&path, part).unwrap();
            path
        })
        .collect()
}

fn sign(scene: &Scene, uri: &str, options: &str) -> crate::node::Ran {
    scene.run(&format!("sign --key {uri} --passphrase-env PIN {options}"))
}

/// `notation verify`, with the root of this chain in its trust store.
fn notation_accepts(scene: &Scene, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    scene.notation_accepts(&certificates(name, folder.path()).pop().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_signs_on_the_token_what_notation_accepts() {
    for name in ["rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521"] {
        let (scene, hsm) = scene_with_token().await;
        hsm.import("card", &chain(name).join("leaf.key"), name, "01");
        let uri = SoftHsm::uri(&format!("token=card;object={name};type=private"));
        let file = chain(name).join("chain.pem");
        sign(&scene, &uri, &format!("--key-certificates {}", file.display())).exits(0);
        notation_accepts(&scene, name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_is_read_from_the_token_and_put_in_order() {
    let (scene, hsm) = scene_with_token().await;
    for name in ["p256", "rsa2048"] {
        hsm.import("card", &chain(name).join("leaf.key"), name, if name == "p256" { "01" } else { "02" });
        for (number, certificate) in certificates(name, &scene.node.path("")).iter().enumerate().rev() {
            let id = if name == "p256" { format!("01{number}0") } else { format!("02{number}0") };
            hsm.put_certificate("card", certificate, "any", &id);
        }
    }
    sign(&scene, &SoftHsm::uri("token=card;object=p256"), "").exits(0);
    notation_accepts(&scene, "p256");
    sign(&scene, &SoftHsm::uri("token=card;id=%02"), "--signature-format cose").exits(0);
    let inspected = scene.run("inspect -o json").json();
    let algorithms: Vec<_> =
        inspected["signatures"].as_array().unwrap().iter().map(|s| &s["signatureAlgorithm"]).collect();
    assert_eq!(algorithms.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_signingkeys_json_may_be_a_token_with_its_pin_in_a_file() {
    let (scene, hsm) = scene_with_token().await;
    hsm.import("card", &chain("p384").join("leaf.key"), "release", "01");
    scene.node.write("pin", format!("{PIN}\n"));
    let uri =
        SoftHsm::uri("token=card;object=release") + "&pin-source=" + &scene.node.path("pin").display().to_string();
    let key = json!({"name": "release", "keyPath": uri, "certPath": chain("p384").join("chain.pem")});
    scene.node.write("signingkeys.json", json!({"keys": [key], "default": "release"}).to_string());
    let ran = scene.run("sign").exits(0);
    assert!(ran.stderr.starts_with("warning: others than its owner can read [HOME]/notation/pin"), "{ran:?}");
    fs::set_permissions(scene.node.path("pin"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(scene.run("sign").exits(0).stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_keys_of_one_label_the_one_with_the_newest_certificate_signs() {
    let (scene, hsm) = scene_with_token().await;
    let folder = scene.node.path("");
    for (name, id) in [("expired-leaf", "01"), ("p256", "02")] {
        hsm.import("card", &chain(name).join("leaf.key"), "release", id);
        for certificate in certificates(name, &folder) {
            hsm.put_certificate("card", &certificate, "any", id);
        }
    }
    sign(&scene, &SoftHsm::uri("token=card;object=release"), "").exits(0);
    notation_accepts(&scene, "p256");
    // The old one is still there for whoever names it, and then refused for its own reason.
    let ran = sign(&scene, &SoftHsm::uri("token=card;object=release;id=%01"), "").exits(3);
    assert!(ran.stderr.starts_with("error [signing-certificate-not-valid]"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_chosen_among_several_by_what_it_says_of_itself() {
    let (scene, hsm) = scene_with_token().await;
    hsm.add_token("spare");
    hsm.import("spare", &chain("p256").join("leaf.key"), "release", "01");
    let certificates = format!("--key-certificates {}", chain("p256").join("chain.pem").display());
    sign(&scene, &SoftHsm::uri("token=spare"), &certificates).exits(0);
    for (path, code) in [
        ("", "token-ambiguous"),
        ("token=other", "token-missing"),
        ("token=spare;serial=0", "token-missing"),
        ("token=spare;slot-id=999999", "token-missing"),
        ("token=spare;library-manufacturer=Acme", "token-module-unusable"),
        ("token=card", "token-key-missing"),
        ("token=spare;object=other", "token-key-missing"),
        ("token=spare;id=%07", "token-key-missing"),
    ] {
        let ran = sign(&scene, &SoftHsm::uri(path), &certificates).exits(3);
        assert!(ran.stderr.starts_with(&format!("error [{code}]: ")), "{path}: {ran:?}");
    }
    // Without the file there is nothing to put into an envelope; and another key's certificate is refused.
    let ran = sign(&scene, &SoftHsm::uri("token=spare"), "").exits(3);
    assert!(ran.stderr.starts_with("error [token-certificate-missing]"), "{ran:?}");
    let other = format!("--key-certificates {}", chain("p384").join("chain.pem").display());
    let ran = sign(&scene, &SoftHsm::uri("token=spare"), &other).exits(3);
    assert!(ran.stderr.starts_with("error [token-certificate-mismatch]"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_tried_once_and_told_with_a_warning() {
    let (mut scene, hsm) = scene_with_token().await;
    hsm.import("card", &chain("p256").join("leaf.key"), "release", "01");
    scene.node.set("WRONG", "000000".to_owned());
    let certificates = format!("--key-certificates {}", chain("p256").join("chain.pem").display());
    let uri = SoftHsm::uri("token=card");
    scene.run(&format!("sign --key {uri} --passphrase-env WRONG {certificates}")).is(
        3,
        "",
        "
error [token-pin-wrong]: the PIN is not that of the token `card`; it locks after some more
hint: do not try again before you are sure: tokens lock
",
    );
    let ran = scene.run(&format!("sign --key {uri} {certificates}")).exits(3);
    assert!(ran.stderr.starts_with("error [passphrase-missing]"), "{ran:?}");
    let ran = scene.run(&format!("sign --key {uri} --passphrase-env NOT_SET {certificates}")).exits(3);
    assert!(ran.stderr.starts_with("error [passphrase-unreadable]"), "{ran:?}");
    sign(&scene, &uri, &certificates).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_in_the_uri_is_refused_and_not_repeated() {
    let (scene, _hsm) = scene_with_token().await;
    let uri = SoftHsm::uri("token=card") + "&pin-value=" + PIN;
    let ran = scene.run(&format!("sign --key {uri}")).exits(2);
    assert!(ran.stderr.starts_with("error [token-uri-pin]") && !ran.stderr.contains(PIN), "{ran:?}");
    let ran = scene.run("sign --key pkcs11:colour=red").exits(2);
    assert!(ran.stderr.starts_with("error [token-uri-invalid]"), "{ran:?}");
    let ran = scene.run("sign --key pkcs11:token=card").exits(3);
    assert!(ran.stderr.starts_with("error [token-module-missing]"), "{ran:?}");
    let ran = scene.run("sign --key pkcs11:token=card?module-path=/nowhere.so").exits(3);
    assert!(ran.stderr.starts_with("error [token-module-unusable]"), "{ran:?}");
    let ran = scene.run("sign --key-certificates a.pem --key ann").exits(2);
    assert!(ran.stderr.starts_with("error [key-certificates-unused]"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_hangs_is_given_up() {
    let scene = Scene::new().await;
    let module = scene.node.path("hanging.so");
    compile("hanging_module.c", &module, "-g0");
    scene.run(&format!("sign --key pkcs11:token=card?module-path={} --token-timeout 1s", module.display())).is(
        3,
        "",
        "
error [token-timeout]: the PKCS #11 module gave no answer within 1 seconds
hint: see whether the device answers; `--token-timeout` gives it longer
",
    );
}

/// A module of the tests, with this option.
fn compile(source: &str, module: &Path, option: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(source);
    let built = Command::new("cc").args(["-shared", "-fPIC", option, "-o"]).arg(module).arg(&source).status().unwrap();
    assert!(built.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_asks_others_first_is_asked_again_until_it_signs_or_the_time_is_over() {
    for (pending, options, exit, told) in [
        ("3", "--approval-timeout 60s", 0, "waiting for up to 60 s: the token has not signed yet"),
        ("3", "", 3, "error [token-pending]"),
        ("1000", "--approval-timeout 1s", 3, "error [approval-timeout]"),
        ("never", "--approval-timeout 60s", 3, "error [token-rejected]"),
    ] {
        let (mut scene, hsm) = scene_with_token().await;
        hsm.import("card", &chain("p256").join("leaf.key"), "release", "01");
        let wrapper = scene.node.path("pending.so");
        compile("pending_module.c", &wrapper, &format!("-DREAL=\"{}\"", module().display()));
        scene.node.set("PENDING", pending.to_owned());
        let uri = format!("pkcs11:token=card;object=release?module-path={}", wrapper.display());
        let certificates = chain("p256").join("chain.pem").display().to_string();
        let ran = sign(&scene, &uri, &format!("--key-certificates {certificates} {options}")).exits(exit);
        assert!(ran.stderr.contains(told), "{pending} {options}: {ran:?}");
        let stored = scene.registry.lines().iter().any(|line| line.starts_with("PUT "));
        assert_eq!(stored, exit == 0, "{pending} {options}");
        if stored {
            notation_accepts(&scene, "p256");
        }
    }
}
