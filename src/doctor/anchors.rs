//! Trust anchors that end. No way round a gate, but a day on which nothing gets through one any more, and known before.

use super::{Anchor, Facts, Finding};

pub(super) fn examine(facts: &Facts, findings: &mut Vec<Finding>) {
    findings.extend(facts.anchors.iter().map(told));
}

fn told(anchor: &Anchor) -> Finding {
    let Anchor { store, subject, days_left } = anchor;
    let Some(days) = days_left else {
        let fact = format!("the trust anchor `{subject}` of `{store}` has expired");
        let fix = "`pratique cert add` its successor, sign anew what it vouched for, then `pratique cert rm` it";
        return Finding::warning("trust-anchor-expired", fact, fix);
    };
    let fact = format!("the trust anchor `{subject}` of `{store}` expires within {} day(s)", days + 1);
    Finding::note("trust-anchor-expires-soon", fact)
}

#[cfg(test)]
mod tests {
    use crate::doctor::testing::{change, codes, found};
    use crate::doctor::{Anchor, Severity};

    #[test]
    fn an_anchor_that_has_ended_calls_for_somebody_and_one_that_is_about_to_is_noted() {
        let with = |days_left: Option<i64>| {
            let anchor = Anchor { store: "ca:acme".into(), subject: "CN=root".into(), days_left };
            change(|facts| facts.anchors = vec![anchor])
        };
        assert_eq!(codes(&with(None)), ["trust-anchor-expired"]);
        assert_eq!(codes(&with(Some(0))), [""; 0]);
        let noted = found(&with(Some(11)));
        let noted = noted.iter().find(|finding| finding.code.as_str() == "trust-anchor-expires-soon").unwrap();
        assert_eq!(noted.severity, Severity::Note);
        assert_eq!(noted.fact, "the trust anchor `CN=root` of `ca:acme` expires within 12 day(s)");
    }
}
