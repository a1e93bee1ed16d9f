//! Twenty thousand changed signatures and policies: what we admit, the Notary Project's own `notation` admits too.
//!
//! A case is a good signature under a good policy with one or a few changes, made before it is signed, so that they are
//! looked at and not only the broken signature. We answer all of them; `notation` is asked about each change alone, about
//! everything that we admit, and about a share of what we refuse. Where it admits and we do not, `stricter.toml` names the
//! clause that we follow. An entry there that no change shows any more fails the test.
//!
//! The seed is printed; `PRATIQUE_SEED=NUMBER` runs another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may end in a panic, and says what it did"
)]

mod changes;
mod peer;
mod recipe;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use pratique::config::NotationDir;
use pratique::envelope::{Envelope, Format, limits::DEFAULT_ENVELOPE_SIZE};
use pratique::oci::{Descriptor, Reference, media_type};
use pratique::pki::Certificate;
use pratique::policy::{Policy, StoreProblem, Trust, TrustStore};
use pratique::remedy::Remedy as _;
use pratique::verify::{Answer, Evidence, SignatureReport, Subject, Verdict, VerdictInput, examine, govern, malformed};
use serde::Deserialize;

use changes::{Change, Part};
use peer::Peer;
use recipe::{Recipe, Signer};

/// Where the artifact is said to come from.
const REPOSITORY: &str = "localhost:5000/net-monitor";
/// How many cases of several changes there are: what the promise to users says.
const CASES: usize = 20_000;
/// How many of those that we refuse `notation` is asked about: half a minute's worth.
const REFUSED_ASKED: usize = 1_500;
/// As many as there are cores where this is measured.
const THREADS: usize = 2;
/// The chains, the usual ones first: those of keys that are quick to sign with are also the likelier ones.
/// The last ones sign alone.
const CHAINS: [&str; 10] = [
    "rsa2048",
    "p256",
    "eku-absent",
    "p384",
    "selfsigned-rsa3072",
    "ku-noncritical",
    "eku-any",
    "rsa3072",
    "rsa4096",
    "p521",
];

/// A clause that we follow and `notation` does not.
#[derive(Deserialize)]
struct Stricter {
    /// Our code.
    code: String,
    clause: String,
    /// The changes that show it.
    changes: BTreeSet<String>,
    /// Those that show it together with others alone, which not every seed puts together.
    #[serde(default)]
    together: BTreeSet<String>,
}

struct Case {
    format: Format,
    signer: usize,
    changes: Vec<usize>,
}

/// What the trust stores hold, or why they cannot be used.
type Stores = BTreeMap<TrustStore, Result<Vec<Certificate>, StoreProblem>>;

struct World {
    now: Timestamp,
    artifact: Descriptor,
    signers: Vec<Signer>,
    changes: Vec<Change>,
    stores: Stores,
    peer: Peer,
}

#[test]
fn what_we_admit_notation_admits() {
    let seed = std::env::var("PRATIQUE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    eprintln!("PRATIQUE_SEED={seed}");
    let world = World::new();
    let single = world.single();
    let several = world.several(seed);
    let ours: Vec<(Case, String)> = in_parallel(&single, |case| world.our_code(case))
        .into_iter()
        .zip(single)
        .map(|(code, case)| (case, code))
        .collect();
    let ours_several = in_parallel(&several, |case| world.our_code(case));
    let (mut asked, mut names, mut refused) = (ours, BTreeSet::new(), 0);
    let alone = asked.len();
    for (case, code) in several.into_iter().zip(ours_several) {
        let is_new = names.insert(world.name(&case));
        let is_asked = code == ADMITTED || {
            refused += 1;
            refused % (CASES / REFUSED_ASKED) == 0
        };
        if is_new && is_asked {
            asked.push((case, code));
        }
    }
    let theirs = in_parallel(&asked, |(case, _)| world.peer_admits(case));
    let admitted = asked.iter().filter(|(_, code)| code == ADMITTED).count();
    eprintln!("{} cases, {alone} of one change; asked {}, of which we admit {admitted}", alone + CASES, asked.len());
    world.judge(&asked, &theirs);
}

const ADMITTED: &str = "admitted";

impl World {
    fn new() -> Self {
        let now = pratique::clock::now();
        let signers: Vec<Signer> = CHAINS.into_iter().filter_map(Signer::of).collect();
        assert_eq!(signers.len(), CHAINS.len());
        let subject = std::fs::read(vectors().join("subjects/net-monitor.json")).unwrap();
        let artifact = Descriptor::of(media_type::IMAGE_MANIFEST, &subject);
        let peer = Peer::new(&artifact, &subject);
        let roots: BTreeSet<&Vec<u8>> = signers.iter().filter_map(|signer| signer.chain.last()).collect();
        for store in ["ca/all", "signingAuthority/all"] {
            peer.store(store, roots.iter().copied());
        }
        peer.store("ca/other", std::iter::once(signers[4].chain.last().unwrap()));
        let stores = peer.stores();
        let other = signers.iter().find(|signer| signer.name == "selfsigned-rsa3072").unwrap().chain[0].clone();
        Self { now, artifact, changes: changes::all(now.as_second(), &other), signers, stores, peer }
    }

    /// Every change alone, in both formats; and none.
    fn single(&self) -> Vec<Case> {
        let formats = [Format::Jws, Format::Cose];
        let alone = (0..self.changes.len()).map(|change| vec![change]).chain([vec![]]);
        let mut cases: Vec<Case> = alone
            .flat_map(|changes| formats.map(|format| Case { format, signer: 0, changes: changes.clone() }))
            .collect();
        // Every kind of key, under both signing schemes.
        let by_authority = self.changes.iter().position(|change| change.name == "by an authority now").unwrap();
        for changes in [vec![], vec![by_authority]] {
            let signed = |signer| formats.map(|format| Case { format, signer, changes: changes.clone() });
            cases.extend((0..self.signers.len()).flat_map(signed));
        }
        cases
    }

    fn several(&self, seed: u64) -> Vec<Case> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 16).unwrap() % end
        };
        let in_part = |part| (0..self.changes.len()).filter(move |change| self.changes[*change].part == part).collect();
        let parts: Vec<Vec<usize>> = Part::ALL.into_iter().map(in_part).collect();
        (0..CASES)
            .map(|_| {
                let format = [Format::Jws, Format::Cose][below(2)];
                let signer = [0, 0, 0, 1, 2, 3, 4, 5, 6, 0][below(10)];
                let changes = (0..2 + below(2)).map(|_| {
                    let part = &parts[below(parts.len())];
                    part[below(part.len())]
                });
                let changes = changes.collect();
                Case { format, signer, changes }
            })
            .collect()
    }

    fn recipe(&self, case: &Case) -> Recipe {
        let signer = &self.signers[case.signer];
        let mut recipe = Recipe::new(case.format, signer, &self.artifact, self.now.as_second());
        case.changes.iter().for_each(|change| (self.changes[*change].make)(&mut recipe));
        recipe
    }

    fn our_code(&self, case: &Case) -> String {
        let recipe = self.recipe(case);
        let policy = match Policy::parse(recipe.policy.to_string().as_bytes()) {
            Ok(policy) => policy,
            Err(error) => return error.code().to_string(),
        };
        let absent = &self.stores[&"ca:absent".parse().unwrap()];
        let named = policy.trust_stores().into_iter();
        let stores = named.map(|store| (store.clone(), self.stores.get(store).unwrap_or(absent).clone())).collect();
        let trust = Trust::new(policy, stores, "a test".into());
        let name: Reference = format!("{REPOSITORY}@{}", self.artifact.digest).parse().unwrap();
        let asked = name.to_string();
        let input = VerdictInput { reference: &asked, artifact: &self.artifact, trust: &trust, now: self.now };
        let statement = match govern(input, name.repository()) {
            Ok(statement) => statement,
            Err(verdict) if verdict.answer() == Answer::Admit => return ADMITTED.into(),
            Err(verdict) => return verdict.code.to_string(),
        };
        let envelope = recipe.envelope(&self.signers[case.signer].key);
        let nothing = BTreeMap::new();
        let outcome = match Envelope::parse(case.format.media_type(), &envelope, DEFAULT_ENVELOPE_SIZE) {
            Ok(envelope) => {
                let examined = examine(&envelope, Subject::artifact(&self.artifact, &nothing), statement, &trust);
                examined.conclude(&Evidence::default(), self.now)
            }
            Err(error) => malformed(&error),
        };
        let verdict = Verdict::of_signatures(input, statement, vec![SignatureReport { digest: None, outcome }], false);
        if verdict.answer() == Answer::Admit { ADMITTED.into() } else { verdict.code.to_string() }
    }

    fn peer_admits(&self, case: &Case) -> bool {
        let recipe = self.recipe(case);
        let envelope = recipe.envelope(&self.signers[case.signer].key);
        self.peer.admits(&recipe.policy.to_string(), case.format.media_type(), &envelope)
    }

    fn name(&self, case: &Case) -> String {
        let changes: Vec<&str> = case.changes.iter().map(|change| self.changes[*change].name.as_str()).collect();
        format!("{} by {}: {}", case.format, self.signers[case.signer].name, changes.join("; "))
    }

    /// Holds the answers against each other.
    fn judge(&self, asked: &[(Case, String)], theirs: &[bool]) {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/stricter.toml"));
        let known: BTreeMap<String, Vec<Stricter>> = toml::from_str(&text.unwrap()).unwrap();
        let known = &known["stricter"];
        let (mut laxer, mut unlisted, mut shown) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for ((case, code), admits) in asked.iter().zip(theirs) {
            let changes: Vec<&str> = case.changes.iter().map(|change| self.changes[*change].name.as_str()).collect();
            let signer = format!("signed by {}", self.signers[case.signer].name);
            let causes = || changes.iter().copied().chain([signer.as_str()]);
            match (code == ADMITTED, admits) {
                (true, false) => laxer.push(self.name(case)),
                (false, true) => {
                    let pairs = known.iter().filter(|entry| entry.code == *code);
                    let listed: Vec<_> = pairs
                        .flat_map(|entry| {
                            causes().filter(|cause| entry.changes.contains(*cause) || entry.together.contains(*cause))
                        })
                        .collect();
                    if listed.is_empty() {
                        unlisted.insert(format!("[{code}] {}", self.name(case)));
                    }
                    shown.extend(listed.into_iter().map(|cause| (code.clone(), cause.to_owned())));
                }
                _ => {}
            }
        }
        assert!(laxer.is_empty(), "{} cases are admitted that notation refuses:\n{}", laxer.len(), laxer.join("\n"));
        let unlisted: Vec<String> = unlisted.into_iter().collect();
        assert!(
            unlisted.is_empty(),
            "{} cases are refused for no listed clause:\n{}",
            unlisted.len(),
            unlisted.join("\n")
        );
        for entry in known {
            assert!(entry.clause.len() > 20, "{}: the clause is named", entry.code);
            for change in &entry.changes {
                assert!(
                    shown.contains(&(entry.code.clone(), change.clone())),
                    "no case shows {}: {change}",
                    entry.code
                );
            }
        }
    }
}

/// The answers to all, in their order.
fn in_parallel<T: Sync, R: Send>(all: &[T], answer: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut answers: Vec<(usize, R)> = std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            while let index = next.fetch_add(1, Ordering::Relaxed)
                && let Some(one) = all.get(index)
            {
                done.push((index, answer(one)));
            }
            done
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The trust stores below a configuration directory, as the program itself reads them.
fn stores_below(directory: &Path) -> Stores {
    let trust = NotationDir::new(directory.to_path_buf()).load_trust().unwrap();
    let names = trust.policy().trust_stores().into_iter();
    names.map(|store| (store.clone(), trust.anchors(store).map(<[_]>::to_vec).map_err(Clone::clone))).collect()
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}
