//! Rules of form for CBOR that the decoder does not enforce.
//!
//! The decoder accepts indefinite lengths, long forms of numbers and duplicate keys in nested maps. Any of them lets two
//! readers see two different messages in the same bytes, so they are refused before the decoder runs (RFC 8949 section
//! 4.2.1, less the order of keys, which the reference implementation does not insist on either).

use super::error::CborFault;

/// How deep items may nest. A Notary envelope nests 4 deep.
pub(super) const MAX_DEPTH: usize = 16;

/// Refuses bytes that are not exactly one item of strict form.
pub(super) fn check(bytes: &[u8]) -> Result<(), CborFault> {
    match item(bytes, 0)? {
        [] => Ok(()),
        _ => Err(CborFault::TrailingBytes),
    }
}

/// Checks the item at the front and gives what follows it.
fn item(bytes: &[u8], depth: usize) -> Result<&[u8], CborFault> {
    if depth > MAX_DEPTH {
        return Err(CborFault::TooDeep);
    }
    let head = Head::read(bytes)?;
    match head.major {
        2 => head.take().map(|(_, rest)| rest),
        3 => {
            let (text, rest) = head.take()?;
            std::str::from_utf8(text).map_err(|_| CborFault::NotUtf8)?;
            Ok(rest)
        }
        4 => (0..head.argument).try_fold(head.rest, |rest, _| item(rest, depth + 1)),
        5 => map(&head, depth),
        // A big number (tags 2 and 3) is one more form of a number: the decoder makes it equal to the short one.
        6 if matches!(head.argument, 2 | 3) => Err(CborFault::LongForm),
        6 => item(head.rest, depth + 1),
        // Integers (0, 1), simple values and floats (7) end with their head.
        _ => Ok(head.rest),
    }
}

/// Keys are compared as bytes: in strict form, equal keys have equal bytes.
fn map<'a>(head: &Head<'a>, depth: usize) -> Result<&'a [u8], CborFault> {
    let mut keys = std::collections::HashSet::new();
    (0..head.argument).try_fold(head.rest, |rest, _| {
        let after_key = item(rest, depth + 1)?;
        let key = rest.get(..rest.len() - after_key.len()).unwrap_or_default();
        if !keys.insert(key) {
            return Err(CborFault::DuplicateKey);
        }
        item(after_key, depth + 1)
    })
}

/// The first byte of an item with the number that follows it.
struct Head<'a> {
    major: u8,
    argument: u64,
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, CborFault> {
        let (first, rest) = bytes.split_first().ok_or(CborFault::Truncated)?;
        let (major, low) = (first >> 5, first & 0x1f);
        let width = match low {
            0..=23 => return Self { major, argument: u64::from(low), rest }.simple(low),
            24..=27 => 1_usize << (low - 24),
            31 => return Err(CborFault::IndefiniteLength),
            _ => return Err(CborFault::Reserved),
        };
        let (number, rest) = rest.split_at_checked(width).ok_or(CborFault::Truncated)?;
        let argument = number.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        // Major type 7 carries floats, whose width is part of the value.
        if major != 7 && argument < smallest_of_width(width) {
            return Err(CborFault::LongForm);
        }
        Self { major, argument, rest }.simple(low)
    }

    /// Simple values have one form each: below 24 in the head (20 to 23 assigned), never in a second byte.
    fn simple(self, low: u8) -> Result<Self, CborFault> {
        match (self.major, low) {
            (7, 0..=19 | 24) => Err(CborFault::Reserved),
            _ => Ok(self),
        }
    }

    fn take(&self) -> Result<(&'a [u8], &'a [u8]), CborFault> {
        let length = usize::try_from(self.argument).map_err(|_| CborFault::Truncated)?;
        self.rest.split_at_checked(length).ok_or(CborFault::Truncated)
    }
}

/// The smallest number that needs this many bytes after the head.
fn smallest_of_width(width: usize) -> u64 {
    match width {
        1 => 24,
        2 => 1 << 8,
        4 => 1 << 16,
        _ => 1 << 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_hex(hex: &str) -> Result<(), CborFault> {
        check(&hex::decode(hex.replace(' ', "")).unwrap())
    }

    #[test]
    fn strict_items_pass_and_each_loose_form_has_its_fault() {
        for good in [
            "00",
            "1818",
            "190100",
            "4161",
            "6161",
            "820102",
            "a201020304",
            "c11a6b011cc0",
            "f6",
            "fb3ff0000000000000",
            "a2 03 01 01 02",
        ] {
            assert_eq!(check_hex(good), Ok(()), "{good}");
        }
        for (bad, fault) in [
            ("", CborFault::Truncated),
            ("42 61", CborFault::Truncated),
            ("5b ffffffffffffffff", CborFault::Truncated),
            ("9b ffffffffffffffff", CborFault::Truncated),
            ("0000", CborFault::TrailingBytes),
            ("9f 01 ff", CborFault::IndefiniteLength),
            ("5f 41 61 ff", CborFault::IndefiniteLength),
            ("1817", CborFault::LongForm),
            ("190017", CborFault::LongForm),
            ("5801 61", CborFault::LongForm),
            ("d800 01", CborFault::LongForm),
            ("c2 4101", CborFault::LongForm),
            ("a2 01 26 c2 4101 38 22", CborFault::LongForm),
            ("c3 4101", CborFault::LongForm),
            ("a2 01 02 01 03", CborFault::DuplicateKey),
            ("81 a2 6161 02 6161 03", CborFault::DuplicateKey),
            ("61 ff", CborFault::NotUtf8),
            ("1c", CborFault::Reserved),
            ("f8 20", CborFault::Reserved),
        ] {
            assert_eq!(check_hex(bad), Err(fault), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(check_hex(&format!("{}00", "81".repeat(MAX_DEPTH))), Ok(()));
        assert_eq!(check_hex(&format!("{}00", "81".repeat(MAX_DEPTH + 1))), Err(CborFault::TooDeep));
        assert_eq!(check_hex(&format!("{}00", "81".repeat(100_000))), Err(CborFault::TooDeep));
    }
}
