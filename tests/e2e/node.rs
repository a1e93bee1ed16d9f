//! A node of its own for each test: a containerd and a registry in a private folder.
//!
//! `tests/env/node.sh` starts them and cleans up after them. The shell that does so waits at a pipe from this process
//! and ends when the pipe does; so shims, mounts and sockets also go when a test panics or the tests are killed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::tools::{attempt, layout, own, repository, script, succeed, text, tool, tools};

/// Starts the node, tells the registry's address, then does what it is told, one word a line. In the end all of the
/// test's folder goes, because the test may have no end of its own.
const DRIVER: &str = r#"
set -euo pipefail
. "$1"
node_start "$2/node" "$3" >&2
trap 'node_stop; rm -rf "$2"' EXIT
echo "$NODE_REGISTRY"
while read -r command; do "$command" >&2; echo done; done
"#;

/// Here every client unpacks through the diff service.
const OLDER_DROP_IN: &str = r#"
version = 2
[proxy_plugins.pratique]
  type = "diff"
  address = "/run/pratique/diff.sock"
[plugins."io.containerd.service.v1.diff-service"]
  default = ["pratique", "walking"]
"#;

/// How much of each log a failed test shows.
const LOG_LINES: usize = 30;

/// The version of a node's containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V2_1,
    /// The last one without image verifiers.
    V1_7,
}

impl Version {
    /// As `node.sh` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::V2_1 => "2.1",
            Self::V1_7 => "1.7",
        }
    }
}

pub struct Node {
    version: Version,
    driver: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    registry: String,
    folder: TempDir,
}

/// An image in a registry.
#[derive(Clone, Debug)]
pub struct Image {
    /// As one asks for it: `HOST:PORT/NAME:TAG`, or with `@DIGEST` instead of the tag.
    pub reference: String,
    /// The digest of its manifest or index.
    pub digest: String,
}

impl Image {
    /// Its name without tag and digest.
    pub fn repository(&self) -> &str {
        let tagged = self.reference.rsplit_once(':').expect("a reference here ends with a tag or a digest").0;
        tagged.strip_suffix("@sha256").unwrap_or(tagged)
    }

    /// `HOST:PORT/NAME@DIGEST`
    pub fn by_digest(&self) -> String {
        format!("{}@{}", self.repository(), self.digest)
    }

    /// The same image, asked for by its digest.
    pub fn asked_by_digest(&self) -> Self {
        Self { reference: self.by_digest(), digest: self.digest.clone() }
    }

    /// The same image, asked for at another registry's address.
    pub fn at(&self, host: &str) -> Self {
        let (_, path) = self.reference.split_once('/').expect("a reference here begins with a host");
        Self { reference: format!("{host}/{path}"), digest: self.digest.clone() }
    }
}

impl Node {
    /// Starts containerd and a registry, with pratique's image verifier in front of every pull.
    pub fn start() -> Self {
        Self::start_with(Version::V2_1)
    }

    /// The same with a containerd of this version.
    pub fn start_with(version: Version) -> Self {
        // Short, because sockets go below it and their paths are limited to 107 characters.
        let folder = tempfile::Builder::new().prefix("pratique-e2e-").tempdir().expect("a temporary folder");
        let mut driver = Command::new("bash")
            .args(["-c", DRIVER, "node"])
            .arg(script("node.sh"))
            .arg(folder.path())
            .arg(version.name())
            .env("PRATIQUE_TOOLS", tools())
            // containerd hands its own environment to the verifiers.
            .env("PRATIQUE_SOCKET", folder.path().join("run/hook.sock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("node.log")).expect("a log file"))
            .spawn()
            .expect("bash starts");
        let orders = driver.stdin.take();
        let answers = BufReader::new(driver.stdout.take().expect("standard output is a pipe"));
        let mut node = Self { version, driver, orders, answers, registry: String::new(), folder };
        node.registry = node.answer();
        std::os::unix::fs::symlink(own("pratique-verifier"), node.verifier())
            .expect("the verifiers' folder can be written");
        node
    }

    /// Takes the image verifier away.
    pub fn without_verifier(&self) {
        fs::remove_file(self.verifier()).expect("the verifiers' folder can be written");
    }

    fn verifier(&self) -> PathBuf {
        self.dir().join("verifiers/00-pratique")
    }

    /// Puts an image into the registry as `demo/NAME:v1`. It prints `text` when it is run.
    pub fn push(&self, text: &str, name: &str) -> Image {
        self.push_layout(&layout(text, &[]), name)
    }

    /// Puts an image for two platforms into the registry.
    pub fn push_index(&self, text: &str, name: &str) -> Image {
        self.push_layout(&layout(text, &["--multi"]), name)
    }

    /// Puts an image into the registry that lies in this layout under the tag `v1`.
    pub fn push_layout(&self, layout: &Path, name: &str) -> Image {
        let reference = format!("{}/demo/{name}:v1", self.registry);
        let mut oras = Command::new(tool("oras"));
        succeed(
            oras.args(["cp", "--no-tty", "--to-plain-http", "--from-oci-layout"]).arg(tagged(layout)).arg(&reference),
        );
        let index = fs::read(layout.join("index.json")).expect("the layout has an index");
        let index: serde_json::Value = serde_json::from_slice(&index).expect("the index is JSON");
        let digest = index["manifests"][0]["digest"].as_str().expect("the index names a manifest").to_owned();
        Image { reference, digest }
    }

    /// Starts a dockerd in front of this node's containerd.
    pub fn start_docker(&mut self) {
        self.order("node_start_docker");
    }

    /// `docker` on this node.
    pub fn docker(&self) -> Command {
        let folder = self.dir().join("docker");
        let mut docker = Command::new(tool("docker"));
        docker.env("DOCKER_CONFIG", folder.join("config"));
        docker.arg("--host").arg(format!("unix://{}", folder.join("d.sock").display()));
        docker
    }

    /// A program that came with this node's containerd.
    pub fn own_tool(&self, name: &str) -> PathBuf {
        match self.version {
            Version::V2_1 => tool(name),
            Version::V1_7 => tools().join("containerd-1.7/bin").join(name),
        }
    }

    /// `ctr` on this node.
    pub fn ctr(&self) -> Command {
        let mut ctr = Command::new(self.own_tool("ctr"));
        ctr.arg("--address").arg(self.socket());
        ctr
    }

    /// `ctr` in a namespace, and what it said where it failed.
    pub fn try_ctr(&self, namespace: &str, arguments: &[&str]) -> Result<String, String> {
        attempt(self.ctr().args(["--namespace", namespace]).args(arguments))
    }

    /// `docker`, and what it said where it failed.
    pub fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        attempt(self.docker().args(arguments))
    }

    /// Runs the command of an image that has been pulled, and gives what it printed.
    pub fn run(&self, namespace: &str, image: &Image) -> String {
        let answer = self.try_run(namespace, &[&image.reference]);
        answer.unwrap_or_else(|message| panic!("{} does not run: {message}", image.reference))
    }

    /// The same with these arguments of `ctr run` in front of the container's name; or what `ctr` said where it failed.
    pub fn try_run(&self, namespace: &str, arguments: &[&str]) -> Result<String, String> {
        self.try_run_command(namespace, arguments, &[])
    }

    /// The same with this command in the place of the image's. Nothing of the container lies outside of what goes with the
    /// node.
    pub fn try_run_command(&self, namespace: &str, arguments: &[&str], command: &[&str]) -> Result<String, String> {
        let id = self.container_id();
        let (printed, log_uri) = self.log_of(&id);
        let mut ctr = self.ctr();
        ctr.args(["--namespace", namespace, "run", "--rm", "--runc-root"]).arg(self.dir().join("runc"));
        ctr.args(["--cgroup", &format!("/{}/{id}", self.cgroup()), "--log-uri", &log_uri]);
        attempt(ctr.args(arguments).arg(&id).args(command)).map(|_| read_printed(&printed))
    }

    /// A file for what a container prints, and as `ctr` calls it. The shim writes it to the end before the container is
    /// removed, while `ctr` itself, which is otherwise handed it, may let go of a container that is quick.
    pub fn log_of(&self, container: &str) -> (PathBuf, String) {
        let file = self.folder().join("printed").join(container);
        let uri = format!("file://{}", file.display());
        (file, uri)
    }

    /// The name of a cgroup that goes with the node.
    pub fn cgroup(&self) -> String {
        format!("pratique{}", self.dir().display()).replace('/', "-")
    }

    /// A name for a container that no other has, on this node or another.
    pub fn container_id(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let folder = self.folder().file_name().expect("the folder has a name").to_string_lossy().into_owned();
        format!("{folder}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// Has containerd ask before it unpacks a layer, as the drop-in that is shipped says.
    pub fn gate(&mut self) {
        let drop_in = match self.version {
            Version::V2_1 => {
                let shipped = repository().join("config/containerd/pratique-diff.toml");
                fs::read_to_string(shipped).expect("the drop-in can be read")
            }
            Version::V1_7 => OLDER_DROP_IN.to_owned(),
        };
        let sockets = self.folder().join("run").display().to_string();
        let drop_in = drop_in.replace("/run/pratique", &sockets);
        fs::write(self.dir().join("conf.d/zz-pratique.toml"), drop_in).expect("the drop-in can be written");
        self.restart();
    }

    /// Puts pratique in the place of the OCI runtime. The real one is further back in containerd's search path.
    pub fn gate_starts(&self) {
        std::os::unix::fs::symlink(own("pratique-runtime"), self.dir().join("opt/bin/runc"))
            .expect("containerd's folder of programs can be written");
    }

    /// Stops containerd and starts it again, so that it reads its configuration anew.
    pub fn restart(&mut self) {
        self.order("node_restart");
    }

    fn order(&mut self, command: &str) {
        let orders = self.orders.as_mut().expect("the pipe is open until the node is dropped");
        writeln!(orders, "{command}").expect("the node's shell listens");
        assert_eq!(self.answer(), "done");
    }

    /// Where a blob lies in the registry's own storage.
    pub fn stored_blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest here is sha256");
        self.dir().join("registry/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// containerd's gRPC socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("c.sock")
    }

    /// The folder that holds all of the test, the node's own among it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the node's shell writes text");
        assert!(!line.is_empty(), "the node does not start");
        line.trim_end().to_owned()
    }

    fn show_logs(&self) {
        let node = self.dir().join("log");
        for log in [
            self.folder().join("node.log"),
            node.join("registry.log"),
            node.join("containerd.log"),
            node.join("dockerd.log"),
            self.folder().join("pratiqued.log"),
        ] {
            let written = fs::read(&log).map(|bytes| text(&bytes)).unwrap_or_default();
            let lines: Vec<&str> = written.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("--- end of {}\n{}", log.display(), tail.join("\n"));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show_logs();
        }
        drop(self.orders.take());
        let ended = self.driver.wait();
        if !thread::panicking() {
            assert!(ended.is_ok_and(|status| status.success()), "the node's shell failed");
            assert_eq!(self.dir().try_exists().ok(), Some(false), "the node left its folder behind");
        }
    }
}

/// What a container has printed; nothing where it never did.
pub fn read_printed(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default().trim_end().to_owned()
}

fn tagged(layout: &Path) -> String {
    format!("{}:v1", layout.display())
}
