//! containerd's diff service: asked before a layer is unpacked.
//!
//! containerd reaches it in two ways, each with a socket of its own. The diff service asks a list of differs in turn and
//! goes on to the next for as long as the answer is UNIMPLEMENTED: there a good layer is left to containerd's own
//! differ, and no byte of it comes here. The transfer service asks one differ alone: there the question is passed on to
//! containerd, whose diff service asks again on the first socket. That second question carries a nonce and is answered
//! at once. Nothing is held while it is under way.
//!
//! Every answer but UNIMPLEMENTED and success stops the layer, so that is what everything else comes to. Follows
//! containerd's `api/services/diff/v1/diff.proto`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::{ApplyRequest, ApplyResponse, DiffRequest, DiffResponse};
use containerd_client::types;
use prost_types::Any;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::transport::Channel;
use tonic::{Extensions, Request, Response, Status};

use crate::oci::{Descriptor, Digest, InvalidDigest};
use crate::proto::containerd::diff_server::Diff;
use crate::proto::{Answer, CheckResponse};
use crate::remedy::printable;
use crate::rootfs::{Mount, RootFilesystem};

/// The header that names the containerd namespace. containerd 1.7 as Debian builds it sends none.
const NAMESPACE: &str = "containerd-namespace";
/// What the names of containerd's own headers begin with: namespace, lease. The rest belongs to one connection.
const OWN_HEADERS: &str = "containerd-";
/// The annotation in which a client notes for which image a layer is unpacked (containerd, `pkg/snapshotters`).
const IMAGE: &str = "containerd.io/snapshot/cri.image-ref";
/// The payload that marks a question which comes back. containerd's differs pass over payloads that they do not know.
const NONCE: &str = "pratique-nonce";
/// How many random bytes a nonce has: too many to guess.
const NONCE_SIZE: usize = 16;
/// How long a question may take to come back. It takes a millisecond; a busy machine some more.
const NONCE_LIFE: Duration = Duration::from_secs(60);

/// What is asked about a layer.
#[derive(Clone, Debug)]
pub struct LayerRequest {
    /// The containerd namespace, where containerd says it.
    pub namespace: Option<String>,
    /// The layer.
    pub layer: Descriptor,
    /// The image's name, where the asker writes it on the layer. docker and CRI do.
    pub image: Option<String>,
    /// The directory that it is to be unpacked into, where that can be followed.
    pub directory: Option<PathBuf>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct LayerResponse {
    /// The answer.
    pub check: CheckResponse,
    /// The containerd namespace in which the layer's image was found.
    pub namespace: Option<String>,
}

/// Who decides about layers.
#[tonic::async_trait]
pub trait LayerGate: Send + Sync + 'static {
    /// Whether the layer may be unpacked. Answers in a time of its own.
    async fn may_unpack(&self, request: LayerRequest) -> LayerResponse;
}

/// One of the two sockets.
pub struct DiffService<G> {
    gate: Arc<G>,
    nonces: Arc<Nonces>,
    /// Who unpacks a layer that may be unpacked; none where containerd asks its next differ itself.
    delegate: Option<DiffClient<Channel>>,
}

impl<G: LayerGate> DiffService<G> {
    /// For containerd's diff service: a layer that may be unpacked is left to its next differ.
    pub fn falling_through(gate: Arc<G>, nonces: Arc<Nonces>) -> Self {
        Self { gate, nonces, delegate: None }
    }

    /// For containerd's transfer service: a layer that may be unpacked is unpacked by containerd's diff service.
    pub fn delegating(gate: Arc<G>, nonces: Arc<Nonces>, differ: DiffClient<Channel>) -> Self {
        Self { gate, nonces, delegate: Some(differ) }
    }
}

#[tonic::async_trait]
impl<G: LayerGate> Diff for DiffService<G> {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let layer = layer(request.diff.as_ref())?;
        if self.nonces.redeem(request.payloads.get(NONCE), &layer.digest) {
            return Err(left_to_containerd());
        }
        let digest = layer.digest.clone();
        let directory = directory(&request.mounts);
        let image = request.diff.as_ref().and_then(|diff| diff.annotations.get(IMAGE).cloned());
        let question = LayerRequest { namespace: namespace(&metadata)?, layer, image, directory };
        let response = self.gate.may_unpack(question).await;
        if !response.check.proceed {
            return Err(refusal(&response.check));
        }
        let Some(differ) = &self.delegate else { return Err(left_to_containerd()) };
        let nonce = self.nonces.issue(digest)?;
        request.payloads.insert(NONCE.to_owned(), nonce.payload());
        let metadata = passed_on(&metadata, response.namespace.as_deref())?;
        differ.clone().apply(Request::from_parts(metadata, Extensions::default(), request)).await.map(alone)
    }

    /// A commit makes a layer and lets nothing in.
    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
        let Some(differ) = &self.delegate else { return Err(left_to_containerd()) };
        let (metadata, _, request) = request.into_parts();
        let metadata = passed_on(&metadata, None)?;
        differ.clone().diff(Request::from_parts(metadata, Extensions::default(), request)).await.map(alone)
    }
}

/// What makes containerd ask its next differ.
fn left_to_containerd() -> Status {
    Status::unimplemented("left to containerd's own differ")
}

/// The answer without the headers of the connection that it came by.
fn alone<T>(response: Response<T>) -> Response<T> {
    Response::new(response.into_inner())
}

/// "No" and "could not tell", in the words of gRPC.
fn refusal(check: &CheckResponse) -> Status {
    match check.answer() {
        Answer::Deny => Status::permission_denied(&check.line),
        _ => Status::unavailable(&check.line),
    }
}

fn layer(diff: Option<&types::Descriptor>) -> Result<Descriptor, Status> {
    let wrong = |what: &str| Status::invalid_argument(format!("could not tell: a layer [invalid-descriptor]: {what}"));
    let diff = diff.ok_or_else(|| wrong("the question names no layer"))?;
    let digest = diff.digest.parse().map_err(|error: InvalidDigest| wrong(&error.to_string()))?;
    let size = u64::try_from(diff.size).map_err(|_| wrong("its size is negative"))?;
    let media_type = diff.media_type.clone();
    Ok(Descriptor { media_type, digest, size, artifact_type: None, annotations: BTreeMap::new() })
}

fn directory(mounts: &[types::Mount]) -> Option<PathBuf> {
    let mount = |mount: &types::Mount| Mount {
        kind: mount.r#type.clone(),
        source: mount.source.clone(),
        options: mount.options.clone(),
    };
    RootFilesystem::written(&mounts.iter().map(mount).collect::<Vec<_>>())
}

fn namespace(metadata: &MetadataMap) -> Result<Option<String>, Status> {
    let Some(value) = metadata.get(NAMESPACE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Status::invalid_argument("could not tell: the namespace is not a name"))?;
    Ok(Some(printable(text)).filter(|namespace| !namespace.is_empty()))
}

/// containerd's own headers, with the namespace in which the image was found where containerd named none.
fn passed_on(metadata: &MetadataMap, found_in: Option<&str>) -> Result<MetadataMap, Status> {
    let mut own = MetadataMap::new();
    for entry in metadata.iter() {
        if let KeyAndValueRef::Ascii(key, value) = entry
            && key.as_str().starts_with(OWN_HEADERS)
        {
            own.append(key.clone(), value.clone());
        }
    }
    if !own.contains_key(NAMESPACE) {
        let nowhere = || Status::unavailable("could not tell: nobody says in which containerd namespace to unpack");
        let found_in = found_in.ok_or_else(nowhere)?;
        own.insert(NAMESPACE, found_in.parse().map_err(|_| nowhere())?);
    }
    Ok(own)
}

/// Marks of questions that are expected to come back. Each is good once, for one layer, and not for long.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<HashMap<Vec<u8>, Expected>>);

#[derive(Debug)]
struct Expected {
    layer: Digest,
    until: Instant,
}

/// A mark that was given out. It is no longer good when this is gone, since the question has been answered by then.
struct Issued<'a> {
    nonces: &'a Nonces,
    nonce: Vec<u8>,
}

impl Nonces {
    fn issue(&self, layer: Digest) -> Result<Issued<'_>, Status> {
        let mut nonce = vec![0; NONCE_SIZE];
        aws_lc_rs::rand::fill(&mut nonce)
            .map_err(|_| Status::internal("could not tell: the system gives no random numbers"))?;
        let now = Instant::now();
        let mut expected = self.expected();
        expected.retain(|_, expected| now < expected.until);
        expected.insert(nonce.clone(), Expected { layer, until: now + NONCE_LIFE });
        Ok(Issued { nonces: self, nonce })
    }

    /// Whether this is a question that comes back. A mark that is not known makes it a question like any other.
    fn redeem(&self, payload: Option<&Any>, layer: &Digest) -> bool {
        let Some(payload) = payload else { return false };
        let expected = self.expected().remove(&payload.value);
        expected.is_some_and(|expected| expected.layer == *layer && Instant::now() < expected.until)
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Expected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issued<'_> {
    fn payload(&self) -> Any {
        Any { type_url: "pratique.v1.Nonce".to_owned(), value: self.nonce.clone() }
    }
}

impl Drop for Issued<'_> {
    fn drop(&mut self) {
        self.nonces.expected().remove(&self.nonce);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::UnixListener;
    use tokio_stream::wrappers::UnixListenerStream;
    use tonic::Code;
    use tonic::transport::{Endpoint, Server};

    use super::*;
    use crate::proto::containerd::diff_server::DiffServer;

    const LINE: &str = "denied: registry.example/app@sha256:1 [no-signature]: the image has no signature";

    /// A gate that has made up its mind, and counts.
    struct Scripted {
        answer: Answer,
        proceed: bool,
        found_in: Option<&'static str>,
        asked: AtomicUsize,
    }

    #[tonic::async_trait]
    impl LayerGate for Scripted {
        async fn may_unpack(&self, request: LayerRequest) -> LayerResponse {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let (code, line) = ("code".to_owned(), LINE.to_owned());
            let check = CheckResponse { answer: self.answer.into(), code, line, proceed: self.proceed };
            LayerResponse { check, namespace: request.namespace.or(self.found_in.map(ToOwned::to_owned)) }
        }
    }

    fn gate(answer: Answer) -> Arc<Scripted> {
        let proceed = answer == Answer::Admit;
        Arc::new(Scripted { answer, proceed, found_in: None, asked: AtomicUsize::new(0) })
    }

    /// containerd's diff service: asks its first differ, and applies the layer itself where that one will not.
    struct Containerd {
        first: DiffService<Scripted>,
        namespaces: Mutex<Vec<String>>,
    }

    #[tonic::async_trait]
    impl Diff for Containerd {
        async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
            let namespace =
                request.metadata().get(NAMESPACE).ok_or_else(|| Status::failed_precondition("namespace"))?;
            self.namespaces.lock().unwrap().push(namespace.to_str().unwrap().to_owned());
            assert!(request.metadata().get("x-other").is_none());
            let applied = request.get_ref().diff.clone();
            match self.first.apply(request).await {
                Err(status) if status.code() == Code::Unimplemented => Ok(Response::new(ApplyResponse { applied })),
                answer => answer,
            }
        }

        async fn diff(&self, _: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
            Ok(Response::new(DiffResponse { diff: None }))
        }
    }

    /// The delegating service, before a containerd whose first differ is the falling-through one.
    fn delegating(gate: &Arc<Scripted>) -> (DiffService<Scripted>, Arc<Nonces>, tempfile::TempDir) {
        let nonces = Arc::new(Nonces::default());
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("c.sock");
        let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        let first = DiffService::falling_through(Arc::clone(gate), Arc::clone(&nonces));
        let containerd = Containerd { first, namespaces: Mutex::default() };
        tokio::spawn(Server::builder().add_service(DiffServer::new(containerd)).serve_with_incoming(incoming));
        let channel = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap().connect_lazy();
        let service = DiffService::delegating(Arc::clone(gate), Arc::clone(&nonces), DiffClient::new(channel));
        (service, nonces, folder)
    }

    fn question(namespace: Option<&'static str>) -> Request<ApplyRequest> {
        let digest = Digest::sha256(b"layer").to_string();
        let diff = types::Descriptor { media_type: "layer".into(), digest, size: 5, ..Default::default() };
        let mut request = Request::new(ApplyRequest { diff: Some(diff), ..Default::default() });
        request.metadata_mut().insert("x-other", "of this connection".parse().unwrap());
        if let Some(namespace) = namespace {
            request.metadata_mut().insert(NAMESPACE, namespace.parse().unwrap());
        }
        request
    }

    fn asked(gate: &Scripted) -> usize {
        gate.asked.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn an_admitted_layer_is_left_to_containerds_next_differ() {
        let service = DiffService::falling_through(gate(Answer::Admit), Arc::default());
        let status = service.apply(question(Some("default"))).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        let status = service.diff(Request::new(DiffRequest::default())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }

    #[tokio::test]
    async fn what_is_not_admitted_is_stopped_with_its_line() {
        for (answer, code) in [
            (Answer::Deny, Code::PermissionDenied),
            (Answer::Inconclusive, Code::Unavailable),
            (Answer::Unspecified, Code::Unavailable),
        ] {
            let (service, _, _folder) = delegating(&gate(answer));
            let status = service.apply(question(Some("default"))).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (code, LINE));
        }
    }

    #[tokio::test]
    async fn a_delegated_layer_is_decided_once_and_applied() {
        let gate = gate(Answer::Admit);
        let (service, nonces, _folder) = delegating(&gate);
        for round in 1..=3 {
            let applied = service.apply(question(Some("default"))).await.unwrap().into_inner().applied.unwrap();
            assert_eq!(applied.digest, Digest::sha256(b"layer").to_string());
            assert_eq!(asked(&gate), round, "the question that comes back is not asked again");
        }
        assert!(nonces.expected().is_empty(), "each nonce was used");
        assert!(service.diff(question(Some("default")).map(|_| DiffRequest::default())).await.is_ok());
    }

    #[tokio::test]
    async fn a_delegated_layer_goes_where_its_image_was_found_when_containerd_names_no_namespace() {
        let found = |found_in| {
            let asked = AtomicUsize::new(0);
            Arc::new(Scripted { answer: Answer::Admit, proceed: true, found_in, asked })
        };
        let (service, _, _folder) = delegating(&found(Some("k8s.io")));
        service.apply(question(None)).await.unwrap();
        let (service, _, _folder) = delegating(&found(None));
        assert_eq!(service.apply(question(None)).await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn a_nonce_is_good_once_for_its_layer_and_not_for_ever() {
        let nonces = Nonces::default();
        let (layer, other) = (Digest::sha256(b"layer"), Digest::sha256(b"other"));
        let issued = nonces.issue(layer.clone()).unwrap();
        assert!(!nonces.redeem(None, &layer));
        assert!(!nonces.redeem(Some(&Any { type_url: String::new(), value: vec![0; NONCE_SIZE] }), &layer));
        assert!(nonces.redeem(Some(&issued.payload()), &layer));
        assert!(!nonces.redeem(Some(&issued.payload()), &layer), "once");

        let issued = nonces.issue(layer.clone()).unwrap();
        assert!(!nonces.redeem(Some(&issued.payload()), &other), "for its layer");

        let issued = nonces.issue(layer.clone()).unwrap();
        let payload = issued.payload();
        drop(issued);
        assert!(!nonces.redeem(Some(&payload), &layer), "while the question is under way");

        let issued = nonces.issue(layer.clone()).unwrap();
        nonces.expected().values_mut().for_each(|expected| expected.until = Instant::now());
        assert!(!nonces.redeem(Some(&issued.payload()), &layer), "not for ever");
    }

    #[tokio::test]
    async fn a_foreign_nonce_makes_a_question_like_any_other() {
        let gate = gate(Answer::Deny);
        let service = DiffService::falling_through(Arc::clone(&gate), Arc::default());
        let mut request = question(Some("default"));
        let payload = Any { type_url: "pratique.v1.Nonce".into(), value: vec![7; NONCE_SIZE] };
        request.get_mut().payloads.insert(NONCE.into(), payload);
        assert_eq!(service.apply(request).await.unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(asked(&gate), 1);
    }

    #[tokio::test]
    async fn what_names_no_layer_is_stopped_without_asking() {
        let gate = gate(Answer::Admit);
        let service = DiffService::falling_through(Arc::clone(&gate), Arc::default());
        let with = |diff| Request::new(ApplyRequest { diff, ..Default::default() });
        let layer =
            |digest: &str, size| Some(types::Descriptor { digest: digest.to_owned(), size, ..Default::default() });
        let good = Digest::sha256(b"layer").to_string();
        for diff in [None, layer("", 1), layer("sha256:../..", 1), layer(&good, -1)] {
            assert_eq!(service.apply(with(diff)).await.unwrap_err().code(), Code::InvalidArgument);
        }
        assert_eq!(asked(&gate), 0);
    }
}
