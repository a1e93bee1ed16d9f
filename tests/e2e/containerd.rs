//! What is asked of containerd: to pull an image, and what it holds.

use std::collections::BTreeSet;
use std::time::Duration;

use containerd_client::connect;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::snapshots::ListSnapshotsRequest;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::{ListContentRequest, ListImagesRequest, ListRequest, ListStatusesRequest};
use containerd_client::tonic::transport::Channel;
use containerd_client::tonic::{Request, Status};
use containerd_client::with_namespace;

use crate::cri;
use crate::node::{Image, Node};
use crate::tools::{run, runtime, text, wait_until};

/// Who asks containerd for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `ctr images pull`
    Ctr,
    /// What the kubelet does, through the container runtime interface.
    Cri,
}

/// How a pull ended.
#[derive(Debug)]
pub struct Pull {
    pub succeeded: bool,
    /// What the client was told.
    pub message: String,
}

impl Client {
    pub const ALL: [Self; 2] = [Self::Ctr, Self::Cri];

    /// The containerd namespace that its images go to.
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Ctr => "default",
            Self::Cri => "k8s.io",
        }
    }

    pub fn pull(self, node: &Node, image: &Image) -> Pull {
        match self {
            Self::Ctr => pull_with_ctr(node, &image.reference),
            Self::Cri => pull_with_cri(node, &image.reference),
        }
    }
}

fn pull_with_ctr(node: &Node, reference: &str) -> Pull {
    let output = run(node.ctr().args(["images", "pull", "--plain-http", reference]));
    Pull { succeeded: output.status.success(), message: text(&output.stdout) + &text(&output.stderr) }
}

fn pull_with_cri(node: &Node, reference: &str) -> Pull {
    match cri::pull(node, reference) {
        Ok(name) => Pull { succeeded: true, message: name },
        Err(status) => Pull { succeeded: false, message: status.message().to_owned() },
    }
}

/// Everything that a pull could leave behind, in the namespaces of both clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub images: BTreeSet<String>,
    pub blobs: BTreeSet<String>,
    /// Blobs of which only a part has arrived.
    pub ingests: BTreeSet<String>,
    pub snapshots: BTreeSet<String>,
    pub leases: BTreeSet<String>,
}

impl Inventory {
    pub fn of(node: &Node) -> Self {
        runtime().block_on(async {
            let channel = connect(node.socket()).await.expect("containerd listens");
            let mut inventory = Self::default();
            for client in Client::ALL {
                inventory.add(&channel, client.namespace()).await.expect("containerd lists what it holds");
            }
            inventory
        })
    }

    /// The same while pratique compares nothing: after a change of the policy it does, and holds a view for that long.
    pub fn at_rest(node: &Node) -> Self {
        wait_until("pratique compares nothing", Duration::from_secs(30), || {
            let inventory = Self::of(node);
            let compares =
                inventory.leases.iter().chain(&inventory.snapshots).any(|name| name.contains("/pratique-view-"));
            (!compares).then_some(inventory)
        })
    }

    /// The same of one namespace.
    pub fn of_namespace(node: &Node, namespace: &str) -> Self {
        runtime().block_on(async {
            let channel = connect(node.socket()).await.expect("containerd listens");
            let mut inventory = Self::default();
            inventory.add(&channel, namespace).await.expect("containerd lists what it holds");
            inventory
        })
    }

    async fn add(&mut self, channel: &Channel, namespace: &str) -> Result<(), Status> {
        let named = |name: String| format!("{namespace}/{name}");
        let mut images = ImagesClient::new(channel.clone());
        let request = with_namespace!(ListImagesRequest::default(), namespace);
        self.images.extend(images.list(request).await?.into_inner().images.into_iter().map(|image| named(image.name)));

        let mut content = ContentClient::new(channel.clone());
        let request = with_namespace!(ListContentRequest::default(), namespace);
        let mut pages = content.list(request).await?.into_inner();
        while let Some(page) = pages.message().await? {
            self.blobs.extend(page.info.into_iter().map(|info| named(info.digest)));
        }
        let request = with_namespace!(ListStatusesRequest::default(), namespace);
        let ingests = content.list_statuses(request).await?.into_inner().statuses;
        self.ingests.extend(ingests.into_iter().map(|status| named(status.r#ref)));

        let overlayfs = ListSnapshotsRequest { snapshotter: "overlayfs".to_owned(), ..Default::default() };
        let request = with_namespace!(overlayfs, namespace);
        let mut pages = SnapshotsClient::new(channel.clone()).list(request).await?.into_inner();
        while let Some(page) = pages.message().await? {
            self.snapshots.extend(page.info.into_iter().map(|info| named(info.name)));
        }

        let request = with_namespace!(ListRequest::default(), namespace);
        let leases = LeasesClient::new(channel.clone()).list(request).await?.into_inner().leases;
        self.leases.extend(leases.into_iter().map(|lease| named(lease.id)));
        Ok(())
    }
}
