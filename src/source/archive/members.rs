//! Which members an archive has, and where each lies in it.
//!
//! Heads are read block by block and not through a library that holds whatever length a stranger's long name claims to have.
//! Only members that a layout has are remembered; all are counted.
//!
//! Follows POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block", and the long names of GNU tar.

use std::collections::HashMap;

use tar::{EntryType, Header, PaxExtensions};

use super::ArchiveFault;
use super::tape::Tape;
use crate::oci::Digest;
use crate::remedy::excerpt;
use crate::source::limits::{MAX_ARCHIVE_EXTENSION, MAX_ARCHIVE_MEMBERS};

const BLOCK: u64 = 512;
/// The members of an image layout, and of what docker writes, beside the blobs.
const KNOWN: [&str; 3] = ["oci-layout", "index.json", "manifest.json"];

/// The members of an archive that belong to an image layout.
#[derive(Debug, Default)]
pub struct Members {
    members: HashMap<String, Member>,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Member {
    Content {
        /// Where its bytes begin.
        offset: u64,
        /// How many there are.
        size: u64,
    },
    /// A link of any kind, which is not followed.
    Link,
}

impl Members {
    /// All members up to the end of the archive, which must be there: without it, something was cut off.
    pub fn read(tape: &mut impl Tape) -> Result<Self, ArchiveFault> {
        Self::at_most(MAX_ARCHIVE_MEMBERS, tape)
    }

    fn at_most(limit: usize, tape: &mut impl Tape) -> Result<Self, ArchiveFault> {
        let (mut members, mut extended) = (Self::default(), Extended::default());
        let mut count = 0;
        while let Some(header) = header(tape)? {
            count += 1;
            if count > limit {
                return Err(ArchiveFault::TooManyMembers);
            }
            let size = header.entry_size().map_err(|_| ArchiveFault::Malformed("a size is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => extended.call(without_end(extension(tape, size)?))?,
                EntryType::XHeader => extended.take(&extension(tape, size)?)?,
                EntryType::XGlobalHeader => Extended::default().take_nothing(&extension(tape, size)?)?,
                // Where a link leads does not matter.
                EntryType::GNULongLink => drop(extension(tape, size)?),
                kind => members.add(tape, &header, kind, &std::mem::take(&mut extended), size)?,
            }
        }
        Ok(members)
    }

    /// Their names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    pub(super) fn of(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    fn add(
        &mut self,
        tape: &mut impl Tape,
        header: &Header,
        kind: EntryType,
        extended: &Extended,
        size: u64,
    ) -> Result<(), ArchiveFault> {
        let size = extended.size.unwrap_or(size);
        let own = header.path_bytes();
        let name = extended.name.as_deref().unwrap_or(&own);
        let is_content = match kind {
            EntryType::Regular | EntryType::Continuous => true,
            EntryType::Link
            | EntryType::Symlink
            | EntryType::Directory
            | EntryType::Char
            | EntryType::Block
            | EntryType::Fifo => false,
            _ => return Err(ArchiveFault::Malformed("a member is of an unknown kind")),
        };
        // Readers differ in whether they pass over such bytes.
        if !is_content && size != 0 {
            return Err(ArchiveFault::Malformed("a member that has no content has a size"));
        }
        let name = known(name)?;
        let member = if is_content { Member::Content { offset: tape.position(), size } } else { Member::Link };
        pass(tape, name.as_deref(), size)?;
        match name {
            Some(name) if self.members.contains_key(&name) => Err(ArchiveFault::Twice(name)),
            Some(name) => {
                self.members.insert(name, member);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The next head; none at the end of the archive, which is a block of nothing.
fn header(tape: &mut impl Tape) -> Result<Option<Header>, ArchiveFault> {
    let mut header = Header::new_old();
    let block = header.as_mut_bytes();
    if tape.fill(block)? < block.len() {
        return Err(ArchiveFault::Truncated);
    }
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let sum: u32 = block.iter().enumerate().map(|(at, byte)| u32::from(summed(at, *byte))).sum();
    if header.cksum().ok() == Some(sum) { Ok(Some(header)) } else { Err(ArchiveFault::Malformed("a head is damaged")) }
}

/// The checksum is summed with blanks in its own place.
fn summed(at: usize, byte: u8) -> u8 {
    if (148..156).contains(&at) { b' ' } else { byte }
}

/// What a head before the head says of it, which counts instead.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    fn take(&mut self, records: &[u8]) -> Result<(), ArchiveFault> {
        let bad = || ArchiveFault::Malformed("an extended head cannot be read");
        for record in PaxExtensions::new(records) {
            let record = record.map_err(|_| bad())?;
            match record.key_bytes() {
                b"path" => self.call(record.value_bytes().to_vec())?,
                b"size" => self.size = Some(record.value().ok().and_then(|size| size.parse().ok()).ok_or_else(bad)?),
                // GNU tar's sparse files: their content is not what lies there.
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(ArchiveFault::Malformed("a member is of an unknown kind"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Readers differ in which of two names they take.
    fn call(&mut self, name: Vec<u8>) -> Result<(), ArchiveFault> {
        match self.name.replace(name) {
            None => Ok(()),
            Some(_) => Err(ArchiveFault::Malformed("a member has two long names")),
        }
    }

    /// For all members at once there is nothing that could be said of their names and sizes; readers differ in whether
    /// they would heed it.
    fn take_nothing(mut self, records: &[u8]) -> Result<(), ArchiveFault> {
        self.take(records)?;
        match self {
            Self { name: None, size: None } => Ok(()),
            _ => Err(ArchiveFault::Malformed("an extended head for all members names one")),
        }
    }
}

fn extension(tape: &mut impl Tape, size: u64) -> Result<Vec<u8>, ArchiveFault> {
    let length = usize::try_from(size).ok().filter(|_| size <= MAX_ARCHIVE_EXTENSION);
    let mut bytes = vec![0; length.ok_or(ArchiveFault::ExtensionTooLarge)?];
    if tape.fill(&mut bytes)? < bytes.len() {
        return Err(ArchiveFault::Truncated);
    }
    tape.pass(None, padding(size))?;
    Ok(bytes)
}

fn pass(tape: &mut impl Tape, name: Option<&str>, size: u64) -> Result<(), ArchiveFault> {
    tape.pass(name, size)?;
    tape.pass(None, padding(size))
}

/// What fills a member's last block up.
fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

/// A name ends at the first zero.
fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}

/// The name as a layout knows it; none where it is no concern of a layout's. Names that lead out of the archive are in none
/// that was honestly made.
fn known(name: &[u8]) -> Result<Option<String>, ArchiveFault> {
    let is_outside = name.starts_with(b"/") || name.split(|byte| *byte == b'/').any(|part| part == b"..");
    if is_outside {
        return Err(ArchiveFault::Outside(excerpt(&String::from_utf8_lossy(name))));
    }
    let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let is_known = match parts.as_slice() {
        [file] => KNOWN.contains(file),
        ["blobs", algorithm, hex] => format!("{algorithm}:{hex}").parse::<Digest>().is_ok(),
        _ => false,
    };
    Ok(is_known.then(|| parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy as _;
    use tar::Builder;

    type Change = fn(&mut Header);

    /// A header of this kind and name.
    fn head(kind: EntryType, name: &str, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size);
        let bytes = header.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        header
    }

    /// An archive of these members: kind, name and content.
    fn archive(members: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, name, content) in members {
            builder.append(&head(*kind, name, content.len() as u64), *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn code(bytes: &[u8]) -> Option<&'static str> {
        Members::read(&mut &*bytes).err().map(|error| error.code().as_str())
    }

    fn is_known(bytes: &[u8], name: &str) -> bool {
        Members::read(&mut &*bytes).unwrap().of(name).is_some()
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn what_a_layout_has_is_found_under_any_spelling_of_its_name() {
        let blob = format!("blobs/sha256/{}", Digest::sha256(b"x").hex());
        for name in ["index.json", "./index.json", ".//index.json"] {
            assert!(is_known(&archive(&[(FILE, name, b"{}")]), "index.json"), "{name}");
        }
        let bytes = archive(&[(EntryType::Directory, "blobs/", b""), (FILE, &blob, &[7; 600]), (FILE, "x/y", b"z")]);
        assert!(is_known(&bytes, &blob));
        assert!(!is_known(&bytes, "x/y"));
    }

    #[test]
    fn long_names_and_sizes_of_extended_heads_count() {
        let blob = format!("blobs/sha512/{}", crate::oci::DigestAlgorithm::Sha512.of(b"x").hex());
        let record = format!(" path={blob}\n");
        let record = format!("{}{record}", record.len() + 3);
        for (kind, extension) in [(EntryType::GNULongName, format!("{blob}\0")), (EntryType::XHeader, record)] {
            let bytes = archive(&[(kind, "long", extension.as_bytes()), (FILE, "short", b"x")]);
            assert!(is_known(&bytes, &blob), "{kind:?}");
        }
        let sized = archive(&[(EntryType::XHeader, "h", b"9 size=1\n"), (FILE, "index.json", b"{}")]);
        assert_eq!(
            Members::read(&mut &*sized).unwrap().of("index.json"),
            Some(&Member::Content { offset: 0, size: 1 })
        );
    }

    #[test]
    fn a_name_stands_once_and_leads_nowhere() {
        let once: (EntryType, &str, &[u8]) = (FILE, "index.json", b"{}");
        for (other, expected) in [
            ((FILE, "./index.json"), Some("archive-member-twice")),
            ((EntryType::Symlink, "index.json"), Some("archive-member-twice")),
            ((FILE, "other.json"), None),
            ((FILE, "../other.json"), Some("archive-member-outside")),
            ((FILE, "/other.json"), Some("archive-member-outside")),
            ((FILE, "a/../other.json"), Some("archive-member-outside")),
            ((FILE, "a/..b/other.json"), None),
        ] {
            assert_eq!(code(&archive(&[once, (other.0, other.1, b"")])), expected, "{other:?}");
        }
    }

    #[test]
    fn what_readers_understand_in_different_ways_is_refused() {
        for (members, expected) in [
            (archive(&[(EntryType::Directory, "d", b"x")]), Some("archive-malformed")),
            (archive(&[(EntryType::Directory, "d", b"")]), None),
            (archive(&[(EntryType::GNUSparse, "s", b"")]), Some("archive-malformed")),
            (archive(&[(EntryType::XGlobalHeader, "g", b"9 size=1\n")]), Some("archive-malformed")),
            (archive(&[(EntryType::XGlobalHeader, "g", b"13 comment=x\n")]), None),
            (archive(&[(EntryType::XHeader, "x", b"9 path=x\n"), (FILE, "y", b"")]), None),
            (archive(&[(EntryType::XHeader, "x", b"9 path=x\n9 path=y\n")]), Some("archive-malformed")),
            (
                archive(&[(EntryType::GNULongName, "l", b"x\0"), (EntryType::XHeader, "x", b"9 path=x\n")]),
                Some("archive-malformed"),
            ),
            (archive(&[(EntryType::XHeader, "x", b"9 size=x\n")]), Some("archive-malformed")),
            (archive(&[(EntryType::XHeader, "x", b"22 GNU.sparse.major=1\n")]), Some("archive-malformed")),
        ] {
            assert_eq!(code(&members), expected);
        }
    }

    #[test]
    fn an_archive_that_was_cut_anywhere_is_none() {
        let whole = archive(&[(FILE, "index.json", &[7; 700]), (FILE, "x", b"y")]);
        let end = whole.len() - 1024;
        assert_eq!(code(&whole), None);
        assert_eq!(code(&whole[..end + 512]), None);
        for length in (0..end + 512).step_by(100).chain([end, end + 511]) {
            assert_eq!(code(&whole[..length]), Some("archive-truncated"), "{length}");
        }
    }

    #[test]
    fn a_damaged_head_is_noticed() {
        let changes: [(Change, Option<&str>); 3] = [
            (|_| (), None),
            (|header| header.as_mut_bytes()[0] ^= 1, Some("archive-malformed")),
            (
                |header| {
                    header.as_mut_bytes()[124..136].fill(b'x');
                    header.set_cksum();
                },
                Some("archive-malformed"),
            ),
        ];
        for (change, expected) in changes {
            let mut header = head(FILE, "index.json", 0);
            change(&mut header);
            let bytes = [header.as_bytes().as_slice(), &[0; 1024]].concat();
            assert_eq!(code(&bytes), expected);
        }
    }

    #[test]
    fn extended_heads_and_members_are_bounded() {
        let long = |length: u64| {
            let name = vec![b'x'; usize::try_from(length).unwrap()];
            archive(&[(EntryType::GNULongName, "l", &name), (FILE, "y", b"")])
        };
        assert_eq!(code(&long(MAX_ARCHIVE_EXTENSION)), None);
        assert_eq!(code(&long(MAX_ARCHIVE_EXTENSION + 1)), Some("archive-extension-too-large"));
        let one = head(FILE, "x", 0);
        let many = |count: usize| [one.as_bytes().repeat(count), vec![0; 1024]].concat();
        assert!(Members::at_most(3, &mut &*many(3)).is_ok());
        assert!(matches!(Members::at_most(3, &mut &*many(4)), Err(ArchiveFault::TooManyMembers)));
    }
}
