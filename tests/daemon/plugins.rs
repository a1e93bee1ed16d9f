//! A daemon that runs verification plugins, and one that does not; and a plugin that hangs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pratique::client;
use pratique::oci::{Descriptor, media_type};
use pratique::proto::{self, Answer, CheckRequest, CheckResponse};

use crate::node::{DEADLINE, Daemon, Node, OPEN, request};
use crate::registry::{self, ScriptedRegistry};

const REPOSITORY: &str = "software/net-monitor";
const PLUGIN: &str = "vec-verify";

/// A node, and a registry with an image that is signed as the vector `plugin-ok` is.
struct Scene {
    node: Node,
    registry: ScriptedRegistry,
    image: Vec<u8>,
}

impl Scene {
    async fn new(more: &str) -> Self {
        let read = |name: &str| fs::read(vector(name)).unwrap();
        let (registry, image) = (ScriptedRegistry::start().await, read("subjects/net-monitor.json"));
        registry.put_manifest(REPOSITORY, None, media_type::IMAGE_MANIFEST, &image);
        let envelope = read("envelopes/plugin-ok.jws");
        registry.put_blob(REPOSITORY, &envelope);
        let signature = registry::signature(&image, &envelope);
        registry.put_referrer(REPOSITORY, media_type::IMAGE_MANIFEST, &signature);
        let node = Node::new();
        let plugins = node.path("plugins");
        node.configure(&more.replace("PLUGINS", &plugins.display().to_string()));
        node.write_policy(
            r#"{"version": "1.0", "trustPolicies": [
    {"name": "open", "registryScopes": ["registry.example/open"], "signatureVerification": {"level": "skip"}},
    {"name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
     "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}"#,
        );
        for root in fs::read_dir(vector("truststores/acme/x509/ca/acme-rockets")).unwrap() {
            let root = root.unwrap();
            fs::create_dir_all(node.store()).unwrap();
            fs::copy(root.path(), node.store().join(root.file_name())).unwrap();
        }
        let program = plugins.join(PLUGIN).join(format!("notation-{PLUGIN}"));
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins/plugin.sh"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { node, registry, image }
    }

    fn of_plugin(&self, name: &str) -> PathBuf {
        self.node.path("plugins").join(PLUGIN).join(name)
    }

    fn question(&self) -> CheckRequest {
        let image = Descriptor::of(media_type::IMAGE_MANIFEST, &self.image);
        let target = proto::Descriptor { media_type: image.media_type, digest: image.digest.to_string(), size: 401 };
        CheckRequest { target: Some(target), ..request(&format!("{}/{REPOSITORY}:v1", self.registry.host())) }
    }

    /// What the daemon answers.
    fn ask(&self) -> CheckResponse {
        client::ask(&self.node.hook_socket(), &self.question(), DEADLINE).unwrap()
    }

    fn asked(&self) -> usize {
        let ran = fs::read_to_string(self.of_plugin("ran")).unwrap_or_default();
        ran.lines().filter(|command| *command == "verify-signature").count()
    }
}

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

fn said(response: &CheckResponse) -> (Answer, &str) {
    (response.answer(), &response.code)
}

fn goes_on_answering(daemon: &Daemon) {
    assert_eq!(daemon.ask(OPEN).answer(), Answer::Admit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_run_where_the_configuration_names_its_directory_and_only_there() {
    let scene = Scene::new("").await;
    {
        let _daemon = scene.node.start();
        assert_eq!(said(&scene.ask()), (Answer::Deny, "plugin-unavailable"));
    }
    assert_eq!(scene.asked(), 0);
    let scene = Scene::new("plugins.dir = \"PLUGINS\"").await;
    let _daemon = scene.node.start();
    assert_eq!(said(&scene.ask()), (Answer::Admit, "admitted"));
    assert_eq!(said(&scene.ask()), (Answer::Admit, "admitted"));
    assert_eq!(scene.asked(), 1, "the answer is good for a while");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_good_for_as_long_as_the_configuration_says() {
    let scene = Scene::new("plugins.dir = \"PLUGINS\"\nplugins.good_for = \"0s\"").await;
    let _daemon = scene.node.start();
    assert_eq!(said(&scene.ask()), (Answer::Admit, "admitted"));
    fs::write(scene.of_plugin("behaviour"), "verify-signature identity-fails").unwrap();
    assert_eq!(said(&scene.ask()), (Answer::Deny, "plugin-untrusted-identity"));
    assert_eq!(scene.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_hangs_leaves_the_question_open_in_time_and_the_daemon_goes_on_answering() {
    for (limits, code) in [
        // The plugin's own time, and the question's.
        ("plugins.timeout = \"1s\"", "plugin-timed-out"),
        ("plugins.timeout = \"60s\"\nlimits.total_timeout = \"2s\"", "timed-out"),
    ] {
        let scene = Scene::new(&format!("plugins.dir = \"PLUGINS\"\n{limits}")).await;
        fs::write(scene.of_plugin("behaviour"), "verify-signature hang").unwrap();
        let daemon = scene.node.start();
        let started = Instant::now();
        let (answer, ()) = std::thread::scope(|scope| {
            let hanging = scope.spawn(|| scene.ask());
            goes_on_answering(&daemon);
            (hanging.join().unwrap(), ())
        });
        assert_eq!(said(&answer), (Answer::Inconclusive, code), "{}", answer.line);
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
        goes_on_answering(&daemon);
        let left = fs::read_to_string(scene.of_plugin("left")).unwrap();
        assert_eq!(left.lines().count(), 2);
        for process in left.lines() {
            until_gone(process);
        }
        // An open question is asked anew, and the plugin may be well again.
        fs::write(scene.of_plugin("behaviour"), "").unwrap();
        assert_eq!(said(&scene.ask()), (Answer::Admit, "admitted"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_misbehaves_admits_nothing_and_ends_no_daemon() {
    let scene = Scene::new("plugins.dir = \"PLUGINS\"").await;
    let daemon = scene.node.start();
    for (behaviour, code) in [
        ("get-plugin-metadata crash", "plugin-crashed"),
        ("get-plugin-metadata flood", "plugin-output-too-large"),
        ("verify-signature flood-stderr", "plugin-output-too-large"),
        ("verify-signature deep", "plugin-answer-malformed"),
        ("verify-signature result-twice", "plugin-answer-malformed"),
    ] {
        fs::write(scene.of_plugin("behaviour"), behaviour).unwrap();
        let answer = scene.ask();
        assert_eq!(said(&answer), (Answer::Inconclusive, code), "{behaviour}");
        assert!(answer.line.contains(&format!("the plugin `{PLUGIN}`: ")), "{}", answer.line);
        goes_on_answering(&daemon);
    }
}

/// Waits until a process has ended; it may still be there for its parent to look at.
fn until_gone(process: &str) {
    let started = Instant::now();
    loop {
        let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        if state.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z')) {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{process} is still there");
        std::thread::yield_now();
    }
}
