//! containerd's configuration as it is in force: what `containerd config dump` prints, read as data.
//!
//! containerd alone knows what its files come to: it merges them, converts older versions and fills in the defaults of
//! the plugins that it was built with. So nothing here reads a file of the operator's; who wants to know asks containerd
//! and hands the answer in. The names of version 2 (containerd 1.7) and version 3 are both understood.

mod version;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

pub use version::Version;

/// Our differ for the diff service: decides, and leaves the work to the next one.
pub const DIFFER: &str = "pratique";
/// Our differ for the transfer service, which asks one differ and no other: decides, and has the work done.
pub const TRANSFER_DIFFER: &str = "pratique-transfer";
/// containerd's own differ.
pub const OWN_DIFFER: &str = "walking";
/// Our verifier's name where containerd calls it: it comes first, because containerd calls only so many.
pub const VERIFIER: &str = "00-pratique";

/// containerd's plugin that calls image verifiers.
pub const IMAGE_VERIFIERS: &str = "io.containerd.image-verifier.v1.bindir";
/// containerd's plugin that unpacks for clients which unpack themselves.
pub const DIFF_SERVICE: &str = "io.containerd.service.v1.diff-service";
/// containerd's plugin that pulls and imports by itself.
pub const TRANSFER: &str = "io.containerd.transfer.v1.local";
/// containerd's plugin that puts `<opt>/bin` first in the path.
pub const OPT: &str = "io.containerd.internal.v1.opt";
/// CRI as a whole in version 2.
pub const CRI: &str = "io.containerd.grpc.v1.cri";
/// CRI's containers since version 3.
pub const CRI_RUNTIME: &str = "io.containerd.cri.v1.runtime";
/// CRI's images since version 3.
pub const CRI_IMAGES: &str = "io.containerd.cri.v1.images";
/// containerd's gRPC server since version 4.
const GRPC_SERVER: &str = "io.containerd.server.v1.grpc";
/// The shim that calls an OCI runtime.
pub const RUNC_SHIM: &str = "io.containerd.runc.v2";
/// The runtime that the shim calls where nobody named one.
pub const RUNC: &str = "runc";

/// containerd's defaults, for what a dump leaves out.
const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";
const DEFAULT_OPT: &str = "/opt/containerd";

/// containerd's configuration as it is in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective(Table);

/// How image verifiers are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifiers {
    /// Where they lie.
    pub directory: PathBuf,
    /// How many are called; less than nothing means all.
    pub most: i64,
    /// How long each may take, as written.
    pub timeout: String,
}

/// One runtime handler of CRI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Its name.
    pub name: String,
    /// The shim that it starts.
    pub shim: String,
    /// The OCI runtime that the shim is told to call; none where the shim finds `runc` by itself.
    pub binary: Option<PathBuf>,
    /// A shim that is named by its path instead of its type.
    pub shim_path: Option<PathBuf>,
    /// The snapshotter, where it is another than CRI's.
    pub snapshotter: Option<String>,
}

/// How the transfer service unpacks for one snapshotter.
#[derive(Clone, Debug, PartialEq)]
pub struct Unpack {
    /// The snapshotter.
    pub snapshotter: String,
    /// The differ that is asked; none for containerd's own.
    pub differ: Option<String>,
    /// The entry as it stands.
    pub entry: Table,
}

/// A plugin behind a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// `diff`, `snapshot`, `content` and others.
    pub kind: String,
    /// Its socket.
    pub address: PathBuf,
}

impl Effective {
    /// Of a dump.
    pub fn new(dump: Table) -> Self {
        Self(dump)
    }

    /// The dump itself.
    pub fn table(&self) -> &Table {
        &self.0
    }

    /// containerd's gRPC socket. Version 4 has it among the plugins.
    pub fn address(&self) -> PathBuf {
        let fourth = self.text(&["plugins", GRPC_SERVER, "address"]);
        fourth.or_else(|| self.text(&["grpc", "address"])).unwrap_or(DEFAULT_ADDRESS).into()
    }

    /// Whether a plugin is switched off.
    pub fn is_disabled(&self, plugin: &str) -> bool {
        self.texts(&["disabled_plugins"]).any(|disabled| disabled == plugin)
    }

    /// Whether containerd does not start without this plugin.
    pub fn is_required(&self, plugin: &str) -> bool {
        self.texts(&["required_plugins"]).any(|required| required == plugin)
    }

    /// How image verifiers are called; none where this containerd has none.
    pub fn verifiers(&self) -> Option<Verifiers> {
        let table = self.plugin(IMAGE_VERIFIERS)?;
        Some(Verifiers {
            directory: table.get("bin_dir")?.as_str()?.into(),
            most: table.get("max_verifiers").and_then(Value::as_integer).unwrap_or_default(),
            timeout: table.get("per_verifier_timeout").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
    }

    /// The directory whose `bin` comes first in containerd's path.
    pub fn opt(&self) -> PathBuf {
        self.text(&["plugins", OPT, "path"]).unwrap_or(DEFAULT_OPT).into()
    }

    /// The differs that the diff service asks, in its order.
    pub fn differs(&self) -> Vec<String> {
        self.texts(&["plugins", DIFF_SERVICE, "default"]).map(str::to_owned).collect()
    }

    /// How the transfer service unpacks. Empty where it does as it does by default.
    pub fn unpack(&self) -> Vec<Unpack> {
        let entries = self.at(&["plugins", TRANSFER, "unpack_config"]).and_then(Value::as_array);
        let tables = entries.into_iter().flatten().filter_map(Value::as_table);
        tables
            .map(|entry| Unpack {
                snapshotter: text(entry, "snapshotter").unwrap_or_default().to_owned(),
                differ: text(entry, "differ").map(str::to_owned),
                entry: entry.clone(),
            })
            .collect()
    }

    /// The plugins behind sockets.
    pub fn proxies(&self) -> Vec<Proxy> {
        let tables = self.at(&["proxy_plugins"]).and_then(Value::as_table).into_iter().flatten();
        let proxy = |(name, value): (&String, &Value)| {
            let table = value.as_table()?;
            let address = text(table, "address").unwrap_or_default().into();
            Some(Proxy { name: name.clone(), kind: text(table, "type").unwrap_or_default().to_owned(), address })
        };
        tables.filter_map(proxy).collect()
    }

    /// CRI's runtime handlers.
    pub fn handlers(&self) -> Vec<Handler> {
        let handlers = self.handler_tables().into_iter().flatten();
        let handler = |(name, value): (&String, &Value)| {
            let table = value.as_table()?;
            let options = table.get("options").and_then(Value::as_table);
            Some(Handler {
                name: name.clone(),
                shim: text(table, "runtime_type").unwrap_or_default().to_owned(),
                binary: options.and_then(|options| text(options, "BinaryName")).map(PathBuf::from),
                shim_path: text(table, "runtime_path").map(PathBuf::from),
                snapshotter: text(table, "snapshotter").map(str::to_owned),
            })
        };
        handlers.filter_map(handler).collect()
    }

    /// What a handler says, as it stands.
    pub fn handler_table(&self, name: &str) -> Option<&Table> {
        self.handler_tables()?.get(name)?.as_table()
    }

    fn handler_tables(&self) -> Option<&Table> {
        let under = |plugin| self.at(&["plugins", plugin, "containerd", "runtimes"]).and_then(Value::as_table);
        under(CRI_RUNTIME).or_else(|| under(CRI))
    }

    /// The snapshotters that CRI unpacks into.
    pub fn cri_snapshotters(&self) -> BTreeSet<String> {
        let images = self.text(&["plugins", CRI_IMAGES, "snapshotter"]);
        let whole = self.text(&["plugins", CRI, "containerd", "snapshotter"]);
        let of_handlers = self.handlers().into_iter().filter_map(|handler| handler.snapshotter);
        images.or(whole).map(str::to_owned).into_iter().chain(of_handlers).collect()
    }

    /// The settings by which CRI pulls by itself instead of having the transfer service pull, as they would be written.
    /// Read in containerd's source (`internal/cri/config`), and tried one by one against 2.1.9.
    pub fn local_pull_settings(&self) -> Vec<String> {
        let Some(images) = self.plugin(CRI_IMAGES) else { return Vec::new() };
        let flag = |key: &str, by_default| images.get(key).and_then(Value::as_bool).unwrap_or(by_default);
        let mut found = Vec::new();
        for (key, by_default) in [
            ("use_local_image_pull", false),
            ("disable_snapshot_annotations", true),
            ("discard_unpacked_layers", false),
            ("image_pull_with_sync_fs", false),
        ] {
            if flag(key, by_default) != by_default {
                found.push(format!("{key} = {}", !by_default));
            }
        }
        if let Some(other) = images.get("max_concurrent_downloads").and_then(Value::as_integer).filter(|n| *n != 3) {
            found.push(format!("max_concurrent_downloads = {other}"));
        }
        let registry = images.get("registry").and_then(Value::as_table);
        for key in ["mirrors", "configs", "auths"] {
            let table = registry.and_then(|registry| registry.get(key)?.as_table());
            if table.is_some_and(|table| !table.is_empty()) {
                found.push(format!("registry.{key}"));
            }
        }
        found
    }

    /// What a plugin's table says.
    pub fn plugin(&self, name: &str) -> Option<&Table> {
        self.at(&["plugins", name])?.as_table()
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, key| value.get(*key))
    }

    fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str().filter(|text| !text.is_empty())
    }

    fn texts(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        self.at(path).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }
}

impl Handler {
    /// The name of the OCI runtime, without its directory.
    pub fn runtime_name(&self) -> &str {
        let name = self.binary.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        name.unwrap_or(RUNC)
    }

    /// Whether it calls an OCI runtime through containerd's own shim.
    pub fn calls_oci_runtime(&self) -> bool {
        self.shim == RUNC_SHIM && self.shim_path.is_none()
    }
}

/// A text that says something: containerd's dump has `''` for what was not set.
fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Effective {
        Effective::new(text.parse().unwrap())
    }

    #[test]
    fn the_handlers_of_both_versions_are_found() {
        for plugin in [CRI, CRI_RUNTIME] {
            let effective = of(&format!(
                "[plugins.'{plugin}'.containerd.runtimes.crun]\nruntime_type = '{RUNC_SHIM}'\nruntime_path = ''\n\
                 snapshotter = 'native'\n[plugins.'{plugin}'.containerd.runtimes.crun.options]\nBinaryName = '/usr/bin/crun'\n\
                 [plugins.'{plugin}'.containerd.runtimes.kata]\nruntime_type = 'io.containerd.kata.v2'\n"
            ));
            let handlers = effective.handlers();
            assert_eq!((handlers[0].runtime_name(), handlers[0].calls_oci_runtime()), ("crun", true));
            assert_eq!((handlers[1].runtime_name(), handlers[1].calls_oci_runtime()), ("runc", false));
            assert_eq!(effective.cri_snapshotters(), BTreeSet::from(["native".to_owned()]));
        }
    }

    #[test]
    fn each_setting_that_has_cri_pull_by_itself_is_found_and_the_defaults_are_none() {
        let images = |lines: &str| of(&format!("[plugins.'{CRI_IMAGES}']\n{lines}\n")).local_pull_settings();
        let defaults = "use_local_image_pull = false\ndisable_snapshot_annotations = true\nmax_concurrent_downloads = 3\n\
                        discard_unpacked_layers = false\nimage_pull_with_sync_fs = false\nregistry = {config_path = '/x'}";
        assert_eq!(images(defaults), Vec::<String>::new());
        for setting in [
            "use_local_image_pull = true",
            "disable_snapshot_annotations = false",
            "discard_unpacked_layers = true",
            "image_pull_with_sync_fs = true",
            "max_concurrent_downloads = 4",
        ] {
            assert_eq!(images(setting), [setting]);
        }
        for key in ["mirrors", "configs", "auths"] {
            assert_eq!(images(&format!("[plugins.'{CRI_IMAGES}'.registry.{key}.x]\n")), [format!("registry.{key}")]);
        }
    }

    #[test]
    fn the_socket_is_found_wherever_its_version_has_it() {
        for table in ["grpc".to_owned(), format!("plugins.'{GRPC_SERVER}'")] {
            assert_eq!(of(&format!("[{table}]\naddress = '/run/c.sock'\n")).address(), Path::new("/run/c.sock"));
        }
    }

    #[test]
    fn what_a_dump_leaves_out_has_containerds_defaults() {
        let empty = of("");
        assert_eq!(empty.address(), Path::new("/run/containerd/containerd.sock"));
        assert_eq!(empty.opt(), Path::new("/opt/containerd"));
        assert!(empty.verifiers().is_none() && empty.differs().is_empty() && empty.unpack().is_empty());
    }
}
