//! The commands and their flags, each with its words as the original's help has them.

mod artifacts;
mod keys;
mod session;
mod trust;

use super::flags::{Flag, Kind, Parsed, Stage};
use super::{Command, Refusal, Said};

pub(super) const COMMANDS: &[Command] = &[
    trust::CERTIFICATE,
    session::COMPLETION,
    artifacts::INSPECT,
    keys::KEY,
    artifacts::LIST,
    session::LOGIN,
    session::LOGOUT,
    keys::PLUGIN,
    trust::POLICY,
    artifacts::SIGN,
    artifacts::VERIFY,
    session::VERSION,
];

const DEBUG: Flag = Flag::new("debug", Kind::Switch, "debug mode").short('d');
const VERBOSE: Flag = Flag::new("verbose", Kind::Switch, "verbose mode").short('v');
const USERNAME: Flag = Flag::new(
    "username",
    Kind::Text,
    "username for registry operations (default to $NOTATION_USERNAME if not specified)",
)
.short('u');
const PASSWORD: Flag = Flag::new(
    "password",
    Kind::Text,
    "password for registry operations (default to $NOTATION_PASSWORD if not specified)",
)
.short('p');
const INSECURE: Flag = Flag::new(
    "insecure-registry",
    Kind::Switch,
    "use HTTP protocol while connecting to registries. Should be used only for testing",
);
const MAX_SIGNATURES: Flag =
    Flag::new("max-signatures", Kind::Number, "maximum number of signatures to evaluate or examine").default("100");
/// Its usage is never shown.
const ALLOW_REFERRERS_API: Flag = Flag::new("allow-referrers-api", Kind::Switch, "").stage(Stage::Deprecated);
const STORE: Flag = Flag::new("store", Kind::Text, "specify named store").short('s');
const TYPE: Flag =
    Flag::new("type", Kind::Text, "specify trust store type, options: ca, signingAuthority, tsa").short('t');

/// The first argument must be there.
fn reference(parsed: &Parsed, command: &str) -> Said {
    if parsed.rest.is_empty() {
        return Err(Refusal(format!(
            "missing reference to the artifact: use `notation {command} --help` to see what parameters are required"
        )));
    }
    Ok(())
}

fn at_least_one(parsed: &Parsed, message: &str) -> Said {
    if parsed.rest.is_empty() { Err(Refusal::new(message)) } else { Ok(()) }
}
