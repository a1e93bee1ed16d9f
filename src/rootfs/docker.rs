//! What dockerd does otherwise than containerd's own clients.
//!
//! With containerd's image store, dockerd commits one snapshot of its own on top of the image's and makes the container's
//! snapshot on that: it holds the places at which files of the host are mounted later, all of them empty. It was unpacked
//! from no layer, so it is looked at itself: what holds nothing can change nothing but what is hidden below it, and what
//! is hidden there is about to be hidden anyway. An image that was committed from a container has the layer below its
//! own.
//!
//! It also mounts the root file system itself, and leaves the snapshot out of the container's record: the place at which
//! it mounts says both. Measured with docker 28.5.

/// What the name of that snapshot ends with; before it stands the container's identifier.
pub const INIT_SUFFIX: &str = "-init";

/// The containerd namespace of docker's containers.
pub const DOCKER: &str = "moby";

/// The snapshotter and the key of the snapshot that dockerd mounts at this place, `…/rootfs/SNAPSHOTTER/CONTAINER`.
/// Whether that is what is mounted there is another question.
pub fn snapshot_at<'a>(place: &'a str, container: &'a str) -> Option<(&'a str, &'a str)> {
    let (above, snapshotter) = place.strip_suffix(container)?.strip_suffix('/')?.rsplit_once('/')?;
    (above.ends_with("/rootfs") && !snapshotter.is_empty()).then_some((snapshotter, container))
}

/// One entry of the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitEntry {
    /// The path below the layer's root, without a slash in front.
    pub path: String,
    /// What lies there.
    pub kind: InitKind,
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitKind {
    /// A directory that hides nothing of the one below it.
    Directory,
    /// A file without content.
    EmptyFile,
    /// A link and what it names.
    Link(String),
    /// Anything else: a file with content, a device, a directory that hides what is below it.
    Other,
}

/// The directories that dockerd makes (moby, `daemon/initlayer`), and those that they lie in.
const DIRECTORIES: [&str; 6] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys"];
/// The files that it makes.
const FILES: [&str; 5] = [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"];
/// The link that it makes, and what that names.
const LINK: (&str, &str) = ("etc/mtab", "/proc/mounts");

/// Whether a layer holds nothing but what dockerd puts there.
pub fn is_init_layer(entries: &[InitEntry]) -> bool {
    entries.iter().all(|InitEntry { path, kind }| match kind {
        InitKind::Directory => DIRECTORIES.contains(&path.as_str()),
        InitKind::EmptyFile => FILES.contains(&path.as_str()),
        InitKind::Link(target) => (path.as_str(), target.as_str()) == LINK,
        InitKind::Other => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, InitKind)]) -> bool {
        let entry = |(path, kind): &(&str, InitKind)| InitEntry { path: (*path).to_owned(), kind: kind.clone() };
        is_init_layer(&entries.iter().map(entry).collect::<Vec<_>>())
    }

    #[test]
    fn the_place_of_a_root_says_which_snapshot_it_is() {
        assert_eq!(snapshot_at("/var/lib/docker/rootfs/overlayfs/c1", "c1"), Some(("overlayfs", "c1")));
        for place in ["/var/lib/docker/rootfs/overlayfs/c2", "/b/c1/rootfs", "/rootfs//c1", "/x/overlayfs/c1", "c1"] {
            assert_eq!(snapshot_at(place, "c1"), None, "{place}");
        }
    }

    #[test]
    fn dockers_layer_holds_empty_places_and_nothing_else() {
        use InitKind::{Directory, EmptyFile, Link, Other};
        let dockers = [("dev", Directory), ("etc/hosts", EmptyFile), ("etc/mtab", Link("/proc/mounts".into()))];
        assert!(layer(&dockers));
        for foreign in [
            ("etc/hosts", Other),
            ("etc/passwd", EmptyFile),
            ("bin", Directory),
            ("bin/sh", EmptyFile),
            ("etc/hosts", Link("/evil".into())),
            ("etc/mtab", Link("/evil".into())),
            ("etc", Other),
        ] {
            assert!(!layer(&[dockers.as_slice(), std::slice::from_ref(&foreign)].concat()), "{foreign:?}");
        }
    }
}
