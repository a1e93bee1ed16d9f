//! `pratique plugin`: what is installed from where, and what is refused before it is run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use pratique::oci::Digest;

use crate::node::Node;

const PLUGIN: &str = "com.acme.plugin";

/// A node, and a directory beside it with the plugin in this version.
fn offered(version: &str) -> (Node, PathBuf) {
    let node = Node::new();
    offer(&node, version);
    let path = node.path("offered");
    (node, path)
}

fn offer(node: &Node, version: &str) {
    let script = fs::read_to_string("tests/plugins/plugin.sh").unwrap();
    let script = script.replace("told version 1.2.0", &format!("told version {version}"));
    node.write(&format!("offered/notation-{PLUGIN}"), script);
    node.write("offered/LICENSE", "free");
    node.make_program(&format!("offered/notation-{PLUGIN}"));
}

/// The exit status and the code of an error, or what was said.
fn install(node: &Node, source: &str) -> String {
    let ran = node.run(&format!("plugin install {source}"));
    let code = ran.stderr.split(['[', ']']).nth(1).map(str::to_owned);
    format!("{} {}", ran.exit, code.unwrap_or(ran.stdout.trim().to_owned()))
}

fn tar(node: &Node, arguments: &[&str]) {
    let done = Command::new("tar").args(arguments).current_dir(node.path("")).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_plugin_is_installed_from_each_kind_of_source_and_shown_and_taken_away() {
    let (node, directory) = offered("1.2.0");
    let program = directory.join(format!("notation-{PLUGIN}"));
    tar(&node, &["-czf", "plugin.tar.gz", "-C", "offered", "."]);
    fs::write(node.path("plugin.zip"), zipped(&node, 0o755)).unwrap();
    let (archive, zip) = (node.path("plugin.tar.gz"), node.path("plugin.zip"));
    for source in [&directory, &program, &archive, &zip] {
        assert_eq!(install(&node, &source.display().to_string()), format!("0 installed {PLUGIN} 1.2.0"), "{source:?}");
        let listed = node.run("plugin ls").exits(0).stdout;
        assert!(listed.starts_with(&format!("{PLUGIN} 1.2.0\n")), "{listed}");
        node.run(&format!("plugin uninstall {PLUGIN}")).exits(0);
    }
    let gone = node.run(&format!("plugin uninstall {PLUGIN}")).exits(3);
    assert!(gone.stderr.starts_with("error [plugin-unavailable]"), "{gone:?}");
    let listed = node.run("plugin ls -o json").json();
    assert_eq!(listed.as_array().unwrap().len(), 0);
}

/// A zip of the plugin, made by hand: stored, one entry.
fn zipped(node: &Node, mode: u32) -> Vec<u8> {
    let content = fs::read(node.path(&format!("offered/notation-{PLUGIN}"))).unwrap();
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .unix_permissions(mode);
    writer.start_file(format!("notation-{PLUGIN}"), options).unwrap();
    std::io::Write::write_all(&mut writer, &content).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn another_version_replaces_the_one_that_is_there_when_it_is_later_or_when_it_is_forced() {
    let (node, directory) = offered("1.2.0");
    let directory = directory.display().to_string();
    let step = |version: &str, more: &str| {
        offer(&node, version);
        install(&node, &format!("{directory} {more}"))
    };
    assert_eq!(step("1.2.0", ""), format!("0 installed {PLUGIN} 1.2.0"));
    assert_eq!(step("1.2.0", ""), "2 plugin-same-version");
    assert_eq!(step("1.2.0-rc.1", ""), "2 plugin-downgrade");
    assert_eq!(step("1.10.0", ""), format!("0 installed {PLUGIN} 1.10.0 in the place of 1.2.0"));
    assert_eq!(step("1.2.0", "--force"), format!("0 installed {PLUGIN} 1.2.0 in the place of 1.10.0"));
}

#[test]
fn what_is_no_plugin_or_not_the_one_that_was_meant_is_not_installed() {
    let (node, directory) = offered("1.2.0");
    let program = directory.join(format!("notation-{PLUGIN}"));
    let digest = Digest::sha256(&fs::read(&program).unwrap());
    let other = format!("{} --sha256sum {}", program.display(), "0".repeat(64));
    assert_eq!(install(&node, &other), "3 plugin-checksum-mismatch");
    assert!(!directory.join("ran").try_exists().unwrap());
    assert_eq!(install(&node, &format!("{} --sha256sum x", program.display())), "2 plugin-checksum-form");
    assert_eq!(install(&node, "https://plugins.example/x.zip"), "2 plugin-checksum-missing");
    let plain = format!("http://plugins.example/x.zip --sha256sum {}", "0".repeat(64));
    assert_eq!(install(&node, &plain), "2 plugin-url");

    let at = |name: &str| node.path(name).display().to_string();
    symlink("/etc/passwd", node.path("offered/link")).unwrap();
    tar(&node, &["-czf", "link.tar.gz", "-C", "offered", "."]);
    assert_eq!(install(&node, &at("link.tar.gz")), "3 plugin-archive-entry");
    fs::remove_file(node.path("offered/link")).unwrap();
    let program_name = format!("notation-{PLUGIN}");
    tar(
        &node,
        &[
            "-czf",
            "escape.tar.gz",
            "-C",
            "offered",
            "--transform",
            "s,LICENSE,../LICENSE,",
            "-P",
            "LICENSE",
            &program_name,
        ],
    );
    assert_eq!(install(&node, &at("escape.tar.gz")), "3 plugin-archive-escape");
    node.write("offered/notation-another", "#!/bin/sh");
    node.make_program("offered/notation-another");
    assert_eq!(install(&node, &at("offered")), "3 plugin-programs");
    fs::remove_file(node.path("offered/notation-another")).unwrap();
    node.write("empty/LICENSE", "free");
    assert_eq!(install(&node, &at("empty")), "3 plugin-program-missing");
    node.write("offered/behaviour", "");
    let good = format!("{} --sha256sum {}", program.display(), digest.hex().to_uppercase());
    assert_eq!(install(&node, &good), format!("0 installed {PLUGIN} 1.2.0"));
    assert_eq!(fs::read_dir(node.path("plugins")).unwrap().count(), 1, "nothing else is left");
}
