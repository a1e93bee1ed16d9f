//! The audit record as a file: one line for each step, added at the end while nobody else adds, and on the disk before the
//! step takes effect.
//!
//! A last line without an end is a step that was broken off before it took effect, by a power failure at worst. The next
//! step takes its place.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::OFlags;

use super::{denied, refusal};
use crate::cli::exit::Failure;
use crate::clock;
use crate::oci::Digest;
use crate::sign::approval::{Entry, MAX_ENTRY, Record, Step};

/// The record of a notation directory.
pub(in crate::cli) struct RecordFile {
    path: PathBuf,
}

/// A record that was followed to its end.
struct Followed {
    record: Record,
    /// Where its last whole line ends.
    end: u64,
}

impl RecordFile {
    pub(in crate::cli) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Adds a step.
    pub(in crate::cli) fn append(&self, step: Step) -> Result<(), Failure> {
        let (file, _made) = self.open()?;
        let followed = self.follow(&file, |_| {})?;
        self.write(&file, &followed, step)
    }

    /// Adds that a signature was made, unless there is one for the request already, which is given then: whoever was first.
    pub(in crate::cli) fn append_signed(&self, step: Step) -> Result<Option<Vec<u8>>, Failure> {
        let (file, _made) = self.open()?;
        let mut signed = None;
        let followed = self.follow(&file, |entry| note_signed(&mut signed, step.request(), entry))?;
        if let Some(signed) = signed {
            return self.decode(&signed).map(Some);
        }
        self.write(&file, &followed, step)?;
        Ok(None)
    }

    /// The signature that was made for this request, if one was. Refuses a clock that was set back, too.
    pub(in crate::cli) fn signed(&self, request: &Digest) -> Result<Option<Vec<u8>>, Failure> {
        let mut signed = None;
        let (file, _made) = self.open()?;
        let followed = self.follow(&file, |entry| note_signed(&mut signed, request, entry))?;
        followed.record.time_of(clock::now()).map_err(|error| denied(&error).in_file(&self.path))?;
        signed.map(|signed| self.decode(&signed)).transpose()
    }

    /// Looks at every entry, and gives the record followed to its end.
    pub(in crate::cli) fn entries(&self, look: impl FnMut(&Entry, &Digest)) -> Result<Record, Failure> {
        let mut look = look;
        let file = match OpenOptions::new().read(true).custom_flags(no_follow()).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
            Err(error) => return Err(self.unusable(&error)),
        };
        file.lock_shared().map_err(|error| self.unusable(&error))?;
        Ok(self.follow_with(&file, |entry, head| look(entry, head))?.record)
    }

    /// The file, which nobody else adds to until it is closed; and whether it was made.
    fn open(&self) -> Result<(File, bool), Failure> {
        let options = || {
            let mut options = OpenOptions::new();
            options.read(true).append(true).mode(0o600).custom_flags(no_follow());
            options
        };
        let opened = match options().open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = options().create(true).open(&self.path).and_then(|file| {
                    // The name, too, must outlast a power failure.
                    File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
                    Ok(file)
                });
                made.map(|file| (file, true))
            }
            file => file.map(|file| (file, false)),
        };
        let (file, made) = opened.map_err(|error| self.unusable(&error))?;
        self.check(&file)?;
        file.lock().map_err(|error| self.unusable(&error))?;
        Ok((file, made))
    }

    /// What others may write is no record.
    fn check(&self, file: &File) -> Result<(), Failure> {
        let metadata = file.metadata().map_err(|error| self.unusable(&error))?;
        if metadata.is_file() && metadata.mode() & 0o022 == 0 {
            return Ok(());
        }
        let message = format!("{} is not a file that its owner alone can write", self.path.display());
        Err(refusal("approval-record-exposed", &message, "find out who has written to it, and `chmod 600` it"))
    }

    fn follow(&self, file: &File, mut look: impl FnMut(&Entry)) -> Result<Followed, Failure> {
        self.follow_with(file, |entry, _| look(entry))
    }

    fn follow_with(&self, file: &File, mut look: impl FnMut(&Entry, &Digest)) -> Result<Followed, Failure> {
        let (mut reader, mut record, mut end) = (BufReader::new(file), Record::default(), 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(MAX_ENTRY + 1).read_until(b'\n', &mut line);
            let length = read.map_err(|error| self.unusable(&error))? as u64;
            let Some(text) = line.strip_suffix(b"\n") else {
                if length > MAX_ENTRY {
                    let message = format!("{} has a line of more than {MAX_ENTRY} bytes", self.path.display());
                    return Err(refusal("approval-record-too-large", &message, "find out who has written to it"));
                }
                return Ok(Followed { record, end });
            };
            let entry = record.follow(text).map_err(|error| denied(&error).in_file(&self.path))?;
            look(&entry, record.head());
            end += length;
        }
    }

    fn write(&self, mut file: &File, followed: &Followed, step: Step) -> Result<(), Failure> {
        let line = followed.record.next(step, clock::now());
        let mut line = line.map_err(|error| denied(&error).in_file(&self.path))?;
        line.push(b'\n');
        if line.len() as u64 > MAX_ENTRY {
            let message = format!("the step has more than {MAX_ENTRY} bytes");
            return Err(refusal(
                "approval-record-too-large",
                &message,
                "sign with fewer and shorter pairs of metadata",
            ));
        }
        let written = file
            .seek(SeekFrom::End(0))
            .and_then(|length| if length > followed.end { file.set_len(followed.end) } else { Ok(()) })
            .and_then(|()| file.write_all(&line))
            .and_then(|()| file.sync_all());
        written.map_err(|error| self.unusable(&error))
    }

    fn decode(&self, envelope: &str) -> Result<Vec<u8>, Failure> {
        BASE64_STANDARD.decode(envelope).map_err(|_| {
            let message = format!("{} has a signature that is not base64", self.path.display());
            refusal("approval-record-broken", &message, "find out who has changed it and restore it from a copy")
        })
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        let message = format!("cannot use the approval record {}: {error}", self.path.display());
        let remedy = "make it readable and writable for who signs; without it nothing is approved or signed";
        Failure::unreadable("approval-record-unusable", message, Some(remedy))
    }
}

fn note_signed(signed: &mut Option<String>, wanted: &Digest, entry: &Entry) {
    if let Step::Signed { request, envelope, .. } = &entry.step
        && request == wanted
    {
        signed.get_or_insert_with(|| envelope.clone());
    }
}

/// A link could lead to another record.
fn no_follow() -> i32 {
    // The flags of the operating system fit its own type.
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}
