//! The entries of a revocation list.
//!
//! A list may have a million entries, so they are read through without being kept, and all of them each time: one that
//! cannot be understood spoils the list (RFC 5280, section 5.3), wherever it stands.

use const_oid::db::rfc5280::{ID_CE_CRL_REASONS, ID_CE_INVALIDITY_DATE};
use der::asn1::{AnyRef, GeneralizedTime, IntRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _};
use jiff::Timestamp;
use x509_cert::ext::Extension;
use x509_cert::time::Time;

use super::super::certificate::timestamp;
use super::crl::InvalidCrl;
use super::signed_data::{content, critical_unknown, instant};

/// What an entry says about its certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) revoked_at: Timestamp,
    pub(super) effect: Effect,
    /// When the certificate became invalid by the issuer's word, which may be long before it heard of it.
    pub(super) invalid_from: Option<Timestamp>,
}

/// Whether an entry can be taken back (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Revoked for good.
    Final,
    /// `certificateHold`: revoked until further notice.
    Hold,
    /// `removeFromCRL`: no longer on hold.
    Release,
}

#[derive(der::Sequence)]
struct RawEntry<'a> {
    serial_number: IntRef<'a>,
    revoked_at: Time,
    extensions: Option<Vec<Extension>>,
}

/// The entries about the certificate with this serial number, in the order of the list.
pub(super) fn entries_about(entries: &[u8], serial_number: &[u8]) -> Result<Vec<Entry>, InvalidCrl> {
    let mut reader = SliceReader::new(entries).map_err(InvalidCrl::malformed)?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        let raw: RawEntry<'_> = reader.decode().map_err(InvalidCrl::malformed)?;
        let entry = Entry::read(&raw)?;
        if raw.serial_number.as_bytes() == serial_number {
            found.push(entry);
        }
    }
    Ok(found)
}

impl Entry {
    fn read(raw: &RawEntry<'_>) -> Result<Self, InvalidCrl> {
        let extensions = raw.extensions.as_deref().unwrap_or_default();
        // Among those that are not understood is certificateIssuer, by which a list speaks about other issuers' certificates.
        if let Some(oid) = critical_unknown(extensions, &[ID_CE_CRL_REASONS, ID_CE_INVALIDITY_DATE]) {
            return Err(InvalidCrl::CriticalExtension(oid));
        }
        let invalid_from = content(extensions, ID_CE_INVALIDITY_DATE).map(GeneralizedTime::from_der).transpose();
        Ok(Self {
            revoked_at: timestamp(raw.revoked_at),
            effect: content(extensions, ID_CE_CRL_REASONS).map_or(Ok(Effect::Final), effect)?,
            invalid_from: invalid_from.map_err(InvalidCrl::malformed)?.map(instant),
        })
    }
}

/// What a reason means. One that does not exist yet is as final as most.
fn effect(reason: &[u8]) -> Result<Effect, InvalidCrl> {
    let reason = AnyRef::from_der(reason).map_err(InvalidCrl::malformed)?;
    match (reason.tag(), reason.value()) {
        (Tag::Enumerated, [6]) => Ok(Effect::Hold),
        (Tag::Enumerated, [8]) => Ok(Effect::Release),
        (Tag::Enumerated, [_]) => Ok(Effect::Final),
        _ => Err(InvalidCrl::malformed("a reason is no number")),
    }
}
