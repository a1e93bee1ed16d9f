//! A containerd namespace for one visit, and what is done in it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use containerd_client::services::v1::container::Runtime;
use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::snapshots::PrepareSnapshotRequest;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::streaming_client::StreamingClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::transfer_client::TransferClient;
use containerd_client::services::v1::{
    ApplyRequest, Container, CreateContainerRequest, CreateImageRequest, CreateNamespaceRequest, CreateTaskRequest,
    Image, Namespace, StreamInit, TransferRequest, WriteAction, WriteContentRequest,
};
use containerd_client::to_any;
use containerd_client::types::transfer::{
    Data, ImageImportStream, ImageStore, OciRegistry, RegistryResolver, UnpackConfiguration,
};
use containerd_client::types::{Mount, Platform};
use futures_util::stream;
use prost_types::Any;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::image::{Canary, architecture};
use crate::clock;
use crate::effective::RUNC_SHIM;
use crate::oci::Descriptor;
use crate::source::containerd::NAMESPACE_HEADER;

/// How long one call may take: longer than the daemon may think about it, and than a pull of next to nothing takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// What keeps containerd from collecting a thing while it is looked at.
const KEPT: &str = "containerd.io/gc.root";
/// The name of containerd's type for a container's specification.
const SPECIFICATION: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// A namespace of its own.
pub(super) struct Scratch {
    pub(super) channel: Channel,
    pub(super) namespace: String,
    pub(super) header: MetadataValue<Ascii>,
    pub(super) snapshotter: &'static str,
}

impl Scratch {
    /// Makes the namespace.
    pub(super) async fn create(socket: &Path, namespace: &str, snapshotter: &'static str) -> Result<Self, String> {
        let endpoint =
            Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(|error| error.to_string())?;
        let header = namespace.parse().map_err(|_| "no name for a namespace".to_owned())?;
        let (channel, namespace) = (endpoint.connect_lazy(), namespace.to_owned());
        let scratch = Self { channel, namespace: namespace.clone(), header, snapshotter };
        let named = Namespace { name: namespace, ..Namespace::default() };
        let request = scratch.timed(CreateNamespaceRequest { namespace: Some(named) });
        NamespacesClient::new(scratch.channel.clone()).create(request).await.map_err(|status| said(&status))?;
        Ok(scratch)
    }

    /// Has containerd pull and unpack an image.
    pub(super) async fn pull(&self, reference: &str) -> Result<(), String> {
        let is_local = reference.starts_with("127.0.0.1:") || reference.starts_with("localhost:");
        let default_scheme = if is_local { "http".to_owned() } else { String::new() };
        let resolver = RegistryResolver { default_scheme, ..RegistryResolver::default() };
        let source = OciRegistry { reference: reference.to_owned(), resolver: Some(resolver) };
        self.transfer(to_any(&source), reference).await
    }

    /// Has containerd import and unpack an archive.
    pub(super) async fn import(&self, name: &str, archive: Vec<u8>) -> Result<(), String> {
        let stream = format!("{}-import", self.namespace);
        let sending = self.offer(&stream, archive).await?;
        let source = ImageImportStream { stream, ..ImageImportStream::default() };
        let imported = self.transfer(to_any(&source), name).await;
        sending.abort();
        imported
    }

    async fn transfer(&self, source: Any, name: &str) -> Result<(), String> {
        let platform = Platform { os: "linux".into(), architecture: architecture().into(), ..Platform::default() };
        let unpack = UnpackConfiguration { platform: Some(platform), snapshotter: self.snapshotter.into() };
        let destination = ImageStore { name: name.to_owned(), unpacks: vec![unpack], ..ImageStore::default() };
        let request = TransferRequest { source: Some(source), destination: Some(to_any(&destination)), options: None };
        TransferClient::new(self.channel.clone())
            .transfer(self.timed(request))
            .await
            .map_err(|status| said(&status))?;
        Ok(())
    }

    /// Opens a stream, and sends these bytes on it as soon as containerd has room for them. They fit the first window
    /// that it gives (64 KiB).
    async fn offer(&self, id: &str, bytes: Vec<u8>) -> Result<JoinHandle<()>, String> {
        let (sender, receiver) = mpsc::channel(2);
        let closed = || "the stream is closed".to_owned();
        sender.send(to_any(&StreamInit { id: id.to_owned() })).await.map_err(|_| closed())?;
        let outgoing = stream::unfold(receiver, |mut receiver| async {
            let message: Any = receiver.recv().await?;
            Some((message, receiver))
        });
        let mut client = StreamingClient::new(self.channel.clone());
        let mut incoming = client.stream(self.timed(outgoing)).await.map_err(|status| said(&status))?.into_inner();
        // The answer to the first message: the stream is known by its name from here on.
        incoming.message().await.map_err(|status| said(&status))?.ok_or_else(closed)?;
        Ok(tokio::spawn(async move {
            let is_window = |message: &Any| message.type_url.ends_with("WindowUpdate");
            while let Ok(Some(message)) = incoming.message().await {
                if is_window(&message) {
                    break;
                }
            }
            let data = Data { data: bytes };
            let _ = sender.send(to_any(&data)).await; // containerd has gone, and says so elsewhere
            drop(sender);
            while let Ok(Some(_)) = incoming.message().await {}
        }))
    }

    /// Puts an image into the store and applies its layer, as clients do that unpack by themselves.
    pub(super) async fn unpack(&self, name: &str, canary: &Canary) -> Result<(), String> {
        let (layer, manifest) = (canary.layer_descriptor(), canary.manifest_descriptor());
        for bytes in [&canary.layer, &canary.config, &canary.manifest] {
            self.put(bytes).await?;
        }
        let image = Image { name: name.to_owned(), target: Some(described(&manifest)), ..Image::default() };
        let request = CreateImageRequest { image: Some(image), source_date_epoch: None };
        ImagesClient::new(self.channel.clone()).create(self.timed(request)).await.map_err(|status| said(&status))?;
        let mounts = self.prepare("unpack").await?;
        let request = ApplyRequest { diff: Some(described(&layer)), mounts, ..ApplyRequest::default() };
        DiffClient::new(self.channel.clone()).apply(self.timed(request)).await.map_err(|status| said(&status))?;
        Ok(())
    }

    async fn put(&self, bytes: &[u8]) -> Result<(), String> {
        let descriptor = Descriptor::of("", bytes);
        let digest = descriptor.digest.to_string();
        let request = WriteContentRequest {
            action: WriteAction::Commit.into(),
            r#ref: format!("{}-{}", self.namespace, descriptor.digest.short()),
            total: length(&descriptor),
            expected: digest,
            offset: 0,
            data: bytes.to_vec(),
            labels: kept(),
        };
        let request = self.timed(stream::iter([request]));
        let mut answers =
            ContentClient::new(self.channel.clone()).write(request).await.map_err(|status| said(&status))?.into_inner();
        while answers.message().await.map_err(|status| said(&status))?.is_some() {}
        Ok(())
    }

    /// Starts a container without any admitted image: an empty file system, and the name of an image that is not there.
    pub(super) async fn run(&self, image: &str) -> Result<(), String> {
        let (id, rootfs) = (self.namespace.clone(), self.prepare("run").await?);
        let container = Container {
            id: id.clone(),
            image: image.to_owned(),
            runtime: Some(Runtime { name: RUNC_SHIM.to_owned(), options: None }),
            spec: Some(specification()),
            snapshotter: self.snapshotter.to_owned(),
            snapshot_key: "run".to_owned(),
            ..Container::default()
        };
        let request = self.timed(CreateContainerRequest { container: Some(container) });
        ContainersClient::new(self.channel.clone()).create(request).await.map_err(|status| said(&status))?;
        let request = self.timed(CreateTaskRequest { container_id: id, rootfs, ..CreateTaskRequest::default() });
        TasksClient::new(self.channel.clone()).create(request).await.map_err(|status| said(&status))?;
        Ok(())
    }

    async fn prepare(&self, key: &str) -> Result<Vec<Mount>, String> {
        let request = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.to_owned(),
            key: key.to_owned(),
            parent: String::new(),
            labels: kept(),
        };
        let prepared = SnapshotsClient::new(self.channel.clone())
            .prepare(self.timed(request))
            .await
            .map_err(|status| said(&status))?;
        Ok(prepared.into_inner().mounts)
    }

    /// A question in this namespace, and within a time.
    pub(super) fn timed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(NAMESPACE_HEADER, self.header.clone());
        request.set_timeout(PATIENCE);
        request
    }
}

/// The least that a runtime takes. The command is not there, so nothing runs where nobody refuses.
fn specification() -> Any {
    let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    let specification = json!({
        "ociVersion": "1.0.2",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/pratique-canary"], "cwd": "/" },
        "root": { "path": "rootfs" },
        "linux": { "namespaces": namespaces },
    });
    Any { type_url: SPECIFICATION.to_owned(), value: specification.to_string().into_bytes() }
}

fn described(descriptor: &Descriptor) -> containerd_client::types::Descriptor {
    containerd_client::types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: length(descriptor),
        ..Default::default()
    }
}

fn length(descriptor: &Descriptor) -> i64 {
    i64::try_from(descriptor.size).unwrap_or(i64::MAX)
}

fn kept() -> HashMap<String, String> {
    HashMap::from([(KEPT.to_owned(), clock::now().to_string())])
}

/// containerd's words; or the system's, where it cannot be reached.
pub(super) fn said(status: &Status) -> String {
    let source = std::error::Error::source(status).map(|source| format!(" ({source})"));
    format!("{}{}", status.message(), source.unwrap_or_default())
}
