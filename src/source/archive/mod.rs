//! A tar archive that holds an image layout: read where it lies, and never unpacked.
//!
//! The archive's members are listed once, when it is opened; from then on each is read where it begins. One that is packed
//! with gzip cannot be entered in the middle: what is small is kept while it is listed, and a layer is unpacked again when
//! somebody asks for it.
//!
//! An archive may come from a stranger. No link in it is followed, no name leads anywhere but to its own member, and a name
//! that stands twice is refused: readers differ in which of the two they take.

mod extended;
mod fault;
mod form;
mod members;
mod rewriting;
mod tape;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

pub use fault::ArchiveFault;
pub use members::Members;
pub use rewriting::{Rewriting, check_rewritable};

use self::members::Member;
use self::tape::{Compressed, Kept, Plain};

/// How much of a member is read at once, in bytes.
const PIECE: usize = 256 * 1024;
/// How many pieces wait for their reader.
const WAITING: usize = 2;

/// An archive, and where in it which member lies.
#[derive(Clone, Debug)]
pub struct Archive {
    file: Arc<File>,
    members: Arc<Members>,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Plain,
    /// Packed with gzip; with what was kept of it.
    Gzip(Arc<Kept>),
}

impl Archive {
    /// The archive in this file.
    pub async fn open(path: PathBuf) -> Result<Self, ArchiveFault> {
        beside(move || Self::open_now(&path)).await
    }

    fn open_now(path: &Path) -> Result<Self, ArchiveFault> {
        // A pipe would wait for a writer when opened.
        if !std::fs::metadata(path)?.is_file() {
            return Err(ArchiveFault::NotAFile);
        }
        Self::of(File::open(path)?)
    }

    fn of(file: File) -> Result<Self, ArchiveFault> {
        let mut magic = [0; 6];
        let read = file.read_at(&mut magic, 0)?;
        let (members, form) = match magic.get(..read).unwrap_or_default() {
            [0x1f, 0x8b, ..] => {
                let mut tape = Compressed::new(MultiGzDecoder::new(Beginning(&file, 0)));
                let members = Members::read(&mut tape)?;
                (members, Form::Gzip(Arc::new(tape.into_kept())))
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(ArchiveFault::Compression("zstd")),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => return Err(ArchiveFault::Compression("xz")),
            [b'B', b'Z', b'h', ..] => return Err(ArchiveFault::Compression("bzip2")),
            _ => (Members::read(&mut Plain::new(&file)?)?, Form::Plain),
        };
        Ok(Self { file: Arc::new(file), members: Arc::new(members), form })
    }

    /// Whether it is packed, so that nothing can be put into it.
    pub fn is_packed(&self) -> bool {
        matches!(self.form, Form::Gzip(_))
    }

    /// How many bytes the member of this name has; none where there is no such member.
    pub fn size(&self, name: &str) -> Result<Option<u64>, ArchiveFault> {
        Ok(self.member(name)?.map(|(_, size)| size))
    }

    /// The bytes of the member of this name, which the caller knows to be few enough.
    pub async fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveFault> {
        let (archive, name) = (self.clone(), name.to_owned());
        beside(move || archive.bytes_now(&name)).await
    }

    fn bytes_now(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveFault> {
        let Some((offset, size)) = self.member(name)? else { return Ok(None) };
        if let Form::Gzip(kept) = &self.form
            && let Some(bytes) = kept.of(name)
        {
            return Ok(Some(bytes.to_vec()));
        }
        let mut bytes = Vec::new();
        self.reader(offset, size)?.read_to_end(&mut bytes)?;
        if bytes.len() as u64 == size { Ok(Some(bytes)) } else { Err(ArchiveFault::Truncated) }
    }

    /// The bytes of the member of this name, piece by piece, read beside the tasks that must not wait for a disk.
    pub fn pieces(&self, name: &str) -> Result<Option<mpsc::Receiver<io::Result<Bytes>>>, ArchiveFault> {
        let Some((offset, size)) = self.member(name)? else { return Ok(None) };
        let (sender, receiver) = mpsc::channel(WAITING);
        let archive = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = archive.send(offset, size, &sender) {
                // Nobody listens any more, or else hears of it.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(Some(receiver))
    }

    fn send(&self, offset: u64, size: u64, to: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
        let mut reader = self.reader(offset, size)?;
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            if reader.by_ref().take(PIECE as u64).read_to_end(&mut piece)? == 0 {
                return Ok(());
            }
            if to.blocking_send(Ok(piece.into())).is_err() {
                return Ok(());
            }
        }
    }

    fn reader(&self, offset: u64, size: u64) -> io::Result<Box<dyn Read + '_>> {
        match self.form {
            Form::Plain => Ok(Box::new(Beginning(&self.file, offset).take(size))),
            Form::Gzip(_) => {
                let mut unpacked = MultiGzDecoder::new(Beginning(&self.file, 0));
                io::copy(&mut unpacked.by_ref().take(offset), &mut io::sink())?;
                Ok(Box::new(unpacked.take(size)))
            }
        }
    }

    fn member(&self, name: &str) -> Result<Option<(u64, u64)>, ArchiveFault> {
        match self.members.of(name) {
            None => Ok(None),
            Some(Member::Content { offset, size, .. }) => Ok(Some((*offset, *size))),
            Some(Member::Link) => Err(ArchiveFault::Link(name.to_owned())),
        }
    }
}

/// Does the work beside the tasks that must not wait for a disk.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveFault> + Send + 'static,
) -> Result<T, ArchiveFault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// A file from somewhere on. Several may read the same file at once: it has no place of its own.
struct Beginning<'a>(&'a File, u64);

impl Read for Beginning<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(buffer, self.1)?;
        self.1 = self.1.saturating_add(read as u64);
        Ok(read)
    }
}
