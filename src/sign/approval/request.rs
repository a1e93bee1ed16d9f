//! What somebody wants to have signed, in a file that goes from hand to hand.
//!
//! The file holds the request, the requester's signature over it, and what approvers have added. The request stands in it
//! byte for byte as it was signed: a text that only means the same is refused, so that two readers never see two requests.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::envelope::Format;
use crate::oci::{Descriptor, Digest, InvalidJson, parse_json};
use crate::remedy::{Code, Remedy};
use crate::sign::SignRequest;

/// What the requester signs: no signature of an ordinary file is taken for it.
pub const REQUEST_MEDIA_TYPE: &str = "application/vnd.pratique.signing-request.v1+json";
/// What approvers sign, over the same bytes: who has only asked has not approved.
pub const APPROVAL_MEDIA_TYPE: &str = "application/vnd.pratique.signing-approval.v1+json";

/// The largest request file, in bytes: all approvals that may be in one, each with a chain of four RSA certificates.
pub const MAX_REQUEST_FILE: u64 = 1024 * 1024;
/// How many approvals a file may hold: a board larger than any that ever had to agree to a release.
pub const MAX_APPROVALS: usize = 32;
/// How many hexadecimal digits a nonce has: 128 bits.
const NONCE_DIGITS: usize = 32;

/// What somebody wants to have signed. Its canonical bytes are what requester and approvers sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningRequest {
    /// What is to be signed; no name is asked again.
    pub artifact: Descriptor,
    /// The name that it was found by, with its digest: for people, and to know where the signature goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The format of the envelope, by its media type.
    #[serde(serialize_with = "to_media_type", deserialize_with = "from_media_type")]
    pub format: Format,
    /// Pairs that are signed with it.
    pub user_metadata: BTreeMap<String, String>,
    /// For how many seconds the signature is good; for ever without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_seconds: Option<i64>,
    /// The name of the usage policy's entry for the key.
    pub key: String,
    /// The thumbprint of the key's certificate: a name may come to mean another key.
    pub certificate: String,
    /// What makes two requests for the same two.
    pub nonce: String,
    /// When it was asked.
    pub created: Timestamp,
    /// When it is too late.
    pub not_after: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn to_media_type<S: Serializer>(format: &Format, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(format.media_type())
}

fn from_media_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
    Format::from_media_type(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

impl SigningRequest {
    /// Members in the order of the type, and pairs in that of their keys.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // A struct of text and numbers always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What the request is called in the record.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.canonical_bytes())
    }

    /// How to sign, at this instant.
    pub fn sign_request(&self, now: Timestamp) -> SignRequest {
        let expiry = self.expiry_seconds.map(SignedDuration::from_secs);
        SignRequest { format: self.format, user_metadata: self.user_metadata.clone(), expiry, now }
    }
}

/// A request with the signatures over it. Nobody has verified them yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFile {
    /// What is asked for.
    pub request: SigningRequest,
    /// The requester's envelope, JWS.
    pub requester: Vec<u8>,
    /// The approvers' envelopes, JWS.
    pub approvals: Vec<Vec<u8>>,
}

/// Why a file is no signing request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// More bytes than any such file has.
    #[error("the signing request has more than {MAX_REQUEST_FILE} bytes")]
    TooLarge,
    /// Not the JSON document that it should be.
    #[error("the file is not a signing request")]
    Malformed(#[source] InvalidJson),
    /// The request means something, and is not written as it was signed.
    #[error("the request in the file is not written as pratique writes it")]
    NotCanonical,
    /// Not 128 bits in hexadecimal digits.
    #[error("the nonce of the request is not {NONCE_DIGITS} hexadecimal digits")]
    Nonce,
    /// An envelope that is not base64.
    #[error("a signature in the file is not base64")]
    NotBase64,
    /// More approvals than are looked at.
    #[error("the file has more than {MAX_APPROVALS} approvals")]
    TooManyApprovals,
}

impl Remedy for InvalidRequest {
    fn code(&self) -> Code {
        Code(match self {
            Self::TooLarge | Self::TooManyApprovals => "approval-request-too-large",
            Self::Malformed(_) | Self::Nonce | Self::NotBase64 => "approval-request-malformed",
            Self::NotCanonical => "approval-request-rewritten",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NotCanonical => "take the file as it was written, and edit nothing in it".into(),
            _ => "name the file that `pratique sign --request` has written".into(),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document<'a> {
    #[serde(borrow)]
    request: &'a RawValue,
    requester: String,
    approvals: Vec<String>,
}

impl RequestFile {
    /// The request in these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        if bytes.len() as u64 > MAX_REQUEST_FILE {
            return Err(InvalidRequest::TooLarge);
        }
        let document: Document<'_> = parse_json(bytes).map_err(InvalidRequest::Malformed)?;
        let text = document.request.get().as_bytes();
        let request: SigningRequest = parse_json(text).map_err(InvalidRequest::Malformed)?;
        if request.canonical_bytes() != text {
            return Err(InvalidRequest::NotCanonical);
        }
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if request.nonce.len() != NONCE_DIGITS || !request.nonce.bytes().all(is_hex) {
            return Err(InvalidRequest::Nonce);
        }
        if document.approvals.len() > MAX_APPROVALS {
            return Err(InvalidRequest::TooManyApprovals);
        }
        let decode = |text: &String| BASE64_STANDARD.decode(text).map_err(|_| InvalidRequest::NotBase64);
        let approvals = document.approvals.iter().map(decode).collect::<Result<_, _>>()?;
        Ok(Self { request, requester: decode(&document.requester)?, approvals })
    }

    /// The file's text.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidRequest> {
        let malformed = |error: serde_json::Error| InvalidRequest::Malformed(InvalidJson::Malformed(error.to_string()));
        let request = serde_json::value::to_raw_value(&self.request).map_err(malformed)?;
        let document = Document {
            request: &request,
            requester: BASE64_STANDARD.encode(&self.requester),
            approvals: self.approvals.iter().map(|envelope| BASE64_STANDARD.encode(envelope)).collect(),
        };
        let mut bytes = serde_json::to_vec(&document).map_err(malformed)?;
        bytes.push(b'\n');
        if bytes.len() as u64 > MAX_REQUEST_FILE {
            return Err(InvalidRequest::TooLarge);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    fn file() -> RequestFile {
        let request = SigningRequest {
            artifact: Descriptor::of(media_type::IMAGE_MANIFEST, b"{}"),
            reference: Some("registry.example/app@sha256:0".into()),
            format: Format::Cose,
            user_metadata: BTreeMap::from([("build".into(), "7".into())]),
            expiry_seconds: Some(60),
            key: "release".into(),
            certificate: "ab".repeat(32),
            nonce: "0".repeat(NONCE_DIGITS),
            created: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::UNIX_EPOCH,
        };
        RequestFile { request, requester: b"who asks".to_vec(), approvals: vec![b"who agrees".to_vec()] }
    }

    fn text() -> String {
        String::from_utf8(file().to_bytes().unwrap()).unwrap()
    }

    /// The code for the file with this replaced.
    fn code(from: &str, to: &str) -> &'static str {
        assert!(text().contains(from), "{from}");
        let read = RequestFile::parse(text().replacen(from, to, 1).as_bytes());
        read.map_or_else(|error| error.code().as_str(), |_| "read")
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(RequestFile::parse(text().as_bytes()).unwrap(), file());
    }

    #[test]
    fn a_request_that_is_written_otherwise_is_refused_even_where_it_means_the_same() {
        // Outside of the request nothing is signed, and blanks do not matter.
        assert_eq!(code("{\"request\":", "{ \"request\": "), "read");
        assert_eq!(code("\"userMetadata\":", "\"userMetadata\": "), "approval-request-rewritten");
        assert_eq!(code("{\"build\":\"7\"}", "{\"build\":\"8\",\"build\":\"7\"}"), "approval-request-rewritten");
        assert_eq!(code("\"size\":2", "\"size\":2,\"urls\":[]"), "approval-request-rewritten");
        assert_eq!(code("{\"build\":\"7\"}", "{\"build\":\"8\"}"), "read", "whether it was signed is asked elsewhere");
    }

    #[test]
    fn a_file_that_is_no_request_is_refused() {
        for (from, to) in [
            ("\"key\":", "\"keys\":"),
            ("\"artifact\":", "\"extra\":1,\"artifact\":"),
            ("\"requester\":", "\"extra\":1,\"requester\":"),
            ("\"approvals\":", "\"approvals\":[],\"approvals\":"),
            ("application/cose", "application/json"),
            ("00000000", "0000000"),
            ("00000000", "0000000G"),
            ("d2hv", "d2h!"),
        ] {
            assert_eq!(code(from, to), "approval-request-malformed", "{from} {to}");
        }
        let deep = format!("{{\"request\":{}", "[".repeat(1_000_000));
        assert_eq!(RequestFile::parse(deep.as_bytes()).unwrap_err().code(), Code("approval-request-malformed"));
    }

    #[test]
    fn a_file_is_bounded() {
        let padded = |length: u64| format!("{}{}", text(), " ".repeat(usize::try_from(length).unwrap() - text().len()));
        assert!(RequestFile::parse(padded(MAX_REQUEST_FILE).as_bytes()).is_ok());
        assert_eq!(RequestFile::parse(padded(MAX_REQUEST_FILE + 1).as_bytes()).unwrap_err(), InvalidRequest::TooLarge);
        let with = |count| RequestFile { approvals: vec![b"a".to_vec(); count], ..file() }.to_bytes().unwrap();
        assert!(RequestFile::parse(&with(MAX_APPROVALS)).is_ok());
        assert_eq!(RequestFile::parse(&with(MAX_APPROVALS + 1)).unwrap_err(), InvalidRequest::TooManyApprovals);
    }
}
