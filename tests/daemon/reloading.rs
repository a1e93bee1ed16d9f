//! A changed policy is in force as soon as it is read; a broken one never is.

use std::fs;

use pratique::proto::StatusRequest;

use crate::node::{Daemon, FOREIGN, Node, OPEN, policy, policy_with_store};

const CERTIFICATE: &str = include_str!("../vectors/truststores/acme/x509/ca/acme-rockets/p256-root.pem");
const OTHER: &str = include_str!("../vectors/truststores/acme/x509/ca/acme-rockets/p384-root.pem");

async fn status(daemon: &Daemon) -> (String, String) {
    let status = daemon.api().await.status(StatusRequest {}).await.unwrap().into_inner();
    (status.policy_digest, status.reload_error)
}

#[tokio::test]
async fn a_changed_policy_is_in_force_without_being_asked_for() {
    let node = Node::new();
    let daemon = node.start();
    let (before, _) = status(&daemon).await;
    assert!(!daemon.ask(FOREIGN).proceed);
    node.write_policy(&policy(&["open", "foreign"]));
    daemon.wait_for_reload();
    assert!(daemon.ask(FOREIGN).proceed);
    let (after, error) = status(&daemon).await;
    assert_eq!((before == after, error.as_str()), (false, ""));
    assert!(daemon.log().contains(&before) && daemon.log().contains(&after));

    // And back: what was admitted under the other policy is not remembered.
    node.write_policy(&policy(&["open"]));
    daemon.wait_for_reload();
    assert!(!daemon.ask(FOREIGN).proceed);
}

#[tokio::test]
async fn a_broken_policy_leaves_the_old_one_in_force_until_it_is_mended() {
    let node = Node::new();
    let daemon = node.start();
    let (before, _) = status(&daemon).await;
    node.write_policy("{");
    daemon.wait_for_reload();
    let (after, error) = status(&daemon).await;
    assert_eq!(before, after);
    assert!(error.contains("trustpolicy.json") && error.contains("line 1"), "{error}");
    assert!(daemon.log().lines().any(|line| line.contains("\"ERROR\"") && line.contains("trustpolicy.json")));
    assert!(daemon.ask(OPEN).proceed);

    node.write_policy(&policy(&["open", "foreign"]));
    daemon.wait_for_reload();
    assert_eq!(status(&daemon).await.1, "");
    assert!(daemon.ask(FOREIGN).proceed);
}

#[tokio::test]
async fn a_signal_reads_the_policy_again() {
    let node = Node::new();
    let daemon = node.start();
    let before = status(&daemon).await;
    daemon.signal("HUP");
    daemon.wait_for_reload();
    assert_eq!(status(&daemon).await, before);
    assert!(daemon.log().contains("SIGHUP"));
}

#[tokio::test]
async fn certificates_are_watched_too() {
    let node = Node::new();
    node.write_policy(&policy_with_store());
    node.write_store(CERTIFICATE);
    let daemon = node.start();
    let (first, _) = status(&daemon).await;

    node.write_store(OTHER);
    daemon.wait_for_reload();
    let (second, error) = status(&daemon).await;
    assert_eq!((first == second, error.as_str()), (false, ""));

    node.write_store("no certificate");
    daemon.wait_for_reload();
    let (third, error) = status(&daemon).await;
    assert_eq!(second, third, "what is no certificate is not put into force");
    assert!(error.contains("[trust-store-not-a-certificate]"), "{error}");
}

#[tokio::test]
async fn trust_that_is_taken_away_is_gone_at_once() {
    let node = Node::new();
    node.write_policy(&policy_with_store());
    node.write_store(CERTIFICATE);
    let daemon = node.start();
    let (before, _) = status(&daemon).await;
    fs::remove_dir_all(node.store()).unwrap();
    daemon.wait_for_reload();
    let (after, error) = status(&daemon).await;
    assert_ne!(before, after);
    assert!(error.contains("[trust-store-missing]"), "{error}");
    assert!(daemon.ask(OPEN).proceed, "statements that do not name the store are not touched");

    node.write_store(CERTIFICATE);
    daemon.wait_for_reload();
    assert_eq!(status(&daemon).await, (before, String::new()));
}

#[tokio::test]
async fn a_directory_that_is_replaced_as_a_whole_is_still_watched() {
    let node = Node::new();
    let daemon = node.start();
    fs::create_dir(node.path("next")).unwrap();
    fs::write(node.path("next/trustpolicy.json"), policy(&["foreign"])).unwrap();
    fs::rename(node.path("notation"), node.path("old")).unwrap();
    daemon.wait_for_reload();
    assert!(status(&daemon).await.1.contains("[policy-missing]"));
    fs::rename(node.path("next"), node.path("notation")).unwrap();
    daemon.wait_for_reload();
    assert!(daemon.ask(FOREIGN).proceed);
    node.write_policy(&policy(&["open"]));
    daemon.wait_for_reload();
    assert!(daemon.ask(OPEN).proceed && !daemon.ask(FOREIGN).proceed);
}

#[tokio::test]
async fn a_policy_that_is_removed_does_not_put_one_of_an_older_name_into_force() {
    let node = Node::new();
    fs::write(node.path("notation/trustpolicy.oci.json"), policy(&["open"])).unwrap();
    node.write_policy(&policy(&["open", "foreign"]));
    let daemon = node.start();
    assert!(!daemon.ask(FOREIGN).proceed);
    fs::remove_file(node.path("notation/trustpolicy.oci.json")).unwrap();
    daemon.wait_for_reload();
    assert!(status(&daemon).await.1.contains("[policy-missing]"));
    assert!(daemon.ask(OPEN).proceed && !daemon.ask(FOREIGN).proceed);
}
