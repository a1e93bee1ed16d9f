//! The templates for pipelines in `docs/ci` call the program as it is.

use std::fs;
use std::path::Path;

use crate::node::Node;

#[test]
fn every_command_in_the_templates_has_arguments_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci");
    let (node, mut seen) = (Node::new(), 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let commands = text.lines().map(|line| line.trim().trim_start_matches("- "));
        for command in commands.filter_map(|line| line.strip_prefix("pratique ")) {
            let command = command
                .split(" > ")
                .next()
                .unwrap()
                .replace("{{ ", "")
                .replace(" }}", "")
                .replace(['"', '$', '{', '}', '(', ')'], "");
            // What is not there is refused before help is given.
            let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
            node.run_all(&words, "").exits(0);
            seen += 1;
        }
    }
    assert_eq!(seen, 9, "three templates that sign, verify and copy");
    node.run_all(&["sign", "--no-such-flag", "image", "--help"], "").exits(2);
}
