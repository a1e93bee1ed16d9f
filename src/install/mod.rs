//! Makes containerd ask pratique about every image before it is pulled, unpacked and run, and takes that back.
//!
//! A drop-in beside containerd's configuration, an import of it where there is none, the verifier in the directory that
//! containerd calls verifiers from, and a link where its shim looks for a runtime. containerd itself is shown the result
//! before anything is changed. What was there before is recorded, and `uninstall` puts exactly that back, byte for byte.
//! What somebody else has changed since is theirs, and stays.
//!
//! Nothing here restarts containerd: that is said, and left to whoever decides when.

mod candidate;
mod containerd;
mod diff;
mod drop_in;
mod error;
mod handlers;
mod hook_program;
mod meaning;
mod plan;
mod record;
mod report;
mod runtimes;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod undo;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

pub use candidate::Program;
pub use error::InstallError;
pub use report::{Change, ChangeKind, Report};

use self::candidate::Reader;
use self::plan::Plan;
use self::record::{Entry, Record};
use self::state::State;
use self::undo::undo;

/// The record's name.
const RECORD: &str = "install.json";
const RESTART: &str = "restart containerd, which reads its configuration only then: `systemctl restart containerd`";

/// What is installed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallOptions {
    /// containerd's main configuration file. It need not be there.
    pub containerd_config: PathBuf,
    /// containerd's program: it says which version it is, and what a configuration comes to.
    pub containerd: PathBuf,
    /// The program `pratique-verifier`; none for the one beside this program.
    pub verifier: Option<PathBuf>,
    /// The directory that containerd calls verifiers from; none for the one that its configuration names.
    pub verifier_dir: Option<PathBuf>,
    /// The program `pratique-runtime`; none for the one beside this program.
    pub runtime: Option<PathBuf>,
    /// The daemon's socket `hook.sock`, where it is not the usual one. The other sockets are in the same directory.
    pub socket: Option<PathBuf>,
    /// The snapshotters that the running containerd has; empty where it does not run.
    pub snapshotters: BTreeSet<String>,
    /// The directory of the record.
    pub state_dir: PathBuf,
    /// Tell what would change, and change nothing.
    pub dry_run: bool,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            containerd_config: "/etc/containerd/config.toml".into(),
            containerd: "containerd".into(),
            verifier: None,
            verifier_dir: None,
            runtime: None,
            socket: None,
            snapshotters: BTreeSet::new(),
            state_dir: "/var/lib/pratique".into(),
            dry_run: false,
        }
    }
}

/// Makes containerd ask. What is installed already is left alone, and what an earlier call installed elsewhere is taken
/// back. Nothing is changed unless containerd says that it would read the result as it is meant.
pub fn install(options: &InstallOptions) -> Result<Report, InstallError> {
    install_with(options, &Program::new(options.containerd.clone()))
}

/// The socket of the containerd with this configuration: whether it runs or not.
pub fn containerd_socket(options: &InstallOptions) -> Result<PathBuf, InstallError> {
    let program = Program::new(options.containerd.clone());
    let record = Record::read(&options.state_dir.join(RECORD))?;
    Ok(plan::without_us(options, &record, &program)?.address())
}

/// What was installed, as its record has it.
#[derive(Debug)]
pub struct Installed(Record);

impl Installed {
    /// The record in this directory; empty where there is none.
    pub fn read(state_dir: &Path) -> Result<Self, InstallError> {
        Record::read(&state_dir.join(RECORD)).map(Self)
    }

    /// Whether what lies there was installed, and is as it was installed.
    pub fn holds(&self, path: &Path) -> Result<bool, InstallError> {
        let now = State::read(path)?;
        Ok(self.0.entry(path).is_some_and(|entry| entry.made(&now)))
    }
}

fn install_with(options: &InstallOptions, reader: &impl Reader) -> Result<Report, InstallError> {
    let _alone = alone(options, true)?;
    let record_file = options.state_dir.join(RECORD);
    let old = Record::read(&record_file)?;
    clear(options, &old)?;
    let Work { steps, under_way, settled, mut notes } = work(plan::plan(options, &old, reader)?, &old)?;
    if !steps.is_empty() && !options.dry_run {
        notes.push(RESTART.into());
    }
    if !options.dry_run && (!steps.is_empty() || settled != old) {
        under_way.write(&record_file)?;
        make(&steps)?;
        settled.write(&record_file)?;
    }
    Ok(report(options, &steps, notes))
}

/// What is to be done, and the record of it. It can be taken back from wherever it is broken off: everything stands in
/// the record before it is made, and until it is gone.
struct Work {
    steps: Vec<Step>,
    under_way: Record,
    settled: Record,
    notes: Vec<String>,
}

fn work(plan: Plan, old: &Record) -> Result<Work, InstallError> {
    let Plan { wanted, edited, mut notes } = plan;
    let mut under_way = Record::default();
    let mut steps = Vec::new();
    for (path, after) in wanted {
        let before = State::read(&path)?;
        let entry = old.entry(&path);
        if before == after {
            under_way.entries.extend(entry.cloned().map(Entry::settled));
            continue;
        }
        let is_ours = entry.is_some_and(|entry| entry.made(&before));
        if before != State::Absent && !is_ours && !edited.contains(&path) {
            return Err(InstallError::Conflict { path });
        }
        let original = entry.filter(|_| is_ours).map_or_else(|| before.clone(), Entry::before);
        let earlier = entry.filter(|_| is_ours).map(|entry| entry.after.clone());
        under_way.entries.extend(Entry::of(&path, &original, &after).map(|entry| Entry { earlier, ..entry }));
        let kind = if before == State::Absent { ChangeKind::Create } else { ChangeKind::Change };
        steps.push(Step { path, before, after, kind });
    }
    let stale = old.entries.iter().filter(|entry| under_way.entry(&entry.path).is_none());
    let stale: Vec<Entry> = stale.cloned().collect();
    let undone = undo(stale.iter().rev().cloned().collect())?;
    notes.extend(undone.notes());
    let left = undone.left();
    steps.extend(undone.steps);
    let mut settled = Record { entries: under_way.entries.iter().cloned().map(Entry::settled).collect() };
    settled.entries.extend(left);
    under_way.entries.extend(stale);
    Ok(Work { steps, under_way, settled, notes })
}

/// Takes back what was installed. Without a record there is nothing to take back.
pub fn uninstall(options: &InstallOptions) -> Result<Report, InstallError> {
    let _alone = alone(options, false)?;
    let record_file = options.state_dir.join(RECORD);
    let old = Record::read(&record_file)?;
    clear(options, &old)?;
    let undone = undo(old.entries.iter().rev().cloned().collect())?;
    let (mut notes, left, steps) = (undone.notes(), undone.left(), undone.steps);
    if !steps.is_empty() && !options.dry_run {
        notes.push(RESTART.into());
    }
    let record = Record { entries: left };
    if !options.dry_run && (!steps.is_empty() || record != old) {
        make(&steps)?;
        record.write(&record_file)?;
    }
    Ok(Report { is_whole: record.entries.is_empty(), ..report(options, &steps, notes) })
}

/// Lets no other call work at the same files until it is dropped. A dry run needs no leave.
fn alone(options: &InstallOptions, is_made: bool) -> Result<Option<File>, InstallError> {
    let path = &options.state_dir;
    if options.dry_run {
        return Ok(None);
    }
    let unwritable = |source| InstallError::Write { path: path.clone(), source };
    if is_made {
        // The daemon's own directory, and as closed as it makes it.
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritable)?;
    }
    match File::open(path) {
        Ok(directory) => directory.lock().map(|()| Some(directory)).map_err(unwritable),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_made => Ok(None),
        Err(source) => Err(unwritable(source)),
    }
}

/// Removes what a killed call may have left half made.
fn clear(options: &InstallOptions, record: &Record) -> Result<(), InstallError> {
    if options.dry_run {
        return Ok(());
    }
    state::clear(&options.state_dir.join(RECORD))?;
    record.entries.iter().try_for_each(|entry| state::clear(&entry.path))
}

fn make(steps: &[Step]) -> Result<(), InstallError> {
    steps.iter().try_for_each(|step| step.after.put(&step.path))
}

/// One path and what becomes of it.
struct Step {
    path: PathBuf,
    before: State,
    after: State,
    kind: ChangeKind,
}

fn report(options: &InstallOptions, steps: &[Step], notes: Vec<String>) -> Report {
    let change = |Step { path, before, after, kind }: &Step| Change {
        path: path.clone(),
        kind: *kind,
        diff: diff::unified(path, before, after),
    };
    Report { changes: steps.iter().map(change).collect(), notes, dry_run: options.dry_run, is_whole: true }
}
