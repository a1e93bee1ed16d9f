//! Answers about a layer in which no image has a part: nobody could look, no image lists it, nothing governs the image.

use std::sync::Arc;

use super::{LayerAnswer, LayerQuestion};
use crate::clock;
use crate::judge::{Answered, Judge};
use crate::oci::Digest;
use crate::policy::OrphanLayers;
use crate::remedy::Code;
use crate::verify::{Check, Problem, Verdict, VerdictInput};

/// An answer in which no image has a part.
pub(super) fn about_layer(
    judge: &Judge,
    question: &LayerQuestion,
    verdict: impl FnOnce(VerdictInput<'_>) -> Verdict,
) -> LayerAnswer {
    about_it(judge, question, "layer", verdict)
}

/// The same about an image that stands in the layer's place.
pub(super) fn about_it(
    judge: &Judge,
    question: &LayerQuestion,
    kind: &str,
    verdict: impl FnOnce(VerdictInput<'_>) -> Verdict,
) -> LayerAnswer {
    let (trust, reference) = (judge.trust(), format!("{kind} {}", question.layer.digest));
    let input = VerdictInput { reference: &reference, artifact: &question.layer, trust: &trust, now: clock::now() };
    let answered = Answered { verdict: Arc::new(verdict(input)), cached: false };
    LayerAnswer { answered, namespace: question.namespace.clone(), manifest: None }
}

/// Nobody could find out.
pub(super) fn unavailable(input: VerdictInput<'_>, problem: Problem) -> Verdict {
    Verdict::unavailable(input, None, problem)
}

/// No manifest that can be read lists the layer.
pub(super) fn unlisted(input: VerdictInput<'_>, unreadable: &[Digest], orphans: OrphanLayers) -> Verdict {
    if let Some(manifest) = unreadable.first() {
        let message = format!("{manifest} lists the layer, and cannot be read as the manifest of an image");
        let remedy = "have the image built anew by a tool that writes manifests as the OCI image specification has it";
        let problem = Problem::new("manifest-unreadable", &message, remedy);
        return Verdict::refused_unseen(input, Check::Retrieval, problem);
    }
    match orphans {
        OrphanLayers::Defer => {
            let reason = "no image lists the layer yet; nothing made of it is admitted by this";
            Verdict::deferred(input, Code("orphan-layer-deferred"), reason)
        }
        OrphanLayers::Deny => {
            let remedy = "where images are committed or built on this node, set `gates.orphan_layers = \"defer\"` in \
                          config.toml";
            let problem = Problem::new("orphan-layer", "no image lists the layer", remedy);
            Verdict::refused_unseen(input, Check::Policy, problem)
        }
    }
}

/// The image came from no registry, and the operator has not said what governs such images.
pub(super) fn no_local_statement(input: VerdictInput<'_>) -> Verdict {
    let message = "the image came from no registry, and nothing says which statement of the trust policy governs it";
    let remedy = "pull the image by its name, or set `local_images.scope` in config.toml and sign the image";
    Verdict::refused_unseen(input, Check::Policy, Problem::new("no-local-statement", message, remedy))
}

/// More images share the layer than are judged.
pub(super) fn too_many(closest: &Verdict) -> Problem {
    let message = format!(
        "more images share the layer than are judged for it, and none of the latest is admitted; one of them: {}",
        closest.headline()
    );
    Problem::new("too-many-images", &message, "pull the image by its name, so that it is judged before its layers")
}
