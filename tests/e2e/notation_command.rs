//! Does the program that stands in for `notation` say what `notation` says?
//!
//! Each line of a script is run by both on the same inputs; what they write and their exit statuses are compared byte for
//! byte. Where both have to write, each has a home and a repository of its own, with names of one length.

mod plugins;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pratique::oci::Descriptor;

use crate::node::{Image, Node};
use crate::notation::{identity, policy};
use crate::tools::{own, text, tool};

/// What needs no registry: mistakes in the arguments, and files.
const ALONE: &str = "
version x
completion bash x
--version
bogus
--bogus
--bogus x key list
--bogus=x key list
-x cert list
key --bogus x list
key --bogus list
-- key list
bogus --bogus
bogus --help
--help bogus
-h key
-h key none
-h
versoin
-x
verify
verify --nope
verify x/y:1
verify --max-signatures x a/b:1
verify --scope x a/b:1
list
list x
list --max-signatures 0 x/y:1
list --oci-layout img:v1
inspect -o yaml x/y:1
sign
sign --id x a/b:1
sign --plugin x a/b:1
sign --key a --id x --plugin p a/b:1
sign --key a --plugin p a/b:1
sign -e 1 a/b:1
sign -e abc a/b:1
sign -e
sign -k
sign --timestamp-url x a/b:1
sign --force-referrers-tag=x a/b:1
sign a/b:1
cert add
cert add a
cert add --type ca a
cert add --type ca --store s none
cert add -t xx -s a f
cert show
cert show a
cert show -t ca -s s a b
cert show -t ca -s s a
cert delete
cert delete -t ca -s s --all x
cert delete -t ca -s s -y x
cert delete -t ca -s s --all -y
cert list
cert list x
cert generate-test
cert generate-test -b x x
cert generate-test --default one
cert generate-test two
cert generate-test two
cert list
cert ls -t ca
certificate list -s two
cert delete -t ca -s two two.crt
cert delete -t ca -s two -y two.crt
cert add -t ca -s more none HOME/.config/notation/localkeys/two.crt HOME/.config/notation/localkeys/two.crt
cert delete -t ca -s more -y --all
key list
key update
key update none
key update --default none
key set --default two
key list
key add
key add x
key add --plugin p x
key add --plugin p --id i x
key delete
key delete none one
key delete one two
key delete one
key ls
policy show
policy show x
policy import
policy import a b
policy import none.json
policy import cut-off.json
policy import no-scopes.json
policy import no-stores.json
policy import store.json
policy import identity.json
policy import level.json
policy import scope.json
policy import --force policy.json
policy import skip-all.json
policy import policy.json
policy import policy.json
policy import --force policy.json
policy show
sign --timestamp-url http://x --timestamp-root-cert none a/b:1
sign -k two --timestamp-url= --timestamp-root-cert none a/b:1
sign -k two --timestamp-url x --timestamp-root-cert= a/b:1
sign -k two --timestamp-url x --timestamp-root-cert none a/b:1
sign -k two --timestamp-url http://x --timestamp-root-cert none a/b:1
sign -k two --timestamp-url http://x --timestamp-root-cert policy.json a/b:1
sign -k two --timestamp-url http://x --timestamp-root-cert empty a/b:1
plugin list
plugin install
plugin install --file
plugin install --file x
plugin install --url x
plugin install x
plugin install --file --url x
plugin uninstall
plugin uninstall -y x
login
logout
logout x
";

/// Signing, each with keys of its own in a repository of its own.
const SIGNING: &str = "
sign --insecure-registry --key none IMAGE
sign --insecure-registry REPOSITORY
sign --insecure-registry team
sign --insecure-registry -m a IMAGE
sign --insecure-registry -e -1h IMAGE
sign --insecure-registry -e 1500ms IMAGE
sign --insecure-registry -m io.cncf.notary.x=1 IMAGE
sign --insecure-registry --signature-format pgp IMAGE
sign --insecure-registry REPOSITORY:none
sign --insecure-registry --allow-referrers-api --force-referrers-tag IMAGE
sign --insecure-registry --allow-referrers-api REPOSITORY:v1
sign --insecure-registry REPOSITORY:v1
";

/// Reading, from one repository and one home: nothing differs, and nothing is made alike.
const READING: &str = "
list --insecure-registry IMAGE
list --insecure-registry REPOSITORY:v1
list --insecure-registry --max-signatures 1 IMAGE
list --insecure-registry REPOSITORY:none
list --insecure-registry UNSIGNED
inspect --insecure-registry IMAGE
inspect --insecure-registry -o json IMAGE
inspect --insecure-registry --max-signatures 1 REPOSITORY:v1
inspect --insecure-registry UNSIGNED
inspect --insecure-registry -o json UNSIGNED
cert show -t ca -s one one.crt
verify --insecure-registry IMAGE
verify --insecure-registry REPOSITORY:v1
verify --insecure-registry REPOSITORY
verify --insecure-registry team
verify --insecure-registry -m build=7 IMAGE
verify --insecure-registry -m build=8 IMAGE
verify --insecure-registry --allow-referrers-api IMAGE
list --insecure-registry --allow-referrers-api IMAGE
inspect --insecure-registry --allow-referrers-api -o json IMAGE
verify --insecure-registry -m build IMAGE
verify --insecure-registry --max-signatures 0 IMAGE
verify --insecure-registry REPOSITORY@sha256:0000000000000000000000000000000000000000000000000000000000000000
verify --insecure-registry UNSIGNED
";

#[test]
fn what_needs_no_registry_is_said_alike() {
    let pair = Pair::new();
    pair.write("policy.json", &policy("*", "one", "*"));
    pair.write("cut-off.json", "{");
    pair.write("empty", "");
    for (name, from, to) in [
        ("no-scopes", r#"["*"],"#, "[],"),
        ("no-stores", r#""ca:one""#, ""),
        ("store", "ca:one", "ca:"),
        ("identity", r#"["*"]}"#, r#"["x509.subject: C=US"]}"#),
        ("level", "strict", "loose"),
        ("scope", r#"["*"],"#, r#"["https://registry.example/a"],"#),
    ] {
        let policy = compact(&policy("*", "one", "*"));
        assert!(policy.contains(from), "{policy}");
        pair.write(&format!("{name}.json"), &policy.replacen(from, to, 1));
    }
    let skipping = compact(&policy("*", "one", "*")).replace("strict", "skip");
    pair.write("skip-all.json", &skipping.replace(r#"["ca:one"]"#, "[]").replace(r#"["*"]}"#, "[]}"));
    pair.run_apart(ALONE);
}

#[test]
fn help_has_the_same_usage_and_flags() {
    let pair = Pair::new();
    let commands = [
        "verify",
        "sign",
        "list",
        "inspect",
        "cert",
        "cert add",
        "cert delete",
        "cert list",
        "cert show",
        "cert generate-test",
        "key",
        "key add",
        "key list",
        "key update",
        "key delete",
        "policy",
        "policy show",
        "policy import",
        "plugin",
        "plugin install",
        "plugin list",
        "plugin uninstall",
        "login",
        "logout",
        "version",
        "completion",
        "completion zsh",
        "",
    ];
    for command in commands {
        let line = format!("{command} --help");
        let usage = |said: &str| said.split_once("\nUsage:\n").map(|(_, usage)| usage.to_owned());
        let theirs = usage(&pair.said(&tool("notation"), "a", &line)).expect("a usage");
        assert_eq!(usage(&pair.said(&pair.ours(), "b", &line)), Some(theirs), "{line}");
    }
}

#[test]
fn signing_is_told_alike_and_what_is_signed_is_read_alike() {
    let node = Node::start();
    let image = node.push("signed", "signed");
    let unsigned = node.push("bare", "bare");
    let pair = Pair::new();
    let line = |script: &str, image: &Image| {
        let script = script.replace("IMAGE", &image.by_digest()).replace("REPOSITORY", image.repository());
        script.replace("UNSIGNED", &unsigned.by_digest())
    };
    pair.run_apart("cert generate-test --default one\ncert generate-test two");
    pair.run_apart(&line(SIGNING, &image));
    // Signed by both, in both formats: by the run above, and here.
    let more = line("sign --insecure-registry --signature-format cose -e 24h -m build=7 IMAGE", &image);
    pair.said(&pair.ours(), "a", &more);
    for (level, store, signer) in
        [("strict", "one", "*"), ("strict", "two", "*"), ("audit", "two", "*"), ("audit", "one", &*identity("other"))]
    {
        let policy = policy("*", store, signer).replace("strict", level);
        pair.write(".config/notation/trustpolicy.json", &policy);
        pair.run_together(&line(READING, &image));
    }
    for policy in [
        policy("registry.example/other", "one", "*"),
        policy("*", "none", "*"),
        policy(image.repository(), "one", "*")
            .replace("strict", "skip")
            .replace(r#""ca:one""#, "")
            .replace(r#""*""#, ""),
    ] {
        pair.write(".config/notation/trustpolicy.json", &policy);
        pair.run_together(&line("verify --insecure-registry IMAGE\nverify --insecure-registry REPOSITORY:v1", &image));
    }
}

#[test]
fn what_fails_is_told_with_its_reason_when_that_is_asked_for() {
    let node = Node::start();
    let image = node.push("signed", "signed");
    let pair = Pair::new();
    pair.said(&tool("notation"), "a", "cert generate-test --default one");
    pair.said(&tool("notation"), "a", "cert generate-test two");
    pair.said(&tool("notation"), "a", &format!("sign --insecure-registry {}", image.by_digest()));
    pair.write(".config/notation/trustpolicy.json", &policy("*", "two", "*"));
    let reason = "authenticity validation failed. Failure reason: the signature's certificate chain does not contain any \
                  trusted certificate";
    for (flag, is_told) in [("-v", true), ("--verbose", true), ("-d", true), ("--debug", true), ("-v=false", false)] {
        for program in [tool("notation"), pair.ours()] {
            let said = pair.said(&program, "a", &format!("verify --insecure-registry {flag} {}", image.by_digest()));
            assert_eq!(said.contains(reason), is_told, "{} {flag}: {said}", program.display());
        }
    }
}

/// The certificate names a host that does not exist (`tests/revocation/make.sh`).
#[test]
fn a_standing_that_nobody_tells_is_told_alike() {
    let node = Node::start();
    let image = node.push("signed", "signed");
    let pair = Pair::new();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/revocation");
    let keys = serde_json::json!({"default": "leaf", "keys": [
        {"name": "leaf", "keyPath": files.join("leaf.key"), "certPath": files.join("chain.pem")},
    ]});
    pair.write(".config/notation/signingkeys.json", &keys.to_string());
    let issuer = fs::read_to_string(files.join("issuer.pem")).expect("a certificate");
    pair.write(".config/notation/truststore/x509/ca/issuer/issuer.pem", &issuer);
    pair.said(&pair.ours(), "a", &format!("sign --insecure-registry {}", image.by_digest()));
    let reason = r#"signing certificate with subject "CN=leaf,O=Acme,ST=WA,C=US" revocation status is unknown"#;
    for (level, outcome) in
        [("strict", "Error: signature verification failed"), ("permissive", "Successfully verified")]
    {
        let policy = policy("*", "issuer", "*").replace("strict", level);
        pair.write(".config/notation/trustpolicy.json", &policy);
        pair.run_together(&format!("verify --insecure-registry {}", image.by_digest()));
        for program in [tool("notation"), pair.ours()] {
            let said = pair.said(&program, "a", &format!("verify --insecure-registry -v {}", image.by_digest()));
            assert!(said.contains(outcome) && said.contains(reason), "{} {level}: {said}", program.display());
        }
    }
}

#[test]
fn a_layout_that_either_has_signed_is_read_alike() {
    let pair = Pair::new();
    pair.set("NOTATION_EXPERIMENTAL", "1");
    pair.said(&tool("notation"), "a", "cert generate-test --default one");
    pair.write(".config/notation/trustpolicy.json", &policy("local/app", "one", "*"));
    let layout = pair.layout();
    for program in [tool("notation"), pair.ours()] {
        let said = pair.said(&program, "a", "sign --oci-layout layout:v1 --signature-format cose");
        assert!(said.contains("Successfully signed layout@sha256:"), "{said}");
        pair.run_together(
            "verify --oci-layout --scope local/app layout:v1\nverify --oci-layout --scope other/app layout:v1",
        );
    }
    let index = fs::read_to_string(layout.join("index.json")).expect("an index");
    assert_eq!(index.matches("org.opencontainers.image.ref.name").count(), 1, "{index}");
    let count = |program: &Path| pair.said(program, "a", "list --oci-layout layout:v1").matches("── sha256:").count();
    assert_eq!((count(&tool("notation")), count(&pair.ours())), (2, 2));
    pair.run_together("list --oci-layout layout:none\nlist --oci-layout none:v1\nlist --oci-layout layout\nsign --oci-layout --force-referrers-tag layout:v1\nverify --oci-layout layout:v1");
}

#[test]
fn a_login_is_kept_by_the_helper_and_told_alike() {
    let node = Node::start();
    let pair = Pair::new();
    pair.helper();
    pair.set("PATH", &format!("{}:/usr/bin:/bin", pair.0.path().join("bin").display()));
    let registry = node.registry();
    let config = |text: &str| pair.write(".config/notation/config.json", text);
    let both = format!(
        "login --insecure-registry -u ann -p secret {registry}\nlogout {registry}\nlogin --insecure-registry -u ann {registry}"
    );
    for configuration in [
        r#"{"credsStore": "fake"}"#.to_owned(),
        format!(r#"{{"credHelpers": {{"{registry}": "fake"}}}}"#),
        r#"{"credsStore": "none"}"#.to_owned(),
        "{}".to_owned(),
    ] {
        config(&configuration);
        pair.run_apart(&both);
    }
    let kept = |home: &str| fs::read_to_string(pair.0.path().join(home).join("helper.log")).unwrap_or_default();
    assert_eq!(kept("a"), kept("b"));
    assert!(
        kept("a").contains(r#"store {"ServerURL":""#) && kept("a").contains(r#""Username":"ann","Secret":"secret"}"#)
    );
    assert!(kept("a").contains(&format!("erase {registry}")), "{}", kept("a"));
}

#[test]
fn the_configured_format_is_taken() {
    let node = Node::start();
    let image = node.push("signed", "signed");
    let pair = Pair::new();
    pair.write(
        ".config/notation/config.json",
        &format!(r#"{{"signatureFormat": "cose", "insecureRegistries": ["{}"]}}"#, node.registry()),
    );
    pair.run_apart("cert generate-test --default one");
    pair.run_apart(&format!("sign {0}\nsign --signature-format pgp {0}", image.by_digest()));
    let inspected = pair.said(&pair.ours(), "b", &format!("inspect {}", image.by_digest()));
    assert_eq!(inspected.matches("media type: application/cose").count(), 2, "{inspected}");
}

#[test]
fn what_generate_test_made_is_taken_back() {
    let pair = Pair::new();
    let said = |line: &str| pair.said(&pair.ours(), "b", line);
    said("cert generate-test --default one");
    let gone = said("cert cleanup-test -y one");
    for line in [
        "Successfully deleted one.crt from trust store one of type ca",
        "Successfully removed key one from the key list",
        "Cleanup completed successfully",
    ] {
        assert!(gone.contains(line), "{gone}");
    }
    assert!(!said("key list").contains("one") && !said("cert list").contains("one"));
    assert!(said("cert cleanup-test -y one").contains("Key one does not exist in the key list"));
    assert!(said("cert cleanup-test -y ..").contains("certificate common name must follow [a-zA-Z0-9_.-]+ format"));
    let made = said("policy init --name one --trust-store ca:one --trusted-identity *");
    assert!(made.contains("Successfully initialized"), "{made}");
    assert!(said("policy show").contains(r#""registryScopes""#));
}

/// The two programs, and a home for each.
struct Pair(tempfile::TempDir, RefCell<Vec<(&'static str, String)>>);

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for home in ["a", "b", "bin"] {
            fs::create_dir(folder.path().join(home)).expect("a folder");
        }
        symlink(own("pratique"), folder.path().join("bin/notation")).expect("a link");
        Self(folder, RefCell::default())
    }

    /// Sets a variable of the environment for both.
    fn set(&self, name: &'static str, value: &str) {
        self.1.borrow_mut().push((name, value.to_owned()));
    }

    /// An image layout in the home of the original, with one image under the tag `v1`.
    fn layout(&self) -> PathBuf {
        let layout = self.0.path().join("a/layout");
        let manifest = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
        let digest = |bytes: &[u8]| Descriptor::of("", bytes).digest;
        fs::create_dir_all(layout.join("blobs/sha256")).expect("a folder");
        for bytes in [&manifest[..], b"{}"] {
            fs::write(layout.join("blobs/sha256").join(digest(bytes).hex()), bytes).expect("a blob");
        }
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}]}}"#,
            digest(manifest),
            manifest.len()
        );
        fs::write(layout.join("index.json"), index).expect("an index");
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a version");
        layout
    }

    /// A credential helper that writes down what it is told.
    fn helper(&self) {
        let path = self.0.path().join("bin/docker-credential-fake");
        fs::write(&path, "#!/bin/sh\n{ printf '%s ' \"$1\"; cat; echo; } >> \"$HOME/helper.log\"\n").expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// pratique, by the name that it is to answer to.
    fn ours(&self) -> PathBuf {
        self.0.path().join("bin/notation")
    }

    /// A file in one of the homes.
    fn path(&self, home: &str, name: &str) -> PathBuf {
        self.0.path().join(home).join(name)
    }

    /// Writes a file into both homes.
    fn write(&self, name: &str, content: &str) {
        for home in ["a", "b"] {
            let path = self.0.path().join(home).join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
            fs::write(path, content).expect("the file can be written");
        }
    }

    /// Makes a file of both homes a program.
    fn make_program(&self, name: &str) {
        for home in ["a", "b"] {
            let path = self.0.path().join(home).join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is there");
        }
    }

    /// Each in its own home.
    fn run_apart(&self, script: &str) {
        self.compare(script, "b");
    }

    /// Both in the home of the original.
    fn run_together(&self, script: &str) {
        self.compare(script, "a");
    }

    fn compare(&self, script: &str, our_home: &str) {
        let mut differences = BTreeSet::new();
        for line in script.lines().filter(|line| !line.is_empty()) {
            let theirs = self.said(&tool("notation"), "a", line);
            let ours = self.said(&self.ours(), our_home, line);
            if theirs != ours {
                differences.insert(format!("$ notation {line}\nnotation says\n{theirs}\npratique says\n{ours}\n"));
            }
        }
        let all: String = differences.into_iter().collect();
        assert!(all.is_empty(), "{all}");
    }

    /// All that a line comes to.
    fn said(&self, program: &Path, home: &str, line: &str) -> String {
        let home = self.0.path().join(home);
        let line = line.replace("HOME", &home.display().to_string());
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).env_clear().env("HOME", &home);
        command.envs(self.1.borrow().iter().map(|(name, value)| (name, value))).current_dir(&home).stdin(Stdio::null());
        let output = command.output().expect("the program starts");
        let said = format!("{}--- {}--- {:?}", text(&output.stdout), text(&output.stderr), output.status.code());
        // The two homes differ in one letter.
        let said = said.replace(&home.display().to_string(), "[HOME]");
        // The two are not run in one second, and the one's clock has gone on.
        let is_clocked = |line: &&str| line.starts_with("generated certificate expiring on ");
        // Only the original deletes the old list of signatures, and says where the registry does not let it.
        let is_about_cleaning = |line: &&str| line.contains("Removal of outdated referrers index");
        let lines = said.lines().filter(|line| !is_clocked(line) && !is_about_cleaning(line));
        in_one_order(lines.map(str::to_owned).collect()).join("\n")
    }
}

/// Without the blanks that make JSON readable.
fn compact(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json).expect("JSON").to_string()
}

/// The original shows signed attributes in another order each time that it runs, and which of them is the last shows in
/// the line that leads to it. Everything else is left as it is.
fn in_one_order(mut lines: Vec<String>) -> Vec<String> {
    let is_attribute = |line: &String| {
        ["── signingScheme: ", "── signingTime: ", "── expiry: "].iter().any(|name| line.contains(name))
    };
    for group in lines.chunk_by_mut(|one, next| is_attribute(one) && is_attribute(next)) {
        if group.len() > 1 {
            for line in &mut *group {
                *line = line.replace("└── ", "├── ");
            }
            group.sort_unstable();
        }
    }
    lines
}
