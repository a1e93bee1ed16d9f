//! Whether all readers take a head for one of the same form.
//!
//! Where the parts of a name lie depends on the form, and readers tell forms apart by different marks: a head that one of them reads
//! with a prefix, another without, would be two members.
//!
//! Follows POSIX.1-2017, pax, "ustar Interchange Format", and the heads of GNU tar and of star.

use super::ArchiveFault;

/// The mark of a form, with its version.
const MARK: std::ops::Range<usize> = 257..265;
const USTAR: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";
/// Behind a name in ustar; times, and more, in GNU tar.
const PREFIX: std::ops::Range<usize> = 345..500;
/// The times of GNU tar. Where they are no numbers some take the place for that of a prefix.
const GNU_TIMES: [std::ops::Range<usize>; 2] = [345..357, 357..369];
/// The mark of star, whose prefix is shorter.
const STAR: (std::ops::Range<usize>, &[u8]) = (508..512, b"tar\0");

/// An error where readers would differ.
pub(super) fn check(head: &[u8; 512]) -> Result<(), ArchiveFault> {
    let part = |range: std::ops::Range<usize>| head.get(range).unwrap_or_default();
    let is_plain = match part(MARK) {
        USTAR => part(STAR.0) != STAR.1,
        GNU => GNU_TIMES.into_iter().all(|time| is_number(part(time))),
        _ => part(PREFIX).iter().all(|byte| *byte == 0),
    };
    if is_plain { Ok(()) } else { Err(ArchiveFault::Malformed("a head is of several forms at once")) }
}

/// In octal digits, or in binary.
fn is_number(field: &[u8]) -> bool {
    matches!(field.first(), Some(0x80 | 0xff)) || field.iter().all(|byte| matches!(byte, b'0'..=b'7' | b' ' | 0))
}
