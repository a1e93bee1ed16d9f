//! Asks a time-stamp authority for a stamp, over HTTP (RFC 3161, section 3.4).
//!
//! What comes back is believed as little as what lies in a registry: [`TimestampRequest::accept`] has the last word, and
//! without it nothing gets into an envelope. Plain http is as good as https here, since the answer carries its own signature,
//! and most public authorities have nothing else.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::rand;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};

use crate::oci::DigestAlgorithm;
use crate::pki::{Certificate, MAX_RESPONSE_SIZE, RefusedTimestamp, Stamp, TimestampRequest, TimestampToken};
use crate::remedy::{Code, Remedy, excerpt};

/// How long an authority may take, from the first packet to the last byte. What the reference implementation grants.
pub const AUTHORITY_TIMEOUT: Duration = Duration::from_secs(15);

const QUERY: &str = "application/timestamp-query";
const REPLY: &str = "application/timestamp-reply";

/// A time-stamp authority that can be asked.
#[derive(Debug)]
pub struct TimestampAuthority {
    url: Url,
    client: Client,
    timeout: Duration,
}

/// Why there is no time-stamp.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StampingError {
    /// The URL is none that can be asked.
    #[error("`{0}` is not the http or https URL of a time-stamp authority")]
    Url(String),
    /// No client can be made.
    #[error("this machine's CA certificates cannot be used: {0}")]
    Client(String),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// No answer came.
    #[error("the time-stamp authority {url} cannot be reached: {reason}")]
    Unreachable {
        /// The authority.
        url: String,
        /// The deepest cause.
        reason: String,
    },
    /// No whole answer came in time.
    #[error("the time-stamp authority {url} gave no answer within {} s", limit.as_secs())]
    Timeout {
        /// The authority.
        url: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It answers with something else than a time-stamp.
    #[error("the time-stamp authority {url} answers {answer}")]
    Answer {
        /// The authority.
        url: String,
        /// The status, or the type of the answer.
        answer: String,
    },
    /// It answers with too much.
    #[error("the answer of the time-stamp authority {url} has more than {MAX_RESPONSE_SIZE} bytes")]
    TooLarge {
        /// The authority.
        url: String,
    },
    /// Its answer does not hold.
    #[error("the time-stamp of {url} cannot be used")]
    Refused {
        /// The authority.
        url: String,
        /// Why not.
        source: RefusedTimestamp,
    },
}

impl Remedy for StampingError {
    fn code(&self) -> Code {
        match self {
            Self::Url(_) => Code("timestamp-url-invalid"),
            Self::Client(_) => Code("timestamp-client-failed"),
            Self::Random => Code("no-random-numbers"),
            Self::Unreachable { .. } => Code("timestamp-authority-unreachable"),
            Self::Timeout { .. } => Code("timestamp-authority-timeout"),
            Self::Answer { .. } => Code("timestamp-authority-answer"),
            Self::TooLarge { .. } => Code("timestamp-too-large"),
            Self::Refused { source, .. } => source.code(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Url(_) | Self::Answer { .. } => {
                Some("write the URL that the authority gives for RFC 3161, such as `http://tsa.example/tsr`".into())
            }
            Self::Unreachable { .. } | Self::Timeout { .. } => {
                Some("see whether the authority answers from this machine, then try again".into())
            }
            Self::Refused { source, .. } => source.remedy(),
            Self::Client(_) | Self::Random | Self::TooLarge { .. } => None,
        }
    }
}

impl TimestampAuthority {
    /// The authority at this URL. Asks nobody yet.
    pub fn new(url: &str) -> Result<Self, StampingError> {
        let invalid = || StampingError::Url(excerpt(url));
        let url = Url::parse(url).map_err(|_| invalid())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(invalid());
        }
        let client = client(&url).map_err(|error| StampingError::Client(cause(&error)))?;
        Ok(Self { url, client, timeout: AUTHORITY_TIMEOUT })
    }

    /// The same authority, which may take this long.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// A stamp over the message by way of this hash, by an authority below one of the anchors.
    pub async fn stamp(
        &self,
        message: &[u8],
        hash: DigestAlgorithm,
        anchors: &[Certificate],
    ) -> Result<(TimestampToken, Stamp), StampingError> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).map_err(|_| StampingError::Random)?;
        let request = TimestampRequest::new(message, hash, nonce);
        let asking = self.ask(request.to_der());
        let answer = tokio::time::timeout(self.timeout, asking).await.map_err(|_| self.timed_out())??;
        let accepted = request.accept(&answer, message, anchors);
        accepted.map_err(|source| StampingError::Refused { url: self.name(), source })
    }

    async fn ask(&self, query: Vec<u8>) -> Result<Vec<u8>, StampingError> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, QUERY).header(ACCEPT, REPLY).body(query);
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.check(&response)?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if answer.len() + chunk.len() > MAX_RESPONSE_SIZE {
                return Err(StampingError::TooLarge { url: self.name() });
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    /// Status 200 with the one type of an answer. A redirect is not followed: whoever signs names the authority.
    fn check(&self, response: &Response) -> Result<(), StampingError> {
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let bare = kind.split(';').next().unwrap_or_default().trim();
        let answer = match status {
            StatusCode::OK if bare.eq_ignore_ascii_case(REPLY) => return Ok(()),
            StatusCode::OK => format!("with the type `{}`", excerpt(kind)),
            status => format!("with status {}", status.as_u16()),
        };
        Err(StampingError::Answer { url: self.name(), answer })
    }

    fn unreachable(&self, error: &reqwest::Error) -> StampingError {
        StampingError::Unreachable { url: self.name(), reason: cause(error) }
    }

    fn timed_out(&self) -> StampingError {
        StampingError::Timeout { url: self.name(), limit: self.timeout }
    }

    /// The URL for people, without what may be a secret in it.
    fn name(&self) -> String {
        let mut url = self.url.clone();
        // Neither fails on a URL with a host.
        let _ = (url.set_username(""), url.set_password(None));
        url.set_query(None);
        excerpt(url.as_str())
    }
}

/// Reading the machine's CA certificates takes longer than all the rest, so plain http does without. No proxy could reach
/// this machine.
fn client(url: &Url) -> reqwest::Result<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("pratique/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false);
    if url.scheme() == "http" {
        builder = builder.tls_certs_only([]);
    }
    let host = url.host_str().unwrap_or_default();
    let is_loopback =
        host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if is_loopback { builder.no_proxy() } else { builder }.build()
}

/// What lies at the bottom of an error: the sentence that says most. The layers above it repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    excerpt(&deepest.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_authority_that_never_answers_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tsr", listener.local_addr().unwrap());
        let authority = TimestampAuthority::new(&url).unwrap().within(Duration::from_millis(50));
        let error = authority.stamp(b"signature", DigestAlgorithm::Sha256, &[]).await.unwrap_err();
        assert_eq!(error.code(), Code("timestamp-authority-timeout"));
    }

    fn name(url: &str) -> Result<String, Code> {
        TimestampAuthority::new(url).map(|authority| authority.name()).map_err(|error| error.code())
    }

    #[test]
    fn an_authority_has_an_http_url_and_its_secrets_are_not_repeated() {
        assert_eq!(name("http://tsa.example/tsr"), Ok("http://tsa.example/tsr".to_owned()));
        assert_eq!(name("http://ann:secret@tsa.example/tsr?key=secret"), Ok("http://tsa.example/tsr".to_owned()));
        for url in ["", "tsa.example", "ftp://tsa.example", "file:///tsr", "http://"] {
            assert_eq!(name(url), Err(Code("timestamp-url-invalid")), "{url}");
        }
    }
}
