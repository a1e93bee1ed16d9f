//! What the gates cost, beside a containerd that asks nobody, in the same run.
//!
//! Two nodes stand side by side, one with every gate and one without; each thing is done on both in turn. Times on a
//! shared machine wander: the ratios are what counts, and the times that a gate itself takes.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark may end in a panic and prints its figures; the tests use more of the modules"
)]

#[path = "../tests/e2e/node.rs"]
mod node;
#[path = "../tests/e2e/notation.rs"]
mod notation;
#[path = "../tests/e2e/pratiqued.rs"]
mod pratiqued;
#[path = "../tests/e2e/tools.rs"]
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use containerd_client::connect;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::{ApplyRequest, WriteAction, WriteContentRequest};
use containerd_client::tonic::{Code, Request};
use containerd_client::types::{Descriptor, Mount};
use containerd_client::with_namespace;
use pratique::oci::Digest;
use pratique::proto::WatchDecisionsRequest;
use pratique::proto::pratique_client::PratiqueClient;
use tokio_stream::StreamExt as _;

use node::{Image, Node};
use notation::{Notation, trusting};
use pratiqued::Pratiqued;
use tools::{own, run, runtime, succeed};

/// How often each thing is done on either node. An odd number has a median.
const UNPACKS: usize = 11;
const STARTS: usize = 41;
const ASKED: usize = 500;
/// The image that is unpacked: ten layers of 15 MB.
const LAYERS: usize = 10;
const LAYER_SIZE: usize = 15_000_000;

fn main() {
    let (free, gated) = (Node::start(), gated_node());
    free.without_verifier();
    let notation = Notation::new(&gated.folder().join("config"));
    notation.generate_key("release", "ec-256");
    notation.set_policy(&trusting("release"));
    let settings = format!("[registry]\ninsecure = ['{}']\n", gated.registry());
    let _daemon = Pratiqued::start(gated.folder(), &notation.dir(), "8s", &settings);
    unpacking(&free, &gated, &notation);
    starting(&free, &gated, &notation);
    deciding(&gated, &notation);
}

fn gated_node() -> Node {
    let mut node = Node::start();
    node.gate();
    node.gate_starts();
    node
}

/// The unpack of a large image by the client, and by containerd.
fn unpacking(free: &Node, gated: &Node, notation: &Notation) {
    let layout = large_layout(free.folder());
    let nodes = [(free, free.push_layout(&layout, "large")), (gated, gated.push_layout(&layout, "large"))];
    notation.sign(&nodes[1].1, "release", &[]);
    for (node, image) in &nodes {
        succeed(node.ctr().args(["images", "pull", "--plain-http", &image.reference]));
    }
    println!("unpack of {LAYERS} layers of {} MB, {UNPACKS} runs each, in turn; medians:", LAYER_SIZE / 1_000_000);
    for (what, way) in [("by the client", &["--local"][..]), ("by containerd", &[])] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..UNPACKS {
            for ((node, image), times) in nodes.iter().zip(&mut times) {
                remove_snapshots(node);
                let mut pull = node.ctr();
                pull.args(["images", "pull", "--plain-http"]).args(way).arg(&image.reference);
                let began = Instant::now();
                succeed(&mut pull);
                times.push(milliseconds(began.elapsed()));
            }
        }
        let [free, gated] = times.map(median);
        println!("  {what:<16} without {free:>8.1} ms   with {gated:>8.1} ms   ratio {:.3}", gated / free);
    }
}

/// The start of a container.
fn starting(free: &Node, gated: &Node, notation: &Notation) {
    let nodes = [(free, free.push("app", "start")), (gated, gated.push("app", "start"))];
    notation.sign(&nodes[1].1, "release", &[]);
    for (node, image) in &nodes {
        succeed(node.ctr().args(["images", "pull", "--plain-http", &image.reference]));
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..STARTS {
        for ((node, image), times) in nodes.iter().zip(&mut times) {
            let began = Instant::now();
            node.run("default", image);
            times.push(milliseconds(began.elapsed()));
        }
    }
    let [without, with] = times.map(median);
    println!("`ctr run`, {STARTS} runs each, in turn; medians:");
    println!("  without {without:.1} ms   with {with:.1} ms   added {:.1} ms", with - without);
    let decided = run_decisions(gated);
    println!("  of that the daemon's decision: p50 {:.2} ms   p99 {:.2} ms", median(decided.clone()), at(decided, 99));
    println!("  and the stand-in itself, beside the runtime it becomes: {:.2} ms", stand_in());
}

/// What the daemon took for each start, in milliseconds.
fn run_decisions(node: &Node) -> Vec<f64> {
    runtime().block_on(async {
        let channel = connect(node.folder().join("run/pratiqued.sock")).await.expect("the daemon listens");
        let backlog = u32::try_from(10 * STARTS).expect("a small number");
        let request = WatchDecisionsRequest { backlog };
        let mut decisions =
            PratiqueClient::new(channel).watch_decisions(request).await.expect("decisions").into_inner();
        let mut took = Vec::new();
        while took.len() < STARTS {
            let decision = decisions.next().await.expect("a decision").expect("a decision");
            if decision.workload.is_some() && !decision.line.starts_with("found") {
                took.push(Duration::from_micros(decision.duration_us).as_secs_f64() * 1000.0);
            }
        }
        took
    })
}

/// What a call costs that is passed on without a question, in milliseconds.
fn stand_in() -> f64 {
    let time = |program: &Path, called: &str| {
        let times = (0..ASKED).map(|_| {
            let began = Instant::now();
            let mut command = Command::new(program);
            command.arg(called).env("PRATIQUE_RUNTIME", "/bin/true").stdout(Stdio::null());
            assert!(command.status().expect("the program starts").success());
            milliseconds(began.elapsed())
        });
        median(times.collect())
    };
    time(&own("pratique-runtime"), "state") - time(Path::new("/bin/true"), "state")
}

/// A layer's decision, with few blobs in the store and with many.
fn deciding(node: &Node, notation: &Notation) {
    let image = node.push("app", "decide");
    notation.sign(&image, "release", &[]);
    succeed(node.ctr().args(["images", "pull", "--plain-http", &image.reference]));
    let layer = first_layer(node, &image);
    println!("one layer's decision over diff.sock, its record in the ledger included, {ASKED} calls:");
    for more in [0, 3_000] {
        fill(node, more);
        let times = ask(node, &layer);
        println!("  {} blobs: p50 {:.2} ms   p99 {:.2} ms", blobs(node), median(times.clone()), at(times, 99));
    }
}

/// Asks about a layer as containerd's diff service does, each time for another directory.
fn ask(node: &Node, layer: &Descriptor) -> Vec<f64> {
    let directories: Vec<PathBuf> =
        (0..ASKED).map(|number| node.folder().join(format!("layers/{number}/fs"))).collect();
    for directory in &directories {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).expect("the folder can be written");
    }
    runtime().block_on(async {
        let channel = connect(node.folder().join("run/diff.sock")).await.expect("the daemon listens");
        let mut differ = DiffClient::new(channel);
        let mut times = Vec::new();
        for directory in directories {
            let source = directory.display().to_string();
            let mounts = vec![Mount { r#type: "bind".into(), source, ..Mount::default() }];
            let request = ApplyRequest { diff: Some(layer.clone()), mounts, ..ApplyRequest::default() };
            let began = Instant::now();
            let status = differ.apply(with_namespace!(request, "default")).await.expect_err("it is left to containerd");
            times.push(milliseconds(began.elapsed()));
            assert_eq!(status.code(), Code::Unimplemented, "{status}");
        }
        times
    })
}

fn first_layer(node: &Node, image: &Image) -> Descriptor {
    let manifest = succeed(node.ctr().args(["content", "get", &image.digest]));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest");
    let layer = &manifest["layers"][0];
    Descriptor {
        media_type: layer["mediaType"].as_str().expect("a media type").into(),
        digest: layer["digest"].as_str().expect("a digest").into(),
        size: layer["size"].as_i64().expect("a size"),
        ..Descriptor::default()
    }
}

/// Puts that many small documents into the content store.
fn fill(node: &Node, count: usize) {
    runtime().block_on(async {
        let mut content = ContentClient::new(connect(node.socket()).await.expect("containerd listens"));
        for number in 0..count {
            let data =
                format!(r#"{{"schemaVersion":2,"number":{number},"padding":"{}"}}"#, "x".repeat(600)).into_bytes();
            let request = WriteContentRequest {
                action: WriteAction::Commit.into(),
                r#ref: format!("fill-{number}"),
                total: i64::try_from(data.len()).expect("a small size"),
                expected: Digest::sha256(&data).to_string(),
                data,
                labels: [("containerd.io/gc.root".to_owned(), "bench".to_owned())].into(),
                ..WriteContentRequest::default()
            };
            let stream = tokio_stream::iter([request]);
            let mut answer =
                content.write(with_namespace!(stream, "default")).await.expect("content can be written").into_inner();
            while let Some(written) = answer.next().await {
                written.expect("content can be written");
            }
        }
    });
}

fn blobs(node: &Node) -> usize {
    succeed(node.ctr().args(["content", "ls", "-q"])).lines().count()
}

/// Removes every snapshot, the topmost first: containerd's garbage collection goes the other way round, and only later.
fn remove_snapshots(node: &Node) {
    for _ in 0..LAYERS + 2 {
        let listed = succeed(node.ctr().args(["snapshots", "ls"]));
        let rows: Vec<Vec<&str>> = listed.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        let is_parent = |name: &str| rows.iter().any(|row| row.len() == 3 && row[1] == name);
        for name in rows.iter().map(|row| row[0]).filter(|name| !is_parent(name)) {
            // One that is gone already is as good.
            let _ = run(node.ctr().args(["snapshots", "rm", name]));
        }
    }
}

/// An image of layers that are mostly no text and a little compressible, as programs are.
fn large_layout(folder: &Path) -> PathBuf {
    let layout = folder.join("large");
    fs::create_dir_all(layout.join("blobs/sha256")).expect("the folder can be written");
    let put = |media_type: &str, bytes: Vec<u8>| {
        let digest = Digest::sha256(&bytes);
        fs::write(layout.join("blobs/sha256").join(digest.hex()), &bytes).expect("the folder can be written");
        serde_json::json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    };
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for number in 0..LAYERS {
        let tar = layer(number);
        diff_ids.push(Digest::sha256(&tar).to_string());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &tar).expect("memory can be written");
        let blob = gzip.finish().expect("memory can be written");
        layers.push(put("application/vnd.oci.image.layer.v1.tar+gzip", blob));
    }
    let config = serde_json::json!({"architecture": architecture(), "os": "linux", "config": {"Cmd": ["/none"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
    let mut manifest = put(media_type, manifest.to_string().into_bytes());
    manifest["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "v1"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string()).expect("the folder can be written");
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("the folder can be written");
    layout
}

/// A tar archive of one large file, of numbers that look like chance and are always the same.
fn layer(number: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut state = u64::try_from(number).expect("a small number") + 1;
    let content: Vec<u8> = (0..LAYER_SIZE)
        .map(|place| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if place % 4 == 0 { 0 } else { u8::try_from(state >> 56).expect("a byte") }
        })
        .collect();
    fs::write(folder.path().join(format!("file-{number}")), content).expect("the folder can be written");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--mtime=@0", "--owner=0", "--group=0", "--directory"]).arg(folder.path()).arg(".");
    tar.output().expect("tar starts").stdout
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(figures: Vec<f64>) -> f64 {
    at(figures, 50)
}

/// The figure below which that many of a hundred are.
fn at(mut figures: Vec<f64>, percent: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[(figures.len() * percent / 100).min(figures.len() - 1)]
}
