//! Directories on this machine: which one it is, and what lies in it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;

use crate::rootfs::{Identity, InitEntry, InitKind, KERNELS};

/// How many entries are looked at. The layer that is looked at has a dozen.
const MAX_ENTRIES: usize = 64;
/// What the names of an overlay's own attributes have in them. Those that only the kernel keeps for itself change nothing;
/// by any other a directory hides what is below it, or shows another one.
const OVERLAY: &str = ".overlay.";
/// The number of the capability without which attributes named `trusted.` are not there for whoever looks: `CAP_SYS_ADMIN`
/// (xattr(7), "Trusted extended attributes").
const SYS_ADMIN: u32 = 21;

/// Which directory it is; none where it is none.
pub fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::symlink_metadata(path).ok().filter(Metadata::is_dir)?;
    Some(Identity { device: metadata.dev(), inode: metadata.ino() })
}

/// Everything that lies below a directory; none where it cannot be read whole, or holds more than is looked at.
pub fn entries(directory: &Path) -> Option<Vec<InitEntry>> {
    let mut entries = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).ok()? {
            let path = entry.ok()?.path();
            let kind = kind_of(&path)?;
            if kind == InitKind::Directory {
                pending.push(path.clone());
            }
            let below = path.strip_prefix(directory).ok()?.to_str()?.to_owned();
            entries.push(InitEntry { path: below, kind });
            if entries.len() > MAX_ENTRIES {
                return None;
            }
        }
    }
    Some(entries)
}

fn kind_of(path: &Path) -> Option<InitKind> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let kind = metadata.file_type();
    Some(if kind.is_symlink() {
        InitKind::Link(fs::read_link(path).ok()?.to_str()?.to_owned())
    } else if kind.is_dir() {
        if is_opaque(path)? { InitKind::Other } else { InitKind::Directory }
    } else if kind.is_file() && metadata.len() == 0 {
        InitKind::EmptyFile
    } else {
        InitKind::Other
    })
}

/// Whether every extended attribute shows itself to this process. Where not, nobody can tell what a directory hides.
pub fn sees_all_attributes() -> bool {
    static SEES: OnceLock<bool> = OnceLock::new();
    *SEES.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        effective.is_some_and(|set| set & (1 << SYS_ADMIN) != 0)
    })
}

/// Whether an overlay sees more in this directory than lies there, or less of what lies below it.
fn is_opaque(directory: &Path) -> Option<bool> {
    if !sees_all_attributes() {
        return None;
    }
    let attributes = super::tree::attributes(directory).ok()?;
    let names = attributes.keys().map(|name| String::from_utf8_lossy(name));
    Some(names.into_iter().any(|name| name.contains(OVERLAY) && !KERNELS.contains(&name.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_a_directory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc/sub")).unwrap();
        fs::write(dir.path().join("etc/hosts"), "").unwrap();
        fs::write(dir.path().join("etc/full"), "x").unwrap();
        std::os::unix::fs::symlink("/proc/mounts", dir.path().join("etc/mtab")).unwrap();
        let mut told = entries(dir.path()).unwrap();
        told.sort_by(|a, b| a.path.cmp(&b.path));
        let told: Vec<(&str, InitKind)> = told.iter().map(|entry| (entry.path.as_str(), entry.kind.clone())).collect();
        assert_eq!(
            told,
            [
                ("etc", InitKind::Directory),
                ("etc/full", InitKind::Other),
                ("etc/hosts", InitKind::EmptyFile),
                ("etc/mtab", InitKind::Link("/proc/mounts".into())),
                ("etc/sub", InitKind::Directory),
            ]
        );
        assert!(identity(&dir.path().join("etc/full")).is_none());
        assert_eq!(identity(dir.path()), identity(&dir.path().join("etc/..")));
    }

    #[test]
    fn a_directory_that_is_too_full_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=MAX_ENTRIES {
            fs::write(dir.path().join(number.to_string()), "").unwrap();
        }
        assert_eq!(entries(dir.path()), None);
        assert_eq!(entries(&dir.path().join("none")), None);
    }
}
