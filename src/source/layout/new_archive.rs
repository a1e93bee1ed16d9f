//! A new archive of a layout: made in a directory beside its place, packed when it is whole, and there at once or not at all.
//!
//! The same content makes the same bytes: members in one order, and nothing in their headers that comes from this machine or
//! this moment.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::reading::INDEX_FILE;
use super::{Layout, LayoutFault, VERSION_FILE};
use crate::source::SourceError;

/// How many names are tried for the directory beside the archive. Another one is there only where a copy was killed.
const MAX_NAMES: u32 = 100;

/// An archive that is being made. What is not finished leaves nothing behind, unless it is killed.
pub struct NewArchive {
    file: PathBuf,
    /// Beside the archive, and nobody else's.
    directory: Directory,
    layout: Layout,
}

impl NewArchive {
    /// Begins an archive that is to lie at this path, where nothing lies yet.
    pub async fn begin(file: &Path) -> Result<Self, SourceError> {
        let directory = Directory::beside(file).map_err(|source| unwritable(file, source))?;
        let layout = Layout::create(directory.0.join("layout")).await?;
        Ok(Self { file: file.to_owned(), directory, layout })
    }

    /// The layout that is to be packed.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Packs the layout, and has the archive appear.
    pub async fn finish(self) -> Result<(), SourceError> {
        let file = self.file.clone();
        let packing = tokio::task::spawn_blocking(move || self.pack());
        let packed = packing.await.map_err(io::Error::other).and_then(|packed| packed);
        packed.map_err(|source| unwritable(&file, source))
    }

    fn pack(self) -> io::Result<()> {
        let packed = self.directory.0.join("packed");
        let mut archive = tar::Builder::new(BufWriter::new(File::create(&packed)?));
        let layout = self.layout.path();
        for name in [VERSION_FILE, INDEX_FILE] {
            append(&mut archive, layout, Path::new(name))?;
        }
        for algorithm in names_in(&layout.join("blobs"))? {
            for blob in names_in(&layout.join("blobs").join(&algorithm))? {
                append(&mut archive, layout, &Path::new("blobs").join(&algorithm).join(blob))?;
            }
        }
        let mut writer = archive.into_inner()?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        // Unlike a rename this fails where something has come to lie there since. Not every file system can do it.
        match fs::hard_link(&packed, &self.file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !self.file.try_exists()? => {
                fs::rename(&packed, &self.file)
            }
            linked => linked,
        }
    }
}

/// The names in a directory, in order. What begins with a dot is not whole.
fn names_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(PathBuf::from(name));
        }
    }
    names.sort();
    Ok(names)
}

fn append(archive: &mut tar::Builder<BufWriter<File>>, layout: &Path, name: &Path) -> io::Result<()> {
    let content = File::open(layout.join(name))?;
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(content.metadata()?.len());
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, content)
}

fn unwritable(file: &Path, source: io::Error) -> SourceError {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    SourceError::Layout { path: file.to_owned(), source: LayoutFault::Unwritable { file: name, source } }
}

/// A directory that goes with its value.
struct Directory(PathBuf);

impl Directory {
    fn beside(file: &Path) -> io::Result<Self> {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        for number in 0..MAX_NAMES {
            let hidden = format!(".{}.{}-{number}.part", name.to_string_lossy(), std::process::id());
            let path = file.with_file_name(hidden);
            // Never one that is there: it may be somebody else's.
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed has a name that says what it is.
        let _ = fs::remove_dir_all(&self.0);
    }
}
