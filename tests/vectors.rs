//! The Notary vectors: every case gives the expected verdict and the check that failed.
//!
//! `tests/vectors/README.md` tells the format. Known differences stand in `tests/vectors/exceptions.toml`, each with its
//! reason; an exception that no longer holds fails too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end in a panic"
)]

#[path = "support/vectors.rs"]
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use pratique::config::NotationDir;
use pratique::envelope::{Envelope, Format, limits::DEFAULT_ENVELOPE_SIZE};
use pratique::judge::{BlobQuestion, Bounds, Gathering, Places, Question, Witnesses, examine_blob, hash_of};
use pratique::oci::{Digest, Reference, media_type};
use pratique::pki::Certificate;
use pratique::plugin::{PluginFolder, VerifierOptions, Verifiers};
use pratique::policy::{Policy, Trust};
use pratique::remedy::Remedy;
use pratique::revocation::{AskError, Kept, Responders};
use pratique::source::{Source, file::describe, layout::Layout};
use pratique::verify::{
    Answer, Examined, Lists, Need, Outcome, Problem, SignatureReport, Subject, Verdict, VerdictInput, examine, govern,
    malformed,
};
use serde::Deserialize;
use tempfile::TempDir;

use vectors::{BlobCase, EnvelopeCase, ExpectedVerdict, cases, copy_trust_store, exceptions, read, vectors};

#[test]
fn envelopes_give_the_verdict_they_expect() {
    let cases: Vec<EnvelopeCase> = cases("cases", 114);
    check("cases", cases.iter().map(|case| (case.name.as_str(), case.expected.answer(), case.run())));
}

#[test]
fn policies_select_the_statement_they_expect() {
    let cases: Vec<PolicyCase> = cases("policy-cases", 36);
    check("policy-cases", cases.iter().map(|case| (case.name.as_str(), case.expected.answer(), case.run())));
}

#[test]
fn policy_files_are_read_in_the_order_they_expect() {
    let cases: Vec<PolicyFileCase> = cases("policy-file-cases", 4);
    check("policy-file-cases", cases.iter().map(|case| (case.name.as_str(), case.expected.answer(), case.run())));
}

#[test]
fn trusted_identities_match_the_subjects_they_expect() {
    let cases: Vec<NameCase> = cases("dn-cases", 20);
    check("dn-cases", cases.iter().map(|case| (case.name.as_str(), case.expected.result.clone(), case.run())));
}

#[test]
fn blobs_give_the_verdict_they_expect() {
    let cases: Vec<BlobCase> = cases("blob-cases", 14);
    check("blob-cases", cases.iter().map(|case| (case.name.as_str(), case.expected.answer(), case.run())));
}

#[test]
fn layouts_list_the_signatures_and_give_the_verdict_they_expect() {
    let cases: Vec<LayoutCase> = cases("layout-cases", 11);
    check("layout-cases", cases.iter().map(|case| (case.name.as_str(), case.expected.answer(), case.run())));
}

/// Compares every case with what is expected, or with what its exception says.
fn check<'a>(file: &str, cases: impl Iterator<Item = (&'a str, String, String)>) {
    let exceptions = exceptions(file);
    let mut unused: BTreeSet<&str> = exceptions.keys().map(String::as_str).collect();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, expected, got) in cases {
        count += 1;
        let exception = exceptions.get(name);
        unused.remove(name);
        if exception.is_some() && got == expected {
            wrong.push(format!("{name}: gives {got} as the vector expects; take its exception away"));
        }
        let wanted = exception.unwrap_or(&expected);
        if got != *wanted {
            wrong.push(format!("{name}: expected {wanted}, got {got}"));
        }
    }
    wrong.extend(unused.into_iter().map(|name| format!("{name}: an exception without a case")));
    assert!(wrong.is_empty(), "{} of {count} vectors of {file}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A case, put to the library.
trait Run {
    fn run(&self) -> String;
}

impl Run for EnvelopeCase {
    fn run(&self) -> String {
        let directory = configuration(self.trust_store.as_deref(), &self.policy, "trustpolicy.json");
        for (link, target) in &self.trust_store_symlinks {
            std::os::unix::fs::symlink(target, directory.path().join("truststore").join(link)).unwrap();
        }
        answer_of(&envelope_verdict(self, &notation_dir(&directory).load_trust().unwrap()))
    }
}

fn envelope_verdict(case: &EnvelopeCase, trust: &Trust) -> Verdict {
    let reference: Reference = case.artifact_reference.parse().unwrap();
    let now = pratique::clock::now();
    let input = VerdictInput { reference: &case.artifact_reference, artifact: &case.descriptor, trust, now };
    let statement = match govern(input, reference.repository()) {
        Ok(statement) => statement,
        Err(verdict) => return *verdict,
    };
    let subject = Subject::artifact(&case.descriptor, &case.user_metadata);
    let outcome = match Envelope::parse(&case.media_type, &read(&case.envelope), DEFAULT_ENVELOPE_SIZE) {
        Ok(envelope) => {
            let network = Network { answers: case.http.as_ref() };
            let plugins = installed(case);
            let options = VerifierOptions { timeout: Duration::from_secs(60), ..VerifierOptions::default() };
            let verifiers = Verifiers::new(PluginFolder::new(plugins.path().to_owned()), options);
            let witnesses = Witnesses { responders: &network, plugins: &verifiers };
            decide(witnesses, examine(&envelope, subject, statement, trust), now)
        }
        Err(error) => malformed(&error),
    };
    Verdict::of_signatures(input, statement, vec![SignatureReport { digest: None, outcome }], false)
}

/// A directory with the case's plugins.
fn installed(case: &EnvelopeCase) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in &case.plugins {
        let program = folder.path().join(name).join(format!("notation-{name}"));
        fs::create_dir(program.parent().unwrap()).unwrap();
        fs::write(&program, read(script)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn decide<'w>(witnesses: impl Into<Witnesses<'w>>, examined: Examined<'_>, now: Timestamp) -> Outcome {
    tokio::runtime::Runtime::new().unwrap().block_on(Gathering::from(witnesses).conclude(examined, now))
}

/// The network as a case has it.
struct Network<'a> {
    answers: Option<&'a BTreeMap<String, String>>,
}

#[async_trait]
impl Responders for Network<'_> {
    fn lists(&self) -> Result<Lists, Problem> {
        Ok(Lists::default())
    }

    fn remembered(&self, _: &Need, _: Timestamp) -> Option<Arc<[u8]>> {
        None
    }

    async fn ask(&self, need: &Need) -> Result<Arc<[u8]>, Problem> {
        let answers = self.answers.unwrap_or_else(|| panic!("{} is asked, and nobody may be", need.url()));
        let answer = answers.iter().find(|(prefix, _)| need.url().starts_with(prefix.as_str()));
        let status = |status| Err(Problem::of(&AskError::Status { status }));
        match answer.map(|(_, answer)| answer.as_str()) {
            None => status(404),
            Some("timeout") => Err(Problem::of(&AskError::TimedOut { limit: Duration::from_secs(2) })),
            Some(answer) => match answer.strip_prefix("status:") {
                Some(number) => status(number.parse().unwrap()),
                None => Ok(Arc::from(read(answer))),
            },
        }
    }

    fn keep(&self, _: &Need, _: &Arc<[u8]>, _: Kept) {}

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// A configuration directory with this trust store and this policy.
fn configuration(trust_store: Option<&Path>, policy: &Path, policy_name: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("truststore");
    fs::create_dir(&store).unwrap();
    if let Some(source) = trust_store {
        copy_trust_store(source, &store);
    }
    fs::copy(vectors().join(policy), directory.path().join(policy_name)).unwrap();
    directory
}

fn notation_dir(directory: &TempDir) -> NotationDir {
    NotationDir::new(directory.path().to_path_buf())
}

/// A verdict that could not be reached counts as a rejection only where the vector itself speaks of what the operator has
/// not provided, or of an issuer who does not answer; elsewhere it is told apart.
fn answer_of(verdict: &Verdict) -> String {
    let failed = verdict.failed.map(|check| serde_json::to_value(check).unwrap());
    let failed = failed.as_ref().and_then(|check| check.as_str()).unwrap_or_default();
    // The specification has two answers: a certificate whose status nobody could find out fails the check.
    let is_rejection =
        verdict.code.as_str().starts_with("trust-store-") || verdict.code.as_str() == "revocation-unknown";
    match verdict.answer() {
        Answer::Admit if verdict.logged.is_empty() => "accept".to_owned(),
        Answer::Admit => {
            let logged = serde_json::to_value(&verdict.logged).unwrap();
            let logged: Vec<&str> = logged.as_array().unwrap().iter().map(|check| check.as_str().unwrap()).collect();
            format!("accept, logged {}", logged.join(" "))
        }
        Answer::Inconclusive if !is_rejection => format!("inconclusive {failed}"),
        Answer::Deny | Answer::Inconclusive => format!("reject {failed}"),
    }
}

impl Run for BlobCase {
    fn run(&self) -> String {
        let directory = configuration(Some(&self.trust_store), &self.policy, "trustpolicy.blob.json");
        let trust = notation_dir(&directory).load_blob_trust().unwrap();
        let format = match Format::from_signature_file_name(&self.signature_name) {
            Ok(format) => format,
            Err(error) => return format!("reject {}", error.code()),
        };
        let signature = Envelope::parse(format.media_type(), &read(&self.signature), DEFAULT_ENVELOPE_SIZE);
        let media_type = self.blob_media_type.as_deref();
        let content = read(&self.blob);
        let question = BlobQuestion {
            name: &self.signature_name,
            blob: &describe(&*content, hash_of(&signature), media_type.unwrap_or(media_type::OCTET_STREAM)).unwrap(),
            signature: &signature,
            statement: self.policy_name.as_deref(),
            media_type,
            user_metadata: &self.user_metadata,
        };
        let network = Network { answers: None };
        let verdict = examine_blob(&network, &trust, question, pratique::clock::now());
        answer_of(&tokio::runtime::Runtime::new().unwrap().block_on(verdict))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutCase {
    #[serde(rename = "case")]
    name: String,
    layout: PathBuf,
    reference: String,
    scope: String,
    trust_store: PathBuf,
    policy: PathBuf,
    max_signatures: Option<usize>,
    expected: ExpectedListing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExpectedListing {
    #[serde(flatten)]
    verdict: ExpectedVerdict,
    signatures: BTreeSet<Digest>,
    verified_by: BTreeSet<Digest>,
}

impl ExpectedListing {
    fn answer(&self) -> String {
        listing(&self.verdict.answer(), &self.signatures, !self.verified_by.is_empty())
    }
}

/// The verdict, what the layout lists, and whether one of those was good that may be.
fn listing(verdict: &str, signatures: &BTreeSet<Digest>, is_verified: bool) -> String {
    let listed: Vec<String> = signatures.iter().map(Digest::short).collect();
    format!("{verdict}, lists [{}]{}", listed.join(" "), if is_verified { ", verified by a good one" } else { "" })
}

impl LayoutCase {
    fn run(&self) -> String {
        tokio::runtime::Runtime::new().unwrap().block_on(self.answer())
    }

    async fn answer(&self) -> String {
        let directory = configuration(Some(&self.trust_store), &self.policy, "trustpolicy.json");
        let trust = notation_dir(&directory).load_trust().unwrap();
        let layout = Layout::open(vectors().join(&self.layout)).await.unwrap();
        let reference: Reference = format!("{}{}", self.scope, self.reference).parse().unwrap();
        let artifact = layout.resolve(&reference).await.unwrap();
        let referrers = layout.signatures(reference.repository(), &artifact, 100).await.unwrap();
        assert!(!referrers.truncated);
        let signatures = referrers.descriptors.iter().map(|descriptor| descriptor.digest.clone()).collect();

        let question = Question {
            reference: reference.pinned(artifact.digest.clone()).to_string(),
            repository: reference.repository().clone(),
            artifact,
            user_metadata: BTreeMap::new(),
            places: Places::default(),
        };
        let bounds = Bounds {
            total_timeout: Duration::from_secs(60),
            max_signatures: self.max_signatures.unwrap_or(100),
            envelope_size: DEFAULT_ENVELOPE_SIZE,
        };
        let verdict = pratique::judge::examine(
            &layout,
            &Network { answers: None },
            &trust,
            &question,
            bounds,
            pratique::clock::now(),
        )
        .await;
        assert!(verdict.signatures.len() <= bounds.max_signatures);
        assert_eq!(verdict.truncated, referrers.descriptors.len() > bounds.max_signatures);
        let good = verdict.signatures.last().filter(|report| report.outcome.decisive().is_none());
        let is_verified = good.is_some_and(|good| self.expected.verified_by.contains(good.digest.as_ref().unwrap()));
        listing(&answer_of(&verdict), &signatures, is_verified)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyCase {
    #[serde(rename = "case")]
    name: String,
    policy_text: String,
    artifact_reference: String,
    expected: ExpectedStatement,
}

#[derive(Deserialize)]
struct ExpectedStatement {
    result: String,
    statement: Option<String>,
}

impl ExpectedStatement {
    fn answer(&self) -> String {
        self.statement.as_ref().map_or_else(|| self.result.clone(), |name| format!("statement {name}"))
    }
}

impl PolicyCase {
    fn run(&self) -> String {
        let repository = self.artifact_reference.rsplit_once('@').unwrap().0;
        match Policy::parse(self.policy_text.as_bytes()) {
            Err(_) => "invalid".to_owned(),
            Ok(policy) => statement_name(&policy, repository),
        }
    }
}

fn statement_name(policy: &Policy, repository: &str) -> String {
    let statement = policy.statement_for_scope(repository);
    statement.map_or_else(|| "none".to_owned(), |statement| format!("statement {}", statement.name()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyFileCase {
    #[serde(rename = "case")]
    name: String,
    files: BTreeMap<PathBuf, PathBuf>,
    artifact_reference: String,
    expected: ExpectedStatement,
}

impl PolicyFileCase {
    fn run(&self) -> String {
        let directory = tempfile::tempdir().unwrap();
        for (name, source) in &self.files {
            fs::copy(vectors().join(source), directory.path().join(name)).unwrap();
        }
        let repository = self.artifact_reference.rsplit_once('@').unwrap().0;
        match notation_dir(&directory).load_trust() {
            Err(_) => "error".to_owned(),
            Ok(trust) => statement_name(trust.policy(), repository),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NameCase {
    #[serde(rename = "case")]
    name: String,
    trusted_identities: Vec<String>,
    subject_cert: PathBuf,
    expected: ExpectedStatement,
}

impl NameCase {
    fn run(&self) -> String {
        let document = serde_json::json!({
            "version": "1.0",
            "trustPolicies": [{
                "name": "names", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
                "trustStores": ["ca:dn"], "trustedIdentities": self.trusted_identities,
            }],
        });
        let Ok(policy) = Policy::parse(document.to_string().as_bytes()) else { return "invalid-policy".to_owned() };
        let certificate = Certificate::read_all(&read(&self.subject_cert)).unwrap();
        let accepts = policy.statements()[0].identities().accepts(certificate[0].subject());
        if accepts { "match".to_owned() } else { "no-match".to_owned() }
    }
}
