//! A folder laid out as the Notary Project's tool has it: keys, trust stores and the trust policy.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::node::Image;
use crate::tools::{own, run, succeed, text, tool};

pub struct Notation {
    /// `notation` looks for a folder `notation` in here.
    home: PathBuf,
    /// What both tools have in their environment beside that.
    environment: Vec<(&'static str, String)>,
}

impl Notation {
    pub fn new(home: &Path) -> Self {
        fs::create_dir_all(home.join("notation")).expect("the folder can be made");
        Self { home: home.to_owned(), environment: Vec::new() }
    }

    /// Sets a variable for all further runs of both tools.
    pub fn set(&mut self, variable: &'static str, value: String) {
        self.environment.retain(|(known, _)| *known != variable);
        self.environment.push((variable, value));
    }

    pub fn dir(&self) -> PathBuf {
        self.home.join("notation")
    }

    /// Makes a key with a self-signed certificate, `CN=NAME`, which the trust store `ca:NAME` of this folder then holds.
    pub fn generate(&self, name: &str) {
        self.generate_key(name, "ec-256");
    }

    /// The same, with a key of this type: `rsa-2048` to `ec-521`.
    pub fn generate_key(&self, name: &str, key_type: &str) {
        succeed(self.pratique(&["cert", "generate-test", name]).args(["--key-type", key_type]));
    }

    /// The same, made by the Notary Project's own tool.
    pub fn generate_with_notation(&self, name: &str) {
        succeed(self.notation().args(["cert", "generate-test", name]));
    }

    pub fn sign(&self, image: &Image, key: &str, options: &[&str]) {
        succeed(self.pratique(&["sign", &image.by_digest()]).args(["--key", key]).args(options));
    }

    pub fn sign_with_notation(&self, image: &Image, key: &str, options: &[&str]) {
        let mut notation = self.notation();
        notation.args(["sign", "--insecure-registry", "--key", key]).args(options);
        succeed(notation.arg(image.by_digest()));
    }

    /// Makes this certificate a trust anchor in `tsa:NAME`.
    pub fn trust_authority(&self, name: &str, root: &Path) {
        let store = self.dir().join("truststore/x509/tsa").join(name);
        fs::create_dir_all(&store).expect("the trust store can be made");
        fs::copy(root, store.join("root.pem")).expect("the trust store can be written");
    }

    /// Asks `pratique verify`, which reads the same policy as the daemon does.
    pub fn verify(&self, image: &Image) -> Output {
        run(self.pratique(&["verify", &image.by_digest()]).args(["--output", "json"]))
    }

    /// Asks the Notary Project's own tool.
    pub fn verify_with_notation(&self, image: &Image, options: &[&str]) -> Output {
        let mut notation = self.notation();
        notation.args(["verify", "--insecure-registry", "-v"]).args(options);
        run(notation.arg(image.by_digest()))
    }

    /// The code that `pratique verify` answers with.
    pub fn verdict(&self, image: &Image) -> String {
        let output = self.verify(image);
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
        document["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Puts a policy into force, at one stroke: whoever reads it sees the old one or the new one.
    pub fn set_policy(&self, policy: &str) {
        let new = self.dir().join("trustpolicy.new");
        fs::write(&new, policy).expect("the policy can be written");
        fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("the policy's mode can be set");
        fs::rename(new, self.dir().join("trustpolicy.json")).expect("the policy can be put in place");
    }

    fn pratique(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(own("pratique"));
        command.args(arguments).arg("--notation-dir").arg(self.dir());
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command
    }

    fn notation(&self) -> Command {
        let mut command = Command::new(tool("notation"));
        command.env("XDG_CONFIG_HOME", &self.home).env("XDG_CACHE_HOME", &self.home);
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command
    }
}

/// A strict policy of one statement, for the repositories in `scope` and the anchors of `ca:STORE`.
pub fn policy(scope: &str, store: &str, identity: &str) -> String {
    policy_of(scope, &[format!("ca:{store}")], identity)
}

fn policy_of(scope: &str, stores: &[String], identity: &str) -> String {
    let statement = json!({
        "name": "demo",
        "registryScopes": [scope],
        "signatureVerification": { "level": "strict" },
        "trustStores": stores,
        "trustedIdentities": [identity],
    });
    json!({ "version": "1.0", "trustPolicies": [statement] }).to_string()
}

/// Trusts whoever has a certificate below `ca:STORE`, for every repository.
pub fn trusting(store: &str) -> String {
    policy("*", store, "*")
}

/// The same, where the authorities in `tsa:AUTHORITY` vouch for the time of signing.
pub fn trusting_stamped(store: &str, authority: &str) -> String {
    policy_of("*", &[format!("ca:{store}"), format!("tsa:{authority}")], "*")
}

/// The identity of a test certificate for NAME.
pub fn identity(name: &str) -> String {
    format!("x509.subject: C=US, ST=WA, L=Seattle, O=Notary, CN={name}")
}
