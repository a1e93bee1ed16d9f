//! Commands about a signed artifact.

use super::super::flags::{Flag, Kind, Stage};
use super::super::{Command, Group, inspect, list, sign, verify};
use super::{
    ALLOW_REFERRERS_API, DEBUG, EXPIRY, ID, INSECURE, MAX_SIGNATURES, PASSWORD, PLUGIN_CONFIG, PLUGIN_CONFIG_TO_VERIFY,
    SIGNATURE_FORMAT, SIGNING_KEY, SIGNING_PLUGIN, TIMESTAMP_ROOT, TIMESTAMP_URL, USER_METADATA,
    USER_METADATA_TO_VERIFY, USERNAME, VERBOSE, reference,
};

pub(super) const SIGN: Command = Command {
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
        ALLOW_REFERRERS_API,
        EXPIRY,
        Flag::new("force-referrers-tag", Kind::Switch, "force to store signatures using the referrers tag schema")
            .default("true"),
        ID,
        SIGNING_KEY,
        SIGNING_PLUGIN,
        PLUGIN_CONFIG,
        SIGNATURE_FORMAT,
        TIMESTAMP_ROOT,
        TIMESTAMP_URL,
        USER_METADATA,
        Flag::new("oci-layout", Kind::Switch, "[Experimental] sign the artifact stored as OCI image layout")
            .stage(Stage::Experimental),
    ],
    groups: &[
        Group::Together(&["id", "plugin"]),
        Group::Together(&["timestamp-url", "timestamp-root-cert"]),
        Group::Exclusive(&["key", "id"]),
        Group::Exclusive(&["key", "plugin"]),
        Group::Exclusive(&["oci-layout", "force-referrers-tag", "allow-referrers-api"]),
    ],
    arity: |parsed| reference(parsed, "sign"),
    run: sign::run,
    ..Command::BLANK
};

pub(super) const VERIFY: Command = Command {
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
        PLUGIN_CONFIG_TO_VERIFY,
        USER_METADATA_TO_VERIFY,
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

pub(super) const LIST: Command = Command {
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

pub(super) const INSPECT: Command = Command {
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
