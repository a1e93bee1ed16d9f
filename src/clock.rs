//! The one place that reads the wall clock. What decides gets the time as an argument.

use jiff::Timestamp;

/// The current wall time.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
