//! Signing requests, usage policies and records that somebody has changed.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use pratique::envelope::Format;
use pratique::oci::{Descriptor, Digest, media_type};
use pratique::pki::{Certificate, PrivateKey};
use pratique::sign::approval::{APPROVAL_MEDIA_TYPE, REQUEST_MEDIA_TYPE, Record, RequestFile, SigningRequest, Step};
use pratique::sign::{LocalKey, SignRequest, sign};
use serde_json::json;

use crate::approval::{Board, FILE, refused};

const RECORD: &str = "approvals.log";

fn read(board: &Board) -> RequestFile {
    RequestFile::parse(&fs::read(board.0.node.home().join(FILE)).unwrap()).unwrap()
}

fn write(board: &Board, file: &RequestFile) {
    board.0.node.write_home(FILE, file.to_bytes().unwrap());
}

/// What this person signs, whatever pratique would say to it.
fn endorsed(board: &Board, name: &str, media_type: &str, request: &SigningRequest, now: Timestamp) -> Vec<u8> {
    let key = |extension: &str| fs::read(board.0.node.path(&format!("localkeys/{name}.{extension}"))).unwrap();
    let certificates = Certificate::read_all(&key("crt")).unwrap();
    let signer = LocalKey::new(PrivateKey::from_pem(&key("key")).unwrap(), certificates).unwrap();
    let descriptor = Descriptor::of(media_type, &request.canonical_bytes());
    let how = SignRequest { format: Format::Jws, user_metadata: [].into(), expiry: None, now };
    sign(&descriptor, &how, &signer).unwrap().envelope.bytes().to_vec()
}

fn approval(board: &Board, name: &str, request: &SigningRequest) -> Vec<u8> {
    endorsed(board, name, APPROVAL_MEDIA_TYPE, request, request.created)
}

/// What makes another request of one.
type Change = fn(&mut SigningRequest);

/// A request of rita's that is this one but for what is changed, with the approvals of ann and bob.
fn forged(board: &Board, change: impl FnOnce(&mut SigningRequest)) -> RequestFile {
    board.request("").exits(0);
    let mut request = read(board).request;
    change(&mut request);
    let requester = endorsed(board, "rita", REQUEST_MEDIA_TYPE, &request, request.created);
    let approvals = ["ann", "bob"].map(|name| approval(board, name, &request)).to_vec();
    RequestFile { request, requester, approvals }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_changed_is_refused_whatever_was_changed() {
    let board = Board::new().await;
    board.request("").exits(0);
    board.approve("ann").exits(0);
    board.approve("bob").exits(0);
    let good = read(&board);
    let changes: [Change; 8] = [
        |request| request.artifact.digest = Digest::sha256(b"other"),
        |request| request.reference = Some("registry.example/other:v1".into()),
        |request| request.format = Format::Cose,
        |request| _ = request.user_metadata.insert("a".into(), "b".into()),
        |request| request.expiry_seconds = Some(60),
        |request| request.nonce = "f".repeat(32),
        |request| request.not_after -= SignedDuration::from_secs(1),
        |request| {
            request.created -= SignedDuration::from_secs(1);
            request.not_after -= SignedDuration::from_secs(1);
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut file = good.clone();
        change(&mut file.request);
        write(&board, &file);
        refused(&board.approve("carl"), 1, "approval-request-altered");
        // The place is asked first, and is another for some.
        let signed = board.sign(&board.0.image());
        let code = if number == 0 { "approval-other-artifact" } else { "approval-request-altered" };
        refused(&signed, 1, code);
    }
    let mut other = good.clone();
    other.request.certificate = "ab".repeat(32);
    write(&board, &other);
    refused(&board.sign(""), 1, "approval-other-certificate");
    write(&board, &good);
    board.sign("").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_does_not_allow_is_refused_though_all_have_signed_it() {
    let board = Board::new().await;
    let codes: [(Change, &str); 4] = [
        (|request| request.not_after += SignedDuration::from_secs(1), "approval-request-too-long"),
        (|request| request.not_after = request.created, "approval-request-too-long"),
        (|request| request.certificate = "ab".repeat(32), "approval-other-certificate"),
        (
            |request| {
                request.created += SignedDuration::from_mins(30);
                request.not_after = request.created + SignedDuration::from_mins(30);
            },
            "approval-request-in-future",
        ),
    ];
    for (change, code) in codes {
        write(&board, &forged(&board, change));
        refused(&board.sign(""), 1, code);
        refused(&board.approve("carl"), 1, code);
    }
    let past = forged(&board, |request| {
        request.created -= SignedDuration::from_mins(4);
        request.not_after = request.created + SignedDuration::from_mins(3);
    });
    write(&board, &past);
    refused(&board.sign(""), 1, "approval-request-expired");
    write(&board, &forged(&board, |_| {}));
    board.sign("").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn approvals_of_another_request_or_of_another_kind_do_not_count() {
    let board = Board::new().await;
    let good = forged(&board, |_| {});
    let other = forged(&board, |request| request.nonce = "f".repeat(32));
    let request = &good.request;
    let as_request = endorsed(&board, "bob", REQUEST_MEDIA_TYPE, request, request.created);
    let as_file = endorsed(&board, "bob", media_type::OCTET_STREAM, request, request.created);
    let early = endorsed(&board, "bob", APPROVAL_MEDIA_TYPE, request, request.created - SignedDuration::from_secs(1));
    let stranger = approval(&board, "mallory", request);
    let seconds =
        [other.approvals[1].clone(), as_request, as_file, early, stranger, good.approvals[0].clone(), b"{}".to_vec()];
    for (number, second) in seconds.into_iter().enumerate() {
        write(&board, &RequestFile { approvals: vec![good.approvals[0].clone(), second], ..good.clone() });
        let ran = board.sign("");
        assert_eq!(ran.json()["code"], "approval-quorum-missing", "{number}: {ran:?}");
        let shown = board.0.node.run(&format!("approvals show {FILE} -o json")).exits(1).json();
        assert_eq!(shown["approvals"][1]["counts"], false, "{number}: {shown}");
        assert!(shown["approvals"][1]["reason"].is_string(), "{number}: {shown}");
    }
    // One that does not count does not stand in the way of those that do.
    let mut all = good.clone();
    all.approvals.insert(0, b"{}".to_vec());
    write(&board, &all);
    board.sign("").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_requests_are_refused() {
    let board = Board::new().await;
    board.request("").exits(0);
    let text = fs::read_to_string(board.0.node.home().join(FILE)).unwrap();
    let large = format!("{text}{}", " ".repeat(1024 * 1024));
    for (content, code) in [
        (large, "approval-request-too-large"),
        ("[".repeat(100_000), "approval-request-malformed"),
        (String::new(), "approval-request-malformed"),
        (text.replace("\"approvals\":[]", "\"approvals\":[\"!\"]"), "approval-request-malformed"),
        (text.replace("\"nonce\":", "\"nonce\": "), "approval-request-rewritten"),
    ] {
        board.0.node.write_home(FILE, content);
        refused(&board.sign(""), 1, code);
        refused(&board.approve("ann"), 1, code);
    }
    board.0.node.write_home(FILE, text);
    board.approve("ann").exits(0);
    fs::remove_file(board.0.node.home().join(FILE)).unwrap();
    refused(&board.approve("ann"), 3, "file-unreadable");
}

/// A board whose request has its approvals.
async fn approved() -> Board {
    let board = Board::new().await;
    board.request("").exits(0);
    board.approve("ann").exits(0);
    board.approve("bob").exits(0);
    board
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_changed_stops_every_step() {
    let board = approved().await;
    let path = board.0.node.path(RECORD);
    let good = fs::read_to_string(&path).unwrap();
    let without_first: String = good.split_inclusive('\n').skip(1).collect();
    for (content, code) in [
        (good.replacen("CN=ann", "CN=eve", 1), "approval-record-broken"),
        (without_first, "approval-record-broken"),
        (format!("{good}{{}}\n"), "approval-record-broken"),
        ("x".repeat(5 * 1024 * 1024), "approval-record-too-large"),
    ] {
        fs::write(&path, &content).unwrap();
        refused(&board.sign(""), 1, code);
        refused(&board.approve("carl"), 1, code);
        refused(&board.0.node.run("approvals record -o json"), 1, code);
        assert_eq!(fs::read_to_string(&path).unwrap(), content, "a record is not mended by itself");
    }
    fs::write(&path, &good).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
    refused(&board.sign(""), 1, "approval-record-exposed");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&path, board.0.node.path("elsewhere")).unwrap();
    symlink(board.0.node.path("elsewhere"), &path).unwrap();
    refused(&board.sign(""), 3, "approval-record-unusable");
    fs::rename(board.0.node.path("elsewhere"), &path).unwrap();
    assert_eq!(board.signatures(), 0);
    board.sign("").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_broken_off_is_none() {
    let board = approved().await;
    let path = board.0.node.path(RECORD);
    let whole = fs::read_to_string(&path).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"sequence\":4,\"prev").unwrap();
    assert_eq!(board.steps(), ["requested", "approved", "approved"]);
    board.sign("").exits(0);
    assert_eq!(board.steps(), ["requested", "approved", "approved", "signed"]);
    assert!(fs::read_to_string(&path).unwrap().starts_with(&whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_comes_to_light() {
    let board = approved().await;
    let path = board.0.node.path(RECORD);
    let good = fs::read(&path).unwrap();
    let later = |minutes| {
        let mut record = Record::default();
        for line in good.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            record.follow(line).unwrap();
        }
        let request = read(&board).request;
        let step = Step::Refused { request: request.digest(), command: "sign".into(), code: "none".into(), by: None };
        let mut text = good.clone();
        text.extend(record.next(step, request.created + SignedDuration::from_mins(minutes)).unwrap());
        text.push(b'\n');
        fs::write(&path, text).unwrap();
    };
    later(30);
    refused(&board.sign(""), 1, "approval-clock-behind");
    later(2);
    board.sign("").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_keeps_the_last_hash_finds_a_record_that_was_cut_off() {
    let board = approved().await;
    let path = board.0.node.path(RECORD);
    let head = board.0.node.run("approvals record -o json").exits(0).json()["head"].as_str().unwrap().to_owned();
    board.sign("").exits(0);
    let contains = format!("approvals record -o json --contains {head}");
    board.0.node.run(&contains).exits(0);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.split_inclusive('\n').take(2).collect::<String>()).unwrap();
    refused(&board.0.node.run(&contains), 1, "approval-record-shortened");
    board.0.node.run("approvals record").exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_holds_the_signature_and_whose_approvals_it_has() {
    let board = approved().await;
    let mut file = read(&board);
    file.approvals.insert(1, approval(&board, "mallory", &file.request));
    write(&board, &file);
    let report = board.sign("").exits(0).json();
    let record = board.0.node.run("approvals record -o json").exits(0).json();
    let signed = &record["entries"][3]["step"]["signed"];
    let envelope = STANDARD.decode(signed["envelope"].as_str().unwrap()).unwrap();
    assert_eq!(json!(Digest::sha256(&envelope).to_string()), report["envelope"]["digest"], "{report}");
    let approvers: Vec<&str> =
        signed["approvals"].as_array().unwrap().iter().map(|given| given["approver"].as_str().unwrap()).collect();
    assert_eq!(approvers.len(), 2, "who does not count is not in it");
    assert!(approvers[0].starts_with("CN=ann,") && approvers[1].starts_with("CN=bob,"), "{approvers:?}");
    assert_eq!(signed["request"], json!(read(&board).request.digest().to_string()));
    let shown = board.0.node.run("approvals record").exits(0).stdout;
    assert!(shown.contains("signed     approved by CN=ann,"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usage_policy_that_cannot_be_understood_stops_every_key_and_names_the_line() {
    let board = Board::new().await;
    let good = fs::read_to_string(board.0.node.path("keyusage.toml")).unwrap();
    let approver = "x509.subject: C=US, ST=WA, O=Notary, CN=ann";
    for (from, to, code, line) in [
        ("approvals = 2", "approvals = 4", "usage-policy-invalid", ":1:"),
        ("approvals = 2", "approvals = 0", "usage-policy-invalid", ":3:"),
        ("approvals = 2", "aprovals = 2", "usage-policy-invalid", ":3:"),
        ("approvals = 2", "approvals = 2\napprovals = 1", "usage-policy-invalid", ":4:"),
        ("\"1h\"", "\"soon\"", "usage-policy-invalid", ":4:"),
        ("\"1h\"", "\"0s\"", "usage-policy-invalid", ":4:"),
        ("ca:bob", "bob", "usage-policy-invalid", ":5:"),
        (approver, "*", "usage-policy-invalid", ":1:"),
        (approver, "com.acme.id: 7", "usage-policy-invalid", ":1:"),
        (approver, "x509.subject: CN=ann", "usage-policy-invalid", ":1:"),
        (approver, "x509.subject: C=US, ST=WA, O=Notary", "usage-policy-invalid", ":1:"),
        ("[keys.release]", "[key.release]", "usage-policy-invalid", ":1:"),
        ("release.crt", "none.crt", "usage-policy-unreadable", "none.crt"),
        ("release.crt", "release.key", "usage-policy-certificate", "release.key"),
    ] {
        assert!(good.contains(from), "{from}");
        board.0.node.write("keyusage.toml", good.replacen(from, to, 1));
        let ran = board.0.run("sign --key ann -o json");
        refused(&ran, 3, code);
        assert!(ran.json()["reason"].as_str().unwrap().contains(line), "{to}: {ran:?}");
    }
    let twice = format!("{good}\n{}", good.replace("keys.release", "keys.again"));
    board.0.node.write("keyusage.toml", twice);
    refused(&board.0.run("sign --key ann -o json"), 3, "usage-policy-invalid");
    board.0.node.write("keyusage.toml", &good);
    board.0.run("sign --key ann").exits(0);
}
