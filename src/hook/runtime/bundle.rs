//! What a container is made of, as far as its bundle and the kernel tell: its root, and the images mounted into it.
//!
//! Read here and not by the daemon, because this program sees the mounts that the runtime is about to see.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Start;
use crate::oci::{InvalidJson, parse_json};
use crate::proto::{ContainerStart, MountedDirectory};
use crate::remedy::{Code, Remedy};
use crate::rootfs::{Identity, mounted_at, mounts_below};

/// The largest config.json that is read, in bytes. Kubernetes' have some 20 KiB; annotations may make them longer, and
/// all of a pod's annotations have 256 KiB at most.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;
/// The largest mountinfo that is read, in bytes: ten thousand mounts with long options.
const MAX_MOUNTINFO: u64 = 32 * 1024 * 1024;
/// How many images may be mounted into a container. Kubernetes has no number; nobody has more than a handful.
const MAX_VOLUMES: usize = 64;
/// In which containerd's shim says whose it is.
const ADDRESS_VARIABLE: &str = "GRPC_ADDRESS";
/// The annotations that are passed on: those that CRI itself writes.
const ANNOTATIONS: &str = "io.kubernetes.cri.";
/// The longest value of an annotation that is passed on, in bytes: names of images and pods are shorter.
const MAX_ANNOTATION: usize = 1024;
/// The directory in which CRI mounts the images of volumes: each in one named by the image's digest, in one named by the
/// pod's sandbox. Measured with containerd 2.1.
const VOLUMES: &str = "image-volumes";
/// How many names stand below it: the sandbox's and the image's.
const VOLUME_DEPTH: usize = 2;

/// Why nobody knows what is about to be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is longer than any good one.
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How much is read.
        limit: u64,
    },
    /// The file is not a configuration.
    #[error("{} is not the configuration of a container", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidJson,
    },
    /// More images than anybody mounts.
    #[error("more than {MAX_VOLUMES} images are to be mounted into the container")]
    TooManyVolumes,
}

impl Remedy for BundleError {
    fn code(&self) -> Code {
        match self {
            Self::Read { .. } | Self::TooLong { .. } => Code("bundle-unreadable"),
            Self::Malformed { .. } => Code("bundle-malformed"),
            Self::TooManyVolumes => Code("too-many-image-volumes"),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some("see which program makes the container's bundle".into())
    }
}

/// A runtime's configuration (runtime specification, "Configuration"), as far as it matters here.
#[derive(Deserialize)]
struct Config {
    root: Option<Root>,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Root {
    path: PathBuf,
}

#[derive(Deserialize)]
struct Mount {
    source: Option<PathBuf>,
}

/// What is about to be started from this bundle.
pub(super) fn read(start: &Start) -> Result<ContainerStart, BundleError> {
    let path = start.bundle.join("config.json");
    let bytes = contents(&path, MAX_CONFIG)?;
    let config: Config = parse_json(&bytes).map_err(|source| BundleError::Malformed { path, source })?;
    let mountinfo = contents(Path::new("/proc/self/mountinfo"), MAX_MOUNTINFO)?;
    let mountinfo = String::from_utf8_lossy(&mountinfo);
    // Without a root the runtime will refuse; until then there is nothing there.
    let root = config.root.map(|root| start.bundle.join(root.path)).unwrap_or_default();
    let volumes: Vec<PathBuf> = config.mounts.into_iter().filter_map(|mount| volume(&mount.source?)).collect();
    if volumes.len() > MAX_VOLUMES {
        return Err(BundleError::TooManyVolumes);
    }
    Ok(ContainerStart {
        id: start.id.clone(),
        bundle: start.bundle.display().to_string(),
        root: Some(directory(&root, &mountinfo)),
        annotations: config.annotations.into_iter().filter(is_passed_on).collect(),
        containerd_address: env::var(ADDRESS_VARIABLE).unwrap_or_default(),
        image_volumes: volumes.iter().map(|volume| directory(volume, &mountinfo)).collect(),
    })
}

fn contents(path: &Path, limit: u64) -> Result<Vec<u8>, BundleError> {
    let unreadable = |source| BundleError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(BundleError::TooLong { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

fn directory(path: &Path, mountinfo: &str) -> MountedDirectory {
    // Where a link leads is what the runtime will see.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let identity = fs::metadata(&real).map(|found| Identity { device: found.dev(), inode: found.ino() });
    let Identity { device, inode } = identity.unwrap_or(Identity { device: 0, inode: 0 });
    let path = real.display().to_string();
    let mount = mounted_at(mountinfo, &path);
    let mounts_below = u32::try_from(mounts_below(mountinfo, &path)).unwrap_or(u32::MAX);
    let (filesystem, options) = mount.map(|mount| (mount.kind, mount.options)).unwrap_or_default();
    MountedDirectory { path, device, inode, filesystem, options, mounts_below }
}

/// Where CRI has mounted the image that this is, or that it is a part of.
fn volume(source: &Path) -> Option<PathBuf> {
    let mut components = source.components();
    let mut place = PathBuf::new();
    while place.file_name().is_none_or(|name| name != VOLUMES) {
        place.push(components.next()?);
    }
    let below: PathBuf = components.take(VOLUME_DEPTH).collect();
    Some(place.join(below))
}

fn is_passed_on((name, value): &(String, String)) -> bool {
    name.starts_with(ANNOTATIONS) && name.len() <= MAX_ANNOTATION && value.len() <= MAX_ANNOTATION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(config: &str) -> (tempfile::TempDir, Start) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rootfs")).unwrap();
        fs::write(dir.path().join("config.json"), config).unwrap();
        let start = Start { id: "c".into(), bundle: dir.path().to_owned() };
        (dir, start)
    }

    #[test]
    fn a_bundle_tells_its_root_its_pod_and_its_images() {
        let (dir, start) = bundle(
            r#"{"root": {"path": "rootfs"}, "annotations": {"io.kubernetes.cri.sandbox-name": "p", "other": "x"},
                "mounts": [{"destination": "/d", "source": "/run/s/image-volumes/pod/0123"}, {"destination": "/proc"}]}"#,
        );
        let read = read(&start).unwrap();
        let root = read.root.unwrap();
        let rootfs = fs::canonicalize(dir.path().join("rootfs")).unwrap();
        assert_eq!((Path::new(&root.path), root.inode), (rootfs.as_path(), fs::metadata(&rootfs).unwrap().ino()));
        assert_eq!(root.filesystem, "", "nothing is mounted there");
        assert_eq!(
            read.annotations.into_iter().collect::<Vec<_>>(),
            [("io.kubernetes.cri.sandbox-name".to_owned(), "p".to_owned())]
        );
        assert_eq!(read.image_volumes.len(), 1);
        assert_eq!(
            (read.image_volumes[0].path.as_str(), read.image_volumes[0].inode),
            ("/run/s/image-volumes/pod/0123", 0)
        );
    }

    #[test]
    fn a_part_of_an_image_is_that_image() {
        let volume = |source: &str| volume(Path::new(source)).map(|place| place.display().to_string());
        let place = Some("/s/image-volumes/pod/0123".to_owned());
        assert_eq!(volume("/s/image-volumes/pod/0123"), place);
        assert_eq!(volume("/s/image-volumes/pod/0123/some/folder"), place);
        // What is mounted in an unknown way is no known image; but it is asked about.
        assert_eq!(volume("/s/image-volumes/0123"), Some("/s/image-volumes/0123".to_owned()));
        assert_eq!(volume("/s/volumes/pod/0123"), None);
    }

    #[test]
    fn a_root_elsewhere_is_told_with_what_is_mounted_there() {
        let (_dir, start) = bundle(r#"{"root": {"path": "/proc"}}"#);
        let root = read(&start).unwrap().root.unwrap();
        assert_eq!((root.path.as_str(), root.filesystem.as_str()), ("/proc", "proc"));
    }

    #[test]
    fn what_is_no_bundle_says_so() {
        let (_dir, start) = bundle("{");
        assert_eq!(read(&start).unwrap_err().code().as_str(), "bundle-malformed");
        let (dir, start) = bundle("{}");
        fs::remove_file(dir.path().join("config.json")).unwrap();
        assert_eq!(read(&start).unwrap_err().code().as_str(), "bundle-unreadable");
        let volume = r#"{"source": "/image-volumes/1"}"#;
        let (_dir, start) = bundle(&format!(r#"{{"mounts": [{}]}}"#, vec![volume; MAX_VOLUMES + 1].join(",")));
        assert_eq!(read(&start).unwrap_err().code().as_str(), "too-many-image-volumes");
    }
}
