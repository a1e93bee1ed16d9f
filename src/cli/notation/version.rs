//! `notation version`.

use super::flags::Parsed;
use super::{Said, output};

/// The version of the command whose behaviour this is: what scripts ask for before they use a flag.
const STANDS_FOR: &str = "1.3.2";

/// What signatures say that they were made by, in the form that the original gives it: readers look for its name.
pub(super) const SIGNING_AGENT: &str = concat!("notation-go/1.3.2+pratique.", env!("CARGO_PKG_VERSION"));

#[allow(clippy::unnecessary_wraps, reason = "the form that every command has")]
pub(super) fn run(_: &Parsed) -> Said {
    output::say(&format!(
        "Notation - a tool to sign and verify artifacts.\n\nVersion:     v{STANDS_FOR}+pratique.{}",
        env!("CARGO_PKG_VERSION")
    ));
    Ok(())
}
