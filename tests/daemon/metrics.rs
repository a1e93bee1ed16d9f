//! Are decisions counted where somebody can see it?

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::node::{FOREIGN, Node, OPEN};

/// What is served there.
pub fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// An address that nothing listens at.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn every_decision_is_counted_by_its_stage_answer_and_code() {
    let (node, address) = (Node::new(), free_address());
    node.configure(&format!("metrics.listen = \"{address}\""));
    let daemon = node.start();
    for name in [OPEN, FOREIGN, FOREIGN] {
        daemon.ask(name);
    }
    let text = scrape(address);
    assert!(text.contains("application/openmetrics-text"), "{text}");
    for line in [
        r#"pratique_decisions_total{stage="pull",answer="admit",code="verification-skipped",proceed="true"} 1"#,
        r#"pratique_decisions_total{stage="pull",answer="deny",code="no-policy-statement",proceed="false"} 2"#,
        r#"pratique_decision_seconds_count{stage="pull"} 3"#,
        "pratique_policy_reload_failed 0",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn an_address_that_is_taken_is_named_and_nothing_starts() {
    let (node, taken) = (Node::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap();
    node.configure(&format!("metrics.listen = \"{address}\""));
    let (status, said) = node.refuse();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("[metrics-address]") && said.contains(&address.to_string()), "{said}");
}
