//! Every kind of key, both formats, with a time-stamp and without, whatever the issuer says about the certificate: what one
//! tool has signed, the other judges, and both come to the same.
//!
//! Authority, OCSP responder and CRLs run in this process; certificates are made anew. Both tools have an empty cache for
//! each question.

use std::path::PathBuf;

use crate::authority::TimestampAuthority;
use crate::interop::every_kind;
use crate::issuer::{Issuer, Standing};
use crate::node::{Image, Node};
use crate::notation::{Notation, trusting, trusting_stamped};
use crate::responders::{Answer, Responders};
use crate::tools::text;

/// Under which each tool finds the issuer's root.
const STORE: &str = "issuer";
const CLOCKS: &str = "clocks";

/// What is found out about the signer's certificate, and the code that pratique answers with. Only the first admits.
const CASES: [(Found, &str); 4] = [
    (Found::Good, "admitted"),
    (Found::RevokedByResponder, "certificate-revoked"),
    (Found::RevokedByList, "certificate-revoked"),
    (Found::Nothing, "revocation-unknown"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Good,
    /// The list would say otherwise; the responder is asked first.
    RevokedByResponder,
    /// The responder does not answer.
    RevokedByList,
    /// Nobody answers.
    Nothing,
}

#[test]
fn notation_judges_what_pratique_signed_as_pratique_does() {
    Scene::new().compare(Notation::sign, |scene, image, _| scene.theirs(image));
}

#[test]
fn pratique_judges_what_notation_signed_as_notation_does() {
    Scene::new().compare(Notation::sign_with_notation, |scene, image, code| {
        assert_eq!(scene.notation.verdict(image), code, "{}", image.reference);
        code == CASES[0].1
    });
}

struct Scene {
    node: Node,
    notation: Notation,
    issuer: Issuer,
    authority: TimestampAuthority,
    responders: Responders,
    caches: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let node = Node::start();
        let mut notation = Notation::new(&node.folder().join("config"));
        let mut issuer = Issuer::new();
        for key in every_kind().map(|(key, _)| key).step_by(2) {
            issuer.issue(key, key, &notation.dir());
        }
        issuer.trust(STORE, &notation.dir());
        let authority = TimestampAuthority::start();
        notation.trust_authority(CLOCKS, &authority.root());
        let responders = Responders::start([]);
        notation.set("http_proxy", responders.address().to_owned());
        let caches = node.folder().join("caches");
        Self { node, notation, issuer, authority, responders, caches }
    }

    /// Signs an image of every kind, and asks about it in every case.
    fn compare(
        &mut self,
        sign: impl Fn(&Notation, &Image, &str, &[&str]),
        admits: impl Fn(&Self, &Image, &str) -> bool,
    ) {
        let (url, root) = (self.authority.url(), self.authority.root().display().to_string());
        let (mut asked, mut wrong) = (0, Vec::new());
        for (key, format) in every_kind() {
            for stamping in [&[][..], &["--timestamp-url", &url, "--timestamp-root-cert", &root]] {
                let kind = format!("{key} {format}{}", if stamping.is_empty() { "" } else { " stamped" });
                let image = self.node.push("app", &kind.replace(' ', "-"));
                sign(&self.notation, &image, key, &[&["--signature-format", format], stamping].concat());
                let policy = if stamping.is_empty() { trusting(STORE) } else { trusting_stamped(STORE, CLOCKS) };
                self.notation.set_policy(&policy);
                for (found, code) in CASES {
                    self.answer(key, found);
                    self.notation.set("NOTATION_CACHE", self.caches.join(asked.to_string()).display().to_string());
                    asked += 1;
                    if admits(self, &image, code) != (found == Found::Good) {
                        wrong.push(format!("{kind}: {found:?}"));
                    }
                }
            }
        }
        assert_eq!(asked, 6 * 2 * 2 * CASES.len());
        assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// What the issuer's servers answer from now on.
    fn answer(&self, name: &str, found: Found) {
        let ocsp = |standing| Answer::Bytes(self.issuer.ocsp(name, standing));
        let list = |revoked: &[&str]| {
            let until = pratique::clock::now() + std::time::Duration::from_secs(3600);
            Answer::Bytes(self.issuer.crl(1, revoked, until))
        };
        let (responder, list) = match found {
            Found::Good => (ocsp(Standing::Good), list(&[name])),
            Found::RevokedByResponder => (ocsp(Standing::Revoked), list(&[])),
            Found::RevokedByList => (Answer::Status(503), list(&[name])),
            Found::Nothing => (ocsp(Standing::Unknown), Answer::Status(503)),
        };
        self.responders.answers([(Issuer::ocsp_url(name), responder), (Issuer::crl_url(name), list)]);
    }

    fn theirs(&self, image: &Image) -> bool {
        let output = self.notation.verify_with_notation(image, &[]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() || said.contains("revo"), "it fails for another reason: {said}");
        output.status.success()
    }
}
