//! A certificate in a list: whose it is, until when it is valid, and whether somebody should renew it.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::pki::{Certificate, Renewal};
use crate::remedy::printable;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CertificateSummary {
    pub(super) subject: String,
    pub(super) not_after: Timestamp,
    state: State,
    /// The whole days that are left, where it expires soon.
    #[serde(skip_serializing_if = "Option::is_none")]
    days_left: Option<i64>,
    #[serde(skip)]
    mark: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum State {
    NotYetValid,
    Valid,
    Expiring,
    Expired,
}

impl CertificateSummary {
    pub(super) fn of(certificate: &Certificate, at: Timestamp) -> Self {
        let renewal = certificate.renewal(at);
        let state = match &renewal {
            _ if at < certificate.not_before() => State::NotYetValid,
            None => State::Valid,
            Some(Renewal::Soon { .. }) => State::Expiring,
            Some(_) => State::Expired,
        };
        let mark = match state {
            State::NotYetValid => Some(format!("not valid before {}", certificate.not_before())),
            _ => renewal.as_ref().map(Renewal::mark),
        };
        Self {
            subject: certificate.subject().to_string(),
            not_after: certificate.not_after(),
            state,
            days_left: renewal.as_ref().and_then(Renewal::days_left),
            mark,
        }
    }

    /// What calls for somebody, in a few words.
    pub(super) fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }
}

/// One line.
impl fmt::Display for CertificateSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, until {}", printable(&self.subject), self.not_after)?;
        self.mark.iter().try_for_each(|mark| write!(f, ", {mark}"))
    }
}
