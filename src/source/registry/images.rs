//! Whole images out of a registry: what hangs on them, their tags, and content of any size.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, network_error, pause};
use super::auth::Access;
use super::hosts::{Host, Need, first, united};
use super::referrers::Wanted;
use super::transport::{Ask, Call};
use super::{MANIFEST_TYPES, Registry};
use crate::oci::{Descriptor, MAX_MANIFEST_SIZE, Repository, parse_json};
use crate::source::limits::{MAX_ERROR_BODY, MAX_TAG_PAGES};
use crate::source::{BlobStream, Images, Referrers, SourceError, Tags};

/// A page of the list of tags.
#[derive(Deserialize)]
struct TagPage {
    /// Go writes an empty list as `null`.
    tags: Option<Vec<String>>,
}

#[async_trait]
impl Images for Registry {
    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Referrers, SourceError> {
        let calls = Call::to_read(self, repository, Need::Referrers)?;
        united(&calls, limit, |call| call.in_time(call.referrers(&subject.digest, Wanted::Everything, limit))).await
    }

    async fn tags(&self, repository: &Repository, limit: usize) -> Result<Tags, SourceError> {
        // A mirror has the tags that were asked for at it, and nobody could tell which are missing.
        let call = Call::at_origin(self, repository, Access::Pull)?;
        call.in_time(call.tags(limit)).await
    }

    async fn open_blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<BlobStream, SourceError> {
        let download = Download {
            registry: self.clone(),
            repository: Arc::new(repository.clone()),
            descriptor: descriptor.bare(),
            offset: 0,
            tried: 1,
            host: None,
            response: None,
        };
        let place = repository.to_string();
        Ok(BlobStream::new(descriptor.bare(), place, download.begun().await?.into_pieces()))
    }

    async fn has_blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError> {
        self.has_anywhere("blobs", repository, descriptor).await
    }

    async fn has_manifest(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool, SourceError> {
        self.has_anywhere("manifests", repository, descriptor).await
    }
}

impl Registry {
    async fn has_anywhere(
        &self,
        kind: &str,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<bool, SourceError> {
        let calls = Call::to_read(self, repository, Need::Content)?;
        let place = &repository.to_string();
        let there = first(&calls, |call| async move {
            let is_there = call.in_time(call.has(kind, descriptor)).await?;
            if is_there { Ok(()) } else { Err(Answer::not_found(descriptor.digest.as_str(), place)) }
        });
        match there.await {
            Err(SourceError::NotFound { .. }) => Ok(false),
            answer => answer.map(|()| true),
        }
    }
}

impl Call<'_> {
    /// Reads the pages of the list of tags. A tag of bad form cannot be asked for, so it is passed over.
    async fn tags(&self, limit: usize) -> Result<Tags, SourceError> {
        let mut tags = Tags::default();
        let mut url = self.url("tags/list");
        for _ in 0..MAX_TAG_PAGES {
            let answer = self.ask(&Ask::new(Method::GET, url, MAX_MANIFEST_SIZE)).await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Err(self.unknown_repository()),
                _ => return Err(answer.unexpected("tags")),
            }
            let next = self.next(&answer)?;
            let body = answer.whole("the list of tags", &self.repository.to_string(), MAX_MANIFEST_SIZE)?;
            let page: TagPage = parse_json(&body).map_err(|_| self.malformed("its list of tags is none"))?;
            let names = page.tags.unwrap_or_default().into_iter().filter_map(|name| name.parse().ok());
            tags.names.extend(names);
            if tags.names.len() > limit {
                tags.names.truncate(limit);
                tags.truncated = true;
                return Ok(tags);
            }
            let Some(next) = next else { return Ok(tags) };
            url = next;
        }
        tags.truncated = true;
        Ok(tags)
    }

    /// Whether it is there, by a question that brings no content.
    pub async fn has(&self, kind: &str, descriptor: &Descriptor) -> Result<bool, SourceError> {
        let what = descriptor.digest.as_str();
        let ask = Ask::new(Method::HEAD, self.url(&format!("{kind}/{what}")), MAX_ERROR_BODY);
        let accept = if kind == "manifests" { MANIFEST_TYPES.join(", ") } else { "*/*".to_owned() };
        let answer = self.ask(&ask.accepting(&accept)).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(answer.unexpected(what)),
        }
    }
}

/// A blob that is being read, and read on where a connection broke off.
struct Download {
    registry: Registry,
    repository: Arc<Repository>,
    descriptor: Descriptor,
    /// How many bytes have come.
    offset: u64,
    tried: u32,
    /// Who gives it, when that is known.
    host: Option<Arc<Host>>,
    response: Option<Response>,
}

impl Download {
    /// Asks for the bytes from the offset on. The rest of what has begun comes from the same host.
    async fn begun(mut self) -> Result<Self, SourceError> {
        let (registry, repository) = (self.registry.clone(), Arc::clone(&self.repository));
        let calls = match &self.host {
            Some(host) => vec![Call::at(&registry, &repository, Arc::clone(host))],
            None => Call::to_read(&registry, &repository, Need::Content)?,
        };
        let opened = first(&calls, |call| async { Ok((call.in_time(self.open(call)).await?, Arc::clone(&call.host))) });
        let (response, host) = opened.await?;
        (self.response, self.host) = (response, Some(host));
        Ok(self)
    }

    async fn open(&self, call: &Call<'_>) -> Result<Option<Response>, SourceError> {
        let what = self.descriptor.digest.as_str();
        let range = (self.offset > 0).then_some(self.offset);
        let ask =
            Ask { open: true, range, ..Ask::new(Method::GET, call.url(&format!("blobs/{what}")), MAX_ERROR_BODY) };
        let answer = call.ask(&ask.accepting("*/*")).await?;
        match (answer.status, range) {
            (StatusCode::OK, None) | (StatusCode::PARTIAL_CONTENT, Some(_)) => Ok(answer.open),
            (StatusCode::NOT_FOUND, _) => Err(Answer::not_found(what, &self.repository.to_string())),
            _ => Err(answer.unexpected(what)),
        }
    }

    fn into_pieces(self) -> BoxStream<'static, Result<Bytes, SourceError>> {
        stream::unfold(Some(self), |download| async {
            match download?.step().await {
                Ok(Some((piece, download))) => Some((Ok(piece), Some(download))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// The next piece. The time limit is for each one.
    async fn step(mut self) -> Result<Option<(Bytes, Self)>, SourceError> {
        loop {
            let (Some(response), Some(host)) = (&mut self.response, &self.host) else { return Ok(None) };
            let repository = Arc::clone(&self.repository);
            let call = Call::at(&self.registry, &repository, Arc::clone(host));
            let host = call.host(response.url());
            let piece = match timeout(call.limit(), response.chunk()).await {
                Ok(piece) => piece.map_err(|error| network_error(&host, &error, call.limit())),
                Err(_) => Err(call.late()),
            };
            let error = match piece {
                Ok(None) => return Ok(None),
                Ok(Some(piece)) => {
                    self.offset += piece.len() as u64;
                    return Ok(Some((piece, self)));
                }
                Err(error) => error,
            };
            let Some(wait) = pause(&error, self.tried, self.registry.options.first_pause) else { return Err(error) };
            tracing::debug!(registry = %host, error = %error, offset = self.offset, "reading on");
            sleep(wait).await;
            self.tried += 1;
            // A registry that does not give parts gives no reason to read on; the first error says more.
            self = self.begun().await.map_err(|_| error)?;
        }
    }
}
