//! What the daemon's own tests share: a policy that opens one repository and shuts another, and a source that is empty.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::judge::{Bounds, CacheOptions, Judge};
use crate::oci::{Blob, Descriptor, Digest, Reference, Repository, media_type};
use crate::policy::{Policy, Trust};
use crate::proto::{self, CheckRequest, Stage};
use crate::source::{Referrers, Source, SourceError};

/// A repository whose images are admitted without a signature.
pub(super) const OPEN: &str = "registry.example/open";
/// A repository whose images need a signature, and have none.
pub(super) const SHUT: &str = "registry.example/shut";

const POLICY: &str = r#"{"version": "1.0", "trustPolicies": [
    {"name": "open", "registryScopes": ["registry.example/open"], "signatureVerification": {"level": "skip"}},
    {"name": "shut", "registryScopes": ["registry.example/shut"], "signatureVerification": {"level": "strict"},
     "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}"#;

pub(super) fn judge() -> Judge {
    judge_over(Arc::new(Empty))
}

pub(super) fn judge_over(source: Arc<dyn Source>) -> Judge {
    let stores = BTreeMap::from([("ca:acme".parse().unwrap(), Ok(Vec::new()))]);
    let trust = Trust::new(Policy::parse(POLICY.as_bytes()).unwrap(), stores, "test".into());
    let bounds = Bounds { total_timeout: Duration::from_secs(8), max_signatures: 10, envelope_size: 1024 * 1024 };
    let minute = Duration::from_secs(60);
    Judge::new(Arc::new(trust), source, bounds, CacheOptions { max_age: minute, denied_for: minute, capacity: 100 })
}

pub(super) fn digest() -> Digest {
    Digest::sha256(b"image")
}

pub(super) fn request(name: &str) -> CheckRequest {
    let target =
        proto::Descriptor { media_type: media_type::IMAGE_MANIFEST.into(), digest: digest().to_string(), size: 5 };
    CheckRequest { name: name.into(), target: Some(target), stage: Stage::Pull.into(), ..CheckRequest::default() }
}

/// A registry without signatures.
pub(super) struct Empty;

#[async_trait]
impl Source for Empty {
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        Err(not_found(&reference.to_string()))
    }

    async fn signatures(&self, _: &Repository, _: &Descriptor, _: usize) -> Result<Referrers, SourceError> {
        Ok(Referrers::default())
    }

    async fn manifest(&self, _: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        Err(not_found(descriptor.digest.as_str()))
    }

    async fn blob(&self, _: &Repository, descriptor: &Descriptor, _: u64) -> Result<Blob, SourceError> {
        Err(not_found(descriptor.digest.as_str()))
    }
}

fn not_found(what: &str) -> SourceError {
    SourceError::NotFound { what: what.to_owned(), place: "the test".into() }
}
