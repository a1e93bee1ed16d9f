//! `[limits]` and `[cache]`: what one question may cost, and how long its answer spares the next one.

use std::time::Duration;

use serde::Deserialize;

use super::super::value;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;

/// What one question may cost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// The longest that a question may take, whatever is waited for. Not zero, and less than the 9 s that the hooks wait.
    #[serde(deserialize_with = "value::time_to_answer")]
    pub total_timeout: Duration,
    /// How many signatures of an image are examined. At least one.
    #[serde(deserialize_with = "value::at_least_one")]
    pub max_signatures: usize,
    /// The largest envelope, in bytes: at least one, at most [`MAX_ENVELOPE_SIZE`](crate::envelope::limits::MAX_ENVELOPE_SIZE).
    #[serde(deserialize_with = "value::envelope_size")]
    pub envelope_size: u64,
}

impl Default for LimitConfig {
    fn default() -> Self {
        // Containerd gives an image verifier 10 s: the answer has to be there before.
        Self { total_timeout: Duration::from_secs(8), max_signatures: 100, envelope_size: DEFAULT_ENVELOPE_SIZE }
    }
}

/// How long a verdict is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// The longest that an admission is kept; its inputs may end it earlier. Zero keeps none.
    #[serde(deserialize_with = "value::duration")]
    pub max_age: Duration,
    /// How long a denial is kept. Zero keeps none.
    #[serde(deserialize_with = "value::duration")]
    pub denied_for: Duration,
    /// How many verdicts are kept.
    pub capacity: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(60 * 60), denied_for: Duration::from_secs(10), capacity: 10_000 }
    }
}
