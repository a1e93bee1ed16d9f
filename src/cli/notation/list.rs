//! `notation list`: the signatures of an artifact.

use super::artifact::{Artifact, MAY_HAVE_MOVED, max_signatures};
use super::flags::Parsed;
use super::output::Node;
use super::{Said, block_on, output};
use crate::oci::media_type;

pub(super) fn run(parsed: &Parsed) -> Said {
    let limit = max_signatures(parsed)?;
    block_on(async {
        let artifact = Artifact::resolve(parsed, "list", MAY_HAVE_MOVED).await?;
        let referrers = artifact.signatures(limit).await?;
        if referrers.descriptors.is_empty() {
            output::say(&without_signature(&artifact));
            return Ok(());
        }
        let signatures = referrers.descriptors.iter().map(|signature| Node::leaf(signature.digest.to_string()));
        let tree = Node::of(artifact.pinned(), vec![Node::of(media_type::NOTARY_SIGNATURE, signatures.collect())]);
        output::say(&tree.draw());
        if referrers.truncated {
            output::say(&over_the_limit(limit));
        }
        Ok(())
    })
}

pub(super) fn without_signature(artifact: &Artifact) -> String {
    format!("{} has no associated signature", artifact.pinned())
}

pub(super) fn over_the_limit(limit: usize) -> String {
    format!("Warning: exceeded configured limit of max signatures {limit} to examine")
}
