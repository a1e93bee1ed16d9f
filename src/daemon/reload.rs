//! Puts a changed policy or trust store into force while questions are being answered.
//!
//! The directory is watched, and `SIGHUP` asks for the same. What is put into force is always a whole snapshot read from
//! disk. One that cannot be read, or holds something that is no certificate, is not put into force: the old one stays,
//! the log says so, and so does `Status` until it is mended.
//!
//! A trust store that is gone or empty is different: somebody took trust away, and that takes effect at once. The
//! statements that name it admit nothing until it is back.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::desk::Desk;
use super::{StartError, systemd};
use crate::config::NotationDir;
use crate::policy::Trust;
use crate::remedy::{Remedy, hint, one_line};

/// How long the directory has to be still before it is read: editors and `cp -r` write several files, one after the
/// other.
const STILL: Duration = Duration::from_millis(100);
/// How long it is waited for at most, where something never leaves the directory alone.
const AT_MOST: Duration = Duration::from_secs(2);

/// Where the policy lies, and what became of it since the start.
pub(super) struct Reloads {
    notation: NotationDir,
    error: Mutex<String>,
    count: AtomicU64,
}

impl Reloads {
    pub(super) fn new(notation: NotationDir) -> Self {
        Self { notation, error: Mutex::default(), count: AtomicU64::new(0) }
    }

    /// Why what is on disk is not in force, or not all of it. Empty where it is.
    pub(super) fn error(&self) -> String {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The snapshot to start with: everything that the policy names is there, or it is an error.
    pub(super) fn load(&self) -> Result<Trust, StartError> {
        let trust = self.notation.load_trust()?;
        let problem = trust.problems().next().map(|(_, problem)| problem.clone());
        match problem {
            Some(source) => Err(StartError::TrustStore { origin: trust.origin().to_owned(), source }),
            None => Ok(trust),
        }
    }

    /// Reads the directory again and puts what it holds into force, if it can be.
    fn reload(&self, desk: &Desk) {
        let loaded = self.notation.load_trust();
        let succeeding = |next: Trust| self.notation.check_succession(&desk.judge().trust(), &next).map(|()| next);
        let refused = match loaded.and_then(succeeding) {
            Err(error) => Some(told(&error)),
            Ok(trust) => {
                let wrong =
                    trust.problems().find(|(_, problem)| !problem.is_absence()).map(|(_, problem)| told(problem));
                if wrong.is_none() {
                    self.put_into_force(trust, desk);
                }
                wrong
            }
        };
        if let Some(reason) = refused {
            let digest = desk.judge().trust().digest().to_string();
            tracing::error!(digest, reason, "the policy on disk is refused, and the old one stays in force");
            self.set_error(reason);
        }
    }

    fn put_into_force(&self, trust: Trust, desk: &Desk) {
        let missing: Vec<String> = trust.problems().map(|(_, problem)| told(problem)).collect();
        let (old, new) = (desk.judge().trust().digest().clone(), trust.digest().clone());
        if old == new {
            tracing::info!(digest = %new, "the policy on disk is the one in force");
        } else {
            let reloads = self.count.fetch_add(1, Ordering::Relaxed) + 1;
            let origin = trust.origin().to_owned();
            desk.judge().replace_trust(Arc::new(trust));
            tracing::info!(%old, %new, origin, reloads, "another policy is in force");
        }
        for reason in &missing {
            tracing::error!(reason, "a trust store is gone: the statements that name it admit nothing");
        }
        self.set_error(missing.join("; "));
    }

    fn set_error(&self, reason: String) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

fn told(error: &impl Remedy) -> String {
    format!("{} [{}]{}", one_line(error), error.code(), hint(error.remedy().as_deref()))
}

/// Notices when the policy is to be read again.
pub(super) struct Watch {
    reloads: Arc<Reloads>,
    changed: Arc<Notify>,
    /// None where the system has no watch to give; `SIGHUP` still works.
    watcher: Option<RecommendedWatcher>,
    hangup: Signal,
}

impl Watch {
    /// Begins to watch. To be called before the policy is read for the first time, so that no change falls between.
    pub(super) fn begin(reloads: Arc<Reloads>) -> io::Result<Self> {
        let changed = Arc::new(Notify::new());
        let hangup = signal(SignalKind::hangup())?;
        let mut watch = Self { watcher: None, reloads, changed, hangup };
        watch.watcher = watch.watcher();
        watch.watch_again();
        Ok(watch)
    }

    fn watcher(&self) -> Option<RecommendedWatcher> {
        let (changed, directory) = (Arc::clone(&self.changed), self.reloads.notation.path().to_owned());
        // What cannot be told counts as a change: reading once too often costs nothing.
        let on_event = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, |event| is_change(event, &directory)) {
                changed.notify_one();
            }
        };
        notify::recommended_watcher(on_event).inspect_err(not_watching).ok()
    }

    /// Watches the directory, everything in it, and the directory that it lies in: whoever replaces the directory as a
    /// whole takes the watches on the old one with it.
    fn watch_again(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let directory = self.reloads.notation.path();
        let _ = watcher.unwatch(directory); // it is not watched yet, or not any more
        match watcher.watch(directory, RecursiveMode::Recursive) {
            // It is not there, and is noticed when it comes: the directory that it is to lie in is watched below.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => not_watching(&error),
            Ok(()) => {}
        }
        if let Some(parent) = directory.parent() {
            let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
        }
    }

    /// Reloads whenever there is a reason to, for ever.
    pub(super) async fn run(mut self, desk: Arc<Desk>) {
        loop {
            let cause = tokio::select! {
                () = self.changed.notified() => {
                    self.until_still().await;
                    "the directory has changed"
                }
                Some(()) = self.hangup.recv() => "SIGHUP",
            };
            tracing::info!(cause, "reading the policy again");
            systemd::reloading();
            self.watch_again();
            let (reloads, reloading) = (Arc::clone(&self.reloads), Arc::clone(&desk));
            // On a thread of its own: it reads files, and should it panic, only this attempt ends.
            if tokio::task::spawn_blocking(move || reloads.reload(&reloading)).await.is_err() {
                self.reloads.set_error("reading the policy failed; this is a mistake in pratique".into());
            }
            systemd::ready(&desk.judge().trust());
        }
    }

    async fn until_still(&self) {
        let latest = Instant::now() + AT_MOST;
        let still = async { while timeout(STILL, self.changed.notified()).await.is_ok() {} };
        // Either way it is time to read.
        let _ = timeout_at(latest, still).await;
    }
}

/// Whether an event can mean that a file of this directory says something else now. Reading files is an event, too, and
/// so is whatever happens to the directory's neighbours.
fn is_change(event: &Event, directory: &Path) -> bool {
    let is_reading = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let is_inside = event.paths.is_empty() || event.paths.iter().any(|path| path.starts_with(directory));
    event.need_rescan() || (is_inside && !is_reading)
}

fn not_watching(error: &notify::Error) {
    tracing::warn!(
        reason = one_line(error),
        "changes of the policy are not noticed; `systemctl reload pratiqued` reads it again"
    );
}
