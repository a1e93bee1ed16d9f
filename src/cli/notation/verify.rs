//! `notation verify`: whether an artifact has a signature that satisfies the trust policy.

use std::time::Duration;

use super::account::Account;
use super::artifact::{Artifact, MAY_HAVE_MOVED, max_signatures};
use super::flags::Parsed;
use super::servers::NotedServers;
use super::{Refusal, Said, block_on, environment, output, policy_fault};
use crate::cli::place::Place;
use crate::cli::plugins::verifiers;
use crate::clock;
use crate::config::LoadError;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::envelope::{Envelope, Payload};
use crate::judge::{Bounds, Places, Question, Witnesses, examine_and_show};
use crate::oci::{Blob, Repository};
use crate::policy::{StoreProblem, Trust};
use crate::remedy::Remedy as _;
use crate::verify::{Answer, Verdict};

const QUICK_START: &str =
    "To create a trust policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy";
const ADD_CERTIFICATES: &str =
    "Use command 'notation cert add' to create and add trusted certificates to the trust store";
/// As long as `pratique verify` gives a registry in all.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn run(parsed: &Parsed) -> Said {
    let max_signatures = max_signatures(parsed)?;
    let trust = environment::configuration().load_trust().map_err(|error| no_policy(&error))?;
    let user_metadata = parsed.pairs("user-metadata")?;
    let plugin_config = parsed.pairs("plugin-config")?;
    let (servers, plugins) = (NotedServers::open(), verifiers(&environment::configuration(), plugin_config));
    let witnesses = Witnesses { responders: &servers, plugins: &plugins };
    block_on(async {
        let artifact = Artifact::resolve(parsed, "verify", MAY_HAVE_MOVED).await?;
        let repository = scope(parsed, &artifact)?;
        let name = if parsed.is_on("oci-layout") { parsed.text("scope") } else { &artifact.name };
        let question = Question {
            reference: format!("{name}@{}", artifact.descriptor.digest),
            repository,
            artifact: artifact.descriptor.clone(),
            user_metadata,
            places: Places::default(),
        };
        let bounds = Bounds { total_timeout: TIMEOUT, max_signatures, envelope_size: DEFAULT_ENVELOPE_SIZE };
        let (verdict, envelope) =
            examine_and_show(artifact.place.source(), witnesses, &trust, &question, bounds, clock::now()).await;
        tell(&verdict, envelope.as_ref(), &artifact, &trust)
    })
}

pub(super) fn no_policy(error: &LoadError) -> Refusal {
    Refusal(match error {
        LoadError::Missing { .. } => format!("trust policy is not present. {QUICK_START}"),
        LoadError::Invalid { source, .. } if source.code().as_str() == "policy-malformed" => {
            format!("malformed trust policy. {QUICK_START}")
        }
        LoadError::Invalid { source, .. } => policy_fault::words(source),
        LoadError::Unreadable { path, .. } => match error.code().as_str() {
            "policy-symlink" | "policy-not-a-file" => {
                format!("trust policy is not a regular file (symlinks are not supported). {QUICK_START}")
            }
            _ => format!(
                "unable to read trust policy due to file permissions, please verify the permissions of {}",
                path.display()
            ),
        },
    })
}

/// The repository whose statement governs: in a layout, the one that is named beside it.
fn scope(parsed: &Parsed, artifact: &Artifact) -> Result<Repository, Refusal> {
    let Place::Layout(_) = artifact.place else { return Ok(artifact.repository.clone()) };
    let scope = parsed.text("scope");
    scope.parse().map_err(|_| {
        Refusal(format!(
            "signature verification failed: registry scope {scope:?} is not valid, {}",
            policy_fault::SCOPE_FORM
        ))
    })
}

fn tell(verdict: &Verdict, envelope: Option<&Blob>, artifact: &Artifact, trust: &Trust) -> Said {
    let pinned = artifact.pinned();
    let envelope = envelope
        .and_then(|blob| Envelope::parse(&blob.descriptor().media_type, blob.bytes(), DEFAULT_ENVELOPE_SIZE).ok());
    let told = Account::new(trust, envelope.as_ref());
    told.log(verdict);
    match (verdict.answer(), verdict.code.as_str()) {
        (Answer::Admit, _) => {
            told.warnings(verdict).iter().for_each(|warning| output::warn(warning));
            tell_admitted(verdict, envelope.as_ref(), &pinned);
            Ok(())
        }
        (_, "no-policy-statement") => Err(Refusal(format!(
            "signature verification failed: artifact {:?} has no applicable trust policy statement. Trust policy \
             applicability for a given artifact is determined by registryScopes. {QUICK_START}",
            verdict.reference
        ))),
        (_, "no-signature") => Err(Refusal(format!(
            "signature verification failed: no signature is associated with {pinned:?}, make sure the artifact was \
             signed successfully"
        ))),
        // The original knows two answers: a signer whose standing nobody tells has not signed well.
        (Answer::Deny, _) | (Answer::Inconclusive, "revocation-unknown") => {
            Err(Refusal(format!("signature verification failed for all the signatures associated with {pinned}")))
        }
        (Answer::Inconclusive, _) => Err(without_answer(verdict, trust)),
    }
}

/// That `name` is admitted, by which signature.
pub(super) fn tell_admitted(verdict: &Verdict, envelope: Option<&Envelope>, name: &str) {
    if verdict.code.as_str() == "verification-skipped" {
        output::say(&format!("Trust policy is configured to skip signature verification for {name}"));
    } else {
        output::say(&format!("Successfully verified signature for {name}"));
        tell_metadata(envelope);
    }
}

/// A trust store that cannot be used, or what else kept the question open.
pub(super) fn without_answer(verdict: &Verdict, trust: &Trust) -> Refusal {
    let store = trust.problems().find(|(_, problem)| problem.code() == verdict.code).map(|(store, _)| store);
    let named = |store: &crate::policy::TrustStore| format!("{:?} of type {:?}", store.name(), store.kind().as_str());
    Refusal(match store {
        Some(store) if verdict.code == StoreProblem::MISSING => {
            format!("the trust store {} does not exist. {ADD_CERTIFICATES}", named(store))
        }
        Some(store) if verdict.code == StoreProblem::EMPTY => {
            format!("no x509 certificates were found in trust store {}. {ADD_CERTIFICATES}", named(store))
        }
        _ => format!("signature verification failed: {}", verdict.reason),
    })
}

/// The signed pairs of the signature that is good.
fn tell_metadata(envelope: Option<&Envelope>) {
    let annotations = envelope
        .and_then(|envelope| Payload::parse(envelope.payload()).ok())
        .map(|payload| payload.target_artifact.annotations)
        .unwrap_or_default();
    if annotations.is_empty() {
        return;
    }
    let head = ["KEY".to_owned(), "VALUE".to_owned()];
    let rows: Vec<[String; 2]> = std::iter::once(head).chain(annotations.into_iter().map(|(k, v)| [k, v])).collect();
    output::say(&format!("\nThe artifact was signed with the following user metadata.\n\n{}", output::table(&rows)));
}
