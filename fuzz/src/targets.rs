//! What strangers' bytes go through: one function for each parser, for the fuzzer and for the short run of `tests/fuzz.rs`.
//!
//! A target fails by a panic. Beside not ending the process, each holds what is accepted, and what is said of the rest,
//! to something that must be so of any input.
//!
//! What an issuer signed cannot be changed without its key, and is not looked into before its signature is good. So the
//! targets for OCSP responses and CRLs have an issuer of their own (`issuer/`), and also sign what they are given.

use std::fmt::Display;
use std::path::{Component, Path};

use std::sync::LazyLock;

use jiff::Timestamp;
use pratique::effective::Effective;
use pratique::envelope::{Envelope, Payload, limits::DEFAULT_ENVELOPE_SIZE};
use pratique::oci::{Descriptor, DigestAlgorithm, Index, Manifest, Reference, SignatureManifest, media_type};
use pratique::pki::revocation::{Crl, Moment, OcspResponse, Reading, crls_in};
use pratique::pki::{
    Certificate, Chain, MAX_CHAIN_LENGTH, PrivateKey, RefusedTimestamp, SubjectPattern, TimestampRequest,
    TimestampToken,
};
use pratique::policy::Policy;
use pratique::proto::{CheckRequest, CheckResponse, frame};
use pratique::rootfs::{DiffIds, Mount, RootFilesystem, mounted_at, mounts_below};
use pratique::sign::approval::{MAX_APPROVALS, Record, RequestFile};
use pratique::sign::{BuildOutput, MAX_BUILT_IMAGES, PayloadIndex};
use pratique::source::archive::Members;
use prost::Message as _;

/// Every target by its name, which is that of its file in `fuzz_targets/` and of its folder in `seeds/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("jws", jws),
    ("cose", cose),
    ("certificate_chain", certificate_chain),
    ("distinguished_name", distinguished_name),
    ("ocsp_response", ocsp_response),
    ("crl", crl),
    ("timestamp_token", timestamp_token),
    ("subject_pattern", subject_pattern),
    ("trust_policy", trust_policy),
    ("reference", reference),
    ("manifest", manifest),
    ("layout_index", layout_index),
    ("archive_members", archive_members),
    ("image_config", image_config),
    ("mountinfo", mountinfo),
    ("containerd_mounts", containerd_mounts),
    ("containerd_config", containerd_config),
    ("hook_frame", hook_frame),
    ("build_output", build_output),
    ("payload_index", payload_index),
    ("signing_request", signing_request),
    ("approval_record", approval_record),
];

/// Says whether anything was accepted, so that the short run can tell a target that refuses everything.
pub type Target = fn(&[u8]) -> bool;

/// The longest account of an error, in bytes: a line for people with excerpts of what was read, which are cut.
const MAX_ACCOUNT: usize = 8 * 1024;

/// An envelope in JSON.
pub fn jws(bytes: &[u8]) -> bool {
    envelope(media_type::JWS_ENVELOPE, bytes)
}

/// An envelope in CBOR.
pub fn cose(bytes: &[u8]) -> bool {
    envelope(media_type::COSE_ENVELOPE, bytes)
}

fn envelope(media_type: &str, bytes: &[u8]) -> bool {
    let Some(envelope) = accepted(Envelope::parse(media_type, bytes, DEFAULT_ENVELOPE_SIZE)) else { return false };
    assert!(envelope.certificates().len() <= MAX_CHAIN_LENGTH);
    // What is kept is a part of what came: nothing grows.
    let kept = envelope.payload().len() + envelope.certificates().iter().map(Vec::len).sum::<usize>();
    assert!(kept <= bytes.len(), "{kept} bytes out of {}", bytes.len());
    accepted(Payload::parse(envelope.payload()));
    let chain: Result<Vec<_>, _> = envelope.certificates().iter().map(|der| Certificate::from_der(der)).collect();
    accepted(chain).and_then(|chain| accepted(Chain::code_signing(chain))).is_some()
}

/// A file of certificates, and the chain that they are.
pub fn certificate_chain(bytes: &[u8]) -> bool {
    let Some(certificates) = accepted(Certificate::read_all(bytes)) else { return false };
    for certificate in &certificates {
        bounded(certificate.subject());
        accepted(certificate.public_key());
        let again = Certificate::from_der(certificate.der()).expect("what was read once is read again");
        assert_eq!(again.subject(), certificate.subject());
    }
    accepted(Chain::code_signing(certificates)).is_some()
}

/// The subject of a certificate: its DER stands where the name of a good certificate stood.
pub fn distinguished_name(bytes: &[u8]) -> bool {
    let Some(certificate) = accepted(Certificate::from_der(&with_subject(bytes))) else { return false };
    if certificate.subject_der() != bytes {
        // More than one element: the rest was read as what comes after a subject.
        assert!(bytes.starts_with(certificate.subject_der()));
        return false;
    }
    let subject = certificate.subject();
    subject.is_empty() || !subject.to_string().is_empty()
}

/// What an OCSP responder answers, and the same as what our own issuer has signed.
pub fn ocsp_response(bytes: &[u8]) -> bool {
    // RFC 6960, section 4.2.1: successful, of the basic type.
    const BEFORE: &[u8] = b"\x0a\x01\x00";
    const TYPE: &[u8] = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
    let basic = [TYPE, &element(0x04, &signed(bytes))].concat();
    let ours = sequence(&[BEFORE, &element(0xa0, &sequence(&basic))].concat());
    [bytes, &ours].map(read_ocsp_response).contains(&true)
}

fn read_ocsp_response(bytes: &[u8]) -> bool {
    let Some(response) = accepted(OcspResponse::from_der(bytes)) else { return false };
    let read = |moment: Moment| {
        let vouched = accepted(response.vouched(&ISSUER.certificate, moment.now));
        let reading = vouched.and_then(|vouched| accepted(vouched.reading(&ISSUER.leaf, moment)));
        reading.is_some_and(|reading| is_fresh(&reading, moment))
    };
    moments().map(read).contains(&true)
}

/// A revocation list as a file of an operator or an answer, and the same as what our own issuer has signed: alone, and
/// as the changes of another.
pub fn crl(bytes: &[u8]) -> bool {
    accepted(crls_in(bytes));
    let ours = signed(bytes);
    let accepts = [read_crl(bytes, None), read_crl(&ours, None), read_crl(&ISSUER.base, Some(&ours))];
    accepts.contains(&true)
}

fn read_crl(bytes: &[u8], changes: Option<&[u8]>) -> bool {
    let Some(list) = accepted(Crl::from_der(bytes)) else { return false };
    let delta = match changes.map(Crl::from_der).map(accepted) {
        Some(None) => return false,
        Some(delta) => delta,
        None => None,
    };
    let read = |moment: Moment| {
        let Some(usable) = accepted(list.usable(&ISSUER.leaf, &ISSUER.certificate, moment)) else { return false };
        let changes = delta.as_ref().map(|delta| accepted(usable.usable_delta(delta, &ISSUER.certificate, moment)));
        if matches!(changes, Some(None)) {
            return false;
        }
        let reading = accepted(usable.reading(changes.flatten().as_ref(), moment));
        reading.is_some_and(|reading| is_fresh(&reading, moment))
    };
    let _ = (list.issuer(), list.series(), list.delta_urls());
    moments().map(read).contains(&true)
}

/// No answer that is relied upon is too old.
fn is_fresh(reading: &Reading, moment: Moment) -> bool {
    assert!(moment.now <= reading.until, "good until {} at {}", reading.until, moment.now);
    true
}

/// Two times, with somebody who vouches for the time of signing and without.
fn moments() -> [Moment; 2] {
    let at = |text: &str| text.parse::<Timestamp>().expect("a time");
    let now = at("2027-01-01T00:00:00Z");
    [
        Moment { now, authentic_signing_time: None },
        Moment { now, authentic_signing_time: Some(at("2026-01-15T00:00:00Z")) },
    ]
}

/// A time-stamp token, and the answer of an authority that holds one.
pub fn timestamp_token(bytes: &[u8]) -> bool {
    const MESSAGE: &[u8] = include_bytes!("../../tests/timestamps/message");
    static ANCHORS: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
        Certificate::read_all(include_bytes!("../../tests/timestamps/root.pem")).expect("the root of the seeds")
    });
    let request = TimestampRequest::new(MESSAGE, DigestAlgorithm::Sha256, [7; 16]);
    let answered = request.accept(bytes, MESSAGE, &ANCHORS);
    let is_answer = matches!(&answered, Err(RefusedTimestamp::OtherRequest | RefusedTimestamp::Refused { .. }));
    assert!(accepted(answered).is_none(), "nobody else knows the number that was asked with");
    let Some(token) = accepted(TimestampToken::parse(bytes)) else { return is_answer };
    assert_eq!(TimestampToken::parse(token.der()).as_ref(), Ok(&token), "in DER it says the same");
    if let Some(signer) = token.unverified_signer() {
        bounded(signer.subject());
    }
    match token.verify(MESSAGE, &ANCHORS) {
        Ok(stamp) => assert!(stamp.earliest() <= stamp.latest() && stamp.chain().len() > 1),
        Err(error) => bounded(error),
    }
    assert!(accepted(token.verify(b"another", &ANCHORS)).is_none(), "no seed is over this message");
    true
}

/// A trusted identity's subject, as operators write it.
pub fn subject_pattern(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some(pattern) = accepted(text.parse::<SubjectPattern>()) else { return false };
    assert!(pattern.is_subset_of(&pattern));
    true
}

/// A trust policy, for images and for blobs.
pub fn trust_policy(bytes: &[u8]) -> bool {
    let policies = [Policy::parse(bytes), Policy::parse_blob(bytes)].map(accepted);
    for policy in policies.iter().flatten() {
        assert!(!policy.statements().is_empty());
        for scope in policy.statements().iter().flat_map(pratique::policy::Statement::scopes) {
            assert!(policy.statement_for_scope(&scope.to_string()).is_some(), "a scope selects a statement");
        }
    }
    policies.iter().any(Option::is_some)
}

/// A reference to an image.
pub fn reference(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some(reference) = accepted(text.parse::<Reference>()) else { return false };
    assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference), "said again, it is the same");
    assert!(!reference.repository().path().split('/').any(|part| part == ".." || part.is_empty()));
    true
}

/// A manifest of an image and of a signature.
pub fn manifest(bytes: &[u8]) -> bool {
    let digest = Descriptor::of(media_type::IMAGE_MANIFEST, bytes).digest;
    assert_eq!(digest.to_string().parse().as_ref(), Ok(&digest));
    accepted(SignatureManifest::parse(media_type::IMAGE_MANIFEST, bytes));
    accepted(SignatureManifest::subject_of(media_type::IMAGE_MANIFEST, bytes));
    accepted(Manifest::parse(bytes)).is_some()
}

/// An index: the `index.json` of a layout, an answer of the referrers API.
pub fn layout_index(bytes: &[u8]) -> bool {
    let Some(index) = accepted(Index::parse(bytes)) else { return false };
    // The shortest entry there can be has a digest of 71 characters.
    assert!(index.manifests.len() <= bytes.len() / 71);
    true
}

/// The members of a tar archive.
pub fn archive_members(bytes: &[u8]) -> bool {
    let Some(members) = accepted(Members::of_bytes(bytes)) else { return false };
    members.names().for_each(|name| is_plain(&Path::new("/").join(name)));
    // Each has a head of its own, and the end has one, too.
    let end = usize::try_from(members.end()).expect("it lies within the bytes");
    assert!(end % 512 == 0 && end + 512 <= bytes.len(), "at {end}");
    assert!(members.names().count() <= end / 512, "in {end} bytes");
    true
}

/// The config of an image.
pub fn image_config(bytes: &[u8]) -> bool {
    let Some(layers) = accepted(DiffIds::parse(bytes)) else { return false };
    assert!(layers.chain().len() <= bytes.len() / 71);
    true
}

/// The kernel's table of mounts. The first line is the directory asked for.
pub fn mountinfo(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (directory, table) = text.split_once('\n').unwrap_or(("/", &text));
    assert!(mounts_below(table, directory) <= table.lines().count());
    let root = mounted_at(table, directory).and_then(|mount| mount.overlay());
    root.iter().for_each(plain);
    root.is_some()
}

/// Mounts of a snapshot, a line each: the kind, the source and the options with a bar between them.
pub fn containerd_mounts(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mounts: Vec<Mount> = text
        .lines()
        .map(|line| {
            let mut parts = line.split('|').map(str::to_owned);
            let (kind, source) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            Mount { kind, source, options: parts.collect() }
        })
        .collect();
    let root = accepted(RootFilesystem::of(&mounts, "overlayfs"));
    root.iter().for_each(plain);
    if let Some(directory) = RootFilesystem::written(&mounts) {
        is_plain(&directory);
    }
    root.is_some()
}

/// containerd's configuration, as it prints it.
pub fn containerd_config(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(table) = toml::from_str::<toml::Table>(&text) else { return false };
    let effective = Effective::new(table);
    let _ = (effective.address(), effective.opt(), effective.verifiers(), effective.differs(), effective.unpack());
    let _ = (effective.proxies(), effective.cri_snapshotters(), effective.local_pull_settings());
    for handler in effective.handlers() {
        assert!(!handler.name.is_empty() || effective.handler_table("").is_some());
        let _ = (handler.runtime_name().len(), handler.calls_oci_runtime());
    }
    true
}

/// A message on `hook.sock`, asked and answered.
pub fn hook_frame(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<{ frame::HEADER }>() else { return false };
    let Ok(length) = frame::length(*header) else { return false };
    assert!(length <= frame::MAX_MESSAGE);
    let body = &rest[..length.min(rest.len())];
    let (request, response) = (CheckRequest::decode(body), CheckResponse::decode(body));
    let is_message = request.is_ok() || response.is_ok();
    if let Ok(request) = request {
        let again = frame::encode(&request);
        assert_eq!(CheckRequest::decode(&again[frame::HEADER..]).as_ref(), Ok(&request));
    }
    if let Ok(response) = response {
        assert!(frame::clipped(response.line).len() <= frame::MAX_LINE);
    }
    is_message
}

/// What a build says that it has made.
pub fn build_output(bytes: &[u8]) -> bool {
    let Some(output) = accepted(BuildOutput::parse(bytes, None)) else { return false };
    assert!(!output.images.is_empty() && output.images.len() <= MAX_BUILT_IMAGES);
    for image in &output.images {
        let name = image.reference.to_string();
        assert_eq!(name.parse::<Reference>().as_ref(), Ok(&image.reference), "said again, it is the same");
        if let (Some(digest), Some(descriptor)) = (image.reference.digest(), &image.descriptor) {
            assert_eq!(*digest, descriptor.digest);
        }
    }
    true
}

/// The index of payloads, as it comes back from a signing service.
pub fn payload_index(bytes: &[u8]) -> bool {
    let Some(index) = accepted(PayloadIndex::parse(bytes)) else { return false };
    for entry in index.entries() {
        is_plain(Path::new("/").join(entry.payload_file()).as_path());
        assert_eq!(entry.payload_file().matches(['/', ':']).count(), 0);
        assert_eq!(Payload::parse(&entry.payload()).map(|payload| payload.target_artifact), Ok(entry.artifact.clone()));
    }
    assert_eq!(PayloadIndex::parse(&index.to_bytes()).as_ref(), Ok(&index), "written again, it is the same");
    true
}

/// A request for a signature, as it goes from hand to hand.
pub fn signing_request(bytes: &[u8]) -> bool {
    let Some(file) = accepted(RequestFile::parse(bytes)) else { return false };
    assert!(file.approvals.len() <= MAX_APPROVALS);
    // What was just short enough may be longer by the end of its line.
    let Ok(again) = file.to_bytes() else { return true };
    assert_eq!(RequestFile::parse(&again), Ok(file), "written again, it is the same");
    true
}

/// The record of approvals, line by line.
pub fn approval_record(bytes: &[u8]) -> bool {
    let mut record = Record::default();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let before = record.clone();
        match record.follow(line) {
            Ok(entry) => assert_eq!((entry.sequence, &entry.previous), (before.length() + 1, before.head())),
            Err(error) => {
                bounded(error);
                assert_eq!(record, before, "what does not follow changes nothing");
                return false;
            }
        }
    }
    record.length() > 0
}

/// What was accepted; of the rest, that its account is short.
fn accepted<T, E: Display>(answer: Result<T, E>) -> Option<T> {
    answer.map_err(bounded).ok()
}

#[allow(clippy::needless_pass_by_value, reason = "so that it can stand in `map_err`")]
fn bounded(account: impl Display) {
    let length = account.to_string().len();
    assert!(length <= MAX_ACCOUNT, "an account of {length} bytes");
}

/// Every directory of a root file system goes straight to where it leads.
fn plain(root: &RootFilesystem) {
    match root {
        RootFilesystem::Overlaid { lower, upper } => lower.iter().chain(upper).for_each(|path| is_plain(path)),
        RootFilesystem::Bound { directory } => is_plain(directory),
    }
}

fn is_plain(path: &Path) {
    assert!(path.is_absolute() && !path.components().any(|part| part == Component::ParentDir), "{}", path.display());
}

/// A certificate whose subject is these bytes. Its signature is not good, which no parser looks at.
fn with_subject(name: &[u8]) -> Vec<u8> {
    // Version 3, serial number 1, ecdsa-with-SHA256, an empty issuer, 2026 to 2045; then the key, a point on P-256.
    const BEFORE: &[u8] = b"\xa0\x03\x02\x01\x02\x02\x01\x01\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x30\x00\
        \x30\x1e\x17\x0d260101000000Z\x17\x0d450101000000Z";
    const KEY_TYPE: &[u8] =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
        \x03\x42\x00\x04";
    const SIGNATURE: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x03\x02\x00\x00";
    let signed = sequence(&[BEFORE, name, KEY_TYPE, &[1; 64]].concat());
    sequence(&[&signed, SIGNATURE].concat())
}

fn sequence(content: &[u8]) -> Vec<u8> {
    element(0x30, content)
}

/// An element of DER with this tag.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let head = match content.len() {
        0..0x80 => vec![tag, length[length.len() - 1]],
        _ => [&[tag, 0x80 | significant.len().to_le_bytes()[0]], significant].concat(),
    };
    [&head, content].concat()
}

/// An issuer, a certificate that it has issued, and a list of it that has changes.
struct Issuer {
    key: PrivateKey,
    certificate: Certificate,
    leaf: Certificate,
    base: Vec<u8>,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let certificate = |pem: &[u8]| Certificate::read_all(pem).expect("a certificate").remove(0);
    let key = PrivateKey::from_pem(include_bytes!("../issuer/issuer.key")).expect("a key");
    let base = signed_with(&key, include_bytes!("../seeds/crl/signed-hold"));
    Issuer {
        key,
        certificate: certificate(include_bytes!("../issuer/issuer.pem")),
        leaf: certificate(include_bytes!("../issuer/leaf.pem")),
        base,
    }
});

/// What our own issuer signs: these bytes, the algorithm, the signature.
fn signed(bytes: &[u8]) -> Vec<u8> {
    signed_with(&ISSUER.key, bytes)
}

fn signed_with(key: &PrivateKey, bytes: &[u8]) -> Vec<u8> {
    const ECDSA_WITH_SHA_256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let raw = key.sign(bytes).expect("a signature");
    // The bit string of a sequence of two numbers, which are positive.
    let number = |raw: &[u8]| {
        let shortest = &raw[raw.iter().take_while(|byte| **byte == 0).count()..];
        let sign: &[u8] = if shortest.first().is_none_or(|first| *first >= 0x80) { b"\0" } else { b"" };
        element(0x02, &[sign, shortest].concat())
    };
    let (r, s) = raw.split_at(raw.len() / 2);
    let signature = sequence(&[number(r), number(s)].concat());
    sequence(&[bytes, ECDSA_WITH_SHA_256, &element(0x03, &[b"\0", &signature[..]].concat())].concat())
}
