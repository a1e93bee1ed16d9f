//! From BER to DER.
//!
//! RFC 5652 lets the outer layers of a CMS structure be BER, and some time-stamp authorities stream theirs: lengths that are
//! not told in advance, longer than needed, byte strings in pieces. Everything here decodes DER alone, so such bytes are
//! rewritten first. DER comes out as it went in, which keeps the certificates inside what their issuers signed.

/// How deep elements may be nested. A certificate inside a time-stamp token is the deepest that is met, at 16.
pub(super) const MAX_DEPTH: usize = 32;
/// How many bytes a length may take: enough for 4 GiB, which is far beyond every limit in front of this.
const MAX_LENGTH_BYTES: usize = 4;
/// How many bytes a tag may take. Nothing in X.509 or CMS needs a second one.
const MAX_TAG_BYTES: usize = 4;

/// What the low bits of a first byte say where the tag's number follows.
const LONG_TAG: u8 = 0x1f;
const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;
const INDEFINITE: u8 = 0x80;
const END_OF_CONTENTS: [u8; 2] = [0, 0];

/// Why bytes are not BER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BerFault {
    /// They end too early.
    #[error("it ends where more was announced")]
    Truncated,
    /// Something follows the one element.
    #[error("bytes follow it")]
    TrailingBytes,
    /// Nested too deep.
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A tag or a length that is too long, or reserved.
    #[error("a tag or a length in it is malformed")]
    Head,
    /// A byte string in pieces that are not byte strings.
    #[error("a byte string in it is made of something else")]
    Fragments,
}

/// The one element in these bytes, in definite lengths as short as they can be, byte strings whole.
pub(super) fn to_der(ber: &[u8]) -> Result<Vec<u8>, BerFault> {
    let mut reader = Reader(ber);
    let mut der = Vec::with_capacity(ber.len());
    reader.element(0, &mut der)?;
    if reader.0.is_empty() { Ok(der) } else { Err(BerFault::TrailingBytes) }
}

/// The bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Rewrites the next element.
    fn element(&mut self, depth: usize, der: &mut Vec<u8>) -> Result<(), BerFault> {
        if depth > MAX_DEPTH {
            return Err(BerFault::TooDeep);
        }
        let tag = self.tag()?;
        let is_constructed = tag.first().is_some_and(|first| first & CONSTRUCTED != 0);
        match (self.length()?, is_constructed) {
            (Some(length), false) => push(der, tag, self.take(length)?),
            (None, false) => return Err(BerFault::Head),
            (length, true) => {
                let content = match length {
                    Some(length) => Reader(self.take(length)?).elements(depth + 1)?,
                    None => self.elements_to_the_end(depth + 1)?,
                };
                if tag == [OCTET_STRING | CONSTRUCTED] {
                    push(der, &[OCTET_STRING], &joined(&content)?);
                } else {
                    push(der, tag, &content);
                }
            }
        }
        Ok(())
    }

    fn elements(mut self, depth: usize) -> Result<Vec<u8>, BerFault> {
        let mut der = Vec::with_capacity(self.0.len());
        while !self.0.is_empty() {
            self.element(depth, &mut der)?;
        }
        Ok(der)
    }

    fn elements_to_the_end(&mut self, depth: usize) -> Result<Vec<u8>, BerFault> {
        let mut der = Vec::new();
        while !self.0.starts_with(&END_OF_CONTENTS) {
            self.element(depth, &mut der)?;
        }
        self.take(END_OF_CONTENTS.len())?;
        Ok(der)
    }

    fn tag(&mut self) -> Result<&'a [u8], BerFault> {
        let all = self.0;
        let first = self.byte()?;
        let mut length = 1;
        if first & LONG_TAG == LONG_TAG {
            loop {
                length += 1;
                if length > MAX_TAG_BYTES {
                    return Err(BerFault::Head);
                }
                if self.byte()? & 0x80 == 0 {
                    break;
                }
            }
        }
        all.get(..length).ok_or(BerFault::Truncated)
    }

    /// None where the end is marked instead.
    fn length(&mut self) -> Result<Option<usize>, BerFault> {
        match self.byte()? {
            INDEFINITE => Ok(None),
            short @ 0..INDEFINITE => Ok(Some(usize::from(short))),
            long => {
                let count = usize::from(long & !INDEFINITE);
                if count > MAX_LENGTH_BYTES {
                    return Err(BerFault::Head);
                }
                let bytes = self.take(count)?;
                Ok(Some(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))))
            }
        }
    }

    fn byte(&mut self) -> Result<u8, BerFault> {
        let (first, rest) = self.0.split_first().ok_or(BerFault::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BerFault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BerFault::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// The contents of byte strings that stand one after another and are rewritten already.
fn joined(pieces: &[u8]) -> Result<Vec<u8>, BerFault> {
    let (mut reader, mut whole) = (Reader(pieces), Vec::with_capacity(pieces.len()));
    while !reader.0.is_empty() {
        if reader.tag()? != [OCTET_STRING] {
            return Err(BerFault::Fragments);
        }
        let length = reader.length()?.ok_or(BerFault::Head)?;
        whole.extend_from_slice(reader.take(length)?);
    }
    Ok(whole)
}

/// Appends an element with this tag and content.
fn push(der: &mut Vec<u8>, tag: &[u8], content: &[u8]) {
    der.extend_from_slice(tag);
    let bytes = content.len().to_be_bytes();
    match u8::try_from(content.len()) {
        Ok(short) if short < INDEFINITE => der.push(short),
        _ => {
            let significant = bytes.iter().skip_while(|byte| **byte == 0);
            let count = u8::try_from(significant.clone().count()).unwrap_or_default();
            der.push(INDEFINITE | count);
            der.extend(significant);
        }
    }
    der.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(ber: &str) -> Result<String, BerFault> {
        to_der(&hex::decode(ber.replace(' ', "")).unwrap()).map(hex::encode)
    }

    #[test]
    fn der_comes_out_as_it_went_in() {
        for certificate in ["p256-sha256", "rsa2048-pss-sha256"] {
            let certificate = super::super::testing::read(&format!("certificates/{certificate}.pem")).remove(0);
            assert_eq!(to_der(certificate.der()).unwrap(), certificate.der());
        }
        let long = [&[0x04, 0x82, 0x01, 0x00][..], &[7; 256]].concat();
        assert_eq!(to_der(&long).unwrap(), long);
        assert_eq!(converted("bf2a 03 02 01 05").unwrap(), "bf2a03020105");
    }

    #[test]
    fn every_liberty_of_ber_is_taken_back() {
        assert_eq!(converted("30 80 02 01 05 00 00").unwrap(), "3003020105");
        assert_eq!(converted("30 80 a0 80 02 01 05 00 00 00 00").unwrap(), "3005a003020105");
        assert_eq!(converted("30 83 00 00 04 02 81 01 05").unwrap(), "3003020105");
        assert_eq!(converted("24 80 04 02 01 02 04 01 03 00 00").unwrap(), "0403010203");
        assert_eq!(converted("24 09 24 80 04 01 01 00 00 04 00").unwrap(), "040101");
        assert_eq!(converted("24 00").unwrap(), "0400");
    }

    #[test]
    fn what_is_not_ber_is_refused() {
        for (ber, fault) in [
            ("", BerFault::Truncated),
            ("30", BerFault::Truncated),
            ("30 02 02", BerFault::Truncated),
            ("30 80 02 01 05", BerFault::Truncated),
            ("30 80 02 01 05 00", BerFault::Truncated),
            ("30 03 02 02 05", BerFault::Truncated),
            ("04 84 ff ff ff ff 00", BerFault::Truncated),
            ("02 01 05 00", BerFault::TrailingBytes),
            ("04 80 00 00", BerFault::Head),
            ("04 85 00 00 00 00 00", BerFault::Head),
            ("04 ff", BerFault::Head),
            ("1f ff ff ff 7f 00", BerFault::Head),
            ("24 03 02 01 05", BerFault::Fragments),
        ] {
            assert_eq!(converted(ber), Err(fault), "{ber}");
        }
    }

    #[test]
    fn nesting_ends_before_the_stack_does() {
        let nested = |levels: usize| [[0x30, 0x80].repeat(levels), [0, 0].repeat(levels)].concat();
        assert!(to_der(&nested(MAX_DEPTH + 1)).is_ok());
        assert_eq!(to_der(&nested(MAX_DEPTH + 2)), Err(BerFault::TooDeep));
        assert_eq!(to_der(&[0x30, 0x80].repeat(100_000)), Err(BerFault::TooDeep));
    }
}
