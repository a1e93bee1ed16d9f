//! `diff.sock` and `diff-transfer.sock`: may this layer be unpacked?
//!
//! The same desk answers as for every other question, so the mode, the log and the record of decisions are the same. The
//! decision that is recorded is about the image that decided, under the name it was judged by.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{FutureExt, stream};
use tokio::sync::watch;
use tonic::transport::{self, Server};

use super::desk::{Desk, panicked};
use super::question::{Asked, excerpt};
use super::server::until;
use super::sockets::Socket;
use crate::clock;
use crate::hook::diff::{DiffService, LayerGate, LayerRequest, LayerResponse};
use crate::judge::{Answered, LayerAnswer, LayerQuestion, aside};
use crate::oci::{Descriptor, Digest};
use crate::proto::Stage;
use crate::proto::containerd::diff_server::DiffServer;
use crate::rootfs::Unpacked;
use crate::verify::{Answer, Problem, Verdict, VerdictInput};

/// The largest question, in bytes: what containerd itself takes and sends at most.
const MAX_QUESTION: usize = 16 * 1024 * 1024;

/// Serves until `draining` turns true, and then until the questions that were asked are answered. There is no bound on
/// how many are asked at once: each that is delegated waits for one that comes back, and must not keep it waiting.
pub(super) async fn serve(
    socket: Socket,
    service: DiffService<Desk>,
    draining: watch::Receiver<bool>,
) -> Result<(), transport::Error> {
    let incoming = stream::unfold(socket, |socket| async {
        let stream = socket.accept().await;
        Some((Ok::<_, std::io::Error>(stream), socket))
    });
    Server::builder()
        .add_service(DiffServer::new(service).max_decoding_message_size(MAX_QUESTION))
        .serve_with_incoming_shutdown(incoming, until(draining))
        .await
}

#[tonic::async_trait]
impl LayerGate for Desk {
    async fn may_unpack(&self, request: LayerRequest) -> LayerResponse {
        let (began, at) = (Instant::now(), clock::now());
        let (layer, image) = (request.layer, request.image);
        let question = LayerQuestion { namespace: request.namespace, layer, image };
        let answer = self.judged_layer(&question).await;
        let answered = self.written_down(&question, request.directory.as_deref(), &answer).await;
        let namespace = answer.namespace;
        let asked = Asked {
            stage: Stage::Unpack,
            containerd_namespace: excerpt(namespace.as_deref().unwrap_or_default()),
            name: excerpt(&answered.verdict.reference),
            digest: answered.verdict.artifact.digest.to_string(),
            workload: None,
        };
        let conclusion = self.weigh(answered);
        LayerResponse { check: self.record(asked, conclusion, at, began.elapsed()), namespace }
    }
}

impl Desk {
    /// The judge's verdict. A panic is caught here, as it is for every other question.
    async fn judged_layer(&self, question: &LayerQuestion) -> LayerAnswer {
        let Some(gate) = self.layers() else { return self.unjudged_layer(question, not_served()) };
        let judged = AssertUnwindSafe(gate.judge(self.judge(), question)).catch_unwind().await;
        judged.unwrap_or_else(|_| self.unjudged_layer(question, panicked()))
    }

    /// What is unpacked is in the ledger before it is unpacked: a container that is made of it could not be started
    /// otherwise. Where it cannot be written down, that takes the place of the answer.
    async fn written_down(&self, question: &LayerQuestion, directory: Option<&Path>, answer: &LayerAnswer) -> Answered {
        let answered = answer.answered.clone();
        let (Some(ledger), Some(directory)) = (self.ledger(), directory) else { return answered };
        if answered.verdict.permit(self.mode()).is_err() {
            return answered;
        }
        let diff_id = self.diff_id_of(question, answer).await;
        let vouched_by = diff_id.is_some().then(|| answered.verdict.artifact.clone());
        let unpacked = Unpacked { layer: question.layer.digest.clone(), diff_id, vouched_by };
        match aside(|| ledger.record(directory, &unpacked)) {
            Ok(true) => answered,
            Ok(false) => {
                let directory = directory.display();
                tracing::warn!(%directory, "the directory that a layer is unpacked into cannot be found here");
                answered
            }
            Err(error) => self.unjudged_layer(question, Problem::of(&error)).answered,
        }
    }

    /// What the layer is when it is unpacked, as the image says that vouches for it.
    async fn diff_id_of(&self, question: &LayerQuestion, answer: &LayerAnswer) -> Option<Digest> {
        if answer.answered.verdict.answer() != Answer::Admit {
            return None;
        }
        let (namespace, manifest) = (answer.namespace.as_deref()?, answer.manifest.as_ref()?);
        self.diff_id(namespace, manifest, &question.layer.digest).await
    }

    fn unjudged_layer(&self, question: &LayerQuestion, problem: Problem) -> LayerAnswer {
        let (trust, reference) = (self.judge().trust(), layer_for_people(&question.layer));
        let input = VerdictInput { reference: &reference, artifact: &question.layer, trust: &trust, now: clock::now() };
        let verdict = Arc::new(Verdict::unavailable(input, None, problem));
        LayerAnswer {
            answered: Answered { verdict, cached: false },
            namespace: question.namespace.clone(),
            manifest: None,
        }
    }
}

fn layer_for_people(layer: &Descriptor) -> String {
    format!("layer {}", layer.digest)
}

fn not_served() -> Problem {
    let message = "this daemon does not answer questions about layers";
    Problem::new("gate-not-served", message, "set `gates.diff = true` in config.toml")
}
