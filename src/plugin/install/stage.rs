//! A directory in which a plugin is put together before it is moved to its place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::InstallOrder;
use super::archive::{self, Limits};
use super::error::InstallError;
use crate::oci::{DigestAlgorithm, Hasher};
use crate::plugin::PluginFault;
use crate::plugin::folder::{PREFIX, Program, STAGE, fault};
use crate::policy::is_safe_name;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// What a program may be used for by others than its owner: read and executed.
const OTHERS_MAY: u32 = 0o755;
/// How many bytes are hashed at a time.
const PIECE: usize = 64 * 1024;

/// The directory; it is gone when it is dropped, and with it what it has replaced.
pub(super) struct Stage {
    path: PathBuf,
    limits: Limits,
    /// How many bytes may still be written.
    left: u64,
}

impl Stage {
    pub(super) fn within(folder: &Path, limits: Limits) -> io::Result<Self> {
        let path = folder.join(format!("{STAGE}{}", std::process::id()));
        // Left behind by a process that was killed, and had the same number.
        if path.try_exists()? {
            fs::remove_dir_all(&path)?;
        }
        DirBuilder::new().mode(OTHERS_MAY).create(&path)?;
        Ok(Self { path, limits, left: limits.content.saturating_sub(1) })
    }

    /// What an archive may have that is unpacked here.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Brings everything of the source here, and gives the one program that is among it.
    pub(super) fn fill(&mut self, order: InstallOrder<'_>) -> Result<Program, InstallError> {
        let source = order.source;
        let unreadable = |error| InstallError::Unreadable { path: source.to_owned(), source: error };
        let found = fs::metadata(source).map_err(unreadable)?;
        if found.is_dir() && order.checksum.is_none() {
            self.copy_directory(source)?;
        } else if found.is_file() {
            let mut file = File::open(source).map_err(unreadable)?;
            if found.len() >= self.limits.content {
                return Err(InstallError::TooLarge);
            }
            check(&mut file, order)?;
            self.take_file(file, source, found.permissions().mode())?;
        } else {
            return Err(InstallError::Source(source.to_owned()));
        }
        self.program(source)
    }

    fn take_file(&mut self, mut file: File, source: &Path, mode: u32) -> Result<(), InstallError> {
        let unreadable = |error| InstallError::Unreadable { path: source.to_owned(), source: error };
        let mut head = Vec::new();
        file.by_ref().take(4).read_to_end(&mut head).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        match head.as_slice() {
            b"PK\x03\x04" => archive::unzip(file, source, self),
            [0x1f, 0x8b, ..] => archive::untar(file, source, self),
            _ => match source.file_name().and_then(|name| name.to_str()) {
                Some(name) if plugin_of(name).is_some() && mode & 0o111 == 0 => {
                    let refused = PluginFault::File { path: source.to_owned(), fault: "is not executable" };
                    Err(fault(name, refused).into())
                }
                Some(name) if plugin_of(name).is_some() => self.write(name, mode, &mut file),
                _ => Err(InstallError::NoProgram(source.to_owned())),
            },
        }
    }

    /// The files of a directory; what is below it, and links, are left where they are.
    fn copy_directory(&mut self, source: &Path) -> Result<(), InstallError> {
        let unreadable = |error| InstallError::Unreadable { path: source.to_owned(), source: error };
        for entry in fs::read_dir(source).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if !entry.file_type().map_err(unreadable)?.is_file() {
                continue;
            }
            let mut file = File::open(entry.path()).map_err(unreadable)?;
            let mode = file.metadata().map_err(unreadable)?.permissions().mode();
            self.write(&entry.file_name().to_string_lossy(), mode, &mut file)?;
        }
        Ok(())
    }

    /// Writes a file of this name, which has no directory in it.
    pub(super) fn write(&mut self, name: &str, mode: u32, content: &mut dyn Read) -> Result<(), InstallError> {
        let path = self.path.join(name);
        let unwritable = |source| InstallError::Unwritable { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = match options.write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(InstallError::Entry { name: name.to_owned(), fault: "there twice" });
            }
            file => file.map_err(unwritable)?,
        };
        let written = io::copy(&mut content.take(self.left + 1), &mut file).map_err(unwritable)?;
        self.left = self.left.checked_sub(written).ok_or(InstallError::TooLarge)?;
        file.set_permissions(fs::Permissions::from_mode(mode & OTHERS_MAY | 0o600)).map_err(unwritable)?;
        file.sync_all().map_err(unwritable)
    }

    /// The one executable file with a plugin's name; or the one with such a name, where none is executable.
    fn program(&self, source: &Path) -> Result<Program, InstallError> {
        let unwritable = |error| InstallError::Unwritable { path: self.path.clone(), source: error };
        let (mut programs, mut candidates) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.path).map_err(unwritable)? {
            let entry = entry.map_err(unwritable)?;
            let Some(plugin) = entry.file_name().to_str().and_then(plugin_of).map(str::to_owned) else { continue };
            let is_program = entry.metadata().map_err(unwritable)?.permissions().mode() & 0o111 != 0;
            if is_program { &mut programs } else { &mut candidates }.push((plugin, entry.path()));
        }
        match (programs.as_slice(), candidates.as_slice()) {
            ([(plugin, path)], _) => Ok(Program::at(plugin, path.clone())?),
            ([], [(plugin, path)]) => {
                fs::set_permissions(path, fs::Permissions::from_mode(OTHERS_MAY)).map_err(unwritable)?;
                Ok(Program::at(plugin, path.clone())?)
            }
            ([], _) => Err(InstallError::NoProgram(source.to_owned())),
            _ => Err(InstallError::Programs(source.to_owned())),
        }
    }

    /// Moves everything to its place. What is there comes here instead, and goes with this directory.
    pub(super) fn move_to(&self, place: &Path) -> io::Result<()> {
        match renameat_with(CWD, &self.path, CWD, place, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => fs::rename(&self.path, place),
            // Not every file system can exchange two directories.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::remove_dir_all(place)?;
                fs::rename(&self.path, place)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After a first installation there is nothing left.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The plugin whose program has this name.
fn plugin_of(file_name: &str) -> Option<&str> {
    file_name.strip_prefix(PREFIX).filter(|name| is_safe_name(name))
}

/// Compares the SHA-256 of the very file that is then read.
fn check(file: &mut File, order: InstallOrder<'_>) -> Result<(), InstallError> {
    let Some(wanted) = order.checksum else { return Ok(()) };
    let path = || order.source.to_owned();
    let unreadable = |source| InstallError::Unreadable { path: path(), source };
    let (mut hash, mut piece) = (Hasher::new(DigestAlgorithm::Sha256), vec![0; PIECE]);
    loop {
        let length = file.read(&mut piece).map_err(unreadable)?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
    }
    file.rewind().map_err(unreadable)?;
    let found = hash.finish();
    if found == *wanted {
        return Ok(());
    }
    Err(InstallError::Checksum { path: path(), found, wanted: wanted.clone() })
}
