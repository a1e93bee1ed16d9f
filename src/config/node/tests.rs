use std::fs;
use std::time::Duration;

use super::*;
use crate::policy::{ImageVolumes, OrphanLayers, Policy, SandboxImage, WithoutImage};
use crate::remedy::{Code, Remedy as _};

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
        "config_path",
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
        config_path = "/etc/hosts.d:/srv/hosts.d"
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
    assert_eq!(config.registry.config_path, [Path::new("/etc/hosts.d"), Path::new("/srv/hosts.d")]);
    assert!(read("[registry]\nconfig_path = \"\"").unwrap().registry.config_path.is_empty());
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
        ("[registry]\nconfig_path = \"/etc/certs.d:certs.d\"", 2, Some("registry.config_path")),
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
