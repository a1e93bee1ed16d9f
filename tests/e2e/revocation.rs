//! Do pratique and the Notary Project's own tool make the same of the same OCSP responses and CRLs?
//!
//! Both get them from one scripted proxy, which stands for the hosts that the certificates name
//! (`tests/revocation/make.sh`). Neither finds anything in a cache but where the test is about that.

use std::fs;
use std::path::{Path, PathBuf};

use pratique::config::NotationDir;

use crate::node::{Image, Node};
use crate::notation::{Notation, trusting};
use crate::responders::{Answer, Responders};
use crate::tools::text;

const OCSP: &str = "http://ocsp.pratique.example/";
const CRL: &str = "http://crl.pratique.example/ca.crl";
const DELTA: &str = "http://crl.pratique.example/delta.crl";

/// What the network answers: to OCSP, for the CRL, for its delta. Nothing: status 503.
type Case = (&'static str, &'static str, &'static str);

#[test]
fn both_tools_make_the_same_of_the_same_answers() {
    let cases: [(Case, bool); 27] = [
        (("ocsp-good", "", ""), true),
        (("ocsp-good-by-key", "", ""), true),
        (("ocsp-good-with-nonce", "", ""), true),
        (("ocsp-revoked", "crl-good", ""), false),
        (("ocsp-on-hold", "crl-good", ""), false),
        (("ocsp-unknown", "", ""), false),
        (("ocsp-unknown", "crl-good", ""), true),
        (("ocsp-unknown", "crl-revoked", ""), false),
        (("ocsp-expired", "", ""), false),
        (("ocsp-impostor", "", ""), false),
        (("ocsp-impostor-without-certificate", "", ""), false),
        (("ocsp-other", "", ""), false),
        (("ocsp-try-later", "", ""), false),
        (("ocsp-delegated", "", ""), true),
        (("ocsp-delegated-by-stranger", "", ""), false),
        (("", "", ""), false),
        (("", "crl-good", ""), true),
        (("", "crl-revoked", ""), false),
        (("", "crl-on-hold", ""), false),
        (("", "crl-expired", ""), false),
        (("", "crl-stranger", ""), false),
        (("", "crl-impostor", ""), false),
        (("", "crl-unknown", ""), false),
        (("", "crl-base", "crl-delta"), true),
        (("", "crl-base", "crl-delta-revoked"), false),
        (("", "crl-base-on-hold", "crl-delta-released"), true),
        (("", "crl-base", ""), false),
    ];
    let mut scene = Scene::new();
    let wrong: Vec<String> = cases
        .into_iter()
        .filter_map(|(case, expected)| {
            let got = scene.ask(case);
            (got != (expected, expected)).then(|| format!("{case:?}: expected {expected}, ours and theirs {got:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_one_tool_believes_and_the_other_does_not_is_known() {
    let mut scene = Scene::new();
    for (case, (ours, theirs)) in [
        // RFC 6960, section 4.2.2.2: whom the issuer gave the power to answer.
        (("ocsp-delegated-without-purpose", "", ""), (false, true)),
        (("ocsp-delegated-without-signing", "", ""), (false, true)),
        (("ocsp-delegated-expired", "", ""), (false, true)),
        // RFC 5280, section 6.3.3: which certificates a list is about.
        (("", "crl-other-point", ""), (false, true)),
        (("", "crl-indirect", ""), (false, true)),
        (("", "crl-authorities", ""), (false, true)),
        (("", "crl-reasons", ""), (false, true)),
        // The same, step i: the delta counts whatever date it gives; theirs wants one after the hold's.
        (("", "crl-base-on-hold", "crl-delta-released-at-once"), (true, false)),
    ] {
        assert_eq!(scene.ask(case), (ours, theirs), "{case:?}");
    }
}

#[test]
fn either_tool_finds_the_lists_that_the_other_has_fetched() {
    for ours_first in [true, false] {
        let mut scene = Scene::new();
        let responders = scene.network(("", "crl-good", ""));
        for ours in [ours_first, !ours_first] {
            assert!(if ours { scene.ours() } else { scene.theirs() }, "ours {ours}, first {ours_first}");
        }
        let lists = responders.asked().into_iter().filter(|asked| asked.ends_with(CRL));
        assert_eq!(lists.count(), 1, "{:?}", responders.asked());
    }
}

/// An image signed with the leaf, and both tools.
struct Scene {
    _node: Node,
    notation: Notation,
    image: Image,
    caches: PathBuf,
    number: usize,
}

impl Scene {
    fn new() -> Self {
        let node = Node::start();
        let notation = Notation::new(&node.folder().join("config"));
        let directory = files();
        let keys = NotationDir::new(notation.dir());
        keys.add_signing_key("leaf", &directory.join("leaf.key"), &directory.join("chain.pem"), false)
            .expect("the key can be added");
        let store = notation.dir().join("truststore/x509/ca/issuer");
        fs::create_dir_all(&store).expect("the trust store can be made");
        fs::copy(directory.join("issuer.pem"), store.join("issuer.pem")).expect("the trust store can be written");
        notation.set_policy(&trusting("issuer"));
        let image = node.push("app", "revocation");
        notation.sign(&image, "leaf", &[]);
        let caches = node.folder().join("caches");
        Self { _node: node, notation, image, caches, number: 0 }
    }

    /// Puts these answers into the place of the network, and an empty cache beside it.
    fn network(&mut self, (ocsp, crl, delta): Case) -> Responders {
        let answers = [(OCSP, ocsp), (CRL, crl), (DELTA, delta)].map(|(url, name)| {
            let answer = if name.is_empty() {
                Answer::Status(503)
            } else {
                Answer::Bytes(fs::read(files().join(format!("{name}.der"))).expect(name))
            };
            (url.to_owned(), answer)
        });
        let responders = Responders::start(answers);
        self.number += 1;
        self.notation.set("NOTATION_CACHE", self.caches.join(self.number.to_string()).display().to_string());
        self.notation.set("http_proxy", responders.address().to_owned());
        responders
    }

    /// Whether the image is admitted: by pratique, by notation.
    fn ask(&mut self, case: Case) -> (bool, bool) {
        let _responders = self.network(case);
        (self.ours(), self.theirs())
    }

    fn ours(&self) -> bool {
        let verdict = self.notation.verdict(&self.image);
        assert!(["admitted", "certificate-revoked", "revocation-unknown"].contains(&verdict.as_str()), "{verdict}");
        verdict == "admitted"
    }

    fn theirs(&self) -> bool {
        let output = self.notation.verify_with_notation(&self.image, &[]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() || said.contains("revo"), "it fails for another reason: {said}");
        output.status.success()
    }
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/revocation")
}
