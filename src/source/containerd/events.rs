//! What happens in containerd, as it tells whoever listens. It tells late, and nothing of what happened before.

use async_trait::async_trait;
use containerd_client::events::{SnapshotCommit, TaskCreate, TaskDelete};
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::{ImageCreate, ImageUpdate, SubscribeRequest};
use containerd_client::types::Envelope;
use futures_util::stream::{self, BoxStream, StreamExt};
use prost::Message;
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::{Containerd, Holdings as _};
use crate::source::SourceError;
use crate::source::limits::MAX_CONTAINERD_MESSAGE;

/// How many events may wait to be looked at; then containerd keeps the next ones.
const WAITING: usize = 1024;
const IMAGE_CREATED: &str = "/images/create";
const IMAGE_UPDATED: &str = "/images/update";
const SNAPSHOT_COMMITTED: &str = "/snapshot/commit";
const TASK_CREATED: &str = "/tasks/create";
const TASK_DELETED: &str = "/tasks/delete";

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The containerd namespace.
    pub namespace: String,
    /// What it is.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A name points to an image now, or to another one.
    ImageNamed {
        /// The name.
        name: String,
    },
    /// A snapshot has its content and its name.
    SnapshotCommitted {
        /// The snapshotter; empty where containerd does not say.
        snapshotter: String,
        /// Its name.
        name: String,
    },
    /// A container is about to run.
    TaskCreated {
        /// The container.
        container: String,
    },
    /// A container has ended and was cleaned up.
    TaskDeleted {
        /// The container.
        container: String,
    },
}

/// Who tells what happens.
#[async_trait]
pub trait Happenings: Send + Sync {
    /// What happens from now on to images, snapshots and tasks, in all namespaces. The stream ends when containerd does.
    async fn happenings(&self) -> Result<BoxStream<'static, Happening>, SourceError>;
}

impl Containerd {
    /// The events of these topics, up to the first that cannot be taken.
    ///
    /// containerd answers nothing before the first event, so the answer must not be waited for: it is taken by a task of
    /// its own, and whether containerd is there at all is asked before.
    pub(super) async fn subscribe(&self, topics: &[&str]) -> Result<BoxStream<'static, Envelope>, SourceError> {
        self.namespaces().await?;
        let filters = topics.iter().map(|topic| format!("topic==\"{topic}\"")).collect();
        let client = EventsClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE);
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(take(client, SubscribeRequest { filters }, sender));
        Ok(stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed())
    }
}

/// Takes events until there are no more, or nobody wants them any more.
async fn take(mut client: EventsClient<Channel>, request: SubscribeRequest, sender: mpsc::Sender<Envelope>) {
    let taking = async {
        let Ok(events) = client.subscribe(request).await else { return };
        let mut events = events.into_inner();
        while let Ok(Some(event)) = events.message().await {
            if sender.send(event).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = taking => {}
        () = sender.closed() => {}
    }
}

#[async_trait]
impl Happenings for Containerd {
    async fn happenings(&self) -> Result<BoxStream<'static, Happening>, SourceError> {
        let topics = [IMAGE_CREATED, IMAGE_UPDATED, SNAPSHOT_COMMITTED, TASK_CREATED, TASK_DELETED];
        let events = self.subscribe(&topics).await?;
        Ok(events.filter_map(|event| std::future::ready(happening(event))).boxed())
    }
}

fn happening(envelope: Envelope) -> Option<Happening> {
    let (namespace, event) = (envelope.namespace, envelope.event?);
    let bytes = event.value.as_slice();
    let what = match envelope.topic.as_str() {
        IMAGE_CREATED => What::ImageNamed { name: ImageCreate::decode(bytes).ok()?.name },
        IMAGE_UPDATED => What::ImageNamed { name: ImageUpdate::decode(bytes).ok()?.name },
        SNAPSHOT_COMMITTED => {
            let SnapshotCommit { name, snapshotter, .. } = SnapshotCommit::decode(bytes).ok()?;
            What::SnapshotCommitted { snapshotter, name }
        }
        TASK_CREATED => What::TaskCreated { container: TaskCreate::decode(bytes).ok()?.container_id },
        TASK_DELETED => {
            let TaskDelete { container_id, id, .. } = TaskDelete::decode(bytes).ok()?;
            // What was executed in a container has an identifier of its own.
            if !id.is_empty() && id != container_id {
                return None;
            }
            What::TaskDeleted { container: container_id }
        }
        _ => return None,
    };
    Some(Happening { namespace, what })
}
