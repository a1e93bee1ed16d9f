//! Puts envelopes where they belong, several at a time, and does not give up at the first answer that is none.
//!
//! A run over hundreds of manifests meets every mood of a registry. What another try may help is tried again; a registry
//! that is not there at all is not asked five hundred times. At the end everything is looked up once more: where a registry
//! has no referrers API, signers elsewhere may have written the list anew meanwhile, and taken an entry out of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::sleep;

use crate::cli::attaching::{AttachError, Attachable, Attached, attach, find, shows, superseded};
use crate::cli::output::Progress;
use crate::oci::{Digest, Repository};
use crate::source::registry::Registry;
use crate::source::{ImageSink as _, SourceError};
use crate::verify::Problem;

/// How often one envelope is tried to be attached. Within each try, the registry's client has asked each question up to
/// three times.
const MAX_TRIES: u32 = 4;
/// The pause before the second try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How many envelopes in a row may find a registry unreachable before the rest is not tried any more.
const MAX_UNREACHABLE: usize = 5;
/// How often everything is looked up at the end, and what is gone attached once more. With each round at least one of the
/// signers elsewhere is done.
const MAX_ROUNDS: usize = 4;

/// One envelope for one place.
pub(super) struct Task {
    pub(super) repository: Repository,
    pub(super) file: PathBuf,
    pub(super) envelope: Arc<Attachable>,
}

/// What has become of it.
pub(super) enum State {
    /// It is there, or would be but for the dry run.
    Good {
        /// Where it is; none where it would be attached.
        attached: Option<Attached>,
        /// The signatures that it has taken the place of, or would.
        replaced: Vec<Digest>,
        /// Why older ones are left that it should have.
        left: Option<Problem>,
    },
    /// It was not attached.
    Failed(Problem),
}

impl State {
    fn good(attached: Option<Attached>) -> Self {
        Self::Good { attached, replaced: Vec::new(), left: None }
    }
}

/// How the work is done.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// How many envelopes at a time.
    pub(super) jobs: usize,
    /// Whether older signatures of the same signer go.
    pub(super) replaces: bool,
    /// Whether nothing is written.
    pub(super) is_dry_run: bool,
}

/// Attaches or, in a dry run, looks whether it would.
pub(super) struct Work<'a> {
    registry: &'a Registry,
    manner: Manner,
    /// How many envelopes in a row have found a registry unreachable, and why the last one did.
    unreachable: Mutex<HashMap<String, (usize, Problem)>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(registry: &'a Registry, manner: Manner) -> Self {
        Self { registry, manner, unreachable: Mutex::default() }
    }

    /// What has become of each task, in their order.
    pub(super) async fn run(&self, tasks: &[Task]) -> Vec<State> {
        let everything: Vec<usize> = (0..tasks.len()).collect();
        let mut states: Vec<Option<State>> = tasks.iter().map(|_| None).collect();
        self.attach_all(tasks, &everything, &mut states).await;
        if !self.manner.is_dry_run {
            self.confirm(tasks, &mut states).await;
        }
        if self.manner.replaces {
            self.replace_all(tasks, &mut states).await;
        }
        states.into_iter().flatten().collect()
    }

    async fn attach_all(&self, tasks: &[Task], wanted: &[usize], states: &mut [Option<State>]) {
        let (mut done, mut failed, mut progress) = (0, 0, Progress::default());
        let work = wanted.iter().filter_map(|index| Some((*index, tasks.get(*index)?)));
        let work = work.map(|(index, task)| async move { (index, self.attach_patiently(task).await) });
        let mut work = futures_util::stream::iter(work).buffer_unordered(self.manner.jobs);
        progress.show_bar("attaching", done, wanted.len(), failed);
        while let Some((index, state)) = work.next().await {
            done += 1;
            failed += usize::from(matches!(state, State::Failed(_)));
            progress.show_bar("attaching", done, wanted.len(), failed);
            if let Some(slot) = states.get_mut(index) {
                *slot = Some(state);
            }
        }
        progress.clear();
    }

    async fn attach_patiently(&self, task: &Task) -> State {
        let mut tried = 1;
        loop {
            if let Some(problem) = self.given_up(&task.repository) {
                return State::Failed(problem);
            }
            let error = match self.attach_once(task).await {
                Ok(state) => {
                    self.note(&task.repository, None);
                    return state;
                }
                Err(error) => error,
            };
            if tried >= MAX_TRIES || !is_passing(&error) {
                self.note(&task.repository, Some(&error));
                return State::Failed(Problem::of(&error));
            }
            sleep(FIRST_PAUSE * 2_u32.pow(tried - 1)).await;
            tried += 1;
        }
    }

    async fn attach_once(&self, task: &Task) -> Result<State, AttachError> {
        if self.manner.is_dry_run {
            let found = find(self.registry, &task.repository, &task.envelope).await?;
            return Ok(State::good(found.map(|signature| Attached { signature, was_there: true })));
        }
        attach(self.registry, &task.repository, &task.envelope).await.map(|attached| State::good(Some(attached)))
    }

    /// Looks whether everything that was attached is listed, and attaches once more what is not.
    async fn confirm(&self, tasks: &[Task], states: &mut [Option<State>]) {
        for _ in 0..MAX_ROUNDS {
            let lost = self.lost(tasks, states).await;
            if lost.is_empty() {
                return;
            }
            self.attach_all(tasks, &lost, states).await;
        }
        for index in self.lost(tasks, states).await {
            if let (Some(slot), Some(task)) = (states.get_mut(index), tasks.get(index)) {
                *slot = Some(State::Failed(unlisted(&task.repository)));
            }
        }
    }

    /// Those that were attached and are not listed. One of which that cannot be found out has failed.
    async fn lost(&self, tasks: &[Task], states: &mut [Option<State>]) -> Vec<usize> {
        let attached = states.iter().enumerate().filter_map(|(index, state)| match state {
            Some(State::Good { attached: Some(Attached { signature, was_there: false }), .. }) => {
                Some((index, signature.clone()))
            }
            _ => None,
        });
        let questions: Vec<_> =
            attached.filter_map(|(index, signature)| Some((index, tasks.get(index)?, signature))).collect();
        let questions = questions
            .into_iter()
            .map(|(index, task, signature)| async move { (index, self.is_listed(task, &signature).await) });
        let answers: Vec<_> = futures_util::stream::iter(questions).buffer_unordered(self.manner.jobs).collect().await;
        let mut lost = Vec::new();
        for (index, answer) in answers {
            match answer {
                Ok(true) => {}
                Ok(false) => lost.push(index),
                Err(error) => {
                    if let Some(slot) = states.get_mut(index) {
                        *slot = Some(State::Failed(Problem::of(&error)));
                    }
                }
            }
        }
        lost.sort_unstable();
        lost
    }

    async fn is_listed(&self, task: &Task, signature: &Digest) -> Result<bool, SourceError> {
        let mut tried = 1;
        loop {
            match shows(self.registry, &task.repository, task.envelope.artifact(), signature).await {
                Ok(is_shown) => return Ok(is_shown),
                Err(error) if tried >= MAX_TRIES || !is_passing_source(&error) => return Err(error),
                Err(_) => sleep(FIRST_PAUSE * 2_u32.pow(tried - 1)).await,
            }
            tried += 1;
        }
    }

    /// Takes away what the envelopes that are there now replace: the new one is there, and listed, before an old one goes.
    async fn replace_all(&self, tasks: &[Task], states: &mut [Option<State>]) {
        let kept = handed_over(tasks);
        let good = tasks.iter().zip(states.iter_mut()).filter_map(|(task, state)| match state {
            Some(State::Good { replaced, left, .. }) => Some((task, replaced, left)),
            _ => None,
        });
        let kept = &kept;
        let work = good.map(|(task, replaced, left)| async move {
            if let Err(error) = self.replace(task, kept, replaced).await {
                *left = Some(Problem::of(&error));
            }
        });
        let mut work = futures_util::stream::iter(work.collect::<Vec<_>>()).buffer_unordered(self.manner.jobs);
        while work.next().await.is_some() {}
    }

    async fn replace(&self, task: &Task, kept: &Kept<'_>, replaced: &mut Vec<Digest>) -> Result<(), SourceError> {
        let nothing = BTreeSet::new();
        let kept = kept.get(&place_of(task)).unwrap_or(&nothing);
        let old = superseded(self.registry, &task.repository, &task.envelope, kept).await?;
        for signature in old {
            if !self.manner.is_dry_run {
                let artifact = task.envelope.artifact();
                self.registry.delete_referrer(&task.repository, artifact, &signature).await?;
            }
            replaced.push(signature.digest);
        }
        Ok(())
    }

    /// Why the registry is not asked any more.
    fn given_up(&self, repository: &Repository) -> Option<Problem> {
        let hosts = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, problem) = hosts.get(repository.registry())?;
        (*count >= MAX_UNREACHABLE).then(|| problem.clone())
    }

    /// Takes down how an envelope has found its registry.
    fn note(&self, repository: &Repository, error: Option<&AttachError>) {
        let mut hosts = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error @ AttachError::Source(SourceError::Unreachable { .. } | SourceError::Timeout { .. })) => {
                let count = hosts.get(repository.registry()).map_or(0, |(count, _)| *count);
                hosts.insert(repository.registry().to_owned(), (count + 1, Problem::of(error)));
            }
            _ => {
                hosts.remove(repository.registry());
            }
        }
    }
}

/// The envelopes of a run, by where they go: none of them replaces another.
type Kept<'t> = BTreeMap<(&'t Repository, &'t Digest), BTreeSet<Digest>>;

fn handed_over(tasks: &[Task]) -> Kept<'_> {
    let mut kept = Kept::new();
    for task in tasks {
        kept.entry(place_of(task)).or_default().insert(task.envelope.envelope_descriptor().digest.clone());
    }
    kept
}

fn place_of(task: &Task) -> (&Repository, &Digest) {
    (&task.repository, &task.envelope.artifact().digest)
}

fn is_passing(error: &AttachError) -> bool {
    matches!(error, AttachError::Source(error) if is_passing_source(error))
}

/// Whether another try may help. One that ran into the time for a question has waited long enough.
fn is_passing_source(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::Server { .. }
            | SourceError::TooManyRequests { .. }
            | SourceError::Unreachable { .. }
            | SourceError::TagContended { .. }
    )
}

fn unlisted(repository: &Repository) -> Problem {
    Problem::new(
        "signature-not-listed",
        &format!("{repository} has taken the signature, and does not list it"),
        "attach again when other signers of the same image are done",
    )
}
