//! A node to run `pratique` on, and what a run came to.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pratique::oci::{Descriptor, media_type};
use serde_json::{Value, json};

use crate::registry::{self, Builder, ScriptedRegistry};

pub const REPOSITORY: &str = "team/app";

/// What is said of the key of a [`Scene`] each time that it signs: certificates for testing are short-lived.
pub const EXPIRES_SOON: &str = "warning [certificate-expires-soon]: the certificate `CN=ann,O=Notary,L=Seattle,ST=WA,C=US` expires \
                                in less than a day, at [TIME]; renew it\n";

/// Nobody, on every Linux.
const NOBODY: u32 = 65534;

/// A notation directory, a home of its own, and nothing else in the environment.
pub struct Node {
    home: tempfile::TempDir,
    /// What is written in place of texts that differ from run to run.
    names: Vec<(String, &'static str)>,
    environment: Vec<(&'static str, String)>,
    unprivileged: bool,
}

impl Node {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("notation")).unwrap();
        let names = vec![(home.path().display().to_string(), "[HOME]")];
        Self { home, names, environment: Vec::new(), unprivileged: false }
    }

    /// A node whose policy is this text.
    pub fn with_policy(policy: impl AsRef<[u8]>) -> Self {
        let node = Self::new();
        node.write("trustpolicy.json", policy);
        node
    }

    /// The home directory, in which every command runs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path in the notation directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("notation").join(name)
    }

    /// Writes a file of the notation directory.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes a file of the home directory.
    pub fn write_home(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Makes a file of the notation directory a program.
    pub fn make_program(&self, name: &str) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Installs the plugin of the tests under this name.
    pub fn install_plugin(&self, name: &str) {
        let program = format!("plugins/{name}/notation-{name}");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins/plugin.sh");
        self.write(&program, fs::read(script).unwrap());
        self.make_program(&program);
    }

    /// Writes `name` in place of `text` from now on.
    pub fn call(&mut self, text: String, name: &'static str) {
        self.names.push((text, name));
    }

    /// Sets a variable for all further runs.
    pub fn set(&mut self, variable: &'static str, value: String) {
        self.environment.push((variable, value));
    }

    /// From now on runs are by a user to whom file modes mean something; everything here belongs to that user.
    pub fn drop_privileges(&mut self) {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return;
        }
        self.unprivileged = true;
        give_to_nobody(self.home.path());
    }

    /// Makes a file or directory unreadable.
    pub fn lock(&self, name: &str) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o000)).unwrap();
    }

    /// Runs `pratique` with these arguments, parted at blanks.
    pub fn run(&self, arguments: &str) -> Ran {
        self.run_all(&arguments.split_whitespace().collect::<Vec<_>>(), "")
    }

    /// Runs `pratique` with these arguments and this text on stdin.
    pub fn run_all(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut child = self.command(arguments).spawn().unwrap();
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            command: arguments.join(" "),
            exit: output.status.code().expect("ended by a signal"),
            raw_stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stdout: self.normalise(&output.stdout),
            stderr: self.normalise(&output.stderr),
        }
    }

    /// `pratique` with these arguments, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pratique"));
        command.args(arguments).env_clear().env("HOME", self.home.path());
        command.env("PRATIQUE_NOTATION_DIR", self.path("")).env("COLUMNS", "100").current_dir(self.home.path());
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.unprivileged {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs a command at a terminal of its own, types the answer once a question stands there, and gives whether that was so
    /// and what was shown.
    pub fn at_a_terminal(&self, arguments: &str, answer: &str) -> (bool, String) {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_pratique"));
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--echo", "never", "--command", &line, "/dev/null"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        command.env("PRATIQUE_NOTATION_DIR", self.path("")).env("HOME", self.path("")).current_dir(self.home.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (mut shown, mut buffer, mut typed) = (Vec::new(), [0; 512], false);
        loop {
            let read = stdout.read(&mut buffer).unwrap_or(0);
            if read == 0 {
                break;
            }
            shown.extend_from_slice(&buffer[..read]);
            if !typed && shown.ends_with(b": ") {
                stdin.write_all(answer.as_bytes()).unwrap();
                stdin.flush().unwrap();
                typed = true;
            }
        }
        let _ = child.wait();
        (typed, String::from_utf8_lossy(&shown).into_owned())
    }

    /// Known names, and in the place of whatever differs from run to run what it is.
    fn normalise(&self, text: &[u8]) -> String {
        let mut text = String::from_utf8(text.to_vec()).unwrap();
        for (from, to) in &self.names {
            text = text.replace(from, to);
        }
        text = replace_pattern(&text, "dddd-dd-ddTdd:dd:ddZ", "[TIME]");
        text = replace_pattern(&text, "dddd-dd-dd", "[DATE]");
        replace_pattern(&text, &"h".repeat(64), "[HEX]")
    }
}

fn give_to_nobody(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_to_nobody(&entry.unwrap().path());
        }
    }
}

/// Replaces every text of this form: `d` is a digit, `h` a hexadecimal digit, anything else itself.
fn replace_pattern(text: &str, pattern: &str, by: &str) -> String {
    let fits = |text: &str| {
        let mut characters = text.chars();
        pattern.chars().all(|form| {
            characters.next().is_some_and(|c| match form {
                'd' => c.is_ascii_digit(),
                'h' => c.is_ascii_hexdigit(),
                other => c == other,
            })
        })
    };
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if fits(rest) {
            replaced.push_str(by);
            rest = &rest[pattern.len()..];
        } else {
            replaced.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    replaced
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub command: String,
    pub exit: i32,
    /// As it came out.
    pub raw_stdout: String,
    /// Normalised, as stderr is.
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Holds the exit status and both streams. Expectations begin on a line of their own.
    #[track_caller]
    pub fn is(&self, exit: i32, stdout: &str, stderr: &str) {
        let shown = |exit: i32, stdout: &str, stderr: &str| {
            format!("exit {exit}\n--- stdout\n{stdout}--- stderr\n{stderr}---\n")
        };
        let (wanted, got) = (
            shown(exit, stdout.trim_start_matches('\n'), stderr.trim_start_matches('\n')),
            shown(self.exit, &self.stdout, &self.stderr),
        );
        assert!(wanted == got, "pratique {}\n=== wanted\n{wanted}=== got\n{got}", self.command);
    }

    /// Holds the exit status alone, for a step on the way to what a test is about.
    #[track_caller]
    pub fn exits(self, exit: i32) -> Self {
        assert_eq!(self.exit, exit, "{self:?}");
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.raw_stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Holds exit status, answer, code and failed check of `verify --output json`, and that the members that every
    /// answer has are there.
    #[track_caller]
    pub fn answers(&self, exit: i32, answer: &str, code: &str, failed: Option<&str>) {
        let document = self.json();
        assert!(document["findings"].is_array(), "{self:?}");
        assert!(document["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{self:?}");
        let got = (self.exit, document["answer"].as_str(), document["code"].as_str(), document["failed"].as_str());
        assert!(document.get("failed").is_some(), "{self:?}");
        assert_eq!(got, (exit, Some(answer), Some(code), failed), "{self:?}");
    }
}

/// A node and a registry with one image.
pub struct Scene {
    pub node: Node,
    pub registry: ScriptedRegistry,
    pub image: Vec<u8>,
}

impl Scene {
    /// A node that trusts ann for every image, and a registry without peculiarities.
    pub async fn new() -> Self {
        Self::of(ScriptedRegistry::builder()).await
    }

    pub async fn of(script: Builder) -> Self {
        let registry = script.start().await;
        let image = registry::image("app");
        registry.put_manifest(REPOSITORY, Some("v1"), media_type::IMAGE_MANIFEST, &image);
        let mut node = Node::with_policy(policy("strict", &["ca:ann"], &["*"]));
        node.run("cert generate-test ann --key-type ec-256 --default").exits(0);
        node.call(registry.host(), "[HOST]");
        node.call(Descriptor::of(media_type::IMAGE_MANIFEST, &image).digest.to_string(), "[IMAGE]");
        Self { node, registry, image }
    }

    /// The image by its digest.
    pub fn image(&self) -> String {
        let digest = Descriptor::of(media_type::IMAGE_MANIFEST, &self.image).digest;
        format!("{}/{REPOSITORY}@{digest}", self.registry.host())
    }

    /// The image by its tag.
    pub fn tag(&self) -> String {
        format!("{}/{REPOSITORY}:v1", self.registry.host())
    }

    /// Runs a command with the image by its digest and further arguments.
    pub fn run(&self, command: &str) -> Ran {
        self.node.run(&format!("{command} {}", self.image()))
    }

    /// `verify --output json` with further arguments.
    pub fn verify(&self, arguments: &str) -> Ran {
        self.run(&format!("verify --output json {arguments}"))
    }

    /// Puts an envelope on the image that `pratique sign` would not make.
    pub fn put_envelope(&self, envelope: &[u8]) {
        self.registry.put_blob(REPOSITORY, envelope);
        let manifest = registry::signature(&self.image, envelope);
        self.registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &manifest);
    }

    /// `notation verify` of the image, by the real program, with this root in its trust store.
    pub fn notation_accepts(&self, root: &Path) {
        let home = tempfile::tempdir().unwrap();
        let store = home.path().join("notation/truststore/x509/ca/acme");
        fs::create_dir_all(&store).unwrap();
        fs::copy(root, store.join("root.pem")).unwrap();
        fs::write(home.path().join("notation/trustpolicy.json"), policy("strict", &["ca:acme"], &["*"])).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/notation");
        let mut command = Command::new(&program);
        command.args(["verify", "--insecure-registry", &self.image()]).env_clear().env("HOME", home.path());
        let output = command.env("XDG_CONFIG_HOME", home.path()).output();
        let output =
            output.unwrap_or_else(|error| panic!("{} (tests/env/tools.sh makes it): {error}", program.display()));
        assert!(output.status.success(), "{}: {output:?}", root.display());
    }

    /// Gives a further signer a key, whom nobody trusts yet.
    pub fn add_signer(&self, name: &str) {
        self.node.run(&format!("cert generate-test {name} --key-type ec-256")).exits(0);
    }
}

/// A policy with one statement for every image.
pub fn policy(level: &str, stores: &[&str], identities: &[&str]) -> String {
    let document = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": level, "override": {"revocation": "skip"}},
            "trustStores": stores,
            "trustedIdentities": identities,
        }],
    });
    format!("{document:#}\n")
}
