//! The commands and their flags.

use super::flags::{Flag, Kind, Parsed, Stage};
use super::{Command, Group, Refusal, Said, cert, inspect, key, list, login, plugin, policy, sign, verify, version};

pub(super) const COMMANDS: &[Command] =
    &[CERTIFICATE, INSPECT, KEY, LIST, LOGIN, LOGOUT, PLUGIN, POLICY, SIGN, VERIFY, VERSION];

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
/// What it says when it is used stands in the place of its usage: it is never shown.
const ALLOW_REFERRERS_API: Flag = Flag::new("allow-referrers-api", Kind::Switch, ".").stage(Stage::Deprecated);
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

const VERSION: Command = Command {
    name: "version",
    summary: "Show the notation version information",
    about: "Show the notation version information",
    usage: "version [flags]",
    arity: |parsed| match parsed.rest.first() {
        Some(argument) => Err(Refusal(format!("unknown command {argument:?} for \"notation version\""))),
        None => Ok(()),
    },
    run: version::run,
    ..Command::BLANK
};

const VERIFY: Command = Command {
    name: "verify",
    summary: "Verify OCI artifacts",
    about: "Verify OCI artifacts",
    usage: "verify [reference] [flags]",
    flags: &[
        DEBUG,
        VERBOSE,
        USERNAME,
        PASSWORD,
        INSECURE,
        MAX_SIGNATURES,
        ALLOW_REFERRERS_API,
        Flag::new(
            "plugin-config",
            Kind::Texts,
            "{key}={value} pairs that are passed as it is to a plugin, if the verification is associated with a verification plugin, refer plugin documentation to set appropriate values",
        ),
        Flag::new(
            "user-metadata",
            Kind::Texts,
            "user defined {key}={value} pairs that must be present in the signature for successful verification if provided",
        )
        .short('m'),
        Flag::new("oci-layout", Kind::Switch, "[Experimental] verify the artifact stored as OCI image layout")
            .stage(Stage::Experimental),
        Flag::new(
            "scope",
            Kind::Text,
            "[Experimental] set trust policy scope for artifact verification, required and can only be used when flag \"--oci-layout\" is set",
        )
        .stage(Stage::Experimental),
    ],
    groups: &[Group::Together(&["oci-layout", "scope"])],
    arity: |parsed| reference(parsed, "verify"),
    run: verify::run,
    ..Command::BLANK
};

const SIGN: Command = Command {
    name: "sign",
    summary: "Sign artifacts",
    about: "Sign artifacts",
    usage: "sign [flags] <reference>",
    flags: &[
        DEBUG,
        VERBOSE,
        USERNAME,
        PASSWORD,
        INSECURE,
        Flag::new("allow-referrers-api", Kind::Switch, ", use '--force-referrers-tag=false' instead.")
            .stage(Stage::Deprecated),
        Flag::new(
            "expiry",
            Kind::Duration,
            "optional expiry that provides a \"best by use\" time for the artifact. The duration is specified in minutes(m) and/or hours(h). For example: 12h, 30m, 3h20m",
        )
        .short('e'),
        Flag::new(
            "force-referrers-tag",
            Kind::Switch,
            "force to store signatures using the referrers tag schema",
        )
        .default("true"),
        Flag::new(
            "id",
            Kind::Text,
            "key id (required if --plugin is set). This is mutually exclusive with the --key flag",
        ),
        Flag::new(
            "key",
            Kind::Text,
            "signing key name, for a key previously added to notation's key list. This is mutually exclusive with the --id and --plugin flags",
        )
        .short('k'),
        Flag::new(
            "plugin",
            Kind::Text,
            "signing plugin name (required if --id is set). This is mutually exclusive with the --key flag",
        ),
        Flag::new(
            "plugin-config",
            Kind::Texts,
            "{key}={value} pairs that are passed as it is to a plugin, refer plugin's documentation to set appropriate values",
        ),
        Flag::new("signature-format", Kind::Text, "signature envelope format, options: \"jws\", \"cose\"")
            .default("jws"),
        Flag::new("timestamp-root-cert", Kind::Text, "filepath of timestamp authority root certificate"),
        Flag::new("timestamp-url", Kind::Text, "RFC 3161 Timestamping Authority (TSA) server URL"),
        Flag::new("user-metadata", Kind::Texts, "{key}={value} pairs that are added to the signature payload")
            .short('m'),
        Flag::new("oci-layout", Kind::Switch, "[Experimental] sign the artifact stored as OCI image layout")
            .stage(Stage::Experimental),
    ],
    groups: &[
        Group::Together(&["id", "plugin"]),
        Group::Together(&["timestamp-url", "timestamp-root-cert"]),
        Group::Exclusive(&["key", "id"]),
        Group::Exclusive(&["key", "plugin"]),
    ],
    arity: |parsed| reference(parsed, "sign"),
    run: sign::run,
    ..Command::BLANK
};

const LIST: Command = Command {
    name: "list",
    aliases: &["ls"],
    summary: "List signatures of the signed artifact",
    about: "List all the signatures associated with signed artifact",
    usage: "list [flags] <reference>",
    flags: &[
        DEBUG,
        VERBOSE,
        USERNAME,
        PASSWORD,
        INSECURE,
        MAX_SIGNATURES,
        ALLOW_REFERRERS_API,
        Flag::new("oci-layout", Kind::Switch, "[Experimental] list signatures stored in OCI image layout")
            .stage(Stage::Experimental),
    ],
    arity: |parsed| reference(parsed, "list"),
    run: list::run,
    ..Command::BLANK
};

const INSPECT: Command = Command {
    name: "inspect",
    summary: "Inspect all signatures associated with the signed artifact",
    about: "Inspect all signatures associated with the signed artifact.",
    usage: "inspect [reference] [flags]",
    flags: &[
        DEBUG,
        VERBOSE,
        USERNAME,
        PASSWORD,
        INSECURE,
        MAX_SIGNATURES,
        ALLOW_REFERRERS_API,
        Flag::new("output", Kind::Text, "output format, options: 'json', 'text'").short('o').default("text"),
    ],
    arity: |parsed| reference(parsed, "inspect"),
    run: inspect::run,
    ..Command::BLANK
};

const CERTIFICATE: Command = Command {
    name: "certificate",
    aliases: &["cert"],
    summary: "Manage certificates in trust store",
    about: "Manage certificates in trust store for signature verification.",
    children: &[
        Command {
            name: "add",
            summary: "Add certificates to the trust store.",
            about: "Add certificates to the trust store",
            usage: "add --type <type> --store <name> [flags] <cert_path>...",
            flags: &[STORE, TYPE],
            required: &["store", "type"],
            arity: |parsed| at_least_one(parsed, "missing certificate path"),
            run: cert::add,
            ..Command::BLANK
        },
        Command {
            name: "delete",
            summary: "Delete certificates from the trust store.",
            about: "Delete certificates from the trust store",
            usage: "delete --type <type> --store <name> [flags] (--all | <cert_fileName>)",
            flags: &[
                STORE,
                TYPE,
                Flag::new("all", Kind::Switch, "delete all certificates in the named store").short('a'),
                Flag::new("yes", Kind::Switch, "do not prompt for confirmation").short('y'),
            ],
            required: &["store", "type"],
            arity: cert::check_delete,
            run: cert::delete,
            ..Command::BLANK
        },
        Command {
            name: "generate-test",
            summary: "Generate a test RSA key and a corresponding self-signed certificate.",
            about: "Generate a test RSA key and a corresponding self-signed certificate",
            usage: "generate-test [flags] <common_name>",
            flags: &[
                Flag::new("bits", Kind::Number, "RSA key bits").short('b').default("2048"),
                Flag::new("default", Kind::Switch, "mark as default signing key"),
            ],
            arity: |parsed| at_least_one(parsed, "missing certificate common_name"),
            run: cert::generate_test,
            ..Command::BLANK
        },
        Command {
            name: "list",
            aliases: &["ls"],
            summary: "List certificates in the trust store.",
            about: "List certificates in the trust store",
            usage: "list [flags]",
            flags: &[STORE, TYPE, DEBUG, VERBOSE],
            run: cert::list,
            ..Command::BLANK
        },
        Command {
            name: "show",
            summary: "Show certificate details given trust store type, named store, and certificate file name. If the certificate file contains multiple certificates, then all certificates are displayed.",
            about: "Show certificate details of given trust store name, trust store type, and certificate file name. If the certificate file contains multiple certificates, then all certificates are displayed",
            usage: "show --type <type> --store <name> [flags] <cert_fileName>",
            flags: &[STORE, TYPE, DEBUG, VERBOSE],
            required: &["store", "type"],
            arity: |parsed| match parsed.rest.len() {
                0 => Err(Refusal::new("missing certificate file name")),
                1 => Ok(()),
                _ => Err(Refusal::new("show only supports single certificate file")),
            },
            run: cert::show,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

const KEY: Command = Command {
    name: "key",
    summary: "Manage keys used for signing",
    about: "Manage keys used for signing",
    children: &[
        Command {
            name: "add",
            summary: "Add key to Notation signing key list",
            about: "Add key to Notation signing key list",
            usage: "add --plugin <plugin_name> [flags] <key_name>",
            flags: &[
                DEBUG,
                VERBOSE,
                Flag::new("default", Kind::Switch, "mark as default"),
                Flag::new("id", Kind::Text, "key id (required if --plugin is set)"),
                Flag::new("plugin", Kind::Text, "signing plugin name"),
                Flag::new(
                    "plugin-config",
                    Kind::Texts,
                    "{key}={value} pairs that are passed as it is to a plugin, refer plugin's documentation to set appropriate values",
                ),
            ],
            required: &["plugin"],
            arity: |parsed| match parsed.rest.len() {
                1 => Ok(()),
                _ => Err(Refusal::new("either missing key name or unnecessary parameters passed")),
            },
            run: key::add,
            ..Command::BLANK
        },
        Command {
            name: "delete",
            summary: "Remove key from Notation signing key list",
            about: "Remove key from Notation signing key list",
            usage: "delete [flags] <key_name>...",
            flags: &[DEBUG, VERBOSE],
            arity: |parsed| at_least_one(parsed, "missing key names"),
            run: key::delete,
            ..Command::BLANK
        },
        Command {
            name: "list",
            aliases: &["ls"],
            summary: "List keys used for signing",
            about: "List keys used for signing",
            usage: "list [flags]",
            run: key::list,
            ..Command::BLANK
        },
        Command {
            name: "update",
            aliases: &["set"],
            summary: "Update key in Notation signing key list",
            about: "Update key in Notation signing key list",
            usage: "update [flags] <key_name>",
            flags: &[DEBUG, VERBOSE, Flag::new("default", Kind::Switch, "mark as default")],
            arity: |parsed| at_least_one(parsed, "missing key name"),
            run: key::update,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

const POLICY: Command = Command {
    name: "policy",
    summary: "Manage trust policy configuration",
    about: "Manage trust policy configuration for signature verification.",
    children: &[
        Command {
            name: "import",
            summary: "Import trust policy configuration from a JSON file",
            about: "Import trust policy configuration from a JSON file.",
            usage: "import [flags] <file_path>",
            flags: &[Flag::new(
                "force",
                Kind::Switch,
                "override the existing trust policy configuration, never prompt",
            )],
            arity: |parsed| match parsed.rest.len() {
                1 => Ok(()),
                count => Err(Refusal(format!(
                    "requires 1 argument but received {count}.\nUsage: notation policy import <path-to-policy.json>\n\
                     Please specify a trust policy file location as the argument"
                ))),
            },
            run: policy::import,
            ..Command::BLANK
        },
        Command {
            name: "show",
            summary: "Show trust policy configuration",
            about: "Show trust policy configuration.",
            usage: "show [flags]",
            arity: |parsed| match parsed.rest.len() {
                0 => Ok(()),
                count => Err(Refusal(format!("accepts 0 arg(s), received {count}"))),
            },
            run: policy::show,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

const PLUGIN: Command = Command {
    name: "plugin",
    summary: "Manage plugins",
    about: "Manage plugins",
    children: &[
        Command {
            name: "install",
            aliases: &["add"],
            summary: "Install a plugin",
            about: "Install a plugin",
            usage: "install [flags] <--file|--url> <plugin_source>",
            flags: &[
                DEBUG,
                VERBOSE,
                Flag::new("file", Kind::Switch, "install plugin from a file on file system"),
                Flag::new("force", Kind::Switch, "force the installation of the plugin"),
                Flag::new(
                    "sha256sum",
                    Kind::Text,
                    "must match SHA256 of the plugin source, required when \"--url\" flag is set",
                ),
                Flag::new(
                    "url",
                    Kind::Switch,
                    "install plugin from an HTTPS URL. The plugin download timeout is 10m0s",
                ),
            ],
            groups: &[Group::OneOf(&["file", "url"]), Group::Exclusive(&["file", "url"])],
            arity: plugin::check_install,
            run: plugin::install,
            ..Command::BLANK
        },
        Command {
            name: "list",
            aliases: &["ls"],
            summary: "List installed plugins",
            about: "List installed plugins",
            usage: "list [flags]",
            run: plugin::list,
            ..Command::BLANK
        },
        Command {
            name: "uninstall",
            aliases: &["remove", "rm"],
            summary: "Uninstall a plugin",
            about: "Uninstall a plugin",
            usage: "uninstall [flags] <plugin_name>",
            flags: &[DEBUG, VERBOSE, Flag::new("yes", Kind::Switch, "do not prompt for confirmation").short('y')],
            arity: |parsed| at_least_one(parsed, "plugin name is required"),
            run: plugin::uninstall,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

const LOGIN: Command = Command {
    name: "login",
    summary: "Login to registry",
    about: "Log in to an OCI registry",
    usage: "login [flags] <server>",
    flags: &[
        DEBUG,
        VERBOSE,
        USERNAME,
        PASSWORD,
        INSECURE,
        Flag::new("password-stdin", Kind::Switch, "take the password from stdin"),
    ],
    arity: |parsed| at_least_one(parsed, "no hostname specified"),
    run: login::login,
    ..Command::BLANK
};

const LOGOUT: Command = Command {
    name: "logout",
    summary: "Log out from the logged in registries",
    about: "Log out from the logged in registries",
    usage: "logout [flags] <server>",
    flags: &[DEBUG, VERBOSE],
    arity: |parsed| at_least_one(parsed, "no hostname specified"),
    run: login::logout,
    ..Command::BLANK
};
