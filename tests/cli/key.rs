//! `pratique key`: the list of signing keys, which is notation's own, and what its keys sign.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cases::vectors;
use crate::node::{EXPIRES_SOON, Node, Scene};
use crate::plugin_signing::{PLUGIN, scene as scene_with_plugin};
use crate::soft_hsm::{PIN, SoftHsm, module};

fn chain(name: &str) -> PathBuf {
    vectors().join("chains").join(name)
}

/// Puts the key and the chain of a vector into the node's home, for its owner alone, as `NAME.key` and `NAME.crt`.
fn take(node: &Node, name: &str) {
    node.write_home(&format!("{name}.key"), fs::read(chain(name).join("leaf.key")).unwrap());
    node.write_home(&format!("{name}.crt"), fs::read(chain(name).join("chain.pem")).unwrap());
    fs::set_permissions(node.home().join(format!("{name}.key")), fs::Permissions::from_mode(0o600)).unwrap();
}

/// What notation's own command says, over the same directory.
fn notation(node: &Node, arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/notation");
    let mut command = Command::new(&program);
    command.args(arguments).env_clear().env("HOME", node.home()).env("XDG_CONFIG_HOME", node.home());
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{} (tests/env/tools.sh makes it): {error}", program.display()));
    assert!(output.status.success(), "notation {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_every_kind_signs_by_its_name_and_notation_lists_it_beside_its_own() {
    let mut scene = scene_with_plugin("SIGNATURE_GENERATOR.RAW").await;
    let hsm = SoftHsm::with_token("card");
    scene.node.set("SOFTHSM2_CONF", hsm.configuration());
    scene.node.set("PIN", PIN.to_owned());
    hsm.import("card", &chain("rsa2048").join("leaf.key"), "release", "01");
    let uri = SoftHsm::uri("token=card;object=release");
    take(&scene.node, "rsa2048");
    scene.node.run("key rm kms").exits(0);
    scene.node.run("key add file --key rsa2048.key --key-certificates rsa2048.crt").exits(0);
    scene.node.run(&format!("key add card --key {uri} --key-certificates rsa2048.crt --default")).exits(0);
    scene.node.run(&format!("key add kms --plugin {PLUGIN} --id alias/build --plugin-config region=x")).exits(0);
    scene.verify("").answers(1, "deny", "no-signature", Some("retrieval"));
    for (key, count) in [("--key file", 1), ("--passphrase-env PIN", 2), ("--key kms", 3)] {
        assert_eq!(scene.run(&format!("sign {key}")).exits(0).stderr, "", "{key}");
        let listed = scene.run("ls -o json").json();
        assert_eq!(listed["signatures"].as_array().unwrap().len(), count, "{key}: {listed}");
        scene.verify("").answers(0, "admit", "admitted", None);
    }

    let listed = notation(&scene.node, &["key", "list"]);
    assert!(listed.lines().any(|line| line.starts_with("* card") && line.contains(&uri)), "{listed}");
    assert!(listed.lines().any(|line| line.starts_with("kms") && line.contains(PLUGIN)), "{listed}");
    // It writes the file anew, and all of them are still there.
    notation(&scene.node, &["key", "update", "--default", "file"]);
    assert_eq!(scene.node.run("key default").exits(0).stdout, "file\n");
    scene.run("sign --key card --passphrase-env PIN").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_certificates_are_on_the_token_needs_no_file() {
    let mut scene = Scene::new().await;
    let hsm = SoftHsm::with_token("card");
    scene.node.set("SOFTHSM2_CONF", hsm.configuration());
    scene.node.call(module().display().to_string(), "[MODULE]");
    scene.node.write_home("pin", PIN);
    fs::set_permissions(scene.node.home().join("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    hsm.import("card", &chain("selfsigned-rsa3072").join("leaf.key"), "own", "01");
    hsm.put_certificate("card", &chain("selfsigned-rsa3072").join("chain.pem"), "own", "01");
    scene.node.run(&format!("key add own --key {}", SoftHsm::uri("token=card;object=own"))).is(
        0,
        "
added own
  token        pkcs11:token=card;object=own?module-path=[MODULE]
  certificate  on the token
",
        "",
    );
    scene.run("sign --key own --passphrase-file pin").exits(0);
    assert!(notation(&scene.node, &["key", "list"]).contains("pkcs11:token=card;object=own"));
}

#[test]
fn the_list_says_what_holds_a_key_and_until_when_it_signs() {
    let node = Node::new();
    node.run("key ls").is(0, "\nthere is no signing key; `pratique key add` adds one\n", "");
    for name in ["p256", "expired-leaf"] {
        take(&node, name);
        node.run(&format!("key add {name} --key {name}.key --key-certificates {name}.crt")).exits(0);
    }
    node.run("cert generate-test ann --key-type ec-256 --default").exits(0);
    node.install_plugin(PLUGIN);
    node.run(&format!("key add kms --plugin {PLUGIN} --id alias/build --plugin-config token=geheim")).exits(0);
    node.run("key ls").is(
        0,
        "
p256
  key          [HOME]/p256.key
  certificate  CN=builder-p256,OU=Release,O=Acme Rockets,ST=WA,C=US, until [TIME]
expired-leaf
  key          [HOME]/expired-leaf.key
  certificate  CN=expired,OU=Release,O=Acme Rockets,ST=WA,C=US, until [TIME], expired
ann (default)
  key          [HOME]/notation/localkeys/ann.key
  certificate  CN=ann,O=Notary,L=Seattle,ST=WA,C=US, until [TIME], expires in less than a day
kms
  plugin       com.acme.kms, alias/build
  certificate  the plugin's
",
        "",
    );
    let listed = node.run("key ls -o json").exits(0);
    assert!(!listed.stdout.contains("geheim"), "{listed:?}");
    let listed = listed.json();
    let member =
        |name: &str| -> Vec<Value> { listed.as_array().unwrap().iter().map(|key| key[name].clone()).collect() };
    assert_eq!(member("kind"), ["file", "file", "file", "plugin"]);
    assert_eq!(member("isDefault"), [false, false, true, false]);
    let states: Vec<Value> = member("certificate").iter().map(|certificate| certificate["state"].clone()).collect();
    assert_eq!(states, [Value::from("valid"), "expired".into(), "expiring".into(), Value::Null]);
    assert_eq!(listed[2]["certificate"]["daysLeft"], 0);
    // One that has gone does not hide the others.
    fs::remove_file(node.home().join("p256.key")).unwrap();
    let listed = node.run("key ls -o json").exits(3).json();
    assert_eq!(
        (&listed[0]["problem"]["code"], listed.as_array().unwrap().len()),
        (&"signing-key-unreadable".into(), 4)
    );
}

#[test]
fn the_default_goes_with_its_key_and_another_is_chosen() {
    let node = Node::new();
    for name in ["p256", "p384"] {
        take(&node, name);
        let default = if name == "p256" { "--default" } else { "" };
        node.run(&format!("key add {name} --key {name}.key --key-certificates {name}.crt {default}")).exits(0);
    }
    node.run("key default").is(0, "\np256\n", "");
    node.run("key rm p256 other").is(
        2,
        "",
        "
error [signing-key-unknown]: there is no signing key `other`
hint: see the names of keys with `pratique key ls`
",
    );
    node.run("key rm p256").is(0, "\ntook p256 out of the list; no key is the default\n", "");
    assert!(node.home().join("p256.key").is_file());
    node.run("key default").is(
        2,
        "",
        "
error [signing-key-no-default]: no signing key is the default
hint: name a key with `--key`, or make one the default: `pratique key default NAME`, or `--default` of `pratique key add`
",
    );
    node.run("key default p256").exits(2);
    node.run("key default p384 -o json").is(0, "\n{\n  \"default\": \"p384\"\n}\n", "");
}

#[test]
fn what_cannot_sign_is_not_added() {
    let node = Node::new();
    for name in ["p256", "p384", "eku-serverauth"] {
        take(&node, name);
    }
    node.run("key add p256 --key p256.key --key-certificates p256.crt").exits(0);
    node.write_home(
        "locked.key",
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/pbkdf2.pem")).unwrap(),
    );
    // Without the passphrase no more than the certificates can be looked at.
    node.run("key add locked --key locked.key --key-certificates p256.crt").exits(0);
    let before = fs::read(node.path("signingkeys.json")).unwrap();
    for (arguments, exit, code) in [
        ("p256 --key p256.key --key-certificates p256.crt", 2, "signing-key-taken"),
        ("../x --key p256.key --key-certificates p256.crt", 2, "invalid-name"),
        ("pkcs11:x --key p256.key --key-certificates p256.crt", 2, "invalid-name"),
        ("x --key p256.key", 2, "key-certificates-missing"),
        ("x --key p256.key --key-certificates p384.crt", 3, "key-certificate-mismatch"),
        ("x --key eku-serverauth.key --key-certificates eku-serverauth.crt", 3, "leaf-extended-key-usage-forbidden"),
        ("x --key locked.key --key-certificates eku-serverauth.crt", 3, "leaf-extended-key-usage-forbidden"),
        ("x --key nowhere.key --key-certificates p256.crt", 3, "signing-key-unreadable"),
        ("x --key p256.crt --key-certificates p256.crt", 3, "private-key-missing"),
        ("x --key pkcs11:token=card;colour=red", 2, "token-uri-invalid"),
        ("x --key pkcs11:token=card?pin-value=1234", 2, "token-uri-pin"),
        ("x --key pkcs11:token=card --key-certificates eku-serverauth.crt", 3, "leaf-extended-key-usage-forbidden"),
        ("x --plugin com.acme.none --id 1", 3, "plugin-unavailable"),
    ] {
        let ran = node.run(&format!("key add {arguments}")).exits(exit);
        assert!(ran.stderr.contains(&format!("error [{code}]: ")), "{arguments}: {ran:?}");
    }
    for arguments in
        ["x", "x --plugin com.acme.kms", "x --id 1", "x --key a --plugin b --id c", "x --plugin-config a=b"]
    {
        node.run(&format!("key add {arguments}")).exits(2);
    }
    assert_eq!(fs::read(node.path("signingkeys.json")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_with_a_certificate_that_ends_soon_is_told() {
    let scene = Scene::new().await;
    let ran = scene.run("sign -o json").exits(0);
    assert_eq!(
        (ran.stderr.as_str(), &ran.json()["warnings"][0]["code"]),
        (EXPIRES_SOON, &"certificate-expires-soon".into())
    );
    scene.node.write_home("list.txt", "content");
    let ran = scene.node.run("blob sign list.txt -o json").exits(0);
    assert_eq!(
        (ran.stderr.as_str(), &ran.json()["warnings"][0]["code"]),
        (EXPIRES_SOON, &"certificate-expires-soon".into())
    );
    // Twins: one that ends in years, and one that has ended.
    for name in ["p256", "expired-leaf"] {
        take(&scene.node, name);
        scene.node.run(&format!("key add {name} --key {name}.key --key-certificates {name}.crt")).exits(0);
    }
    let ran = scene.run("sign -o json --key p256").exits(0);
    assert_eq!((ran.stderr.as_str(), ran.json().get("warnings")), ("", None));
    let ran = scene.run("sign --key expired-leaf").exits(3);
    assert!(ran.stderr.starts_with("error [signing-certificate-not-valid]"), "{ran:?}");
}
