//! The distribution API of the scripted registry.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use pratique::oci::{Digest, media_type};
use serde_json::{Value, json};

use super::connection::Cut;
use super::reply::Reply;
use super::store::subject_of;
use super::{Auth, Fault, Recorded, Shared, TokenService};

pub(super) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let recorded = Recorded {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: to_bytes(body, usize::MAX).await.unwrap(),
    };
    shared.requests.lock().unwrap().push(recorded.clone());
    let line = format!("{} {}?{}", recorded.method, recorded.path, recorded.query);
    let fault = {
        let mut store = shared.store();
        store.take_fault(&line).or_else(|| store.mood.as_mut()?.fault(&recorded))
    };
    match fault {
        None => shared.answer(&recorded).into_response(),
        Some(Fault::Hang) => std::future::pending().await,
        Some(fault @ (Fault::Reset | Fault::LostAnswer)) => {
            if matches!(fault, Fault::LostAnswer) {
                shared.answer(&recorded);
            }
            cut.0.store(true, Ordering::SeqCst);
            Response::new(Body::empty())
        }
        Some(fault) => shared.answer(&recorded).spoiled(fault).into_response(),
    }
}

impl Shared {
    fn answer(&self, request: &Recorded) -> Reply {
        if request.path == "/token" {
            return self.token(request);
        }
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        if request.path == "/v2/" {
            return Reply::new(200, "{}");
        }
        let Some((repository, kind, name)) = split(&request.path) else {
            return Reply::new(404, "404 page not found").with("content-type", "text/plain");
        };
        match (request.method.as_str(), kind) {
            ("GET" | "HEAD", "manifests") => self.manifest(repository, name),
            ("PUT", "manifests") => self.store_manifest(repository, name, request),
            ("GET", "referrers") if self.script.referrers => self.list(repository, name, request),
            ("GET", "referrers") => Reply::new(404, "404 page not found").with("content-type", "text/plain"),
            ("DELETE", "manifests") => self.delete_manifest(repository, name),
            ("GET", "tags") => self.tags(repository, request),
            ("GET" | "HEAD", "blobs") => self.blob(repository, name, request),
            ("DELETE", "uploads") => Reply::new(204, ""),
            ("POST", "uploads") if self.mounts(repository, request) => Reply::new(201, ""),
            ("POST", "uploads") => {
                let mut store = self.store();
                store.uploads += 1;
                Reply::new(202, "")
                    .with("location", &format!("/v2/{repository}/blobs/uploads/{}?state=x", store.uploads))
            }
            ("PUT", "uploads") => self.store_blob(repository, request),
            _ => Reply::error(405, "UNSUPPORTED"),
        }
    }

    fn refusal(&self, request: &Recorded) -> Option<Reply> {
        let shown = request.header("authorization").unwrap_or_default();
        let challenge = match &self.script.auth {
            Auth::None => return None,
            Auth::Basic(expected) if shown == expected => return None,
            Auth::Basic(_) => "Basic realm=\"scripted\"".to_owned(),
            Auth::Bearer(_) if shown.strip_prefix("Bearer ").is_some_and(|token| self.store().accepts(token)) => {
                return None;
            }
            Auth::Bearer(service) => {
                let own = format!("http://{}/token", self.address);
                let realm = service.realm.as_ref().unwrap_or(&own);
                let repository = split(&request.path).map_or("none", |(repository, ..)| repository);
                format!("Bearer realm=\"{realm}\",service=\"scripted\",scope=\"repository:{repository}:pull\"")
            }
        };
        Some(Reply::error(401, "UNAUTHORIZED").with("www-authenticate", &challenge))
    }

    fn token(&self, request: &Recorded) -> Reply {
        let service =
            if let Auth::Bearer(service) = &self.script.auth { service.clone() } else { TokenService::default() };
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let good = match (&service.basic, &service.identity) {
            (Some(basic), _) => request.header("authorization") == Some(basic),
            (None, Some(identity)) => request.method == "POST" && body.contains(&format!("refresh_token={identity}&")),
            (None, None) => true,
        };
        if !good {
            return Reply::error(401, "UNAUTHORIZED");
        }
        let mut store = self.store();
        store.tokens_given += 1;
        let token = format!("token-{}", store.tokens_given);
        store.tokens.insert(token.clone());
        let mut answer = json!({"token": token});
        if let Some(seconds) = service.expires_in {
            answer["expires_in"] = seconds.into();
        }
        Reply::new(200, answer.to_string()).with("content-type", "application/json")
    }

    fn manifest(&self, repository: &str, name: &str) -> Reply {
        let Some((digest, media_type, bytes)) = self.store().manifest(repository, name) else {
            return self.missing(repository, "MANIFEST_UNKNOWN");
        };
        Reply::new(200, bytes).with("content-type", &media_type).with("docker-content-digest", &digest)
    }

    fn missing(&self, repository: &str, code: &str) -> Reply {
        Reply::error(404, if self.store().knows(repository) { code } else { "NAME_UNKNOWN" })
    }

    fn store_manifest(&self, repository: &str, name: &str, request: &Recorded) -> Reply {
        let media_type = request.header("content-type").unwrap_or_default();
        let mut store = self.store();
        let is_tag = !name.contains(':');
        if is_tag && store.lost_tag_writes > 0 {
            store.lost_tag_writes -= 1;
            return Reply::new(201, "");
        }
        let digest = store.put_manifest(repository, is_tag.then_some(name), media_type, request.body.clone());
        let reply = Reply::new(201, "").with("docker-content-digest", digest.as_str());
        match subject_of(&request.body).filter(|_| self.script.referrers && self.script.names_subject) {
            Some(subject) => reply.with("oci-subject", &subject),
            None => reply,
        }
    }

    fn list(&self, repository: &str, subject: &str, request: &Recorded) -> Reply {
        let store = self.store();
        if !store.knows(repository) {
            return Reply::error(404, "NAME_UNKNOWN");
        }
        let wanted = parameter(&request.query, "artifactType").filter(|_| self.script.filters);
        let is_wanted = |entry: &&Value| {
            wanted.as_deref().is_none_or(|wanted| entry.get("artifactType").and_then(Value::as_str) == Some(wanted))
        };
        let at = (repository.to_owned(), subject.to_owned());
        let entries: Vec<_> = store.referrers.get(&at).into_iter().flatten().filter(is_wanted).cloned().collect();
        let start = parameter(&request.query, "from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let end = entries.len().min(self.script.page_size.saturating_add(start));
        let page = json!({
            "schemaVersion": 2,
            "mediaType": media_type::IMAGE_INDEX,
            "manifests": entries.get(start..end).unwrap_or_default(),
        });
        let mut reply = Reply::new(200, page.to_string()).with("content-type", media_type::IMAGE_INDEX);
        if wanted.is_some() {
            reply = reply.with("oci-filters-applied", "artifactType");
        }
        if end < entries.len() {
            let host = if self.script.absolute_links { format!("http://{}", self.address) } else { String::new() };
            let kept = request.query.split('&').filter(|pair| !pair.starts_with("from=")).collect::<Vec<_>>().join("&");
            let link = format!("<{host}/v2/{repository}/referrers/{subject}?{kept}&from={end}>; rel=\"next\"");
            reply = reply.with("link", &link);
        }
        reply
    }

    fn delete_manifest(&self, repository: &str, name: &str) -> Reply {
        if !self.script.deletes {
            return Reply::error(405, "UNSUPPORTED");
        }
        if self.store().delete_manifest(repository, name) {
            Reply::new(202, "")
        } else {
            self.missing(repository, "MANIFEST_UNKNOWN")
        }
    }

    fn tags(&self, repository: &str, request: &Recorded) -> Reply {
        let tags = self.store().tags_of(repository);
        if tags.is_empty() && !self.store().knows(repository) {
            return Reply::error(404, "NAME_UNKNOWN");
        }
        let start = parameter(&request.query, "from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let end = tags.len().min(self.script.page_size.saturating_add(start));
        let page = json!({"name": repository, "tags": tags.get(start..end).unwrap_or_default()});
        let reply = Reply::new(200, page.to_string()).with("content-type", "application/json");
        if end < tags.len() {
            return reply.with("link", &format!("</v2/{repository}/tags/list?from={end}>; rel=\"next\""));
        }
        reply
    }

    /// Takes the blob over from another repository, where that is asked for and done here.
    fn mounts(&self, repository: &str, request: &Recorded) -> bool {
        let wanted = parameter(&request.query, "mount").zip(parameter(&request.query, "from"));
        let Some((digest, from)) = wanted.filter(|_| self.script.mounts) else { return false };
        let mut store = self.store();
        let Some(bytes) = store.blobs.get(&(from, digest.clone())).cloned() else { return false };
        store.blobs.insert((repository.to_owned(), digest), bytes);
        true
    }

    fn blob(&self, repository: &str, digest: &str, request: &Recorded) -> Reply {
        let found = self.store().blobs.get(&(repository.to_owned(), digest.to_owned())).cloned();
        let first: Option<usize> =
            request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match (found, first) {
            (Some(bytes), Some(first)) => Reply::new(206, bytes.slice(first..)),
            (found, _) => self.whole_blob(repository, found),
        }
    }

    fn whole_blob(&self, repository: &str, found: Option<bytes::Bytes>) -> Reply {
        match found {
            Some(bytes) => Reply::new(200, bytes).with("content-type", "application/octet-stream"),
            None => self.missing(repository, "BLOB_UNKNOWN"),
        }
    }

    fn store_blob(&self, repository: &str, request: &Recorded) -> Reply {
        let digest = parameter(&request.query, "digest").unwrap_or_default();
        let is_same_upload = parameter(&request.query, "state").as_deref() == Some("x");
        if digest != Digest::sha256(&request.body).as_str() || !is_same_upload {
            return Reply::error(400, "DIGEST_INVALID");
        }
        self.store().blobs.insert((repository.to_owned(), digest), request.body.clone());
        Reply::new(201, "")
    }
}

/// Repository, kind and name in a path under `/v2/`.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let rest = path.strip_prefix("/v2/")?;
    [
        ("/blobs/uploads/", "uploads"),
        ("/manifests/", "manifests"),
        ("/blobs/", "blobs"),
        ("/referrers/", "referrers"),
        ("/tags/", "tags"),
    ]
    .iter()
    .find_map(|(separator, kind)| rest.split_once(separator).map(|(repository, name)| (repository, *kind, name)))
}

/// A parameter of a query, decoded as far as the names in use need it.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.replace("%2F", "/").replace("%3A", ":"))
}
