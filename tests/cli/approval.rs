//! Signatures that others must agree to: from the request over the approvals to what verifiers accept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{Ran, Scene, policy};
use crate::places::copied;
use crate::registry::Fault;

/// A scene in which `release` signs only what two of ann, bob and carl approve, and rita may ask.
pub struct Board(pub Scene);

pub const FILE: &str = "app.request";

impl Board {
    pub async fn new() -> Self {
        let scene = Scene::new().await;
        for name in ["bob", "carl", "rita", "mallory", "release"] {
            scene.add_signer(name);
        }
        scene.node.write("trustpolicy.json", policy("strict", &["ca:release"], &["*"]));
        let board = Self(scene);
        board.rule("1h", "");
        board
    }

    /// Writes the usage policy, with this time for requests and these further lines.
    pub fn rule(&self, valid_for: &str, more: &str) {
        let subject = |name: &str| format!("\"x509.subject: C=US, ST=WA, O=Notary, CN={name}\"");
        let approvers = ["ann", "bob", "carl"].map(subject).join(", ");
        let text = format!(
            "[keys.release]\ncertificate = \"localkeys/release.crt\"\napprovals = 2\nvalid_for = \"{valid_for}\"\n\
             trust_stores = [\"ca:ann\", \"ca:bob\", \"ca:carl\", \"ca:rita\"]\napprovers = [{approvers}]\n\
             requesters = [{}, {}]\n{more}\n",
            subject("rita"),
            subject("carl"),
        );
        self.0.node.write("keyusage.toml", text);
    }

    pub fn request(&self, more: &str) -> Ran {
        let _ = fs::remove_file(self.0.node.home().join(FILE));
        self.0.run(&format!("sign --key release --request {FILE} --request-key rita {more}"))
    }

    pub fn approve(&self, name: &str) -> Ran {
        self.0.node.run(&format!("approve {FILE} --yes --key {name} -o json"))
    }

    pub fn sign(&self, more: &str) -> Ran {
        self.0.node.run(&format!("sign --approved {FILE} -o json {more}"))
    }

    /// The steps in the record, each in a word.
    pub fn steps(&self) -> Vec<String> {
        let record = self.0.node.run("approvals record -o json").exits(0).json();
        let step = |entry: &Value| entry["step"].as_object().unwrap().keys().next().unwrap().clone();
        record["entries"].as_array().unwrap().iter().map(step).collect()
    }

    pub fn signatures(&self) -> usize {
        self.0.run("ls -o json").json()["signatures"].as_array().unwrap().len()
    }
}

#[track_caller]
pub fn refused(ran: &Ran, exit: i32, code: &str) {
    assert_eq!((ran.exit, ran.json()["code"].as_str()), (exit, Some(code)), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_of_three_approve_is_signed_and_pratique_and_notation_accept_it() {
    let board = Board::new().await;
    board.request("-m build=7 --expiry 24h --signature-format cose").exits(0);
    refused(&board.sign(""), 1, "approval-quorum-missing");
    board.approve("ann").exits(0);
    let short = board.sign("");
    refused(&short, 1, "approval-quorum-missing");
    let reason = short.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("1 of 2 approvals are there; 1 of these must still approve: "), "{reason}");
    assert!(reason.contains("CN=bob; ") && reason.contains("CN=carl") && !reason.contains("CN=ann"), "{reason}");
    assert_eq!(board.signatures(), 0);
    let summary = board.approve("bob").exits(0).json();
    assert_eq!((&summary["counted"], &summary["needed"], &summary["missing"]), (&json!(2), &json!(2), &json!([])));
    board.sign("").exits(0);
    board.0.verify("-m build=7").answers(0, "admit", "admitted", None);
    board.0.notation_accepts(&board.0.node.path("localkeys/release.crt"));
    let signed = board.0.run("inspect -o json").json()["signatures"][0].clone();
    assert_eq!(signed["mediaType"], "application/cose", "{signed}");
    assert_eq!(signed["userDefinedAttributes"], json!({"build": "7"}));
    assert!(signed["signedAttributes"]["expiry"].is_string());
    assert_eq!(board.steps(), ["requested", "refused", "approved", "refused", "approved", "signed"]);
    let mode = fs::metadata(board.0.node.path("approvals.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_needs_approvals_signs_nothing_without_them() {
    let mut board = Board::new().await;
    let home = board.0.node.home().display().to_string();
    board.0.node.set("XDG_CONFIG_HOME", home);
    let node = &board.0.node;
    node.write_home("file", "content");
    board.0.run("descriptor --output-file app.json").exits(0);
    node.write("signingkeys.json", renamed(&board));
    board.0.registry.forget_requests();
    for key in ["release", "alias"] {
        refused(&board.0.run(&format!("sign --key {key} -o json")), 1, "approval-required");
        let detached = format!("sign --key {key} -o json --descriptor app.json --output-signature app.jws.sig");
        refused(&node.run(&detached), 1, "approval-required");
        refused(&node.run(&format!("blob sign file --key {key} -o json")), 1, "approval-required");
        let notation = board.0.node.run(&format!("notation sign --insecure-registry --key {key} {}", board.0.image()));
        assert_eq!(notation.exit, 1, "{notation:?}");
        assert!(notation.stderr.contains("asks for the approval of others"), "{notation:?}");
    }
    assert!(!board.0.registry.lines().iter().any(|line| line.starts_with("PUT ")));
    // A request and an approval are signatures, too.
    let asked = board.0.run("sign --key release --request x.request --request-key release -o json");
    refused(&asked, 1, "approval-required");
    // Other keys sign as ever.
    board.0.run("sign --key ann").exits(0);
    node.run("blob sign file --key ann").exits(0);
    fs::remove_file(node.path("keyusage.toml")).unwrap();
    board.0.run("sign --key release").exits(0);
}

/// The list of keys, with the key of `release` under another name, too.
fn renamed(board: &Board) -> String {
    let text = fs::read_to_string(board.0.node.path("signingkeys.json")).unwrap();
    let mut keys: Value = serde_json::from_str(&text).unwrap();
    let list = keys["keys"].as_array_mut().unwrap();
    let mut alias = list.iter().find(|key| key["name"] == "release").unwrap().clone();
    alias["name"] = json!("alias");
    list.push(alias);
    keys.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_approval_that_must_not_count_is_refused_and_its_twin_is_not() {
    let board = Board::new().await;
    board.request("").exits(0);
    refused(&board.approve("mallory"), 1, "approval-not-an-approver");
    refused(&board.approve("rita"), 1, "approval-not-an-approver");
    board.approve("ann").exits(0);
    refused(&board.approve("ann"), 1, "approval-repeated");
    refused(&board.0.node.run(&format!("approve {FILE} --key bob -o json")), 2, "confirmation-missing");
    board.approve("bob").exits(0);
    let shown = board.0.node.run(&format!("approvals show {FILE} -o json")).exits(0).json();
    assert_eq!(shown["approvals"].as_array().unwrap().len(), 2, "what was refused is not in the file");
    // Carl may ask and may approve, and not both.
    let by_carl = |name: &str| {
        let _ = fs::remove_file(board.0.node.home().join(FILE));
        board.0.run(&format!("sign --key release --request {FILE} --request-key carl")).exits(0);
        board.approve(name)
    };
    refused(&by_carl("carl"), 1, "approval-by-requester");
    by_carl("ann").exits(0);
    board.rule("1h", "requester_may_approve = true");
    by_carl("carl").exits(0);
    board.approve("ann").exits(0);
    board.sign("").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_ask_asks() {
    let board = Board::new().await;
    let ask = |name: &str| {
        let _ = fs::remove_file(board.0.node.home().join(FILE));
        board.0.run(&format!("sign --key release --request {FILE} --request-key {name} -o json"))
    };
    refused(&ask("mallory"), 1, "approval-requester-refused");
    refused(&ask("bob"), 1, "approval-requester-refused");
    assert!(!board.0.node.home().join(FILE).try_exists().unwrap());
    ask("rita").exits(0);
    refused(
        &board.0.run(&format!("sign --key release --request {FILE} --request-key rita -o json")),
        2,
        "approval-request-exists",
    );
    refused(&board.0.run("sign --key ann --request x --request-key rita -o json"), 2, "usage-policy-unknown");
    refused(&board.0.run("sign --request x --request-key rita -o json"), 2, "arguments-missing");
    refused(&board.0.run("sign --key release --request x --request-key nobody -o json"), 2, "signing-key-unknown");
    fs::remove_file(board.0.node.path("keyusage.toml")).unwrap();
    refused(&board.0.run("sign --key release --request x --request-key rita -o json"), 3, "usage-policy-missing");
    refused(&board.approve("ann"), 3, "usage-policy-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_good_for_one_signature() {
    let board = Board::new().await;
    board.request("").exits(0);
    board.approve("ann").exits(0);
    board.approve("bob").exits(0);
    // The signature is made, and the registry does not take it: what is asked for again is the same one.
    board.0.registry.fault("/blobs/uploads", Fault::Status(403), 1);
    refused(&board.sign(""), 3, "registry-forbidden");
    assert_eq!(board.signatures(), 0);
    let first = board.sign("").exits(0).json();
    let again = board.sign("").exits(0);
    assert_eq!(again.json()["signature"], first["signature"]);
    assert!(again.stderr.contains("was made before"), "{again:?}");
    assert_eq!(board.signatures(), 1);
    assert_eq!(board.steps(), ["requested", "approved", "approved", "signed"]);
    // What is fixed by the request cannot be said again, and another image is another request.
    for arguments in ["--expiry 1h", "-m a=b", "--signature-format cose", "--request other"] {
        board.0.node.run(&format!("sign --approved {FILE} {arguments}")).exits(2);
    }
    let other = board.0.registry.put_manifest(
        "team/app",
        Some("v2"),
        pratique::oci::media_type::IMAGE_MANIFEST,
        &crate::registry::image("other"),
    );
    let elsewhere = board.sign(&format!("{}/team/app@{other}", board.0.registry.host()));
    refused(&elsewhere, 1, "approval-other-artifact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends() {
    let board = Board::new().await;
    board.rule("2s", "");
    board.request("").exits(0);
    board.approve("ann").exits(0);
    let begun = Instant::now();
    loop {
        let shown = board.0.node.run(&format!("approvals show {FILE} -o json"));
        if shown.json()["code"] == "approval-request-expired" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{shown:?}");
    }
    refused(&board.approve("bob"), 1, "approval-request-expired");
    refused(&board.sign(""), 1, "approval-request-expired");
    // The twin that differs in the time that it has.
    board.rule("1h", "");
    board.request("").exits(0);
    board.approve("ann").exits(0);
    board.approve("bob").exits(0);
    board.sign("").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_and_layouts_are_asked_for_as_well() {
    let board = Board::new().await;
    board.0.run("descriptor --output-file app.json").exits(0);
    let ask = "sign --key release --request d.request --request-key rita --descriptor app.json";
    board.0.node.run(ask).exits(0);
    for name in ["ann", "carl"] {
        board.0.node.run(&format!("approve d.request --yes --key {name}")).exits(0);
    }
    refused(&board.0.node.run("sign --approved d.request -o json"), 2, "arguments-missing");
    board.0.node.run("sign --approved d.request --output-signature app.jws.sig").exits(0);
    let verify = "verify -o json --descriptor app.json --signature app.jws.sig --media-type application/jose+json";
    board.0.node.run(&format!("{verify} --reference {}", board.0.image())).answers(0, "admit", "admitted", None);
    copied(&board.0, "out");
    board.0.node.run("sign --key release --request l.request --request-key rita oci-layout:out:v1").exits(0);
    for name in ["ann", "carl"] {
        board.0.node.run(&format!("approve l.request --yes --key {name}")).exits(0);
    }
    board.0.node.run("sign --approved l.request").exits(0);
    let scope = "verify -o json --scope registry.example/app oci-layout:out:v1";
    board.0.node.run(scope).answers(0, "admit", "admitted", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_approvers_at_the_same_time_are_both_in_the_file() {
    let board = Board::new().await;
    for _ in 0..5 {
        board.request("").exits(0);
        std::thread::scope(|scope| {
            let approvers = ["ann", "bob", "carl"].map(|name| scope.spawn(|| board.approve(name).exits(0)));
            for approver in approvers {
                approver.join().unwrap();
            }
        });
        let shown = board.0.node.run(&format!("approvals show {FILE} -o json")).exits(0).json();
        assert_eq!(shown["counted"], 3, "{shown}");
    }
    assert_eq!(board.steps().iter().filter(|step| *step == "approved").count(), 15);
    // And of several who sign at the same time, all get the same signature.
    std::thread::scope(|scope| {
        let signers = [(); 3].map(|()| scope.spawn(|| board.sign("").exits(0).json()["signature"].clone()));
        let signatures = signers.map(|signer| signer.join().unwrap());
        assert!(signatures.iter().all(|signature| *signature == signatures[0]), "{signatures:?}");
    });
    assert_eq!(board.signatures(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_is_to_be_signed_and_types_yes() {
    let board = Board::new().await;
    board.request("-m build=\u{1b}[2J7").exits(0);
    let approve = |answer: &str| board.0.node.at_a_terminal(&format!("approve {FILE} --key ann"), answer);
    for answer in ["no\r", "\r", "y\r", "\u{4}"] {
        let (asked, shown) = approve(answer);
        assert!(asked && shown.contains("[confirmation-missing]"), "{shown}");
    }
    let (_, shown) = approve("yes\r");
    assert!(shown.contains("  metadata    build= [2J7"), "{shown}");
    assert!(
        shown.contains("  key         release, CN=release,") && shown.contains("  asked by    CN=rita,"),
        "{shown}"
    );
    assert!(shown.contains("  approvals   1 of 2"), "{shown}");
    board.approve("bob").exits(0);
    board.sign("").exits(0);
}

/// Runs a command and kills it as soon as the record has so many of these steps; whether that was before its end.
fn killed(board: &Board, arguments: &str, step: &str, count: usize) -> bool {
    let record = board.0.node.path("approvals.log");
    let written = || fs::read_to_string(&record).unwrap_or_default().matches(&format!("\"step\":{{\"{step}\"")).count();
    let mut child = board.0.node.command(&arguments.split(' ').collect::<Vec<_>>()).spawn().unwrap();
    while written() < count {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
    }
    let _ = child.kill();
    !child.wait().unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_does_it_again_and_nothing_is_lost_or_signed_twice() {
    let board = Board::new().await;
    let mut kills = 0;
    for round in 1..=4 {
        board.request(&format!("-m round={round}")).exits(0);
        let begun = |step: &str| board.steps().iter().filter(|other| *other == step).count();
        kills +=
            usize::from(killed(&board, &format!("approve {FILE} --yes --key ann"), "approved", begun("approved") + 1));
        // Either the approval is in the file, or it can be given again.
        let again = board.approve("ann");
        assert!(again.exit == 0 || again.json()["code"] == "approval-repeated", "{again:?}");
        board.approve("bob").exits(0);
        kills += usize::from(killed(&board, &format!("sign --approved {FILE}"), "signed", begun("signed") + 1));
        let signed = board.sign("").exits(0);
        assert!(signed.stderr.contains("was made before"), "{signed:?}");
        assert_eq!((begun("signed"), board.signatures()), (round, round));
        board.0.verify(&format!("-m round={round}")).answers(0, "admit", "admitted", None);
    }
    assert!(kills > 0, "nobody was killed before the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_key_and_what_was_signed_is_not_approved_any_more() {
    let board = Board::new().await;
    let node = &board.0.node;
    board.request("").exits(0);
    refused(&board.approve("mallory"), 1, "approval-not-an-approver");
    for name in ["ann", "bob", "carl"] {
        board.approve(name).exits(0);
    }
    let shown = node.run(&format!("approvals show {FILE}")).exits(0).stdout;
    assert!(shown.contains("2 of 2, and 1 more") && shown.contains("  expires     never\n"), "{shown}");
    board.sign("").exits(0);
    refused(&board.approve("ann"), 1, "approval-signed-already");
    let entries = node.run("approvals record -o json").exits(0).json()["entries"].clone();
    let by = &entries[1]["step"]["refused"]["by"];
    let shown = node.run("cert show mallory.crt --store mallory -o json").exits(0).json();
    assert_eq!(by["thumbprint"], shown[0]["thumbprint"], "{entries}");
    assert!(by["subject"].as_str().unwrap().contains("CN=mallory"), "{entries}");
    let told = node.run("approvals record").exits(0).stdout;
    assert!(told.contains("refused    approve [approval-not-an-approver] to CN=mallory"), "{told}");
    assert!(told.contains("refused    approve [approval-signed-already]\n"), "{told}");
    node.write_home("other", "not a request");
    refused(&node.run("approvals show other -o json"), 2, "approval-request-malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_signed_once_enough_have_approved_it() {
    let board = Board::new().await;
    let node = &board.0.node;
    node.write_home("list.txt", "content");
    let ask =
        format!("blob sign list.txt --media-type text/plain --key release --request {FILE} --request-key rita -o json");
    node.run(&ask).exits(0);
    refused(&node.run(&ask), 2, "approval-request-exists");
    let sign = || board.sign("--output-signature list.txt.jws.sig");
    refused(&sign(), 1, "approval-quorum-missing");
    board.approve("ann").exits(0);
    board.approve("bob").exits(0);
    refused(&board.sign(""), 2, "arguments-missing");
    sign().exits(0);
    node.run("blob policy init --name files --trust-store ca:release --trusted-identity * --global").exits(0);
    let verify = |file: &str| {
        node.run(&format!("blob verify {file} --media-type text/plain --signature list.txt.jws.sig -o json"))
    };
    // Test certificates name no server to ask about revocation, and need none.
    let good = verify("list.txt");
    assert_eq!((good.exit, good.json()["code"].as_str()), (0, Some("admitted")), "{good:?}");
    node.write_home("other.txt", "something else");
    verify("other.txt").exits(1);
}
