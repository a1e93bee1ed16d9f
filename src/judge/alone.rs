//! One signature and a policy that was made for the question: no image's name chooses the statement.

use jiff::Timestamp;

use super::{Gathering, Witnesses};
use crate::envelope::Envelope;
use crate::policy::Trust;
use crate::verify::{Problem, State, Subject, examine};

/// Whether the signature is about this subject and satisfies the policy's one statement, or nobody can tell.
pub async fn examine_alone<'w>(
    witnesses: impl Into<Witnesses<'w>>,
    trust: &Trust,
    envelope: &Envelope,
    subject: Subject<'_>,
    now: Timestamp,
) -> State {
    let Some(statement) = trust.policy().statements().first() else { return no_statement() };
    let outcome = Gathering::from(witnesses).conclude(examine(envelope, subject, statement, trust), now).await;
    outcome.decisive().map_or(State::Passed, |finding| finding.state.clone())
}

fn no_statement() -> State {
    State::Failed { problem: Problem::new("no-policy-statement", "nobody is trusted", "name a trust store") }
}
