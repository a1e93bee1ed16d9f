//! Where every question arrives, whichever socket it came through, and where every answer is recorded.
//!
//! The one place that turns a verdict into "may proceed": only a [`Permit`](crate::verify::Permit) says so, and a panic
//! comes out as a verdict that could not tell.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use jiff::Timestamp;

use super::decisions::{Decided, Decisions};
use super::metrics::Metrics;
use super::question::{self, Asked, InvalidQuestion};
use crate::clock;
use crate::judge::{Answered, Enroller, Judge, Question, RunGate, UnpackGate};
use crate::ledger::Ledger;
use crate::oci::{Descriptor, Digest};
use crate::policy::Mode;
use crate::proto::frame::clipped;
use crate::proto::{self, CheckRequest, CheckResponse};
use crate::remedy::{Code, Remedy, could_not_tell};
use crate::verify::{Answer, Check, Problem, Verdict, VerdictInput};

/// Answers questions and remembers the answers.
pub(super) struct Desk {
    judge: Judge,
    layers: Option<UnpackGate>,
    starts: Option<RunGate>,
    answers_starts: bool,
    enroller: Option<Enroller>,
    ledger: Option<Arc<Ledger>>,
    mode: Mode,
    decisions: Decisions,
    metrics: Metrics,
}

/// What became of a request.
pub(super) struct Conclusion {
    answer: Answer,
    code: Code,
    line: String,
    proceed: bool,
    cached: bool,
    verdict: Option<Arc<Verdict>>,
}

impl Conclusion {
    /// What was found after it had happened. It went on, whatever the verdict is, unless it was taken back.
    pub(super) fn found(Answered { verdict, cached }: &Answered, removed: bool) -> Self {
        let done = if removed { "found and removed: " } else { "found: " };
        Self {
            answer: verdict.answer(),
            code: verdict.code,
            line: clipped(format!("{done}{}", verdict.one_line())),
            proceed: !removed,
            cached: *cached,
            verdict: Some(Arc::clone(verdict)),
        }
    }

    /// Whether what was asked about goes on.
    pub(super) fn proceed(&self) -> bool {
        self.proceed
    }
}

impl Desk {
    pub(super) fn new(judge: Judge, mode: Mode) -> Self {
        Self {
            judge,
            layers: None,
            starts: None,
            answers_starts: false,
            enroller: None,
            ledger: None,
            mode,
            decisions: Decisions::new(),
            metrics: Metrics::new(),
        }
    }

    /// The same desk, which answers questions about layers, too.
    pub(super) fn with_layers(self, layers: UnpackGate) -> Self {
        Self { layers: Some(layers), ..self }
    }

    /// The same desk, which knows what containers are made of, and answers questions about starts where that is wanted.
    pub(super) fn with_starts(self, starts: RunGate, answers_starts: bool) -> Self {
        Self { starts: Some(starts), answers_starts, ..self }
    }

    /// The same desk, which takes what was unpacked before into the ledger.
    pub(super) fn with_enroller(self, enroller: Enroller) -> Self {
        Self { enroller: Some(enroller), ..self }
    }

    /// The same desk, which writes down what was let through.
    pub(super) fn with_ledger(self, ledger: Arc<Ledger>) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    pub(super) fn enroller(&self) -> Option<&Enroller> {
        self.enroller.as_ref()
    }

    pub(super) fn starts(&self) -> Option<&RunGate> {
        self.starts.as_ref().filter(|_| self.answers_starts)
    }

    /// What a layer of a manifest is when it is unpacked, whether starts are asked about or not yet.
    pub(super) async fn diff_id(&self, namespace: &str, manifest: &Descriptor, layer: &Digest) -> Option<Digest> {
        self.starts.as_ref()?.diff_id(namespace, manifest, layer).await
    }

    pub(super) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_deref()
    }

    pub(super) fn layers(&self) -> Option<&UnpackGate> {
        self.layers.as_ref()
    }

    pub(super) fn judge(&self) -> &Judge {
        &self.judge
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// The answer to a request, whatever it holds.
    pub(super) async fn check(&self, mut request: CheckRequest) -> CheckResponse {
        if let Some(start) = request.start.take() {
            return self.check_start(&request, start).await;
        }
        let (began, at) = (Instant::now(), clock::now());
        let asked = Asked::of(&request);
        let conclusion = self.conclude(&request, &asked, at).await;
        self.record(asked, conclusion, at, began.elapsed())
    }

    /// Writes down what became of a question, and gives the answer.
    pub(super) fn record(&self, asked: Asked, conclusion: Conclusion, at: Timestamp, took: Duration) -> CheckResponse {
        log(&asked, &conclusion, took);
        let response = CheckResponse {
            answer: as_proto(conclusion.answer).into(),
            code: conclusion.code.as_str().to_owned(),
            line: conclusion.line,
            proceed: conclusion.proceed,
        };
        let stage = asked.stage_name();
        let decision = decision(asked, &response, conclusion.cached, at, took);
        self.metrics.observe(stage, conclusion.answer, &decision);
        self.decisions.record(Decided { decision, verdict: conclusion.verdict });
        response
    }

    async fn conclude(&self, request: &CheckRequest, asked: &Asked, at: Timestamp) -> Conclusion {
        let target = match question::target(request) {
            Ok(target) => target,
            Err(error) => return no_question(asked, &error),
        };
        let answered = match question::question(&request.name, target.clone()) {
            Ok(question) => {
                let repository = question.repository.clone();
                let conclusion = self.weigh(self.judged(question, asked, &target, at).await);
                // The layers come next, and nobody will tell the name again.
                if let Some(layers) = self.layers.as_ref().filter(|_| conclusion.proceed) {
                    layers.remember(&target.digest, &repository);
                }
                return conclusion;
            }
            Err(error) => self.unjudged(answer_to(&error), Problem::of(&error), asked, &target, at),
        };
        self.weigh(answered)
    }

    /// The judge's verdict. A panic is caught here, where its question ends: it must not take the daemon, nor the other
    /// questions of its connection, and least of all become a "yes".
    async fn judged(&self, question: Question, asked: &Asked, target: &Descriptor, at: Timestamp) -> Answered {
        // What a panic could leave half changed are the judge's caches, which are made to be shared between threads
        // that may end at any time.
        let judged = AssertUnwindSafe(self.judge.judge(question)).catch_unwind().await;
        judged.unwrap_or_else(|_| self.unjudged(Answer::Inconclusive, panicked(), asked, target, at))
    }

    /// The verdict about an image that never came before the judge. It is one all the same, so that audit mode means the
    /// same everywhere.
    fn unjudged(
        &self,
        answer: Answer,
        problem: Problem,
        asked: &Asked,
        target: &Descriptor,
        at: Timestamp,
    ) -> Answered {
        let (trust, reference) = (self.judge.trust(), asked.image());
        let input = VerdictInput { reference: &reference, artifact: target, trust: &trust, now: at };
        let verdict = match answer {
            Answer::Deny => Verdict::refused_unseen(input, Check::Policy, problem),
            Answer::Admit | Answer::Inconclusive => Verdict::unavailable(input, None, problem),
        };
        Answered { verdict: Arc::new(verdict), cached: false }
    }

    /// What the verdict means in this daemon's mode.
    pub(super) fn weigh(&self, Answered { verdict, cached }: Answered) -> Conclusion {
        let (proceed, line) = match verdict.permit(self.mode) {
            Ok(permit) if permit.would_have_denied() => {
                (true, format!("let through in audit mode: {}", verdict.one_line()))
            }
            Ok(_) => (true, verdict.one_line()),
            Err(denial) => (false, denial.line),
        };
        let (answer, code) = (verdict.answer(), verdict.code);
        Conclusion { answer, code, line: clipped(line), proceed, cached, verdict: Some(verdict) }
    }
}

/// A request that is no question about any image: there is nothing to give a verdict on, and nothing to let through.
fn no_question(asked: &Asked, error: &InvalidQuestion) -> Conclusion {
    let (answer, line) = (Answer::Inconclusive, clipped(could_not_tell(&asked.image(), error)));
    Conclusion { answer, code: error.code(), line, proceed: false, cached: false, verdict: None }
}

/// Another digest than the name demands is a "no"; a name that cannot be read leaves the question open.
fn answer_to(error: &InvalidQuestion) -> Answer {
    match error {
        InvalidQuestion::OtherDigest { .. } => Answer::Deny,
        _ => Answer::Inconclusive,
    }
}

pub(super) fn panicked() -> Problem {
    let remedy = "this is a mistake in pratique: report it with the daemon's log";
    Problem::new("internal-error", "pratiqued failed while it looked at this image", remedy)
}

pub(super) fn as_proto(answer: Answer) -> proto::Answer {
    match answer {
        Answer::Admit => proto::Answer::Admit,
        Answer::Deny => proto::Answer::Deny,
        Answer::Inconclusive => proto::Answer::Inconclusive,
    }
}

fn in_microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// One line for each decision, with the same fields in every one.
fn log(asked: &Asked, conclusion: &Conclusion, took: Duration) {
    let signer = conclusion.verdict.as_deref().and_then(signer).unwrap_or_default();
    // The level has to stand in the macro.
    let workload = asked.workload.clone().unwrap_or_default();
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                stage = asked.stage_name(),
                namespace = asked.containerd_namespace,
                name = asked.name,
                digest = asked.digest,
                container = workload.container_id,
                pod = pod(&workload),
                answer = conclusion.answer.as_str(),
                proceed = conclusion.proceed,
                code = conclusion.code.as_str(),
                cached = conclusion.cached,
                duration_us = in_microseconds(took),
                signer,
                "{}",
                conclusion.line
            )
        };
    }
    match conclusion.answer {
        Answer::Admit => line!(info),
        Answer::Deny | Answer::Inconclusive => line!(warn),
    }
}

/// The pod and its container, as `NAMESPACE/POD/CONTAINER`; empty where it is none of Kubernetes'.
fn pod(workload: &proto::Workload) -> String {
    let proto::Workload { pod_namespace, pod_name, container_name, .. } = workload;
    match (pod_name.as_str(), container_name.as_str()) {
        ("", _) => String::new(),
        (_, "") => format!("{pod_namespace}/{pod_name}"),
        _ => format!("{pod_namespace}/{pod_name}/{container_name}"),
    }
}

/// Who signed, as far as is known: the signature examined last is the one that admits, if any does.
fn signer(verdict: &Verdict) -> Option<&str> {
    Some(verdict.signatures.last()?.outcome.signer.as_ref()?.subject.as_str())
}

fn decision(asked: Asked, response: &CheckResponse, cached: bool, at: Timestamp, took: Duration) -> proto::Decision {
    proto::Decision {
        // Nine digits always, so that times compare as text.
        time: format!("{at:.9}"),
        stage: asked.stage.into(),
        containerd_namespace: asked.containerd_namespace,
        name: asked.name,
        digest: asked.digest,
        answer: response.answer,
        code: response.code.clone(),
        line: response.line.clone(),
        proceed: response.proceed,
        cached,
        duration_us: in_microseconds(took),
        workload: asked.workload,
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::super::testing::{self, OPEN, SHUT};
    use super::*;
    use crate::oci::{Blob, Reference, Repository};
    use crate::source::{Referrers, Source, SourceError};

    fn desk(mode: Mode) -> Desk {
        Desk::new(testing::judge(), mode)
    }

    async fn check(desk: &Desk, name: &str) -> (proto::Answer, String, bool) {
        let answer = desk.check(testing::request(name)).await;
        (answer.answer(), answer.code, answer.proceed)
    }

    #[tokio::test]
    async fn an_image_proceeds_when_it_is_admitted_and_not_when_it_is_denied() {
        let desk = desk(Mode::Enforce);
        let admitted = (proto::Answer::Admit, "verification-skipped".to_owned(), true);
        assert_eq!(check(&desk, &format!("{OPEN}:v1")).await, admitted);
        let denied = (proto::Answer::Deny, "no-signature".to_owned(), false);
        assert_eq!(check(&desk, &format!("{SHUT}:v1")).await, denied);
    }

    #[tokio::test]
    async fn in_audit_mode_a_denied_image_proceeds_and_is_recorded_as_denied() {
        let desk = desk(Mode::Audit);
        assert_eq!(check(&desk, SHUT).await, (proto::Answer::Deny, "no-signature".to_owned(), true));
        assert_eq!(check(&desk, "NO NAME").await, (proto::Answer::Inconclusive, "invalid-reference".to_owned(), true));
        let counts = desk.decisions().counts();
        assert_eq!((counts.admitted, counts.denied, counts.inconclusive), (0, 1, 1));
        assert!(
            desk.decisions().latest(SHUT).unwrap().decision.line.starts_with("let through in audit mode: denied: ")
        );
    }

    #[tokio::test]
    async fn what_names_no_image_never_proceeds() {
        let desk = desk(Mode::Audit);
        let answer = desk.check(CheckRequest::default()).await;
        assert_eq!((answer.answer(), answer.proceed), (proto::Answer::Inconclusive, false));
        assert_eq!(answer.line, "could not tell: an image [invalid-descriptor]: the question names no image by digest");
    }

    #[tokio::test]
    async fn a_name_that_demands_another_digest_is_denied() {
        let desk = desk(Mode::Enforce);
        let other = format!("{OPEN}@{}", Digest::sha256(b"other"));
        assert_eq!(check(&desk, &other).await, (proto::Answer::Deny, "digest-mismatch".to_owned(), false));
        let same = format!("{OPEN}@{}", testing::digest());
        assert!(check(&desk, &same).await.2);
    }

    struct Panics;

    #[async_trait]
    impl Source for Panics {
        async fn resolve(&self, _: &Reference) -> Result<Descriptor, SourceError> {
            panic!("resolve")
        }
        async fn signatures(&self, _: &Repository, _: &Descriptor, _: usize) -> Result<Referrers, SourceError> {
            panic!("signatures")
        }
        async fn manifest(&self, _: &Repository, _: &Descriptor) -> Result<Blob, SourceError> {
            panic!("manifest")
        }
        async fn blob(&self, _: &Repository, _: &Descriptor, _: u64) -> Result<Blob, SourceError> {
            panic!("blob")
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_that_could_not_tell_and_the_next_question_is_answered() {
        let desk = Desk::new(testing::judge_over(Arc::new(Panics)), Mode::Enforce);
        for _ in 0..2 {
            let expected = (proto::Answer::Inconclusive, "internal-error".to_owned(), false);
            assert_eq!(check(&desk, SHUT).await, expected);
        }
        assert!(check(&desk, OPEN).await.2);
    }

    #[tokio::test]
    async fn the_second_question_about_the_same_content_is_answered_from_what_is_known() {
        let desk = desk(Mode::Enforce);
        for (tag, cached) in [("v1", false), ("v1", true), ("v2", true)] {
            let name = format!("{SHUT}:{tag}");
            check(&desk, &name).await;
            assert_eq!(desk.decisions().latest(&name).unwrap().decision.cached, cached);
        }
    }
}
