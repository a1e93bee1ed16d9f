//! How fast, against the peer, in the same run.
//!
//! Prints whole-process figures of `pratique verify` beside those of `notation verify` on the same image in the same
//! registry, the two run in turn, with their ratios; then what a pull pays for the gate once the answer is known, and what
//! the daemon costs. Times on a shared machine wander: the ratios are what counts.
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
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use pratique::client::Connection;
use pratique::proto::{CheckRequest, Descriptor, Stage};

use node::{Image, Node};
use notation::{Notation, trusting};
use pratiqued::Pratiqued;
use tools::{own, tool};

/// How often each command is run. An odd number has a median.
const RUNS: usize = 41;
const SPAWNS: usize = 1_000;
const CHECKS: usize = 40_000;
/// Set for a run of this program that only starts one command and tells its memory.
const MEASURE_MEMORY: &str = "PRATIQUE_BENCH_MEMORY";

fn main() {
    if std::env::var_os(MEASURE_MEMORY).is_some() {
        return tell_peak_memory();
    }
    let node = Node::start();
    let notation = Notation::new(&node.folder().join("config"));
    for key in ["rsa-2048", "ec-256", "ec-384"] {
        notation.generate_key(key, key);
    }
    println!("whole processes, {RUNS} runs each, in turn; medians");
    for key in ["rsa-2048", "ec-256", "ec-384"] {
        let image = node.push("app", key);
        notation.sign(&image, key, &[]);
        notation.set_policy(&trusting(key));
        against_notation(&notation, &image, key);
    }
    let image = node.push("app", "warm");
    notation.sign(&image, "ec-256", &[]);
    notation.set_policy(&trusting("ec-256"));
    let daemon = Pratiqued::start(node.folder(), &notation.dir(), "8s", "");
    warm_verifier(&node, &image);
    warm_socket(&node, &image);
    daemon_memory(&daemon, &node, &image);
}

/// `pratique verify` beside `notation verify`.
fn against_notation(notation: &Notation, image: &Image, key: &str) {
    let ours = notation.verify_command(image);
    let theirs = notation.verify_command_of_notation(image);
    let (mut our_figures, mut their_figures) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        our_figures.push(Figures::of(&ours));
        their_figures.push(Figures::of(&theirs));
    }
    let row = |name: &str, ours: f64, theirs: f64, unit: &str| {
        println!(
            "  {name:<12} pratique {ours:>8.2} {unit}   notation {theirs:>8.2} {unit}   ratio {:.2}",
            ours / theirs
        );
    };
    println!("verify, one signature by {key}:");
    let wall = |figures: &[Figures]| median(figures.iter().map(|f| f.wall).collect());
    let cpu = |figures: &[Figures]| median(figures.iter().map(|f| f.cpu).collect());
    row("wall", wall(&our_figures), wall(&their_figures), "ms");
    row("cpu", cpu(&our_figures), cpu(&their_figures), "ms");
    row("peak memory", peak_memory(&ours), peak_memory(&theirs), "MiB");
}

/// From containerd's point of view: start the verifier, give it the descriptor, wait for its end.
fn warm_verifier(node: &Node, image: &Image) {
    let socket = hook_socket(node);
    let descriptor = format!(
        r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{}}}"#,
        image.digest,
        manifest_size(node, image)
    );
    let mut times: Vec<f64> = (0..=SPAWNS)
        .map(|_| {
            let began = Instant::now();
            let mut verifier = Command::new(own("pratique-verifier"))
                .args(["-name", &image.reference, "-digest", &image.digest])
                .args(["-stdin-media-type", "application/vnd.oci.descriptor.v1+json"])
                .env("PRATIQUE_SOCKET", &socket)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("the verifier starts");
            verifier.stdin.take().expect("a pipe").write_all(descriptor.as_bytes()).expect("the verifier reads");
            assert!(verifier.wait().expect("the verifier ends").success(), "the image is admitted");
            milliseconds(began.elapsed())
        })
        // The first one is the one that makes the verdict.
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    println!("pratique-verifier, answer known, spawn to exit, {SPAWNS} runs:");
    println!("  p50 {:.2} ms   p99 {:.2} ms", times[SPAWNS / 2], times[SPAWNS * 99 / 100]);
}

/// How many known answers a second two connections get.
fn warm_socket(node: &Node, image: &Image) {
    let socket = hook_socket(node);
    let request = CheckRequest {
        name: image.reference.clone(),
        target: Some(Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            digest: image.digest.clone(),
            size: manifest_size(node, image),
        }),
        stage: Stage::Pull.into(),
        ..CheckRequest::default()
    };
    let ask = |socket: PathBuf, request: CheckRequest| {
        let mut connection = Connection::open(&socket, Duration::from_secs(9)).expect("the daemon listens");
        for _ in 0..CHECKS / 2 {
            assert!(connection.ask(&request).expect("the daemon answers").proceed);
        }
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (socket, request) = (socket.clone(), request.clone());
            scope.spawn(move || ask(socket, request));
        }
    });
    println!("known answers through hook.sock, two connections: {:.0} a second", per_second(CHECKS, began.elapsed()));
}

/// What the daemon holds when it has nothing to do, and after ten thousand verdicts.
fn daemon_memory(daemon: &Pratiqued, node: &Node, image: &Image) {
    let after_few = resident(daemon.pid());
    let mut connection = Connection::open(&hook_socket(node), Duration::from_secs(9)).expect("the daemon listens");
    for number in 0..10_000_u32 {
        let request = CheckRequest {
            // A repository that no registry has: each is another question, and each is answered without one.
            name: format!("{}/none/{number}", node.registry()),
            target: Some(Descriptor {
                media_type: "application/vnd.oci.image.manifest.v1+json".into(),
                digest: image.digest.clone(),
                size: 1,
            }),
            stage: Stage::Pull.into(),
            ..CheckRequest::default()
        };
        assert!(!connection.ask(&request).expect("the daemon answers").proceed);
    }
    println!(
        "pratiqued, resident: {after_few:.1} MiB after a few images, {:.1} MiB after 10,000 verdicts",
        resident(daemon.pid())
    );
}

fn hook_socket(node: &Node) -> PathBuf {
    node.folder().join("run/hook.sock")
}

/// The size of the image's manifest, as the registry stores it.
fn manifest_size(node: &Node, image: &Image) -> u64 {
    fs::metadata(node.stored_blob(&image.digest)).expect("the registry has the manifest").len()
}

/// Wall and CPU time of one run, in milliseconds.
struct Figures {
    wall: f64,
    cpu: f64,
}

impl Figures {
    fn of(command: &Invocation) -> Self {
        let (before, began) = (children_cpu(), Instant::now());
        let status = command.start().status().expect("the command starts");
        let wall = milliseconds(began.elapsed());
        assert!(status.success(), "{} fails", command.program.display());
        Self { wall, cpu: children_cpu() - before }
    }
}

/// A command with its environment, to be run any number of times.
pub struct Invocation {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
}

impl Invocation {
    fn start(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Notation {
    fn verify_command(&self, image: &Image) -> Invocation {
        let directory = self.dir().to_string_lossy().into_owned();
        Invocation {
            program: own("pratique"),
            arguments: vec!["verify".into(), image.by_digest(), "--notation-dir".into(), directory],
            environment: Vec::new(),
        }
    }

    fn verify_command_of_notation(&self, image: &Image) -> Invocation {
        let home = self.dir().parent().expect("a folder above").to_path_buf();
        Invocation {
            program: tool("notation"),
            arguments: vec!["verify".into(), "--insecure-registry".into(), image.by_digest()],
            environment: vec![("XDG_CONFIG_HOME".into(), home.clone()), ("XDG_CACHE_HOME".into(), home)],
        }
    }
}

/// The largest resident size of a run, in MiB. The kernel only tells the largest of all children, so a process of its own
/// has but this one.
fn peak_memory(command: &Invocation) -> f64 {
    let mut measuring = Command::new(std::env::current_exe().expect("this program has a path"));
    measuring.env(MEASURE_MEMORY, "1").arg(&command.program).args(&command.arguments);
    measuring.envs(command.environment.iter().map(|(name, value)| (name, value)));
    let told = measuring.output().expect("this program starts").stdout;
    String::from_utf8_lossy(&told).trim().parse().expect("a number")
}

fn tell_peak_memory() {
    let mut arguments = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    let mut command = Command::new(arguments.next().expect("a program"));
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("the program starts").success());
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells");
    #[expect(clippy::cast_precision_loss, reason = "a size in MiB for people")]
    let mebibytes = usage.max_rss() as f64 / 1024.0;
    println!("{mebibytes}");
}

/// User and system time of all children so far, in milliseconds.
fn children_cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells");
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let milliseconds = microseconds as f64 / 1000.0;
    milliseconds
}

/// The resident size of a process, in MiB.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes / 1024.0
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn per_second(count: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let count = count as f64;
    count / time.as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
