//! Commands about what is trusted: certificates and the policy.

use super::super::flags::{Flag, Kind};
use super::super::{Command, Refusal, cert, cleanup, policy};
use super::{DEBUG, STORE, TYPE, VERBOSE, accepts_none, at_least_one};

pub(super) const CERTIFICATE: Command = Command {
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
            name: "cleanup-test",
            summary: "Clean up a test RSA key and its corresponding certificate that were generated using the \"generate-test\" command.",
            about: "Clean up a test RSA key and its corresponding certificate that were generated using the \"generate-test\" command.",
            usage: "cleanup-test [flags] <common_name>",
            flags: &[Flag::new("yes", Kind::Switch, "do not prompt for confirmation").short('y')],
            is_hidden: true,
            arity: cleanup::check,
            run: cleanup::run,
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

pub(super) const POLICY: Command = Command {
    name: "policy",
    summary: "Manage trust policy configuration",
    about: "Manage trust policy configuration for signature verification.",
    children: &[
        Command {
            name: "init",
            summary: "Initialize trust policy configuration",
            about: "Initialize trust policy configuration.",
            usage: "init [flags] --name <policy_name> --trust-store \"<store_type>:<store_name>\" --trusted-identity \"<trusted_identity>\"",
            flags: &[
                Flag::new("force", Kind::Switch, "override the existing trust policy configuration, never prompt"),
                Flag::new("name", Kind::Text, "name of the trust policy statement").short('n'),
                Flag::new(
                    "registry-scope",
                    Kind::Texts,
                    "repository that the statement governs, as <registry>/<repository>; all of them without it",
                ),
                Flag::new("trust-store", Kind::Texts, "trust store in the format \"<store_type>:<store_name>\""),
                Flag::new(
                    "trusted-identity",
                    Kind::Texts,
                    "trusted identity in the format \"x509.subject:<subject_of_signing_certificate>\", or \"*\"",
                ),
            ],
            required: &["name", "trust-store", "trusted-identity"],
            is_hidden: true,
            arity: accepts_none,
            run: policy::init,
            ..Command::BLANK
        },
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
            arity: accepts_none,
            run: policy::show,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};
