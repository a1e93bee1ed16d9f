//! The daemon starts with everything in order, or says what is not and does not start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::node::{FOREIGN, Node, OPEN, policy, policy_with_store};

const CERTIFICATE: &str = include_str!("../vectors/truststores/acme/x509/ca/acme-rockets/p256-root.pem");

#[test]
fn a_daemon_in_order_answers_and_its_sockets_are_roots_alone() {
    let node = Node::new();
    node.write_policy(&policy_with_store());
    node.write_store(CERTIFICATE);
    let daemon = node.start();
    assert!(daemon.ask(OPEN).proceed);
    for socket in ["hook.sock", "pratiqued.sock"] {
        let mode = fs::metadata(node.path("run").join(socket)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{socket}");
    }
}

#[test]
fn a_broken_policy_is_named_with_its_line_and_nothing_starts() {
    let node = Node::new();
    node.write_policy(&policy(&["open"]).replace("skip", "skipp"));
    let (status, said) = node.refuse();
    assert_eq!(status, Some(3), "{said}");
    let file = node.path("notation/trustpolicy.json").display().to_string();
    assert!(said.contains(&file) && said.contains("line 2") && said.contains("skipp"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    assert!(!node.hook_socket().try_exists().unwrap());
}

#[test]
fn a_missing_policy_is_named_and_nothing_starts() {
    let node = Node::new();
    fs::remove_file(node.path("notation/trustpolicy.json")).unwrap();
    let (status, said) = node.refuse();
    assert_eq!((status, said.contains("[policy-missing]")), (Some(3), true), "{said}");
}

#[test]
fn a_broken_trust_store_is_named_and_nothing_starts() {
    let node = Node::new();
    node.write_policy(&policy_with_store());
    for (certificate, code) in [(None, "trust-store-missing"), (Some("nothing"), "trust-store-not-a-certificate")] {
        if let Some(certificate) = certificate {
            node.write_store(certificate);
        }
        let (status, said) = node.refuse();
        assert_eq!(status, Some(3), "{said}");
        assert!(said.contains(&format!("[{code}]")) && said.contains("ca:acme"), "{said}");
    }
}

#[test]
fn a_broken_configuration_is_named_with_its_line_and_nothing_starts() {
    let node = Node::new();
    node.configure("\nmode = \"off\"");
    let (status, said) = node.refuse();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains(&format!("{}:2: ", node.path("config.toml").display())), "{said}");
    fs::remove_file(node.path("config.toml")).unwrap();
    let (status, said) = node.refuse();
    assert_eq!((status, said.contains("[config-missing]")), (Some(3), true), "{said}");
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let node = Node::new();
    let first = node.start();
    for (settings, code, place) in [
        ("", "[ledger-in-use]", "ledger.redb"),
        ("gates = { diff = false, run = false }", "[socket-in-use]", "hook.sock"),
    ] {
        node.configure(settings);
        let (status, said) = node.refuse();
        assert_eq!(status, Some(3), "{said}");
        assert!(said.contains(code) && said.contains(place), "{said}");
        assert!(first.ask(OPEN).proceed);
    }
}

#[test]
fn a_killed_daemon_is_followed_by_another() {
    let node = Node::new();
    node.start().kill();
    assert!(node.hook_socket().try_exists().unwrap(), "its socket is still there");
    let next = node.start();
    assert!(next.ask(OPEN).proceed);
}

#[test]
fn only_audit_mode_lets_a_denied_image_through() {
    let node = Node::new();
    assert!(!node.start().ask(FOREIGN).proceed);
    node.configure("mode = \"audit\"");
    let daemon = node.start();
    let answer = daemon.ask(FOREIGN);
    assert!(answer.proceed);
    assert!(answer.line.starts_with("let through in audit mode: denied: registry.example/foreign@"), "{}", answer.line);
}
