//! `notation blob verify`: whether a file is what somebody has signed whom the trust policy for blobs accepts.

use std::fs::File;
use std::path::Path;

use super::super::account::Account;
use super::super::flags::Parsed;
use super::super::servers::NotedServers;
use super::super::verify::{no_policy, tell_admitted, without_answer};
use super::super::{Refusal, Said, block_on, environment, output};
use super::{first_of, format_of, unopened};
use crate::cli::blob::{describe_file, read_signature};
use crate::cli::plugins::verifiers;
use crate::clock;
use crate::judge::{BlobQuestion, Witnesses, examine_blob, hash_of};
use crate::oci::media_type;
use crate::verify::{Answer, Verdict};

pub(in super::super) fn check(parsed: &Parsed) -> Said {
    first_of(parsed, "path to the blob artifact", "verify")?;
    if parsed.text("signature").is_empty() {
        return Err(Refusal::new("filepath of the signature cannot be empty"));
    }
    if parsed.has("media-type") && parsed.text("media-type").is_empty() {
        return Err(Refusal::new("--media-type is set but with empty value"));
    }
    Ok(())
}

/// The order is the original's: it decides which of several mistakes is told.
pub(in super::super) fn run(parsed: &Parsed) -> Said {
    let (path, signature_path) = (parsed.first(), parsed.text("signature"));
    for path in [path, signature_path] {
        File::open(path).map_err(|error| Refusal(unopened(path, &error)))?;
    }
    let directory = environment::configuration();
    let trust = directory.load_blob_trust().map_err(|error| no_policy(&error))?;
    let (servers, plugins) = (NotedServers::open(), verifiers(&directory, parsed.pairs("plugin-config")?));
    let user_metadata = parsed.pairs("user-metadata")?;
    let format = format_of(signature_path)?;
    let signature = read_signature(Path::new(signature_path), format).map_err(Refusal::from_failure)?;
    let given = |flag: &str| Some(parsed.text(flag)).filter(|text| !text.is_empty());
    let wanted = given("media-type");
    let blob = describe_file(Path::new(path), hash_of(&signature), wanted.unwrap_or(media_type::OCTET_STREAM))
        .map_err(Refusal::from_failure)?;
    let question = BlobQuestion {
        name: path,
        blob: &blob,
        signature: &signature,
        statement: given("policy-name"),
        media_type: wanted,
        user_metadata: &user_metadata,
    };
    block_on(async {
        let witnesses = Witnesses { responders: &servers, plugins: &plugins };
        let verdict = examine_blob(witnesses, &trust, question, clock::now()).await;
        let envelope = signature.as_ref().ok();
        let told = Account::of_blob(&trust, envelope, format.media_type());
        told.log(&verdict);
        match verdict.answer() {
            Answer::Admit => {
                let warnings = told.warnings(&verdict);
                for warning in &warnings {
                    output::warn(warning);
                }
                if !warnings.is_empty() {
                    output::say("");
                }
                tell_admitted(&verdict, envelope, path);
                Ok(())
            }
            Answer::Deny => Err(denied(&verdict, question.statement)),
            Answer::Inconclusive => Err(without_answer(&verdict, &trust)),
        }
    })
}

/// What the original says of a file in other words than of an image.
fn denied(verdict: &Verdict, statement: Option<&str>) -> Refusal {
    let reason = match (verdict.code.as_str(), statement) {
        ("no-policy-statement", Some(name)) => format!("no applicable blob trust policy with name {name:?}"),
        ("no-policy-statement", None) => "no global blob trust policy".to_owned(),
        ("blob-mismatch" | "blob-size-mismatch" | "blob-media-type-mismatch" | "digest-algorithm-mismatch", _) => {
            "integrity check failed. signature does not match the given blob".to_owned()
        }
        ("user-metadata-mismatch", _) => "unable to find specified metadata in the signature".to_owned(),
        _ => verdict.reason.clone(),
    };
    Refusal(format!("signature verification failed: {reason}"))
}
