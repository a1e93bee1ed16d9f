//! What is counted, in the `OpenMetrics` text format, for whoever scrapes it over HTTP.
//!
//! Off unless an address is configured. It says how many questions had which answer and how long they took, and nothing
//! about which images.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::StartError;
use super::desk::Desk;
use super::inquiries::Inquiries;
use super::reload::Reloads;
use super::server::until;
use crate::proto::Decision;
use crate::verify::Answer;

/// The format's name (`OpenMetrics` 1.0, "Protocol Negotiation").
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What anything else is answered in.
const PLAIN: &str = "text/plain";
/// How many connections are served at once. A scraper has one.
const CONNECTIONS: usize = 8;
/// How long one may take, from its first byte to the last of its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long accepting rests after it failed.
const REST: Duration = Duration::from_millis(50);
/// The longest request, in bytes. A scraper's has some 300.
const MAX_REQUEST: u64 = 8 * 1024;
/// The bounds of the times that are counted, in seconds: from an answer that was known to one that was given up.
const TIMES: [f64; 11] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 3.0, 10.0];

/// Counts decisions.
pub(super) struct Metrics {
    decisions: Family<Kind, Counter>,
    seconds: Family<Place, Histogram>,
}

/// A kind of decision. There are as many as there are codes, which are fixed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    stage: &'static str,
    answer: &'static str,
    code: String,
    proceed: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    stage: &'static str,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(TIMES)) as fn() -> Histogram);
        Self { decisions: Family::default(), seconds }
    }

    /// Counts a decision.
    pub(super) fn observe(&self, stage: &'static str, answer: Answer, decision: &Decision) {
        let proceed = if decision.proceed { "true" } else { "false" };
        let kind = Kind { stage, answer: answer.as_str(), code: decision.code.clone(), proceed };
        self.decisions.get_or_create(&kind).inc();
        let took = Duration::from_micros(decision.duration_us).as_secs_f64();
        self.seconds.get_or_create(&Place { stage }).observe(took);
    }
}

/// What is served, and where from.
pub(super) struct Exposed {
    registry: Registry,
    desk: Arc<Desk>,
    reloads: Arc<Reloads>,
    cached: Gauge,
    reload_failed: Gauge,
}

impl Exposed {
    pub(super) fn new(desk: Arc<Desk>, reloads: Arc<Reloads>, inquiries: &Inquiries) -> Self {
        let (mut registry, cached, reload_failed) =
            (Registry::with_prefix("pratique"), Gauge::default(), Gauge::default());
        let Metrics { decisions, seconds } = desk.metrics();
        registry.register(
            "decisions",
            "Questions by their answer; findings at the stage `reconcile`",
            decisions.clone(),
        );
        registry.register("decision_seconds", "The time from question to answer", seconds.clone());
        inquiries.register(&mut registry);
        registry.register("cached_verdicts", "Verdicts that are kept", cached.clone());
        registry.register("policy_reload_failed", "1 while the policy on disk is not in force", reload_failed.clone());
        Self { registry, desk, reloads, cached, reload_failed }
    }

    /// Everything, as text.
    fn text(&self) -> Result<String, std::fmt::Error> {
        self.cached.set(i64::try_from(self.desk.judge().cached_verdicts()).unwrap_or(i64::MAX));
        self.reload_failed.set(i64::from(!self.reloads.error().is_empty()));
        let mut body = String::new();
        text::encode(&mut body, &self.registry)?;
        Ok(body)
    }
}

/// Listens at this address.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Metrics { address, source })
}

/// Serves until `draining` turns true. Whoever finds all places taken waits in the queue and takes nothing: the daemon's
/// other sockets must not run out of descriptors because somebody holds connections here.
pub(super) async fn serve(listener: TcpListener, exposed: Exposed, draining: watch::Receiver<bool>) {
    let (exposed, places) = (Arc::new(exposed), Arc::new(Semaphore::new(CONNECTIONS)));
    let serving = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(REST).await;
                continue;
            };
            let exposed = Arc::clone(&exposed);
            tokio::spawn(async move {
                let _place = place;
                // Nobody is told: whoever was too slow has nothing to hear it with.
                let _ = timeout(PATIENCE, answer(stream, &exposed)).await;
            });
        }
    };
    tokio::select! {
        () = serving => {}
        () = until(draining) => {}
    }
}

/// One request and one answer. What is asked for is not looked at beyond its first line (RFC 9112).
async fn answer(stream: TcpStream, exposed: &Exposed) -> io::Result<()> {
    let mut reader = BufReader::new(stream).take(MAX_REQUEST);
    let mut first = String::new();
    reader.read_line(&mut first).await?;
    let mut line = String::new();
    while reader.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let response = if first.starts_with("GET /metrics ") {
        match exposed.text() {
            Ok(body) => response("200 OK", FORMAT, &body),
            Err(_) => response("500 Internal Server Error", PLAIN, ""),
        }
    } else {
        response("404 Not Found", PLAIN, "")
    };
    let mut stream = reader.into_inner().into_inner();
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

fn response(status: &str, format: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {format}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
