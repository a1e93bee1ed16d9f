//! What a registry answered, and which of its answers are none.
//!
//! "There is none" is status 404 and nothing else. An overloaded registry, a broken connection, a refusal and a page
//! from a captive portal all leave the question open, and become errors of their own.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::endpoint::host_and_port;
use crate::oci::{BlobMismatch, Descriptor, parse_json};
use crate::remedy;
use crate::source::limits::{MAX_REGISTRY_WORDS, MAX_TRIES};
use crate::source::{NetworkFault, RegistryWords, SourceError};

/// One answer, with as much of its body as was wanted.
pub(super) struct Answer {
    /// Where it came from, after redirects.
    pub url: Url,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body, cut where it was longer than wanted.
    pub body: Vec<u8>,
    /// The length that was announced or seen, where it is more than was wanted.
    pub excess: Option<u64>,
    /// The answer whose body is still to be read, where that was asked for.
    pub open: Option<Response>,
}

/// The body of an error (distribution specification, "Error Codes").
#[derive(Deserialize)]
struct ErrorDocument {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Answer {
    /// A good answer whose body is still to be read.
    pub fn unread(response: Response) -> Self {
        let (url, status, headers) = (response.url().clone(), response.status(), response.headers().clone());
        Self { url, status, headers, body: Vec::new(), excess: None, open: Some(response) }
    }

    /// The value of a header, where it is text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The media type of the body, without parameters.
    pub fn media_type(&self) -> Option<&str> {
        self.header(&header::CONTENT_TYPE).map(|value| value.split(';').next().unwrap_or_default().trim())
    }

    /// The body, if it is whole.
    pub fn whole(self, what: &str, place: &str, limit: u64) -> Result<Vec<u8>, SourceError> {
        match self.excess {
            Some(size) => Err(SourceError::TooLarge { what: what.to_owned(), place: place.to_owned(), size, limit }),
            None => Ok(self.body),
        }
    }

    /// The body, if it can be what the descriptor says. Whoever gets it still has to hash it.
    pub fn of_size(self, descriptor: &Descriptor) -> Result<Vec<u8>, BlobMismatch> {
        let mismatch = |got| BlobMismatch::Size { digest: descriptor.digest.clone(), expected: descriptor.size, got };
        self.excess.map_or(Ok(self.body), |got| Err(mismatch(got)))
    }

    /// Whether the registry says that it has no such repository, rather than no such content in it.
    pub fn is_unknown_repository(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.error().is_some_and(|entry| entry.code == "NAME_UNKNOWN")
    }

    /// The error for a 404.
    pub fn not_found(what: &str, place: &str) -> SourceError {
        SourceError::NotFound { what: what.to_owned(), place: place.to_owned() }
    }

    /// The error for a status that has no meaning at this place.
    pub fn unexpected(&self, what: &str) -> SourceError {
        let (host, what) = (host_and_port(&self.url), what.to_owned());
        SourceError::UnexpectedStatus { host, status: self.status.as_u16(), what, words: self.words() }
    }

    /// The registry's own account of an error.
    pub fn words(&self) -> RegistryWords {
        let words = self.error().map(|entry| match entry.message {
            Some(message) if !message.is_empty() => format!("{}: {message}", entry.code),
            _ => entry.code,
        });
        RegistryWords(cut(&words.unwrap_or_default()))
    }

    fn error(&self) -> Option<ErrorEntry> {
        parse_json::<ErrorDocument>(&self.body).ok()?.errors.into_iter().next()
    }

    /// The error for a status that says that the registry cannot answer now.
    pub fn overload(&self, host: &str) -> Option<SourceError> {
        if self.status.is_success() {
            return None; // its body may be large, and holds no error
        }
        let (host, words, retry_after) = (host.to_owned(), self.words(), retry_after(&self.headers));
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Some(SourceError::TooManyRequests { host, retry_after, words }),
            status if status.is_server_error() => {
                Some(SourceError::Server { host, status: status.as_u16(), retry_after, words })
            }
            _ => None,
        }
    }
}

/// A stranger's text, printable and short.
pub(super) fn cut(text: &str) -> String {
    remedy::cut(text, MAX_REGISTRY_WORDS)
}

/// How long the registry wants to be left alone: a number of seconds or a date (RFC 9110, section 10.2.3). A date is
/// taken relative to the answer's own date, so that the clocks need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let wish = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = wish.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wait = date(wish)?.duration_since(date(text(header::DATE)?)?);
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// How long to pause before the next try, where another try may help.
pub(super) fn pause(error: &SourceError, tried: u32, first: Duration) -> Option<Duration> {
    let growing = first * 2_u32.saturating_pow(tried.saturating_sub(1));
    let wish = error.may_pass()?;
    (tried < MAX_TRIES).then_some(wish.unwrap_or(growing))
}

/// The error for a request that got no answer.
pub(super) fn network_error(host: &str, error: &reqwest::Error, limit: Duration) -> SourceError {
    let (host, source) = (host.to_owned(), fault_of(error));
    match kind_of(error) {
        _ if error.is_timeout() => SourceError::Timeout { host, limit },
        // What rustls complains about arrives as invalid data.
        Some(io::ErrorKind::InvalidData) if error.is_connect() => SourceError::Tls { host, source },
        kind => {
            let cut_off = matches!(kind, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted));
            SourceError::Unreachable { host, broken: cut_off || !error.is_connect(), source }
        }
    }
}

/// What lies at the bottom of an error: the sentence that says most. The layers above it repeat the address.
pub(super) fn fault_of(error: &reqwest::Error) -> NetworkFault {
    // Without a cause the error is reqwest's own, and about no address.
    causes(error).last().map_or_else(
        || NetworkFault("the request cannot be made".into()),
        |deepest| NetworkFault(cut(&deepest.to_string())),
    )
}

fn kind_of(error: &reqwest::Error) -> Option<io::ErrorKind> {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last().map(io::Error::kind)
}

/// The causes of an error, from the top. An I/O error hides the error that it was made from, so that is asked for.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| {
        let cause: &(dyn Error + 'static) = *cause;
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::{Code, Remedy};

    fn answer(status: u16, headers: &[(HeaderName, &str)], body: &str) -> Answer {
        Answer {
            url: Url::parse("https://registry.example/v2/").unwrap(),
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect(),
            body: body.as_bytes().to_vec(),
            excess: None,
            open: None,
        }
    }

    #[test]
    fn the_wish_to_be_left_alone_is_seconds_or_a_date() {
        let wish = |value| answer(429, &[(header::RETRY_AFTER, value)], "").headers;
        assert_eq!(retry_after(&wish("7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&wish("soon")), None);
        let mut dated = wish("Wed, 21 Oct 2026 07:28:30 GMT");
        assert_eq!(retry_after(&dated), None);
        dated.insert(header::DATE, "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&dated), Some(Duration::from_secs(30)));
        dated.insert(header::DATE, "Wed, 21 Oct 2026 07:29:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&dated), Some(Duration::ZERO));
    }

    #[test]
    fn pauses_grow_and_the_tries_are_counted() {
        let error = answer(503, &[], "").overload("registry.example").unwrap();
        let first = Duration::from_millis(100);
        let pauses: Vec<_> = (1..=3).map(|tried| pause(&error, tried, first)).collect();
        assert_eq!(pauses, [Some(first), Some(first * 2), None]);
        let wish = answer(503, &[(header::RETRY_AFTER, "9")], "").overload("registry.example").unwrap();
        assert_eq!(pause(&wish, 1, first), Some(Duration::from_secs(9)));
        assert_eq!(pause(&Answer::not_found("it", "there"), 1, first), None);
    }

    #[test]
    fn a_registrys_words_are_short_and_printable() {
        let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"no\u001b[31m{}"}}]}}"#, "x".repeat(1000));
        let words = answer(403, &[], &body).words().0;
        assert!(words.starts_with("DENIED: no [31mx"));
        assert_eq!(words.chars().count(), MAX_REGISTRY_WORDS);
        assert_eq!(answer(403, &[], "<html>").words(), RegistryWords::default());
    }

    #[test]
    fn overload_is_told_from_refusal() {
        let code = |status| answer(status, &[], "").overload("registry.example").map(|error| error.code());
        assert_eq!(code(429), Some(Code("registry-too-many-requests")));
        assert_eq!(code(500), Some(Code("registry-server-error")));
        assert_eq!(code(404), None);
        assert_eq!(code(403), None);
    }

    #[test]
    fn a_missing_repository_is_told_from_missing_content() {
        let unknown =
            |code| answer(404, &[], &format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#)).is_unknown_repository();
        assert!(unknown("NAME_UNKNOWN"));
        assert!(!unknown("MANIFEST_UNKNOWN"));
        assert!(!answer(404, &[], "404 page not found").is_unknown_repository());
    }
}
