//! The file that makes containerd call the verifier.

use std::path::Path;
use std::time::Duration;

use super::InstallError;
use super::containerd::{PLUGIN, Settings};

/// How long containerd waits for a verifier: longer than the verifier waits for the daemon.
const TIMEOUT: (Duration, &str) = (Duration::from_secs(10), "10s");
/// How many verifiers containerd calls.
const VERIFIERS: i64 = 10;

/// The text of the drop-in. What was set to more already stays so: somebody else's verifiers may need it.
pub(super) fn text(settings: &Settings, bin_dir: &Path) -> Result<String, InstallError> {
    let unusable = || InstallError::UnusablePath { path: bin_dir.to_owned() };
    let bin_dir = bin_dir.to_str().filter(|_| bin_dir.is_absolute()).ok_or_else(unusable)?;
    let timeout = match &settings.per_verifier_timeout {
        Some((longer, text)) if *longer > TIMEOUT.0 => text.as_str(),
        _ => TIMEOUT.1,
    };
    let verifiers = match settings.max_verifiers {
        // Less than nothing means all of them.
        Some(other) if !(0..=VERIFIERS).contains(&other) => other,
        _ => VERIFIERS,
    };
    let version = settings.version.as_ref().map(|version| format!("version = {version}\n")).unwrap_or_default();
    let (bin_dir, timeout) = (toml::Value::from(bin_dir), toml::Value::from(timeout));
    Ok(format!(
        "# Written by `pratique install`, taken back by `pratique uninstall`.\n\
         {version}\
         # Without image verifiers containerd does not start, rather than pull unverified images.\n\
         required_plugins = [\"{PLUGIN}\"]\n\
         \n\
         [plugins.\"{PLUGIN}\"]\n  \
         bin_dir = {bin_dir}\n  \
         max_verifiers = {verifiers}\n  \
         per_verifier_timeout = {timeout}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_says_the_version_of_the_main_file_and_no_other() {
        let text = |version: Option<&str>| {
            let settings = Settings { version: version.map(str::to_owned), ..Settings::default() };
            text(&settings, Path::new("/opt/bin")).unwrap()
        };
        assert!(text(Some("2")).contains("\nversion = 2\n"));
        assert!(!text(None).contains("version ="));
        let document: toml::Table = text(Some("3")).parse().unwrap();
        let table = &document["plugins"][PLUGIN];
        assert_eq!(table["bin_dir"].as_str(), Some("/opt/bin"));
        assert_eq!(
            (table["max_verifiers"].as_integer(), table["per_verifier_timeout"].as_str()),
            (Some(10), Some("10s"))
        );
        assert_eq!(document["required_plugins"][0].as_str(), Some(PLUGIN));
    }

    #[test]
    fn what_is_set_to_more_stays_and_what_is_set_to_less_does_not() {
        let text = |verifiers, seconds| {
            let per_verifier_timeout = Some((Duration::from_secs(seconds), format!("{seconds}s")));
            let settings = Settings { max_verifiers: Some(verifiers), per_verifier_timeout, ..Settings::default() };
            text(&settings, Path::new("/opt/bin")).unwrap()
        };
        assert!(text(20, 30).contains("max_verifiers = 20\n  per_verifier_timeout = \"30s\""));
        assert!(text(-1, 10).contains("max_verifiers = -1\n  per_verifier_timeout = \"10s\""));
        assert!(text(1, 2).contains("max_verifiers = 10\n  per_verifier_timeout = \"10s\""));
    }

    #[test]
    fn a_relative_directory_is_refused() {
        assert!(matches!(text(&Settings::default(), Path::new("bin")), Err(InstallError::UnusablePath { .. })));
    }
}
