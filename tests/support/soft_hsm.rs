//! Tokens in software: `SoftHSM`, with a folder and a configuration of its own for each test.
//!
//! Its tools come from `.tools`; OpenSSL's library, which the module needs, is the system's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a token that cannot be made ends the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user's PIN of every token.
pub const PIN: &str = "271828";

pub struct SoftHsm {
    folder: tempfile::TempDir,
}

impl SoftHsm {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let configuration =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        fs::write(folder.path().join("softhsm2.conf"), configuration).unwrap();
        Self { folder }
    }

    /// With one token of this label.
    pub fn with_token(label: &str) -> Self {
        let hsm = Self::new();
        hsm.add_token(label);
        hsm
    }

    pub fn add_token(&self, label: &str) {
        self.util(&["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "314159"]);
    }

    /// The variable that the module finds its tokens by.
    pub fn configuration(&self) -> String {
        self.folder.path().join("softhsm2.conf").display().to_string()
    }

    /// A URI with this path, of this module.
    pub fn uri(path: &str) -> String {
        format!("pkcs11:{path}?module-path={}", module().display())
    }

    /// Puts a key from a PKCS #8 file onto a token.
    pub fn import(&self, token: &str, key: &Path, label: &str, id: &str) {
        let key = key.display().to_string();
        self.util(&["--import", &key, "--token", token, "--label", label, "--id", id, "--pin", PIN]);
    }

    /// Puts a certificate onto a token, from a PEM file with one.
    pub fn put_certificate(&self, token: &str, certificate: &Path, label: &str, id: &str) {
        let der = self.folder.path().join("certificate.der");
        let text = fs::read(certificate).unwrap();
        let certificates = pratique::pki::Certificate::read_all(&text).unwrap();
        fs::write(&der, certificates[0].der()).unwrap();
        let der = der.display().to_string();
        let object = ["--write-object", &der, "--type", "cert", "--label", label, "--id", id];
        self.pkcs11_tool(&[&["--token-label", token, "--login", "--pin", PIN][..], &object].concat());
    }

    fn pkcs11_tool(&self, arguments: &[&str]) {
        let module = module().display().to_string();
        self.run("pkcs11-tool", &[&["--module", &module][..], arguments].concat());
    }

    fn util(&self, arguments: &[&str]) {
        let module = module().display().to_string();
        self.run("softhsm2-util", &[&["--module", &module][..], arguments].concat());
    }

    fn run(&self, tool: &str, arguments: &[&str]) {
        let program = tools().join("bin").join(tool);
        let output = Command::new(&program).args(arguments).env("SOFTHSM2_CONF", self.configuration()).output();
        let output =
            output.unwrap_or_else(|error| panic!("{} (tests/env/tools.sh makes it): {error}", program.display()));
        assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    }
}

pub fn module() -> PathBuf {
    tools().join("root/usr/lib/softhsm/libsofthsm2.so")
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools")
}
