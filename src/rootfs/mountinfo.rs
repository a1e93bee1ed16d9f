//! What is mounted where, as the kernel says it in `/proc/PID/mountinfo` (proc(5)).

use super::mount::{RootFilesystem, overlaid};

/// What is mounted at a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The kind of file system. A bound directory has that of the file system it lies in.
    pub kind: String,
    /// The options of the file system, joined by commas, with the kernel's escapes.
    pub options: String,
}

impl MountPoint {
    /// The directories of an overlay; none where this is no overlay, or one that cannot be followed.
    pub fn overlay(&self) -> Option<RootFilesystem> {
        if self.kind != "overlay" {
            return None;
        }
        let options: Vec<String> = self.options.split(',').map(without_escapes).collect();
        overlaid(options.iter().map(String::as_str))
    }
}

/// What is mounted at this directory: the last of several, which hides the others. A line that is not understood is
/// passed over; then nothing is known to be mounted, which starts nothing.
pub fn mounted_at(mountinfo: &str, directory: &str) -> Option<MountPoint> {
    mountinfo.lines().rev().find_map(|line| {
        let (place, filesystem) = line.split_once(" - ")?;
        if without_escapes(place.split(' ').nth(MOUNT_POINT)?) != directory {
            return None;
        }
        let mut fields = filesystem.split(' ');
        let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next().unwrap_or_default());
        Some(MountPoint { kind: without_escapes(kind), options: options.to_owned() })
    })
}

/// How many mounts lie below this directory. They hide what it holds.
pub fn mounts_below(mountinfo: &str, directory: &str) -> usize {
    let is_below = |place: &str| place.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    let places = mountinfo.lines().filter_map(|line| line.split(' ').nth(MOUNT_POINT));
    places.filter(|place| is_below(&without_escapes(place))).count()
}

/// The place of the mount point among the fields of a line, from 0.
const MOUNT_POINT: usize = 4;

/// The kernel writes blanks, commas, backslashes and the like as a backslash and three octal digits.
fn without_escapes(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, next) = match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', next @ ..]) => {
                ((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'), next)
            }
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = next;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 21 0:50 / /run/b/rootfs rw - tmpfs tmpfs rw
91 21 0:51 / /run/b/rootfs rw,relatime shared:2 master:3 - overlay overlay rw,lowerdir=/s/2/fs:/s/1/fs,upperdir=/s/3/fs
92 21 254:0 /s/7 /run/a\\040b/rootfs rw - ext4 /dev/vda rw
93 21 0:52 / /run/c rw - overlay none rw,lowerdir=/with\\054comma\\134:colon:/s,upperdir=/s/3/fs
broken
";

    #[test]
    fn the_last_mount_at_a_directory_counts() {
        let mounted = mounted_at(LINES, "/run/b/rootfs").unwrap();
        assert_eq!(mounted.kind, "overlay");
        assert!(mounted.overlay().is_some());
        assert_eq!(mounted_at(LINES, "/run/a b/rootfs").unwrap().kind, "ext4");
        assert_eq!(mounted_at(LINES, "/run/b"), None);
    }

    #[test]
    fn what_is_mounted_below_is_counted() {
        assert_eq!(mounts_below(LINES, "/run"), 4);
        assert_eq!(mounts_below(LINES, "/run/a b"), 1);
        assert_eq!((mounts_below(LINES, "/run/b/rootfs"), mounts_below(LINES, "/ru")), (0, 0));
    }

    #[test]
    fn escapes_do_not_change_what_a_path_is() {
        let Some(RootFilesystem::Overlaid { lower, .. }) = mounted_at(LINES, "/run/c").unwrap().overlay() else {
            panic!("an overlay")
        };
        assert_eq!(lower, [std::path::PathBuf::from("/with,comma:colon"), "/s".into()]);
        assert_eq!(without_escapes(r"a\040b\13"), r"a b\13");
    }
}
