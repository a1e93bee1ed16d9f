//! A node of its own for each test: a directory, a daemon in it, and the programs that ask it.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use pratique::client;
use pratique::oci::{Digest, media_type};
use pratique::proto::pratique_client::PratiqueClient;
use pratique::proto::{CheckRequest, CheckResponse, Descriptor, Stage};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// A repository whose images are admitted without a signature.
pub const OPEN: &str = "registry.example/open:v1";
/// A repository that no statement governs.
pub const FOREIGN: &str = "registry.example/foreign:v1";
/// How long anything may take before the test has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A policy that opens these repositories, and nothing else.
pub fn policy(open: &[&str]) -> String {
    let open: Vec<String> = open.iter().map(|repository| format!("\"registry.example/{repository}\"")).collect();
    format!(
        r#"{{"version": "1.0", "trustPolicies": [
    {{"name": "open", "registryScopes": [{}], "signatureVerification": {{"level": "skip"}}}}]}}"#,
        open.join(", ")
    )
}

/// The same, and a statement that trusts a store.
pub fn policy_with_store() -> String {
    policy(&["open"]).replace(
        "}]}",
        r#"},
    {"name": "signed", "registryScopes": ["registry.example/signed"], "signatureVerification": {"level": "strict"},
     "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}"#,
    )
}

pub fn digest() -> Digest {
    Digest::sha256(b"image")
}

/// containerd's question about this image.
pub fn request(name: &str) -> CheckRequest {
    let target = Descriptor { media_type: media_type::IMAGE_MANIFEST.into(), digest: digest().to_string(), size: 5 };
    CheckRequest { name: name.into(), target: Some(target), stage: Stage::Pull.into(), ..CheckRequest::default() }
}

/// The directory of a node, and what is configured there.
pub struct Node {
    dir: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Node {
    /// A node with a good configuration and a good policy.
    pub fn new() -> Self {
        let node = Self { dir: tempfile::tempdir().unwrap(), environment: Vec::new() };
        fs::create_dir(node.path("notation")).unwrap();
        node.configure("");
        node.write_policy(&policy(&["open"]));
        node
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sets a variable for the daemons that are started from now on.
    pub fn set(&mut self, variable: &'static str, value: String) {
        self.environment.push((variable, value));
    }

    pub fn hook_socket(&self) -> PathBuf {
        self.path("run/hook.sock")
    }

    /// Writes the configuration, with these lines at its beginning.
    pub fn configure(&self, more: &str) {
        let root = self.dir.path().display();
        let config = format!(
            "{more}\nstate_dir = \"{root}/state\"\nnotation_dir = \"{root}/notation\"\nsockets.dir = \"{root}/run\"\n\
             containerd.socket = \"{root}/c.sock\"\nlog.format = \"json\"\n"
        );
        fs::write(self.path("config.toml"), config).unwrap();
    }

    /// Writes the policy as editors do: another file, moved into its place.
    pub fn write_policy(&self, text: &str) {
        fs::write(self.path("notation/.new"), text).unwrap();
        fs::rename(self.path("notation/.new"), self.path("notation/trustpolicy.json")).unwrap();
    }

    /// The certificates of the store `ca:acme`.
    pub fn store(&self) -> PathBuf {
        self.path("notation/truststore/x509/ca/acme")
    }

    pub fn write_store(&self, certificate: &str) {
        fs::create_dir_all(self.store()).unwrap();
        fs::write(self.store().join("root.pem"), certificate).unwrap();
    }

    /// A daemon that is to start.
    pub fn start(&self) -> Daemon {
        let daemon = self.spawn();
        daemon.wait_for("READY=1");
        daemon
    }

    /// A daemon that is to refuse to start: its exit status and what it says.
    pub fn refuse(&self) -> (Option<i32>, String) {
        let mut daemon = self.spawn();
        let status = daemon.child.wait().unwrap();
        (status.code(), daemon.log())
    }

    fn spawn(&self) -> Daemon {
        let notify = self.path("notify.sock");
        let _ = fs::remove_file(&notify);
        let told = UnixDatagram::bind(&notify).unwrap();
        told.set_read_timeout(Some(DEADLINE)).unwrap();
        let log = self.path("log");
        let child = Command::new(env!("CARGO_BIN_EXE_pratiqued"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .env("NOTIFY_SOCKET", &notify)
            .envs(self.environment.iter().map(|(variable, value)| (variable, value)))
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Daemon { child, told, log, sockets: self.path("run") }
    }

    /// The verifier, called as containerd calls it.
    pub fn verifier(&self, name: &str) -> Output {
        let descriptor =
            format!(r#"{{"mediaType":"{}","digest":"{}","size":5}}"#, media_type::IMAGE_MANIFEST, digest());
        let digest = digest();
        let media_type = "application/vnd.oci.descriptor.v1+json";
        let args = ["-name", name, "-digest", digest.as_str(), "-stdin-media-type", media_type];
        self.verifier_with(&args, descriptor.as_bytes())
    }

    pub fn verifier_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut verifier = Command::new(env!("CARGO_BIN_EXE_pratique-verifier"))
            .args(args)
            .env("PRATIQUE_SOCKET", self.hook_socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A verifier that has read enough does not wait for the rest.
        let _ = verifier.stdin.take().unwrap().write_all(stdin);
        verifier.wait_with_output().unwrap()
    }
}

/// A daemon that runs; killed when dropped.
pub struct Daemon {
    child: Child,
    told: UnixDatagram,
    log: PathBuf,
    sockets: PathBuf,
}

impl Daemon {
    /// Waits until the daemon tells systemd this, and gives everything that it tells with it.
    pub fn wait_for(&self, state: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self.told.recv(&mut bytes).unwrap_or_else(|error| {
                panic!("the daemon did not say {state}: {error}\n{}", self.log());
            });
            let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if message.lines().any(|line| line == state) {
                return message;
            }
        }
    }

    /// Waits until the policy has been read again.
    pub fn wait_for_reload(&self) {
        self.wait_for("RELOADING=1");
        self.wait_for("READY=1");
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks over `hook.sock`.
    pub fn ask(&self, name: &str) -> CheckResponse {
        self.ask_about(&request(name))
    }

    pub fn ask_about(&self, request: &CheckRequest) -> CheckResponse {
        client::ask(&self.sockets.join("hook.sock"), request, DEADLINE).unwrap()
    }

    /// Somebody who asks over `pratiqued.sock`.
    pub async fn api(&self) -> PratiqueClient<Channel> {
        PratiqueClient::new(channel(&self.sockets.join("pratiqued.sock")).await)
    }
}

async fn channel(socket: &Path) -> Channel {
    Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap().connect().await.unwrap()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
