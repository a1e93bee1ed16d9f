//! `pratique verify` of a signature beside its descriptor, and `pratique blob verify`: every Notary vector ends as it
//! should.
//!
//! `tests/vectors.rs` holds the library to the same cases; here it is the exit status and the JSON document.

use std::fs;
use std::sync::Mutex;

use crate::cases::{BlobCase, EnvelopeCase, cases, copy_trust_store, exceptions, read, vectors};
use crate::node::{Node, Ran};
use crate::responders::{Answer, Responders};

/// How many binaries run at a time.
const THREADS: usize = 4;

/// What the operator has not provided is nobody's "no": the vectors reject, the node could not tell.
const STORE_UNUSABLE: [&str; 2] = ["store-missing", "store-symlinked-cert"];

/// Neither is what an issuer does not say.
const STATUS_UNKNOWN: [&str; 2] = ["revocation-ocsp-down-strict", "revocation-crl-expired"];

#[test]
fn every_vector_ends_with_its_exit_status_and_names_the_check_that_failed() {
    run_all("cases", &cases::<EnvelopeCase>("cases", 114));
}

#[test]
fn every_blob_vector_ends_with_its_exit_status_and_names_the_check_that_failed() {
    run_all("blob-cases", &cases::<BlobCase>("blob-cases", 14));
}

/// A case, put to the program.
trait Run: Sync {
    fn name(&self) -> &str;

    fn expected(&self) -> String;

    fn run(&self) -> String;
}

fn run_all(file: &str, cases: &[impl Run]) {
    let exceptions = exceptions(file);
    let (queue, wrong) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().next() else { break };
                    let verdict = exceptions.get(case.name()).cloned().unwrap_or_else(|| case.expected());
                    let (wanted, got) = (wanted(case.name(), &verdict), case.run());
                    if wanted != got {
                        wrong.lock().unwrap().push(format!("{}: wanted {wanted}, got {got}", case.name()));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} vectors:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The verdict, as exit status and answer.
fn wanted(name: &str, verdict: &str) -> String {
    if STORE_UNUSABLE.contains(&name) {
        assert_eq!(verdict, "reject authenticity");
        return "3 inconclusive authenticity".to_owned();
    }
    if STATUS_UNKNOWN.contains(&name) {
        assert_eq!(verdict, "reject revocation");
        return "3 inconclusive revocation".to_owned();
    }
    if verdict == "reject signature-file-name" {
        return "2 signature-file-name".to_owned();
    }
    let (outcome, rest) = verdict.split_at(verdict.find([' ', ',']).unwrap_or(verdict.len()));
    let answer = match outcome {
        "accept" => "0 admit",
        "reject" => "1 deny",
        "inconclusive" => "3 inconclusive",
        other => panic!("{name}: {other}"),
    };
    format!("{answer}{rest}")
}

/// Exit status and answer of a run, or its code where nothing was answered.
fn got(ran: &Ran) -> String {
    let document = ran.json();
    let members = ["answer", "code", "failed", "findings"].map(|member| document.get(member).is_some());
    assert_eq!(members, [true; 4], "{ran:?}");
    assert_eq!(ran.stderr, "", "JSON has everything: {ran:?}");
    let Some(answer) = document["answer"].as_str() else {
        return format!("{} {}", ran.exit, document["code"].as_str().unwrap());
    };
    let mut got = format!("{} {answer}", ran.exit);
    if let Some(check) = document["failed"].as_str() {
        got = format!("{got} {check}");
    }
    if let Some(logged) = document["logged"].as_array().filter(|logged| !logged.is_empty()) {
        let logged: Vec<&str> = logged.iter().map(|check| check.as_str().unwrap()).collect();
        got = format!("{got}, logged {}", logged.join(" "));
    }
    got
}

impl Run for EnvelopeCase {
    fn name(&self) -> &str {
        &self.name
    }

    fn expected(&self) -> String {
        self.expected.answer()
    }

    fn run(&self) -> String {
        let mut node = Node::with_policy(read(&self.policy));
        let responders = Responders::start(answers(self));
        node.set("http_proxy", responders.address().to_owned());
        if let Some(store) = &self.trust_store {
            copy_trust_store(store, &node.path("truststore"));
        }
        for (link, target) in &self.trust_store_symlinks {
            std::os::unix::fs::symlink(target, node.path("truststore").join(link)).unwrap();
        }
        for (name, script) in &self.plugins {
            node.write(&format!("plugins/{name}/notation-{name}"), read(script));
            node.make_program(&format!("plugins/{name}/notation-{name}"));
        }
        node.write("envelope", read(&self.envelope));
        node.write("descriptor.json", serde_json::to_vec(&self.descriptor).unwrap());
        let (envelope, descriptor) = (node.path("envelope"), node.path("descriptor.json"));
        let mut arguments = vec!["verify", "--output", "json", "--media-type", &self.media_type];
        arguments.extend(["--signature", envelope.to_str().unwrap(), "--descriptor", descriptor.to_str().unwrap()]);
        arguments.extend(["--reference", &self.artifact_reference]);
        let pairs: Vec<String> = self.user_metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        arguments.extend(pairs.iter().flat_map(|pair| ["--user-metadata", pair]));
        let ran = node.run_all(&arguments, "");
        assert!(self.http.is_some() || responders.asked().is_empty(), "{}: {:?}", self.name, responders.asked());
        got(&ran)
    }
}

fn answers(case: &EnvelopeCase) -> Vec<(String, Answer)> {
    let answer = |answer: &str| match answer.strip_prefix("status:") {
        Some(status) => Answer::Status(status.parse().unwrap()),
        None if answer == "timeout" => Answer::Hang,
        None => Answer::Bytes(read(answer)),
    };
    case.http.iter().flatten().map(|(url, file)| (url.clone(), answer(file))).collect()
}

impl Run for BlobCase {
    fn name(&self) -> &str {
        &self.name
    }

    fn expected(&self) -> String {
        self.expected.answer()
    }

    fn run(&self) -> String {
        let node = Node::new();
        node.write("trustpolicy.blob.json", read(&self.policy));
        copy_trust_store(&self.trust_store, &node.path("truststore"));
        fs::create_dir(node.path("signatures")).unwrap();
        let signature = node.path("signatures").join(&self.signature_name);
        fs::write(&signature, read(&self.signature)).unwrap();
        let blob = vectors().join(&self.blob);
        let mut arguments = vec!["blob", "verify", "--output", "json", blob.to_str().unwrap()];
        arguments.extend(["--signature", signature.to_str().unwrap()]);
        arguments.extend(self.policy_name.iter().flat_map(|name| ["--policy-name", name]));
        arguments.extend(self.blob_media_type.iter().flat_map(|media_type| ["--media-type", media_type]));
        let pairs: Vec<String> = self.user_metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        arguments.extend(pairs.iter().flat_map(|pair| ["-m", pair]));
        got(&node.run_all(&arguments, ""))
    }
}
