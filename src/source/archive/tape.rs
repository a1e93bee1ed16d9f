//! An archive from its beginning to its end: what lies between the heads of its members is passed over.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

use super::ArchiveFault;
use crate::oci::MAX_MANIFEST_SIZE;
use crate::source::limits::{MAX_KEPT_CONTENT, MAX_UNPACKED_ARCHIVE};

/// What members are read from, front to back.
pub trait Tape {
    /// How many bytes have been read and passed.
    fn position(&self) -> u64;

    /// Fills the buffer, as far as there are bytes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveFault>;

    /// Passes over so many bytes, which are the content of the member of this name where they are of use.
    fn pass(&mut self, name: Option<&str>, size: u64) -> Result<(), ArchiveFault>;
}

/// An archive that can be entered anywhere.
pub struct Plain<R> {
    reader: BufReader<R>,
    position: u64,
    length: u64,
}

impl<'a> Plain<&'a File> {
    pub(super) fn new(file: &'a File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(0))?;
        Ok(Self { reader, position: 0, length })
    }
}

impl<'a> Plain<Cursor<&'a [u8]>> {
    /// An archive that is in memory.
    pub(super) fn of_bytes(bytes: &'a [u8]) -> Self {
        Self { reader: BufReader::new(Cursor::new(bytes)), position: 0, length: bytes.len() as u64 }
    }
}

impl<R: Read + Seek> Tape for Plain<R> {
    fn position(&self) -> u64 {
        self.position
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveFault> {
        let read = fill(&mut self.reader, buffer)?;
        self.position += read as u64;
        Ok(read)
    }

    fn pass(&mut self, _: Option<&str>, size: u64) -> Result<(), ArchiveFault> {
        let next = self.position.checked_add(size).filter(|next| *next <= self.length);
        self.position = next.ok_or(ArchiveFault::Truncated)?;
        let forward = i64::try_from(size).map_err(|_| ArchiveFault::Truncated)?;
        Ok(self.reader.seek_relative(forward)?)
    }
}

/// An archive that comes out of something packed, and can only be read on.
pub struct Compressed<R> {
    reader: R,
    position: u64,
    kept: Kept,
}

/// The small members of an archive that cannot be entered in the middle.
#[derive(Debug, Default)]
pub struct Kept {
    members: HashMap<String, Vec<u8>>,
    size: u64,
}

impl Kept {
    pub(super) fn of(&self, name: &str) -> Option<&[u8]> {
        self.members.get(name).map(Vec::as_slice)
    }

    fn has_room(&self, size: u64) -> bool {
        size <= MAX_MANIFEST_SIZE && self.size + size <= MAX_KEPT_CONTENT
    }
}

impl<R: Read> Compressed<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, position: 0, kept: Kept::default() }
    }

    pub(super) fn into_kept(self) -> Kept {
        self.kept
    }

    fn advance(&mut self, by: u64) -> Result<(), ArchiveFault> {
        self.position = self.position.saturating_add(by);
        if self.position > MAX_UNPACKED_ARCHIVE { Err(ArchiveFault::TooLarge) } else { Ok(()) }
    }
}

impl<R: Read> Tape for Compressed<R> {
    fn position(&self) -> u64 {
        self.position
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveFault> {
        let read = fill(&mut self.reader, buffer)?;
        self.advance(read as u64)?;
        Ok(read)
    }

    fn pass(&mut self, name: Option<&str>, size: u64) -> Result<(), ArchiveFault> {
        self.advance(size)?;
        let mut content = self.reader.by_ref().take(size);
        let passed = match name.filter(|_| self.kept.has_room(size)) {
            Some(name) => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                let passed = bytes.len() as u64;
                self.kept.size += passed;
                self.kept.members.insert(name.to_owned(), bytes);
                passed
            }
            None => io::copy(&mut content, &mut io::sink())?,
        };
        if passed == size { Ok(()) } else { Err(ArchiveFault::Truncated) }
    }
}

fn fill(reader: &mut impl Read, mut buffer: &mut [u8]) -> Result<usize, ArchiveFault> {
    let mut filled = 0;
    while !buffer.is_empty() {
        match reader.read(buffer) {
            Ok(0) => break,
            Ok(read) => {
                filled += read;
                buffer = buffer.get_mut(read..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}
