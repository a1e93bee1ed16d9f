//! `notation plugin`: what is installed. Plugins are not run yet.

use std::fs;

use super::artifact::system_words;
use super::cert::is_confirmed;
use super::flags::Parsed;
use super::output::table;
use super::{Refusal, Said, environment, output};
use crate::policy::is_safe_name;

pub(super) fn check_install(parsed: &Parsed) -> Said {
    let missing = match (parsed.rest.is_empty(), parsed.is_on("file"), parsed.is_on("url")) {
        (false, ..) => return Ok(()),
        (_, true, _) => "missing plugin file path",
        (_, _, true) => "missing plugin URL",
        _ => "missing plugin source location",
    };
    Err(Refusal::new(missing))
}

/// A plugin is installed once it has told its name and version, and plugins are not run yet.
pub(super) fn install(parsed: &Parsed) -> Said {
    let source = parsed.first();
    if parsed.is_on("url") && parsed.text("sha256sum").is_empty() {
        return Err(Refusal::new("installing from URL requires non-empty SHA256 checksum of the plugin source"));
    }
    if parsed.is_on("file")
        && let Err(error) = fs::metadata(source)
    {
        return Err(Refusal(format!("plugin installation failed: stat {source}: {}", system_words(&error))));
    }
    Err(Refusal::new("plugin installation failed: installing plugins is not there yet"))
}

#[allow(clippy::unnecessary_wraps, reason = "the form that every command has")]
pub(super) fn list(_: &Parsed) -> Said {
    let directory = environment::plugins();
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| is_safe_name(name) && directory.join(name).join(format!("notation-{name}")).is_file())
        .collect();
    names.sort_unstable();
    let head = ["NAME", "DESCRIPTION", "VERSION", "CAPABILITIES", "ERROR"].map(str::to_owned);
    let row = |name| [name, String::new(), String::new(), String::new(), "plugins are not run yet".to_owned()];
    output::say(&table(&std::iter::once(head).chain(names.into_iter().map(row)).collect::<Vec<_>>()));
    Ok(())
}

pub(super) fn uninstall(parsed: &Parsed) -> Said {
    let name = parsed.first();
    let directory = environment::plugins().join(name);
    if !is_safe_name(name) || !directory.is_dir() {
        return Err(Refusal(format!(
            "unable to find plugin {name}.\nTo view a list of installed plugins, use `notation plugin list`"
        )));
    }
    if !parsed.is_on("yes") && !is_confirmed(&format!("Are you sure you want to uninstall plugin {name:?}?")) {
        return Ok(());
    }
    let failed = |error: std::io::Error| Refusal(format!("failed to uninstall {name}: {}", system_words(&error)));
    fs::remove_dir_all(&directory).map_err(failed)?;
    output::say(&format!("Successfully uninstalled plugin {name}"));
    Ok(())
}
