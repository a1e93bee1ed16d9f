//! The daemon ends when it is told to, with everything answered that was asked.

use pratique::client::Connection;
use pratique::proto::WatchDecisionsRequest;

use crate::node::{DEADLINE, Node, OPEN, request};

// The watcher answers on a thread of its own, as one in another process does: it is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_daemon_that_is_told_to_end_leaves_nothing_behind() {
    let node = Node::new();
    for signal in ["TERM", "INT"] {
        let mut daemon = node.start();
        let mut idle = Connection::open(&node.hook_socket(), DEADLINE).unwrap();
        assert!(idle.ask(&request(OPEN)).unwrap().proceed);
        let mut api = daemon.api().await;
        let mut watched = api.watch_decisions(WatchDecisionsRequest { backlog: 0 }).await.unwrap().into_inner();

        daemon.signal(signal);
        daemon.wait_for("STOPPING=1");
        assert!(watched.message().await.unwrap().is_none(), "a watcher is told that it is over");
        assert!(daemon.wait().success());
        assert!(idle.ask(&request(OPEN)).is_err());
        assert_eq!(std::fs::read_dir(node.path("run")).unwrap().count(), 0);
        assert_eq!(node.verifier(OPEN).status.code(), Some(1));
    }
}
