//! An OCI registry in this process that does as the test's script says.
//!
//! It stores what it is given, serves the distribution API with or without referrers, and misbehaves on request:
//!
//! ```ignore
//! let registry = ScriptedRegistry::builder().page_size(2).basic("ann", "secret").start().await;
//! let digest = registry.put_manifest("team/app", Some("v1"), IMAGE_MANIFEST, bytes);
//! registry.fault("/blobs/", Fault::Status(503), 1);
//! // … ask it at registry.host() …
//! assert_eq!(registry.lines(), ["HEAD /v2/team/app/manifests/v1"]);
//! ```

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a script that is wrong ends the test"
)]

#[path = "registry/connection.rs"]
mod connection;
#[path = "registry/manifests.rs"]
mod manifests;
#[path = "registry/mood.rs"]
mod mood;
#[path = "registry/reply.rs"]
mod reply;
#[path = "registry/serve.rs"]
mod serve;
#[path = "registry/store.rs"]
mod store;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pratique::oci::{Digest, media_type};
use serde_json::json;
use tokio::net::TcpListener;

#[allow(unused_imports, reason = "each test binary uses its own part")]
pub use manifests::{image, referring, signature, signed_as};
pub use reply::Fault;

use connection::{Counted, Cut};
use store::{Store, subject_of};

/// How the registry wants to be asked.
#[derive(Clone, Debug, Default)]
enum Auth {
    #[default]
    None,
    Basic(String),
    Bearer(TokenService),
}

#[derive(Clone, Debug, Default)]
struct TokenService {
    /// Another realm than this registry's own `/token`.
    realm: Option<String>,
    /// The basic credentials that get a token; none: everybody gets one.
    basic: Option<String>,
    /// The identity token that gets a token.
    identity: Option<String>,
    expires_in: Option<u64>,
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Recorded {
    /// A header's value, where it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What the registry is to be like.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent")]
pub struct Builder {
    referrers: bool,
    page_size: usize,
    filters: bool,
    absolute_links: bool,
    names_subject: bool,
    deletes: bool,
    mounts: bool,
    auth: Auth,
}

impl Builder {
    /// No referrers API: 404, as docker-registry 2.8 answers.
    pub fn without_referrers(mut self) -> Self {
        self.referrers = false;
        self
    }

    /// So many referrers on a page.
    pub fn page_size(mut self, page_size: usize) -> Self {
        self.page_size = page_size;
        self
    }

    /// Links to the next page with scheme and host.
    pub fn absolute_links(mut self) -> Self {
        self.absolute_links = true;
        self
    }

    /// The filter by artifact type is ignored.
    pub fn without_filter(mut self) -> Self {
        self.filters = false;
        self
    }

    /// A push of a referrer is answered without `OCI-Subject`.
    pub fn without_oci_subject(mut self) -> Self {
        self.names_subject = false;
        self
    }

    /// Nothing is deleted: 405.
    pub fn without_delete(mut self) -> Self {
        self.deletes = false;
        self
    }

    /// No blob is taken over from another repository.
    pub fn without_mount(mut self) -> Self {
        self.mounts = false;
        self
    }

    /// Everything asks for this name and password.
    pub fn basic(mut self, username: &str, password: &str) -> Self {
        self.auth = Auth::Basic(pair(username, password));
        self
    }

    /// Everything asks for a token, which everybody gets.
    pub fn bearer(mut self) -> Self {
        self.auth = Auth::Bearer(TokenService::default());
        self
    }

    /// A token is given only for this name and password.
    pub fn token_for(self, username: &str, password: &str) -> Self {
        self.tokens(|service| service.basic = Some(pair(username, password)))
    }

    /// A token is given only for this identity token.
    pub fn token_for_identity(self, identity: &str) -> Self {
        self.tokens(|service| service.identity = Some(identity.to_owned()))
    }

    /// Tokens come from this URL.
    pub fn realm(self, realm: &str) -> Self {
        self.tokens(|service| service.realm = Some(realm.to_owned()))
    }

    /// Tokens live for so many seconds, it is said.
    pub fn tokens_live(self, seconds: u64) -> Self {
        self.tokens(|service| service.expires_in = Some(seconds))
    }

    fn tokens(mut self, change: impl FnOnce(&mut TokenService)) -> Self {
        let mut service = if let Auth::Bearer(service) = self.auth { service } else { TokenService::default() };
        change(&mut service);
        self.auth = Auth::Bearer(service);
        self
    }

    /// Starts it on a free port of 127.0.0.1.
    pub async fn start(self) -> ScriptedRegistry {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: self,
            address,
            store: Mutex::default(),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let app = Router::new().fallback(serve::serve).with_state(Arc::clone(&shared));
        let counted = Counted { listener, shared: Arc::clone(&shared) };
        let service = app.into_make_service_with_connect_info::<Cut>();
        let task = tokio::spawn(async move { axum::serve(counted, service).await.unwrap() });
        ScriptedRegistry { shared, task }
    }
}

fn pair(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// A registry that is running. It ends when this is dropped.
pub struct ScriptedRegistry {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    script: Builder,
    address: SocketAddr,
    store: Mutex<Store>,
    requests: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
}

impl Drop for ScriptedRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedRegistry {
    /// A registry with referrers API and without authentication.
    pub fn builder() -> Builder {
        Builder {
            referrers: true,
            page_size: usize::MAX,
            filters: true,
            absolute_links: false,
            names_subject: true,
            deletes: true,
            mounts: true,
            auth: Auth::None,
        }
    }

    /// Starts a registry with referrers API and without authentication.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// The URL of a path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.shared.address)
    }

    /// Stores a blob.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let key = (repository.to_owned(), digest.to_string());
        self.shared.store().blobs.insert(key, Bytes::copy_from_slice(bytes));
        digest
    }

    /// Stores a manifest, under a tag too if there is one. One with a subject is listed by the referrers API if that is
    /// served; see [`Self::put_referrer`] for either way.
    pub fn put_manifest(&self, repository: &str, tag: Option<&str>, media_type: &str, bytes: &[u8]) -> Digest {
        self.shared.store().put_manifest(repository, tag, media_type, Bytes::copy_from_slice(bytes))
    }

    /// Stores a manifest with a subject, and lists it by the referrers API or, where that is not served, under the
    /// fallback tag.
    pub fn put_referrer(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let mut store = self.shared.store();
        let digest = store.put_manifest(repository, None, media_type, Bytes::copy_from_slice(bytes));
        if !self.shared.script.referrers {
            let subject = subject_of(bytes).expect("a referrer has a subject");
            let tag = subject.replace(':', "-");
            let entries = store.referrers.get(&(repository.to_owned(), subject)).cloned().unwrap_or_default();
            let index = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE_INDEX, "manifests": entries});
            store.put_manifest(repository, Some(&tag), media_type::IMAGE_INDEX, index.to_string().into());
        }
        digest
    }

    /// Lists these as referrers of a subject, after those that are listed already and whether they are there or not.
    pub fn list_referrers(&self, repository: &str, subject: &str, entries: Vec<serde_json::Value>) {
        let key = (repository.to_owned(), subject.to_owned());
        self.shared.store().referrers.entry(key).or_default().extend(entries);
    }

    /// The manifest under a tag or a digest.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<Bytes> {
        self.shared.store().manifest(repository, name).map(|(_, _, bytes)| bytes)
    }

    /// A blob.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        self.shared.store().blobs.get(&(repository.to_owned(), digest.to_string())).cloned()
    }

    /// The next `times` requests whose method, path and query contain `part` meet this fault.
    pub fn fault(&self, part: &str, fault: Fault, times: usize) {
        self.shared.store().faults.push((part.to_owned(), fault, times));
    }

    /// Every request that contains `part` meets this fault once one has come that contains `after`.
    pub fn fault_after(&self, after: &str, part: &str, fault: Fault) {
        self.shared.store().later.push((after.to_owned(), part.to_owned(), fault));
    }

    /// Every such request meets this fault.
    pub fn always(&self, part: &str, fault: Fault) {
        self.fault(part, fault, usize::MAX);
    }

    /// The next `times` writes to a tag are confirmed, but somebody overwrites them with what was there before.
    pub fn lose_tag_writes(&self, times: usize) {
        self.shared.store().lost_tag_writes = times;
    }

    /// From now on a third of the questions fail, each the first time alone; which ones, the seed says.
    pub fn fail_at_random(&self, seed: u64) {
        self.shared.store().mood = Some(mood::Mood::new(seed));
    }

    /// How many questions have failed so, and no more do.
    pub fn calm_down(&self) -> usize {
        self.shared.store().mood.take().map_or(0, |mood| mood.failed)
    }

    /// The digests that are listed for a subject: by the referrers API or, where that is not served, under the fallback tag.
    pub fn listed(&self, repository: &str, subject: &Digest) -> Vec<String> {
        let store = self.shared.store();
        let at = (repository.to_owned(), subject.to_string());
        let by_tag = || {
            let (_, _, index) = store.manifest(repository, &subject.fallback_tag())?;
            let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
            Some(index["manifests"].as_array().unwrap().clone())
        };
        let entries = if self.shared.script.referrers { store.referrers.get(&at).cloned() } else { by_tag() };
        entries.into_iter().flatten().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
    }

    /// Every manifest that refers to another, in this repository.
    pub fn referring_manifests(&self, repository: &str) -> Vec<Digest> {
        let store = self.shared.store();
        let own = store.manifests.iter().filter(|((within, _), _)| within == repository);
        let referring = own.filter(|(_, (_, bytes))| subject_of(bytes).is_some());
        referring.map(|((_, digest), _)| digest.parse().unwrap()).collect()
    }

    /// No token given so far is accepted any more.
    pub fn revoke_tokens(&self) {
        self.revoke_tokens_after(0);
    }

    /// After so many requests more, no token given until then is accepted any more.
    pub fn revoke_tokens_after(&self, requests: usize) {
        self.shared.store().revoked_after = Some(requests);
    }

    /// How many tokens were given.
    pub fn tokens_given(&self) -> usize {
        self.shared.store().tokens_given
    }

    /// What was asked so far, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// What was asked so far, as lines `METHOD /path`.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// Forgets what was asked so far.
    pub fn forget_requests(&self) {
        self.shared.requests.lock().unwrap().clear();
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}
