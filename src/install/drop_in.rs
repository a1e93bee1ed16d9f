//! The file that puts the gates into containerd's configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::InstallError;
use super::meaning::is_nothing;
use crate::effective::{
    DIFF_SERVICE, DIFFER, Effective, IMAGE_VERIFIERS, OWN_DIFFER, TRANSFER, TRANSFER_DIFFER, Verifiers,
};

/// How long containerd waits for a verifier: longer than the verifier waits for the daemon.
const TIMEOUT: (Duration, &str) = (Duration::from_secs(10), "10s");
/// How many verifiers containerd calls.
const VERIFIERS: i64 = 10;
/// Every platform of this operating system: containerd compares no more than that unless it is told to.
const PLATFORM: &str = "linux";
/// Unpacks layers in a format of its own, which only its own differ can.
const UNPACKS_BY_ITSELF: &str = "erofs";

/// What containerd is to be told.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The version of the main file, as written.
    pub(super) version: Option<String>,
    /// The directory of the daemon's sockets.
    pub(super) sockets: PathBuf,
    /// How image verifiers are called; none where there are none.
    pub(super) verifiers: Option<Verifiers>,
    /// What the diff service's table is to say.
    pub(super) diff_service: Table,
    /// How the transfer service is to unpack; none where it is left alone.
    pub(super) unpack: Option<Vec<Table>>,
    /// The name of CRI in files of this version.
    pub(super) cri: &'static str,
    /// The handlers, each with the runtime that it is to call.
    pub(super) handlers: Vec<(String, PathBuf)>,
    /// Whether the handlers stand in another file.
    pub(super) handlers_elsewhere: bool,
}

impl Wanted {
    /// The plugins without which containerd is not to start. The transfer service is none of them: without it nothing is
    /// pulled, which is no way in, and it does not load once any snapshotter of an entry is gone (measured with 2.1.9), which
    /// must not take a whole node with it.
    pub(super) fn required(&self) -> Vec<String> {
        let differ = |name: &str| format!("io.containerd.differ.v1.{name}");
        let mut required = vec![differ(DIFFER), DIFF_SERVICE.to_owned()];
        if self.verifiers.is_some() {
            required.push(IMAGE_VERIFIERS.to_owned());
        }
        if self.unpack.is_some() {
            required.push(differ(TRANSFER_DIFFER));
        }
        required
    }

    /// The differs with their sockets.
    pub(super) fn differs(&self) -> Vec<(&'static str, PathBuf)> {
        let mut differs = vec![(DIFFER, self.sockets.join("diff.sock"))];
        if self.unpack.is_some() {
            differs.push((TRANSFER_DIFFER, self.sockets.join("diff-transfer.sock")));
        }
        differs
    }

    /// The text of the drop-in.
    pub(super) fn text(&self) -> Result<String, InstallError> {
        let version = self.version.as_ref().map(|version| format!("version = {version}\n")).unwrap_or_default();
        let required: Vec<String> = self.required().iter().map(|plugin| format!("  {},\n", quoted(plugin))).collect();
        let mut tables = vec![format!(
            "# Written by `pratique install`, taken back by `pratique uninstall`.\n\
             {version}\
             # Without these containerd does not start, rather than let images in unasked.\n\
             required_plugins = [\n{}]\n",
            required.concat()
        )];
        for (name, socket) in self.differs() {
            let lines = [("type", "diff".into()), ("address", Value::from(plain(&socket)?))];
            tables.push(table(&format!("[proxy_plugins.{name}]"), &lines));
        }
        tables.push(table(&format!("[plugins.{}]", quoted(DIFF_SERVICE)), &lines_of(&self.diff_service)));
        for entry in self.unpack.iter().flatten() {
            tables.push(table(&format!("[[plugins.{}.unpack_config]]", quoted(TRANSFER)), &lines_of(entry)));
        }
        if let Some(verifiers) = &self.verifiers {
            let lines = [
                ("bin_dir", Value::from(plain(&verifiers.directory)?)),
                ("max_verifiers", Value::from(verifiers.most)),
                ("per_verifier_timeout", Value::from(verifiers.timeout.as_str())),
            ];
            tables.push(table(&format!("[plugins.{}]", quoted(IMAGE_VERIFIERS)), &lines));
        }
        for (name, runtime) in self.handlers.iter().filter(|_| !self.handlers_elsewhere) {
            let header = format!("[plugins.{}.containerd.runtimes.{}.options]", quoted(self.cri), key_of(name));
            tables.push(table(&header, &[("BinaryName", Value::from(plain(runtime)?))]));
        }
        Ok(tables.join("\n"))
    }
}

/// The verifiers as they are to be called. What was set to more already stays so: somebody else's may need it.
pub(super) fn verifiers(now: &Verifiers, directory: PathBuf) -> Verifiers {
    let longer = duration(&now.timeout).is_some_and(|timeout| timeout > TIMEOUT.0);
    let timeout = if longer { now.timeout.clone() } else { TIMEOUT.1.to_owned() };
    // Less than nothing means all of them.
    let most = if (0..=VERIFIERS).contains(&now.most) { VERIFIERS } else { now.most };
    Verifiers { directory, most, timeout }
}

/// The diff service's table: our differ before those that are asked already. containerd 1.7 takes a plugin's table from
/// one file alone, so there it says all that it said.
pub(super) fn diff_service(now: &Effective, is_merged: bool) -> Table {
    let mut table = match now.plugin(DIFF_SERVICE) {
        Some(now) if !is_merged => now.iter().filter(|(_, value)| !is_nothing(value)).map(owned).collect(),
        _ => Table::new(),
    };
    let mut differs = now.differs();
    differs.retain(|differ| differ != DIFFER);
    if differs.is_empty() {
        differs.push(OWN_DIFFER.to_owned());
    }
    let ours = [DIFFER.to_owned()].into_iter().chain(differs).map(Value::from).collect();
    table.insert("default".to_owned(), Value::Array(ours));
    table
}

/// How the transfer service is to unpack: an entry of ours for each snapshotter, and as they are those of whoever unpacks
/// with a differ of its own.
pub(super) fn unpack(now: &Effective, snapshotters: &BTreeSet<String>, notes: &mut Vec<String>) -> Vec<Table> {
    let mut missing = snapshotters.clone();
    missing.remove(UNPACKS_BY_ITSELF);
    let mut entries = Vec::new();
    for unpack in now.unpack() {
        missing.remove(&unpack.snapshotter);
        let mut entry: Table = unpack.entry.iter().filter(|(_, value)| !is_nothing(value)).map(owned).collect();
        match unpack.differ.as_deref() {
            None | Some(OWN_DIFFER | TRANSFER_DIFFER) => {
                entry.insert("differ".to_owned(), TRANSFER_DIFFER.into());
            }
            Some(other) => notes.push(format!(
                "the transfer service unpacks for `{}` with the differ `{other}`, which asks nobody: left as it is",
                unpack.snapshotter
            )),
        }
        entries.push(entry);
    }
    for snapshotter in missing {
        let ours = [("platform", PLATFORM), ("snapshotter", &snapshotter), ("differ", TRANSFER_DIFFER)];
        entries.push(ours.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect());
    }
    entries
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

fn lines_of(table: &Table) -> Vec<(&str, Value)> {
    table.iter().map(|(key, value)| (key.as_str(), value.clone())).collect()
}

fn table(header: &str, lines: &[(&str, Value)]) -> String {
    let lines: Vec<String> = lines.iter().map(|(key, value)| format!("  {} = {value}\n", key_of(key))).collect();
    format!("{header}\n{}", lines.concat())
}

/// A key as it is written: quoted where it must be.
pub(super) fn key_of(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_bare { key.to_owned() } else { quoted(key) }
}

pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A path as it can stand in containerd's configuration.
pub(super) fn plain(path: &Path) -> Result<&str, InstallError> {
    let unusable = || InstallError::UnusablePath { path: path.to_owned() };
    path.to_str().filter(|_| path.is_absolute()).ok_or_else(unusable)
}

/// A duration as people and Go write them: numbers, each with a unit. What is not understood is not taken over.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(letters)?;
        let number: u64 = number.parse().ok()?;
        sum = sum.checked_add(match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        })?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effective::CRI_RUNTIME;

    fn of(text: &str) -> Effective {
        Effective::new(text.parse().unwrap())
    }

    fn wanted(version: Option<&str>) -> Wanted {
        Wanted {
            version: version.map(str::to_owned),
            sockets: "/run/pratique".into(),
            verifiers: Some(Verifiers { directory: "/opt/bin".into(), most: 10, timeout: "10s".into() }),
            diff_service: diff_service(&of(""), true),
            unpack: Some(unpack(&of(""), &BTreeSet::from(["native".to_owned()]), &mut Vec::new())),
            cri: CRI_RUNTIME,
            handlers: vec![("runc".into(), "/opt/containerd/bin/runc".into())],
            handlers_elsewhere: false,
        }
    }

    #[test]
    fn a_drop_in_says_the_version_of_the_main_file_and_no_other() {
        assert!(wanted(Some("2")).text().unwrap().contains("\nversion = 2\n"));
        assert!(!wanted(None).text().unwrap().contains("version ="));
    }

    #[test]
    fn every_gate_stands_in_the_drop_in() {
        let effective = of(&wanted(Some("3")).text().unwrap());
        assert_eq!(effective.differs(), ["pratique", "walking"]);
        let proxies: Vec<_> = effective.proxies().into_iter().map(|proxy| (proxy.name, proxy.address)).collect();
        assert_eq!(proxies[0], ("pratique".into(), "/run/pratique/diff.sock".into()));
        assert_eq!(proxies[1], ("pratique-transfer".into(), "/run/pratique/diff-transfer.sock".into()));
        let unpack = effective.unpack();
        assert_eq!((unpack[0].snapshotter.as_str(), unpack[0].differ.as_deref()), ("native", Some(TRANSFER_DIFFER)));
        assert_eq!(effective.verifiers().unwrap().directory, Path::new("/opt/bin"));
        assert_eq!(effective.handlers()[0].binary.as_deref(), Some(Path::new("/opt/containerd/bin/runc")));
        assert!(wanted(None).required().iter().all(|plugin| effective.is_required(plugin)));
    }

    #[test]
    fn without_image_verifiers_and_unpack_entries_there_are_none_and_none_are_required() {
        let first = Wanted { verifiers: None, unpack: None, handlers_elsewhere: true, ..wanted(Some("2")) };
        let effective = of(&first.text().unwrap());
        assert!(effective.verifiers().is_none() && effective.unpack().is_empty() && effective.handlers().is_empty());
        assert_eq!(first.required(), ["io.containerd.differ.v1.pratique", DIFF_SERVICE]);
        assert_eq!(effective.proxies().len(), 1);
    }

    #[test]
    fn what_is_set_to_more_stays_and_what_is_set_to_less_does_not() {
        let called = |most, timeout: &str| {
            let now = Verifiers { directory: "/x".into(), most, timeout: timeout.into() };
            let called = verifiers(&now, "/opt/bin".into());
            (called.most, called.timeout)
        };
        assert_eq!(called(20, "30s"), (20, "30s".into()));
        assert_eq!(called(-1, "1m0s"), (-1, "1m0s".into()));
        assert_eq!(called(1, "2s"), (10, "10s".into()));
        assert_eq!(called(10, "soon"), (10, "10s".into()));
    }

    #[test]
    fn somebody_elses_differs_stay_where_they_are() {
        let now = of(&format!(
            "[plugins.'{DIFF_SERVICE}']\ndefault = ['erofs', 'walking']\nsync_fs = true\n\
             [[plugins.'{TRANSFER}'.unpack_config]]\nplatform = 'linux/amd64'\nsnapshotter = 'erofs'\ndiffer = 'erofs'\n\
             [[plugins.'{TRANSFER}'.unpack_config]]\nplatform = 'linux/amd64'\nsnapshotter = 'overlayfs'\ndiffer = 'walking'\n"
        ));
        let merged = diff_service(&now, true);
        assert_eq!(merged["default"].to_string(), r#"["pratique", "erofs", "walking"]"#);
        assert!(!merged.contains_key("sync_fs") && diff_service(&now, false).contains_key("sync_fs"));
        let mut notes = Vec::new();
        let snapshotters = BTreeSet::from(["native", "overlayfs", "erofs"].map(str::to_owned));
        let entries = unpack(&now, &snapshotters, &mut notes);
        let differs: Vec<_> =
            entries.iter().map(|e| (e["snapshotter"].as_str().unwrap(), e["differ"].as_str().unwrap())).collect();
        assert_eq!(differs, [("erofs", "erofs"), ("overlayfs", "pratique-transfer"), ("native", "pratique-transfer")]);
        assert!(notes.len() == 1 && notes[0].contains("`erofs`"), "{notes:?}");
    }

    #[test]
    fn a_relative_directory_is_refused() {
        let relative = Wanted { sockets: "run".into(), ..wanted(None) };
        assert!(matches!(relative.text(), Err(InstallError::UnusablePath { .. })));
    }
}
