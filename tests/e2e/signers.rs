//! Whose signature lets an image in?

use crate::notation::{identity, policy, trusting};
use crate::scene::{RELEASE, Refusal, Scene, TOTAL_TIMEOUT};
use crate::signature::platforms;

#[test]
fn an_image_signed_by_a_trusted_key_is_pulled_and_runs() {
    let scene = Scene::new();
    let image = scene.signed("app", "app");
    scene.admits_and_runs(&image, "app");
}

#[test]
fn an_image_signed_with_a_cose_envelope_is_pulled_and_runs() {
    let scene = Scene::new();
    let image = scene.push("app", "app");
    scene.notation.sign(&image, RELEASE, &["--signature-format", "cose"]);
    scene.admits_and_runs(&image, "app");
}

#[test]
fn an_image_signed_by_notation_is_pulled_and_runs() {
    let scene = Scene::prepared(TOTAL_TIMEOUT, |notation| {
        notation.generate_with_notation("elsewhere");
        notation.set_policy(&trusting("elsewhere"));
    });
    let image = scene.push("app", "app");
    scene.notation.sign_with_notation(&image, "elsewhere", &[]);
    scene.admits_and_runs(&image, "app");
}

#[test]
fn an_image_signed_by_notation_with_a_cose_envelope_is_pulled_and_runs() {
    let scene = Scene::new();
    let image = scene.push("app", "app");
    scene.notation.sign_with_notation(&image, RELEASE, &["--signature-format", "cose"]);
    scene.admits_and_runs(&image, "app");
}

#[test]
fn an_image_without_signature_is_refused() {
    let scene = Scene::new();
    let image = scene.push("app", "unsigned");
    scene.refuses(&image, Refusal::Denied("no-signature"));
    let twin = scene.signed("app", "signed");
    scene.admits(&twin);
}

#[test]
fn a_tag_that_was_moved_to_an_image_without_signature_is_refused() {
    let scene = Scene::new();
    let signed = scene.signed("app", "app");
    scene.admits(&signed);
    let moved = scene.push("other", "app");
    assert_eq!(moved.reference, signed.reference);
    scene.refuses(&moved, Refusal::Denied("no-signature"));
    scene.admits(&signed.asked_by_digest());
}

#[test]
fn an_image_asked_for_by_its_digest_needs_a_signature_just_as_well() {
    let scene = Scene::new();
    let unsigned = scene.push("app", "unsigned").asked_by_digest();
    scene.refuses(&unsigned, Refusal::Denied("no-signature"));
    let signed = scene.signed("app", "signed").asked_by_digest();
    scene.admits_and_runs(&signed, "app");
}

#[test]
fn an_image_signed_by_an_untrusted_key_is_refused() {
    let scene = Scene::new();
    scene.notation.generate("stranger");
    let image = scene.push("app", "app");
    scene.notation.sign(&image, "stranger", &[]);
    scene.refuses(&image, Refusal::Denied("untrusted-signer"));
    // One trusted signature is enough; the stranger's beside it does no harm.
    let twin = scene.push("app", "twice");
    scene.notation.sign(&twin, "stranger", &[]);
    scene.notation.sign(&twin, RELEASE, &[]);
    scene.admits(&twin);
}

#[test]
fn an_image_signed_by_an_identity_that_is_not_accepted_is_refused() {
    let scene = Scene::with_policy(&policy("*", RELEASE, &identity("somebody-else")));
    let image = scene.signed("app", "app");
    scene.refuses(&image, Refusal::Denied("untrusted-identity"));
}

#[test]
fn an_image_signed_by_an_accepted_identity_is_pulled() {
    let scene = Scene::with_policy(&policy("*", RELEASE, &identity(RELEASE)));
    let image = scene.signed("app", "app");
    scene.admits(&image);
}

#[test]
fn an_image_that_no_statement_speaks_of_is_refused() {
    let mut scene = Scene::new();
    let image = scene.signed("app", "app");
    let other = scene.signed("app", "other");
    // The registry's port is only known now.
    scene.daemon.stop();
    scene.notation.set_policy(&policy(other.repository(), RELEASE, "*"));
    scene.daemon.start_again();
    scene.refuses(&image, Refusal::Denied("no-policy-statement"));
    scene.admits(&other);
}

#[test]
fn a_signature_on_the_index_lets_every_platform_in() {
    let scene = Scene::new();
    let image = scene.push_index("many", "many");
    scene.notation.sign(&image, RELEASE, &[]);
    scene.admits_and_runs(&image, "many");
}

#[test]
fn a_signature_on_one_platform_does_not_let_the_index_in() {
    let scene = Scene::new();
    let image = scene.push_index("many", "many");
    for platform in platforms(&image) {
        scene.notation.sign(&platform, RELEASE, &[]);
    }
    scene.refuses(&image, Refusal::Denied("no-signature"));
}
