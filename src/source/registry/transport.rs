//! One question to a registry: redirects, authentication, repeated tries and bounded bodies, all within one deadline.
//!
//! Layered so that each concern is met once: [`Call::ask`] repeats a try, `authorised` answers a challenge, `follow`
//! goes where a redirect leads, `once` sends one request and reads no more of its answer than was wanted.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Registry;
use super::answer::{Answer, network_error, pause};
use super::auth::{Access, Grant};
use super::endpoint::{Route, host_and_port};
use super::hosts::{Host, Need};
use crate::oci::{Repository, media_type};
use crate::source::limits::{MAX_ERROR_BODY, MAX_HOST_TIMEOUT, MAX_REDIRECTS, MIRROR_TIMEOUT};
use crate::source::{NetworkFault, SourceError, TargetFault};

/// A question to one host about one repository, with everything that it may use: the host's address, the access it needs
/// and the time it has.
pub(super) struct Call<'a> {
    pub registry: &'a Registry,
    pub repository: &'a Repository,
    pub host: Arc<Host>,
    pub access: Access,
    /// The repository of the same registry that a blob is to be taken over from.
    pub mounts_from: Option<&'a Repository>,
    /// Whether another host is asked where this one fails, so that it is asked once.
    has_next: bool,
    /// From the question to its answer.
    limit: Duration,
    deadline: Instant,
}

/// One request.
pub(super) struct Ask {
    pub method: Method,
    pub url: Url,
    /// The media types wanted.
    pub accept: Option<String>,
    /// The first byte wanted, where it is not the first of all.
    pub range: Option<u64>,
    /// A body with its media type.
    pub body: Option<(String, Body)>,
    /// How many bytes of a good answer's body are wanted.
    pub limit: u64,
    /// Whether it may be made again, and sent where a redirect leads.
    pub repeatable: bool,
    /// Whether the body of a good answer is left to be read.
    pub open: bool,
}

/// What is sent.
pub(super) enum Body {
    Whole(Vec<u8>),
    /// Bytes that pass once, and how many.
    Passing(Mutex<Option<reqwest::Body>>, u64),
}

impl Ask {
    /// A request without a body of its own.
    pub fn new(method: Method, url: Url, limit: u64) -> Self {
        // What is deleted twice is deleted.
        let repeatable = matches!(method, Method::GET | Method::HEAD | Method::DELETE);
        Self { method, url, accept: None, range: None, body: None, limit, repeatable, open: false }
    }

    #[must_use]
    pub fn accepting(self, media_types: &str) -> Self {
        Self { accept: Some(media_types.to_owned()), ..self }
    }

    #[must_use]
    pub fn with_body(self, media_type: &str, body: Vec<u8>) -> Self {
        Self { body: Some((media_type.to_owned(), Body::Whole(body))), ..self }
    }

    /// With a body of so many bytes that pass once.
    #[must_use]
    pub fn with_passing(self, body: reqwest::Body, size: u64) -> Self {
        let body = Body::Passing(Mutex::new(Some(body)), size);
        Self { body: Some((media_type::OCTET_STREAM.to_owned(), body)), ..self }
    }

    /// Whether its body has passed, and cannot be sent again.
    fn is_spent(&self) -> bool {
        matches!(&self.body, Some((_, Body::Passing(body, _))) if lock(body).is_none())
    }
}

impl<'a> Call<'a> {
    /// A question to read, to each of the hosts that are asked for this, in their order. Starts the clock: one host after the
    /// other gets its share, so that one that is dead leaves time for the next.
    pub fn to_read(registry: &'a Registry, repository: &'a Repository, need: Need) -> Result<Vec<Self>, SourceError> {
        let need = if registry.options.at_origin { Need::Change } else { need };
        let hosts = registry.hosts.serving(repository.registry(), need, &registry.options, &registry.clients)?;
        let (start, whole, count) = (Instant::now(), limit(registry), hosts.len());
        let call = |(before, host): (u32, Arc<Host>)| {
            let has_next = usize::try_from(before).is_ok_and(|before| before + 1 < count);
            let limit = if has_next { whole.min(MIRROR_TIMEOUT * (before + 1)) } else { whole };
            let (access, deadline) = (Access::Pull, start + limit);
            Self { registry, repository, host, access, mounts_from: None, has_next, limit, deadline }
        };
        Ok((0..).zip(hosts).map(call).collect())
    }

    /// A question to the one host that things are stored at. Starts the clock.
    pub fn at_origin(registry: &'a Registry, repository: &'a Repository, access: Access) -> Result<Self, SourceError> {
        let hosts =
            registry.hosts.serving(repository.registry(), Need::Change, &registry.options, &registry.clients)?;
        let none = || SourceError::Malformed { host: repository.registry().to_owned(), fault: "it has no host".into() };
        let host = hosts.into_iter().next().ok_or_else(none)?;
        Ok(Self { access, ..Self::at(registry, repository, host) })
    }

    /// A question to this host, which is the only one that can answer it. Starts the clock.
    pub fn at(registry: &'a Registry, repository: &'a Repository, host: Arc<Host>) -> Self {
        let (access, limit) = (Access::Pull, limit(registry));
        let deadline = Instant::now() + limit;
        Self { registry, repository, host, access, mounts_from: None, has_next: false, limit, deadline }
    }

    /// The same question, with leave to take a blob over from this repository of the same registry.
    #[must_use]
    pub fn mounting(self, from: &'a Repository) -> Self {
        Self { mounts_from: Some(from), ..self }
    }

    /// The work, or the error that its time is over. Dropping the work ends its requests and its helper programs.
    pub async fn in_time<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        timeout_at(self.deadline, work).await.map_err(|_| self.late())?
    }

    /// Work that takes as long as it needs, as long as the counter moves: the limit holds for standing still.
    pub async fn while_it_moves<T>(
        &self,
        counter: &AtomicU64,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let mut work = std::pin::pin!(work);
        let mut seen = counter.load(Ordering::Relaxed);
        loop {
            if let Ok(done) = timeout(self.limit, &mut work).await {
                return done;
            }
            let now = counter.load(Ordering::Relaxed);
            if now == seen {
                return Err(self.late());
            }
            seen = now;
        }
    }

    /// The error that there was no answer in time.
    pub fn late(&self) -> SourceError {
        SourceError::Timeout { host: self.host.endpoint.name.clone(), limit: self.limit }
    }

    /// The time that one question may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The URL of a path in the repository.
    pub fn url(&self, rest: &str) -> Url {
        self.host.endpoint.url(self.repository, rest)
    }

    /// The answer to a request; an error where the registry gives none. What remains are success, 404, and the other
    /// statuses of the 400 family.
    pub async fn ask(&self, ask: &Ask) -> Result<Answer, SourceError> {
        let mut tried = 1;
        loop {
            let error = match self.authorised(ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !ask.repeatable || self.has_next {
                return Err(error);
            }
            self.wait_to_ask_again(error, tried).await?;
            tried += 1;
        }
    }

    /// Waits as long as one should before the next try; the error, where there is to be none.
    pub async fn wait_to_ask_again(&self, error: SourceError, tried: u32) -> Result<(), SourceError> {
        let wait = pause(&error, tried, self.registry.options.first_pause);
        // A pause that the time left does not cover helps nobody: whoever asks had better know at once.
        let Some(wait) = wait.filter(|wait| *wait < self.deadline.saturating_duration_since(Instant::now())) else {
            return Err(error);
        };
        tracing::debug!(registry = %self.host.endpoint.name, error = %error, ?wait, "asking again");
        sleep(wait).await;
        Ok(())
    }

    /// One try, which answers a challenge where there is one.
    async fn authorised(&self, ask: &Ask) -> Result<Answer, SourceError> {
        let known = self.registry.grants.find(self);
        let answer = self.follow(ask, known.as_ref()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.host.endpoint.owns(&answer.url) {
            return self.permitted(answer, known.as_ref());
        }
        self.registry.grants.forget(self);
        let Some(grant) = self.grant(&answer).await? else {
            return self.permitted(answer, None);
        };
        if ask.is_spent() {
            // The bytes have passed: whoever has them sends them again, with the new grant.
            self.registry.grants.remember(self, grant);
            let source = NetworkFault("the token ended before the bytes were taken".into());
            return Err(SourceError::Unreachable { host: self.host.endpoint.name.clone(), broken: true, source });
        }
        let answer = self.follow(ask, Some(&grant)).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            self.registry.grants.remember(self, grant.clone());
        }
        self.permitted(answer, Some(&grant))
    }

    /// The answer, unless it is a refusal.
    fn permitted(&self, answer: Answer, grant: Option<&Grant>) -> Result<Answer, SourceError> {
        let host = self.host(&answer.url);
        match answer.status {
            StatusCode::UNAUTHORIZED => {
                let anonymous = grant.is_none_or(|grant| grant.anonymous);
                Err(SourceError::Unauthorized { host, anonymous, words: answer.words() })
            }
            StatusCode::FORBIDDEN => {
                Err(SourceError::Forbidden { host, what: self.repository.to_string(), words: answer.words() })
            }
            _ => Ok(answer),
        }
    }

    /// Sends a request, and again to where a redirect leads. The grant stays with the registry: once a redirect has
    /// left it, nothing that follows carries the grant.
    async fn follow(&self, ask: &Ask, grant: Option<&Grant>) -> Result<Answer, SourceError> {
        let (mut url, mut route) = (ask.url.clone(), self.host.endpoint.route());
        let mut authorization = grant.map(|grant| &grant.authorization);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.once(ask, &url, route, authorization).await?;
            let Some(next) = redirect(&response)? else {
                return if ask.open && response.status().is_success() {
                    Ok(Answer::unread(response))
                } else {
                    self.read(response, ask.limit).await
                };
            };
            let refuse = |fault| self.host.endpoint.refuse(&next, fault);
            // What is read may lie anywhere. Nobody sends this machine to change something at another host, where it may be
            // let in without a word.
            let is_read = matches!(ask.method, Method::GET | Method::HEAD);
            if !ask.repeatable || !(is_read || self.host.endpoint.owns(&next)) {
                return Err(refuse(TargetFault::OtherHost));
            }
            route = self.host.endpoint.route_to(&url, &next, &self.registry.options.insecure).map_err(refuse)?;
            if !self.host.endpoint.owns(&next) {
                authorization = None;
            }
            url = next;
        }
        Err(self.host.endpoint.refuse(&url, TargetFault::TooMany))
    }

    /// Sends one request.
    pub async fn once(
        &self,
        ask: &Ask,
        url: &Url,
        route: Route,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, SourceError> {
        let is_own = self.host.endpoint.owns(url);
        let client = self.host.clients.client(route, url.scheme() == "https", is_own)?;
        // What the operator has written for this host is for it alone; what we know better goes over it.
        let mut headers = if is_own { self.host.headers.clone() } else { HeaderMap::new() };
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let mut request = client.request(ask.method.clone(), url.clone()).headers(headers);
        if let Some(accept) = &ask.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if let Some(first) = ask.range {
            request = request.header(header::RANGE, format!("bytes={first}-"));
        }
        if let Some((media_type, body)) = &ask.body {
            request = request.header(header::CONTENT_TYPE, media_type);
            request = match body {
                Body::Whole(bytes) => request.body(bytes.clone()),
                Body::Passing(body, size) => {
                    let body = lock(body).take().unwrap_or_default();
                    request.header(header::CONTENT_LENGTH, *size).body(body)
                }
            };
        }
        // Other hosts' paths may hold tokens.
        let path = if is_own { url.path() } else { "" };
        let address = format!("{}://{}{path}", url.scheme(), host_and_port(url));
        tracing::trace!(method = %ask.method, address, "asking");
        request.send().await.map_err(|error| network_error(&self.host(url), &error, self.limit))
    }

    /// Reads the body of an answer, but not much more than `limit` bytes of it, and little of an error's.
    pub async fn read(&self, mut response: Response, limit: u64) -> Result<Answer, SourceError> {
        let (url, status, headers) = (response.url().clone(), response.status(), response.headers().clone());
        let limit = if status.is_success() { limit } else { MAX_ERROR_BODY };
        let mut excess = response.content_length().filter(|length| *length > limit);
        let mut body = Vec::new();
        while excess.is_none() {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| network_error(&self.host(&url), &error, self.limit))? else {
                break;
            };
            body.extend_from_slice(&chunk);
            excess = Some(body.len() as u64).filter(|length| *length > limit);
        }
        let answer = Answer { url, status, headers, body, excess, open: None };
        answer.overload(&self.host(&answer.url)).map_or(Ok(answer), Err)
    }

    /// What messages call the host of an address: the registry by the name that it was asked by.
    pub fn host(&self, url: &Url) -> String {
        if self.host.endpoint.owns(url) { self.host.endpoint.name.clone() } else { host_and_port(url) }
    }
}

/// The time that one question may take in all.
fn limit(registry: &Registry) -> Duration {
    registry.options.host_timeout.min(MAX_HOST_TIMEOUT)
}

fn lock(body: &Mutex<Option<reqwest::Body>>) -> MutexGuard<'_, Option<reqwest::Body>> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a redirect leads, where the answer is one.
fn redirect(response: &Response) -> Result<Option<Url>, SourceError> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(header::LOCATION).filter(|_| is_redirect) else {
        return Ok(None);
    };
    let next = location.to_str().ok().and_then(|location| response.url().join(location).ok());
    let fault = || SourceError::Malformed { host: host_and_port(response.url()), fault: "a redirect to no URL".into() };
    next.map(Some).ok_or_else(fault)
}
