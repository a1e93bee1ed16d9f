//! `notation plugin`: what is installed.

use std::fs;
use std::path::Path;

use super::artifact::system_words;
use super::flags::Parsed;
use super::output::table;
use super::{Refusal, Said, block_on, environment, output, plugin_fault};
use crate::cli::plugins::folder;
use crate::plugin::{
    InstallError, InstallOrder, Installed, Listed, PluginError, PluginFault, PluginFolder, checksum, fetch,
};

pub(super) fn check_install(parsed: &Parsed) -> Said {
    let missing = match (parsed.rest.is_empty(), parsed.is_on("file"), parsed.is_on("url")) {
        (false, ..) => return Ok(()),
        (_, true, _) => "missing plugin file path",
        (_, _, true) => "missing plugin URL",
        _ => "missing plugin source location",
    };
    Err(Refusal::new(missing))
}

pub(super) fn install(parsed: &Parsed) -> Said {
    let (source, folder) = (parsed.first(), folder(&environment::configuration()));
    if parsed.is_on("url") {
        if parsed.text("sha256sum").is_empty() {
            return Err(Refusal::new("installing from URL requires non-empty SHA256 checksum of the plugin source"));
        }
        let scheme = source.split_once("://").map_or("", |(scheme, _)| scheme);
        if scheme != "https" {
            return Err(Refusal(format!(
                "failed to download plugin from URL: only the HTTPS scheme is supported, but got {scheme}"
            )));
        }
        return block_on(async {
            output::say(&format!("Downloading plugin from {source}"));
            let failed = |error| Refusal(format!("failed to download plugin from URL {source} with error: {error}"));
            let download = fetch(source, &folder).await.map_err(|error| failed(Refusal::of(&error).0))?;
            output::say("Download completed");
            install_file(parsed, download.path(), &folder).await
        });
    }
    match fs::metadata(source) {
        Err(error) => failed(&format!("stat {source}: {}", system_words(&error))),
        Ok(found) if !found.is_file() => failed(&format!("{source} is not a valid file")),
        Ok(_) => block_on(install_file(parsed, Path::new(source), &folder)),
    }
}

fn failed(reason: &str) -> Said {
    Err(Refusal(format!("plugin installation failed: {reason}")))
}

async fn install_file(parsed: &Parsed, source: &Path, folder: &PluginFolder) -> Said {
    let given = parsed.text("sha256sum");
    let mismatch = || format!("plugin SHA-256 checksum does not match user input. Expecting {given}");
    let wanted = if given.is_empty() { None } else { Some(checksum(given)) };
    let Ok(wanted) = wanted.transpose() else { return failed(&mismatch()) };
    let order = InstallOrder { source, checksum: wanted.as_ref(), force: parsed.is_on("force") };
    match folder.install(order).await {
        Ok(Installed { metadata, replaced: None }) => {
            output::say(&format!("Successfully installed plugin {}, version {}", metadata.name, metadata.version));
            Ok(())
        }
        Ok(Installed { metadata, replaced: Some(old) }) => {
            output::say(&format!(
                "Successfully updated plugin {} from version {old} to {}",
                metadata.name, metadata.version
            ));
            Ok(())
        }
        Err(InstallError::Checksum { .. }) => failed(&mismatch()),
        Err(error) => failed(&words(&error, source)),
    }
}

fn words(error: &InstallError, source: &Path) -> String {
    let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match error {
        InstallError::SameVersion { plugin, installed } => {
            format!("plugin {plugin} with version {installed} already exists")
        }
        InstallError::Downgrade { plugin, installed, offered } => format!(
            "failed to install plugin {plugin}. The installing plugin version {offered} is lower than the existing plugin \
             version {installed}.\nIt is not recommended to install an older version. To force the installation, use the \
             \"--force\" option"
        ),
        InstallError::TooLarge => plugin_fault::too_large(archive_kind(source).is_some()),
        InstallError::Escape(name) => plugin_fault::escape(name, archive_kind(source) == Some(Archive::Zip)),
        InstallError::NoProgram(path) if path == source && archive_kind(source).is_none() => format!(
            "failed to read plugin name from input file {name}: invalid plugin executable file name. Plugin file name \
             requires format notation-{{plugin-name}}, but got {name}"
        ),
        InstallError::NoProgram(_) => {
            "failed to read plugin from input directory: no plugin executable file was found".to_owned()
        }
        InstallError::Programs(_) => {
            "failed to read plugin from input directory: found more than one plugin executable files".to_owned()
        }
        InstallError::Plugin(PluginError { fault: PluginFault::File { fault: "is not executable", .. }, .. }) => {
            format!("input file {name} is not executable")
        }
        error => Refusal::of(error).0,
    }
}

#[derive(PartialEq)]
enum Archive {
    Zip,
    Gzip,
}

/// What it begins as.
fn archive_kind(path: &Path) -> Option<Archive> {
    let mut head = [0; 2];
    fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head)).ok()?;
    match head {
        [b'P', b'K'] => Some(Archive::Zip),
        [0x1f, 0x8b] => Some(Archive::Gzip),
        _ => None,
    }
}

pub(super) fn list(_: &Parsed) -> Said {
    block_on(async {
        let folder = folder(&environment::configuration());
        let listed = folder.list().await.map_err(|error| {
            Refusal(format!(
                "failed to list plugin: {}.\nPlease ensure that the current user has permission to access the plugin \
                 directory: {}",
                system_words(&error),
                folder.path().display()
            ))
        })?;
        let head = ["NAME", "DESCRIPTION", "VERSION", "CAPABILITIES", "ERROR"].map(str::to_owned);
        output::say(&table(&std::iter::once(head).chain(listed.iter().map(row)).collect::<Vec<_>>()));
        Ok(())
    })
}

fn row(Listed { name, metadata }: &Listed) -> [String; 5] {
    match metadata {
        Ok(metadata) => {
            let capabilities = format!("[{}]", metadata.capabilities.join(" "));
            let (description, version) = (metadata.description.clone(), metadata.version.clone());
            [name.clone(), description, version, capabilities, "<nil>".to_owned()]
        }
        Err(error) => {
            let words = plugin_fault::listed(name, error).unwrap_or_else(|| Refusal::of(error).0);
            [name.clone(), String::new(), String::new(), "[]".to_owned(), words]
        }
    }
}

pub(super) fn uninstall(parsed: &Parsed) -> Said {
    let (name, folder) = (parsed.first(), folder(&environment::configuration()));
    let is_absent = |error: &PluginError| matches!(error.fault, PluginFault::NotInstalled(_) | PluginFault::Name);
    if folder.find(name).is_err_and(|error| is_absent(&error)) {
        return Err(Refusal(format!(
            "unable to find plugin {name}.\nTo view a list of installed plugins, use `notation plugin list`"
        )));
    }
    if !parsed.is_on("yes") && !output::is_confirmed(&format!("Are you sure you want to uninstall plugin {name:?}?")) {
        return Ok(());
    }
    let failed = |error| Refusal(format!("failed to uninstall plugin {name}: {}", Refusal::of(&error).0));
    folder.uninstall(name).map_err(failed)?;
    output::say(&format!("Successfully uninstalled plugin {name}"));
    Ok(())
}
