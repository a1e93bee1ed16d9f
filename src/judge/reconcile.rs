//! What came past the gates: found after the fact, and told.
//!
//! Every gate is asked by somebody, and whoever has containerd's socket can leave that out: give a name to an image that
//! nobody admits, commit content under the name of a trusted snapshot, start a container by another runtime. containerd
//! tells what happens, so that it can be compared with what was asked. It tells late and nothing of the past, so all is
//! compared when the daemon starts, after a connection was lost, and when another policy is in force.
//!
//! This is no gate: it reports, and removes image records where it is told to.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::following::Pace;
use super::run::{Made, RunGate};
use super::{Answered, Judge, aside};
use crate::clock;
use crate::ledger::Ledger;
use crate::policy::{Mode, Reconcile};
use crate::remedy::one_line;
use crate::rootfs::{DOCKER, Origin, RootFilesystem};
use crate::source::SourceError;
use crate::source::containerd::{Happening, Happenings, Holdings, ImageRecord, Place, What};
use crate::verify::Answer;

/// Whose snapshots are looked at: those whose directories can be followed.
const SNAPSHOTTERS: [&str; 2] = ["overlayfs", "native"];
/// What the name of a snapshot of an image's layers begins with.
const CHAIN: &str = "sha256:";
/// What dockerd calls an image whose name points to another one now, and that is still in use.
const DANGLING: &str = "moby-dangling@";
/// How many image records are judged at once. They are not waited for.
const JUDGED_AT_ONCE: usize = 4;
/// How often it is looked whether another policy is in force.
const LOOK: Duration = Duration::from_secs(30);
/// How often everything is compared: once more after a while, since containerd does not say from when on it tells what
/// happens.
const COMPARISONS: u32 = 2;
/// How old a start must be to be forgotten because its container does not run, in seconds: one that is being made is not
/// listed yet.
const SETTLED: i64 = 600;
/// How many findings are remembered, so that each is told once.
const MAX_TOLD: usize = 10_000;

/// What came past the gates.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The containerd namespace.
    pub namespace: String,
    /// What it is.
    pub kind: FindingKind,
}

/// What came past the gates.
#[derive(Clone, Debug)]
pub enum FindingKind {
    /// A name points to an image that is not admitted.
    Image {
        /// The image record.
        record: ImageRecord,
        /// The verdict about it.
        answered: Answered,
        /// Whether the record was removed.
        removed: bool,
    },
    /// Snapshots under the names of layers were not unpacked through pratique.
    Snapshots {
        /// The snapshotter.
        snapshotter: String,
        /// Their names.
        names: Vec<String>,
    },
    /// A container was started, and nobody asked.
    Task {
        /// The container.
        container: String,
    },
}

/// Who is told.
pub trait Report: Send + Sync {
    /// Takes a finding.
    fn found(&self, finding: Finding);
}

/// What is asked of containerd.
pub trait Observed: Made + Happenings + Holdings {}

impl<T: Made + Happenings + Holdings> Observed for T {}

/// Compares what containerd has with what was asked.
pub struct Reconciler {
    containerd: Arc<dyn Observed>,
    ledger: Arc<Ledger>,
    on_denial: Reconcile,
    told: Mutex<HashSet<String>>,
}

/// Who judges, and who is told.
#[derive(Clone, Copy)]
pub struct Court<'a> {
    /// Judges images.
    pub judge: &'a Judge,
    /// Knows under which name.
    pub gate: &'a RunGate,
    /// Whether the node enforces its verdicts.
    pub mode: Mode,
    /// Is told.
    pub report: &'a dyn Report,
}

impl Reconciler {
    /// A reconciler that does this with image records that are not admitted.
    pub fn new(containerd: Arc<dyn Observed>, ledger: Arc<Ledger>, on_denial: Reconcile) -> Self {
        Self { containerd, ledger, on_denial, told: Mutex::default() }
    }

    /// Compares, for ever.
    pub async fn run(&self, court: Court<'_>) {
        let mut pace = Pace::new("what comes past the gates");
        loop {
            pace.rest(self.follow_once(court).await).await;
        }
    }

    async fn follow_once(&self, court: Court<'_>) -> Result<(), SourceError> {
        // First, so that nothing falls between the comparison and the events.
        let mut happenings = self.containerd.happenings().await?;
        let mut look = tokio::time::interval(LOOK);
        let (mut compared, mut due) = (None, 0);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let policy = court.judge.trust().digest().clone();
                    if compared.as_ref() != Some(&policy) {
                        (compared, due) = (Some(policy), COMPARISONS);
                    }
                    if due > 0 {
                        self.compare(court).await?;
                        due -= 1;
                    }
                }
                happening = happenings.next() => match happening {
                    Some(happening) => self.note(court, happening).await?,
                    None => return Ok(()),
                }
            }
        }
    }

    async fn note(&self, court: Court<'_>, Happening { namespace, what }: Happening) -> Result<(), SourceError> {
        match what {
            What::ImageNamed { name } => {
                if let Some(record) = self.containerd.image(&namespace, &name).await? {
                    self.judge(court, &namespace, record).await?;
                }
            }
            What::SnapshotCommitted { snapshotter, name } => {
                if SNAPSHOTTERS.contains(&snapshotter.as_str()) && name.starts_with(CHAIN) {
                    let place = Place { namespace: &namespace, snapshotter: &snapshotter };
                    self.look_at(court, place, vec![name]).await?;
                }
            }
            What::TaskCreated { container } => self.look_at_task(court, &namespace, container),
            What::TaskDeleted { container } => {
                self.is_news_again(&[&namespace, "task", &container]);
                if let Err(error) = aside(|| self.ledger.forget_start(&namespace, &container)) {
                    tracing::warn!(reason = one_line(&error), "a container that has ended is not forgotten");
                }
            }
        }
        Ok(())
    }

    /// Compares everything.
    async fn compare(&self, court: Court<'_>) -> Result<(), SourceError> {
        for namespace in self.containerd.namespaces().await? {
            let running = self.containerd.running(&namespace).await?;
            let before = clock::now().as_second() - SETTLED;
            if let Err(error) = aside(|| self.ledger.keep_starts(&namespace, &running, before)) {
                tracing::warn!(reason = one_line(&error), "containers that have ended are not forgotten");
            }
            for container in running {
                self.look_at_task(court, &namespace, container);
            }
            for snapshotter in SNAPSHOTTERS {
                let place = Place { namespace: &namespace, snapshotter };
                // A snapshotter that containerd does not have has no snapshots.
                let names = self.containerd.committed(place).await.unwrap_or_default();
                self.look_at(court, place, names.into_iter().filter(|name| name.starts_with(CHAIN)).collect()).await?;
            }
            let records = stream::iter(self.containerd.images(&namespace).await?);
            let judged = records.map(|record| self.judge(court, &namespace, record)).buffer_unordered(JUDGED_AT_ONCE);
            let failed = judged.filter_map(|judged| std::future::ready(judged.err())).collect::<Vec<_>>().await;
            if let Some(error) = failed.into_iter().next() {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn judge(&self, court: Court<'_>, namespace: &str, record: ImageRecord) -> Result<(), SourceError> {
        if namespace == DOCKER && record.name.starts_with(DANGLING) {
            return Ok(());
        }
        let answered = court.gate.judge_image(court.judge, namespace, &record).await;
        let verdict = &answered.verdict;
        let (name, digest, policy) = (&record.name, record.target.digest.as_str(), verdict.policy_digest.as_str());
        let is_news = || self.is_news(&[namespace, name, digest, verdict.code.as_str(), policy]);
        // What was removed can come again, and is removed again.
        if verdict.answer() == Answer::Admit || !(is_news() || self.on_denial == Reconcile::Remove) {
            return Ok(());
        }
        // Nobody loses an image because a registry could not be reached, or in audit mode.
        let is_denied = verdict.permit(court.mode).is_err() && verdict.answer() == Answer::Deny;
        let removed = self.on_denial == Reconcile::Remove && is_denied;
        let is_it_still = || async {
            Ok::<_, SourceError>(self.containerd.image(namespace, &record.name).await?.as_ref() == Some(&record))
        };
        // The verdict took its time, and the name may point to something good by now: then that is looked at next.
        if removed && !is_it_still().await? {
            return Ok(());
        }
        if removed {
            self.containerd.remove_image(namespace, &record.name).await?;
        }
        let kind = FindingKind::Image { record, answered, removed };
        court.report.found(Finding { namespace: namespace.to_owned(), kind });
        Ok(())
    }

    /// Whether this was not told yet.
    fn is_news(&self, parts: &[&str]) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert(parts.join("\n"))
    }

    /// What has this to tell is over; the next of the same name is another one.
    fn is_news_again(&self, parts: &[&str]) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&parts.join("\n"));
    }

    /// Whether these snapshots are what was unpacked through pratique.
    async fn look_at(&self, court: Court<'_>, place: Place<'_>, names: Vec<String>) -> Result<(), SourceError> {
        let mut unknown = Vec::new();
        for name in names {
            let Some(mounts) = self.containerd.view(place, &name).await? else { continue };
            let directory = match RootFilesystem::of(&mounts, place.snapshotter) {
                Ok(RootFilesystem::Overlaid { lower, .. }) => lower.into_iter().next(),
                Ok(RootFilesystem::Bound { directory }) => Some(directory),
                Err(_) => None,
            };
            let origins =
                directory.map(|directory| aside(|| self.ledger.origins(std::iter::once(directory.as_path()))));
            match origins {
                Some(Ok(origins)) if matches!(origins.first(), Some(Origin::Layer(_) | Origin::Mixed)) => {}
                Some(Err(error)) => {
                    tracing::warn!(reason = one_line(&error), "what was unpacked where cannot be looked up");
                }
                _ => unknown.push(name),
            }
        }
        unknown.retain(|name| self.is_news(&[place.namespace, place.snapshotter, name]));
        if !unknown.is_empty() {
            let kind = FindingKind::Snapshots { snapshotter: place.snapshotter.to_owned(), names: unknown };
            court.report.found(Finding { namespace: place.namespace.to_owned(), kind });
        }
        Ok(())
    }

    fn look_at_task(&self, court: Court<'_>, namespace: &str, container: String) {
        match aside(|| self.ledger.was_asked_about(namespace, &container)) {
            Ok(true) => {}
            Ok(false) if !self.is_news(&[namespace, "task", &container]) => {}
            Ok(false) => {
                let kind = FindingKind::Task { container };
                court.report.found(Finding { namespace: namespace.to_owned(), kind });
            }
            Err(error) => tracing::warn!(reason = one_line(&error), "what was started with leave cannot be looked up"),
        }
    }
}
