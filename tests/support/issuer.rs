//! An authority that issues certificates for signing, and says later which of them it has revoked: made anew for every test,
//! with `openssl`, which must be installed.
//!
//! Its certificates name an OCSP responder and a CRL at addresses of their own, so that one can be revoked and the next not.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "an issuer that fails ends the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use pratique::config::NotationDir;
use tempfile::TempDir;

/// What the issuer says about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Good,
    Revoked,
    Unknown,
}

pub struct Issuer {
    folder: TempDir,
    /// The names of the certificates. The first has the serial number 0x1001.
    issued: Vec<String>,
}

impl Issuer {
    pub fn new() -> Self {
        let issuer = Self { folder: tempfile::tempdir().unwrap(), issued: Vec::new() };
        let config = "[name]\n[req]\ndistinguished_name = name\n[root]\nbasicConstraints = critical,CA:TRUE\n\
                      keyUsage = critical,keyCertSign,cRLSign,digitalSignature\n[ca]\ndefault_ca = own\n[own]\n\
                      database = index\ncrlnumber = number\ndefault_md = sha256\n";
        issuer.write("config", config);
        issuer.write("index.attr", "unique_subject = no\n");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config config -days 2";
        let subject = "-subj /C=US/ST=WA/O=Acme/CN=issuer -extensions root -keyout issuer.key -out issuer.pem";
        issuer.openssl(&format!("req -x509 {key} {subject}"));
        issuer
    }

    /// Issues a certificate for a key of this type, `rsa-2048` to `ec-521`, and gives both to a notation directory under this
    /// name.
    pub fn issue(&mut self, name: &str, key_type: &str, directory: &Path) {
        self.issued.push(name.to_owned());
        let key = match key_type.split_once('-') {
            Some(("rsa", bits)) => format!("rsa:{bits}"),
            Some((_, bits)) => format!("ec -pkeyopt ec_paramgen_curve:P-{bits}"),
            None => panic!("{key_type} is no type of key"),
        };
        let subject = format!("-subj /C=US/ST=WA/O=Acme/CN={name} -keyout {name}.key -out request");
        self.openssl(&format!("req -new -newkey {key} -nodes -config config {subject}"));
        let extensions = format!(
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n\
             authorityInfoAccess=OCSP;URI:{}\ncrlDistributionPoints=URI:{}\n",
            Self::ocsp_url(name),
            Self::crl_url(name)
        );
        self.write("extensions", &extensions);
        let serial = self.serial(name);
        let issuer = format!("-CA issuer.pem -CAkey issuer.key -set_serial 0x{serial} -days 2");
        self.openssl(&format!("x509 -req -in request {issuer} -extfile extensions -out {name}.pem"));
        let chain = format!("{}{}", self.read(&format!("{name}.pem")), self.read("issuer.pem"));
        let file = format!("{name}.chain.pem");
        self.write(&file, &chain);
        let (key, chain) = (self.path(&format!("{name}.key")), self.path(&file));
        NotationDir::new(directory.to_path_buf()).add_signing_key(name, &key, &chain, false).unwrap();
    }

    /// Puts the root certificate into the trust store `ca:NAME` of a notation directory.
    pub fn trust(&self, name: &str, directory: &Path) {
        let store = directory.join("truststore/x509/ca").join(name);
        fs::create_dir_all(&store).unwrap();
        fs::copy(self.path("issuer.pem"), store.join("issuer.pem")).unwrap();
    }

    pub fn ocsp_url(name: &str) -> String {
        format!("http://ocsp.pratique.example/{name}/")
    }

    pub fn crl_url(name: &str) -> String {
        format!("http://crl.pratique.example/{name}.crl")
    }

    /// An OCSP response about one certificate, good for a day.
    pub fn ocsp(&self, name: &str, standing: Standing) -> Vec<u8> {
        self.write("index", &self.entry(name, standing));
        let signer = "-index index -CA issuer.pem -rsigner issuer.pem -rkey issuer.key -ndays 1";
        self.openssl(&format!("ocsp -issuer issuer.pem -cert {name}.pem -no_nonce -reqout question"));
        self.openssl(&format!("ocsp {signer} -reqin question -respout response"));
        fs::read(self.path("response")).unwrap()
    }

    /// A list with this number on which these certificates stand, good until this time.
    pub fn crl(&self, number: u32, revoked: &[&str], until: Timestamp) -> Vec<u8> {
        let entries: String = revoked.iter().map(|name| self.entry(name, Standing::Revoked)).collect();
        self.write("index", &entries);
        self.write("number", &format!("{number:04}\n"));
        let until = until.strftime("%Y%m%d%H%M%SZ");
        let times = format!("-crl_lastupdate 20260101000000Z -crl_nextupdate {until}");
        self.openssl(&format!("ca -gencrl -config config -cert issuer.pem -keyfile issuer.key {times} -out list.pem"));
        self.openssl("crl -in list.pem -outform DER -out list.der");
        fs::read(self.path("list.der")).unwrap()
    }

    /// The line of OpenSSL's database about a certificate.
    fn entry(&self, name: &str, standing: Standing) -> String {
        let serial = self.serial(name);
        match standing {
            Standing::Good => format!("V\t991231235959Z\t\t{serial}\tunknown\t/CN=x\n"),
            Standing::Revoked => format!("R\t991231235959Z\t260201000000Z,keyCompromise\t{serial}\tunknown\t/CN=x\n"),
            Standing::Unknown => String::new(),
        }
    }

    fn serial(&self, name: &str) -> String {
        let place = self.issued.iter().position(|issued| issued == name).expect("it was issued");
        format!("{:04X}", 0x1001 + place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split(' ')).current_dir(self.folder.path()).output();
        let output = output.expect("`openssl` is installed");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
