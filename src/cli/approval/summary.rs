//! What a request asks for and who has agreed, as people read it before they agree.

use jiff::Timestamp;
use serde::Serialize;

use super::board::{Board, Judged};
use crate::remedy::printable;
use crate::sign::approval::{Discounted, Person, QuorumRefusal, SigningRequest, decide, weigh};
use crate::verify::State;

/// Everything about a request that somebody should know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// What the request is called in the record.
    digest: String,
    request: SigningRequest,
    requester: String,
    certificate_subject: String,
    approvals: Vec<Line>,
    counted: usize,
    needed: usize,
    /// Who may still approve; empty where enough have.
    missing: Vec<String>,
}

/// One approval.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    approver: String,
    signed_at: Timestamp,
    counts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Summary {
    pub(super) fn of(
        board: &Board,
        request: &SigningRequest,
        requester: &Person,
        judged: &[Judged],
        now: Timestamp,
    ) -> Self {
        let quorum = board.quorum();
        let approvals: Vec<_> = judged.iter().map(|judged| judged.approval.clone()).collect();
        let weighed = weigh(request, &quorum, requester, &approvals, now);
        let line = |(judged, weight): (&Judged, &Result<usize, Discounted>)| Line {
            approver: judged.given.approver.clone(),
            signed_at: judged.approval.signed_at,
            counts: weight.is_ok(),
            reason: weight.err().map(|discounted| reason(discounted, &judged.state)),
        };
        let missing = match decide(request, &quorum, requester, &approvals, now) {
            Err(QuorumRefusal::TooFew { missing, .. }) => missing,
            _ => Vec::new(),
        };
        Self {
            digest: request.digest().to_string(),
            request: request.clone(),
            requester: requester.subject.clone(),
            certificate_subject: board.rule.certificate.subject().to_string(),
            counted: weighed.iter().filter(|weight| weight.is_ok()).count(),
            needed: quorum.quorum.get(),
            approvals: judged.iter().zip(&weighed).map(line).collect(),
            missing,
        }
    }

    /// How many more must agree.
    pub(super) fn wanting(&self) -> usize {
        self.needed.saturating_sub(self.counted)
    }

    pub(super) fn text(&self) -> String {
        let SigningRequest { artifact, reference, format, user_metadata, expiry_seconds, key, .. } = &self.request;
        let mut lines = vec![format!("request {}", self.digest)];
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<11} {}", printable(&value)));
        line("artifact", format!("{}, {} bytes, {}", artifact.digest, artifact.size, artifact.media_type));
        if let Some(reference) = reference {
            line("named", reference.clone());
        }
        for (name, value) in &artifact.annotations {
            line("annotation", format!("{name}={value}"));
        }
        line("key", format!("{key}, {}", self.certificate_subject));
        line("certificate", self.request.certificate.clone());
        line("format", format.to_string());
        for (name, value) in user_metadata {
            line("metadata", format!("{name}={value}"));
        }
        let expiry = expiry_seconds.map(|seconds| format!("{seconds} s after it is signed"));
        line("expires", expiry.unwrap_or_else(|| "never".to_owned()));
        line("asked by", self.requester.clone());
        line("asked at", self.request.created.to_string());
        line("until", self.request.not_after.to_string());
        for approval in &self.approvals {
            let counts =
                approval.reason.as_ref().map_or_else(String::new, |reason| format!(", does not count: {reason}"));
            line("approved by", format!("{} at {}{counts}", approval.approver, approval.signed_at));
        }
        line(
            "approvals",
            match self.counted.checked_sub(self.needed) {
                Some(more) if more > 0 => format!("{0} of {0}, and {more} more", self.needed),
                _ => format!("{} of {}", self.counted, self.needed),
            },
        );
        for approver in &self.missing {
            line("may approve", approver.clone());
        }
        lines.join("\n")
    }
}

/// Why an approval does not count, in a few words.
fn reason(discounted: Discounted, state: &State) -> String {
    match (discounted, state.problem()) {
        (Discounted::OtherRequest, _) => "it is over another request".to_owned(),
        (Discounted::NoApprover, Some(problem)) => format!("[{}] {}", problem.code, problem.message),
        (Discounted::NoApprover, None) => "its signer is no approver".to_owned(),
        (Discounted::OutOfTime, _) => "it was signed at another time than the request is good".to_owned(),
        (Discounted::Requester, _) => "its signer is who asks".to_owned(),
        (Discounted::Repeated, _) => "its signer, or the key, has approved before".to_owned(),
    }
}
