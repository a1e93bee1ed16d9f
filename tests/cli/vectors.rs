//! `pratique verify` of a signature beside its descriptor: every Notary vector ends as it should.
//!
//! `tests/vectors.rs` holds the library to the same cases; here it is the exit status and the JSON document.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::node::Node;
use crate::responders::{Answer, Responders};

/// How many binaries run at a time.
const THREADS: usize = 4;

/// What the operator has not provided is nobody's "no": the vectors reject, the node could not tell.
const STORE_UNUSABLE: [&str; 2] = ["store-missing", "store-symlinked-cert"];

/// Neither is what an issuer does not say.
const STATUS_UNKNOWN: [&str; 2] = ["revocation-ocsp-down-strict", "revocation-crl-expired"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    #[serde(rename = "case")]
    name: String,
    envelope: PathBuf,
    media_type: String,
    descriptor: Value,
    trust_store: Option<PathBuf>,
    #[serde(default)]
    trust_store_symlinks: BTreeMap<PathBuf, PathBuf>,
    policy: PathBuf,
    artifact_reference: String,
    #[serde(default)]
    user_metadata: BTreeMap<String, String>,
    /// What the network answers; without it, nobody may be asked.
    http: Option<BTreeMap<String, String>>,
    #[serde(default)]
    plugins: BTreeMap<String, PathBuf>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    outcome: String,
    failed_check: Option<String>,
    #[serde(default)]
    logged: Vec<String>,
}

#[test]
fn every_vector_ends_with_its_exit_status_and_names_the_check_that_failed() {
    let cases: Vec<Case> = serde_json::from_slice(&read("cases.json")).unwrap();
    assert_eq!(cases.len(), 114);
    let exceptions = exceptions();
    let (queue, wrong) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().next() else { break };
                    let (wanted, got) = (case.wanted(&exceptions), case.run());
                    if wanted != got {
                        wrong.lock().unwrap().push(format!("{}: wanted {wanted}, got {got}", case.name));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} vectors:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

impl Case {
    fn wanted(&self, exceptions: &BTreeMap<String, String>) -> String {
        let verdict = exceptions.get(&self.name).cloned().unwrap_or_else(|| match &self.expected.failed_check {
            Some(check) => format!("{} {check}", self.expected.outcome),
            None if self.expected.logged.is_empty() => self.expected.outcome.clone(),
            None => format!("{}, logged {}", self.expected.outcome, self.expected.logged.join(" ")),
        });
        if STORE_UNUSABLE.contains(&self.name.as_str()) {
            assert_eq!(verdict, "reject authenticity");
            return "3 inconclusive authenticity".to_owned();
        }
        if STATUS_UNKNOWN.contains(&self.name.as_str()) {
            assert_eq!(verdict, "reject revocation");
            return "3 inconclusive revocation".to_owned();
        }
        let (outcome, rest) = verdict.split_at(verdict.find([' ', ',']).unwrap_or(verdict.len()));
        let answer = match outcome {
            "accept" => "0 admit",
            "reject" => "1 deny",
            "inconclusive" => "3 inconclusive",
            other => panic!("{}: {other}", self.name),
        };
        format!("{answer}{rest}")
    }

    fn run(&self) -> String {
        let mut node = Node::with_policy(read(&self.policy));
        let responders = Responders::start(self.answers());
        node.set("http_proxy", responders.address().to_owned());
        if let Some(store) = &self.trust_store {
            copy_tree(&vectors().join(store), &node.path("truststore"));
        }
        for (link, target) in &self.trust_store_symlinks {
            std::os::unix::fs::symlink(target, node.path("truststore").join(link)).unwrap();
        }
        for (name, script) in &self.plugins {
            node.write(&format!("plugins/{name}/notation-{name}"), read(script));
            node.make_program(&format!("plugins/{name}/notation-{name}"));
        }
        node.write("envelope", self.envelope());
        node.write("descriptor.json", self.descriptor.to_string());
        let (envelope, descriptor) = (node.path("envelope"), node.path("descriptor.json"));
        let mut arguments = vec!["verify", "--output", "json", "--media-type", &self.media_type];
        arguments.extend(["--signature", envelope.to_str().unwrap(), "--descriptor", descriptor.to_str().unwrap()]);
        arguments.extend(["--reference", &self.artifact_reference]);
        let pairs: Vec<String> = self.user_metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        arguments.extend(pairs.iter().flat_map(|pair| ["--user-metadata", pair]));
        let ran = node.run_all(&arguments, "");

        assert!(self.http.is_some() || responders.asked().is_empty(), "{}: {:?}", self.name, responders.asked());
        let document = ran.json();
        let members = ["answer", "code", "failed", "findings"].map(|member| document.get(member).is_some());
        assert_eq!(members, [true; 4], "{ran:?}");
        assert_eq!(ran.stderr, "", "JSON has everything: {ran:?}");
        let mut got = format!("{} {}", ran.exit, document["answer"].as_str().unwrap());
        if let Some(check) = document["failed"].as_str() {
            got = format!("{got} {check}");
        }
        if let Some(logged) = document["logged"].as_array().filter(|logged| !logged.is_empty()) {
            let logged: Vec<&str> = logged.iter().map(|check| check.as_str().unwrap()).collect();
            got = format!("{got}, logged {}", logged.join(" "));
        }
        got
    }

    fn answers(&self) -> Vec<(String, Answer)> {
        let answer = |answer: &str| match answer.strip_prefix("status:") {
            Some(status) => Answer::Status(status.parse().unwrap()),
            None if answer == "timeout" => Answer::Hang,
            None => Answer::Bytes(read(answer)),
        };
        self.http.iter().flatten().map(|(url, file)| (url.clone(), answer(file))).collect()
    }

    fn envelope(&self) -> Vec<u8> {
        let bytes = read(&self.envelope);
        if self.envelope.extension().is_none_or(|extension| extension != "gz") {
            return bytes;
        }
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
        unpacked
    }
}

/// What the cases of `exceptions.toml` give instead.
fn exceptions() -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Exception {
        gives: String,
    }
    let mut files: BTreeMap<String, BTreeMap<String, Exception>> = from_toml(&read("exceptions.toml"));
    files.remove("cases").unwrap().into_iter().map(|(case, exception)| (case, exception.gives)).collect()
}

fn from_toml<T: DeserializeOwned>(bytes: &[u8]) -> T {
    toml::from_str(std::str::from_utf8(bytes).unwrap()).unwrap()
}

pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else if entry.file_name() != ".gitkeep" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A file of the vectors.
fn read(name: impl AsRef<Path>) -> Vec<u8> {
    fs::read(vectors().join(name)).unwrap()
}

pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}
