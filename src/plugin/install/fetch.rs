//! A plugin from a server: over https alone, wherever it leads, and no more than a plugin has.
//!
//! What is fetched is nobody's yet: it is installed only with the checksum that its publisher names.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use super::MAX_SOURCE;
use super::error::InstallError;
use crate::plugin::folder::{PluginFolder, STAGE};
use crate::remedy::{cut, one_line};

/// How long fetching may take, as with the reference implementation.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How often a server may send us on: servers of releases do it once or twice.
const MAX_REDIRECTS: usize = 5;
/// How many characters of an address are shown.
const MAX_SHOWN: usize = 200;
/// What a file is called whose address has no name.
const NAMELESS: &str = "plugin";

/// A fetched file; it is gone when it is dropped.
#[derive(Debug)]
pub struct Download {
    directory: PathBuf,
    file: PathBuf,
}

impl Download {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.file
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // It is there to be installed, and was.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Fetches a plugin into a directory of its own beside those that are there.
pub async fn fetch(url: &str, folder: &PluginFolder) -> Result<Download, InstallError> {
    let address = Url::parse(url).map_err(|_| InstallError::Url(cut(url, MAX_SHOWN)))?;
    if address.scheme() != "https" || !address.has_host() {
        return Err(InstallError::Url(without_secrets(&address)));
    }
    let name = address.path_segments().and_then(|mut parts| parts.next_back()).filter(|name| !name.is_empty());
    let download = room(folder, name.unwrap_or(NAMELESS))
        .map_err(|source| InstallError::Unwritable { path: folder.path().to_owned(), source })?;
    let shown = without_secrets(&address);
    let failed = |fault: String| InstallError::Fetch { url: shown.clone(), fault };
    let client = client().map_err(|error| failed(one_line(&error)))?;
    let mut answer = client.get(address).send().await.map_err(|error| failed(one_line(&error.without_url())))?;
    if answer.status() != StatusCode::OK {
        return Err(failed(format!("the server answers {}", answer.status())));
    }
    let unwritable = |source| InstallError::Unwritable { path: download.file.clone(), source };
    let (mut file, mut size) = (File::create_new(&download.file).map_err(unwritable)?, 0);
    while let Some(part) = answer.chunk().await.map_err(|error| failed(one_line(&error.without_url())))? {
        size += part.len() as u64;
        if size >= MAX_SOURCE {
            return Err(InstallError::TooLarge);
        }
        file.write_all(&part).map_err(unwritable)?;
    }
    // A program that stands alone, where it is one.
    file.set_permissions(fs::Permissions::from_mode(0o755)).map_err(unwritable)?;
    Ok(download)
}

/// The URL for people: no name or password, and no query, where signed links have theirs.
fn without_secrets(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    cut(&format!("{}://{host}{port}{}", url.scheme(), url.path()), MAX_SHOWN)
}

fn client() -> reqwest::Result<Client> {
    let onwards = Policy::custom(|attempt| match attempt.url().scheme() {
        "https" if attempt.previous().len() <= MAX_REDIRECTS => attempt.follow(),
        _ => attempt.error("the server sends us somewhere else than to an https URL, or too often"),
    });
    Client::builder().https_only(true).redirect(onwards).timeout(TIMEOUT).build()
}

fn room(folder: &PluginFolder, name: &str) -> io::Result<Download> {
    fs::create_dir_all(folder.path())?;
    let directory = folder.path().join(format!("{STAGE}fetched-{}", std::process::id()));
    if directory.try_exists()? {
        fs::remove_dir_all(&directory)?;
    }
    DirBuilder::new().mode(0o700).create(&directory)?;
    Ok(Download { file: directory.join(name), directory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_has_no_secret_in_it() {
        let shown = |url: &str| without_secrets(&Url::parse(url).unwrap());
        let secret = "https://ann:hunter2@plugins.example:8443/notation-x.zip?sig=hunter3#hunter4";
        assert_eq!(shown(secret), "https://plugins.example:8443/notation-x.zip");
        assert_eq!(shown("https://plugins.example/x"), "https://plugins.example/x");
    }
}
