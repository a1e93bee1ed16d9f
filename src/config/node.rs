//! How this node runs: `config.toml`.
//!
//! Every key has a default, and a file that is absent at its usual place means all of them. A file that is there is
//! understood to its last key or refused: a misspelt `mode` must not quietly become `enforce`, nor a misspelt limit the
//! default. `config/config.toml` in the source tree shows every key with its default.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::file::{self, FileError};
use super::plugins::PluginConfig;
use super::revocation::RevocationConfig;
use super::value;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::oci::{Digest, Repository};
use crate::policy::{ImageVolumes, Mode, OrphanLayers, Reconcile, SandboxImage, WithoutImage};
use crate::remedy::{Code, Remedy, printable};

/// Where the file lies unless another place is named.
const DEFAULT_PATH: &str = "/etc/pratique/config.toml";
/// The image layout with the signatures of images that were built here, in the directory of the state.
const SIGNATURES: &str = "signatures";
/// The largest configuration file, in bytes: a hundred times what a file with every key and its comments has.
const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// The configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The directory with `trustpolicy.json` and `truststore/`, in notation's layout.
    #[serde(deserialize_with = "value::absolute_path")]
    pub notation_dir: PathBuf,
    /// What becomes of a denied image.
    pub mode: Mode,
    /// The directory of what must survive: the ledger, and signatures of images that were built here.
    #[serde(deserialize_with = "value::absolute_path")]
    pub state_dir: PathBuf,
    /// Images that are admitted without a signature and without asking anybody.
    pub boot_floor: Vec<Digest>,
    /// What becomes of what came past the gates.
    pub reconcile: Reconcile,
    /// `[sockets]`.
    pub sockets: SocketConfig,
    /// `[limits]`.
    pub limits: LimitConfig,
    /// `[cache]`.
    pub cache: CacheConfig,
    /// `[registry]`.
    pub registry: RegistryConfig,
    /// `[revocation]`.
    pub revocation: RevocationConfig,
    /// `[plugins]`.
    pub plugins: PluginConfig,
    /// `[containerd]`.
    pub containerd: ContainerdConfig,
    /// `[gates]`.
    pub gates: GateConfig,
    /// `[run]`.
    pub run: RunConfig,
    /// `[local_images]`.
    pub local_images: LocalImageConfig,
    /// `[log]`.
    pub log: LogConfig,
    /// `[metrics]`.
    pub metrics: MetricsConfig,
}

/// Where the daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketConfig {
    /// The directory of the sockets.
    #[serde(deserialize_with = "value::absolute_path")]
    pub dir: PathBuf,
}

/// What one question may cost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// The longest that a question may take, whatever is waited for. Not zero, and less than the 9 s that the hooks wait.
    #[serde(deserialize_with = "value::time_to_answer")]
    pub total_timeout: Duration,
    /// How many signatures of an image are examined. At least one.
    #[serde(deserialize_with = "value::at_least_one")]
    pub max_signatures: usize,
    /// The largest envelope, in bytes: at least one, at most [`MAX_ENVELOPE_SIZE`](crate::envelope::limits::MAX_ENVELOPE_SIZE).
    #[serde(deserialize_with = "value::envelope_size")]
    pub envelope_size: u64,
}

/// How long a verdict is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// The longest that an admission is kept; its inputs may end it earlier. Zero keeps none.
    #[serde(deserialize_with = "value::duration")]
    pub max_age: Duration,
    /// How long a denial is kept. Zero keeps none.
    #[serde(deserialize_with = "value::duration")]
    pub denied_for: Duration,
    /// How many verdicts are kept.
    pub capacity: u64,
}

/// How registries are asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// The hosts, with their port where one is used, that are asked without TLS.
    #[serde(deserialize_with = "value::hosts")]
    pub insecure: Vec<String>,
    /// The directory of docker's `config.json`, which holds credentials.
    #[serde(deserialize_with = "value::optional_absolute_path")]
    pub docker_config: Option<PathBuf>,
    /// The longest that one host may keep a question waiting, over all its answers. Not zero.
    #[serde(deserialize_with = "value::positive_duration")]
    pub host_timeout: Duration,
}

/// Where containerd is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerdConfig {
    /// Its gRPC socket.
    #[serde(deserialize_with = "value::absolute_path")]
    pub socket: PathBuf,
}

/// Which of containerd's questions are answered besides the image verifier's, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// Whether `diff.sock` and `diff-transfer.sock` are served.
    pub diff: bool,
    /// What becomes of a layer that no manifest lists.
    pub orphan_layers: OrphanLayers,
    /// Whether the registry in an image's name is asked for signatures before its layers are unpacked.
    pub ask_registry: bool,
    /// Whether the OCI runtime's questions are answered.
    pub run: bool,
}

/// How starts of containers are judged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// What becomes of a container that names no image.
    pub without_image: WithoutImage,
    /// The containerd namespaces in which builders run their steps, which name no image.
    pub builder_namespaces: Vec<String>,
    /// What becomes of a pod's sandbox.
    pub sandbox: SandboxImage,
    /// What becomes of images that are mounted beside a container's own.
    pub image_volumes: ImageVolumes,
    /// Whether signatures that this node does not hold are looked for in the image's registry.
    pub ask_registry: bool,
}

/// How images are judged that came from no registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalImageConfig {
    /// The repository as which the trust policy sees them. None: there is no statement for them, and they are denied.
    #[serde(deserialize_with = "value::repository")]
    pub scope: Option<Repository>,
    /// Whether their signatures are looked for in that repository, too, where containerd's content store has none.
    pub ask_registry: bool,
}

/// Where counts are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address, with its port. None: nowhere.
    pub listen: Option<SocketAddr>,
}

/// What the daemon says about its work.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// Which lines are written, in the syntax of `tracing`'s `EnvFilter`.
    #[serde(deserialize_with = "value::filter")]
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            notation_dir: "/etc/pratique".into(),
            mode: Mode::default(),
            state_dir: "/var/lib/pratique".into(),
            boot_floor: Vec::new(),
            reconcile: Reconcile::default(),
            sockets: SocketConfig::default(),
            limits: LimitConfig::default(),
            cache: CacheConfig::default(),
            registry: RegistryConfig::default(),
            revocation: RevocationConfig::default(),
            plugins: PluginConfig::default(),
            containerd: ContainerdConfig::default(),
            gates: GateConfig::default(),
            run: RunConfig::default(),
            local_images: LocalImageConfig::default(),
            log: LogConfig::default(),
            metrics: MetricsConfig::default(),
        }
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self { dir: "/run/pratique".into() }
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        // Containerd gives an image verifier 10 s: the answer has to be there before.
        Self { total_timeout: Duration::from_secs(8), max_signatures: 100, envelope_size: DEFAULT_ENVELOPE_SIZE }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(60 * 60), denied_for: Duration::from_secs(10), capacity: 10_000 }
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self { insecure: Vec::new(), docker_config: None, host_timeout: Duration::from_secs(30) }
    }
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        Self { socket: "/run/containerd/containerd.sock".into() }
    }
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { diff: true, orphan_layers: OrphanLayers::default(), ask_registry: true, run: true }
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            without_image: WithoutImage::default(),
            // BuildKit's own, unless it is configured otherwise.
            builder_namespaces: vec!["buildkit".into()],
            sandbox: SandboxImage::default(),
            image_volumes: ImageVolumes::default(),
            ask_registry: true,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".into() }
    }
}

/// Why a node's configuration could not be put into force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeConfigError {
    /// The file that was named is not there.
    #[error("there is no configuration at {}", path.display())]
    Missing {
        /// The path named.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        source: FileError,
    },
    /// The file is not TOML, or says something that does not exist.
    #[error("{}:{line}: {}{message}", path.display(), Key(key.as_deref()))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key with its section, such as `limits.total_timeout`, where one is to blame.
        key: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// The gate before a start without the one that it depends on.
    #[error("{}: `gates.run` needs `gates.diff`: no container could be started", path.display())]
    RunWithoutDiff {
        /// The file.
        path: PathBuf,
    },
}

/// The key in front of a message.
struct Key<'a>(Option<&'a str>);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |key| write!(f, "`{key}`: "))
    }
}

impl Remedy for NodeConfigError {
    fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code("config-missing"),
            Self::Unreadable { .. } => Code("config-unreadable"),
            Self::Invalid { .. } => Code("config-invalid"),
            Self::RunWithoutDiff { .. } => Code("config-contradiction"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("name a file that is there, or none to run with the defaults".into()),
            Self::Unreadable { source, .. } => source.remedy(),
            Self::RunWithoutDiff { .. } => Some("set both, or none".into()),
            Self::Invalid { line, key, .. } => {
                let what = key.as_ref().map_or_else(|| format!("line {line}"), |key| format!("`{key}`"));
                Some(format!("mend {what}, or remove it to use the default"))
            }
        }
    }
}

impl NodeConfig {
    /// The configuration in the file named, which must be there; or in `/etc/pratique/config.toml`, whose absence means
    /// every default.
    pub fn load(path: Option<&Path>) -> Result<Self, NodeConfigError> {
        match path {
            Some(path) => Self::read(path)?.ok_or_else(|| NodeConfigError::Missing { path: path.to_owned() }),
            None => Ok(Self::read(Path::new(DEFAULT_PATH))?.unwrap_or_default()),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, NodeConfigError> {
        let bytes = match file::read_linked(path, MAX_FILE_SIZE) {
            Ok(bytes) => bytes,
            Err(FileError::Absent) => return Ok(None),
            Err(source) => return Err(NodeConfigError::Unreadable { path: path.to_owned(), source }),
        };
        let config: Self = toml::from_slice(&bytes).map_err(|error| invalid(path, &bytes, error))?;
        config.agrees_with_itself(path)?;
        Ok(Some(config))
    }

    /// The image layout in which this node keeps signatures of its own.
    pub fn signature_store(&self) -> PathBuf {
        self.state_dir.join(SIGNATURES)
    }

    fn agrees_with_itself(&self, path: &Path) -> Result<(), NodeConfigError> {
        // What is unpacked is written down by the one gate and looked up by the other.
        if self.gates.run && !self.gates.diff {
            return Err(NodeConfigError::RunWithoutDiff { path: path.to_owned() });
        }
        Ok(())
    }
}

/// The TOML library's error, with the line and key it can tell.
fn invalid(path: &Path, text: &[u8], error: toml::de::Error) -> NodeConfigError {
    let span = error.span().unwrap_or_default();
    let line = text.get(..span.start).unwrap_or_default().split(|byte| *byte == b'\n').count();
    let message = error.message().to_owned();
    let mut key = key_of(error);
    // A key that does not exist is not counted among the keys that led there: it is the place of the error itself.
    if let Some(unknown) = text.get(span).filter(|_| message.starts_with("unknown field")) {
        let unknown = printable(&String::from_utf8_lossy(unknown));
        key = Some(key.map_or_else(|| unknown.clone(), |section| format!("{section}.{unknown}")));
    }
    NodeConfigError::Invalid { path: path.to_owned(), line, key, message }
}

/// The keys that lead to the value to blame, joined by dots.
fn key_of(mut error: toml::de::Error) -> Option<String> {
    let message = error.message().to_owned();
    // Without the text to show, the library shows the key instead, on a line after the message.
    error.set_input(None);
    let shown = error.to_string();
    let key = shown.strip_prefix(&message)?.trim().strip_prefix("in `")?.strip_suffix('`')?;
    Some(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use std::fs;

    fn read(text: &str) -> Result<NodeConfig, NodeConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        fs::write(&path, text).unwrap();
        NodeConfig::load(Some(&path))
    }

    #[test]
    fn the_example_that_is_shipped_says_the_defaults() {
        assert_eq!(NodeConfig::load(Some(Path::new("config/config.toml"))).unwrap(), NodeConfig::default());
        assert_eq!(read("").unwrap(), NodeConfig::default());
        // And it names every key: uncommented keys are parsed, commented ones are looked for.
        let example = fs::read_to_string("config/config.toml").unwrap();
        for key in [
            "notation_dir",
            "mode",
            "dir",
            "total_timeout",
            "max_signatures",
            "envelope_size",
            "max_age",
            "denied_for",
            "capacity",
            "insecure",
            "docker_config",
            "host_timeout",
            "socket",
            "diff",
            "orphan_layers",
            "state_dir",
            "boot_floor",
            "reconcile",
            "run",
            "without_image",
            "builder_namespaces",
            "sandbox",
            "image_volumes",
            "scope",
            "ask_registry",
            "format",
            "filter",
            "listen",
        ] {
            assert!(example.contains(&format!("{key} = ")), "{key}");
        }
    }

    #[test]
    fn the_trust_policy_that_is_shipped_is_valid() {
        Policy::parse(&fs::read("config/trustpolicy.json").unwrap()).unwrap();
    }

    #[test]
    fn the_gate_before_a_start_needs_the_one_before_unpack() {
        assert_eq!(read("gates.diff = false").unwrap_err().code(), Code("config-contradiction"));
        read("gates.diff = false\ngates.run = false").unwrap();
        read("gates.run = false").unwrap();
    }

    #[test]
    fn every_key_can_be_set() {
        let config = read(
            r#"
            notation_dir = "/root/.config/notation"
            mode = "audit"
            state_dir = "/srv/pratique"
            boot_floor = ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
            reconcile = "remove"
            sockets.dir = "/run/other"
            [limits]
            total_timeout = "8s 999ms"
            max_signatures = 1
            envelope_size = 10485760
            [cache]
            max_age = "0s"
            denied_for = "500ms"
            capacity = 0
            [registry]
            insecure = ["localhost:5000", "[::1]:5000", "registry.example"]
            docker_config = "/root/.docker"
            host_timeout = "1h"
            [revocation]
            timeout = "3s"
            ocsp_timeout = "1s"
            crl_timeout = "3s"
            allow_private = true
            crl_dir = "/etc/pratique/crls"
            [containerd]
            socket = "/run/k3s/containerd/containerd.sock"
            [gates]
            diff = false
            orphan_layers = "deny"
            ask_registry = false
            run = false
            [run]
            without_image = "allow"
            builder_namespaces = []
            sandbox = "allow"
            image_volumes = "deny"
            ask_registry = false
            [local_images]
            scope = "registry.example/local-images"
            ask_registry = true
            [log]
            format = "json"
            filter = "info,pratique=debug"
            [metrics]
            listen = "127.0.0.1:9464"
            "#,
        )
        .unwrap();
        assert_eq!((config.notation_dir.to_str().unwrap(), config.mode), ("/root/.config/notation", Mode::Audit));
        assert_eq!(config.sockets.dir, Path::new("/run/other"));
        assert_eq!(config.limits.total_timeout, Duration::from_millis(8999));
        assert_eq!(
            (config.limits.max_signatures, config.limits.envelope_size),
            (1, crate::envelope::limits::MAX_ENVELOPE_SIZE)
        );
        assert_eq!((config.cache.max_age, config.cache.denied_for), (Duration::ZERO, Duration::from_millis(500)));
        assert_eq!((config.cache.capacity, config.registry.insecure.len()), (0, 3));
        assert_eq!(config.registry.docker_config.as_deref(), Some(Path::new("/root/.docker")));
        assert_eq!(config.registry.host_timeout, Duration::from_secs(3600));
        let expected = RevocationConfig {
            timeout: Duration::from_secs(3),
            ocsp_timeout: Duration::from_secs(1),
            crl_timeout: Duration::from_secs(3),
            allow_private: true,
            crl_dir: Some("/etc/pratique/crls".into()),
        };
        assert_eq!(config.revocation, expected);
        assert_eq!(config.containerd.socket, Path::new("/run/k3s/containerd/containerd.sock"));
        assert_eq!(
            config.gates,
            GateConfig { diff: false, orphan_layers: OrphanLayers::Deny, ask_registry: false, run: false }
        );
        assert_eq!(config.metrics.listen, Some("127.0.0.1:9464".parse().unwrap()));
        assert_eq!(config.reconcile, Reconcile::Remove);
        assert_eq!(
            (config.state_dir.as_path(), config.boot_floor),
            (Path::new("/srv/pratique"), vec![Digest::sha256(b"")])
        );
        assert_eq!(
            config.run,
            RunConfig {
                without_image: WithoutImage::Allow,
                builder_namespaces: Vec::new(),
                sandbox: SandboxImage::Allow,
                image_volumes: ImageVolumes::Deny,
                ask_registry: false,
            }
        );
        let local = config.local_images;
        assert_eq!(local.scope.map(|scope| scope.to_string()).as_deref(), Some("registry.example/local-images"));
        assert!(local.ask_registry);
        assert_eq!((config.log.format, config.log.filter.as_str()), (LogFormat::Json, "info,pratique=debug"));
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_its_key() {
        #[rustfmt::skip]
        let cases = [
            ("\nmode = \"off\"", 2, Some("mode")),
            ("\n\nmood = \"audit\"", 3, Some("mood")),
            ("[limits]\nmood = 8", 2, Some("limits.mood")),
            ("[limits]\ntotal_timeout = 8", 2, Some("limits.total_timeout")),
            ("[limits]\ntotal_timeout = \"8\"", 2, Some("limits.total_timeout")),
            ("[limits]\ntotal_timeout = \"0s\"", 2, Some("limits.total_timeout")),
            ("[limits]\ntotal_timeout = \"-8s\"", 2, Some("limits.total_timeout")),
            ("[limits]\ntotal_timeout = \"9s\"", 2, Some("limits.total_timeout")),
            ("[cache]\nmax_age = \"100000h\"", 2, Some("cache.max_age")),
            ("[limits]\nmax_signatures = 0", 2, Some("limits.max_signatures")),
            ("[limits]\nmax_signatures = -1", 2, Some("limits.max_signatures")),
            ("[limits]\n\nenvelope_size = 10485761", 3, Some("limits.envelope_size")),
            ("[registry]\ninsecure = [\"https://a.example\"]", 2, Some("registry.insecure")),
            ("[registry]\ndocker_config = \".docker\"", 2, Some("registry.docker_config")),
            ("[revocation]\ncrl_dir = \"crls\"", 2, Some("revocation.crl_dir")),
            ("[revocation]\nocsp_timeout = \"0s\"", 2, Some("revocation.ocsp_timeout")),
            ("[sockets]\ndir = \"run\"", 2, Some("sockets.dir")),
            ("[containerd]\nsocket = \"c.sock\"", 2, Some("containerd.socket")),
            ("[gates]\norphan_layers = \"allow\"", 2, Some("gates.orphan_layers")),
            ("[local_images]\nscope = \"local\"", 2, Some("local_images.scope")),
            ("[local_images]\nscope = \"registry.example/local:v1\"", 2, Some("local_images.scope")),
            ("[log]\nfilter = \"=,=\"", 2, Some("log.filter")),
            ("[log]\nfilter = \"info,loud\"", 2, Some("log.filter")),
            ("[log]\nformat = \"xml\"", 2, Some("log.format")),
            ("mode = \"audit\"\nmode = \"audit\"", 2, None),
            ("mode = ", 1, None),
        ];
        for (text, expected_line, expected_key) in cases {
            let error = read(text).expect_err(text);
            assert_eq!(error.code(), Code("config-invalid"), "{text}");
            let NodeConfigError::Invalid { line, key, .. } = &error else { panic!("{error}") };
            assert_eq!((*line, key.as_deref()), (expected_line, expected_key), "{text:?}: {error}");
        }
        let error = read("[limits]\nmax_signatures = 0").unwrap_err().to_string();
        assert!(error.ends_with("config.toml:2: `limits.max_signatures`: the number must not be zero"), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("config.toml");
        assert_eq!(NodeConfig::load(Some(&absent)).unwrap_err().code(), Code("config-missing"));
        assert_eq!(NodeConfig::read(&absent).unwrap(), None);
        assert_eq!(NodeConfig::load(Some(directory.path())).unwrap_err().code(), Code("config-unreadable"));
    }
}
