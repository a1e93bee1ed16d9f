//! `notation key`: the list of signing keys.

use super::flags::Parsed;
use super::output::table;
use super::{Refusal, Said, environment, output};
use crate::cli::plugins::folder;
use crate::config::{SigningKey, SigningKeyEntry, SigningKeyError};
use crate::plugin::PluginFault;
use crate::policy::is_safe_name;

fn refused(error: &SigningKeyError) -> Refusal {
    match error {
        SigningKeyError::Unknown { name } => Refusal(format!("signing key {name} not found")),
        error => Refusal::of(error),
    }
}

/// A key behind a plugin that is there. The plugin is asked when the key signs.
pub(super) fn add(parsed: &Parsed) -> Said {
    let (name, plugin, id) = (parsed.first(), parsed.text("plugin"), parsed.text("id"));
    let (directory, config) = (environment::configuration(), parsed.pairs("plugin-config")?);
    if name.is_empty() {
        return Err(Refusal::new("key name cannot be empty"));
    }
    if id.is_empty() {
        return Err(Refusal::new("missing key id"));
    }
    if !is_safe_name(plugin) {
        return Err(Refusal(format!("invalid plugin name {plugin:?}")));
    }
    folder(&directory).find(plugin).map_err(|error| match error.fault {
        PluginFault::NotInstalled(program) => Refusal(format!(
            "plugin executable file is either not found or inaccessible: stat {}: no such file or directory",
            program.display()
        )),
        _ => Refusal::of(&error),
    })?;
    let is_default = parsed.is_on("default");
    directory.add_plugin_key(name, plugin, id, &config, is_default).map_err(|error| match error {
        SigningKeyError::Taken { name } => Refusal(format!("signing key with name {name:?} already exists")),
        error => refused(&error),
    })?;
    output::say(&if is_default { format!("{name}: marked as default") } else { name.to_owned() });
    Ok(())
}

pub(super) fn list(_: &Parsed) -> Said {
    let keys = environment::configuration().signing_keys().map_err(|error| refused(&error))?;
    let head = ["NAME", "KEY PATH", "CERTIFICATE PATH", "ID", "PLUGIN NAME"].map(str::to_owned);
    let rows = keys.entries().iter().map(|entry| row(entry, keys.default_name() == Some(entry.name())));
    output::say(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    Ok(())
}

fn row(entry: &SigningKeyEntry, is_default: bool) -> [String; 5] {
    let mark = if is_default { "* " } else { "" };
    let name = format!("{mark}{}", entry.name());
    match entry.key() {
        SigningKey::Files { key, certificates } => {
            [name, key.display().to_string(), certificates.display().to_string(), String::new(), String::new()]
        }
        SigningKey::Token { uri, certificates } => {
            let certificates = certificates.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            [name, uri.to_string(), certificates, String::new(), String::new()]
        }
        SigningKey::Plugin { plugin, id, .. } => [name, String::new(), String::new(), id.clone(), plugin.clone()],
    }
}

/// Without `--default` there is nothing to change.
pub(super) fn update(parsed: &Parsed) -> Said {
    let name = parsed.first();
    if parsed.is_on("default") {
        environment::configuration().set_default_signing_key(name).map_err(|error| refused(&error))?;
        output::say(&format!("{name}: marked as default"));
    }
    Ok(())
}

pub(super) fn delete(parsed: &Parsed) -> Said {
    let directory = environment::configuration();
    let keys = directory.signing_keys().map_err(|error| refused(&error))?;
    directory.remove_signing_keys(&parsed.rest).map_err(|error| refused(&error))?;
    let is_default = |name: &String| keys.default_name() == Some(name);
    output::say(&match parsed.rest.as_slice() {
        [name] => {
            let kind = if is_default(name) { "default key " } else { "" };
            format!("Removed {kind}{name} from Notation signing key list. The source key still exists.")
        }
        names => {
            let line =
                |name: &String| if is_default(name) { format!("\n{name} (default)") } else { format!("\n{name}") };
            let lines: String = names.iter().map(line).collect();
            format!("Removed the following keys from Notation signing key list. The source keys still exist.{lines}")
        }
    });
    Ok(())
}
