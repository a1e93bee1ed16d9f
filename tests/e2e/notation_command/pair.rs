//! The two programs side by side: one line for both, and what they say to it compared.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pratique::oci::Descriptor;

use crate::tools::{own, text, tool};

/// The two programs, and a home for each.
pub(super) struct Pair {
    folder: tempfile::TempDir,
    variables: RefCell<Vec<(&'static str, String)>>,
}

impl Pair {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for home in ["a", "b", "bin"] {
            fs::create_dir(folder.path().join(home)).expect("a folder");
        }
        symlink(own("pratique"), folder.path().join("bin/notation")).expect("a link");
        Self { folder, variables: RefCell::default() }
    }

    /// Sets a variable of the environment for both.
    pub(super) fn set(&self, name: &'static str, value: &str) {
        self.variables.borrow_mut().push((name, value.to_owned()));
    }

    /// An image layout in the home of the original, with one image under the tag `v1`.
    pub(super) fn layout(&self) -> PathBuf {
        let layout = self.folder.path().join("a/layout");
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
    pub(super) fn helper(&self) {
        let path = self.folder.path().join("bin/docker-credential-fake");
        fs::write(&path, "#!/bin/sh\n{ printf '%s ' \"$1\"; cat; echo; } >> \"$HOME/helper.log\"\n").expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// pratique, by the name that it is to answer to.
    pub(super) fn ours(&self) -> PathBuf {
        self.folder.path().join("bin/notation")
    }

    /// A file in one of the homes.
    pub(super) fn path(&self, home: &str, name: &str) -> PathBuf {
        self.folder.path().join(home).join(name)
    }

    /// Writes a file into both homes.
    pub(super) fn write(&self, name: &str, content: &str) {
        for home in ["a", "b"] {
            let path = self.folder.path().join(home).join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
            fs::write(path, content).expect("the file can be written");
        }
    }

    /// Makes a file of both homes a program.
    pub(super) fn make_program(&self, name: &str) {
        for home in ["a", "b"] {
            let path = self.folder.path().join(home).join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is there");
        }
    }

    /// Each in its own home.
    pub(super) fn run_apart(&self, script: &str) {
        self.compare(script, "b");
    }

    /// Both in the home of the original.
    pub(super) fn run_together(&self, script: &str) {
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
    pub(super) fn said(&self, program: &Path, home: &str, line: &str) -> String {
        let home = self.folder.path().join(home);
        let line = line.replace("HOME", &home.display().to_string());
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).env_clear().env("HOME", &home);
        command
            .envs(self.variables.borrow().iter().map(|(name, value)| (name, value)))
            .current_dir(&home)
            .stdin(Stdio::null());
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
pub(super) fn compact(json: &str) -> String {
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
