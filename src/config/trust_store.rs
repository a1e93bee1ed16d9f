//! A directory of certificates, as trust anchors.
//!
//! One file that is not what it should be fails the whole store: an anchor that is silently left out denies images
//! without a reason, and one that is silently taken in admits what nobody meant to admit. What is ignored is ignored on
//! purpose: sub-directories, as the specification asks, and names that begin with a dot, which version control and
//! editors leave behind.
//!
//! Follows the Notary trust policy specification, "Trust Store". The reference implementation reads files of every name
//! and fails on sub-directories; here the specification decides, except that a file which is no certificate is named
//! rather than passed over.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use super::file::{self, FileError};
use crate::pki::Certificate;
use crate::policy::{StoreProblem, TrustStore};
use crate::remedy::{Code, one_line};

/// The largest certificate file, in bytes. Mozilla's whole list of roots is a quarter of it.
const MAX_FILE_SIZE: u64 = 1024 * 1024;
/// The most entries of a trust store's directory, and the most anchors in them. Mozilla's list has about 150.
const MAX_ANCHORS: usize = 1000;
/// The extensions of certificate files (specification, "Trust Store"), in any case: Windows writes `.CER`.
const EXTENSIONS: [&str; 3] = ["pem", "crt", "cer"];

/// Where the commands look for trust stores unless they are told otherwise.
const USUAL_DIRECTORY: &str = "/etc/pratique";

/// The anchors in a trust store's directory, in the order of the files' names. At least one.
pub fn load(directory: &Path, store: &TrustStore) -> Result<Vec<Certificate>, StoreProblem> {
    let loading = Loading { directory, store };
    loading.check_directory()?;
    let mut anchors = Vec::new();
    for path in loading.certificate_files()? {
        anchors.extend(loading.read_anchors(&path)?);
        if anchors.len() > MAX_ANCHORS {
            return Err(loading.too_large(&format!("holds more than {MAX_ANCHORS} certificates")));
        }
    }
    if anchors.is_empty() { Err(loading.empty()) } else { Ok(anchors) }
}

/// Whether a trust store takes a file of this name for a certificate's: it has a known extension and is not hidden.
pub fn is_certificate_file_name(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    !name.as_encoded_bytes().starts_with(b".") && EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The store being loaded, for the messages.
pub(super) struct Loading<'a> {
    pub(super) directory: &'a Path,
    pub(super) store: &'a TrustStore,
}

impl Loading<'_> {
    pub(super) fn check_directory(&self) -> Result<(), StoreProblem> {
        let metadata = match fs::symlink_metadata(self.directory) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing()),
            Err(error) => return Err(self.unreadable(self.directory, &error.into())),
        };
        if metadata.is_symlink() {
            return Err(self.symlink(self.directory));
        }
        if !metadata.is_dir() {
            let what = format!("is not a directory: {}", self.directory.display());
            return Err(self.problem(
                Code("trust-store-not-a-directory"),
                &what,
                "make it a directory of certificates".into(),
            ));
        }
        Ok(())
    }

    /// The files to read, sorted by name.
    fn certificate_files(&self) -> Result<Vec<PathBuf>, StoreProblem> {
        let files = self.entries()?.into_iter().filter_map(|entry| self.certificate_file(&entry).transpose());
        let mut files = files.collect::<Result<Vec<_>, _>>()?;
        files.sort_unstable();
        Ok(files)
    }

    /// What stands in the directory.
    pub(super) fn entries(&self) -> Result<Vec<DirEntry>, StoreProblem> {
        let unreadable = |error: io::Error| self.unreadable(self.directory, &error.into());
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.directory).map_err(unreadable)? {
            if entries.len() >= MAX_ANCHORS {
                return Err(self.too_large(&format!("has more than {MAX_ANCHORS} entries")));
            }
            entries.push(entry.map_err(unreadable)?);
        }
        Ok(entries)
    }

    /// The path of a certificate file, or nothing for what is ignored.
    pub(super) fn certificate_file(&self, entry: &DirEntry) -> Result<Option<PathBuf>, StoreProblem> {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            return Ok(None);
        }
        let kind = entry.file_type().map_err(|error| self.unreadable(&path, &error.into()))?;
        if kind.is_symlink() {
            return Err(self.symlink(&path));
        }
        if kind.is_dir() {
            tracing::warn!(store = %self.store, directory = %path.display(), "ignored a directory in a trust store");
            return Ok(None);
        }
        if !kind.is_file() || !is_certificate_file_name(&entry.file_name()) {
            return Err(self.foreign(&path));
        }
        Ok(Some(path))
    }

    /// The certificates of a file, each of which may be an anchor here.
    pub(super) fn read_anchors(&self, path: &Path) -> Result<Vec<Certificate>, StoreProblem> {
        let certificates = self.read_certificates(path)?;
        certificates.iter().try_for_each(|certificate| self.check_anchor(certificate, path))?;
        Ok(certificates)
    }

    fn read_certificates(&self, path: &Path) -> Result<Vec<Certificate>, StoreProblem> {
        let bytes = file::read(path, MAX_FILE_SIZE).map_err(|error| match error {
            FileError::SymbolicLink => self.symlink(path),
            FileError::NotAFile => self.foreign(path),
            FileError::TooLarge(limit) => {
                self.too_large(&format!("has a file of more than {limit} bytes, {}", path.display()))
            }
            error => self.unreadable(path, &error),
        })?;
        Certificate::read_all(&bytes).map_err(|error| {
            let what = format!("has a file that is no certificate, {}: {}", path.display(), one_line(&error));
            let remedy = "replace it by the certificate, as PEM or DER";
            self.problem(Code("trust-store-not-a-certificate"), &what, remedy.into())
        })
    }

    fn check_anchor(&self, certificate: &Certificate, path: &Path) -> Result<(), StoreProblem> {
        let Some(fault) = self.store.kind().fault_of(certificate) else { return Ok(()) };
        let subject = certificate.subject();
        let what = format!("has a certificate that is {fault}, `{subject}` in {}", path.display());
        Err(self.problem(
            Code("trust-store-not-an-anchor"),
            &what,
            "put the issuing root certificate in its place".into(),
        ))
    }

    fn missing(&self) -> StoreProblem {
        let what = format!("does not exist: there is no {}", self.directory.display());
        self.problem(StoreProblem::MISSING, &what, self.how_to_add())
    }

    pub(super) fn empty(&self) -> StoreProblem {
        let what = format!("has no certificate in {}", self.directory.display());
        self.problem(StoreProblem::EMPTY, &what, self.how_to_add())
    }

    fn symlink(&self, path: &Path) -> StoreProblem {
        let what = format!("has a symbolic link, {}", path.display());
        self.problem(Code("trust-store-symlink"), &what, "put what it points to in the place of the link".into())
    }

    fn foreign(&self, path: &Path) -> StoreProblem {
        let what = format!("has a file that is no certificate file, {}", path.display());
        self.problem(
            Code("trust-store-foreign-file"),
            &what,
            "remove it, or name a certificate .pem, .crt or .cer".into(),
        )
    }

    fn unreadable(&self, path: &Path, error: &FileError) -> StoreProblem {
        let what = format!("cannot be read at {}: {}", path.display(), one_line(error));
        self.problem(
            Code("trust-store-unreadable"),
            &what,
            "make it readable for the user that pratique runs as".into(),
        )
    }

    fn too_large(&self, what: &str) -> StoreProblem {
        let remedy = format!("keep in {} only the roots that this policy needs", self.directory.display());
        self.problem(Code("trust-store-too-large"), what, remedy)
    }

    fn how_to_add(&self) -> String {
        let (kind, name) = (self.store.kind(), self.store.name());
        format!("run `pratique cert add --type {kind} --store {name}{} ROOT.pem`", self.elsewhere())
    }

    /// The argument that makes a command find this store: none where it lies in the directory that commands read anyway.
    fn elsewhere(&self) -> String {
        // `DIR/truststore/x509/TYPE/NAME`
        let above = |levels| self.directory.ancestors().nth(levels);
        match (above(3).and_then(Path::file_name), above(4)) {
            (Some(stores), Some(directory)) if stores == "truststore" && directory != Path::new(USUAL_DIRECTORY) => {
                format!(" --notation-dir {}", directory.display())
            }
            _ => String::new(),
        }
    }

    fn problem(&self, code: Code, what: &str, remedy: String) -> StoreProblem {
        StoreProblem::new(code, format!("the trust store `{}` {what}", self.store), Some(remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NotationDir;
    use crate::remedy::Remedy;
    use std::os::unix::fs::symlink;

    fn store(text: &str) -> TrustStore {
        text.parse().unwrap()
    }

    /// A store of the shared vectors; `set` is what a notation directory calls `truststore`.
    fn vector(set: &str, name: &str) -> Result<Vec<Certificate>, StoreProblem> {
        let store = store(name);
        let directory = format!("tests/vectors/truststores/{set}/x509/{}/{}", store.kind(), store.name());
        load(Path::new(&directory), &store)
    }

    /// A store of kind `ca` in a directory of its own.
    struct Made(tempfile::TempDir);

    impl Made {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
            fs::write(self.0.path().join(name), content).unwrap();
            self
        }

        fn with_root(self, name: &str) -> Self {
            self.with(name, root())
        }

        fn load(&self) -> Result<Vec<Certificate>, StoreProblem> {
            load(self.0.path(), &store("ca:made"))
        }

        fn code(&self) -> &'static str {
            self.load().unwrap_err().code().as_str()
        }
    }

    fn root() -> Vec<u8> {
        fs::read("tests/vectors/truststores/acme/x509/ca/acme-rockets/p256-root.pem").unwrap()
    }

    #[test]
    fn the_shared_stores_hold_the_anchors_that_they_should() {
        for (set, name, count) in [
            ("acme", "ca:acme-rockets", 6),
            ("dn", "ca:dn", 5),
            ("intermediate-only", "ca:acme-rockets", 1),
            ("other-name", "ca:wabbit", 1),
            ("pathlen", "ca:acme-rockets", 1),
            ("revocation", "ca:acme-rockets", 1),
            ("selfsigned", "ca:acme-rockets", 1),
            ("signing-authority", "signingAuthority:acme-sa", 1),
            ("stranger", "ca:acme-rockets", 1),
            ("subdir", "ca:acme-rockets", 1),
            ("symlinked", "ca:elsewhere", 1),
            ("timestamp", "tsa:acme-tsa", 1),
        ] {
            assert_eq!(vector(set, name).map(|anchors| anchors.len()), Ok(count), "{set} {name}");
        }
    }

    #[test]
    fn a_store_without_a_certificate_is_a_problem() {
        assert_eq!(vector("acme", "ca:none").unwrap_err().code(), Code("trust-store-missing"));
        assert_eq!(vector("symlinked", "ca:acme-rockets").unwrap_err().code(), Code("trust-store-empty"));
        assert_eq!(Made::new().with(".gitkeep", "").code(), "trust-store-empty");
        let problem = vector("acme", "ca:none").unwrap_err();
        assert!(problem.to_string().contains("truststores/acme/x509/ca/none"), "{problem}");
        assert_eq!(problem.remedy().unwrap(), "run `pratique cert add --type ca --store none ROOT.pem`");
    }

    #[test]
    fn the_remedy_names_the_directory_where_it_is_not_the_usual_one() {
        let remedy = |directory: &str| {
            let store = store("tsa:none");
            let directory = NotationDir::new(directory.into()).trust_store(&store);
            Loading { directory: &directory, store: &store }.missing().remedy().unwrap()
        };
        assert_eq!(remedy("/etc/pratique"), "run `pratique cert add --type tsa --store none ROOT.pem`");
        let elsewhere =
            "run `pratique cert add --type tsa --store none --notation-dir /root/.config/notation ROOT.pem`";
        assert_eq!(remedy("/root/.config/notation"), elsewhere);
    }

    #[test]
    fn a_link_fails_the_store_wherever_it_stands() {
        let real = Made::new().with_root("root.pem");
        assert_eq!(real.load().map(|anchors| anchors.len()), Ok(1));
        let around = tempfile::tempdir().unwrap();
        let link = around.path().join("linked");
        symlink(real.0.path(), &link).unwrap();
        assert_eq!(load(&link, &store("ca:linked")).unwrap_err().code(), Code("trust-store-symlink"));
        symlink(real.0.path().join("root.pem"), real.0.path().join("again.pem")).unwrap();
        assert_eq!(real.code(), "trust-store-symlink");
        let dangling = Made::new();
        symlink("nowhere", dangling.0.path().join("root.pem")).unwrap();
        assert_eq!(dangling.code(), "trust-store-symlink");
    }

    #[test]
    fn hidden_names_and_directories_are_ignored_and_a_foreign_file_is_not() {
        let made = Made::new().with_root("root.CRT").with(".gitkeep", "");
        fs::create_dir(made.0.path().join("old.pem")).unwrap();
        assert_eq!(made.load().map(|anchors| anchors.len()), Ok(1));
        let made = made.with("README", "roots of acme");
        assert_eq!(made.code(), "trust-store-foreign-file");
        let path = made.0.path().join("README");
        assert!(made.load().unwrap_err().to_string().contains(path.to_str().unwrap()));
    }

    #[test]
    fn a_file_that_only_looks_like_a_certificate_fails_the_store() {
        let key = fs::read("tests/vectors/chains/p256/leaf.key").unwrap();
        for content in [Vec::new(), b"not a certificate".to_vec(), key] {
            let made = Made::new().with_root("a.pem").with("b.pem", content);
            assert_eq!(made.code(), "trust-store-not-a-certificate");
        }
    }

    #[test]
    fn an_anchor_vouches_for_others_or_for_itself() {
        // The leaf stands first in the file.
        let chain = fs::read("tests/vectors/chains/p256/chain.pem").unwrap();
        assert_eq!(Made::new().with("chain.crt", chain).code(), "trust-store-not-an-anchor");
        // An intermediate may stand in a `ca` store, and not in a `tsa` store.
        let intermediate = Path::new("tests/vectors/truststores/intermediate-only/x509/ca/acme-rockets");
        assert!(load(intermediate, &store("ca:acme-rockets")).is_ok());
        let problem = load(intermediate, &store("tsa:acme-rockets")).unwrap_err();
        assert_eq!(problem.code(), Code("trust-store-not-an-anchor"));
    }

    #[test]
    fn a_store_is_bounded_and_a_file_is_no_store() {
        let large = Made::new().with("a.pem", vec![b'\n'; 1024 * 1024 + 1]);
        assert_eq!(large.code(), "trust-store-too-large");
        let many = (0..=MAX_ANCHORS).fold(Made::new(), |made, at| made.with(&format!(".{at}"), ""));
        assert_eq!(many.code(), "trust-store-too-large");
        let file = Made::new().with("store", "");
        let problem = load(&file.0.path().join("store"), &store("ca:store")).unwrap_err();
        assert_eq!(problem.code(), Code("trust-store-not-a-directory"));
        let problem = load(&file.0.path().join("store/inside"), &store("ca:store")).unwrap_err();
        assert_eq!(problem.code(), Code("trust-store-unreadable"));
    }

    #[test]
    fn a_whole_notation_directory_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        fs::copy("tests/vectors/policies/strict.json", directory.path().join("trustpolicy.json")).unwrap();
        let stores = directory.path().join("truststore/x509/ca/acme-rockets");
        fs::create_dir_all(&stores).unwrap();
        fs::write(stores.join("root.pem"), root()).unwrap();
        let trust = NotationDir::new(directory.path().to_owned()).load_trust().unwrap();
        assert_eq!(trust.problems().count(), 0);
        assert_eq!(trust.anchors(&store("ca:acme-rockets")).map(<[_]>::len), Ok(1));
    }
}
