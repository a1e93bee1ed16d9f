//! Commands about signing keys, and the plugins that hold them.

use super::super::flags::{Flag, Kind};
use super::super::{Command, Group, Refusal, key, plugin};
use super::{DEBUG, VERBOSE, at_least_one};

pub(super) const KEY: Command = Command {
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

pub(super) const PLUGIN: Command = Command {
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
