//! The real `notation`, asked about one signature in an image layout.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use pratique::oci::{Descriptor, media_type};
use serde_json::json;
use tempfile::TempDir;

use super::{REPOSITORY, Stores};

pub struct Peer {
    directory: TempDir,
    program: PathBuf,
    artifact: Descriptor,
    subject: Vec<u8>,
    asked: AtomicUsize,
}

impl Peer {
    pub fn new(artifact: &Descriptor, subject: &[u8]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/notation");
        assert!(program.is_file(), "{} is missing: run `make tools`", program.display());
        let directory = tempfile::tempdir().unwrap();
        Self { directory, program, artifact: artifact.clone(), subject: subject.to_vec(), asked: AtomicUsize::new(0) }
    }

    /// Makes a trust store of these certificates.
    pub fn store<'a>(&self, name: &str, certificates: impl Iterator<Item = &'a Vec<u8>>) {
        let folder = self.directory.path().join("truststore/x509").join(name);
        fs::create_dir_all(&folder).unwrap();
        for (number, der) in certificates.enumerate() {
            fs::write(folder.join(format!("{number}.crt")), der).unwrap();
        }
    }

    /// The stores, as our program reads them.
    pub fn stores(&self) -> Stores {
        let policy = json!({"version": "1.0", "trustPolicies": [{"name": "all", "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"}, "trustedIdentities": ["*"],
            "trustStores": ["ca:all", "ca:other", "signingAuthority:all", "ca:absent"]}]});
        fs::write(self.directory.path().join("trustpolicy.json"), policy.to_string()).unwrap();
        super::stores_below(self.directory.path())
    }

    /// Whether `notation verify` ends with 0.
    pub fn admits(&self, policy: &str, media_type: &str, envelope: &[u8]) -> bool {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let place = self.directory.path().join(format!("case-{number}"));
        let configuration = place.join("notation");
        fs::create_dir_all(&configuration).unwrap();
        let stores = self.directory.path().join("truststore");
        std::os::unix::fs::symlink(stores, configuration.join("truststore")).unwrap();
        let policy_file = configuration.join("trustpolicy.json");
        fs::write(&policy_file, policy).unwrap();
        fs::set_permissions(policy_file, Permissions::from_mode(0o600)).unwrap();
        let layout = place.join("layout");
        self.lay_out(&layout, media_type, envelope);
        let output = Command::new(&self.program)
            .args(["verify", "--oci-layout", "--scope", REPOSITORY])
            .arg(format!("{}@{}", layout.display(), self.artifact.digest))
            .envs([("XDG_CONFIG_HOME", &place), ("XDG_CACHE_HOME", &place)])
            .env("NOTATION_EXPERIMENTAL", "1")
            .output()
            .unwrap();
        fs::remove_dir_all(place).unwrap();
        output.status.success()
    }

    fn lay_out(&self, layout: &Path, envelope_type: &str, envelope: &[u8]) {
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |media_type: &str, bytes: &[u8]| {
            let descriptor = Descriptor::of(media_type, bytes);
            fs::write(blobs.join(descriptor.digest.hex()), bytes).unwrap();
            json!({"mediaType": media_type, "digest": descriptor.digest.to_string(), "size": descriptor.size})
        };
        let subject = put(media_type::IMAGE_MANIFEST, &self.subject);
        let signature = json!({
            "schemaVersion": 2,
            "mediaType": media_type::IMAGE_MANIFEST,
            "config": put("application/vnd.cncf.notary.signature", b"{}"),
            "layers": [put(envelope_type, envelope)],
            "subject": subject,
        });
        let signature = put(media_type::IMAGE_MANIFEST, signature.to_string().as_bytes());
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": [subject, signature]});
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
    }
}
