//! What a time-stamp says: `TSTInfo` of RFC 3161, section 2.4.2.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256, ID_SHA_384, ID_SHA_512};
use der::asn1::{AnyRef, IntRef, OctetStringRef};
use der::{Decode as _, Tag, Tagged as _};
use jiff::{SignedDuration, Timestamp};
use spki::AlgorithmIdentifierRef;
use x509_cert::ext::Extension;

use super::InvalidTimestamp;
use crate::oci::DigestAlgorithm;

/// The best-practices policy for time-stamps of ETSI EN 319 421, which promises a second where the token tells no accuracy.
const BASELINE_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.2023.1.1");

/// What a time-stamp says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampInfo {
    /// The object identifier of the policy that the authority followed.
    pub policy: String,
    /// The hash of the message imprint.
    pub hash: DigestAlgorithm,
    /// The hash of what was stamped.
    pub imprint: Vec<u8>,
    /// The number of the token, big-endian, as it stands in the DER integer.
    pub serial_number: Vec<u8>,
    /// When the authority made it.
    pub time: Timestamp,
    /// How far from `time` the stamp may have been made, to either side.
    pub accuracy: SignedDuration,
    /// What the request carried to recognise its answer by.
    pub nonce: Option<Vec<u8>>,
}

#[derive(der::Sequence)]
struct TstInfo<'a> {
    version: u8,
    policy: ObjectIdentifier,
    message_imprint: MessageImprint<'a>,
    serial_number: IntRef<'a>,
    /// With a fraction of a second at times, which the library's own type does not know.
    time: AnyRef<'a>,
    #[asn1(optional = "true")]
    accuracy: Option<Accuracy>,
    #[asn1(default = "Default::default")]
    ordering: bool,
    #[asn1(optional = "true")]
    nonce: Option<IntRef<'a>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    authority: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true", constructed = "true")]
    extensions: Option<Vec<Extension>>,
}

/// A hash, and what it is a hash by.
#[derive(der::Sequence)]
pub(super) struct MessageImprint<'a> {
    pub(super) hash: AlgorithmIdentifierRef<'a>,
    pub(super) hashed: &'a OctetStringRef,
}

#[derive(Clone, Copy, Default, der::Sequence)]
struct Accuracy {
    #[asn1(optional = "true")]
    seconds: Option<u32>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    milliseconds: Option<u16>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    microseconds: Option<u16>,
}

impl TimestampInfo {
    /// The content of a token.
    pub(super) fn parse(der: &[u8]) -> Result<Self, InvalidTimestamp> {
        let info = TstInfo::from_der(der).map_err(|error| InvalidTimestamp::malformed(&error))?;
        if info.version != 1 {
            return Err(InvalidTimestamp::Form("its content is not of version 1"));
        }
        // As with certificates (RFC 5280, section 4.2): what is critical and not known must not be passed over.
        if info.extensions.iter().flatten().any(|extension| extension.critical) {
            return Err(InvalidTimestamp::Form("it has a critical extension"));
        }
        Ok(Self {
            policy: info.policy.to_string(),
            hash: hash_of(&info.message_imprint.hash)?,
            imprint: info.message_imprint.hashed.as_bytes().to_vec(),
            serial_number: info.serial_number.as_bytes().to_vec(),
            time: generalized_time(info.time).ok_or(InvalidTimestamp::Form("its time is malformed"))?,
            accuracy: info.accuracy.unwrap_or_default().duration(info.policy)?,
            nonce: info.nonce.map(|nonce| nonce.as_bytes().to_vec()),
        })
    }

    /// The first and the last instant at which the stamp may have been made (Notary trust policy specification, "Authentic
    /// Timestamp").
    pub(super) fn window(&self) -> Result<(Timestamp, Timestamp), InvalidTimestamp> {
        let ends =
            self.time.checked_sub(self.accuracy).and_then(|first| Ok((first, self.time.checked_add(self.accuracy)?)));
        ends.map_err(|_| InvalidTimestamp::Form("its accuracy reaches beyond the calendar"))
    }
}

impl Accuracy {
    /// Nothing told is exact, but for a policy that promises a second.
    fn duration(self, policy: ObjectIdentifier) -> Result<SignedDuration, InvalidTimestamp> {
        let (milliseconds, microseconds) = (self.milliseconds.unwrap_or(0), self.microseconds.unwrap_or(0));
        if milliseconds > 999 || microseconds > 999 {
            return Err(InvalidTimestamp::Form("its accuracy is malformed"));
        }
        let told = SignedDuration::from_secs(i64::from(self.seconds.unwrap_or(0)))
            + SignedDuration::from_millis(i64::from(milliseconds))
            + SignedDuration::from_micros(i64::from(microseconds));
        Ok(if told.is_zero() && policy == BASELINE_POLICY { SignedDuration::from_secs(1) } else { told })
    }
}

/// The hash that an identifier names. SHA-2 alone (Notary signature specification, "Signature Algorithm Requirements").
pub(super) fn hash_of(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<DigestAlgorithm, InvalidTimestamp> {
    match algorithm.oid {
        ID_SHA_256 => Ok(DigestAlgorithm::Sha256),
        ID_SHA_384 => Ok(DigestAlgorithm::Sha384),
        ID_SHA_512 => Ok(DigestAlgorithm::Sha512),
        ID_SHA_1 => Err(InvalidTimestamp::Hash("SHA-1".to_owned())),
        other => Err(InvalidTimestamp::Hash(other.to_string())),
    }
}

/// `YYYYMMDDhhmmss[.fraction]Z`, the one form that RFC 3161 allows.
pub(super) fn generalized_time(time: AnyRef<'_>) -> Option<Timestamp> {
    if time.tag() != Tag::GeneralizedTime {
        return None;
    }
    let text = std::str::from_utf8(time.value()).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !are_digits(whole) || !fraction.is_none_or(are_digits) {
        return None;
    }
    let part = |from, to| whole.get(from..to).unwrap_or_default();
    if part(12, 14) > "59" {
        return None; // a leap second, which the calendar would silently move
    }
    if fraction.is_some_and(|digits| digits.ends_with('0')) {
        return None; // which RFC 3161 forbids, as DER does
    }
    // More digits than there are nanoseconds say nothing.
    let fraction = fraction.map(|digits| format!(".{}", digits.get(..9).unwrap_or(digits))).unwrap_or_default();
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    format!("{year}-{month}-{day}T{}:{}:{}{fraction}Z", part(8, 10), part(10, 12), part(12, 14)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Option<String> {
        generalized_time(AnyRef::new(Tag::GeneralizedTime, text.as_bytes()).unwrap()).map(|time| time.to_string())
    }

    #[test]
    fn a_time_has_whole_seconds_or_a_fraction_and_no_other_form() {
        assert_eq!(time("20260102030405Z").unwrap(), "2026-01-02T03:04:05Z");
        assert_eq!(time("20260102030405.25Z").unwrap(), "2026-01-02T03:04:05.25Z");
        assert_eq!(time("20260102030405.1234567891Z").unwrap(), "2026-01-02T03:04:05.123456789Z");
        for text in [
            "",
            "Z",
            "20260102030405",
            "202601020304Z",
            "20260102030405+0000",
            "20260102030405.Z",
            "20260102030405.50Z",
            "20261302030405Z",
            "2026010203046éZ",
            "20260630235960Z",
            "2026010203040 Z",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(generalized_time(AnyRef::new(Tag::UtcTime, b"260102030405Z").unwrap()), None);
    }

    #[test]
    fn an_accuracy_is_told_or_exact_or_the_policys_second() {
        let other = ObjectIdentifier::new_unwrap("1.2.3.4");
        let told = Accuracy { seconds: Some(1), milliseconds: Some(2), microseconds: Some(3) };
        let duration = |accuracy: Accuracy, policy| accuracy.duration(policy).map(|duration| duration.as_micros()).ok();
        assert_eq!(duration(told, other), Some(1_002_003));
        assert_eq!(duration(told, BASELINE_POLICY), Some(1_002_003));
        assert_eq!(duration(Accuracy::default(), other), Some(0));
        assert_eq!(duration(Accuracy::default(), BASELINE_POLICY), Some(1_000_000));
        assert_eq!(duration(Accuracy { milliseconds: Some(1000), ..told }, other), None);
    }
}
