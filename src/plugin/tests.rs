//! What comes of a plugin that misbehaves, beside one that does not: an error of its own that names the plugin, in time, and
//! nothing left running.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::envelope::SigningScheme;
use crate::verify::{PluginCheck, SignatureQuestion};

const NAME: &str = "com.acme.plugin";
const METADATA: &str = "get-plugin-metadata";
const SIGNATURE: &str = "verify-signature";

/// A directory with the plugin of the tests.
pub(super) struct Installed(TempDir);

impl Installed {
    pub(super) fn new() -> Self {
        let installed = Self(tempfile::tempdir().unwrap());
        fs::create_dir(installed.0.path().join(NAME)).unwrap();
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugins/plugin.sh"), installed.program()).unwrap();
        fs::set_permissions(installed.program(), fs::Permissions::from_mode(0o755)).unwrap();
        installed
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        fs::write(self.0.path().join(NAME).join(name), content).unwrap();
    }

    fn program(&self) -> PathBuf {
        self.0.path().join(NAME).join(format!("notation-{NAME}"))
    }

    pub(super) fn folder(&self) -> PluginFolder {
        PluginFolder::new(self.0.path().to_owned())
    }

    fn verifiers(&self, timeout: Duration) -> Verifiers {
        Verifiers::new(self.folder(), VerifierOptions { timeout, ..VerifierOptions::default() })
    }

    /// The processes that the plugin has started and not ended.
    fn left(&self) -> Vec<PathBuf> {
        let left = fs::read_to_string(self.0.path().join(NAME).join("left")).unwrap_or_default();
        let alive = |process: &PathBuf| {
            // One that has ended may not have been reaped yet by its new parent.
            let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
            state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
        };
        left.lines().map(|id| PathBuf::from(format!("/proc/{id}"))).filter(alive).collect()
    }

    fn until_nothing_is_left(&self) {
        let started = Instant::now();
        while !self.left().is_empty() {
            assert!(started.elapsed() < Duration::from_secs(20), "{:?}", self.left());
            std::thread::yield_now();
        }
    }
}

fn about(command: &str) -> PluginQuestion {
    if command == METADATA {
        return PluginQuestion::Metadata { plugin: NAME.into() };
    }
    PluginQuestion::Signature(Box::new(SignatureQuestion {
        plugin: NAME.into(),
        minimum_version: None,
        scheme: SigningScheme::X509,
        expiry: Some("2030-01-01T00:00:00Z".parse().unwrap()),
        authentic_signing_time: None,
        extended: [("com.acme.extra".to_owned(), "7".to_owned())].into(),
        unprocessed: vec!["com.acme.extra".into()],
        certificates: vec![vec![0x30, 0]],
        trusted_identities: vec!["*".into()],
        checks: PluginCheck::ALL.to_vec(),
    }))
}

/// The code of what comes of it, or `answer`.
async fn code(installed: &Installed, command: &str, timeout: Duration) -> (&'static str, String) {
    match installed.verifiers(timeout).ask(&about(command)).await {
        Ok(PluginAnswer::NotInstalled) => ("not installed", String::new()),
        Ok(_) => ("answer", String::new()),
        Err(problem) => (problem.code.as_str(), problem.message),
    }
}

#[tokio::test]
async fn each_way_to_misbehave_is_an_error_of_its_own_that_names_the_plugin() {
    let general = [
        ("crash", "plugin-crashed"),
        ("fail", "plugin-crashed"),
        ("fail-with-text", "plugin-crashed"),
        ("flood", "plugin-output-too-large"),
        ("flood-stderr", "plugin-output-too-large"),
        ("nothing", "plugin-answer-malformed"),
        ("text", "plugin-answer-malformed"),
        ("list", "plugin-answer-malformed"),
        ("deep", "plugin-answer-malformed"),
        ("says-VALIDATION_ERROR", "plugin-says-validation"),
        ("says-UNSUPPORTED_CONTRACT_VERSION", "plugin-says-contract-version"),
        ("says-ACCESS_DENIED", "plugin-says-access-denied"),
        ("says-TIMEOUT", "plugin-says-timeout"),
        ("says-THROTTLED", "plugin-says-throttled"),
        ("says-ERROR", "plugin-says-error"),
        ("says-NO_SUCH_CODE", "plugin-says-error"),
    ];
    let metadata = [
        ("twice", "plugin-answer-malformed"),
        ("other-name", "plugin-metadata-invalid"),
        ("no-url", "plugin-metadata-invalid"),
        ("no-capabilities", "plugin-metadata-invalid"),
        ("other-contract", "plugin-contract-version"),
    ];
    let signature = [("success-as-text", "plugin-answer-malformed"), ("result-twice", "plugin-answer-malformed")];
    let installed = Installed::new();
    for (command, own) in [(METADATA, &metadata[..]), (SIGNATURE, &signature[..])] {
        for (behaviour, wanted) in general.iter().chain(own) {
            installed.write("behaviour", &format!("{command} {behaviour}"));
            let (got, message) = code(&installed, command, Duration::from_secs(60)).await;
            assert_eq!(got, *wanted, "{command} {behaviour}: {message}");
            assert!(message.starts_with(&format!("the plugin `{NAME}`: ")), "{message}");
        }
        installed.write("behaviour", &format!("{command} well"));
        assert_eq!(code(&installed, command, Duration::from_secs(60)).await.0, "answer", "{command}");
    }
}

#[tokio::test]
async fn a_plugin_that_hangs_is_ended_with_all_that_it_has_started() {
    let installed = Installed::new();
    installed.write("behaviour", &format!("{METADATA} hang"));
    let (got, message) = code(&installed, METADATA, Duration::from_millis(1500)).await;
    assert_eq!(got, "plugin-timed-out", "{message}");
    assert_eq!(message, format!("the plugin `{NAME}`: it did not answer `{METADATA}` within 1500 ms and was ended"));
    installed.until_nothing_is_left();
}

#[tokio::test]
async fn a_plugin_that_nobody_waits_for_any_more_is_ended() {
    let installed = Installed::new();
    installed.write("behaviour", &format!("{METADATA} hang"));
    let asking = code(&installed, METADATA, Duration::from_secs(600));
    assert!(tokio::time::timeout(Duration::from_millis(1500), asking).await.is_err());
    installed.until_nothing_is_left();
}

#[tokio::test]
async fn what_a_plugin_leaves_running_is_ended_and_keeps_nobody_waiting() {
    let installed = Installed::new();
    installed.write("behaviour", &format!("{METADATA} linger"));
    assert_eq!(code(&installed, METADATA, Duration::from_secs(60)).await.0, "answer");
    installed.until_nothing_is_left();
}

#[tokio::test]
async fn only_a_program_in_its_own_directory_is_run() {
    let installed = Installed::new();
    let limit = Duration::from_secs(60);
    let permit = |mode| fs::set_permissions(installed.program(), fs::Permissions::from_mode(mode)).unwrap();
    permit(0o644);
    assert_eq!(code(&installed, METADATA, limit).await.0, "plugin-file-refused");
    permit(0o757);
    assert_eq!(code(&installed, METADATA, limit).await.0, "plugin-file-refused");
    permit(0o755);
    assert_eq!(code(&installed, METADATA, limit).await.0, "answer");

    let elsewhere = installed.0.path().join("elsewhere");
    fs::rename(installed.program(), &elsewhere).unwrap();
    assert_eq!(code(&installed, METADATA, limit).await.0, "not installed");
    symlink(&elsewhere, installed.program()).unwrap();
    assert_eq!(code(&installed, METADATA, limit).await.0, "plugin-file-refused");
    fs::remove_file(installed.program()).unwrap();
    fs::create_dir(installed.program()).unwrap();
    assert_eq!(code(&installed, METADATA, limit).await.0, "plugin-file-refused");
    fs::remove_dir(installed.program()).unwrap();
    fs::write(installed.program(), "\x7fELF of another machine").unwrap();
    permit(0o755);
    assert_eq!(code(&installed, METADATA, limit).await.0, "plugin-not-run");

    for name in ["", ".", "..", "../x", "a/b", "a b", "a\0b"] {
        let error = installed.folder().find(name).unwrap_err();
        assert!(matches!(error.fault, PluginFault::Name), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_plugin_is_told_what_the_contract_says() {
    let installed = Installed::new();
    let config = [("region".to_owned(), "x".to_owned())].into();
    let options = VerifierOptions { config, timeout: Duration::from_secs(60), ..VerifierOptions::default() };
    let verifiers = Verifiers::new(installed.folder(), options);
    for (command, wanted) in [
        (METADATA, r#"{"pluginConfig":{"region":"x"}}"#),
        (
            SIGNATURE,
            r#"{"contractVersion":"1.0","signature":{"criticalAttributes":{"contentType":"application/vnd.cncf.notary.payload.v1+json","signingScheme":"notary.x509","expiry":"2030-01-01T00:00:00Z","verificationPlugin":"com.acme.plugin","extendedAttributes":{"com.acme.extra":7}},"unprocessedAttributes":["com.acme.extra"],"certificateChain":["MAA="]},"trustPolicy":{"trustedIdentities":["*"],"signatureVerification":["SIGNATURE_VERIFIER.TRUSTED_IDENTITY","SIGNATURE_VERIFIER.REVOCATION_CHECK"]},"pluginConfig":{"region":"x"}}"#,
        ),
    ] {
        verifiers.ask(&about(command)).await.unwrap();
        let request = fs::read_to_string(installed.0.path().join(NAME).join(format!("request-{command}"))).unwrap();
        assert_eq!(request, wanted);
    }
}

#[tokio::test]
async fn a_question_without_an_expiry_has_the_member_that_plugins_look_for() {
    let installed = Installed::new();
    let PluginQuestion::Signature(question) = about(SIGNATURE) else { panic!("it is about a signature") };
    let question = PluginQuestion::Signature(Box::new(SignatureQuestion { expiry: None, ..*question }));
    installed.verifiers(Duration::from_secs(60)).ask(&question).await.unwrap();
    let request = fs::read_to_string(installed.0.path().join(NAME).join(format!("request-{SIGNATURE}"))).unwrap();
    assert!(request.contains(r#""expiry":"0001-01-01T00:00:00Z""#), "{request}");
}
