//! What the heads before a member's own say of it, and counts instead: long names of GNU tar, and the records of pax.
//!
//! Readers differ in what they make of two such heads where one would do. Nothing is guessed: whatever is told twice is refused.
//!
//! Follows POSIX.1-2017, pax, "pax Extended Header".

use super::ArchiveFault;

/// What has been said of the next member.
#[derive(Debug, Default)]
pub(super) struct Extended {
    /// Where the first of these heads begins.
    pub(super) start: Option<u64>,
    /// The member's name.
    pub(super) name: Option<Vec<u8>>,
    /// The size of its content.
    pub(super) size: Option<u64>,
    has_records: bool,
}

impl Extended {
    /// A long name of GNU tar's, which ends at the first zero.
    pub(super) fn long_name(&mut self, start: u64, mut name: Vec<u8>) -> Result<(), ArchiveFault> {
        self.start.get_or_insert(start);
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        if name.is_empty() {
            // As below.
            return Err(UNREADABLE);
        }
        self.call(name)
    }

    /// Where a link leads does not matter.
    pub(super) fn long_link(&mut self, start: u64, _target: &[u8]) {
        self.start.get_or_insert(start);
    }

    /// The records of a pax head.
    pub(super) fn records(&mut self, start: u64, records: &[u8]) -> Result<(), ArchiveFault> {
        self.start.get_or_insert(start);
        if std::mem::replace(&mut self.has_records, true) {
            // Some forget the first one, others do not.
            return Err(ArchiveFault::Malformed("a member has two extended heads"));
        }
        self.take(records)
    }

    /// A pax head for all members at once can say nothing of names and sizes; readers differ in whether they would heed it.
    pub(super) fn check_global(records: &[u8]) -> Result<(), ArchiveFault> {
        let mut own = Self::default();
        own.take(records)?;
        match own {
            Self { name: None, size: None, .. } => Ok(()),
            _ => Err(ArchiveFault::Malformed("an extended head for all members names one")),
        }
    }

    /// An error where something was said of a member that does not come next: it would be understood of whatever comes later.
    pub(super) fn stands_alone(&self) -> Result<(), ArchiveFault> {
        match self.start {
            None => Ok(()),
            Some(_) => Err(ArchiveFault::Malformed("an extended head is before no member")),
        }
    }

    fn take(&mut self, mut records: &[u8]) -> Result<(), ArchiveFault> {
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or(UNREADABLE)?;
            match key {
                // Without a value, the name or size of the head itself counts for some.
                b"path" if value.is_empty() || value.contains(&0) => return Err(UNREADABLE),
                b"path" => self.call(value.to_vec())?,
                b"size" => self.measure(number(value).ok_or(UNREADABLE)?)?,
                // GNU tar's sparse files: their content is not what lies there.
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(ArchiveFault::Malformed("a member is of an unknown kind"));
                }
                _ => {}
            }
            records = rest;
        }
        Ok(())
    }

    fn call(&mut self, name: Vec<u8>) -> Result<(), ArchiveFault> {
        match self.name.replace(name) {
            None => Ok(()),
            Some(_) => Err(ArchiveFault::Malformed("a member has two long names")),
        }
    }

    fn measure(&mut self, size: u64) -> Result<(), ArchiveFault> {
        match self.size.replace(size) {
            None => Ok(()),
            Some(_) => Err(ArchiveFault::Malformed("a member has two sizes")),
        }
    }
}

const UNREADABLE: ArchiveFault = ArchiveFault::Malformed("an extended head cannot be read");

/// The first record and what follows it: `LENGTH KEY=VALUE`, and an end of line. The length is that of all of it, so a value may
/// have any bytes.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(bytes.get(..blank)?)?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((record.get(..equals)?, record.get(equals + 1..)?, rest))
}

/// A number in digits alone: parsers of numbers take signs, too.
fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What these records say: name and size.
    fn told(records: &[u8]) -> Option<(Option<Vec<u8>>, Option<u64>)> {
        let mut extended = Extended::default();
        extended.records(0, records).ok()?;
        Some((extended.name, extended.size))
    }

    #[test]
    fn a_record_is_as_long_as_it_says_whatever_is_in_it() {
        let attribute = b"30 SCHILY.xattr.user.note=a\nb\n";
        assert_eq!(attribute.len(), 30);
        assert_eq!(told(attribute), Some((None, None)));
        let both = [attribute.as_slice(), b"9 path=x\n", b"9 size=7\n"].concat();
        assert_eq!(told(&both), Some((Some(b"x".to_vec()), Some(7))));
        // Its value is no record of its own.
        assert_eq!(told(b"28 SCHILY.xattr.u=\n9 path=x\n"), Some((None, None)));
        assert_eq!(told(b""), Some((None, None)));
        for broken in [
            b"11 path=x\n".as_slice(),
            b"8 path=x\n",
            b"9 path=x",
            b"9 path x\n",
            b"+9 path=x\n",
            b" path=x\n",
            b"9 path=x\n\0",
            b"18446744073709551616 path=x\n",
        ] {
            assert_eq!(told(broken), None, "{}", String::from_utf8_lossy(broken));
        }
    }

    #[test]
    fn nothing_is_told_twice_and_nothing_in_two_ways() {
        for (records, is_told) in [
            (b"9 size=1\n".as_slice(), true),
            (b"9 size=1\n9 size=1\n", false),
            (b"9 path=x\n9 path=x\n", false),
            (b"8 path=\n", false),
            (b"8 size=\n", false),
            (b"11 path=x\0\n", false),
            (b"11 size=+1\n", false),
            (b"11 size=01\n", true),
        ] {
            assert_eq!(told(records).is_some(), is_told, "{}", String::from_utf8_lossy(records));
        }
    }
}
