//! What a question asks for, what it keeps, and what it costs where nobody answers.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::envelope::Envelope;
use crate::envelope::limits::DEFAULT_ENVELOPE_SIZE;
use crate::judge::testing::signature;
use crate::judge::{Bounds, CacheOptions, Judge, Places, Question};
use crate::oci::{Blob, Descriptor, Reference, Repository, media_type};
use crate::pki::Certificate;
use crate::policy::{Policy, Trust};
use crate::source::{Referrers, Source, SourceError};
use crate::verify::{Lists, Subject, examine};

const REPOSITORY: &str = "registry.acme-rockets.example/software/net-monitor";

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
    lists: Mutex<Vec<Arc<[u8]>>>,
    hangs: bool,
    patience: Duration,
    kept: Mutex<BTreeMap<Need, Arc<[u8]>>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Responders for Scripted {
    fn lists(&self) -> Result<Lists, Problem> {
        Ok(self.lists.lock().unwrap().iter().cloned().collect())
    }

    fn edition(&self) -> u64 {
        self.lists.lock().unwrap().len() as u64
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

/// Trusts the root of the vectors about revocation, for every image.
fn trust() -> Trust {
    let roots = Certificate::read_all(&file("truststores/revocation/x509/ca/acme-rockets/root.pem")).unwrap();
    let policy = Policy::parse(&file("policies/strict.json")).unwrap();
    Trust::new(policy, BTreeMap::from([("ca:acme-rockets".parse().unwrap(), Ok(roots))]), "test".into())
}

/// The image that the vectors sign.
fn image() -> Blob {
    Blob::of(media_type::IMAGE_MANIFEST, file("subjects/net-monitor.json").to_vec())
}

/// The code of the outcome about the vector's signature, and how long it is good.
async fn outcome(gathering: &mut Gathering<'_>) -> (String, Option<String>) {
    let (trust, image) = (trust(), image());
    let statement = trust.policy().statement_for_scope(REPOSITORY).unwrap();
    let envelope = file(&format!("envelopes/{BOTH}.jws"));
    let envelope = Envelope::parse(media_type::JWS_ENVELOPE, &envelope, DEFAULT_ENVELOPE_SIZE).unwrap();
    let metadata = BTreeMap::new();
    let examined = examine(&envelope, Subject::artifact(image.descriptor(), &metadata), statement, &trust);
    let outcome = gathering.conclude(examined, "2027-01-01T00:00:00Z".parse().unwrap()).await;
    let problem = outcome.decisive().and_then(|finding| finding.problem()).map(|problem| problem.code.to_string());
    (problem.unwrap_or_else(|| "good".into()), outcome.good_until.map(|until| until.to_string()))
}

/// Has one signature of the image, by the vector whose leaf names a list.
struct Signed;

impl Signed {
    fn envelope() -> Blob {
        Blob::of(media_type::JWS_ENVELOPE, file("envelopes/revocation-crl-revoked.jws").to_vec())
    }

    fn manifest() -> Blob {
        signature(&image(), Self::envelope().descriptor())
    }
}

#[async_trait]
impl Source for Signed {
    async fn resolve(&self, _: &Reference) -> Result<Descriptor, SourceError> {
        panic!("nothing is resolved")
    }
    async fn signatures(&self, _: &Repository, _: &Descriptor, _: usize) -> Result<Referrers, SourceError> {
        Ok(Referrers { descriptors: vec![Self::manifest().descriptor().clone()], truncated: false })
    }
    async fn manifest(&self, _: &Repository, _: &Descriptor) -> Result<Blob, SourceError> {
        Ok(Self::manifest())
    }
    async fn blob(&self, _: &Repository, _: &Descriptor, _: u64) -> Result<Blob, SourceError> {
        Ok(Self::envelope())
    }
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

#[tokio::test]
async fn an_imported_list_takes_back_what_was_admitted_before() {
    // What the network has is an older list.
    let servers = Arc::new(scripted(&[("CRL", "revocation/ocsp-down-crl-good-1.der")]));
    let minute = Duration::from_secs(60);
    let bounds = Bounds { total_timeout: minute, max_signatures: 10, envelope_size: DEFAULT_ENVELOPE_SIZE };
    let cache = CacheOptions { max_age: minute, denied_for: minute, capacity: 100 };
    let judge = Judge::new(Arc::new(trust()), Arc::new(Signed), bounds, cache);
    let judge = judge.asking(Arc::clone(&servers) as Arc<dyn Responders>);
    let ask = async || {
        let question = Question {
            reference: REPOSITORY.to_owned(),
            repository: REPOSITORY.parse().unwrap(),
            artifact: image().descriptor().clone(),
            user_metadata: BTreeMap::new(),
            places: Places::Everywhere,
        };
        let answered = judge.judge(question).await;
        (answered.verdict.code.as_str(), answered.cached)
    };
    assert_eq!(ask().await, ("admitted", false));
    assert_eq!(ask().await, ("admitted", true));
    servers.lists.lock().unwrap().push(file("revocation/crl-revoked-0.der"));
    assert_eq!(ask().await, ("certificate-revoked", false));
}
