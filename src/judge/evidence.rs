//! Brings the evidence that a signature needs to be decided, in rounds, until nothing more is needed.
//!
//! Each round goes to everything at once that is missing: one address for each certificate of the chain. What came of it is
//! kept for the further signatures of the same question, so that nobody is asked twice, and all of them share one bound.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::aside;
use crate::revocation::{AskError, Kept, Responders};
use crate::verify::{Evidence, Examined, Need, Outcome, Problem};

/// How many addresses are asked for one question. A chain of four certificates, each with an OCSP responder and a list,
/// needs six; several signers have several chains.
const MAX_ASKED: usize = 64;

/// What may still be asked for one question, and what has come of it.
pub struct Gathering<'r> {
    responders: &'r dyn Responders,
    evidence: Option<Evidence>,
    looked_up: BTreeSet<Need>,
    asked: usize,
    left: Duration,
}

impl<'r> Gathering<'r> {
    /// With nothing asked yet.
    pub fn from(responders: &'r dyn Responders) -> Self {
        let left = responders.patience();
        Self { responders, evidence: None, looked_up: BTreeSet::new(), asked: 0, left }
    }

    /// Brings what the signature needs, and decides about it.
    pub async fn conclude(&mut self, examined: Examined<'_>, now: Timestamp) -> Outcome {
        let mut evidence =
            self.evidence.take().unwrap_or_else(|| Evidence::with_lists(aside(|| self.responders.lists())));
        loop {
            // A stranger's chain of sixteen certificates takes tens of milliseconds.
            let needs: BTreeSet<Need> = aside(|| examined.needs(&evidence, now)).into_iter().collect();
            if needs.is_empty() {
                break;
            }
            if !self.remember(&needs, &mut evidence, now) {
                self.ask(needs, &mut evidence).await;
            }
        }
        let outcome = aside(|| examined.conclude(&evidence, now));
        aside(|| self.keep(&outcome, &evidence, now));
        self.evidence = Some(evidence);
        outcome
    }

    /// Looks for what was brought before. Whether anything was found that had not been looked at yet.
    fn remember(&mut self, needs: &BTreeSet<Need>, evidence: &mut Evidence, now: Timestamp) -> bool {
        let mut has_found = false;
        for need in needs {
            if !self.looked_up.insert(need.clone()) {
                continue;
            }
            if let Some(bytes) = aside(|| self.responders.remembered(need, now)) {
                evidence.remember(need.clone(), bytes);
                has_found = true;
            }
        }
        has_found
    }

    /// Asks for everything at once. Whatever comes of it is an answer, so that no need comes back.
    async fn ask(&mut self, needs: BTreeSet<Need>, evidence: &mut Evidence) {
        let (started, left) = (Instant::now(), self.left);
        let (before, responders) = (self.asked, self.responders);
        let asked = needs.into_iter().enumerate().map(|(index, need)| async move {
            let is_allowed = before + index < MAX_ASKED;
            if !is_allowed {
                return (need, Err(Problem::of(&AskError::TooMany { limit: MAX_ASKED })));
            }
            let answer = timeout(left, responders.ask(&need)).await;
            (need, answer.unwrap_or_else(|_| Err(Problem::of(&AskError::TimedOut { limit: left }))))
        });
        let answers = join_all(asked).await;
        self.asked += answers.len();
        self.left = left.saturating_sub(started.elapsed());
        for (need, answer) in answers {
            evidence.answer(need, answer);
        }
    }

    /// Keeps what was relied upon for the next question.
    fn keep(&self, outcome: &Outcome, evidence: &Evidence, now: Timestamp) {
        for status in &outcome.revocation {
            let Some(until) = status.until else { continue };
            for relied in &status.evidence {
                let found = relied.need.as_ref().and_then(|need| Some((need, evidence.bytes(need)?)));
                if let Some((need, bytes)) = found {
                    self.responders.keep(need, bytes, Kept { now, until, is_whole: relied.is_whole });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;

    use super::*;
    use crate::envelope::Envelope;
    use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
    use crate::oci::{Descriptor, media_type};
    use crate::pki::Certificate;
    use crate::policy::{Policy, Trust};
    use crate::verify::{Lists, Subject, examine};

    /// One of the Notary vectors whose leaf names an OCSP responder and a list.
    const BOTH: &str = "revocation-ocsp-down-crl-good";

    fn vectors() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
    }

    fn file(name: &str) -> Arc<[u8]> {
        fs::read(vectors().join(name)).expect(name).into()
    }

    /// Servers that answer what they are told, and write down what happens.
    #[derive(Default)]
    struct Scripted {
        answers: HashMap<&'static str, &'static str>,
        hangs: bool,
        patience: Duration,
        kept: Mutex<BTreeMap<Need, Arc<[u8]>>>,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Responders for Scripted {
        fn lists(&self) -> Result<Lists, Problem> {
            Ok(Lists::default())
        }

        fn remembered(&self, need: &Need, _: Timestamp) -> Option<Arc<[u8]>> {
            self.kept.lock().unwrap().get(need).cloned()
        }

        async fn ask(&self, need: &Need) -> Result<Arc<[u8]>, Problem> {
            self.asked.lock().unwrap().push(need.kind().to_owned());
            if self.hangs {
                std::future::pending::<()>().await;
            }
            let answer = self.answers.get(need.kind()).map(|name| file(name));
            answer.ok_or_else(|| Problem::of(&AskError::Status { status: 503 }))
        }

        fn keep(&self, need: &Need, bytes: &Arc<[u8]>, _: Kept) {
            self.kept.lock().unwrap().insert(need.clone(), Arc::clone(bytes));
        }

        fn patience(&self) -> Duration {
            self.patience
        }
    }

    fn scripted(answers: &[(&'static str, &'static str)]) -> Scripted {
        let patience = Duration::from_secs(60);
        Scripted { answers: answers.iter().copied().collect(), patience, ..Scripted::default() }
    }

    /// The code of the outcome about the vector's signature, and how long it is good.
    async fn outcome(gathering: &mut Gathering<'_>) -> (String, Option<String>) {
        let now = "2027-01-01T00:00:00Z".parse().unwrap();
        let root = file("truststores/revocation/x509/ca/acme-rockets/root.pem");
        let roots = Certificate::read_all(&root).unwrap();
        let policy = Policy::parse(&file("policies/strict.json")).unwrap();
        let stores = BTreeMap::from([("ca:acme-rockets".parse().unwrap(), Ok(roots))]);
        let trust = Trust::new(policy, stores, "test".into());
        let statement =
            trust.policy().statement_for_scope("registry.acme-rockets.example/software/net-monitor").unwrap();
        let envelope = file(&format!("envelopes/{BOTH}.jws"));
        let envelope = Envelope::parse(media_type::JWS_ENVELOPE, &envelope, DEFAULT_ENVELOPE_SIZE).unwrap();
        let image = Descriptor::of(media_type::IMAGE_MANIFEST, &file("subjects/net-monitor.json"));
        let metadata = BTreeMap::new();
        let examined = examine(&envelope, Subject::artifact(&image, &metadata), statement, &trust);
        let outcome = gathering.conclude(examined, now).await;
        let problem = outcome.decisive().and_then(|finding| finding.problem()).map(|problem| problem.code.to_string());
        (problem.unwrap_or_else(|| "good".into()), outcome.good_until.map(|until| until.to_string()))
    }

    #[tokio::test]
    async fn rounds_go_on_until_somebody_knows() {
        let servers = scripted(&[("CRL", "revocation/ocsp-down-crl-good-1.der")]);
        let (code, until) = outcome(&mut Gathering::from(&servers)).await;
        assert_eq!(*servers.asked.lock().unwrap(), ["OCSP", "CRL"]);
        // The list ends before the certificates do, and the outcome with it.
        assert_eq!((code.as_str(), until.as_deref()), ("good", Some("2045-12-31T00:00:00Z")));
        assert_eq!(outcome(&mut Gathering::from(&scripted(&[]))).await.0, "revocation-unknown");
    }

    #[tokio::test]
    async fn what_was_relied_upon_is_kept_for_the_next_question() {
        let servers = scripted(&[("CRL", "revocation/ocsp-down-crl-good-1.der")]);
        for expected in [2, 3] {
            assert_eq!(outcome(&mut Gathering::from(&servers)).await.0, "good");
            assert_eq!(servers.asked.lock().unwrap().len(), expected);
        }
        // An answer about another certificate is not.
        let servers = scripted(&[("OCSP", "revocation/ocsp-good-0.der"), ("CRL", "revocation/crl-expired-0.der")]);
        assert_eq!(outcome(&mut Gathering::from(&servers)).await.0, "revocation-unknown");
        assert!(servers.kept.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn signatures_of_one_question_share_what_was_brought() {
        let servers = scripted(&[]);
        let mut gathering = Gathering::from(&servers);
        for _ in 0..3 {
            assert_eq!(outcome(&mut gathering).await.0, "revocation-unknown");
        }
        assert_eq!(*servers.asked.lock().unwrap(), ["OCSP", "CRL"]);
    }

    #[tokio::test]
    async fn servers_that_hang_take_no_longer_than_the_question_has_for_them() {
        let servers = Scripted { hangs: true, patience: Duration::from_millis(20), ..scripted(&[]) };
        let mut gathering = Gathering::from(&servers);
        assert_eq!(outcome(&mut gathering).await.0, "revocation-unknown");
        assert_eq!(gathering.left, Duration::ZERO);
    }

    #[tokio::test]
    async fn a_question_asks_a_bounded_number_of_servers() {
        let servers = scripted(&[("CRL", "revocation/ocsp-down-crl-good-1.der")]);
        let mut gathering = Gathering::from(&servers);
        gathering.asked = MAX_ASKED - 1;
        assert_eq!(outcome(&mut gathering).await.0, "revocation-unknown");
        assert_eq!(*servers.asked.lock().unwrap(), ["OCSP"]);
    }
}
