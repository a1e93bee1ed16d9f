//! What a registry wants to see before it answers: nothing, a password, or a token from a token service.
//!
//! Nothing is sent before the registry asks for it. Its challenge names the token service (the realm), which thereby
//! gets the credentials for that registry, as with docker; so the realm is held to the same rules as a redirect, and a
//! registry that is spoken to by https cannot have a password sent by plain http.
//!
//! Follows RFC 6750 (bearer tokens), RFC 7617 (basic) and docker's "Token Authentication Specification".

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::answer::Answer;
use super::credentials::{Credential, Secret};
use super::transport::{Ask, Call};
use crate::oci::parse_json;
use crate::source::limits::{MAX_REMEMBERED, MAX_TOKEN_ANSWER, MAX_TOKEN_LIFE};
use crate::source::{SourceError, TargetFault};

/// How long a token is good for where its service does not say (docker's specification, `expires_in`).
const DEFAULT_TOKEN_LIFE: Duration = Duration::from_secs(60);
/// How long before its end a token is no longer used, so that it does not die on its way.
const EARLY: Duration = Duration::from_secs(5);

/// What is to be done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
    /// To read, write and delete.
    Delete,
}

/// What a registry accepted, for one repository and one kind of access.
#[derive(Clone)]
pub(super) struct Grant {
    /// The value of `Authorization`, marked as sensitive.
    pub authorization: HeaderValue,
    /// Whether it was got without credentials.
    pub anonymous: bool,
    /// When it ends, if it does.
    expires: Option<Instant>,
}

/// The grants in force. Bound to host, repository and access: a grant is never shown to another registry.
#[derive(Default)]
pub(super) struct Grants(Mutex<HashMap<Key, Grant>>);

/// The host and the registry that it is asked for, the repository, the repository to mount from, and the access.
type Key = (String, String, Option<String>, Access);

impl Grants {
    pub fn find(&self, call: &Call<'_>) -> Option<Grant> {
        let is_alive = |grant: &Grant| grant.expires.is_none_or(|expires| Instant::now() < expires);
        self.lock().get(&key(call)).filter(|grant| is_alive(grant)).cloned()
    }

    pub fn remember(&self, call: &Call<'_>, grant: Grant) {
        let mut grants = self.lock();
        if grants.len() >= MAX_REMEMBERED {
            grants.clear();
        }
        grants.insert(key(call), grant);
    }

    pub fn forget(&self, call: &Call<'_>) {
        self.lock().remove(&key(call));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Grant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(call: &Call<'_>) -> Key {
    let from = call.mounts_from.map(|from| from.path().to_owned());
    (call.host.endpoint.key(), call.repository.path().to_owned(), from, call.access)
}

/// The challenges that are understood.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    Basic,
}

/// The answer of a token service.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

impl Call<'_> {
    /// What answers the challenge of a 401; none where there is no challenge that can be answered.
    pub async fn grant(&self, refusal: &Answer) -> Result<Option<Grant>, SourceError> {
        let Some(challenge) = strongest(&refusal.headers) else { return Ok(None) };
        let credential =
            self.registry.options.credentials.find(&self.host.endpoint.name, self.repository.path()).await?;
        match (challenge, credential) {
            (Challenge::Bearer { realm, service, scope }, credential) => {
                self.token(&refusal.url, &realm, service, scope, credential).await.map(Some)
            }
            (Challenge::Basic, Some(Credential::Password { username, password })) => {
                let authorization = self.header("Basic", &basic(&username, &password))?;
                Ok(Some(Grant { authorization, anonymous: false, expires: None }))
            }
            // An identity token is for a token service, and there is none.
            (Challenge::Basic, Some(Credential::Identity(_)) | None) => Ok(None),
        }
    }

    async fn token(
        &self,
        registry: &Url,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        credential: Option<Credential>,
    ) -> Result<Grant, SourceError> {
        let realm = Url::parse(realm).map_err(|_| self.malformed("the realm of its challenge is no URL"))?;
        let refuse = |fault: TargetFault| self.host.endpoint.refuse(&realm, fault);
        let route = self.host.endpoint.route_to(registry, &realm, &self.registry.options.insecure).map_err(refuse)?;
        let anonymous = credential.is_none();
        let (ask, authorization) =
            self.token_request(realm.clone(), service.as_deref(), &self.scope(scope), credential)?;
        let response = self.once(&ask, &ask.url, route, authorization.as_ref()).await?;
        let answer = self.read(response, ask.limit).await?;
        match answer.status {
            StatusCode::OK => self.read_token(answer, anonymous),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(SourceError::Unauthorized {
                    host: self.host.endpoint.name.clone(),
                    anonymous,
                    words: answer.words(),
                })
            }
            _ => Err(answer.unexpected("a token")),
        }
    }

    /// A password goes into a GET, an identity token into a POST (docker's specification, "Token", "OAuth").
    fn token_request(
        &self,
        realm: Url,
        service: Option<&str>,
        scope: &str,
        credential: Option<Credential>,
    ) -> Result<(Ask, Option<HeaderValue>), SourceError> {
        // To mount from another repository takes leave to read there.
        let from = self.mounts_from.map(|from| format!("repository:{}:pull", from.path()));
        let scopes = [scope].into_iter().chain(from.as_deref()).map(|scope| ("scope", scope));
        let fields = service.map(|service| ("service", service)).into_iter().chain(scopes);
        if let Some(Credential::Identity(token)) = &credential {
            let own = [("grant_type", "refresh_token"), ("client_id", "pratique"), ("refresh_token", token.expose())];
            // The URL type is the form encoder at hand.
            let mut form = realm.clone();
            form.query_pairs_mut().clear().extend_pairs(own).extend_pairs(fields);
            let body = form.query().unwrap_or_default().as_bytes().to_vec();
            let ask = Ask::new(Method::POST, realm, MAX_TOKEN_ANSWER);
            return Ok((ask.with_body("application/x-www-form-urlencoded", body), None));
        }
        let mut url = realm;
        url.query_pairs_mut().extend_pairs(fields);
        let authorization = match credential {
            Some(Credential::Password { username, password }) => {
                url.query_pairs_mut().append_pair("account", &username);
                Some(self.header("Basic", &basic(&username, &password))?)
            }
            _ => None,
        };
        Ok((Ask::new(Method::GET, url, MAX_TOKEN_ANSWER), authorization))
    }

    fn read_token(&self, answer: Answer, anonymous: bool) -> Result<Grant, SourceError> {
        let host = super::endpoint::host_and_port(&answer.url);
        let body = answer.whole("the token", &host, MAX_TOKEN_ANSWER)?;
        let bad = || self.malformed("its token service gives no token");
        let answer: TokenAnswer = parse_json(&body).map_err(|_| bad())?;
        let is_there = |token: &String| !token.is_empty();
        let token = answer.token.filter(is_there).or(answer.access_token.filter(is_there)).ok_or_else(bad)?;
        let life = answer.expires_in.and_then(|life| Duration::try_from_secs_f64(life).ok());
        let life = life.unwrap_or(DEFAULT_TOKEN_LIFE).min(MAX_TOKEN_LIFE).saturating_sub(EARLY);
        let authorization = self.header("Bearer", &Secret::new(token))?;
        Ok(Grant { authorization, anonymous, expires: Some(Instant::now() + life) })
    }

    /// The scope asked for in the challenge; but where it is about this repository, the access that will be needed, so
    /// that looking before writing does not take two tokens.
    fn scope(&self, challenged: Option<String>) -> String {
        let path = self.repository.path();
        let own = match self.access {
            Access::Pull => format!("repository:{path}:pull"),
            Access::Push => format!("repository:{path}:pull,push"),
            Access::Delete => format!("repository:{path}:pull,push,delete"),
        };
        match challenged {
            Some(scope) if self.access == Access::Pull || !scope.starts_with(&format!("repository:{path}:")) => scope,
            _ => own,
        }
    }

    fn header(&self, scheme: &str, secret: &Secret) -> Result<HeaderValue, SourceError> {
        let mut value = HeaderValue::try_from(format!("{scheme} {}", secret.expose()))
            .map_err(|_| self.malformed("its token cannot stand in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The error for an answer of bad form.
    pub fn malformed(&self, fault: &str) -> SourceError {
        SourceError::Malformed { host: self.host.endpoint.name.clone(), fault: fault.to_owned() }
    }
}

fn basic(username: &str, password: &Secret) -> Secret {
    Secret::new(STANDARD.encode(format!("{username}:{}", password.expose())))
}

/// The strongest of the challenges that are understood: a token is worth less to a thief than a password.
fn strongest(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let understood: Vec<_> = values
        .flat_map(|value| ChallengeParser::new(value).map_while(Result::ok).filter_map(|challenge| read(&challenge)))
        .collect();
    let is_bearer = |challenge: &Challenge| matches!(challenge, Challenge::Bearer { .. });
    let bearer = understood.iter().position(is_bearer).unwrap_or_default();
    understood.into_iter().nth(bearer)
}

fn read(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    let parameter = |name: &str| {
        let (_, value) = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.to_unescaped()).filter(|value| !value.is_empty())
    };
    let is_bearer = challenge.scheme.eq_ignore_ascii_case("bearer");
    let realm = parameter("realm").filter(|_| is_bearer)?;
    Some(Challenge::Bearer { realm, service: parameter("service"), scope: parameter("scope") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        strongest(&values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap())).collect())
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let bearer =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
            scope: Some("repository:a:pull".into()),
        };
        assert_eq!(challenge(&[bearer]), Some(expected));
        assert!(matches!(challenge(&["Basic realm=\"x\"", bearer]), Some(Challenge::Bearer { .. })));
        assert_eq!(challenge(&["BASIC realm=\"x\""]), Some(Challenge::Basic));
    }

    #[test]
    fn a_challenge_that_is_not_understood_is_none() {
        assert_eq!(challenge(&[]), None);
        assert_eq!(challenge(&["Negotiate abc="]), None);
        assert_eq!(challenge(&["Bearer service=\"without a realm\""]), None);
        assert_eq!(challenge(&["Bearer realm=\"unfinished"]), None);
    }
}
