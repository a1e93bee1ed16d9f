//! Files that lie in no registry, each with its signature in a file beside it.
//!
//! There is nothing to look for, so there is one signature and one answer. What may be missing is what issuers say about
//! its certificates, and that is brought as it is for an image.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Gathering, Witnesses};
use crate::envelope::{Envelope, InvalidEnvelope};
use crate::oci::{Descriptor, DigestAlgorithm};
use crate::policy::Trust;
use crate::verify::{self, SignatureReport, Subject, Target, Verdict, VerdictInput, govern_blob, malformed};

/// A file that somebody wants to use, and what is said to be its signature.
#[derive(Clone, Copy, Debug)]
pub struct BlobQuestion<'a> {
    /// The file's name as it was asked for: for people.
    pub name: &'a str,
    /// The file, with its digest by the [`hash_of`] the signature.
    pub blob: &'a Descriptor,
    /// What the file beside it was read as.
    pub signature: &'a Result<Envelope, InvalidEnvelope>,
    /// The statement that is to govern, by its name; the global one without.
    pub statement: Option<&'a str>,
    /// The media type that must have been signed, where it matters.
    pub media_type: Option<&'a str>,
    /// Pairs that must stand in the signed metadata.
    pub user_metadata: &'a BTreeMap<String, String>,
}

/// The hash that the file is to be digested by: that of the signer's key. Where there is no signature, any will do.
pub fn hash_of(signature: &Result<Envelope, InvalidEnvelope>) -> DigestAlgorithm {
    signature.as_ref().map_or(DigestAlgorithm::Sha256, |envelope| envelope.algorithm().hash())
}

/// The verdict for this file.
pub async fn examine_blob<'w>(
    witnesses: impl Into<Witnesses<'w>>,
    trust: &Trust,
    question: BlobQuestion<'_>,
    now: Timestamp,
) -> Verdict {
    let BlobQuestion { name, blob, signature, media_type, user_metadata, .. } = question;
    let input = VerdictInput { reference: name, artifact: blob, trust, now };
    let statement = match govern_blob(input, question.statement) {
        Ok(statement) => statement,
        Err(verdict) => return *verdict,
    };
    let target = Target::Blob { digest: &blob.digest, size: blob.size, media_type };
    let outcome = match signature {
        Ok(envelope) => {
            let examined = verify::examine(envelope, Subject { target, user_metadata }, statement, trust);
            Gathering::from(witnesses).conclude(examined, now).await
        }
        Err(error) => malformed(error),
    };
    Verdict::of_signatures(input, statement, vec![SignatureReport { digest: None, outcome }], false)
}
