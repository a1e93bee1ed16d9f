//! `pratique enroll`: has the daemon take what was unpacked before it was there into its ledger.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::exit::{Exit, Failure};
use super::output::Progress;
use super::{Output, output};
use crate::proto::enroll_event::Event;
use crate::proto::pratique_client::PratiqueClient;
use crate::proto::{Answer, EnrollFailure, EnrollRequest, EnrolledImage, EnrolledLayer};

/// Where the daemon's API is unless it is told otherwise.
const DEFAULT_SOCKET: &str = "/run/pratique/pratiqued.sock";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Images, by name or by digest.
    #[arg(value_name = "IMAGE", required_unless_present = "all", conflicts_with = "all")]
    images: Vec<String>,
    /// Every image that containerd has.
    #[arg(long)]
    all: bool,
    /// Only this containerd namespace (may be given again).
    #[arg(long = "namespace", short = 'n', value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Only this snapshotter (may be given again).
    #[arg(long = "snapshotter", value_name = "NAME")]
    snapshotters: Vec<String>,
    /// Look at everything, and record nothing.
    #[arg(long)]
    dry_run: bool,
    /// Also record what cannot be compared because the blob of its layer is gone: you vouch for it.
    #[arg(long)]
    unverified: bool,
    /// The daemon's socket `pratiqued.sock`.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    dry_run: bool,
    images: Vec<Entry>,
    summary: Summary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    namespace: String,
    image: String,
    digest: String,
    snapshotter: String,
    answer: &'static str,
    code: String,
    line: String,
    layers: Layers,
}

#[derive(Serialize)]
struct Layers {
    known: u64,
    compared: u64,
    unverified: u64,
}

/// How many images there were of each kind, an image with two snapshotters being two.
#[derive(Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    enrolled: u64,
    before: u64,
    not_unpacked: u64,
    denied: u64,
    inconclusive: u64,
    compared_layers: u64,
    unverified_layers: u64,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let Arguments { images, namespaces, snapshotters, dry_run, unverified, socket, .. } = arguments;
    let request = EnrollRequest { images, namespaces, snapshotters, dry_run, unverified };
    let failed = |status: Status| failure(&socket, &status);
    let mut events = client(&socket)?.enroll(request).await.map_err(failed)?.into_inner();
    let mut report = Document { dry_run, images: Vec::new(), summary: Summary::default() };
    let mut progress = Progress::default();
    loop {
        match events.message().await.map_err(failed)?.and_then(|event| event.event) {
            Some(Event::Layer(layer)) => progress.show(&under_way(&layer)),
            Some(Event::Image(image)) => {
                progress.clear();
                if output == Output::Text {
                    output::line(&image.line);
                }
                report.add(image);
            }
            Some(Event::Finished(_)) => break,
            Some(Event::Failed(EnrollFailure { code, message, remedy })) => {
                progress.clear();
                return Err(Failure::told(&code, message, &remedy));
            }
            None => return Err(broken_off(&socket)),
        }
    }
    progress.clear();
    output::print(output, &report, || report.summary.text(dry_run));
    Ok(report.summary.exit())
}

fn client(socket: &Path) -> Result<PratiqueClient<Channel>, Failure> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(|error| {
        Failure::usage("socket-unusable", format!("{} cannot be the path of a socket: {error}", socket.display()))
            .hint("name the daemon's socket with `--socket`")
    })?;
    Ok(PratiqueClient::new(endpoint.connect_lazy()))
}

fn failure(socket: &Path, status: &Status) -> Failure {
    let (socket, said) = (socket.display(), status.message());
    match status.code() {
        Code::Unimplemented => Failure::unreadable(
            "daemon-answer-malformed",
            format!("the daemon on {socket} does not know how to enroll"),
            Some("see whether pratiqued and pratique are of the same version, `pratiqued --version`"),
        ),
        _ => Failure::unreadable(
            "daemon-unreachable",
            format!("the daemon does not answer on {socket}: {said}"),
            Some("see `systemctl status pratiqued` on this machine; only root may ask it"),
        ),
    }
}

fn broken_off(socket: &Path) -> Failure {
    let message = format!("the daemon on {} broke off before it was done", socket.display());
    Failure::unreadable("enroll-stopped", message, Some("run it again: it goes on where it was broken off"))
}

/// What changes comes first: the terminal may be too narrow for the rest.
fn under_way(EnrolledLayer { image, snapshotter, number, of, size }: &EnrolledLayer) -> String {
    format!("comparing layer {number} of {of} with {snapshotter}, {} KiB: {image}", size.div_ceil(1024))
}

impl Document {
    fn add(&mut self, image: EnrolledImage) {
        self.summary.count(&image);
        let layers = Layers { known: image.known, compared: image.compared, unverified: image.unverified };
        let answer = match image.answer() {
            Answer::Admit => "admit",
            Answer::Deny => "deny",
            _ => "inconclusive",
        };
        let EnrolledImage { containerd_namespace: namespace, image, digest, snapshotter, code, line, .. } = image;
        self.images.push(Entry { namespace, image, digest, snapshotter, answer, code, line, layers });
    }
}

impl Summary {
    fn count(&mut self, image: &EnrolledImage) {
        self.compared_layers += image.compared;
        self.unverified_layers += image.unverified;
        match image.answer() {
            Answer::Admit if image.compared + image.unverified > 0 => self.enrolled += 1,
            Answer::Admit if image.known > 0 => self.before += 1,
            Answer::Admit => self.not_unpacked += 1,
            Answer::Deny => self.denied += 1,
            _ => self.inconclusive += 1,
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self { denied: 1.., .. } => Exit::Denied,
            Self { inconclusive: 1.., .. } => Exit::Inconclusive,
            _ => Exit::Done,
        }
    }

    fn text(self, dry_run: bool) -> String {
        let done = if dry_run { "would be enrolled" } else { "enrolled" };
        let text = format!(
            "{} {done}, {} before, {} not unpacked, {} denied, {} could not be told; {} layers compared",
            self.enrolled, self.before, self.not_unpacked, self.denied, self.inconclusive, self.compared_layers
        );
        match self.unverified_layers {
            0 => text,
            unverified => format!("{text}, {unverified} layers NOT VERIFIED"),
        }
    }
}
