//! OCI registries, read and written over the distribution API.
//!
//! What a registry says is hostile until it hashes to a digest that was asked for. So an answer is bounded in size and
//! in time ([`limits`](crate::source::limits)), content comes back as a checked [`Blob`], and every way not to get an
//! answer is an error of its own: "there is none" is never concluded from a failure.
//!
//! Follows the OCI distribution specification 1.1.

mod answer;
mod auth;
mod clients;
mod credentials;
mod delete;
mod endpoint;
mod helper;
mod hosts;
mod images;
mod keeping;
mod push;
mod referrers;
mod transport;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{self, HeaderName};
use reqwest::{Method, StatusCode};

pub use credentials::{Credential, Credentials, Secret};
pub(super) use endpoint::is_plain_unlisted;
pub use helper::HelperFault;
pub use hosts::HostsFault;
pub use keeping::{KeepError, Keepers};

use self::answer::Answer;
use self::auth::Grants;
use self::clients::{Clients, Tls};
use self::hosts::{Hosts, Need, first, further, lists};
use self::push::Turns;
use self::referrers::{Wanted, WithoutReferrers};
use self::transport::{Ask, Call};
use super::limits::{CONNECT_TIMEOUT, FIRST_PAUSE, HOST_TIMEOUT};
use super::{Further, Referrers, Source, SourceError};
use crate::oci::{Blob, Descriptor, Digest, MAX_MANIFEST_SIZE, Reference, Repository, media_type};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The manifests that an image may have.
const MANIFEST_TYPES: [&str; 5] = [
    media_type::IMAGE_MANIFEST,
    media_type::IMAGE_INDEX,
    media_type::DOCKER_MANIFEST,
    media_type::DOCKER_MANIFEST_LIST,
    media_type::ARTIFACT_MANIFEST,
];

/// How registries are spoken to.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Registries that are spoken to by plain http: host, or host and port, as references have them; compared without
    /// case. Loopback hosts are so anyway, but for port 443.
    pub insecure: Vec<String>,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// Whether a referrer that is stored is listed under the fallback tag in any case: for readers that know no referrers
    /// API. Otherwise only where the registry does not list it itself.
    pub lists_by_tag: bool,
    /// The directories in which containerd's `hosts.toml` of each registry are looked for, in this order. None: every registry
    /// is asked under its own name alone.
    pub hosts_dirs: Vec<PathBuf>,
    /// Whether everything is asked where things are stored, and no mirror: for whoever goes on to change what was read.
    pub at_origin: bool,
    /// The time that one question may take in total.
    pub host_timeout: Duration,
    /// The time that a connection may take to open.
    pub connect_timeout: Duration,
    /// The pause before a request is made for the second time.
    pub first_pause: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            credentials: Credentials::default(),
            lists_by_tag: false,
            hosts_dirs: Vec::new(),
            at_origin: false,
            host_timeout: HOST_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            first_pause: FIRST_PAUSE,
        }
    }
}

/// All registries, each under the host in the repository asked for. Keeps connections, grants and what it learned
/// about each host, so one of these serves a whole process.
///
/// A clone shares all of that.
#[derive(Clone)]
pub struct Registry {
    options: Arc<RegistryOptions>,
    clients: Arc<Clients>,
    hosts: Arc<Hosts>,
    grants: Arc<Grants>,
    without_referrers: Arc<WithoutReferrers>,
    turns: Arc<Turns>,
}

impl Registry {
    /// Opens nothing yet: clients are made and files are read when they are first needed.
    pub fn new(options: RegistryOptions) -> Self {
        Self {
            clients: Arc::new(Clients::new(options.connect_timeout, Tls::default())),
            hosts: Arc::default(),
            options: Arc::new(options),
            grants: Arc::default(),
            without_referrers: Arc::default(),
            turns: Arc::default(),
        }
    }

    /// The same, asked at the hosts that things are stored at and at no mirror: what is about to be changed must be seen as it
    /// is there.
    #[must_use]
    pub fn at_origin(&self) -> Self {
        let options = RegistryOptions { at_origin: true, ..RegistryOptions::clone(&self.options) };
        Self { options: Arc::new(options), ..self.clone() }
    }
}

#[async_trait]
impl Source for Registry {
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        let need = if reference.digest().is_some() { Need::Content } else { Need::Name };
        let calls = Call::to_read(self, reference.repository(), need)?;
        first(&calls, |call| call.in_time(call.resolve(reference))).await
    }

    async fn signatures(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Referrers, SourceError> {
        let calls = Call::to_read(self, repository, Need::Referrers)?;
        lists(&calls, |call| call.in_time(call.referrers(&subject.digest, Wanted::Signatures, limit))).await
    }

    async fn further_signatures(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        known: &[Descriptor],
        limit: usize,
    ) -> Result<Further, SourceError> {
        let calls = Call::to_read(self, repository, Need::Referrers)?;
        if calls.len() == 1 {
            return Ok(Further::default());
        }
        let most = known.len().saturating_add(limit);
        let ask = |call| Call::in_time(call, Call::referrers(call, &subject.digest, Wanted::Signatures, most));
        Ok(further(&calls, known, limit, ask).await)
    }

    async fn manifest(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        let calls = Call::to_read(self, repository, Need::Content)?;
        first(&calls, |call| call.in_time(call.fetch("manifests", descriptor, MAX_MANIFEST_SIZE))).await
    }

    async fn blob(&self, repository: &Repository, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        let calls = Call::to_read(self, repository, Need::Content)?;
        first(&calls, |call| call.in_time(call.fetch("blobs", descriptor, limit))).await
    }
}

impl Call<'_> {
    /// What the reference points to now. The headers say it; where one is missing the manifest itself does.
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, SourceError> {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag.as_str(),
            (None, None) => return Err(Answer::not_found("a manifest without a name", &self.repository.to_string())),
        };
        let ask = |method| {
            Ask::new(method, self.url(&format!("manifests/{name}")), MAX_MANIFEST_SIZE)
                .accepting(&MANIFEST_TYPES.join(", "))
        };
        let answer = self.ask(&ask(Method::HEAD)).await?;
        // Some proxies know no HEAD.
        let is_head = answer.status != StatusCode::METHOD_NOT_ALLOWED;
        let from_headers = if is_head { self.described(&answer, name)? } else { None };
        let descriptor = match from_headers {
            Some(descriptor) => descriptor,
            None => self.described_by_content(self.ask(&ask(Method::GET)).await?, name)?,
        };
        match reference.digest() {
            Some(asked) if *asked != descriptor.digest => Err(SourceError::OtherDigest {
                place: self.host.endpoint.name.clone(),
                asked: asked.clone(),
                got: descriptor.digest,
            }),
            _ => Ok(descriptor),
        }
    }

    /// The descriptor in the headers of a good answer, if they are all there.
    fn described(&self, answer: &Answer, name: &str) -> Result<Option<Descriptor>, SourceError> {
        let Some(media_type) = self.manifest_type(answer, name)? else { return Ok(None) };
        let size = answer.header(&header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let digest = answer.header(&CONTENT_DIGEST).map(str::parse::<Digest>).transpose();
        let digest = digest.map_err(|_| self.malformed("its `Docker-Content-Digest` is no digest"))?;
        Ok(size.zip(digest).map(|(size, digest)| Descriptor::new(media_type, digest, size)))
    }

    /// The descriptor of the manifest itself, under the algorithm that was asked by.
    fn described_by_content(&self, answer: Answer, name: &str) -> Result<Descriptor, SourceError> {
        let missing = || self.malformed("a manifest without a `Content-Type`");
        let media_type = self.manifest_type(&answer, name)?.ok_or_else(missing)?;
        let body = answer.whole(name, &self.repository.to_string(), MAX_MANIFEST_SIZE)?;
        let digest = match name.parse::<Digest>() {
            Ok(asked) => asked.algorithm().of(&body),
            Err(_) => Digest::sha256(&body),
        };
        Ok(Descriptor { digest, ..Descriptor::of(&media_type, &body) })
    }

    /// The media type of a manifest in a good answer. Anything else is a page of somebody else's.
    fn manifest_type(&self, answer: &Answer, name: &str) -> Result<Option<String>, SourceError> {
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Answer::not_found(name, &self.repository.to_string())),
            _ => return Err(answer.unexpected(name)),
        }
        match answer.media_type() {
            Some(media_type) if MANIFEST_TYPES.contains(&media_type) => Ok(Some(media_type.to_owned())),
            Some(other) => Err(self.malformed(&format!("the type of a manifest is `{}`", answer::cut(other)))),
            None => Ok(None),
        }
    }

    /// Content by its descriptor, checked.
    async fn fetch(&self, kind: &str, descriptor: &Descriptor, limit: u64) -> Result<Blob, SourceError> {
        let (what, place) = (descriptor.digest.to_string(), self.repository.to_string());
        if descriptor.size > limit {
            return Err(SourceError::TooLarge { what, place, size: descriptor.size, limit });
        }
        // The media type of the descriptor is a stranger's text, and no registry needs it to find the content.
        let accept = if kind == "manifests" { MANIFEST_TYPES.join(", ") } else { "*/*".to_owned() };
        let ask = Ask::new(Method::GET, self.url(&format!("{kind}/{what}")), descriptor.size);
        let answer = self.ask(&ask.accepting(&accept)).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Answer::not_found(&what, &place)),
            _ => return Err(answer.unexpected(&what)),
        }
        let checked = answer.of_size(descriptor).and_then(|bytes| Blob::check(descriptor.clone(), bytes));
        checked.map_err(|source| SourceError::WrongContent { place, source })
    }
}
