//! What the daemon's own tests share: a policy that opens one repository and shuts another.

use std::sync::Arc;

use crate::judge::Judge;
use crate::judge::testing::{self, NoSignatures};
use crate::oci::{Digest, media_type};
use crate::proto::{self, CheckRequest, Stage};
use crate::source::Source;

/// A repository whose images are admitted without a signature.
pub(super) const OPEN: &str = "registry.example/open";
/// A repository whose images need a signature, and have none.
pub(super) const SHUT: &str = "registry.example/shut";

const POLICY: &str = r#"{"version": "1.0", "trustPolicies": [
    {"name": "open", "registryScopes": ["registry.example/open"], "signatureVerification": {"level": "skip"}},
    {"name": "shut", "registryScopes": ["registry.example/shut"], "signatureVerification": {"level": "strict"},
     "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}"#;

pub(super) fn judge() -> Judge {
    judge_over(Arc::new(NoSignatures))
}

pub(super) fn judge_over(source: Arc<dyn Source>) -> Judge {
    testing::judge(POLICY, source)
}

pub(super) fn digest() -> Digest {
    Digest::sha256(b"image")
}

pub(super) fn request(name: &str) -> CheckRequest {
    let target =
        proto::Descriptor { media_type: media_type::IMAGE_MANIFEST.into(), digest: digest().to_string(), size: 5 };
    CheckRequest { name: name.into(), target: Some(target), stage: Stage::Pull.into(), ..CheckRequest::default() }
}
