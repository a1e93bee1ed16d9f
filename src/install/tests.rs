//! What `install` and `uninstall` do to a machine, and what they leave.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;

use super::testing::Merging;
use super::*;
use crate::effective::{CRI, Effective, IMAGE_VERIFIERS, TRANSFER_DIFFER, Version};
use crate::remedy::Remedy as _;

const CONFIG: &str = "# mine\nversion = 2\n\n[grpc]\n  address = '/run/containerd/containerd.sock'\n";

struct Machine {
    dir: TempDir,
    options: InstallOptions,
}

/// A machine with a verifier, and with this configuration of containerd.
fn machine(config: Option<&str>) -> Machine {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("etc/containerd")).unwrap();
    fs::create_dir_all(root.join("build")).unwrap();
    for program in ["pratique-verifier", "pratique-runtime"] {
        let path = root.join("build").join(program);
        fs::write(&path, "#!/bin/sh\necho \"$PRATIQUE_SOCKET $@\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    if let Some(config) = config {
        fs::write(root.join("etc/containerd/config.toml"), config).unwrap();
    }
    let options = InstallOptions {
        containerd_config: root.join("etc/containerd/config.toml"),
        verifier: Some(root.join("build/pratique-verifier")),
        runtime: Some(root.join("build/pratique-runtime")),
        verifier_dir: Some(root.join("opt/containerd/verifiers")),
        state_dir: root.join("var/lib/pratique"),
        ..InstallOptions::default()
    };
    Machine { dir, options }
}

impl Machine {
    fn containerd(&self, major: u32, minor: u32) -> Merging {
        Merging { version: Version::new(major, minor), opt: self.path("opt/containerd").display().to_string() }
    }

    fn install(&self) -> Result<Report, InstallError> {
        install_with(&self.options, &self.containerd(2, 1))
    }

    /// What the stand-in makes of what lies there now.
    fn effective(&self, containerd: &Merging) -> Effective {
        let main = &self.options.containerd_config;
        let text = containerd::read_text(main).unwrap().unwrap_or_default();
        let files = containerd::Files::read(main, &text, Path::new("/none")).unwrap();
        containerd.effective(&files.candidate(|_| candidate::Shown::AsItLies)).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Everything that is there.
    fn tree(&self) -> BTreeMap<PathBuf, State> {
        let mut tree = BTreeMap::new();
        let mut pending = vec![self.dir.path().to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let state = State::read(&path).unwrap();
                if state == State::Directory {
                    pending.push(path.clone());
                }
                tree.insert(path, state);
            }
        }
        // The record's own directory stays, empty: others keep things there.
        tree.retain(|path, _| !path.starts_with(self.path("var")) && !path.starts_with(self.path("build")));
        tree
    }
}

#[test]
fn a_later_file_that_takes_the_verifier_back_is_not_installed_beside() {
    let config = "version = 3\nimports = [\"conf.d/*.toml\"]\n";
    for (said, expected) in [
        ("max_verifiers = 0", Some("image-verifiers-overridden")),
        ("bin_dir = \"/elsewhere\"", Some("image-verifiers-overridden")),
        ("per_verifier_timeout = \"20s\"", None),
    ] {
        let machine = machine(Some(config));
        fs::create_dir_all(machine.path("etc/containerd/conf.d")).unwrap();
        let later = format!("[plugins.\"{IMAGE_VERIFIERS}\"]\n{said}\n");
        fs::write(machine.path("etc/containerd/conf.d/99-z.toml"), later).unwrap();
        let before = machine.tree();
        let code = machine.install().err().map(|error| error.code().as_str());
        assert_eq!(code, expected, "{said}");
        assert!(expected.is_none() || machine.tree() == before, "{said}");
    }
}

#[test]
fn what_is_installed_is_taken_back_byte_for_byte_and_both_twice_is_once() {
    for config in [None, Some(CONFIG), Some("imports = ['conf.d/*.toml']\n"), Some("")] {
        let machine = machine(config);
        let before = machine.tree();
        assert!(!machine.install().unwrap().changes.is_empty());
        let installed = machine.tree();
        assert_eq!(machine.install().unwrap().to_string(), "nothing to change\n");
        assert_eq!(machine.tree(), installed);
        assert!(!uninstall(&machine.options).unwrap().changes.is_empty());
        assert_eq!(machine.tree(), before, "{config:?}");
        assert_eq!(uninstall(&machine.options).unwrap().to_string(), "nothing to change\n");
        assert_eq!(State::read(&machine.path("var/lib/pratique/install.json")).unwrap(), State::Absent);
    }
}

#[test]
fn a_dry_run_shows_everything_and_changes_nothing() {
    let mut machine = machine(Some(CONFIG));
    machine.options.dry_run = true;
    let before = machine.tree();
    let shown = machine.install().unwrap().to_string();
    assert_eq!(machine.tree(), before);
    let main = machine.path("etc/containerd/config.toml").display().to_string();
    let glob = machine.path("etc/containerd/conf.d/*.toml").display().to_string();
    assert!(shown.contains(&format!("--- {main}\n+++ {main}\n@@ -1,5 +1,6 @@\n # mine\n version = 2\n")), "{shown}");
    assert!(shown.contains(&format!("+imports = [\"{glob}\"]\n")), "{shown}");
    assert!(shown.contains("+  max_verifiers = 10\n") && shown.contains("99-pratique.toml"), "{shown}");
    assert!(shown.contains("00-pratique"), "{shown}");

    machine.options.dry_run = false;
    machine.install().unwrap();
    machine.options.dry_run = true;
    let installed = machine.tree();
    let shown = uninstall(&machine.options).unwrap().to_string();
    assert!(shown.contains(&format!("-imports = [\"{glob}\"]\n")), "{shown}");
    assert_eq!(machine.tree(), installed);
}

#[test]
fn what_somebody_else_has_changed_since_is_left_and_told() {
    let machine = machine(Some(CONFIG));
    machine.install().unwrap();
    let main = machine.path("etc/containerd/config.toml");
    let theirs = format!("{}\n# and theirs\n", fs::read_to_string(&main).unwrap());
    fs::write(&main, &theirs).unwrap();
    fs::write(machine.path("etc/containerd/conf.d/50-theirs.toml"), "").unwrap();
    for _ in 0..2 {
        let told = uninstall(&machine.options).unwrap().to_string();
        assert!(told.contains(&format!("{} was changed since", main.display())), "{told}");
        assert_eq!(fs::read_to_string(&main).unwrap(), theirs);
        assert!(!machine.path("etc/containerd/conf.d/99-pratique.toml").try_exists().unwrap());
        assert!(machine.path("etc/containerd/conf.d/50-theirs.toml").try_exists().unwrap());
    }
}

#[test]
fn a_runtime_that_somebody_elses_file_calls_stays_until_it_does_not() {
    let machine = machine(Some(CONFIG));
    machine.install().unwrap();
    let (drop_in, runtime) =
        (machine.path("etc/containerd/conf.d/99-pratique.toml"), machine.path("opt/containerd/bin/runc"));
    let installed = fs::read_to_string(&drop_in).unwrap();
    fs::write(&drop_in, format!("{installed}# and theirs\n")).unwrap();
    for _ in 0..2 {
        let report = uninstall(&machine.options).unwrap();
        assert!(!report.is_whole && report.to_string().contains("still calls it"), "{report}");
        assert!(runtime.try_exists().unwrap());
    }
    fs::write(&drop_in, "# theirs alone\n").unwrap();
    assert!(!uninstall(&machine.options).unwrap().is_whole);
    assert!(!runtime.try_exists().unwrap());
    fs::remove_file(&drop_in).unwrap();
    assert!(uninstall(&machine.options).unwrap().is_whole);
}

#[test]
fn what_others_have_put_in_the_way_is_not_overwritten() {
    for path in ["opt/containerd/verifiers/00-pratique", "etc/containerd/conf.d/99-pratique.toml"] {
        let machine = machine(Some(CONFIG));
        fs::create_dir_all(machine.path(path).parent().unwrap()).unwrap();
        fs::write(machine.path(path), "theirs").unwrap();
        let before = machine.tree();
        let error = machine.install().unwrap_err();
        assert!(matches!(&error, InstallError::Conflict { path: p } if *p == machine.path(path)), "{error}");
        assert_eq!(machine.tree(), before);
    }
}

#[test]
fn another_directory_moves_the_verifier_and_takes_the_old_one_back() {
    let mut machine = machine(Some(CONFIG));
    let before = machine.tree();
    machine.install().unwrap();
    machine.options.verifier_dir = Some(machine.path("srv/verifiers"));
    machine.install().unwrap();
    assert!(!machine.path("opt/containerd/verifiers").try_exists().unwrap());
    assert!(machine.path("srv/verifiers/00-pratique").try_exists().unwrap());
    let drop_in = fs::read_to_string(machine.path("etc/containerd/conf.d/99-pratique.toml")).unwrap();
    assert!(drop_in.contains("/srv/verifiers\""), "{drop_in}");
    uninstall(&machine.options).unwrap();
    assert_eq!(machine.tree(), before);
}

#[test]
fn the_directory_that_containerd_names_is_used() {
    let mut machine = machine(None);
    let theirs = machine.path("srv/theirs");
    let config = format!("version = 3\n[plugins.\"{}\"]\nbin_dir = '{}'\n", IMAGE_VERIFIERS, theirs.display());
    fs::write(&machine.options.containerd_config, config).unwrap();
    machine.options.verifier_dir = None;
    machine.install().unwrap();
    assert!(theirs.join("00-pratique").try_exists().unwrap());
}

#[test]
fn another_socket_is_told_to_the_verifier() {
    let machine = machine(Some(CONFIG));
    let socket = Some("/run/it's other/hook.sock".into());
    let script = plan::verifier(&InstallOptions { socket, ..machine.options.clone() }).unwrap();
    script.put(&machine.path("00-pratique")).unwrap();
    let called = Command::new(machine.path("00-pratique")).args(["-name", "a b"]).output();
    assert_eq!(String::from_utf8(called.unwrap().stdout).unwrap(), "/run/it's other/hook.sock -name a b\n");
}

#[test]
fn every_gate_is_in_force_once_installed() {
    let machine = machine(Some(CONFIG));
    let containerd = machine.containerd(2, 1);
    machine.install().unwrap();
    let effective = machine.effective(&containerd);
    let link = machine.path("opt/containerd/bin/runc");
    assert_eq!(effective.differs(), ["pratique", "walking"]);
    assert_eq!(effective.handlers()[0].binary.as_deref(), Some(link.as_path()));
    let unpack: Vec<_> = effective.unpack().into_iter().map(|unpack| (unpack.snapshotter, unpack.differ)).collect();
    assert_eq!(unpack, ["native", "overlayfs"].map(|name| (name.to_owned(), Some(TRANSFER_DIFFER.to_owned()))));
    assert!(link.try_exists().unwrap());
}

#[test]
fn containerd_1_7_has_its_line_about_cri_in_the_file_that_speaks_of_cri() {
    let cri = format!(
        "[plugins.\"{CRI}\".containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n\
                       [plugins.\"{CRI}\".containerd.runtimes.runc.options]\n  SystemdCgroup = true\n"
    );
    let importing = "version = 2\nimports = ['conf.d/*.toml']\n".to_owned();
    for (main, other) in [
        (None, None),
        (Some(CONFIG.to_owned()), None),
        (Some(format!("{CONFIG}{cri}")), None),
        (Some(format!("{importing}{cri}")), Some(format!("# theirs\n{cri}"))),
    ] {
        let machine = machine(main.as_deref());
        let theirs = machine.path("etc/containerd/conf.d/50-cri.toml");
        if let Some(other) = &other {
            fs::create_dir_all(theirs.parent().unwrap()).unwrap();
            fs::write(&theirs, other).unwrap();
        }
        let before = machine.tree();
        let containerd = machine.containerd(1, 7);
        let has_cgroup = |effective: &Effective| {
            let options = &effective.handler_table("runc").unwrap()["options"];
            options.get("SystemdCgroup").and_then(toml::Value::as_bool).unwrap_or_default()
        };
        let had = has_cgroup(&machine.effective(&containerd));
        install_with(&machine.options, &containerd).unwrap();
        let effective = machine.effective(&containerd);
        assert_eq!(effective.differs(), ["pratique", "walking"]);
        let handler = effective.handlers().remove(0);
        assert_eq!(handler.binary, Some(machine.path("opt/containerd/bin/runc")));
        assert!(handler.calls_oci_runtime() && has_cgroup(&effective) == had, "{main:?}");
        let drop_in = fs::read_to_string(machine.path("etc/containerd/conf.d/99-pratique.toml")).unwrap();
        assert!(!drop_in.contains(CRI) && !drop_in.contains("unpack_config") && !drop_in.contains("bindir"));
        let again = install_with(&machine.options, &containerd).unwrap();
        assert!(again.changes.is_empty(), "{again}");
        uninstall(&machine.options).unwrap();
        assert_eq!(machine.tree(), before, "{main:?}");
    }
}

#[test]
fn what_containerd_would_read_otherwise_is_not_installed() {
    for (later, expected) in [
        ("[plugins.\"io.containerd.service.v1.diff-service\"]\ndefault = ['walking']\n", Some("install-not-as-meant")),
        ("[proxy_plugins.pratique]\naddress = '/elsewhere'\n", Some("install-not-as-meant")),
        ("disabled_plugins = ['io.containerd.service.v1.diff-service']\n", Some("install-not-as-meant")),
        ("[proxy_plugins.other]\naddress = '/elsewhere'\n", None),
    ] {
        let machine = machine(Some("version = 3\nimports = ['conf.d/*.toml']\n"));
        fs::create_dir_all(machine.path("etc/containerd/conf.d")).unwrap();
        fs::write(machine.path("etc/containerd/conf.d/99-z.toml"), later).unwrap();
        let before = machine.tree();
        let code = machine.install().err().map(|error| error.code().as_str());
        assert_eq!(code, expected, "{later}");
        assert!(expected.is_none() || machine.tree() == before, "{later}");
    }
}

#[test]
fn a_containerd_that_is_too_old_is_left_alone_and_the_oldest_is_not() {
    let machine = machine(Some(CONFIG));
    let error = install_with(&machine.options, &machine.containerd(1, 6)).unwrap_err();
    assert_eq!(error.code().as_str(), "containerd-too-old");
    assert!(install_with(&machine.options, &machine.containerd(1, 7)).is_ok());
}

#[test]
fn what_the_first_version_installed_is_taken_over_and_taken_back() {
    let machine = machine(Some(CONFIG));
    let before = machine.tree();
    // As that version left it: the verifier's drop-in, its import, and a record of both.
    let drop_in = machine.path("etc/containerd/conf.d/99-pratique.toml");
    fs::create_dir_all(drop_in.parent().unwrap()).unwrap();
    let old = format!("version = 2\n[plugins.\"{IMAGE_VERIFIERS}\"]\n  max_verifiers = 10\n");
    fs::write(&drop_in, &old).unwrap();
    let main = machine.options.containerd_config.clone();
    let imported = CONFIG.replace("version = 2\n", "version = 2\nimports = ['conf.d/*.toml']\n");
    fs::write(&main, &imported).unwrap();
    let hash = |text: &str| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text.as_bytes()));
    let record = serde_json::json!({ "entries": [
        { "path": drop_in.parent().unwrap(), "before": null, "after": "directory" },
        { "path": drop_in, "before": null, "after": { "file": hash(&old) } },
        { "path": main, "before": { "text": CONFIG, "mode": 0o644 }, "after": { "file": hash(&imported) } },
    ] });
    fs::create_dir_all(machine.path("var/lib/pratique")).unwrap();
    fs::write(machine.path("var/lib/pratique/install.json"), record.to_string()).unwrap();
    machine.install().unwrap();
    assert_eq!(machine.effective(&machine.containerd(2, 1)).differs(), ["pratique", "walking"]);
    uninstall(&machine.options).unwrap();
    assert_eq!(machine.tree(), before);
}

#[test]
fn a_call_that_was_broken_off_anywhere_is_completed_or_taken_back() {
    for is_completed in [false, true] {
        for is_update in [false, true] {
            for made in 0..8 {
                broken_off(is_completed, is_update, made);
            }
        }
    }
}

/// As `kill -9` leaves it after so many steps: the record is written, and the steps from there on are not made.
fn broken_off(is_completed: bool, is_update: bool, made: usize) {
    let mut machine = machine(Some(CONFIG));
    let before = machine.tree();
    if is_update {
        machine.install().unwrap();
        machine.options.verifier_dir = Some(machine.path("srv/verifiers"));
        fs::write(machine.path("build/pratique-runtime"), "another version").unwrap();
    }
    let earlier = machine.tree();
    let begun = fs::read(machine.path("var/lib/pratique/install.json")).ok();
    let report = machine.install().unwrap();
    let after = machine.tree();
    // Back to where it was, and again so far. The record is what it was while the work was under way.
    let _ = fs::remove_dir_all(machine.path("srv"));
    restore(&machine, &earlier);
    let record = machine.path("var/lib/pratique/install.json");
    match &begun {
        Some(bytes) => fs::write(&record, bytes).unwrap(),
        None => fs::remove_file(&record).unwrap(),
    }
    let (steps, under_way) = begin(&machine);
    under_way.write(&record).unwrap();
    assert_eq!(steps.len(), report.changes.len());
    make(&steps[..made.min(steps.len())]).unwrap();
    fs::write(machine.path("etc/containerd/conf.d/.99-pratique.toml.pratique"), "half").ok();
    if is_completed {
        machine.install().unwrap();
        assert_eq!(machine.tree(), after, "{is_update} {made}");
    }
    uninstall(&machine.options).unwrap();
    assert_eq!(machine.tree(), before, "{is_completed} {is_update} {made}");
}

fn begin(machine: &Machine) -> (Vec<Step>, Record) {
    let old = Record::read(&machine.path("var/lib/pratique/install.json")).unwrap();
    let plan = plan::plan(&machine.options, &old, &machine.containerd(2, 1)).unwrap();
    let work = work(plan, &old).unwrap();
    (work.steps, work.under_way)
}

fn restore(machine: &Machine, tree: &BTreeMap<PathBuf, State>) {
    for path in machine.tree().keys().rev().filter(|path| !tree.contains_key(*path)) {
        State::Absent.put(path).unwrap();
    }
    for (path, state) in tree.iter().filter(|(path, state)| State::read(path).unwrap() != **state) {
        state.put(path).unwrap();
    }
}

#[test]
fn a_verifier_that_stays_is_linked_and_one_that_may_go_is_copied() {
    let machine = machine(Some(CONFIG));
    let state = |program: &str| {
        plan::verifier(&InstallOptions { verifier: Some(program.into()), ..machine.options.clone() }).unwrap()
    };
    assert_eq!(state("/usr/bin/env"), State::Link("/usr/bin/env".into()));
    let copied = state(machine.path("build/pratique-verifier").to_str().unwrap());
    assert!(matches!(copied, State::File { mode: 0o755, .. }));
    let missing = InstallOptions { verifier: Some("/usr/bin/none".into()), ..machine.options.clone() };
    let refused = install_with(&missing, &machine.containerd(2, 1));
    assert!(matches!(refused, Err(InstallError::NoVerifier { .. })));
}

#[test]
fn a_link_in_the_main_files_place_stays_a_link() {
    let machine = machine(None);
    fs::write(machine.path("etc/real.toml"), CONFIG).unwrap();
    let link = machine.options.containerd_config.clone();
    std::os::unix::fs::symlink(machine.path("etc/real.toml"), &link).unwrap();
    let before = machine.tree();
    machine.install().unwrap();
    assert_eq!(State::read(&link).unwrap(), State::Link(machine.path("etc/real.toml")));
    uninstall(&machine.options).unwrap();
    assert_eq!(machine.tree(), before);
}
