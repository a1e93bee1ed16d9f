//! Plugins, under either program: what they are told, and what is told of them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::pair::Pair;
use crate::node::Node;
use crate::notation::policy;
use crate::tools::tool;

/// Installing a plugin, and a key that it holds.
const PLUGINS: &str = "
plugin install --file HOME/notation-com.acme.plugin
plugin list
plugin install --file HOME/notation-com.acme.plugin
plugin install --file --force HOME/notation-com.acme.plugin
plugin install --file --sha256sum 00 HOME/notation-com.acme.plugin
plugin install --file HOME/notes
plugin install --url --sha256sum 00 http://plugins.example/x
key add --plugin com.acme.plugin --id i kms
key add --plugin com.acme.plugin --id i kms
key add --plugin com.acme.plugin --id j --default other
key list
plugin uninstall -y com.acme.plugin
plugin list
plugin uninstall -y com.acme.plugin
";

const PLUGIN: &str = include_str!("../../plugins/plugin.sh");

#[test]
fn plugins_are_told_alike() {
    let pair = Pair::new();
    pair.write("notation-com.acme.plugin", PLUGIN);
    pair.write("notes", "none");
    pair.make_program("notation-com.acme.plugin");
    pair.run_apart(PLUGINS);
}

#[test]
fn what_either_signs_with_a_plugin_the_other_verifies() {
    let node = Node::start();
    let pair = Pair::new();
    install_signer(&pair);
    for capability in ["RAW", "ENVELOPE"] {
        pair.write(&format!("{FOLDER}/capabilities"), &format!("\"SIGNATURE_GENERATOR.{capability}\""));
        let (theirs, ours) = ((tool("notation"), "a"), (pair.ours(), "b"));
        for (name, signer, verifier) in [("theirs", &theirs, &ours), ("ours", &ours, &theirs)] {
            let image = node.push("app", &format!("plugin-{name}-{}", capability.to_lowercase()));
            let sign =
                format!("sign --insecure-registry --plugin com.acme.plugin --id k -m build=7 {}", image.by_digest());
            let said = pair.said(&signer.0, signer.1, &sign);
            assert!(said.starts_with("Successfully signed "), "{name} {capability}: {said}");
            let said = pair.said(
                &verifier.0,
                verifier.1,
                &format!("verify --insecure-registry -m build=7 {}", image.by_digest()),
            );
            assert!(said.starts_with("Successfully verified signature for "), "{name} {capability}: {said}");
        }
    }
}

/// Where a plugin lies in either home.
const FOLDER: &str = ".config/notation/plugins/com.acme.plugin";

/// A plugin that signs, and the policy that takes what it has signed.
fn install_signer(pair: &Pair) {
    let chain = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/chains/rsa2048");
    let read = |name: &str| fs::read_to_string(chain.join(name)).expect("a file of the vectors");
    let certificates: Vec<String> = read("chain.pem")
        .split("-----END CERTIFICATE-----")
        .filter_map(|pem| pem.split_once("-----BEGIN CERTIFICATE-----"))
        .map(|(_, body)| format!("{:?}", body.split_whitespace().collect::<String>()))
        .collect();
    let root = read("chain.pem").rsplit_once("-----BEGIN").map(|(_, root)| format!("-----BEGIN{root}"));
    pair.write(".config/notation/truststore/x509/ca/acme/root.pem", &root.expect("a root"));
    pair.write(".config/notation/trustpolicy.json", &policy("*", "acme", "*"));
    pair.write(&format!("{FOLDER}/notation-com.acme.plugin"), PLUGIN);
    pair.make_program(&format!("{FOLDER}/notation-com.acme.plugin"));
    pair.write(&format!("{FOLDER}/key.pem"), &read("leaf.key"));
    pair.write(&format!("{FOLDER}/chain.json"), &format!("[{}]", certificates.join(",")));
}

#[test]
fn what_is_wrong_with_a_plugin_that_signs_is_told_alike() {
    let node = Node::start();
    let image = node.push("app", "plugin-wrong");
    let pair = Pair::new();
    install_signer(&pair);
    let sign =
        |more: &str| format!("sign --insecure-registry --plugin com.acme.plugin --id k {more} {}", image.by_digest());
    for (capability, behaviour) in [
        ("RAW", "generate-signature other-key"),
        ("RAW", "generate-signature other-payload"),
        ("RAW", "generate-signature no-certificate"),
        ("RAW", "generate-signature says-ACCESS_DENIED"),
        ("ENVELOPE", "generate-envelope other-type"),
        ("ENVELOPE", "generate-envelope no-header"),
        ("ENVELOPE", "generate-envelope says-ERROR"),
    ] {
        pair.write(&format!("{FOLDER}/capabilities"), &format!("\"SIGNATURE_GENERATOR.{capability}\""));
        pair.write(&format!("{FOLDER}/behaviour"), behaviour);
        pair.run_apart(&sign(""));
    }
    pair.write(&format!("{FOLDER}/behaviour"), "generate-signature other-payload");
    pair.write(&format!("{FOLDER}/capabilities"), "\"SIGNATURE_GENERATOR.RAW\"");
    pair.run_apart(&sign("--signature-format cose"));
    pair.set("NOTATION_LIBEXEC", "/not/there");
    pair.run_apart(&sign(""));
}

#[test]
fn what_a_plugin_refuses_is_logged_with_its_reason() {
    let node = Node::start();
    let pair = Pair::new();
    install_signer(&pair);
    pair.write(&format!("{FOLDER}/capabilities"), "\"SIGNATURE_GENERATOR.ENVELOPE\"");
    for (minimum, behaviour, reason) in [
        (
            "1.2.0",
            "verify-signature identity-fails",
            r#"trusted identify verification by plugin "com.acme.plugin" failed with reason "not on the list""#,
        ),
        (
            "1.2.0",
            "verify-signature revoked",
            r#"revocation check by verification plugin "com.acme.plugin" failed with reason "taken back""#,
        ),
        (
            "1.2.1",
            "none well",
            "found plugin com.acme.plugin with version 1.2.0 but signature verification needs plugin version greater \
             than or equal to 1.2.1",
        ),
    ] {
        pair.write(&format!("{FOLDER}/capabilities"), "\"SIGNATURE_GENERATOR.ENVELOPE\"");
        pair.write(&format!("{FOLDER}/demands"), minimum);
        pair.write(&format!("{FOLDER}/behaviour"), behaviour);
        let image = node.push("app", &behaviour.replace(' ', "-"));
        let sign = format!("sign --insecure-registry --plugin com.acme.plugin --id k {}", image.by_digest());
        let said = pair.said(&tool("notation"), "a", &sign);
        assert!(said.starts_with("Successfully signed "), "{behaviour}: {said}");
        fs::remove_file(pair.path("a", &format!("{FOLDER}/capabilities"))).expect("it is there");
        for program in [tool("notation"), pair.ours()] {
            let said = pair.said(&program, "a", &format!("verify --insecure-registry -v {}", image.by_digest()));
            let said = said.replace('\\', "");
            assert!(said.contains(reason), "{} {behaviour}: {said}", program.display());
        }
    }
}

#[test]
fn what_cannot_be_installed_or_run_is_told_alike() {
    let pair = Pair::new();
    let broken = ".config/notation/plugins/broken/notation-broken";
    pair.write(broken, "no program");
    pair.make_program(broken);
    pair.run_apart("plugin list");
    for home in ["a", "b"] {
        let large = fs::File::create(pair.path(home, "notation-large")).expect("a file");
        // It has holes, and takes no room.
        large.set_len(256 * 1024 * 1024).expect("a length");
        let mut zip = zip::ZipWriter::new(fs::File::create(pair.path(home, "slip.zip")).expect("a file"));
        zip.start_file("../evil", zip::write::SimpleFileOptions::default()).expect("an entry");
        zip.write_all(b"evil").and_then(|()| zip.finish().map_err(Into::into)).expect("an archive");
    }
    pair.make_program("notation-large");
    pair.run_apart("plugin install --file HOME/notation-large\nplugin install --file HOME/slip.zip");
}
