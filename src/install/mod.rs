//! Makes containerd ask pratique about every image that it pulls, and takes that back.
//!
//! Three things: a drop-in beside containerd's configuration, an import of it where there is none, and the verifier in
//! the directory that containerd calls verifiers from. What was there before is recorded, and `uninstall` puts exactly
//! that back, byte for byte. What somebody else has changed since is theirs, and stays.
//!
//! Nothing here restarts containerd: that is said, and left to whoever decides when.

mod containerd;
mod diff;
mod drop_in;
mod error;
mod plan;
mod record;
mod state;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

pub use error::InstallError;

use self::plan::Plan;
use self::record::{Entry, Record};
use self::state::State;

/// The record's name.
const RECORD: &str = "install.json";
const RESTART: &str = "restart containerd, which reads its configuration only then: `systemctl restart containerd`";

/// What is installed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallOptions {
    /// containerd's main configuration file. It need not be there.
    pub containerd_config: PathBuf,
    /// The program `pratique-verifier`; none for the one beside this program.
    pub verifier: Option<PathBuf>,
    /// The directory that containerd calls verifiers from; none for the one that its configuration names.
    pub verifier_dir: Option<PathBuf>,
    /// The daemon's socket `hook.sock`, where it is not the usual one.
    pub socket: Option<PathBuf>,
    /// The directory of the record.
    pub state_dir: PathBuf,
    /// Tell what would change, and change nothing.
    pub dry_run: bool,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            containerd_config: "/etc/containerd/config.toml".into(),
            verifier: None,
            verifier_dir: None,
            socket: None,
            state_dir: "/var/lib/pratique".into(),
            dry_run: false,
        }
    }
}

/// What was changed, or would be. Shown as lines for people; as a unified diff where nothing was changed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they are made.
    pub changes: Vec<Change>,
    /// What else there is to know, one sentence each.
    pub notes: Vec<String>,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// One path that was changed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: PathBuf,
    /// What becomes of it.
    pub kind: ChangeKind,
    /// The difference, as `diff -u` shows it.
    pub diff: String,
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is made.
    Create,
    /// It was there, and says something else now.
    Change,
    /// It is as it was before.
    Restore,
    /// It is removed.
    Remove,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.kind {
            ChangeKind::Create => "created",
            ChangeKind::Change => "changed",
            ChangeKind::Restore => "restored",
            ChangeKind::Remove => "removed",
        };
        write!(f, "{done} {}", self.path.display())
    }
}

impl fmt::Display for Report {
    /// One line for each change and note, each ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            writeln!(f, "nothing to change")?;
        }
        for change in &self.changes {
            if self.dry_run {
                write!(f, "{}", change.diff)?;
            } else {
                writeln!(f, "{change}")?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// Makes containerd ask. What is installed already is left alone, and what an earlier call installed elsewhere is taken
/// back.
pub fn install(options: &InstallOptions) -> Result<Report, InstallError> {
    let Plan { wanted, main, mut notes } = plan::plan(options)?;
    let record_file = options.state_dir.join(RECORD);
    let old = Record::read(&record_file)?;
    let mut record = Record::default();
    let mut steps = Vec::new();
    for (path, after) in wanted {
        let before = State::read(&path)?;
        let entry = old.entry(&path);
        if before == after {
            record.entries.extend(entry.cloned());
            continue;
        }
        let is_ours = entry.is_some_and(|entry| entry.made(&before));
        if before != State::Absent && !is_ours && path != main {
            return Err(InstallError::Conflict { path });
        }
        let original = entry.filter(|_| is_ours).map_or_else(|| before.clone(), Entry::before);
        let kind = if before == State::Absent { ChangeKind::Create } else { ChangeKind::Change };
        record.entries.extend(Entry::of(&path, &original, &after));
        steps.push(Step { path, before, after, kind });
    }
    let stale = old.entries.into_iter().filter(|entry| record.entry(&entry.path).is_none());
    let (undone, left) = undo(stale.rev().collect())?;
    notes.extend(left.iter().map(left_alone));
    record.entries.extend(left);
    steps.extend(undone);
    if !steps.is_empty() && !options.dry_run {
        notes.push(RESTART.into());
    }
    // The record first: whatever happens in between, it can be taken back.
    apply(options, &steps, |now| if now == Moment::Before { record.write(&record_file) } else { Ok(()) })?;
    Ok(report(options, &steps, notes))
}

/// Takes back what was installed. Without a record there is nothing to take back.
pub fn uninstall(options: &InstallOptions) -> Result<Report, InstallError> {
    let record_file = options.state_dir.join(RECORD);
    let old = Record::read(&record_file)?;
    let (steps, left) = undo(old.entries.into_iter().rev().collect())?;
    let mut notes: Vec<String> = left.iter().map(left_alone).collect();
    if !steps.is_empty() && !options.dry_run {
        notes.push(RESTART.into());
    }
    let record = Record { entries: left };
    apply(options, &steps, |now| if now == Moment::After { record.write(&record_file) } else { Ok(()) })?;
    Ok(report(options, &steps, notes))
}

/// One path and what becomes of it.
struct Step {
    path: PathBuf,
    before: State,
    after: State,
    kind: ChangeKind,
}

/// When the record is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

fn apply(
    options: &InstallOptions,
    steps: &[Step],
    record: impl Fn(Moment) -> Result<(), InstallError>,
) -> Result<(), InstallError> {
    if options.dry_run {
        return Ok(());
    }
    record(Moment::Before)?;
    steps.iter().try_for_each(|step| step.after.put(&step.path))?;
    record(Moment::After)
}

fn report(options: &InstallOptions, steps: &[Step], notes: Vec<String>) -> Report {
    let change = |Step { path, before, after, kind }: &Step| Change {
        path: path.clone(),
        kind: *kind,
        diff: diff::unified(path, before, after),
    };
    Report { changes: steps.iter().map(change).collect(), notes, dry_run: options.dry_run }
}

/// What takes these entries back, and the entries that are not ours any more.
fn undo(entries: Vec<Entry>) -> Result<(Vec<Step>, Vec<Entry>), InstallError> {
    let (mut steps, mut left): (Vec<Step>, Vec<Entry>) = (Vec::new(), Vec::new());
    for entry in entries {
        let (before, after) = (State::read(&entry.path)?, entry.before());
        if before == after {
            continue; // it was never put there, or somebody has taken it back already
        }
        if !entry.made(&before) {
            left.push(entry);
            continue;
        }
        let kind = if after == State::Absent { ChangeKind::Remove } else { ChangeKind::Restore };
        let path = entry.path;
        if before == State::Directory && !empties(&path, &steps)? {
            continue; // somebody uses it
        }
        steps.push(Step { path, before, after, kind });
    }
    left.reverse();
    Ok((steps, left))
}

/// Whether nothing is left in a directory after these steps.
fn empties(directory: &Path, steps: &[Step]) -> Result<bool, InstallError> {
    let unreadable = |source| InstallError::Read { path: directory.to_owned(), source };
    let removed = |path: &Path| steps.iter().any(|step| step.after == State::Absent && step.path == path);
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        if !removed(&entry.map_err(unreadable)?.path()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn left_alone(entry: &Entry) -> String {
    format!("{} was changed since it was installed, and is left as it is", entry.path.display())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;
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
        fs::write(root.join("build/pratique-verifier"), "#!/bin/sh\necho \"$PRATIQUE_SOCKET $@\"\n").unwrap();
        fs::set_permissions(root.join("build/pratique-verifier"), fs::Permissions::from_mode(0o755)).unwrap();
        if let Some(config) = config {
            fs::write(root.join("etc/containerd/config.toml"), config).unwrap();
        }
        let options = InstallOptions {
            containerd_config: root.join("etc/containerd/config.toml"),
            verifier: Some(root.join("build/pratique-verifier")),
            verifier_dir: Some(root.join("opt/containerd/bin")),
            state_dir: root.join("var/lib/pratique"),
            ..InstallOptions::default()
        };
        Machine { dir, options }
    }

    impl Machine {
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
            tree.retain(|path, _| !path.starts_with(self.path("var")));
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
            let later = format!("[plugins.\"{}\"]\n{said}\n", containerd::PLUGIN);
            fs::write(machine.path("etc/containerd/conf.d/99-z.toml"), later).unwrap();
            let before = machine.tree();
            let code = install(&machine.options).err().map(|error| error.code().as_str());
            assert_eq!(code, expected, "{said}");
            assert!(expected.is_none() || machine.tree() == before, "{said}");
        }
    }

    #[test]
    fn what_is_installed_is_taken_back_byte_for_byte_and_both_twice_is_once() {
        for config in [None, Some(CONFIG), Some("imports = ['conf.d/*.toml']\n"), Some("")] {
            let machine = machine(config);
            let before = machine.tree();
            assert!(!install(&machine.options).unwrap().changes.is_empty());
            let installed = machine.tree();
            assert_eq!(install(&machine.options).unwrap().to_string(), "nothing to change\n");
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
        let shown = install(&machine.options).unwrap().to_string();
        assert_eq!(machine.tree(), before);
        let main = machine.path("etc/containerd/config.toml").display().to_string();
        let glob = machine.path("etc/containerd/conf.d/*.toml").display().to_string();
        assert!(
            shown.contains(&format!("--- {main}\n+++ {main}\n@@ -1,5 +1,6 @@\n # mine\n version = 2\n")),
            "{shown}"
        );
        assert!(shown.contains(&format!("+imports = [\"{glob}\"]\n")), "{shown}");
        assert!(shown.contains("+  max_verifiers = 10\n") && shown.contains("99-pratique.toml"), "{shown}");
        assert!(shown.contains("00-pratique"), "{shown}");

        machine.options.dry_run = false;
        install(&machine.options).unwrap();
        machine.options.dry_run = true;
        let installed = machine.tree();
        let shown = uninstall(&machine.options).unwrap().to_string();
        assert!(shown.contains(&format!("-imports = [\"{glob}\"]\n")), "{shown}");
        assert_eq!(machine.tree(), installed);
    }

    #[test]
    fn what_somebody_else_has_changed_since_is_left_and_told() {
        let machine = machine(Some(CONFIG));
        install(&machine.options).unwrap();
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
    fn what_others_have_put_in_the_way_is_not_overwritten() {
        for path in ["opt/containerd/bin/00-pratique", "etc/containerd/conf.d/99-pratique.toml"] {
            let machine = machine(Some(CONFIG));
            fs::create_dir_all(machine.path(path).parent().unwrap()).unwrap();
            fs::write(machine.path(path), "theirs").unwrap();
            let before = machine.tree();
            let error = install(&machine.options).unwrap_err();
            assert!(matches!(&error, InstallError::Conflict { path: p } if *p == machine.path(path)), "{error}");
            assert_eq!(machine.tree(), before);
        }
    }

    #[test]
    fn another_directory_moves_the_verifier_and_takes_the_old_one_back() {
        let mut machine = machine(Some(CONFIG));
        let before = machine.tree();
        install(&machine.options).unwrap();
        machine.options.verifier_dir = Some(machine.path("srv/verifiers"));
        install(&machine.options).unwrap();
        assert!(!machine.path("opt").try_exists().unwrap());
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
        let config = format!("version = 3\n[plugins.\"{}\"]\nbin_dir = '{}'\n", containerd::PLUGIN, theirs.display());
        fs::write(&machine.options.containerd_config, config).unwrap();
        machine.options.verifier_dir = None;
        install(&machine.options).unwrap();
        assert!(theirs.join("00-pratique").try_exists().unwrap());
    }

    #[test]
    fn another_socket_is_told_to_the_verifier() {
        let mut machine = machine(Some(CONFIG));
        machine.options.socket = Some("/run/it's other/hook.sock".into());
        install(&machine.options).unwrap();
        let called = Command::new(machine.path("opt/containerd/bin/00-pratique")).args(["-name", "a b"]).output();
        assert_eq!(String::from_utf8(called.unwrap().stdout).unwrap(), "/run/it's other/hook.sock -name a b\n");
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
        assert!(matches!(install(&missing), Err(InstallError::NoVerifier { .. })));
    }

    #[test]
    fn a_link_in_the_main_files_place_stays_a_link() {
        let machine = machine(None);
        fs::write(machine.path("etc/real.toml"), CONFIG).unwrap();
        let link = machine.options.containerd_config.clone();
        std::os::unix::fs::symlink(machine.path("etc/real.toml"), &link).unwrap();
        let before = machine.tree();
        install(&machine.options).unwrap();
        assert_eq!(State::read(&link).unwrap(), State::Link(machine.path("etc/real.toml")));
        uninstall(&machine.options).unwrap();
        assert_eq!(machine.tree(), before);
    }
}
