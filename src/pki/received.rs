//! The pieces of a certificate whose very bytes matter.
//!
//! Encoding a parsed certificate again may give other bytes than were signed, so what a signature is over, and what two
//! names are compared by, is cut out of the bytes received.

use der::{Reader as _, SliceReader, Tag};

/// Slices of a certificate's DER.
pub(super) struct Parts<'a> {
    /// What the signature is over.
    pub(super) tbs: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
}

impl<'a> Parts<'a> {
    /// The pieces of a certificate, which is not otherwise checked.
    pub(super) fn of(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let tbs = reader.sequence(|fields| {
            let tbs = fields.tlv_bytes()?;
            skip_rest(fields)?;
            der::Result::Ok(tbs)
        })?;
        SliceReader::new(tbs)?.sequence(|fields| {
            if Tag::peek(fields)?.is_context_specific() {
                fields.tlv_bytes()?; // version
            }
            fields.tlv_bytes()?; // serial number
            fields.tlv_bytes()?; // signature algorithm
            let issuer = fields.tlv_bytes()?;
            fields.tlv_bytes()?; // validity
            let subject = fields.tlv_bytes()?;
            skip_rest(fields)?;
            Ok(Self { tbs, issuer, subject })
        })
    }
}

fn skip_rest(reader: &mut SliceReader<'_>) -> der::Result<()> {
    while !reader.is_finished() {
        reader.tlv_bytes()?;
    }
    Ok(())
}
