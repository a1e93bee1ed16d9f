//! Which certificates somebody should renew, and by when.
//!
//! Nothing is refused here: whether a certificate is valid is asked of [`Certificate`] and `Chain`. This is for whoever should
//! know in time, before signatures are refused.

use jiff::{SignedDuration, Timestamp};

use super::Certificate;
use crate::remedy::{Code, Remedy};

/// How long before its end a certificate is warned about. Authorities and their tools begin to remind 30 days before, and an
/// order that needs approval takes weeks.
pub const RENEWAL_TIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A certificate that is to be renewed, as somebody is told of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Renewal {
    /// It ends within [`RENEWAL_TIME`].
    #[error("the certificate `{subject}` {}, at {not_after}", expires_in(*.days))]
    Soon {
        /// Whose it is.
        subject: String,
        /// Its last instant.
        not_after: Timestamp,
        /// The whole days until then.
        days: i64,
    },
    /// It has ended.
    #[error("the certificate `{subject}` expired at {not_after}")]
    Expired {
        /// Whose it was.
        subject: String,
        /// Its last instant.
        not_after: Timestamp,
    },
}

impl Remedy for Renewal {
    fn code(&self) -> Code {
        Code(match self {
            Self::Soon { .. } => "certificate-expires-soon",
            Self::Expired { .. } => "certificate-expired",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some("renew it".into())
    }
}

impl Renewal {
    /// Of these certificates, such as a chain's, the one that ends first, if it is to be renewed at this instant.
    pub fn first_of(certificates: &[Certificate], at: Timestamp) -> Option<Self> {
        certificates.iter().min_by_key(|certificate| certificate.not_after())?.renewal(at)
    }

    /// The same in a few words, for a list where the certificate stands beside it.
    pub fn mark(&self) -> String {
        match self {
            Self::Soon { days, .. } => expires_in(*days),
            Self::Expired { .. } => "expired".to_owned(),
        }
    }

    /// The whole days that are left; none when it has ended.
    pub fn days_left(&self) -> Option<i64> {
        match self {
            Self::Soon { days, .. } => Some(*days),
            Self::Expired { .. } => None,
        }
    }
}

impl Certificate {
    /// Whether it is to be renewed at this instant. The last instant of its validity belongs to it.
    pub fn renewal(&self, at: Timestamp) -> Option<Renewal> {
        let (subject, not_after) = (self.subject().to_string(), self.not_after());
        let left = not_after.duration_since(at);
        if left.is_negative() {
            return Some(Renewal::Expired { subject, not_after });
        }
        (left <= RENEWAL_TIME).then(|| Renewal::Soon { subject, not_after, days: left.as_hours() / 24 })
    }
}

fn expires_in(days: i64) -> String {
    match days {
        0 => "expires in less than a day".to_owned(),
        1 => "expires in 1 day".to_owned(),
        days => format!("expires in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::testing::Draft;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn code_at(certificate: &Certificate, before_end: SignedDuration) -> Option<&'static str> {
        certificate.renewal(certificate.not_after() - before_end).map(|renewal| renewal.code().as_str())
    }

    #[test]
    fn a_certificate_is_warned_about_for_thirty_days_and_then_as_expired() {
        let leaf = Draft::leaf().certificate();
        let second = SignedDuration::from_secs(1);
        assert_eq!(code_at(&leaf, RENEWAL_TIME + second), None);
        assert_eq!(code_at(&leaf, RENEWAL_TIME), Some("certificate-expires-soon"));
        assert_eq!(code_at(&leaf, SignedDuration::ZERO), Some("certificate-expires-soon"));
        assert_eq!(code_at(&leaf, -second), Some("certificate-expired"));
    }

    #[test]
    fn the_days_are_whole_ones() {
        let leaf = Draft::leaf().certificate();
        let mark = |before_end| leaf.renewal(leaf.not_after() - before_end).unwrap().mark();
        assert_eq!(mark(DAY * 12 + DAY / 2), "expires in 12 days");
        assert_eq!(mark(DAY), "expires in 1 day");
        assert_eq!(mark(DAY / 2), "expires in less than a day");
        assert_eq!(mark(-DAY), "expired");
        let told = leaf.renewal(leaf.not_after() - DAY * 3).unwrap().to_string();
        assert_eq!(told, format!("the certificate `{}` expires in 3 days, at 2040-01-01T00:00:00Z", leaf.subject()));
    }

    #[test]
    fn of_a_chain_the_one_that_ends_first_is_told() {
        let (leaf, mut authority) = (Draft::leaf().certificate(), Draft::authority(1));
        authority.not_after = der::DateTime::new(2039, 1, 1, 0, 0, 0).unwrap().into();
        let chain = [leaf.clone(), authority.certificate()];
        let at = chain[1].not_after() - DAY;
        assert!(
            matches!(Renewal::first_of(&chain, at), Some(Renewal::Soon { subject, .. }) if subject.contains("ca 1"))
        );
        assert_eq!(Renewal::first_of(&chain[..1], at), None);
        assert_eq!(Renewal::first_of(&[], at), None);
    }
}
