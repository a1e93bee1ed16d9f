//! A key whose holder lets others agree first: an HSM or a service that answers "not yet".
//!
//! What is asked for stays the same from the first question to the last, so that what somebody agrees to inside of the device
//! is what is asked for again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::exit::{Exit, Failure};
use super::output;
use super::signing_key::Made;
use crate::remedy::{Remedy as _, one_line};
use crate::sign::SignError;

/// The time between the first two questions. Each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest time between two questions: nobody waits longer for an answer that is there.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Asks until there is another answer than "not yet", or the time is over; once, where no time is given.
pub(super) async fn ask<'k>(
    patience: Option<Duration>,
    question: impl Fn() -> Result<Made<'k>, SignError>,
) -> Result<Made<'k>, Failure> {
    let begun = Instant::now();
    let (mut pause, mut progress, mut is_told) = (FIRST_PAUSE, output::Progress::default(), false);
    loop {
        let error = match question() {
            Ok(made) => {
                progress.clear();
                return Ok(made);
            }
            Err(error) => error,
        };
        let left = patience.unwrap_or_default().checked_sub(begun.elapsed()).filter(|left| !left.is_zero());
        let Some((patience, left)) = patience.zip(left).filter(|_| error.is_pending()) else {
            progress.clear();
            return Err(match patience {
                Some(patience) if error.is_pending() => timed_out(&error, patience),
                _ => refused(&error),
            });
        };
        if !std::mem::replace(&mut is_told, true) {
            output::to_stderr(&format!("waiting for up to {} s: {}", patience.as_secs(), one_line(&error)));
        }
        progress.show(&format!("not signed yet, {} s left: {}", left.as_secs(), one_line(&error)));
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why nothing was signed, with the exit status that fits.
pub(super) fn refused(error: &SignError) -> Failure {
    match error {
        error if error.is_refusal() => Failure { exit: Exit::Denied, ..Failure::of(error) },
        error if error.is_of_the_key() => Failure::of(error),
        error => Failure::usage_of(error),
    }
}

fn timed_out(error: &SignError, patience: Duration) -> Failure {
    let message = format!("what holds the key has not signed within {} s: {}", patience.as_secs(), one_line(error));
    let remedy = error.remedy().unwrap_or_else(|| "have it approved there, and sign again".to_owned());
    Failure::unreadable("approval-timeout", message, Some(&remedy))
}
