//! `pratique doctor`, held by what it prints: with a containerd that says what its configuration comes to and does not run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

struct Machine {
    dir: TempDir,
}

/// A node on which everything lies where it must, its daemon and its containerd down.
fn machine(more: &str) -> Machine {
    let machine = Machine { dir: tempfile::tempdir().unwrap() };
    let root = machine.dir.path().display().to_string();
    for directory in ["opt/bin", "verifiers", "run", "usr", "state"] {
        fs::create_dir_all(machine.path(directory)).unwrap();
    }
    for program in ["usr/pratique-verifier", "usr/pratique-runtime", "usr/containerd"] {
        fs::write(machine.path(program), "#!/bin/sh\n").unwrap();
    }
    let dump = DUMP.replace("ROOT", &root) + &more.replace("ROOT", &root);
    fs::write(machine.path("dump.toml"), dump).unwrap();
    let containerd = format!(
        "#!/bin/sh\ncase \"$*\" in *dump) cat {root}/dump.toml;; *) echo containerd github.com/x v2.1.9;; esac\n"
    );
    fs::write(machine.path("usr/containerd"), containerd).unwrap();
    for program in fs::read_dir(machine.path("usr")).unwrap() {
        fs::set_permissions(program.unwrap().path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink(machine.path("usr/pratique-verifier"), machine.path("verifiers/00-pratique")).unwrap();
    symlink(machine.path("usr/pratique-runtime"), machine.path("opt/bin/runc")).unwrap();
    let config = format!(
        "notation_dir = '{root}/notation'\n[sockets]\ndir = '{root}/run'\n[containerd]\nsocket = '{root}/c.sock'\n"
    );
    fs::write(machine.path("config.toml"), config).unwrap();
    machine
}

const DUMP: &str = r"
version = 3
[grpc]
address = 'ROOT/c.sock'
[proxy_plugins.pratique]
type = 'diff'
address = 'ROOT/run/diff.sock'
[proxy_plugins.pratique-transfer]
type = 'diff'
address = 'ROOT/run/diff-transfer.sock'
[plugins.'io.containerd.service.v1.diff-service']
default = ['pratique', 'walking']
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
snapshotter = 'overlayfs'
differ = 'pratique-transfer'
[plugins.'io.containerd.image-verifier.v1.bindir']
bin_dir = 'ROOT/verifiers'
max_verifiers = 10
per_verifier_timeout = '10s'
[plugins.'io.containerd.internal.v1.opt']
path = 'ROOT/opt'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
options = { BinaryName = 'ROOT/opt/bin/runc' }
";

impl Machine {
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn doctor(&self, arguments: &[&str]) -> Output {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_pratique"));
        doctor.arg("doctor").arg("--containerd").arg(self.path("usr/containerd"));
        doctor
            .arg("--containerd-config")
            .arg(self.path("containerd.toml"))
            .arg("--config")
            .arg(self.path("config.toml"));
        doctor.arg("--state-dir").arg(self.path("state")).args(arguments).output().unwrap()
    }

    /// The codes of what is found beyond the daemon that is down.
    fn codes(&self) -> Vec<String> {
        let printed: Value = serde_json::from_slice(&self.doctor(&["--output", "json"]).stdout).unwrap();
        let findings = printed["findings"].as_array().unwrap();
        let calls = findings.iter().filter(|finding| finding["severity"] != "note");
        let codes = calls.map(|finding| finding["code"].as_str().unwrap().to_owned());
        codes.filter(|code| code != "daemon-down").collect()
    }
}

#[test]
fn what_is_down_is_told_with_its_fix_and_what_cannot_be_asked_is_unknown() {
    let machine = machine("");
    let output = machine.doctor(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("1 wrong, 0 weak (containerd 2.1)\n"), "{text}");
    let hook = machine.path("run/hook.sock").display().to_string();
    let down = format!("error    the daemon's sockets are not there, and nothing is let through: {hook}, ");
    assert!(
        text.contains(&down) && text.contains(" [daemon-down]\n         fix: systemctl start pratiqued\n"),
        "{text}"
    );
    assert!(text.contains("unknown  what containerd runs with: "), "{text}");
    assert!(text.lines().count() <= 24, "it fits one screen: {text}");
    assert_eq!(machine.codes(), [""; 0]);
}

#[test]
fn each_way_round_the_gates_has_its_code() {
    let with = |more: &str| machine(more).codes();
    assert_eq!(with("[plugins.'io.containerd.cri.v1.images']\nuse_local_image_pull = true\n"), ["cri-pulls-by-itself"]);
    let kata =
        "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]\nruntime_type = 'io.containerd.kata.v2'\n";
    assert_eq!(with(kata), ["handler-without-gate"]);
    assert_eq!(
        with("[proxy_plugins.stargz]\ntype = 'snapshot'\naddress = '/run/x.sock'\n"),
        ["snapshotter-unpacks-itself"]
    );
    let emptied = machine("");
    fs::remove_file(emptied.path("verifiers/00-pratique")).unwrap();
    assert_eq!(emptied.codes(), ["verifier-not-installed"]);
    let unlinked = machine("");
    fs::remove_file(unlinked.path("opt/bin/runc")).unwrap();
    assert_eq!(unlinked.codes(), ["runtime-link-missing", "handler-runtime-missing"]);
    let foreign = machine("");
    fs::remove_file(foreign.path("opt/bin/runc")).unwrap();
    symlink("/bin/true", foreign.path("opt/bin/runc")).unwrap();
    assert_eq!(foreign.codes(), ["runtime-link-foreign", "handler-runtime-foreign"]);
}

#[test]
fn a_trust_anchor_that_ends_soon_is_noted_where_the_policy_names_it() {
    let machine = machine("");
    let notation = machine.path("notation");
    fs::create_dir(&notation).unwrap();
    for name in ["ann", "bob"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pratique"));
        command.args(["cert", "generate-test", name, "--key-type", "ec-256", "--notation-dir"]).arg(&notation);
        assert!(command.status().unwrap().success());
    }
    fs::write(notation.join("trustpolicy.json"), crate::node::policy("strict", &["ca:ann"], &["*"])).unwrap();
    let output = machine.doctor(&["--output", "json"]);
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = printed["findings"].as_array().unwrap().iter();
    let noted: Vec<&Value> = findings.filter(|finding| finding["code"] == "trust-anchor-expires-soon").collect();
    assert_eq!(noted.len(), 1, "{printed}");
    let fact = "the trust anchor `CN=ann,O=Notary,L=Seattle,ST=WA,C=US` of `ca:ann` expires within 1 day(s)";
    assert_eq!((&noted[0]["severity"], &noted[0]["fact"]), (&"note".into(), &fact.into()));
}

#[test]
fn without_a_containerd_to_ask_nothing_can_be_told() {
    let machine = machine("");
    fs::remove_file(machine.path("usr/containerd")).unwrap();
    let output = machine.doctor(&[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said.contains("[containerd-program-missing]") && said.contains("hint: name it: `--containerd FILE`"),
        "{said}"
    );
}

#[test]
fn a_containerd_that_only_does_not_run_is_unknown_and_not_well() {
    let machine = machine("");
    let sockets = ["hook.sock", "diff.sock", "diff-transfer.sock", "pratiqued.sock"];
    let listening = sockets.map(|name| std::os::unix::net::UnixListener::bind(machine.path("run").join(name)).unwrap());
    let output = machine.doctor(&["--output", "json"]);
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    drop(listening);
    assert_eq!(output.status.code(), Some(3), "{printed}");
    assert!(printed["unknown"].as_array().unwrap().len() >= 2, "{printed}");
}

#[test]
fn a_path_that_is_not_there_is_no_panic() {
    let none = Path::new("/none");
    let doctor =
        Command::new(env!("CARGO_BIN_EXE_pratique")).args(["doctor", "--containerd"]).arg(none).output().unwrap();
    assert_eq!(doctor.status.code(), Some(3));
}
