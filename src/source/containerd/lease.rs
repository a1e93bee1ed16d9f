//! Leases: what holds that which was just made, until something else refers to it.
//!
//! Each ends by itself. Should nobody be there any more to end it, containerd's garbage collection takes what it held.

use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::{CreateRequest, DeleteRequest};
use jiff::Timestamp;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{Containerd, unhurried, within};
use crate::source::SourceError;
use crate::source::limits::MAX_CONTAINERD_MESSAGE;

/// The header that names the lease which holds what a call makes.
const LEASE_HEADER: &str = "containerd-lease";
/// The label that says when a lease ends (containerd, `docs/garbage-collection.md`).
const ENDS: &str = "containerd.io/gc.expire";

impl Containerd {
    pub(super) fn leases(&self) -> LeasesClient<Channel> {
        LeasesClient::new(self.channel.clone()).max_decoding_message_size(MAX_CONTAINERD_MESSAGE)
    }

    /// Makes a lease of this name, which nobody else has.
    pub(super) async fn begin_lease(&self, namespace: &str, id: &str, until: Timestamp) -> Result<(), SourceError> {
        let labels = [(ENDS.to_owned(), until.to_string())].into();
        let request = within(namespace, CreateRequest { id: id.to_owned(), labels })?;
        let made = self.leases().create(request).await;
        made.map(|_| ()).map_err(|status| self.failed(&format!("the lease {id}"), &status))
    }

    /// With `sync`, containerd collects its garbage before it answers.
    pub(super) async fn end_lease(&self, namespace: &str, id: &str, sync: bool) -> Result<(), SourceError> {
        let request = DeleteRequest { id: id.to_owned(), sync };
        let request = if sync { unhurried(namespace, request)? } else { within(namespace, request)? };
        unless_gone(self.leases().delete(request).await)
            .map_err(|status| self.failed(&format!("the lease {id}"), &status))
    }
}

/// The same call, whose results this lease holds.
pub(super) fn held_by<T>(mut request: Request<T>, id: &str) -> Result<Request<T>, SourceError> {
    let lease: MetadataValue<Ascii> = id.parse().map_err(|_| SourceError::Containerd {
        what: format!("the lease {id}"),
        fault: "not a name for a lease".to_owned(),
    })?;
    request.metadata_mut().insert(LEASE_HEADER, lease);
    Ok(request)
}

pub(super) fn unless_gone<T>(answer: Result<T, Status>) -> Result<(), Status> {
    match answer {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status),
    }
}
