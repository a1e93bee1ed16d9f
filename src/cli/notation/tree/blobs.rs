//! Commands about files that lie in no registry.

use super::super::flags::{Flag, Kind};
use super::super::{Command, Group, Refusal, blob};
use super::{
    DEBUG, EXPIRY, ID, PLUGIN_CONFIG, PLUGIN_CONFIG_TO_VERIFY, SIGNATURE_FORMAT, SIGNING_KEY, SIGNING_PLUGIN,
    TIMESTAMP_ROOT, TIMESTAMP_URL, USER_METADATA, USER_METADATA_TO_VERIFY, VERBOSE, accepts_none,
};

pub(super) const BLOB: Command = Command {
    name: "blob",
    summary: "Commands for blob",
    about: "Sign, verify, inspect signatures of blob. Configure blob trust policy.",
    children: &[INSPECT, POLICY, SIGN, VERIFY],
    is_hidden: true,
    ..Command::BLANK
};

const SIGN: Command = Command {
    name: "sign",
    summary: "Produce a detached signature for a given blob",
    about: "Produce a detached signature for a given blob.\n\nThe signature file will be written to the same directory as \
            the blob with file name \"{blob file name}.{signature format}.sig\", unless a directory for it is named.",
    usage: "sign [flags] <blob_path>",
    flags: &[
        DEBUG,
        VERBOSE,
        EXPIRY,
        Flag::new("force", Kind::Switch, "override the existing signature file, never prompt"),
        ID,
        SIGNING_KEY,
        Flag::new("media-type", Kind::Text, "media type of the blob").default("application/octet-stream"),
        SIGNING_PLUGIN,
        PLUGIN_CONFIG,
        Flag::new(
            "signature-directory",
            Kind::Text,
            "directory where the signature file is placed (default same directory as the blob)",
        ),
        SIGNATURE_FORMAT,
        TIMESTAMP_ROOT,
        TIMESTAMP_URL,
        USER_METADATA,
    ],
    groups: &[
        Group::Together(&["id", "plugin"]),
        Group::Together(&["timestamp-url", "timestamp-root-cert"]),
        Group::Exclusive(&["key", "id"]),
        Group::Exclusive(&["key", "plugin"]),
    ],
    arity: blob::sign::check,
    run: blob::sign::run,
    ..Command::BLANK
};

const VERIFY: Command = Command {
    name: "verify",
    summary: "Verify a signature associated with a blob",
    about: "Verify a signature associated with a blob.",
    usage: "verify [flags] --signature <signature_path> <blob_path>",
    flags: &[
        DEBUG,
        VERBOSE,
        Flag::new("media-type", Kind::Text, "media type of the blob to verify"),
        PLUGIN_CONFIG_TO_VERIFY,
        Flag::new(
            "policy-name",
            Kind::Text,
            "policy name to verify against. If not provided, the global policy is used if exists",
        ),
        Flag::new("signature", Kind::Text, "filepath of the signature to be verified").short('s'),
        USER_METADATA_TO_VERIFY,
    ],
    required: &["signature"],
    arity: blob::verify::check,
    run: blob::verify::run,
    ..Command::BLANK
};

const INSPECT: Command = Command {
    name: "inspect",
    summary: "Inspect a signature associated with a blob",
    about: "Inspect a signature associated with a blob.",
    usage: "inspect [flags] <signature_path>",
    flags: &[Flag::new("output", Kind::Text, "output format, options: 'json', 'tree'").short('o').default("tree")],
    arity: blob::inspect::check,
    run: blob::inspect::run,
    ..Command::BLANK
};

const POLICY: Command = Command {
    name: "policy",
    summary: "Manage blob trust policy configuration for arbitrary blob signature verification",
    about: "Manage blob trust policy configuration for arbitrary blob signature verification.",
    children: &[
        Command {
            name: "import",
            summary: "Import blob trust policy configuration from a JSON file",
            about: "Import blob trust policy configuration from a JSON file.",
            usage: "import [flags] <file_path>",
            flags: &[Flag::new(
                "force",
                Kind::Switch,
                "override the existing blob trust policy configuration without prompt",
            )],
            arity: |parsed| match parsed.rest.len() {
                1 => Ok(()),
                count => Err(Refusal(format!(
                    "requires 1 argument but received {count}.\nUsage: notation blob policy import \
                     <path-to-policy.json>\nPlease specify a trust policy configuration location as the argument"
                ))),
            },
            run: blob::policy::import,
            ..Command::BLANK
        },
        Command {
            name: "init",
            summary: "Initialize blob trust policy configuration",
            about: "Initialize blob trust policy configuration.",
            usage: "init [flags] --name <policy_name> --trust-store \"<store_type>:<store_name>\" \
                    --trusted-identity \"<trusted_identity>\"",
            flags: &[
                Flag::new(
                    "force",
                    Kind::Switch,
                    "override the existing blob trust policy configuration, never prompt (default --force=false)",
                ),
                Flag::new("global", Kind::Switch, "set the policy as the global policy (default --global=false)"),
                Flag::new("name", Kind::Text, "name of the blob trust policy").short('n'),
                Flag::new("trust-store", Kind::Texts, "trust store in the format \"<store_type>:<store_name>\""),
                Flag::new(
                    "trusted-identity",
                    Kind::Texts,
                    "trusted identity, use the format \"x509.subject:<subject_of_signing_certificate>\" for x509 CA scheme and \"<signing_authority_identity>\" for x509 signingAuthority scheme",
                ),
            ],
            required: &["name", "trust-store", "trusted-identity"],
            arity: accepts_none,
            run: blob::policy::init,
            ..Command::BLANK
        },
        Command {
            name: "show",
            summary: "Show blob trust policy configuration",
            about: "Show blob trust policy configuration.",
            usage: "show [flags]",
            arity: accepts_none,
            run: blob::policy::show,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};
