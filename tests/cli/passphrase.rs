//! Key files under a passphrase: where it may come from, and that it goes nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::node::{EXPIRES_SOON, Node, Ran, Scene};

const PASSPHRASE: &str = "open sesame";

/// Ann's key, encrypted under the passphrase.
async fn scene_with_encrypted_key() -> Scene {
    let scene = Scene::new().await;
    let (key, plain) = (scene.node.path("localkeys/ann.key"), scene.node.path("localkeys/ann.plain"));
    fs::rename(&key, &plain).unwrap();
    let mut command = Command::new("openssl");
    command.args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", &format!("pass:{PASSPHRASE}"), "-in"]);
    assert!(command.arg(&plain).arg("-out").arg(&key).status().unwrap().success());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(plain).unwrap();
    scene
}

fn starts(ran: &Ran, code: &str) {
    assert!(ran.stderr.starts_with(&format!("error [{code}]: ")), "{ran:?}");
    assert!(!format!("{ran:?}").contains(PASSPHRASE));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_passphrase_comes_from_a_variable_a_file_or_a_descriptor() {
    let mut scene = scene_with_encrypted_key().await;
    scene.node.set("SECRET", PASSPHRASE.to_owned());
    scene.node.set("OTHER", "open".to_owned());
    scene.run("sign --passphrase-env SECRET").exits(0);
    scene.verify("").answers(0, "admit", "admitted", None);
    scene.node.write_home("passphrase", format!("{PASSPHRASE}\n"));
    fs::set_permissions(scene.node.path("../passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(scene.run("sign --passphrase-file passphrase").exits(0).stderr, EXPIRES_SOON);
    let image = scene.image();
    let ran = scene.node.run_all(&["sign", "--passphrase-fd", "0", &image], &format!("{PASSPHRASE}\n")).exits(0);
    assert_eq!(ran.stderr, EXPIRES_SOON);
    starts(&scene.run("sign --passphrase-env OTHER").exits(3), "private-key-passphrase-wrong");
    starts(&scene.run("sign --passphrase-env NONE").exits(3), "passphrase-unreadable");
    starts(&scene.run("sign --passphrase-file none").exits(3), "passphrase-unreadable");
    starts(&scene.run("sign --passphrase-fd 77").exits(3), "passphrase-unreadable");
    starts(&scene.node.run_all(&["sign", "--passphrase-fd", "0", &image], "").exits(3), "passphrase-unusable");
    scene.run("sign --passphrase-fd 0 --passphrase-env SECRET").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_source_and_a_terminal_there_is_no_passphrase() {
    let scene = scene_with_encrypted_key().await;
    // In a session of its own: whoever runs the tests may sit at a terminal.
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_pratique"), "sign", &scene.image()]).env_clear();
    command.env("PRATIQUE_NOTATION_DIR", scene.node.path("")).stdin(Stdio::null());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.starts_with("error [passphrase-missing]: "), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_at_the_terminal_and_what_is_typed_is_not_shown() {
    let scene = scene_with_encrypted_key().await;
    let (typed, shown) = at_a_terminal(&scene, &format!("{PASSPHRASE}x\u{7f}\r"));
    assert!(shown.contains("Passphrase for ") && shown.contains("signed "), "{shown}");
    assert!(!shown.contains(PASSPHRASE) && typed, "{shown}");
    let (_, shown) = at_a_terminal(&scene, "\u{3}");
    assert!(shown.contains("error [passphrase-missing]"), "{shown}");
}

/// Runs `sign` at a terminal of its own, and types the answer.
fn at_a_terminal(scene: &Scene, answer: &str) -> (bool, String) {
    scene.node.at_a_terminal(&format!("sign {}", scene.image()), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_can_read_is_warned_about_and_used() {
    let scene = Scene::new().await;
    let key: PathBuf = scene.node.path("localkeys/ann.key");
    assert_eq!(scene.run("sign").exits(0).stderr, EXPIRES_SOON);
    for mode in [0o640, 0o604] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let warning = "warning: others than its owner can read [HOME]/notation/localkeys/ann.key; `chmod 600` it\n";
        assert_eq!(scene.run("sign").exits(0).stderr, format!("{warning}{EXPIRES_SOON}"));
    }
}

#[test]
fn a_passphrase_is_no_argument() {
    let node = Node::new();
    let help = node.run("sign --help").exits(0).stdout;
    assert!(help.contains("--passphrase-env") && help.contains("--passphrase-fd"), "{help}");
    assert!(!help.contains("--passphrase <") && !help.contains("--pin <"), "{help}");
    node.run("sign --passphrase x registry.example/app:v1").exits(2);
}
