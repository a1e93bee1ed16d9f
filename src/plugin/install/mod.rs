//! Puts a plugin in its place, and takes it away.
//!
//! What is to be installed is first copied or unpacked into a directory of its own beside the others, and asked there what
//! it is. Only a plugin that answers, and that is newer than the one it replaces, is moved to its place; whoever looks
//! meanwhile sees the old one or the new one. Nothing is run before its checksum was compared, where one is given.
//!
//! Follows the Notary plugin specification, "Package and release a plugin".

mod archive;
mod error;
mod fetch;
mod stage;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use semver::Version;

pub use error::InstallError;
pub use fetch::{Download, fetch};

use self::archive::Limits;
use self::stage::Stage;
use super::contract::PluginConfig;
use super::error::{PluginError, PluginFault};
use super::folder::{PluginFolder, Program};
use super::metadata::Metadata;
use crate::oci::Digest;

/// How many bytes a plugin has at most, packed and unpacked: fewer than 256 MiB, as the specification says.
pub const MAX_SOURCE: u64 = 256 * 1024 * 1024;
/// How long a plugin may take to say what it is: it is not to ask anybody for that.
const METADATA_TIMEOUT: Duration = Duration::from_secs(30);

/// What is to be installed, and what may stand in the way.
#[derive(Clone, Copy, Debug)]
pub struct InstallOrder<'a> {
    /// The program, an archive, or a directory.
    pub source: &'a Path,
    /// What the SHA-256 of the file must be.
    pub checksum: Option<&'a Digest>,
    /// Whether a plugin may be replaced that is not older, or that does not answer.
    pub force: bool,
}

/// What was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// What it says about itself.
    pub metadata: Metadata,
    /// The version that it has replaced.
    pub replaced: Option<String>,
}

/// One plugin of a directory, and what it says about itself.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it says, or why it says nothing.
    pub metadata: Result<Metadata, PluginError>,
}

impl PluginFolder {
    /// Installs a plugin.
    pub async fn install(&self, order: InstallOrder<'_>) -> Result<Installed, InstallError> {
        let unwritable = |source| InstallError::Unwritable { path: self.path().to_owned(), source };
        fs::create_dir_all(self.path()).map_err(unwritable)?;
        let mut stage = Stage::within(self.path(), Limits::OF_A_PLUGIN).map_err(unwritable)?;
        let program = stage.fill(order)?;
        let metadata = ask(&program).await?;
        let replaced = self.check_succession(&metadata, order.force).await?;
        let place = self.of(program.name())?;
        stage.move_to(&place).map_err(|source| InstallError::Unwritable { path: place, source })?;
        Ok(Installed { metadata, replaced })
    }

    /// Everything that may be a plugin here, in the order of the names.
    pub async fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for name in self.names()? {
            let metadata = match self.find(&name) {
                Ok(program) => ask(&program).await,
                Err(error) => Err(error),
            };
            listed.push(Listed { name, metadata });
        }
        Ok(listed)
    }

    /// Takes a plugin away, with all that lies in its directory.
    pub fn uninstall(&self, name: &str) -> Result<(), InstallError> {
        let place = self.of(name)?;
        let removed = match fs::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&place),
            Ok(_) => fs::remove_file(&place),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(super::folder::fault(name, PluginFault::NotInstalled(place)).into());
            }
            Err(error) => Err(error),
        };
        removed.map_err(|source| InstallError::Unwritable { path: place, source })
    }

    /// The version that is replaced. Going back is for who asks for it.
    async fn check_succession(&self, new: &Metadata, force: bool) -> Result<Option<String>, InstallError> {
        let old = match self.find(&new.name) {
            Ok(program) => ask(&program).await,
            Err(PluginError { fault: PluginFault::NotInstalled(_), .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        let old = match old {
            Ok(old) => old,
            Err(_) if force => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let version = |metadata: &Metadata| {
            Version::parse(&metadata.version)
                .map_err(|_| InstallError::Version { plugin: metadata.name.clone(), version: metadata.version.clone() })
        };
        if !force {
            let (plugin, installed, offered) = (new.name.clone(), old.version.clone(), new.version.clone());
            match version(new)?.cmp_precedence(&version(&old)?) {
                std::cmp::Ordering::Less => return Err(InstallError::Downgrade { plugin, installed, offered }),
                std::cmp::Ordering::Equal => return Err(InstallError::SameVersion { plugin, installed }),
                std::cmp::Ordering::Greater => {}
            }
        }
        Ok(Some(old.version))
    }
}

async fn ask(program: &Program) -> Result<Metadata, PluginError> {
    program.metadata(&PluginConfig::new(), METADATA_TIMEOUT).await
}

/// The SHA-256 in hexadecimal digits, of either case.
pub fn checksum(text: &str) -> Result<Digest, InstallError> {
    let digest = format!("sha256:{}", text.to_ascii_lowercase()).parse();
    digest.map_err(|_| InstallError::ChecksumForm(crate::remedy::excerpt(text)))
}
