//! Commands about a signed artifact.

use super::super::flags::{Flag, Kind, Stage};
use super::super::{Command, Group, inspect, list, sign, verify};
use super::{ALLOW_REFERRERS_API, DEBUG, INSECURE, MAX_SIGNATURES, PASSWORD, USERNAME, VERBOSE, reference};

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
