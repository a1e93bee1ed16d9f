//! containerd's verifier, the real program, against a real daemon, and what others do to its socket meanwhile.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Output;

use pratique::client::Connection;

use crate::node::{DEADLINE, FOREIGN, Node, OPEN, digest, request};

fn reply(output: &Output) -> (Option<i32>, String) {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap())
}

#[test]
fn the_exit_status_is_the_answer_and_the_line_is_the_reason() {
    let node = Node::new();
    let _daemon = node.start();
    let (status, line) = reply(&node.verifier(OPEN));
    assert_eq!(status, Some(0), "{line}");
    assert!(line.starts_with("admitted: registry.example/open@sha256:"), "{line}");

    let (status, line) = reply(&node.verifier(FOREIGN));
    assert_eq!(status, Some(1));
    let expected = format!("denied: registry.example/foreign@{} [no-policy-statement]: ", digest());
    assert!(line.starts_with(&expected) && line.contains("; hint: ") && !line.contains('\n'), "{line}");
}

#[test]
fn the_name_may_carry_the_digest_and_no_other() {
    let node = Node::new();
    let _daemon = node.start();
    assert_eq!(node.verifier(&format!("registry.example/open@{}", digest())).status.code(), Some(0));
    let other = format!("registry.example/open@sha256:{}", "0".repeat(64));
    let (status, line) = reply(&node.verifier(&other));
    assert_eq!((status, line.contains("[digest-mismatch]")), (Some(1), true), "{line}");
}

#[test]
fn without_a_daemon_the_verifier_could_not_tell() {
    let node = Node::new();
    let mut daemon = node.start();
    assert_eq!(node.verifier(OPEN).status.code(), Some(0));
    daemon.kill();
    let (status, line) = reply(&node.verifier(OPEN));
    assert_eq!(status, Some(1));
    let expected = format!("could not tell: {OPEN}@{} [daemon-unreachable]: ", digest());
    assert!(line.starts_with(&expected) && line.contains("systemctl status pratiqued"), "{line}");
}

#[test]
fn a_question_that_is_not_containerds_stops_the_image() {
    let node = Node::new();
    let _daemon = node.start();
    let digest = digest();
    let as_containerd = ["-name", OPEN, "-digest", digest.as_str(), "-stdin-media-type"];
    let descriptor = "application/vnd.oci.descriptor.v1+json";
    let with = |last: &'static str| [&as_containerd[..], &[last]].concat();
    let long = " ".repeat(1024 * 1024);
    for (args, stdin, code) in [
        (vec![], "", "usage"),
        (vec!["--version"], "", "usage"),
        (as_containerd.to_vec(), "", "usage"),
        (with("application/json"), "{}", "usage"),
        (with(descriptor), "", "invalid-descriptor"),
        (with(descriptor), "{}", "invalid-descriptor"),
        (with(descriptor), long.as_str(), "invalid-descriptor"),
    ] {
        let (status, line) = reply(&node.verifier_with(&args, stdin.as_bytes()));
        assert_eq!(status, Some(1), "{args:?}");
        assert!(line.starts_with("could not tell: ") && line.contains(&format!("[{code}]: ")), "{line}");
    }
}

#[test]
fn hostile_peers_do_not_keep_others_waiting() {
    let node = Node::new();
    let daemon = node.start();
    let connect = || {
        let stream = UnixStream::connect(node.hook_socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    let (mut giant, mut slow, mut garbage, silent) = (connect(), connect(), connect(), connect());
    giant.write_all(&[0xff; 4]).unwrap();
    slow.write_all(&[0, 0, 1]).unwrap();
    garbage.write_all(&[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]).unwrap();
    assert!(daemon.ask(OPEN).proceed);

    let mut said = Vec::new();
    giant.read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("request-malformed"));
    assert!(garbage.read(&mut [0; 256]).unwrap() > 0);
    drop((slow, silent));
    assert!(daemon.ask(OPEN).proceed);
}

#[test]
fn one_connection_carries_many_questions() {
    let node = Node::new();
    let _daemon = node.start();
    let mut connection = Connection::open(&node.hook_socket(), DEADLINE).unwrap();
    for name in [OPEN, FOREIGN].iter().cycle().take(100) {
        assert_eq!(connection.ask(&request(name)).unwrap().proceed, *name == OPEN);
    }
}
