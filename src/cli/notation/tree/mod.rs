//! The commands and their flags, each with its words as the original's help has them.

mod artifacts;
mod blobs;
mod keys;
mod session;
mod trust;

use super::flags::{Flag, Kind, Parsed, Stage};
use super::{Command, Refusal, Said};

pub(super) const COMMANDS: &[Command] = &[
    blobs::BLOB,
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
const EXPIRY: Flag = Flag::new(
            "expiry",
            Kind::Duration,
            "optional expiry that provides a \"best by use\" time for the artifact. The duration is specified in minutes(m) and/or hours(h). For example: 12h, 30m, 3h20m",
        )
        .short('e');
const ID: Flag =
    Flag::new("id", Kind::Text, "key id (required if --plugin is set). This is mutually exclusive with the --key flag");
const SIGNING_KEY: Flag = Flag::new(
            "key",
            Kind::Text,
            "signing key name, for a key previously added to notation's key list. This is mutually exclusive with the --id and --plugin flags",
        )
        .short('k');
const SIGNING_PLUGIN: Flag = Flag::new(
    "plugin",
    Kind::Text,
    "signing plugin name (required if --id is set). This is mutually exclusive with the --key flag",
);
const PLUGIN_CONFIG: Flag = Flag::new(
    "plugin-config",
    Kind::Texts,
    "{key}={value} pairs that are passed as it is to a plugin, refer plugin's documentation to set appropriate values",
);
const SIGNATURE_FORMAT: Flag =
    Flag::new("signature-format", Kind::Text, "signature envelope format, options: \"jws\", \"cose\"").default("jws");
const TIMESTAMP_ROOT: Flag =
    Flag::new("timestamp-root-cert", Kind::Text, "filepath of timestamp authority root certificate");
const TIMESTAMP_URL: Flag = Flag::new("timestamp-url", Kind::Text, "RFC 3161 Timestamping Authority (TSA) server URL");
const USER_METADATA: Flag =
    Flag::new("user-metadata", Kind::Texts, "{key}={value} pairs that are added to the signature payload").short('m');
const PLUGIN_CONFIG_TO_VERIFY: Flag = Flag::new(
    "plugin-config",
    Kind::Texts,
    "{key}={value} pairs that are passed as it is to a plugin, if the verification is associated with a verification plugin, refer plugin documentation to set appropriate values",
);
const USER_METADATA_TO_VERIFY: Flag = Flag::new(
    "user-metadata",
    Kind::Texts,
    "user defined {key}={value} pairs that must be present in the signature for successful verification if provided",
)
.short('m');
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

fn accepts_none(parsed: &Parsed) -> Said {
    match parsed.rest.len() {
        0 => Ok(()),
        count => Err(Refusal(format!("accepts 0 arg(s), received {count}"))),
    }
}

fn at_least_one(parsed: &Parsed, message: &str) -> Said {
    if parsed.rest.is_empty() { Err(Refusal::new(message)) } else { Ok(()) }
}
