//! `pratique blob verify`: whether a file is what somebody has signed whom the trust policy for blobs accepts.

use std::path::PathBuf;

use clap::Args;

use super::{describe_file, format_of, read_signature};
use crate::cli::exit::{Exit, Failure};
use crate::cli::judging::JudgingArguments;
use crate::cli::verify::{metadata, pair};
use crate::cli::{Output, output};
use crate::clock;
use crate::judge::{BlobQuestion, examine_blob, hash_of};
use crate::oci::media_type;
use crate::verify::Check;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The file; `-` for the standard input.
    file: PathBuf,
    /// The signature, in a file that is named after its format: NAME.jws.sig or NAME.cose.sig.
    #[arg(long, short = 's', value_name = "FILE")]
    signature: PathBuf,
    /// The media type that the file must have been signed as; any without it.
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
    /// The statement of the trust policy that is to govern; the global one without it.
    #[arg(long, value_name = "NAME")]
    policy_name: Option<String>,
    /// Pairs that the signed metadata must hold (may be given again).
    #[arg(long = "user-metadata", short = 'm', value_name = "KEY=VALUE", value_parser = pair)]
    user_metadata: Vec<(String, String)>,
    #[command(flatten)]
    judging: JudgingArguments,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let user_metadata = metadata(arguments.user_metadata)?;
    let format = format_of(&arguments.signature)?;
    let judging = arguments.judging.open()?;
    let trust = judging.directory.load_blob_trust().map_err(|error| Failure::of(&error).about(Check::Policy))?;
    let signature = read_signature(&arguments.signature, format)?;
    let media_type = arguments.media_type.as_deref();
    let blob = describe_file(&arguments.file, hash_of(&signature), media_type.unwrap_or(media_type::OCTET_STREAM))?;
    let question = BlobQuestion {
        name: &arguments.file.display().to_string(),
        blob: &blob,
        signature: &signature,
        statement: arguments.policy_name.as_deref(),
        media_type,
        user_metadata: &user_metadata,
    };
    let verdict = examine_blob(judging.witnesses(), &trust, question, clock::now()).await;
    output::verdict(output, &verdict);
    Ok(verdict.answer().into())
}
