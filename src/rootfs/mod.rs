//! Is what a container will see as its root file system made of the layers of its image, and of nothing else?
//!
//! A verdict is about an image; what runs is a directory. Between them lie a snapshot, whose name anybody with
//! containerd's socket can give to any content, and a mount, which whoever creates the task chooses. So the way is walked
//! from both ends: from the image to the chain of its layers and to the snapshot that ought to be made of it
//! ([`Layers`]), and from the mount to the directories that it shows ([`RootFilesystem`]). They meet in the record of which
//! layer was unpacked into which directory ([`Origin`]), which the gate before unpack has kept.
//!
//! Nothing here looks at a file: what is mounted, what containerd says and what the record holds are arguments.

mod chain;
mod docker;
mod error;
mod mount;
mod mountinfo;
mod tree;

use std::path::{Path, PathBuf};

pub use chain::{ChainId, DiffIds, Layers};
pub use docker::{DOCKER, INIT_SUFFIX, InitEntry, InitKind, is_init_layer, snapshot_at};
pub use error::RootfsError;
pub use mount::{Mount, RootFilesystem};
pub use mountinfo::{MountPoint, mounted_at, mounts_below};
pub use tree::{Aspect, Difference, Entry, EntryKind, KERNELS, unpaired};

use crate::oci::{Descriptor, Digest};

/// Which file or directory it is, however one got there: the numbers of its device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

/// What the record says about a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This layer was unpacked into it, and nothing else.
    Layer(Unpacked),
    /// Nobody knows where its content comes from.
    Unknown,
    /// Something was unpacked into a directory of this path; it is another directory now.
    Replaced,
    /// More than one layer was unpacked into it.
    Mixed,
    /// Nothing was, and it holds nothing but what dockerd puts between an image and a container.
    Docker,
}

/// A layer that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The layer.
    pub layer: Digest,
    /// What it is when it is unpacked; none where nobody said it.
    pub diff_id: Option<Digest>,
    /// The image whose word that is; none where it was found out from the bytes.
    pub vouched_by: Option<Descriptor>,
}

impl Unpacked {
    /// Whether this is the layer, or the same packed in another way.
    pub fn is(&self, layer: &Digest, diff_id: &Digest) -> bool {
        self.layer == *layer || self.diff_id.as_ref() == Some(diff_id)
    }
}

/// What is found at the place that the container will see as its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The mount there, if there is one.
    pub mount: Option<MountPoint>,
    /// Which directory it is.
    pub identity: Identity,
    /// How many other mounts lie below it.
    pub mounts_below: usize,
}

impl RootFilesystem {
    /// Whether what is mounted is this and nothing else. `source` tells which directory a bound one is.
    pub fn check_mounted(&self, found: &Found, source: impl Fn(&Path) -> Option<Identity>) -> Result<(), RootfsError> {
        let differs = |how: &str| Err(RootfsError::Differs { how: how.to_owned() });
        let Some(mount) = &found.mount else { return differs("nothing is mounted there") };
        if found.mounts_below > 0 {
            return differs("something else is mounted below it");
        }
        match self {
            Self::Bound { directory } => match source(directory) {
                Some(identity) if identity == found.identity => Ok(()),
                Some(_) => differs("another directory is mounted"),
                None => differs("the snapshot's directory cannot be found"),
            },
            Self::Overlaid { lower, upper } => {
                let mounted = mount.overlay().ok_or_else(|| RootfsError::Differs {
                    how: format!("a file system of type `{}` is mounted", mount.kind),
                })?;
                match mounted {
                    Self::Overlaid { upper: other, .. } if other != *upper => {
                        differs("its upper directory is another one")
                    }
                    Self::Overlaid { lower: other, .. } if other != *lower => {
                        differs("its lower directories are others")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Whether each directory, base first, was made by unpacking the layer at its place, or one that is the same when it is
/// unpacked: images that share a layer share its directory, and a registry or an archive may have packed it anew. The
/// layers are those of an image that is admitted, so this is what makes the admission one of the bytes that run.
pub fn check_unpacked(image: &Layers, directories: &[(PathBuf, Origin)]) -> Result<(), RootfsError> {
    let directories: Vec<_> = directories.iter().filter(|(_, origin)| *origin != Origin::Docker).collect();
    if image.layers.len() != directories.len() {
        return Err(RootfsError::LayerCount { layers: image.layers.len(), directories: directories.len() });
    }
    for ((layer, diff_id), (directory, origin)) in image.layers.iter().zip(&image.diff_ids).zip(directories) {
        let directory = directory.clone();
        match origin {
            Origin::Layer(unpacked) if unpacked.is(layer, diff_id) => {}
            Origin::Layer(unpacked) => {
                let (layer, unpacked) = (layer.clone(), unpacked.layer.clone());
                return Err(RootfsError::OtherLayer { directory, layer, unpacked });
            }
            Origin::Unknown | Origin::Docker => {
                return Err(RootfsError::NotRecorded { directory, layer: layer.clone() });
            }
            Origin::Replaced => return Err(RootfsError::Replaced { directory, layer: layer.clone() }),
            Origin::Mixed => return Err(RootfsError::Mixed { directory, layer: layer.clone() }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy as _;

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    fn overlay(lower: &[&str], upper: &str) -> RootFilesystem {
        RootFilesystem::Overlaid { lower: lower.iter().map(PathBuf::from).collect(), upper: Some(upper.into()) }
    }

    fn found(kind: &str, options: &str) -> Found {
        let mount = MountPoint { kind: kind.into(), options: options.into() };
        Found { mount: Some(mount), identity: Identity { device: 1, inode: 2 }, mounts_below: 0 }
    }

    fn differs(filesystem: &RootFilesystem, found: &Found) -> Option<String> {
        let source = |_: &Path| Some(Identity { device: 1, inode: 2 });
        let error = filesystem.check_mounted(found, source).err()?;
        assert_eq!(error.code().as_str(), "rootfs-differs");
        Some(error.to_string())
    }

    #[test]
    fn an_overlay_is_the_snapshots_when_all_its_directories_are() {
        let snapshot = overlay(&["/s/2/fs", "/s/1/fs"], "/s/3/fs");
        let same = "rw,lowerdir=/s/2/fs:/s/1/fs,upperdir=/s/3/fs,workdir=/s/3/work";
        assert_eq!(differs(&snapshot, &found("overlay", same)), None);
        let relative = "rw,lowerdir=2/fs:1/fs,upperdir=/s/3/fs,workdir=/s/3/work";
        assert_eq!(differs(&snapshot, &found("overlay", relative)), None);
        let added = "rw,lowerdir+=/s/2/fs,lowerdir+=/s/1/fs,upperdir=/s/3/fs,workdir=/s/3/work";
        assert_eq!(differs(&snapshot, &found("overlay", added)), None);
        for other in [
            "rw,lowerdir=/s/1/fs:/s/2/fs,upperdir=/s/3/fs",
            "rw,lowerdir=/s/2/fs,upperdir=/s/3/fs",
            "rw,lowerdir=/evil:/s/2/fs:/s/1/fs,upperdir=/s/3/fs",
            "rw,lowerdir=/s/2/fs:/s/1/fs,upperdir=/s/4/fs",
            "ro,lowerdir=/s/2/fs:/s/1/fs",
            "rw",
        ] {
            assert!(differs(&snapshot, &found("overlay", other)).is_some(), "{other}");
        }
        assert!(differs(&snapshot, &found("ext4", same)).is_some());
        assert!(differs(&snapshot, &Found { mounts_below: 1, ..found("overlay", same) }).is_some());
        assert!(differs(&snapshot, &Found { mount: None, ..found("overlay", same) }).is_some());
    }

    #[test]
    fn a_bound_directory_is_the_snapshots_when_it_is_the_same_directory() {
        let snapshot = RootFilesystem::Bound { directory: "/s/3".into() };
        assert_eq!(differs(&snapshot, &found("ext4", "rw")), None);
        let other = Found { identity: Identity { device: 1, inode: 3 }, ..found("ext4", "rw") };
        assert!(differs(&snapshot, &other).is_some());
    }

    #[test]
    fn directories_are_the_images_when_each_holds_the_layer_of_its_place() {
        let image = Layers {
            manifest: Descriptor::of("manifest", b""),
            layers: vec![digest("base"), digest("top")],
            diff_ids: vec![digest("base unpacked"), digest("top unpacked")],
            chain: Vec::new(),
        };
        let unpacked = |first: Origin, second: Origin| {
            let directories = [("/s/1/fs".into(), first), ("/s/2/fs".into(), second)];
            check_unpacked(&image, &directories).map_err(|error| error.code().as_str())
        };
        let layer = |text: &str, diff_id: Option<&str>| {
            Origin::Layer(Unpacked { layer: digest(text), diff_id: diff_id.map(digest), vouched_by: None })
        };
        let (base, top) = (layer("base", None), layer("top", None));
        assert_eq!(unpacked(base.clone(), top.clone()), Ok(()));
        assert_eq!(unpacked(top.clone(), base.clone()), Err("rootfs-other-layer"));
        assert_eq!(unpacked(base.clone(), layer("top packed anew", Some("top unpacked"))), Ok(()));
        assert_eq!(unpacked(base.clone(), layer("top packed anew", Some("base unpacked"))), Err("rootfs-other-layer"));
        assert_eq!(unpacked(base.clone(), layer("top packed anew", None)), Err("rootfs-other-layer"));
        assert_eq!(unpacked(base.clone(), Origin::Unknown), Err("rootfs-not-recorded"));
        assert_eq!(unpacked(base.clone(), Origin::Replaced), Err("rootfs-replaced"));
        assert_eq!(unpacked(base.clone(), Origin::Mixed), Err("rootfs-mixed"));
        let dockers = [("/s/1/fs".into(), base.clone()), ("/i".into(), Origin::Docker), ("/s/2/fs".into(), top)];
        assert_eq!(check_unpacked(&image, &dockers), Ok(()));
        let one = check_unpacked(&image, &[("/s/1/fs".into(), base)]);
        assert_eq!(one.map_err(|error| error.code().as_str()), Err("rootfs-layer-count"));
    }
}
