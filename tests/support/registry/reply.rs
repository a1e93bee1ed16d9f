//! The answers of the scripted registry, and how they are spoiled.

use std::io;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

/// What a registry does instead of its duty.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An empty answer with this status.
    Status(u16),
    /// An answer with this status, these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// No answer, ever.
    Hang,
    /// The head and one byte of the body, and no more.
    Drip,
    /// A body that is shorter than announced; then the connection ends.
    Truncate,
    /// The connection ends without an answer, and nothing was done.
    Reset,
    /// What was asked is done, and then the connection ends without an answer.
    LostAnswer,
    /// The right number of bytes, but others.
    OtherBytes,
    /// More bytes than there should be, announced.
    Oversize,
    /// More bytes than there should be, without saying how many.
    OversizeUnannounced,
    /// Status 307 to this URL.
    Redirect(String),
    /// The answer without this header.
    Without(&'static str),
    /// The answer with this header instead.
    With(&'static str, String),
}

/// An answer before it is sent.
pub(super) struct Reply {
    pub status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// How the body is sent, if not whole and with its length.
    manner: Manner,
}

#[derive(PartialEq)]
enum Manner {
    Whole,
    Chunked,
    Truncated,
    Drip,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        Self { status, headers: HeaderMap::new(), body: body.into(), manner: Manner::Whole }
    }

    pub fn error(status: u16, code: &str) -> Self {
        let body = json!({"errors": [{"code": code, "message": "says the registry"}]});
        Self::new(status, body.to_string()).with("content-type", "application/json")
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn spoiled(mut self, fault: Fault) -> Self {
        match fault {
            Fault::Status(status) => return Self::new(status, ""),
            Fault::Answer(status, headers, body) => {
                let reply = Self::new(status, body);
                return headers.iter().fold(reply, |reply, (name, value)| reply.with(name, value));
            }
            Fault::Redirect(to) => return Self::new(307, "").with("location", &to),
            Fault::Hang | Fault::Reset | Fault::LostAnswer => unreachable!("handled before there is an answer"),
            Fault::Drip => self.manner = Manner::Drip,
            Fault::Truncate => self.manner = Manner::Truncated,
            Fault::OtherBytes => self.body = self.body.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into(),
            Fault::Oversize => self.body = [&self.body[..], &[b' '; 100]].concat().into(),
            Fault::OversizeUnannounced => {
                self.body = [&self.body[..], &[b' '; 100]].concat().into();
                self.manner = Manner::Chunked;
            }
            Fault::Without(name) => {
                self.headers.remove(name);
                if name == "content-length" {
                    self.manner = Manner::Chunked;
                }
            }
            Fault::With(name, value) => return self.with(name, &value),
        }
        self
    }

    pub fn into_response(self) -> Response {
        let length = self.body.len();
        let body = self.body.clone();
        let body = match self.manner {
            Manner::Whole => Body::from(body),
            Manner::Chunked => Body::from_stream(futures_util::stream::iter([io::Result::Ok(body)])),
            Manner::Truncated => {
                use futures_util::StreamExt as _;
                let part = futures_util::stream::iter([Ok(body.slice(..length / 2))]);
                let end = futures_util::stream::once(async {
                    // So that the part is sent before the end comes.
                    tokio::task::yield_now().await;
                    Err(io::Error::other("cut off"))
                });
                Body::from_stream(part.chain(end))
            }
            Manner::Drip => {
                use futures_util::StreamExt as _;
                let first = futures_util::stream::iter([io::Result::Ok(body.slice(..1))]);
                Body::from_stream(first.chain(futures_util::stream::pending()))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if self.manner != Manner::Chunked {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        response
    }
}
