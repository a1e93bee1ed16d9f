//! Do two directories hold the same layer?
//!
//! One was there before anybody watched; the other was made of the layer a moment ago. Everything that a container can
//! see of them has to agree: names, types, permissions, owners, contents, targets of links, devices, extended attributes,
//! and when files were changed. Left out is what the unpacking itself leaves behind:
//!
//! - when directories, links and devices were changed: a layer need not list the directories that its files lie in, and
//!   those get the time of the unpacking;
//! - fractions of a second, which an archive may have left out of the files that it was made from;
//! - how many names a file has: its content is compared under each of them;
//! - of a whiteout everything but that it is one: it says that a file is gone, whoever owns it;
//! - the extended attributes in [`KERNELS`], which an overlay writes by itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::remedy::printable;

/// Attributes that the kernel keeps for itself in an overlay's directories (Linux, `fs/overlayfs/overlayfs.h`): which file
/// one was copied from, whether a directory has such files, how many names one has, and which overlay it was. None of
/// them changes what is seen. `opaque`, `redirect` and `metacopy` do, and are compared.
pub const KERNELS: [&str; 4] =
    ["trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.nlink", "trusted.overlay.uuid"];

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The permissions, with the bits for set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    /// The user that it belongs to.
    pub user: u32,
    /// The group that it belongs to.
    pub group: u32,
    /// When its content was changed, in seconds since 1970.
    pub modified: i64,
    /// Its extended attributes.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file of so many bytes.
    File(u64),
    /// A symbolic link to this target.
    Link(OsString),
    /// A block device of this number.
    BlockDevice(u64),
    /// A character device of this number; with zero, a whiteout.
    CharacterDevice(u64),
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
}

/// What makes a whiteout (Linux, `Documentation/filesystems/overlayfs.rst`, "whiteouts and opaque directories").
const WHITEOUT: EntryKind = EntryKind::CharacterDevice(0);

/// The first thing in which a directory differs from its layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path below the directory; empty for the directory itself.
    pub path: PathBuf,
    /// In what.
    pub what: Aspect,
}

/// In what an entry differs from the layer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The layer has no such entry.
    Added,
    /// The layer has it, and the directory has not.
    Missing,
    /// It is something else.
    Kind,
    /// Its permissions.
    Mode,
    /// Whom it belongs to.
    Owner,
    /// Its bytes.
    Content,
    /// What the link names.
    Target,
    /// Which device it is.
    Device,
    /// This extended attribute.
    Attribute(Vec<u8>),
    /// When it was changed.
    Modified,
}

impl Entry {
    /// In what this entry differs from the layer's. The bytes of files are compared by whoever reads them.
    pub fn difference(&self, layers: &Self) -> Option<Aspect> {
        if let Some(aspect) = self.kind.difference(&layers.kind) {
            return Some(aspect);
        }
        if self.kind == WHITEOUT {
            return None;
        }
        if self.mode != layers.mode {
            return Some(Aspect::Mode);
        }
        if (self.user, self.group) != (layers.user, layers.group) {
            return Some(Aspect::Owner);
        }
        let is_file = matches!(self.kind, EntryKind::File(_));
        self.other_attribute(layers).or((is_file && self.modified != layers.modified).then_some(Aspect::Modified))
    }

    /// The first attribute that only one of them has, or that has another value.
    fn other_attribute(&self, layers: &Self) -> Option<Aspect> {
        let names = self.attributes.keys().chain(layers.attributes.keys());
        let mut compared = names.filter(|name| !KERNELS.iter().any(|kernels| kernels.as_bytes() == name.as_slice()));
        let other = compared.find(|name| self.attributes.get(*name) != layers.attributes.get(*name))?;
        Some(Aspect::Attribute(other.clone()))
    }
}

impl EntryKind {
    fn difference(&self, layers: &Self) -> Option<Aspect> {
        match (self, layers) {
            (own, layers) if own == layers => None,
            (Self::File(_), Self::File(_)) => Some(Aspect::Content),
            (Self::Link(_), Self::Link(_)) => Some(Aspect::Target),
            // A whiteout and a device are not two devices.
            (own, layers) if *own == WHITEOUT || *layers == WHITEOUT => Some(Aspect::Kind),
            (Self::BlockDevice(_), Self::BlockDevice(_)) | (Self::CharacterDevice(_), Self::CharacterDevice(_)) => {
                Some(Aspect::Device)
            }
            _ => Some(Aspect::Kind),
        }
    }
}

/// The first name that only one of two sorted lists has, and which one that is.
pub fn unpaired(own: &[OsString], layers: &[OsString]) -> Option<(OsString, Aspect)> {
    let pairs = own.iter().zip(layers).find(|(own, layers)| own != layers);
    match pairs {
        Some((own, layers)) if own < layers => Some((own.clone(), Aspect::Added)),
        Some((_, layers)) => Some((layers.clone(), Aspect::Missing)),
        None if own.len() > layers.len() => own.get(layers.len()).map(|name| (name.clone(), Aspect::Added)),
        None => layers.get(own.len()).map(|name| (name.clone(), Aspect::Missing)),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = printable(&format!("/{}", self.path.display()));
        match &self.what {
            Aspect::Added => write!(f, "`{path}` is not in the layer"),
            Aspect::Missing => write!(f, "`{path}` is missing"),
            Aspect::Kind => write!(f, "`{path}` is of another type than in the layer"),
            Aspect::Mode => write!(f, "`{path}` has other permissions than in the layer"),
            Aspect::Owner => write!(f, "`{path}` belongs to another user or group than in the layer"),
            Aspect::Content => write!(f, "`{path}` has another content than in the layer"),
            Aspect::Target => write!(f, "`{path}` links to something else than in the layer"),
            Aspect::Device => write!(f, "`{path}` is another device than in the layer"),
            Aspect::Attribute(name) => {
                let name = printable(&String::from_utf8_lossy(name));
                write!(f, "`{path}` has another extended attribute `{name}` than in the layer")
            }
            Aspect::Modified => write!(f, "`{path}` was changed at another time than the layer says"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Entry {
        Entry { kind: EntryKind::File(3), mode: 0o644, user: 0, group: 0, modified: 7, attributes: BTreeMap::new() }
    }

    fn of(kind: EntryKind) -> Entry {
        Entry { kind, ..file() }
    }

    fn with(name: &str, value: &[u8]) -> Entry {
        Entry { attributes: BTreeMap::from([(name.as_bytes().to_vec(), value.to_vec())]), ..file() }
    }

    #[test]
    fn a_file_is_the_layers_when_all_that_can_be_seen_of_it_is() {
        assert_eq!(file().difference(&file()), None);
        for (other, aspect) in [
            (of(EntryKind::File(4)), Aspect::Content),
            (of(EntryKind::Directory), Aspect::Kind),
            (of(EntryKind::Pipe), Aspect::Kind),
            (Entry { mode: 0o4644, ..file() }, Aspect::Mode),
            (Entry { user: 1, ..file() }, Aspect::Owner),
            (Entry { group: 1, ..file() }, Aspect::Owner),
            (Entry { modified: 8, ..file() }, Aspect::Modified),
            (with("security.capability", b"x"), Aspect::Attribute(b"security.capability".to_vec())),
        ] {
            assert_eq!(other.difference(&file()), Some(aspect.clone()), "{other:?}");
            assert_eq!(file().difference(&other), Some(aspect), "{other:?}");
        }
    }

    #[test]
    fn attributes_are_compared_unless_the_kernel_writes_them_by_itself() {
        for kernels in KERNELS {
            assert_eq!(with(kernels, b"x").difference(&file()), None, "{kernels}");
        }
        for seen in ["trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.overlay.metacopy", "user.x"] {
            let aspect = Some(Aspect::Attribute(seen.as_bytes().to_vec()));
            assert_eq!(with(seen, b"y").difference(&file()), aspect, "{seen}");
            assert_eq!(with(seen, b"y").difference(&with(seen, b"n")), aspect, "{seen}");
            assert_eq!(with(seen, b"y").difference(&with(seen, b"y")), None, "{seen}");
        }
    }

    #[test]
    fn when_something_was_changed_matters_for_files_alone() {
        for kind in [EntryKind::Directory, EntryKind::Link("t".into()), EntryKind::CharacterDevice(5), EntryKind::Pipe]
        {
            let other = Entry { modified: 8, ..of(kind.clone()) };
            assert_eq!(other.difference(&of(kind)), None);
        }
    }

    #[test]
    fn a_whiteout_is_nothing_but_a_whiteout() {
        let (own, layers) = (Entry { user: 5, mode: 0, ..of(WHITEOUT) }, of(WHITEOUT));
        assert_eq!(own.difference(&layers), None);
        assert_eq!(of(EntryKind::CharacterDevice(259)).difference(&layers), Some(Aspect::Kind));
        assert_eq!(file().difference(&layers), Some(Aspect::Kind));
        assert_eq!(of(EntryKind::BlockDevice(0)).difference(&layers), Some(Aspect::Kind));
    }

    #[test]
    fn links_and_devices_are_told_apart_by_where_they_lead() {
        let link = |target: &str| of(EntryKind::Link(target.into()));
        assert_eq!(link("/a").difference(&link("/b")), Some(Aspect::Target));
        assert_eq!(link("/a").difference(&link("/a")), None);
        let (one, other) = (of(EntryKind::CharacterDevice(259)), of(EntryKind::CharacterDevice(261)));
        assert_eq!(one.difference(&other), Some(Aspect::Device));
    }

    #[test]
    fn a_name_that_only_one_side_has_is_found() {
        let names = |names: &[&str]| names.iter().map(OsString::from).collect::<Vec<_>>();
        let told = |own: &[&str], layers: &[&str]| unpaired(&names(own), &names(layers));
        assert_eq!(told(&["a", "b"], &["a", "b"]), None);
        assert_eq!(told(&[], &[]), None);
        assert_eq!(told(&["a", "b"], &["a"]), Some(("b".into(), Aspect::Added)));
        assert_eq!(told(&["a"], &["a", "b"]), Some(("b".into(), Aspect::Missing)));
        assert_eq!(told(&["a", "b", "c"], &["a", "c"]), Some(("b".into(), Aspect::Added)));
        assert_eq!(told(&["a", "c"], &["a", "b", "c"]), Some(("b".into(), Aspect::Missing)));
    }

    #[test]
    fn a_difference_says_where_and_in_what_and_does_not_steer_a_terminal() {
        let difference = Difference { path: "bin/\u{1b}[31msh".into(), what: Aspect::Content };
        assert!(difference.to_string().starts_with("`/bin/"), "{difference}");
        assert!(!difference.to_string().contains('\u{1b}'));
        let root = Difference { path: PathBuf::new(), what: Aspect::Mode };
        assert_eq!(root.to_string(), "`/` has other permissions than in the layer");
    }
}
