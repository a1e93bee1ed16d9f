//! What a snapshot is mounted from, as the snapshotter says it.

use std::path::{Component, Path, PathBuf};

use super::RootfsError;

/// A mount as containerd describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The kind of file system, or `bind`.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Options, each as the mount program takes it.
    pub options: Vec<String>,
}

/// The directories that a root file system shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootFilesystem {
    /// Directories laid over each other.
    Overlaid {
        /// What is read, the topmost first.
        lower: Vec<PathBuf>,
        /// What is written; none where nothing can be.
        upper: Option<PathBuf>,
    },
    /// One directory.
    Bound {
        /// The directory.
        directory: PathBuf,
    },
}

impl RootFilesystem {
    /// What these mounts show: those of one snapshot of the overlayfs or the native snapshotter. Other snapshotters have
    /// other forms, of which nobody could say what they show.
    pub fn of(mounts: &[Mount], snapshotter: &str) -> Result<Self, RootfsError> {
        let unsupported = || {
            let kinds: Vec<&str> = mounts.iter().map(|mount| mount.kind.as_str()).collect();
            RootfsError::UnsupportedSnapshotter { name: snapshotter.to_owned(), kinds: kinds.join(", ") }
        };
        let [mount] = mounts else { return Err(unsupported()) };
        match mount.kind.as_str() {
            "bind" => {
                let directory = PathBuf::from(&mount.source);
                if is_plain(&directory) { Ok(Self::Bound { directory }) } else { Err(unsupported()) }
            }
            "overlay" => overlaid(mount.options.iter().map(String::as_str)).ok_or_else(unsupported),
            _ => Err(unsupported()),
        }
    }

    /// The directory that the container itself writes to; none where it can write to none.
    pub fn own(&self) -> Option<&Path> {
        match self {
            Self::Overlaid { upper, .. } => upper.as_deref(),
            Self::Bound { directory } => Some(directory),
        }
    }

    /// The directory into which a layer is unpacked that is applied to these mounts, where it is one.
    pub fn written(mounts: &[Mount]) -> Option<PathBuf> {
        match Self::of(mounts, "").ok()? {
            Self::Overlaid { upper, .. } => upper,
            Self::Bound { directory } => Some(directory),
        }
    }
}

/// The directories of an overlay with these options.
pub(super) fn overlaid<'a>(options: impl Iterator<Item = &'a str>) -> Option<RootFilesystem> {
    let (mut lower, mut upper) = (Vec::new(), None);
    for option in options {
        let Some((name, value)) = option.split_once('=') else { continue };
        match name {
            "lowerdir" => lower = split(value),
            "lowerdir+" => lower.push(unescaped(value)),
            "upperdir" => upper = Some(PathBuf::from(unescaped(value))),
            // A directory of data alone can be read through files of the others.
            "datadir+" => return None,
            _ => {}
        }
    }
    let lower: Option<Vec<PathBuf>> = lower.iter().map(|path| absolute(path, upper.as_deref())).collect();
    let lower = lower.filter(|lower| !lower.is_empty())?;
    let is_plain_upper = upper.as_deref().is_none_or(is_plain);
    is_plain_upper.then_some(RootFilesystem::Overlaid { lower, upper })
}

/// containerd shortens the paths of many layers: it mounts from within the directory of all snapshots, which is two above
/// the upper directory, `SNAPSHOTS/NUMBER/fs`.
fn absolute(path: &str, upper: Option<&Path>) -> Option<PathBuf> {
    let path = Path::new(path);
    let path = if path.is_absolute() { path.to_owned() } else { upper?.parent()?.parent()?.join(path) };
    is_plain(&path).then_some(path)
}

/// Whether a path is absolute and goes straight to where it leads.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// The parts of a list in which a colon that belongs to a name has a backslash before it.
fn split(list: &str) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for c in list.chars() {
        match c {
            _ if escaped => {
                part.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            ':' => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    parts
}

fn unescaped(value: &str) -> String {
    // What is no list has at most one part when its colons are passed over.
    split(value).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::Remedy as _;

    fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { kind: kind.into(), source: source.into(), options }
    }

    #[test]
    fn an_overlay_shows_its_directories_and_a_bound_one_itself() {
        let overlay = mount(
            "overlay",
            "overlay",
            &["index=off", "workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"],
        );
        let expected =
            RootFilesystem::Overlaid { lower: vec!["/s/2/fs".into(), "/s/1/fs".into()], upper: Some("/s/3/fs".into()) };
        assert_eq!(RootFilesystem::of(std::slice::from_ref(&overlay), "overlayfs").unwrap(), expected);
        assert_eq!(expected.own(), Some(Path::new("/s/3/fs")));
        assert_eq!(RootFilesystem::written(&[overlay]), Some("/s/3/fs".into()));
        let bound = mount("bind", "/s/7", &["rbind", "rw"]);
        let expected = RootFilesystem::Bound { directory: "/s/7".into() };
        assert_eq!(RootFilesystem::of(std::slice::from_ref(&bound), "native").unwrap(), expected);
        assert_eq!(RootFilesystem::written(&[bound]), Some("/s/7".into()));
    }

    #[test]
    fn what_cannot_be_followed_is_no_root_file_system() {
        for mounts in [
            vec![],
            vec![mount("ext4", "/dev/mapper/x", &[])],
            vec![mount("bind", "relative", &[])],
            vec![mount("bind", "/s/../x", &[])],
            vec![mount("overlay", "overlay", &["upperdir=/s/3/fs"])],
            vec![mount("overlay", "overlay", &["lowerdir=1/fs"])],
            vec![mount("overlay", "overlay", &["lowerdir=/s/1/fs:/s/../x", "upperdir=/s/3/fs"])],
            vec![mount("overlay", "overlay", &["lowerdir=/s/1/fs", "upperdir=/s/3/fs", "datadir+=/x"])],
            vec![mount("bind", "/s/1", &[]), mount("bind", "/s/2", &[])],
        ] {
            let error = RootFilesystem::of(&mounts, "other").unwrap_err();
            assert_eq!(error.code().as_str(), "snapshotter-unsupported", "{mounts:?}");
            assert_eq!(RootFilesystem::written(&mounts), None);
        }
    }

    #[test]
    fn a_colon_in_a_name_does_not_end_it() {
        assert_eq!(split(r"/a\:b:/c"), ["/a:b", "/c"]);
        assert_eq!(split(r"/a\\:/c"), [r"/a\", "/c"]);
    }
}
