//! Puts envelopes where they belong, several at a time, and does not give up at the first answer that is none.
//!
//! A run over hundreds of manifests meets every mood of a registry. What another try may help is tried again; a registry
//! that is not there at all is not asked five hundred times. At the end everything is looked up once more: where a registry
//! has no referrers API, signers elsewhere may have written the list anew meanwhile, and taken an entry out of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::sleep;

use crate::cli::attaching::{AttachError, Attachable, Attached, attach, find, signatures};
use crate::cli::output::Progress;
use crate::oci::{Digest, Repository};
use crate::source::SourceError;
use crate::source::registry::Registry;
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
    /// It is there, since now or since before.
    There(Attached),
    /// It is not there, and would be attached.
    Wanted,
    /// It was not attached.
    Failed(Problem),
}

/// Attaches or, in a dry run, looks whether it would.
pub(super) struct Work<'a> {
    registry: &'a Registry,
    jobs: usize,
    is_dry_run: bool,
    /// How many envelopes in a row have found a registry unreachable, and why the last one did.
    unreachable: Mutex<HashMap<String, (usize, Problem)>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(registry: &'a Registry, jobs: usize, is_dry_run: bool) -> Self {
        Self { registry, jobs, is_dry_run, unreachable: Mutex::default() }
    }

    /// What has become of each task, in their order.
    pub(super) async fn run(&self, tasks: &[Task]) -> Vec<State> {
        let everything: Vec<usize> = (0..tasks.len()).collect();
        let mut states: Vec<Option<State>> = tasks.iter().map(|_| None).collect();
        self.attach_all(tasks, &everything, &mut states).await;
        if !self.is_dry_run {
            self.confirm(tasks, &mut states).await;
        }
        states.into_iter().flatten().collect()
    }

    async fn attach_all(&self, tasks: &[Task], wanted: &[usize], states: &mut [Option<State>]) {
        let (mut done, mut failed, mut progress) = (0, 0, Progress::default());
        let work = wanted.iter().filter_map(|index| Some((*index, tasks.get(*index)?)));
        let work = work.map(|(index, task)| async move { (index, self.attach_patiently(task).await) });
        let mut work = futures_util::stream::iter(work).buffer_unordered(self.jobs);
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
        if self.is_dry_run {
            let found = find(self.registry, &task.repository, &task.envelope).await?;
            let there = |signature| State::There(Attached { signature, was_there: true });
            return Ok(found.map_or(State::Wanted, there));
        }
        attach(self.registry, &task.repository, &task.envelope).await.map(State::There)
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
            Some(State::There(Attached { signature, was_there: false })) => Some((index, signature.clone())),
            _ => None,
        });
        let questions: Vec<_> =
            attached.filter_map(|(index, signature)| Some((index, tasks.get(index)?, signature))).collect();
        let questions = questions
            .into_iter()
            .map(|(index, task, signature)| async move { (index, self.is_listed(task, &signature).await) });
        let answers: Vec<_> = futures_util::stream::iter(questions).buffer_unordered(self.jobs).collect().await;
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
            match signatures(self.registry, &task.repository, task.envelope.artifact()).await {
                Ok(listed) => {
                    // More than are looked through: then this one may be among the rest.
                    let is_there = listed.descriptors.iter().any(|listed| listed.digest == *signature);
                    return Ok(is_there || listed.truncated);
                }
                Err(error) if tried >= MAX_TRIES || !is_passing_source(&error) => return Err(error),
                Err(_) => sleep(FIRST_PAUSE * 2_u32.pow(tried - 1)).await,
            }
            tried += 1;
        }
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
