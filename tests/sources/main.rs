//! What every source promises, held against a registry that does as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may end in a panic")]

#[path = "../support/registry.rs"]
mod registry;

mod authentication;
mod faults;
mod hosts;
mod images;
mod pushing;
mod reading;
mod redirects;
mod signatures;

use std::fmt::Debug;
use std::time::Duration;

use pratique::oci::{Descriptor, Reference, Repository, media_type};
use pratique::remedy::Remedy as _;
use pratique::source::registry::{Credential, Credentials, Registry, RegistryOptions};
use pratique::source::{Source, SourceError};
use registry::{Builder, ScriptedRegistry, image};

const REPOSITORY: &str = "team/app";

/// A registry with one image, and somebody who asks it.
struct Scene {
    registry: ScriptedRegistry,
    client: Registry,
    image: Vec<u8>,
    subject: Descriptor,
}

impl Scene {
    async fn new() -> Self {
        Self::of(ScriptedRegistry::builder()).await
    }

    async fn of(script: Builder) -> Self {
        Self::with(script, options()).await
    }

    /// Given credentials are for the registry that is started here.
    async fn with(script: Builder, mut options: RegistryOptions) -> Self {
        let registry = script.start().await;
        if let Credentials::Given { registry: whom, .. } = &mut options.credentials {
            *whom = registry.host();
        }
        let image = image("app");
        registry.put_manifest(REPOSITORY, Some("v1"), media_type::IMAGE_MANIFEST, &image);
        let subject = Descriptor::of(media_type::IMAGE_MANIFEST, &image);
        Self { registry, client: Registry::new(options), image, subject }
    }

    fn repository(&self) -> Repository {
        format!("{}/{REPOSITORY}", self.registry.host()).parse().unwrap()
    }

    fn by_tag(&self, tag: &str) -> Reference {
        format!("{}:{tag}", self.repository()).parse().unwrap()
    }

    fn by_digest(&self) -> Reference {
        self.repository().at(self.subject.digest.clone())
    }

    /// Puts a signature with this envelope on the image, and gives its descriptor.
    fn sign(&self, envelope: &str) -> Descriptor {
        self.refer(media_type::NOTARY_SIGNATURE, envelope)
    }

    fn refer(&self, artifact_type: &str, blob: &str) -> Descriptor {
        self.registry.put_blob(REPOSITORY, blob.as_bytes());
        let manifest = registry::referring(artifact_type, &self.image, blob.as_bytes());
        self.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
        Descriptor::of(media_type::IMAGE_MANIFEST, &manifest)
    }

    async fn resolve(&self) -> Result<Descriptor, SourceError> {
        self.client.resolve(&self.by_tag("v1")).await
    }

    /// The digests of the signatures listed, and whether there were more.
    async fn signatures(&self, limit: usize) -> Result<(Vec<String>, bool), SourceError> {
        let found = self.client.signatures(&self.repository(), &self.subject, limit).await?;
        let digests = found.descriptors.iter().map(|descriptor| descriptor.digest.to_string()).collect();
        Ok((digests, found.truncated))
    }
}

/// Options that wait for nothing.
fn options() -> RegistryOptions {
    RegistryOptions {
        first_pause: Duration::from_millis(1),
        host_timeout: Duration::from_secs(20),
        ..RegistryOptions::default()
    }
}

/// Options of somebody with no patience.
fn hasty() -> RegistryOptions {
    RegistryOptions { host_timeout: Duration::from_millis(300), ..options() }
}

/// Holds an error by its code, and that it names the host and a remedy.
#[track_caller]
fn expect<T: Debug>(answer: Result<T, SourceError>, code: &str, host: &str) {
    let error = answer.expect_err(code);
    assert_eq!(error.code().as_str(), code, "{error:?}");
    let remedy = error.remedy().unwrap_or_default();
    assert!(format!("{error} {remedy}").contains(host), "{error} {remedy}");
}

fn digests(descriptors: &[Descriptor]) -> Vec<String> {
    descriptors.iter().map(|descriptor| descriptor.digest.to_string()).collect()
}

/// The credential, for the registry that the scene starts.
fn given(credential: Credential) -> RegistryOptions {
    RegistryOptions { credentials: Credentials::Given { registry: String::new(), credential }, ..options() }
}
