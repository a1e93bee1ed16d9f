//! containerd on this node: which blobs it holds, which names point at them, and what changes.
//!
//! A thin client of its content, images, namespaces and events services. It connects when it is first asked and again
//! whenever that is necessary, so containerd may come later than whoever asks, and may be started anew.
//!
//! Digests and sizes in its answers are as good as the blobs behind them, which are hashed when they are read; labels
//! and names were written by clients.

mod containers;
mod content;
mod documents;
mod events;
mod image_store;
mod images;
mod introspection;
mod lease;
mod scratch;
mod snapshots;

use std::path::Path;

use containerd_client::services::v1::diff_client::DiffClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

pub use containers::{Container, Containers, ImageRecord};
pub use content::{Change, Holdings, Stored};
pub use documents::{BEGINNING, READ_WITHOUT_ASKING, document};
pub use events::{Happening, Happenings, What};
pub use image_store::ImageStore;
pub use introspection::{Introspection, Plugin, SNAPSHOTTER};
pub use scratch::{SCRATCH_PREFIX, Scratches};
pub use snapshots::{Place, Snapshot, Snapshots, VIEW_PREFIX};

use super::SourceError;
use super::limits::{CONTAINERD_TIMEOUT, MAX_CONTAINERD_MESSAGE, MAX_CONTAINERD_WORDS};
use crate::remedy::{cut, printable};

/// The header that names the containerd namespace of a call.
pub const NAMESPACE_HEADER: &str = "containerd-namespace";

/// containerd's socket.
#[derive(Clone, Debug)]
pub struct Containerd {
    socket: String,
    channel: Channel,
}

impl Containerd {
    /// Connects when it is first asked. The path is absolute.
    pub fn new(socket: &Path) -> Result<Self, SourceError> {
        let socket = socket.display().to_string();
        let failed = |error: tonic::transport::Error| SourceError::ContainerdUnreachable {
            socket: socket.clone(),
            fault: said(&error.to_string()),
        };
        let endpoint = Endpoint::from_shared(format!("unix://{socket}")).map_err(failed)?;
        Ok(Self { channel: endpoint.connect_lazy(), socket })
    }

    /// The differ that containerd itself would use.
    pub fn differ(&self) -> DiffClient<Channel> {
        DiffClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE)
    }

    fn failed(&self, what: &str, status: &Status) -> SourceError {
        let (socket, fault) = (self.socket.clone(), said(&deepest(status)));
        match status.code() {
            Code::Unavailable => SourceError::ContainerdUnreachable { socket, fault },
            Code::DeadlineExceeded | Code::Cancelled => {
                SourceError::ContainerdTimeout { socket, what: what.to_owned() }
            }
            Code::NotFound => SourceError::NotFound { what: what.to_owned(), place: "containerd".to_owned() },
            _ => SourceError::Containerd { what: what.to_owned(), fault },
        }
    }
}

/// A question within a namespace, and within a time.
fn within<T>(namespace: &str, message: T) -> Result<Request<T>, SourceError> {
    let mut request = unhurried(namespace, message)?;
    request.set_timeout(CONTAINERD_TIMEOUT);
    Ok(request)
}

/// A question within a namespace, for work whose time somebody else bounds.
fn unhurried<T>(namespace: &str, message: T) -> Result<Request<T>, SourceError> {
    let value: MetadataValue<Ascii> = namespace.parse().map_err(|_| SourceError::Containerd {
        what: format!("the namespace `{}`", printable(namespace)),
        fault: "not a name for a namespace".to_owned(),
    })?;
    let mut request = Request::new(message);
    request.metadata_mut().insert(NAMESPACE_HEADER, value);
    Ok(request)
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CONTAINERD_TIMEOUT);
    request
}

/// What the system said about a connection, which is the last of a chain of errors; or containerd's own words.
fn deepest(status: &Status) -> String {
    let mut said = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        said = cause.to_string();
        source = cause.source();
    }
    said
}

/// containerd's own words, made printable and cut.
fn said(words: &str) -> String {
    cut(words, MAX_CONTAINERD_WORDS)
}
