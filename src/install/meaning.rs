//! Does containerd read the new configuration as it was meant, and nothing else otherwise than before?
//!
//! The answer compares two dumps, both made by containerd: of the configuration without us and with us. Whatever
//! containerd does to its files in between (merging, converting, forgetting) has been done in both.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::drop_in::{Wanted, duration};
use crate::effective::{CRI, CRI_RUNTIME, DIFF_SERVICE, Effective, IMAGE_VERIFIERS, TRANSFER};

/// The difference that a later file with a table of its own makes.
pub(super) const VERIFIERS: &str = "image verifiers would be called otherwise";

/// What differs from what was meant, one sentence each; empty where nothing does.
pub(super) fn differences(before: &Effective, after: &Effective, wanted: &Wanted) -> Vec<String> {
    let mut found = missing(after, wanted);
    let (before, after) = (flat(before.table()), flat(after.table()));
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    for key in keys.filter(|key| !is_ours(key, wanted)) {
        let of =
            |side: &BTreeMap<String, Value>| side.get(key).map_or_else(|| "nothing".to_owned(), ToString::to_string);
        if before.get(key) != after.get(key) {
            found.push(format!("{key} would become {} and is {}", of(&after), of(&before)));
        }
    }
    found
}

/// Whether a value is what containerd takes for nothing: what was not written and what is empty are the same to it.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Integer(number) => *number == 0,
        Value::Boolean(flag) => !flag,
        Value::Array(values) => values.is_empty(),
        Value::Table(table) => table.is_empty(),
        Value::Float(_) | Value::Datetime(_) => false,
    }
}

/// What was meant and is not there.
fn missing(after: &Effective, wanted: &Wanted) -> Vec<String> {
    let mut missing = Vec::new();
    for plugin in wanted.required() {
        if !after.is_required(&plugin) || after.is_disabled(&plugin) {
            missing.push(format!("{plugin} would not be required"));
        }
    }
    let proxies = after.proxies();
    for (name, socket) in wanted.differs() {
        if !proxies.iter().any(|p| p.name == name && p.kind == "diff" && p.address == socket) {
            missing.push(format!("the differ {name} would not be at {}", socket.display()));
        }
    }
    let service = after.plugin(DIFF_SERVICE);
    if !wanted.diff_service.iter().all(|(key, value)| service.and_then(|service| service.get(key)) == Some(value)) {
        missing.push(format!("the diff service would ask {:?}", after.differs()));
    }
    if let Some(entries) = &wanted.unpack {
        let unpack: Vec<Table> = after.unpack().into_iter().map(|unpack| said(&unpack.entry)).collect();
        if *entries != unpack {
            missing.push("the transfer service would unpack otherwise".to_owned());
        }
    }
    if let Some(verifiers) = &wanted.verifiers {
        let called = after.verifiers();
        let timeout = |text: &str| duration(text);
        let is_so = called.as_ref().is_some_and(|called| {
            called.directory == verifiers.directory
                && called.most == verifiers.most
                && timeout(&called.timeout) >= timeout(&verifiers.timeout)
        });
        if !is_so {
            missing.push(VERIFIERS.to_owned());
        }
    }
    let handlers = after.handlers();
    for (name, runtime) in &wanted.handlers {
        if !handlers.iter().any(|handler| handler.name == *name && handler.binary.as_ref() == Some(runtime)) {
            missing.push(format!("CRI's handler {name} would not call {}", runtime.display()));
        }
    }
    missing
}

/// A table without what says nothing.
fn said(table: &Table) -> Table {
    table.iter().filter(|(_, value)| !is_nothing(value)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether a key is one that we change, and that was looked at above.
fn is_ours(key: &str, wanted: &Wanted) -> bool {
    let of_differ = |(name, _): (&str, _)| key.starts_with(&format!("proxy_plugins/{name}/"));
    let of_handler = |(name, _): &(String, _)| {
        let places = [CRI_RUNTIME, CRI].into_iter();
        let mut places = places.map(|cri| format!("plugins/{cri}/containerd/runtimes/{name}/options/BinaryName"));
        places.any(|place| place == key)
    };
    // containerd 1.7 lists what was read there, and 2.x what was written.
    matches!(key, "imports" | "required_plugins")
        || key.starts_with(&format!("plugins/{IMAGE_VERIFIERS}/"))
        || key == format!("plugins/{TRANSFER}/unpack_config")
        || key == format!("plugins/{DIFF_SERVICE}/default")
        || wanted.differs().into_iter().any(of_differ)
        || wanted.handlers.iter().any(of_handler)
}

/// Every value that says something, by its path.
fn flat(table: &Table) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut pending: Vec<(String, &Table)> = vec![(String::new(), table)];
    while let Some((prefix, table)) = pending.pop() {
        for (key, value) in table {
            let path = format!("{prefix}{key}");
            match value {
                Value::Table(inner) => pending.push((format!("{path}/"), inner)),
                value if is_nothing(value) => {}
                value => drop(found.insert(path, value.clone())),
            }
        }
    }
    found
}
