//! The scripts with which shells complete, in a shell.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::node::Node;

/// What bash offers for these words, with our script read in.
fn offered(node: &Node, words: &[&str]) -> String {
    let script = "source ./completion.bash && complete -p notation >/dev/null || exit 1\n\
                  COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1))\n\
                  __notation_complete\n\
                  echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", script, "bash", "./bin/notation"]).args(words);
    let ran = bash.env_clear().env("HOME", node.home()).env("PATH", "/usr/bin:/bin").current_dir(node.home()).output();
    let ran = ran.expect("bash is there");
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

#[test]
fn bash_reads_our_script_and_completes_commands_and_flags_with_it() {
    let node = Node::new();
    node.write_home("completion.bash", node.run("notation completion bash").exits(0).raw_stdout);
    std::fs::create_dir(node.home().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_pratique"), node.home().join("bin/notation")).unwrap();
    assert_eq!(offered(&node, &["ve"]), "verify version");
    assert_eq!(offered(&node, &["cert", ""]), "add delete generate-test list show");
    assert_eq!(offered(&node, &["sign", "--k"]), "--key");
    assert_eq!(offered(&node, &["nonsense", "x"]), "");
}
