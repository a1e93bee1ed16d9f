//! What containerd is told about a layer when containerd itself cannot be asked.

use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::{ApplyRequest, DiffRequest};
use containerd_client::types;
use containerd_client::with_namespace;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use crate::node::{Node, digest};

async fn asked_on(node: &Node, socket: &str) -> (Status, Status) {
    let path = node.path("run").join(socket);
    let channel = Endpoint::from_shared(format!("unix://{}", path.display())).unwrap().connect().await.unwrap();
    let mut client = DiffClient::new(channel);
    let layer = types::Descriptor { digest: digest().to_string(), size: 5, ..Default::default() };
    let apply = ApplyRequest { diff: Some(layer), ..Default::default() };
    let apply = client.apply(with_namespace!(apply, "default")).await.unwrap_err();
    let diff = client.diff(with_namespace!(DiffRequest::default(), "default")).await.unwrap_err();
    (apply, diff)
}

#[tokio::test]
async fn without_containerd_the_daemon_starts_and_no_layer_is_unpacked() {
    let node = Node::new();
    let _daemon = node.start();
    for (socket, commit) in [("diff.sock", Code::Unimplemented), ("diff-transfer.sock", Code::Unavailable)] {
        let (apply, diff) = asked_on(&node, socket).await;
        assert_eq!(apply.code(), Code::Unavailable, "{socket}");
        assert!(apply.message().starts_with("could not tell: layer sha256:"), "{apply}");
        assert!(apply.message().contains("[containerd-unreachable]"), "{apply}");
        assert_eq!(diff.code(), commit, "{socket}");
    }
}

#[tokio::test]
async fn the_gates_can_be_left_out() {
    let node = Node::new();
    node.configure("gates = { diff = false, run = false }");
    let _daemon = node.start();
    for socket in ["diff.sock", "diff-transfer.sock"] {
        assert!(!node.path("run").join(socket).try_exists().unwrap(), "{socket}");
    }
}
