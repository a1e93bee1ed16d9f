//! What the kubelet asks of containerd: to pull an image, and to start a pod's sandbox and its containers.

mod messages;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use containerd_client::connect;
use containerd_client::tonic::client::Grpc;
use containerd_client::tonic::codegen::http::uri::PathAndQuery;
use containerd_client::tonic::transport::Channel;
use containerd_client::tonic::{Request, Status};
use tokio::time::timeout;
use tonic_prost::ProstCodec;

use self::messages::{
    ContainerConfig, ContainerId, ContainerMetadata, ContainerState, ContainerStatus, ContainerStatusResponse,
    CreateContainerRequest, Empty, ImageRequest, ImageSpec, ImageStatusResponse, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, Mount, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxId,
    PodSandboxMetadata, PullImageResponse, RunPodSandboxRequest,
};
use crate::node::{Image, Node};
use crate::tools::{runtime, wait_until};

/// As `tools::run` has it for programs.
const LIMIT: Duration = Duration::from_secs(40);

/// Where a container finds an image that is mounted into it.
pub const VOLUME: &str = "/volume";

/// Has the image pulled, and gives the name that the kubelet would know it by.
pub fn pull(node: &Node, reference: &str) -> Result<String, Status> {
    let request = ImageRequest { image: Some(image(reference)) };
    let answer: PullImageResponse = ask(node, "/runtime.v1.ImageService/PullImage", request)?;
    Ok(answer.image_ref)
}

/// What CRI identifies an image by. One that did not come by the kubelet's own pull is known there after a moment, which
/// this waits for.
pub fn identifier(node: &Node, reference: &str) -> String {
    wait_until("the image is known to CRI", LIMIT, || {
        let request = ImageRequest { image: Some(image(reference)) };
        let answer: ImageStatusResponse = ask(node, "/runtime.v1.ImageService/ImageStatus", request).ok()?;
        Some(answer.image?.image)
    })
}

/// A pod in the host's network, so that no network has to be made for it. It goes when it is dropped.
pub struct Pod<'a> {
    node: &'a Node,
    id: String,
    config: PodSandboxConfig,
}

impl<'a> Pod<'a> {
    /// Starts the sandbox, for which containerd pulls the node's pause image where it is not there.
    pub fn start(node: &'a Node, name: &str) -> Result<Self, Status> {
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("{name}-uid"),
                namespace: "team".to_owned(),
            }),
            log_directory: node.folder().join("pods").join(name).display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(NamespaceOption { network: NamespaceMode::Node.into() }),
                }),
                cgroup_parent: format!("/{}", node.cgroup()),
            }),
            ..Default::default()
        };
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let PodSandboxId { pod_sandbox_id: id } = ask(node, "/runtime.v1.RuntimeService/RunPodSandbox", request)?;
        Ok(Self { node, id, config })
    }

    /// Creates a container of an image that has been pulled, and starts nothing.
    pub fn create(&self, name: &str, image_of: &Image) -> Result<Container<'_>, Status> {
        self.create_as(name, container(name, &image_of.reference))
    }

    /// The same, with the files of another image at [`VOLUME`], which it lists.
    pub fn create_with_volume(&self, name: &str, image_of: &Image, volume: &Image) -> Result<Container<'_>, Status> {
        let mount = Mount { container_path: VOLUME.to_owned(), image: Some(image(&volume.reference)), readonly: true };
        let command = vec!["/bin/ls".to_owned(), VOLUME.to_owned()];
        self.create_as(name, ContainerConfig { mounts: vec![mount], command, ..container(name, &image_of.reference) })
    }

    fn create_as(&self, name: &str, config: ContainerConfig) -> Result<Container<'_>, Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let ContainerId { container_id: id } = ask(self.node, "/runtime.v1.RuntimeService/CreateContainer", request)?;
        Ok(Container { node: self.node, id, log: PathBuf::from(&self.config.log_directory).join(name) })
    }

    /// Creates a container, starts it, waits for its end and gives what it printed.
    pub fn run(&self, name: &str, image_of: &Image) -> Result<String, Status> {
        self.create(name, image_of)?.run()
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let request = PodSandboxId { pod_sandbox_id: self.id.clone() };
            // A node that is on its way down takes what is left with it.
            let _: Result<Empty, Status> = ask(self.node, &format!("/runtime.v1.RuntimeService/{method}"), request);
        }
    }
}

/// A container of a pod. It goes when it is dropped.
pub struct Container<'a> {
    node: &'a Node,
    id: String,
    log: PathBuf,
}

impl Container<'_> {
    pub fn start(&self) -> Result<(), Status> {
        let _: Empty = self.ask("StartContainer")?;
        Ok(())
    }

    /// Starts it, waits for its end and gives what it printed.
    pub fn run(&self) -> Result<String, Status> {
        self.start()?;
        let status = wait_until("the container ends", LIMIT, || {
            let status = self.status().ok()?;
            (status.state() == ContainerState::Exited).then_some(status)
        });
        assert_eq!(status.exit_code, 0, "the container failed: {}", status.message);
        Ok(self.printed())
    }

    pub fn status(&self) -> Result<ContainerStatus, Status> {
        let answer: ContainerStatusResponse = self.ask("ContainerStatus")?;
        Ok(answer.status.unwrap_or_default())
    }

    /// Each line of the log is a time, a stream, whether the line is whole, and the text.
    fn printed(&self) -> String {
        let log = fs::read_to_string(&self.log).expect("the container has a log");
        let lines = log.lines().map(|line| line.splitn(4, ' ').nth(3).expect("a line of four parts"));
        lines.collect::<Vec<&str>>().join("\n")
    }

    fn ask<A: prost::Message + Default + 'static>(&self, method: &str) -> Result<A, Status> {
        let request = ContainerId { container_id: self.id.clone() };
        ask(self.node, &format!("/runtime.v1.RuntimeService/{method}"), request)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _: Result<Empty, Status> = self.ask("RemoveContainer");
    }
}

fn image(reference: &str) -> ImageSpec {
    ImageSpec { image: reference.to_owned() }
}

fn container(name: &str, reference: &str) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.to_owned() }),
        image: Some(image(reference)),
        log_path: name.to_owned(),
        ..Default::default()
    }
}

fn ask<Q, A>(node: &Node, method: &str, request: Q) -> Result<A, Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    runtime().block_on(async {
        let channel = connect(node.socket()).await.expect("containerd listens");
        timeout(LIMIT, call(channel, method, request)).await.expect("containerd answers")
    })
}

async fn call<Q, A>(channel: Channel, method: &str, request: Q) -> Result<A, Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(method).expect("a method's path");
    Ok(client.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await?.into_inner())
}
