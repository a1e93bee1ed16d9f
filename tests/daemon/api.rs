//! The daemon's own API: the same answers as the hooks get, and an account of them.

use pratique::proto::{Answer, Decision, ExplainRequest, Stage, StatusRequest, WatchDecisionsRequest};
use serde_json::Value;

use crate::node::{FOREIGN, Node, OPEN, digest, request};

#[tokio::test]
async fn both_sockets_give_the_same_answers() {
    let node = Node::new();
    let daemon = node.start();
    let mut api = daemon.api().await;
    for name in [OPEN, FOREIGN, "NO NAME"] {
        assert_eq!(api.check(request(name)).await.unwrap().into_inner(), daemon.ask(name), "{name}");
    }
}

#[tokio::test]
async fn the_last_verdict_about_an_image_is_explained() {
    let node = Node::new();
    let daemon = node.start();
    let mut api = daemon.api().await;
    let unknown = api.explain(ExplainRequest { image: FOREIGN.into() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    daemon.ask(FOREIGN);
    for image in [FOREIGN, digest().as_str()] {
        let explained = api.explain(ExplainRequest { image: image.into() }).await.unwrap().into_inner();
        let decision = explained.decision.unwrap();
        assert_eq!((decision.answer(), decision.stage()), (Answer::Deny, Stage::Pull));
        let verdict: Value = serde_json::from_str(&explained.verdict_json).unwrap();
        assert_eq!((&verdict["answer"], &verdict["code"]), (&"deny".into(), &"no-policy-statement".into()));
    }
}

#[tokio::test]
async fn decisions_are_watched_as_they_are_made() {
    let node = Node::new();
    let daemon = node.start();
    let mut api = daemon.api().await;
    daemon.ask(FOREIGN);
    daemon.ask(OPEN);
    let mut watched = api.watch_decisions(WatchDecisionsRequest { backlog: 1 }).await.unwrap().into_inner();
    let name = |decision: Option<Decision>| decision.unwrap().name;
    assert_eq!(name(watched.message().await.unwrap()), OPEN);
    daemon.ask(FOREIGN);
    assert_eq!(name(watched.message().await.unwrap()), FOREIGN);
}

#[tokio::test]
async fn the_status_counts_the_answers() {
    let node = Node::new();
    let daemon = node.start();
    for name in [OPEN, OPEN, FOREIGN, "NO NAME"] {
        daemon.ask(name);
    }
    let status = daemon.api().await.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.admitted, status.denied, status.inconclusive), (2, 1, 1));
    assert_eq!((status.version.as_str(), status.mode.as_str()), (env!("CARGO_PKG_VERSION"), "enforce"));
    assert_eq!(status.policy_origin, node.path("notation/trustpolicy.json").display().to_string());
}

#[test]
fn each_decision_is_one_line_of_the_log() {
    let node = Node::new();
    let daemon = node.start();
    daemon.ask(FOREIGN);
    daemon.ask("two\nlines");
    let log = daemon.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.get("stage").is_some())
        .collect();
    assert_eq!(lines.len(), 2, "{log}");
    for (field, value) in [
        ("stage", Value::from("pull")),
        ("namespace", "".into()),
        ("name", FOREIGN.into()),
        ("digest", digest().to_string().into()),
        ("answer", "deny".into()),
        ("proceed", false.into()),
        ("code", "no-policy-statement".into()),
        ("cached", false.into()),
        ("signer", "".into()),
        ("level", "WARN".into()),
    ] {
        assert_eq!(lines[0].get(field), Some(&value), "{field}");
    }
    assert!(lines[0]["duration_us"].is_u64());
    assert_eq!(lines[1]["name"], "two lines");
}
