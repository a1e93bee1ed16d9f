//! A registry that fails on demand, in front of one that works.
//!
//! Only questions about signatures are hit: the image itself must be found, or containerd never asks the verifier.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::tools::{runtime, wait_until};

/// A pull that has begun reaches its verifier in well below a second.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// Headers about the connection, which the proxy's own server sets for its own.
const CONNECTION_HEADERS: [HeaderName; 2] = [header::CONNECTION, header::TRANSFER_ENCODING];

/// What becomes of a question about signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// The answer of the registry that works.
    Truly,
    /// 500, as a registry whose storage is gone.
    ServerError,
    /// None, until the registry is told to answer otherwise.
    Never,
}

pub struct FaultyRegistry {
    address: SocketAddr,
    answers: watch::Sender<Answers>,
    questions: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    upstream: String,
    client: reqwest::Client,
    answers: watch::Receiver<Answers>,
    questions: Arc<AtomicUsize>,
}

impl FaultyRegistry {
    /// Stands in front of the registry at `upstream` (`HOST:PORT`).
    pub fn start(upstream: &str, answers: Answers) -> Self {
        let (sender, receiver) = watch::channel(answers);
        let questions = Arc::new(AtomicUsize::new(0));
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let shared =
            Shared { upstream: upstream.to_owned(), client, answers: receiver, questions: Arc::clone(&questions) };
        let app = Router::new().fallback(answer).with_state(shared);
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("the listener has an address");
        let server = runtime().spawn(async move { axum::serve(listener, app).await.expect("the server runs") });
        Self { address, answers: sender, questions, server }
    }

    /// `HOST:PORT`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Those that wait for an answer get this one, too.
    pub fn now_answers(&self, answers: Answers) {
        self.answers.send_replace(answers);
    }

    /// Waits until somebody has asked about signatures.
    pub fn wait_for_question(&self) {
        wait_until("the registry is asked about signatures", QUESTION_LIMIT, || {
            (self.questions.load(Ordering::SeqCst) > 0).then_some(())
        });
    }
}

impl Drop for FaultyRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(mut shared): State<Shared>, request: Request) -> Response {
    if is_about_signatures(request.uri().path()) {
        shared.questions.fetch_add(1, Ordering::SeqCst);
        let answers = shared.answers.wait_for(|answers| *answers != Answers::Never).await;
        if !answers.is_ok_and(|answers| *answers == Answers::Truly) {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    }
    forward(&shared, request).await.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()).into_response())
}

/// The referrers API, and the tag that stands in for it.
fn is_about_signatures(path: &str) -> bool {
    path.contains("/referrers/") || path.contains("/manifests/sha256-")
}

/// Images are only read through here, so requests have no body.
async fn forward(shared: &Shared, request: Request) -> Result<Response, reqwest::Error> {
    let url = format!("http://{}{}", shared.upstream, request.uri());
    let asked = shared.client.request(request.method().clone(), url).headers(request.headers().clone());
    let answer = asked.send().await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    for name in CONNECTION_HEADERS {
        response.headers_mut().remove(name);
    }
    *response.body_mut() = Body::from(answer.bytes().await?);
    Ok(response)
}
