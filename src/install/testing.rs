//! A stand-in for containerd: it merges files as containerd does, as far as measured with 1.7.24 and 2.1.9.

use std::fs;

use toml::{Table, Value};

use super::InstallError;
use super::candidate::{Candidate, Import, Reader};
use crate::effective::Version;
use crate::effective::{CRI, CRI_RUNTIME, Effective};

const DEFAULTS_1_7: &str = r#"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
sandbox_mode = "podsandbox"
options = { BinaryName = "", SystemdCgroup = false }
[plugins."io.containerd.internal.v1.opt"]
path = "OPT"
[plugins."io.containerd.service.v1.diff-service"]
default = ["walking"]
sync_fs = false
"#;

const DEFAULTS_2_1: &str = r#"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
options = { BinaryName = "", SystemdCgroup = false }
[plugins."io.containerd.image-verifier.v1.bindir"]
bin_dir = "OPT/image-verifier/bin"
max_verifiers = 10
per_verifier_timeout = "10s"
[plugins."io.containerd.internal.v1.opt"]
path = "OPT"
[plugins."io.containerd.service.v1.diff-service"]
default = ["walking"]
"#;

/// A containerd of this version whose `<opt>` is somewhere.
pub(super) struct Merging {
    pub(super) version: Version,
    pub(super) opt: String,
}

impl Reader for Merging {
    fn version(&self) -> Result<Version, InstallError> {
        Ok(self.version)
    }

    fn effective(&self, candidate: &Candidate) -> Result<Effective, InstallError> {
        let is_second = self.version.is_second();
        let defaults = if is_second { DEFAULTS_2_1 } else { DEFAULTS_1_7 };
        let mut read: Table = candidate.text.parse().unwrap();
        for import in &candidate.imports {
            let text = match import {
                Import::File(path) => fs::read_to_string(path).unwrap_or_default(),
                Import::Text { text, .. } => text.clone(),
            };
            merge(&mut read, text.parse().unwrap(), if is_second { usize::MAX } else { 2 });
        }
        if is_second {
            convert(&mut read);
        }
        // In 1.7 a handler that a file names has no defaults; everything else has.
        let mut whole: Table = defaults.replace("OPT", &self.opt).parse().unwrap();
        merge(&mut whole, read, if is_second { usize::MAX } else { 5 });
        Ok(Effective::new(whole))
    }
}

/// Tables are merged so deep and replaced below; of lists those grow that containerd lets grow.
fn merge(into: &mut Table, from: Table, depth: usize) {
    for (key, value) in from {
        let grows = matches!(key.as_str(), "required_plugins" | "disabled_plugins");
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if depth > 1 => merge(old, new, depth - 1),
            (Some(Value::Array(old)), Value::Array(new)) if grows => old.extend(new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// The names of version 2 become those of version 3.
fn convert(read: &mut Table) {
    let Some(Value::Table(plugins)) = read.get_mut("plugins") else { return };
    let Some(Value::Table(old)) = plugins.remove(CRI) else { return };
    let mut renamed = Table::new();
    renamed.insert(CRI_RUNTIME.to_owned(), Value::Table(old));
    merge(plugins, renamed, usize::MAX);
}
