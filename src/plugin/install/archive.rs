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

/// What an archive may have at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many bytes it unpacks to: fewer than this.
    pub(super) content: u64,
    /// How many bytes of a tar are not content: the heads of all entries, each with a long name.
    pub(super) heads: u64,
    /// How many entries it has.
    pub(super) entries: usize,
}

impl Limits {
    /// Those of every plugin. A program, what it depends on, and licences are 40 entries, with a hundredfold to spare.
    pub(super) const OF_A_PLUGIN: Self = Self { content: MAX_SOURCE, heads: 16 * 1024 * 1024, entries: 4096 };
}

/// Unpacks a zip.
pub(super) fn unzip(file: File, source: &Path, stage: &mut Stage) -> Result<(), InstallError> {
    let unreadable =
        |error: zip::result::ZipError| InstallError::Archive { path: source.to_owned(), source: error.into() };
    let mut archive = ZipArchive::new(file).map_err(unreadable)?;
    let most = stage.limits().entries;
    if archive.len() > most {
        return Err(InstallError::TooManyEntries(most));
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
    let Limits { content, heads, .. } = stage.limits();
    let mut archive = tar::Archive::new(GzDecoder::new(file).take(content.saturating_add(heads)));
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
    let most = stage.limits().entries;
    for (index, entry) in archive.entries().map_err(unreadable)?.enumerate() {
        if index >= most {
            return Err(InstallError::TooManyEntries(most));
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::remedy::Remedy as _;

    const LIMITS: Limits = Limits { content: 1000, heads: 16 * 1024, entries: 3 };

    /// Zip or tar.gz, and what each says of these files.
    fn unpacked(files: &[(&str, &[u8])]) -> [&'static str; 2] {
        [answer(&zipped(files), unzip), answer(&tarred(files), untar)]
    }

    fn answer(archive: &[u8], unpack: impl Fn(File, &Path, &mut Stage) -> Result<(), InstallError>) -> &'static str {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("archive");
        std::fs::write(&source, archive).unwrap();
        let mut stage = Stage::within(directory.path(), LIMITS).unwrap();
        let result = unpack(File::open(&source).unwrap(), &source, &mut stage);
        result.map_or_else(|error| error.code().as_str(), |()| "unpacked")
    }

    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            // The library's own way refuses to write what leads out.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn dots_lead_out_as_a_part_of_a_path_and_not_within_a_name() {
        for harmless in ["a..b", "..a", "a..", "...", "x/a..b", "./a"] {
            assert_eq!(unpacked(&[(harmless, b"x")]), ["unpacked"; 2], "{harmless}");
        }
        for escape in ["../a", "x/../../a", "a/..", "/a", "x\\..\\a"] {
            assert_eq!(unpacked(&[(escape, b"x")]), ["plugin-archive-escape"; 2], "{escape}");
        }
    }

    #[test]
    fn an_archive_has_no_more_entries_than_the_limit() {
        let files: [(&str, &[u8]); 4] = [("a", b"x"), ("b", b"x"), ("c", b"x"), ("d", b"x")];
        assert_eq!(unpacked(&files[..3]), ["unpacked"; 2]);
        assert_eq!(unpacked(&files), ["plugin-archive-entries"; 2]);
    }

    #[test]
    fn an_archive_unpacks_to_fewer_bytes_than_the_limit() {
        // Packed, both are far below it.
        assert_eq!(unpacked(&[("a", &[0; 500]), ("b", &[0; 499])]), ["unpacked"; 2]);
        assert_eq!(unpacked(&[("a", &[0; 500]), ("b", &[0; 500])]), ["plugin-source-too-large"; 2]);
    }

    #[test]
    fn a_tar_is_not_read_on_behind_the_limit_even_where_nothing_is_written() {
        let heads: Vec<u8> = vec![0; 64 * 1024];
        assert_eq!(answer(&tarred(&[("a", &heads)]), untar), "plugin-source-too-large");
    }

    #[test]
    fn a_plugin_has_fewer_than_256_mebibytes_and_4096_entries_at_most() {
        let Limits { content, entries, .. } = Limits::OF_A_PLUGIN;
        assert_eq!((content, entries), (256 << 20, 4096));
    }
}
