//! A time-stamp authority in this process: OpenSSL behind HTTP, which misbehaves on request.
//!
//! It has a root, and below it the certificate that stamps. Both are made anew for every test, with `openssl`, which must be
//! installed.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "an authority that fails ends the test")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;

/// How the authority answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Honest,
    /// With this status.
    Status(u16),
    /// With a stamp, as another type.
    OtherType,
    /// With bytes of the right type that never end.
    Endless,
    /// With the first answer that it ever gave.
    Replaying,
    /// With nonsense of the right type.
    Babbling,
}

pub struct TimestampAuthority {
    folder: Arc<tempfile::TempDir>,
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
}

#[derive(Clone)]
struct Desk {
    folder: Arc<tempfile::TempDir>,
    manner: Arc<Mutex<Manner>>,
    first: Arc<Mutex<Option<Vec<u8>>>>,
}

impl TimestampAuthority {
    /// An authority that is exact to the second and stamps every kind of hash that Notary knows.
    pub fn start() -> Self {
        Self::with("")
    }

    /// The same, with further lines in the section of OpenSSL's configuration, such as `accuracy = secs:60`.
    pub fn with(lines: &str) -> Self {
        Self::made(lines, "")
    }

    /// The same, whose certificate names a list on which it would stand if it were revoked: [`Self::crl`].
    pub fn revocable(url: &str) -> Self {
        Self::made("", &format!("crlDistributionPoints = URI:{url}"))
    }

    fn made(lines: &str, extensions: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        make(folder.path(), lines, extensions);
        let manner = Arc::new(Mutex::new(Manner::Honest));
        let desk = Desk { folder: folder.clone(), manner: manner.clone(), first: Arc::default() };
        // A runtime of its own, so that tests which wait for programs can have an authority, too.
        let (announce, announced) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                announce.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, Router::new().route("/tsr", post(answer)).with_state(desk)).await.unwrap();
            });
        });
        Self { folder, address: announced.recv().unwrap(), manner }
    }

    pub fn url(&self) -> String {
        format!("http://{}/tsr", self.address)
    }

    /// The list of what the root has revoked: nothing, or the certificate that stamps.
    pub fn crl(&self, is_revoked: bool) -> Vec<u8> {
        let folder = self.folder.path();
        let entry = "R\t991231235959Z\t260201000000Z,keyCompromise\t77\tunknown\t/CN=x\n";
        fs::write(folder.join("index"), if is_revoked { entry } else { "" }).unwrap();
        fs::write(folder.join("number"), "01\n").unwrap();
        let issuer = "-config config -cert root.pem -keyfile root.key -crldays 1";
        openssl(folder, &format!("ca -gencrl {issuer} -out list.pem"));
        openssl(folder, "crl -in list.pem -outform DER -out list.der");
        fs::read(folder.join("list.der")).unwrap()
    }

    /// The file with its root certificate.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// The file with the certificate that stamps.
    pub fn stamper(&self) -> PathBuf {
        self.folder.path().join("stamper.pem")
    }

    pub fn becomes(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

async fn answer(State(desk): State<Desk>, headers: HeaderMap, query: Bytes) -> Response {
    let manner = *desk.manner.lock().unwrap();
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/timestamp-query") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let reply = |body: Body| ([(header::CONTENT_TYPE, "application/timestamp-reply")], body).into_response();
    match manner {
        Manner::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Manner::Babbling => return reply(Body::from("time is an illusion")),
        Manner::Endless => {
            let piece = || Ok::<_, std::io::Error>(Bytes::from(vec![0x30; 16 * 1024]));
            return reply(Body::from_stream(tokio_stream::iter(std::iter::repeat_with(piece))));
        }
        Manner::Honest | Manner::OtherType | Manner::Replaying => {}
    }
    let fresh = stamp(desk.folder.path(), &query);
    let first = desk.first.lock().unwrap().get_or_insert_with(|| fresh.clone()).clone();
    match manner {
        Manner::Replaying => reply(Body::from(first)),
        Manner::OtherType => ([(header::CONTENT_TYPE, "text/html")], fresh).into_response(),
        _ => reply(Body::from(fresh)),
    }
}

fn make(folder: &Path, lines: &str, extensions: &str) {
    let config = format!(
        "
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[stamper]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
{extensions}
[ca]
default_ca = own
[own]
database = index
crlnumber = number
default_md = sha256
[authority]
serial = serial
default_policy = 1.2.3.4
signer_digest = sha256
ess_cert_id_alg = sha256
digests = {}
{lines}
",
        if lines.contains("digests") { "sha256" } else { "sha256,sha384,sha512" }
    );
    fs::write(folder.join("config"), config).unwrap();
    fs::write(folder.join("serial"), "01\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config config -days 2";
    openssl(
        folder,
        &format!("req -x509 {key} -subj /O=Clocks/CN=root -extensions root -keyout root.key -out root.pem"),
    );
    let issuer = "-CA root.pem -CAkey root.key -set_serial 0x77";
    let subject = "-subj /O=Clocks/CN=stamper -extensions stamper -keyout stamper.key -out stamper.pem";
    openssl(folder, &format!("req -x509 {key} {issuer} {subject}"));
}

fn stamp(folder: &Path, query: &[u8]) -> Vec<u8> {
    let (asked, answered) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    fs::write(asked.path(), query).unwrap();
    let files = format!("-queryfile {} -out {}", asked.path().display(), answered.path().display());
    let signer = "-signer stamper.pem -inkey stamper.key";
    openssl(folder, &format!("ts -reply -config config -section authority {signer} {files}"));
    fs::read(answered.path()).unwrap()
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("`openssl` is installed");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
