//! Where the Notary Project's own command keeps its files, and what its environment says.

use std::env;
use std::path::PathBuf;

use crate::cli::registry::default_docker_config;
use crate::config::NotationDir;

/// `NOTATION_CONFIG`, or `notation` in the user's directory for configuration.
pub(super) fn configuration() -> NotationDir {
    NotationDir::new(named("NOTATION_CONFIG").unwrap_or_else(|| {
        let base = named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config")));
        base.unwrap_or_default().join("notation")
    }))
    .allowing_unverified_everywhere()
}

/// Whether what may still change has been asked for.
pub(super) fn is_experimental() -> bool {
    env::var("NOTATION_EXPERIMENTAL").is_ok_and(|value| value == "1")
}

/// The directory of docker's configuration.
pub(super) fn docker() -> Option<PathBuf> {
    named("DOCKER_CONFIG").or_else(default_docker_config)
}

/// The value of a flag, or of the variable that stands in for it.
pub(super) fn or_variable(given: &str, variable: &str) -> String {
    if given.is_empty() { env::var(variable).unwrap_or_default() } else { given.to_owned() }
}

fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
