//! May this container be started?
//!
//! The same desk answers as for every other question, so the mode, the log and the record of decisions are the same. The
//! decision that is recorded is about the container's image, where it has one. A start that goes on is written into the
//! ledger, so that one which nobody asked about can be told from it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;

use super::desk::{Desk, panicked};
use super::question::{Asked, excerpt};
use crate::clock;
use crate::judge::{Answered, Directory, StartAnswer, StartQuestion, aside};
use crate::oci::{Descriptor, media_type};
use crate::proto::{CheckRequest, CheckResponse, ContainerStart, MountedDirectory, Workload};
use crate::remedy::one_line;
use crate::rootfs::{Found, Identity, MountPoint};
use crate::verify::{Problem, Verdict, VerdictInput};

/// What CRI calls a pod's sandbox.
const SANDBOX: &str = "sandbox";

impl Desk {
    /// The answer about a container that is about to be started.
    pub(super) async fn check_start(&self, request: &CheckRequest, start: ContainerStart) -> CheckResponse {
        let (began, at) = (Instant::now(), clock::now());
        let workload = workload(&start);
        let question = StartQuestion {
            namespace: request.containerd_namespace.clone(),
            container: start.id,
            is_sandbox: workload.sandbox,
            containerd: excerpt(&start.containerd_address),
            root: directory(start.root.unwrap_or_default()),
            volumes: start.image_volumes.into_iter().map(directory).collect(),
        };
        let StartAnswer { answered, image } = self.judged_start(&question).await;
        let digest = &answered.verdict.artifact.digest;
        let asked = Asked {
            containerd_namespace: excerpt(&question.namespace),
            name: excerpt(&image),
            digest: if image.is_empty() { String::new() } else { digest.to_string() },
            workload: Some(workload),
            ..Asked::of(request)
        };
        let conclusion = self.weigh(answered);
        if conclusion.proceed() {
            self.remember_start(&question, at.as_second());
        }
        self.record(asked, conclusion, at, began.elapsed())
    }

    async fn judged_start(&self, question: &StartQuestion) -> StartAnswer {
        let Some(gate) = self.starts() else { return self.unjudged_start(question, not_served()) };
        let judged = AssertUnwindSafe(gate.judge(self.judge(), question)).catch_unwind().await;
        judged.unwrap_or_else(|_| self.unjudged_start(question, panicked()))
    }

    fn unjudged_start(&self, question: &StartQuestion, problem: Problem) -> StartAnswer {
        let (trust, reference) = (self.judge().trust(), format!("container {}", excerpt(&question.container)));
        let artifact = Descriptor::of(media_type::EMPTY, b"{}");
        let input = VerdictInput { reference: &reference, artifact: &artifact, trust: &trust, now: clock::now() };
        let verdict = Arc::new(Verdict::unavailable(input, None, problem));
        StartAnswer { answered: Answered { verdict, cached: false }, image: String::new() }
    }

    /// A start that is not written down is reported later as one that nobody asked about, which is no reason to stop it.
    fn remember_start(&self, question: &StartQuestion, at: i64) {
        let Some(ledger) = self.ledger() else { return };
        let written = aside(|| ledger.record_start(&question.namespace, &question.container, at));
        if let Err(error) = written {
            tracing::warn!(reason = one_line(&error), "a start was not written down");
        }
    }
}

fn directory(directory: MountedDirectory) -> Directory {
    let MountedDirectory { path, device, inode, filesystem, options, mounts_below } = directory;
    let mount = (!filesystem.is_empty()).then_some(MountPoint { kind: filesystem, options });
    let mounts_below = usize::try_from(mounts_below).unwrap_or(usize::MAX);
    Directory { path, found: Found { mount, identity: Identity { device, inode }, mounts_below } }
}

/// What CRI's annotations tell (containerd, `internal/cri/annotations`).
fn workload(start: &ContainerStart) -> Workload {
    let annotations: &HashMap<String, String> = &start.annotations;
    let annotation = |name: &str| annotations.get(name).map(|value| excerpt(value)).unwrap_or_default();
    Workload {
        container_id: excerpt(&start.id),
        pod_namespace: annotation("io.kubernetes.cri.sandbox-namespace"),
        pod_name: annotation("io.kubernetes.cri.sandbox-name"),
        container_name: annotation("io.kubernetes.cri.container-name"),
        sandbox: annotation("io.kubernetes.cri.container-type") == SANDBOX,
    }
}

fn not_served() -> Problem {
    let message = "this daemon does not answer questions about starts";
    Problem::new("gate-not-served", message, "set `gates.run = true` in config.toml")
}
