//! Which members an archive has, and where each lies in it.
//!
//! Heads are read block by block and not through a library that holds whatever length a stranger's long name claims to have.
//! Only members that a layout has are remembered; all are counted.
//!
//! Follows POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block", and the long names of GNU tar.

use std::collections::HashMap;

use tar::{EntryType, Header};

use super::extended::Extended;
use super::tape::{Plain, Tape};
use super::{ArchiveFault, form};
use crate::oci::Digest;
use crate::remedy::excerpt;
use crate::source::limits::{MAX_ARCHIVE_EXTENSION, MAX_ARCHIVE_MEMBERS};

/// The size of a head; content is filled up to whole ones.
pub(super) const BLOCK: u64 = 512;
/// The members of an image layout, and of what docker writes, beside the blobs.
const KNOWN: [&str; 3] = ["oci-layout", "index.json", "manifest.json"];

/// The members of an archive that belong to an image layout.
#[derive(Debug, Default)]
pub struct Members {
    members: HashMap<String, Member>,
    /// Where the blocks of nothing begin that end the archive.
    end: u64,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Member {
    Content {
        /// Where its first head begins.
        start: u64,
        /// Where its bytes begin.
        offset: u64,
        /// How many there are.
        size: u64,
    },
    /// A link of any kind, which is not followed.
    Link,
}

impl Members {
    /// The members of an archive that is in memory.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, ArchiveFault> {
        Self::read(&mut Plain::of_bytes(bytes))
    }

    /// All members up to the end of the archive, which must be there: without it, something was cut off.
    pub(super) fn read(tape: &mut impl Tape) -> Result<Self, ArchiveFault> {
        Self::at_most(MAX_ARCHIVE_MEMBERS, tape)
    }

    pub(super) fn at_most(limit: usize, tape: &mut impl Tape) -> Result<Self, ArchiveFault> {
        let (mut members, mut extended) = (Self::default(), Extended::default());
        let mut count = 0;
        loop {
            let start = tape.position();
            let Some(header) = header(tape)? else {
                extended.stands_alone()?;
                return Ok(Self { end: start, ..members });
            };
            count += 1;
            if count > limit {
                return Err(ArchiveFault::TooManyMembers);
            }
            let size = size_of(&header)?;
            match header.entry_type() {
                EntryType::GNULongName => extended.long_name(start, extension(tape, size)?)?,
                EntryType::GNULongLink => extended.long_link(start, &extension(tape, size)?),
                EntryType::XHeader => extended.records(start, &extension(tape, size)?)?,
                EntryType::XGlobalHeader => {
                    extended.stands_alone()?;
                    Extended::check_global(&extension(tape, size)?)?;
                }
                kind => members.add(tape, &header, kind, &std::mem::take(&mut extended), start)?,
            }
        }
    }

    /// Their names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    pub(super) fn of(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// Where the blocks of nothing begin that end the archive.
    pub fn end(&self) -> u64 {
        self.end
    }

    fn add(
        &mut self,
        tape: &mut impl Tape,
        header: &Header,
        kind: EntryType,
        extended: &Extended,
        start: u64,
    ) -> Result<(), ArchiveFault> {
        let start = extended.start.unwrap_or(start);
        let size = extended.size.map_or_else(|| size_of(header), Ok)?;
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
        // Go takes it for a directory, and its content for heads.
        if is_content && size != 0 && (name.ends_with(b"/") || own.ends_with(b"/")) {
            return Err(ArchiveFault::Malformed("a member with content has the name of a directory"));
        }
        let name = known(name)?;
        let member = if is_content { Member::Content { start, offset: tape.position(), size } } else { Member::Link };
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
    if header.cksum().ok() != Some(sum) {
        return Err(ArchiveFault::Malformed("a head is damaged"));
    }
    form::check(header.as_bytes())?;
    Ok(Some(header))
}

/// The checksum is summed with blanks in its own place.
fn summed(at: usize, byte: u8) -> u8 {
    if (148..156).contains(&at) { b' ' } else { byte }
}

fn size_of(header: &Header) -> Result<u64, ArchiveFault> {
    header.entry_size().map_err(|_| ArchiveFault::Malformed("a size is no number"))
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
pub(super) fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
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
