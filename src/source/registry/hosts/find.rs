//! Where the hosts of a registry are written down, and what the files there hold.
//!
//! The first directory that is there counts, and it alone: that of the registry's name, `_default` after it, in each of the
//! roots in turn. In it lies a `hosts.toml`, or certificates as docker has them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};

use super::fault::HostsFault;
use super::parse::{HostEntry, Mistake, parse};
use crate::source::limits::{MAX_HOST_CERTIFICATES, MAX_HOST_FILES, MAX_HOSTS_FILE};
use crate::source::registry::clients::Tls;

/// The file that names hosts.
const HOSTS_FILE: &str = "hosts.toml";
/// The directory for registries that have none of their own.
const FOR_ALL: &str = "_default";

/// The directory of a registry, by its name with its port: the first that is there.
pub(super) fn directory(roots: &[PathBuf], registry: &str) -> Result<Option<PathBuf>, HostsFault> {
    let with_port = registry.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
    let names = || with_port.as_deref().into_iter().chain([registry, FOR_ALL]);
    for path in roots.iter().flat_map(|root| names().map(|name| root.join(name))) {
        match fs::metadata(&path) {
            Ok(_) => return Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&path, &error)),
        }
    }
    Ok(None)
}

/// What a directory says.
pub(super) struct Found {
    /// The hosts in the order in which they are asked, with what their certificates are looked at by.
    pub hosts: Vec<(HostEntry, Tls)>,
    /// What was read, as it was before.
    pub seen: Seen,
}

/// What files looked like when they were read.
#[derive(PartialEq, Eq)]
pub(super) struct Seen(Vec<(PathBuf, Option<Look>)>);

/// Device, inode, size, and the time of the last change of a file. Not of its content only: a file that takes another's place
/// may be older.
type Look = (u64, u64, u64, i64, i64);

impl Seen {
    fn look(path: PathBuf) -> (PathBuf, Option<Look>) {
        let look = fs::metadata(&path).ok();
        let look = look.map(|own| (own.dev(), own.ino(), own.size(), own.ctime(), own.ctime_nsec()));
        (path, look)
    }

    /// Whether the files still look so.
    pub fn is_current(&self) -> bool {
        self.0.iter().all(|(path, look)| Self::look(path.clone()).1 == *look)
    }
}

/// Reads the directory.
pub(super) fn read(directory: &Path) -> Result<Found, HostsFault> {
    let file = directory.join(HOSTS_FILE);
    // Looked at before it is read: what changes in between is read again.
    let mut seen = vec![Seen::look(directory.to_owned()), Seen::look(file.clone())];
    let bytes = bytes(&file, MAX_HOSTS_FILE)?.unwrap_or_default();
    let mut entries = if bytes.is_empty() {
        vec![dockers(directory)?]
    } else {
        parse(&bytes).map_err(|Mistake(fault)| HostsFault::Invalid { path: file, fault })?
    };
    let mut hosts = Vec::new();
    for entry in &mut entries {
        entry.lie_in(directory);
        seen.extend(entry.files().map(|path| Seen::look(path.clone())));
        hosts.push((entry.clone(), tls(entry)?));
    }
    Ok(Found { hosts, seen: Seen(seen) })
}

/// Certificates as docker has them, by their names: `.crt` are authorities, and a `.cert` with its `.key` is what is shown.
fn dockers(directory: &Path) -> Result<HostEntry, HostsFault> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| unreadable(directory, &error))? {
        let entry = entry.map_err(|error| unreadable(directory, &error))?;
        if !entry.path().is_dir() {
            names.push(PathBuf::from(entry.file_name()));
        }
        if names.len() > MAX_HOST_FILES {
            let fault = format!("it has more than {MAX_HOST_FILES} files");
            return Err(HostsFault::Invalid { path: directory.to_owned(), fault });
        }
    }
    names.sort();
    let with = |extension: &str| {
        names.iter().filter(|path| path.extension().is_some_and(|own| own == extension)).cloned().collect::<Vec<_>>()
    };
    let client = match with("cert").as_slice() {
        [] => None,
        [certificate] => {
            let key = certificate.with_extension("key");
            Some((certificate.clone(), names.contains(&key).then_some(key)))
        }
        _ => {
            let fault = "more than one client certificate, and only one can be shown to a host".to_owned();
            return Err(HostsFault::Invalid { path: directory.to_owned(), fault });
        }
    };
    Ok(HostEntry { ca: with("crt"), client, ..HostEntry::default() })
}

impl HostEntry {
    /// Takes relative paths as those of files in this directory.
    fn lie_in(&mut self, directory: &Path) {
        let client = self.client.iter_mut().flat_map(|(certificate, key)| [certificate].into_iter().chain(key));
        for path in self.ca.iter_mut().chain(client) {
            *path = directory.join(&path);
        }
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let client = self.client.iter().flat_map(|(certificate, key)| [certificate].into_iter().chain(key));
        self.ca.iter().chain(client)
    }
}

fn tls(entry: &HostEntry) -> Result<Tls, HostsFault> {
    let mut authorities = Vec::new();
    for path in &entry.ca {
        let found = Certificate::from_pem_bundle(&whole(path)?).unwrap_or_default();
        if found.is_empty() {
            let fault = "there is no certificate in it in PEM".to_owned();
            return Err(HostsFault::Invalid { path: path.clone(), fault });
        }
        authorities.extend(found);
    }
    let identity = match &entry.client {
        Some((path, key)) => {
            let mut pem = whole(path)?;
            if let Some(key) = key {
                pem.push(b'\n');
                pem.extend(whole(key)?);
            }
            let fault = || "it is no certificate with its private key in PEM".to_owned();
            let identity = Identity::from_pem(&pem);
            pem.fill(0);
            Some(identity.map_err(|_| HostsFault::Invalid { path: path.clone(), fault: fault() })?)
        }
        None => None,
    };
    Ok(Tls { authorities, identity, is_unverified: entry.skip_verify.unwrap_or_default() })
}

/// A file that must be there.
fn whole(path: &Path) -> Result<Vec<u8>, HostsFault> {
    let missing = || HostsFault::Unreadable { path: path.to_owned(), fault: "there is no such file".into() };
    bytes(path, MAX_HOST_CERTIFICATES)?.ok_or_else(missing)
}

/// A file of at most so many bytes, where there is one.
fn bytes(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, HostsFault> {
    let fault = |fault: String| HostsFault::Unreadable { path: path.to_owned(), fault };
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        // A pipe would wait for a writer when opened.
        Ok(_) => return Err(fault("it is not a regular file".into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > limit { Err(fault(format!("it has more than {limit} bytes"))) } else { Ok(Some(bytes)) }
}

fn unreadable(path: &Path, error: &io::Error) -> HostsFault {
    HostsFault::Unreadable { path: path.to_owned(), fault: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::{Code, Remedy as _};

    fn root(directories: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in directories {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        root
    }

    #[test]
    fn the_directory_of_a_registry_is_found_as_containerd_finds_it() {
        #[rustfmt::skip]
        let cases: &[(&[&str], &str, Option<&str>)] = &[
            (&[], "registry.example", None),
            (&["registry.example", "_default"], "registry.example", Some("registry.example")),
            (&["registry.example", "_default"], "registry.example:5000", Some("_default")),
            (&["r:5000", "r_5000_", "_default"], "r:5000", Some("r_5000_")),
            (&["r:5000", "r_5000"], "r:5000", Some("r:5000")),
            (&["r_5000"], "r:5000", None),
            (&["[::1]_5000_"], "[::1]:5000", Some("[::1]_5000_")),
        ];
        for (there, registry, expected) in cases {
            let root = root(there);
            let found = directory(&[root.path().into()], registry).unwrap();
            assert_eq!(found, expected.map(|name| root.path().join(name)), "{registry} in {there:?}");
        }
    }

    #[test]
    fn a_root_that_knows_the_registry_hides_the_later_ones() {
        let (first, second) = (root(&["_default"]), root(&["registry.example"]));
        let roots = [first.path().join("none"), first.path().into(), second.path().into()];
        assert_eq!(directory(&roots, "registry.example").unwrap(), Some(first.path().join("_default")));
        fs::write(first.path().join("file"), "").unwrap();
        let error = directory(&[first.path().join("file")], "registry.example").unwrap_err();
        assert_eq!(error.code(), Code("hosts-unreadable"));
    }

    #[test]
    fn dockers_certificates_are_read_where_there_is_no_file_of_hosts() {
        let root = root(&["sub.crt"]);
        for name in ["b.crt", "a.crt", "c.cert", "c.key", "other.key", "notes.txt"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        let entry = dockers(root.path()).unwrap();
        assert_eq!(entry.ca, [Path::new("a.crt"), Path::new("b.crt")]);
        assert_eq!(entry.client, Some(("c.cert".into(), Some("c.key".into()))));
        fs::write(root.path().join("d.cert"), "").unwrap();
        assert_eq!(dockers(root.path()).unwrap_err().code(), Code("hosts-invalid"));
    }

    #[test]
    fn what_cannot_be_used_is_an_error_and_a_change_is_seen() {
        let root = root(&[]);
        let write = |text: &str| fs::write(root.path().join(HOSTS_FILE), text).unwrap();
        let code = || read(root.path()).err().map(|error| error.code());
        write("server = \"https://o.example\"");
        let found = read(root.path()).unwrap();
        assert!(found.seen.is_current());
        write("server = 1");
        assert!(!found.seen.is_current());
        assert_eq!(code(), Some(Code("hosts-invalid")));
        write("ca = \"ca.pem\"");
        assert_eq!(code(), Some(Code("hosts-unreadable")));
        fs::write(root.path().join("ca.pem"), "no certificate").unwrap();
        assert_eq!(code(), Some(Code("hosts-invalid")));
        write("client = \"ca.pem\"");
        assert_eq!(code(), Some(Code("hosts-invalid")));
        write(&" ".repeat(usize::try_from(MAX_HOSTS_FILE).unwrap() + 1));
        assert_eq!(code(), Some(Code("hosts-unreadable")));
    }
}
