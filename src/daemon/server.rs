//! `pratiqued.sock`: the daemon's own API over gRPC, for people's tools.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tonic::transport::{self, Server};
use tonic::{Request, Response, Status};

use super::decisions::Decided;
use super::desk::Desk;
use super::enroll;
use super::question::excerpt;
use super::reload::Reloads;
use super::sockets::Socket;
use crate::proto::frame::MAX_MESSAGE;
use crate::proto::pratique_server::{Pratique, PratiqueServer};
use crate::proto::{
    CheckRequest, CheckResponse, Decision, EnrollEvent, EnrollRequest, ExplainRequest, ExplainResponse, StatusRequest,
    StatusResponse, WatchDecisionsRequest,
};

/// How many calls of one connection are served at once.
const CALLS: usize = 64;

/// What the API answers from.
pub(super) struct Service {
    pub(super) desk: Arc<Desk>,
    pub(super) reloads: Arc<Reloads>,
    pub(super) started: Timestamp,
    pub(super) draining: watch::Receiver<bool>,
}

/// Serves until `draining` turns true, and then until the calls that were made are answered.
pub(super) async fn serve(socket: Socket, service: Service) -> Result<(), transport::Error> {
    let draining = service.draining.clone();
    let incoming = stream::unfold(socket, |socket| async {
        let stream = socket.accept().await;
        Some((Ok::<_, std::io::Error>(stream), socket))
    });
    Server::builder()
        .concurrency_limit_per_connection(CALLS)
        .add_service(PratiqueServer::new(service).max_decoding_message_size(MAX_MESSAGE))
        .serve_with_incoming_shutdown(incoming, until(draining))
        .await
}

/// Until the daemon is asked to end, or has ended.
pub(super) async fn until(mut draining: watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

#[tonic::async_trait]
impl Pratique for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.desk.check(request.into_inner()).await))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let image = request.into_inner().image;
        let decided = self.desk.decisions().latest(&image).ok_or_else(|| {
            let image = excerpt(&image);
            Status::not_found(format!("nothing was decided about `{image}` since the daemon was started"))
        })?;
        let verdict = decided.verdict.as_deref().map(serde_json::to_string).transpose();
        let verdict = verdict.map_err(|error| Status::internal(format!("the verdict cannot be written: {error}")))?;
        Ok(Response::new(ExplainResponse {
            verdict_json: verdict.unwrap_or_default(),
            decision: Some(decided.decision.clone()),
        }))
    }

    type WatchDecisionsStream = Pin<Box<dyn Stream<Item = Result<Decision, Status>> + Send>>;

    async fn watch_decisions(
        &self,
        request: Request<WatchDecisionsRequest>,
    ) -> Result<Response<Self::WatchDecisionsStream>, Status> {
        let backlog = usize::try_from(request.into_inner().backlog).unwrap_or(usize::MAX);
        let (before, feed) = self.desk.decisions().watch(backlog);
        let before = stream::iter(before.into_iter().map(|decided| Ok(decided.decision.clone())));
        let watched = before.chain(stream::unfold(Some(feed), next_decision));
        Ok(Response::new(watched.take_until(Box::pin(until(self.draining.clone()))).boxed()))
    }

    type EnrollStream = Pin<Box<dyn Stream<Item = Result<EnrollEvent, Status>> + Send>>;

    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<Self::EnrollStream>, Status> {
        let events = enroll::events(Arc::clone(&self.desk), request.into_inner(), until(self.draining.clone()));
        Ok(Response::new(events.map(Ok).boxed()))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let (trust, counts) = (self.desk.judge().trust(), self.desk.decisions().counts());
        Ok(Response::new(StatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            started: self.started.to_string(),
            policy_digest: trust.digest().to_string(),
            policy_origin: trust.origin().to_owned(),
            mode: self.desk.mode().as_str().into(),
            reload_error: self.reloads.error(),
            admitted: counts.admitted,
            denied: counts.denied,
            inconclusive: counts.inconclusive,
            cached_verdicts: self.desk.judge().cached_verdicts(),
        }))
    }
}

/// The next decision of the feed. A watcher that fell too far behind is told so and cut off: it must not believe that it
/// has seen everything.
async fn next_decision(
    feed: Option<Receiver<Arc<Decided>>>,
) -> Option<(Result<Decision, Status>, Option<Receiver<Arc<Decided>>>)> {
    let mut feed = feed?;
    match feed.recv().await {
        Ok(decided) => Some((Ok(decided.decision.clone()), Some(feed))),
        Err(RecvError::Lagged(missed)) => {
            Some((Err(Status::data_loss(format!("{missed} decisions were made faster than they were taken"))), None))
        }
        Err(RecvError::Closed) => None,
    }
}
