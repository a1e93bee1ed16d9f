//! Does the stand-in become the runtime that it stands for, with all that it was given?

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::node::Node;

/// A runtime that tells what it was given: its arguments, a variable, and what it can read from the third descriptor.
const RUNTIME: &str = "#!/bin/sh\nfor argument in \"$@\"; do echo \"argument $argument\"; done\n\
                       echo \"variable $SOME_VARIABLE\"\nif read -r line <&3; then echo \"descriptor $line\"; fi 2>/dev/null\n\
                       exit 7\n";

fn runtime(directory: &Path, name: &str) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(name), RUNTIME).unwrap();
    fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Calls the stand-in by this name, with the runtime further back in the search path, as containerd's shim does.
fn call(node: &Node, name: &str, arguments: &str) -> Output {
    let (first, then) = (node.path("first"), node.path("then"));
    fs::create_dir_all(&first).unwrap();
    let link = first.join(name);
    if !link.try_exists().unwrap() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pratique-runtime"), &link).unwrap();
    }
    fs::write(node.path("input"), "from outside\n").unwrap();
    let script = format!("exec 3<\"$1\"; exec {name} {arguments}");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]).arg(node.path("input"));
    command.env("PATH", format!("{}:{}:/usr/bin:/bin", first.display(), then.display()));
    command.env("SOME_VARIABLE", "kept").env("PRATIQUE_SOCKET", node.hook_socket());
    command.output().unwrap()
}

#[test]
fn what_starts_nothing_becomes_the_runtime_at_once_with_all_that_it_was_given() {
    let node = Node::new();
    for name in ["runc", "crun"] {
        runtime(&node.path("then"), name);
        // No daemon runs: nobody is asked.
        let output = call(&node, name, "--root '/a b' delete --force create");
        assert_eq!(output.status.code(), Some(7));
        let told = String::from_utf8(output.stdout).unwrap();
        let expected = "argument --root\nargument /a b\nargument delete\nargument --force\nargument create\n\
                        variable kept\ndescriptor from outside\n";
        assert_eq!(told, expected);
    }
}

#[test]
fn a_start_that_is_not_admitted_is_told_where_the_shim_looks_and_no_runtime_is_called() {
    let node = Node::new();
    runtime(&node.path("then"), "runc");
    let bundle = node.path("task/default/c1");
    fs::create_dir_all(bundle.join("rootfs")).unwrap();
    fs::write(bundle.join("config.json"), r#"{"root": {"path": "rootfs"}}"#).unwrap();
    let start =
        format!("--log {0}/log.json --log-format json create --bundle {0} --pid-file {0}/pid c1", bundle.display());
    let refused = |code: &str| {
        let output = call(&node, "runc", &start);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
        let log = fs::read_to_string(bundle.join("log.json")).unwrap();
        let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        let message = last["msg"].as_str().unwrap();
        assert!(message.starts_with("pratique: could not tell: container c1 ["), "{message}");
        assert!(message.contains(&format!("[{code}]")), "{message}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(message));
    };
    refused("daemon-unreachable");
    let _daemon = node.start();
    refused("containerd-unreachable");
}

#[test]
fn without_a_runtime_behind_it_the_stand_in_says_so() {
    let node = Node::new();
    let output = call(&node, "youki", "state c1");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("[runtime-missing]") && said.contains("youki"), "{said}");
}
