//! Archives of a plugin, zip and tar.gz: files, and nothing that leads anywhere else.
//!
//! An archive is read before anybody has said that it is to be trusted. It has a number of entries, and what it unpacks to
//! has the limit of every other plugin. A link, a device, and a name that leads out of the archive refuse all of it. Only the
//! names of files count: of a tar the last part, as the reference implementation does it, of a zip those at its top.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use tar::EntryType;
use zip::ZipArchive;

use super::MAX_SOURCE;
use super::error::InstallError;
use super::stage::Stage;
use crate::remedy::excerpt;

/// How many entries an archive may have: a program, what it depends on, and licences, with a hundredfold to spare.
const MAX_ENTRIES: usize = 4096;
/// How much of a tar is not content: the heads of all entries, each with a long name.
const MAX_HEADS: u64 = 16 * 1024 * 1024;

/// Unpacks a zip.
pub(super) fn unzip(file: File, source: &Path, stage: &mut Stage) -> Result<(), InstallError> {
    let unreadable =
        |error: zip::result::ZipError| InstallError::Archive { path: source.to_owned(), source: error.into() };
    let mut archive = ZipArchive::new(file).map_err(unreadable)?;
    if archive.len() > MAX_ENTRIES {
        return Err(InstallError::TooManyEntries(MAX_ENTRIES));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        let name = entry.name().map_err(unreadable)?.into_owned();
        let parts = parts(&name, Path::new(&name))?;
        if entry.is_symlink() {
            return Err(InstallError::Entry { name: excerpt(&name), fault: "a link" });
        }
        if let ([part], false) = (parts.as_slice(), entry.is_dir()) {
            let mode = entry.unix_mode().unwrap_or(0o644);
            stage.write(part, mode, &mut entry)?;
        }
    }
    Ok(())
}

/// Unpacks a tar.gz.
pub(super) fn untar(file: File, source: &Path, stage: &mut Stage) -> Result<(), InstallError> {
    let mut archive = tar::Archive::new(GzDecoder::new(file).take(MAX_SOURCE + MAX_HEADS));
    let read = untar_entries(&mut archive, source, stage);
    let is_cut = archive.into_inner().limit() == 0;
    if is_cut { Err(InstallError::TooLarge) } else { read }
}

fn untar_entries(
    archive: &mut tar::Archive<impl std::io::Read>,
    source: &Path,
    stage: &mut Stage,
) -> Result<(), InstallError> {
    let unreadable = |error| InstallError::Archive { path: source.to_owned(), source: error };
    for (index, entry) in archive.entries().map_err(unreadable)?.enumerate() {
        if index >= MAX_ENTRIES {
            return Err(InstallError::TooManyEntries(MAX_ENTRIES));
        }
        let mut entry = entry.map_err(unreadable)?;
        let path = entry.path().map_err(unreadable)?.into_owned();
        let name = path.to_string_lossy().into_owned();
        let parts = parts(&name, &path)?;
        match (entry.header().entry_type(), parts.last()) {
            (EntryType::Regular | EntryType::Continuous, Some(part)) => {
                let mode = entry.header().mode().map_err(unreadable)?;
                stage.write(part, mode, &mut entry)?;
            }
            (EntryType::Directory | EntryType::XGlobalHeader, _) => {}
            (EntryType::Link | EntryType::Symlink, _) => {
                return Err(InstallError::Entry { name: excerpt(&name), fault: "a link" });
            }
            _ => return Err(InstallError::Entry { name: excerpt(&name), fault: "no file" }),
        }
    }
    Ok(())
}

/// The parts of an entry's path, none of which leads upwards or elsewhere.
fn parts(name: &str, path: &Path) -> Result<Vec<String>, InstallError> {
    let escape = || InstallError::Escape(excerpt(name));
    if name.contains(['\0', '\\']) {
        return Err(escape());
    }
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(escape)?.to_owned()),
            Component::CurDir => {}
            _ => return Err(escape()),
        }
    }
    Ok(parts)
}
