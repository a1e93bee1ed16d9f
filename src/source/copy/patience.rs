//! A copy takes long, and somebody waits for its end: what may pass is waited for longer than one question would.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;

use crate::source::SourceError;
use crate::source::limits::{MAX_COPY_PAUSE, MAX_COPY_TRIES};

/// Does the work, and again where that may help.
pub(super) async fn patiently<T, F>(first_pause: Duration, mut work: impl FnMut() -> F) -> Result<T, SourceError>
where
    F: Future<Output = Result<T, SourceError>>,
{
    let mut tried = 1;
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(wait) = pause(&error, tried, first_pause) else { return Err(error) };
        tracing::debug!(error = %error, ?wait, "trying again");
        sleep(wait).await;
        tried += 1;
    }
}

fn pause(error: &SourceError, tried: u32, first: Duration) -> Option<Duration> {
    // A token that has died on its way is asked for anew, once.
    if matches!(error, SourceError::Unauthorized { anonymous: false, .. }) {
        return (tried == 1).then_some(Duration::ZERO);
    }
    let is_late = matches!(error, SourceError::Timeout { .. });
    let wish = error.may_pass().or(is_late.then_some(None))?;
    let wait = wish.unwrap_or(first * 4_u32.saturating_pow(tried.saturating_sub(1)));
    (tried < MAX_COPY_TRIES && wait <= MAX_COPY_PAUSE).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RegistryWords;

    #[test]
    fn a_wish_to_be_left_alone_is_kept_up_to_a_bound() {
        let busy = |seconds| SourceError::TooManyRequests {
            host: "h".into(),
            retry_after: Some(Duration::from_secs(seconds)),
            words: RegistryWords::default(),
        };
        let first = Duration::from_millis(1);
        assert_eq!(pause(&busy(60), 1, first), Some(Duration::from_secs(60)));
        assert_eq!(pause(&busy(60), MAX_COPY_TRIES, first), None);
        assert_eq!(pause(&busy(86_400), 1, first), None);
        let refused =
            |anonymous| SourceError::Unauthorized { host: "h".into(), anonymous, words: RegistryWords::default() };
        assert_eq!(pause(&refused(false), 1, first), Some(Duration::ZERO));
        assert_eq!((pause(&refused(false), 2, first), pause(&refused(true), 1, first)), (None, None));
        assert_eq!(pause(&SourceError::NotFound { what: "it".into(), place: "h".into() }, 1, first), None);
    }
}
