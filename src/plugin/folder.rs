//! Where plugins lie: `NAME/notation-NAME` in one directory.
//!
//! A name is safe as the name of a file before any path is made of it. Neither the program nor its directory may be a
//! symbolic link (Notary plugin specification, "Plugin installation path"), and nobody but its owner and group may change
//! it: whoever could would decide what is trusted here.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::error::{PluginError, PluginFault};
use crate::policy::is_safe_name;
use crate::remedy::excerpt;

/// What the program of a plugin is called, before its name.
pub(super) const PREFIX: &str = "notation-";
/// What the names of directories begin with in which a plugin is being put together: not those of plugins.
pub(super) const STAGE: &str = ".installing-";
/// The directory of the plugins, in notation's own.
const PLUGINS: &str = "plugins";

/// The directory that holds the plugins. It need not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFolder {
    path: PathBuf,
}

/// The program of a plugin, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    name: String,
    path: PathBuf,
}

impl PluginFolder {
    /// The directory at this path.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The directory `plugins` in this one: notation's directory for programs, or for configuration.
    pub fn within(libexec: &Path) -> Self {
        Self::new(libexec.join(PLUGINS))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of one plugin.
    pub fn of(&self, name: &str) -> Result<PathBuf, PluginError> {
        if is_safe_name(name) { Ok(self.path.join(name)) } else { Err(fault(name, PluginFault::Name)) }
    }

    /// The program of a plugin that is there.
    pub fn find(&self, name: &str) -> Result<Program, PluginError> {
        let directory = self.of(name)?;
        let path = directory.join(format!("{PREFIX}{name}"));
        if let Err(refused) = look(&directory, fs::Metadata::is_dir, "is not a directory") {
            let is_absent = matches!(refused, PluginFault::NotInstalled(_));
            return Err(fault(name, if is_absent { PluginFault::NotInstalled(path) } else { refused }));
        }
        Program::at(name, path)
    }

    /// The names of what may be plugins, sorted: the directories in this one. None where there is no such directory.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() && !name.starts_with(STAGE) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl Program {
    /// The program in this file, as that of the plugin of this name.
    pub(super) fn at(name: &str, path: PathBuf) -> Result<Self, PluginError> {
        let mode =
            look(&path, fs::Metadata::is_file, "is not a regular file").map_err(|refused| fault(name, refused))?;
        if mode & 0o111 == 0 {
            return Err(fault(name, PluginFault::File { path, fault: "is not executable" }));
        }
        Ok(Self { name: name.to_owned(), path })
    }

    /// The name of the plugin.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The permissions of what lies there, if it is of this kind.
fn look(path: &Path, is_right: fn(&fs::Metadata) -> bool, otherwise: &'static str) -> Result<u32, PluginFault> {
    let path = || path.to_owned();
    let found = match fs::symlink_metadata(path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(PluginFault::NotInstalled(path())),
        found => found.map_err(|source| PluginFault::Inaccessible { path: path(), source })?,
    };
    let refused = |fault| Err(PluginFault::File { path: path(), fault });
    let mode = found.permissions().mode();
    if found.is_symlink() {
        return refused("is a symbolic link");
    }
    if !is_right(&found) {
        return refused(otherwise);
    }
    if mode & 0o002 != 0 {
        return refused("may be changed by everybody");
    }
    Ok(mode)
}

pub(super) fn fault(plugin: &str, fault: PluginFault) -> PluginError {
    PluginError { plugin: excerpt(plugin), fault }
}
