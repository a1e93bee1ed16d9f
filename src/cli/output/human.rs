//! A verdict as a person reads it: the first line stands alone, the rest says how it came about.

use std::fmt::Write;

use crate::policy::Action;
use crate::remedy::printable;
use crate::verify::{Finding, SignatureReport, State, Verdict};

/// The verdict with its policy and every signature that was examined.
pub(super) fn verdict(verdict: &Verdict) -> String {
    let mut text = verdict.headline();
    text.push('\n');
    line(&mut text, &format!("  reason     {}", verdict.reason));
    if let Some(policy) = &verdict.policy {
        let place = format!("`{}` at {}:{}, level {}", policy.statement, policy.origin, policy.line, policy.level);
        line(&mut text, &format!("  policy     {place}"));
    }
    for (index, report) in verdict.signatures.iter().enumerate() {
        let number = format!("{} of {}", index + 1, verdict.signatures.len());
        line(&mut text, &format!("  signature  {number}: {}", title(report)));
        findings(&mut text, &report.outcome.findings);
    }
    if verdict.truncated {
        line(&mut text, "  further signatures were not examined: the limit was reached");
    }
    text
}

fn title(report: &SignatureReport) -> String {
    let digest = report.digest.as_ref().map(ToString::to_string);
    let format = report.outcome.format.map(|format| format.to_string());
    let signer = report
        .outcome
        .signer
        .as_ref()
        .map(|signer| format!("signed {} by {}", signer.signing_time.strftime("%Y-%m-%d"), signer.subject));
    let parts: Vec<String> = [digest, format, signer].into_iter().flatten().collect();
    if parts.is_empty() { "not an envelope".to_owned() } else { parts.join(", ") }
}

fn findings(text: &mut String, findings: &[Finding]) {
    let labels = |wanted: fn(&State) -> bool| {
        let labels: Vec<&str> = findings.iter().filter(|f| wanted(&f.state)).map(|f| f.check.label()).collect();
        labels.join(", ")
    };
    let passed = labels(|state| matches!(state, State::Passed));
    if !passed.is_empty() {
        line(text, &format!("    passed   {passed}"));
    }
    for finding in findings {
        let Some(problem) = finding.problem() else { continue };
        let word = match (&finding.state, finding.action) {
            (_, Action::Log) => "logged",
            (State::Inconclusive { .. }, _) => "unclear",
            _ => "failed",
        };
        line(text, &format!("    {word:<8} {}: {} [{}]", finding.check.label(), problem.message, problem.code));
    }
    let not_reached = labels(|state| matches!(state, State::NotReached));
    if !not_reached.is_empty() {
        line(text, &format!("    not reached: {not_reached}"));
    }
}

fn line(text: &mut String, content: &str) {
    // Writing to a string does not fail.
    let _ = write!(text, "\n{}", printable(content));
}
