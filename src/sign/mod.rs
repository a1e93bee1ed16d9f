//! From a descriptor and a key to an envelope, and to the manifest that stores it.
//!
//! Follows the Notary "Signing and Verification Workflow" and signature specification, "OCI Signature Storage". The
//! current form of the manifest is written: an artifact type and the empty config; or the older one, for who reads no other.

pub mod approval;
mod build_output;
mod holder;
mod local;
mod payload_index;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::envelope::{Draft, Format, Payload, Unsigned};
use crate::oci::{Blob, Descriptor, DigestAlgorithm, media_type};
use crate::pki::{Certificate, PrivateKeyError, SignatureAlgorithm, Stamp, TimestampToken};
use crate::remedy::{Code, Remedy};

pub use build_output::{BuildOutput, BuiltImage, InvalidBuildOutput, MAX_BUILD_OUTPUT, MAX_BUILT_IMAGES};
pub use holder::HolderError;
pub use local::{KeyMismatch, LocalKey};
pub use payload_index::{
    InvalidPayloadIndex, MAX_PAYLOAD_INDEX, PAYLOAD_INDEX_FILE, PayloadEntry, PayloadIndex, PayloadKind,
};

/// Keys of annotations that belong to Notary (signature specification, "Payload").
const RESERVED_PREFIX: &str = "io.cncf.notary";
/// Notary's annotation with the thumbprints of the chain.
const THUMBPRINTS: &str = "io.cncf.notary.x509chain.thumbprint#S256";
/// OCI's annotation with the time of creation.
const CREATED: &str = "org.opencontainers.image.created";
/// The name that signatures carry.
const SIGNING_AGENT: &str = concat!("pratique/", env!("CARGO_PKG_VERSION"));

/// Something that can sign: a key in memory, a token, a service.
pub trait Signer {
    /// The certificates, leaf first, root last.
    fn chain(&self) -> &[Certificate];

    /// The one algorithm of the key.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// The signature in the form that envelopes carry.
    fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Refuses a time at which the chain is not valid.
    fn check_validity(&self, at: Timestamp) -> Result<(), SignError>;

    /// What signatures name beside pratique as that which has made them.
    fn agent(&self) -> Option<String> {
        None
    }
}

/// How to sign.
#[derive(Clone, Debug)]
pub struct SignRequest {
    /// JWS or COSE.
    pub format: Format,
    /// Pairs to sign as user metadata.
    pub user_metadata: BTreeMap<String, String>,
    /// For how long the signature is good; none for ever.
    pub expiry: Option<SignedDuration>,
    /// When the signature is made.
    pub now: Timestamp,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key refused.
    #[error("the key could not sign")]
    Key(#[source] PrivateKeyError),
    /// What holds the key, a token or a program, gave no signature.
    #[error(transparent)]
    Holder(HolderError),
    /// What holds the key gave a signature that is not one of the certificate's key.
    #[error("the key gave a signature that does not verify with its certificate `{0}`")]
    WrongSignature(String),
    /// A key of metadata that belongs to Notary.
    #[error("the metadata key `{0}` has the reserved prefix `{RESERVED_PREFIX}`")]
    ReservedMetadata(String),
    /// A key that the artifact's descriptor has already.
    #[error("the metadata key `{0}` is already an annotation of the artifact")]
    MetadataTaken(String),
    /// Less than a second, or beyond the calendar.
    #[error("an expiry is a whole number of seconds, at least one, and ends before the year 10000")]
    Expiry,
    /// The certificates are not valid at the time of signing.
    #[error("the signing certificates are not valid now: {0}")]
    NotValidNow(String),
    /// The key's usage policy asks for approvals, and this way of signing has none.
    #[error("the usage policy of the key `{0}` asks for the approval of others")]
    ApprovalRequired(String),
    /// What was approved is a signature of another certificate's key.
    #[error("approved is a signature with the certificate {approved}, and this key has the certificate {held}")]
    OtherCertificate {
        /// The thumbprint in the request.
        approved: String,
        /// That of the key.
        held: String,
    },
    /// The certificates were not valid at the time that the authority vouches for.
    #[error("the time-stamp reaches to {0}, when a signing certificate was not valid")]
    StampedOutsideValidity(Timestamp),
}

impl Remedy for SignError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Key(_) => "signing-key-failed",
            Self::Holder(error) => return error.code(),
            Self::WrongSignature(_) => "signing-key-wrong-signature",
            Self::ReservedMetadata(_) | Self::MetadataTaken(_) => "metadata-key-refused",
            Self::Expiry => "expiry-invalid",
            Self::NotValidNow(_) => "signing-certificate-not-valid",
            Self::StampedOutsideValidity(_) => "timestamp-outside-validity",
            Self::ApprovalRequired(_) => "approval-required",
            Self::OtherCertificate { .. } => "approval-other-certificate",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Key(_) | Self::WrongSignature(_) => "see whether the key and its certificate belong together".into(),
            Self::Holder(error) => return error.remedy(),
            Self::ReservedMetadata(_) | Self::MetadataTaken(_) => "choose another key".into(),
            Self::ApprovalRequired(_) => {
                "ask for it with `pratique sign --request FILE`, and sign with `pratique sign --approved FILE`".into()
            }
            Self::OtherCertificate { .. } => "sign with the key that the request is for, or make a new request".into(),
            Self::Expiry => "write a duration such as `24h` or `90s`".into(),
            Self::NotValidNow(_) | Self::StampedOutsideValidity(_) => {
                "renew the certificate, or look at this machine's clock".into()
            }
        })
    }
}

impl SignError {
    /// Whether what holds the key may sign when it is asked for the same again.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Holder(error) if error.is_pending())
    }

    /// Whether it is a "no": somebody else has to agree first.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::ApprovalRequired(_) | Self::OtherCertificate { .. })
    }

    /// Whether it is about the key, not about what it was to sign.
    pub fn is_of_the_key(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Holder(_) | Self::WrongSignature(_) | Self::NotValidNow(_))
    }
}

/// A signature ready to be stored.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The envelope.
    pub envelope: Blob,
    /// The config that the manifest points to, in which nothing stands.
    pub config: Blob,
    /// The manifest that refers to the artifact.
    pub manifest: Blob,
    document: SignatureManifest,
}

impl Signed {
    /// What stores an envelope. The same envelope gives the same bytes each time: the manifest's time of creation is the
    /// signing time.
    pub fn storing(envelope: Blob, artifact: &Descriptor, chain: &[Certificate], signing_time: Timestamp) -> Self {
        let annotations = annotations(chain, signing_time);
        Self::written(envelope, SignatureManifest { subject: artifact.bare(), annotations }, media_type::EMPTY)
    }

    /// The same, with annotations of whoever has made the envelope. Gives the name of one that is not theirs to give.
    pub fn storing_annotated(
        envelope: Blob,
        artifact: &Descriptor,
        chain: &[Certificate],
        signing_time: Timestamp,
        more: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let is_ours = |key: &&String| key.starts_with(RESERVED_PREFIX) || *key == CREATED;
        if let Some(key) = more.keys().find(is_ours) {
            return Err(key.clone());
        }
        let mut annotations = annotations(chain, signing_time);
        annotations.extend(more.clone());
        Ok(Self::written(envelope, SignatureManifest { subject: artifact.bare(), annotations }, media_type::EMPTY))
    }

    /// The same, in a manifest of the older form, whose type is that of its config: notation 1.3 sees no other in an image
    /// layout.
    #[must_use]
    pub fn typed_by_config(self) -> Self {
        Self::written(self.envelope, self.document, media_type::NOTARY_SIGNATURE)
    }

    fn written(envelope: Blob, document: SignatureManifest, config_type: &str) -> Self {
        let config = Blob::of(config_type, b"{}".to_vec());
        let manifest = document.write(&envelope, &config);
        Self { envelope, config, manifest, document }
    }
}

/// Signs an artifact: its payload in an envelope, and the manifest that stores it.
pub fn sign(artifact: &Descriptor, request: &SignRequest, signer: &dyn Signer) -> Result<Signed, SignError> {
    prepare(artifact, request, signer).map(Unsealed::seal)
}

/// Signs an artifact, and leaves room for a time-stamp over the signature.
pub fn prepare<'s>(
    artifact: &Descriptor,
    request: &SignRequest,
    signer: &'s dyn Signer,
) -> Result<Unsealed<'s>, SignError> {
    let payload = payload(artifact, &request.user_metadata)?;
    let now = whole_seconds(request.now);
    signer.check_validity(now)?;
    let expiry = request.expiry.map(|expiry| expiry_after(now, expiry)).transpose()?;
    let draft = Draft::new(request.format, signer.algorithm(), &payload, now, expiry);
    let to_be_signed = draft.to_be_signed();
    let signature = signer.sign(&to_be_signed)?;
    // A plugin says only now which certificates it has.
    signer.check_validity(now)?;
    check_signature(signer, &to_be_signed, &signature)?;
    Ok(Unsealed {
        format: request.format,
        draft,
        signature,
        signer,
        artifact: artifact.bare(),
        now,
        agent: SIGNING_AGENT,
    })
}

/// No signature is used that a verifier would refuse: tokens and plugins may hold another key than their certificate says.
fn check_signature(signer: &dyn Signer, to_be_signed: &[u8], signature: &[u8]) -> Result<(), SignError> {
    let leaf = signer.chain().first();
    let verified = leaf.and_then(|leaf| leaf.public_key().ok()).map(|key| key.verify(to_be_signed, signature));
    match verified {
        Some(Ok(())) => Ok(()),
        _ => Err(SignError::WrongSignature(leaf.map(|leaf| leaf.subject().to_string()).unwrap_or_default())),
    }
}

/// A signature that is made, and not in its envelope yet.
pub struct Unsealed<'s> {
    format: Format,
    draft: Draft,
    signature: Vec<u8>,
    signer: &'s dyn Signer,
    artifact: Descriptor,
    now: Timestamp,
    agent: &'static str,
}

impl Unsealed<'_> {
    /// The certificates of whoever signed, leaf first.
    pub fn chain(&self) -> &[Certificate] {
        self.signer.chain()
    }

    /// The same, made by this agent as far as anybody reads it: the unsigned attribute is for information only.
    #[must_use]
    pub fn with_agent(self, agent: &'static str) -> Self {
        Self { agent, ..self }
    }

    /// What a time-stamp must be over.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The hash that a time-stamp is asked for by: that of the key (Notary "Signing and Verification Workflow").
    pub fn hash(&self) -> DigestAlgorithm {
        self.signer.algorithm().hash()
    }

    /// The envelope with a time-stamp. Refused where the stamp would not be accepted: no verifier would take it for the time
    /// at which these certificates were valid.
    pub fn stamped(self, token: &TimestampToken, stamp: &Stamp) -> Result<Signed, SignError> {
        for end in [stamp.earliest(), stamp.latest()] {
            self.signer.check_validity(end).map_err(|_| SignError::StampedOutsideValidity(end))?;
        }
        Ok(self.into_signed(Some(token.der())))
    }

    /// The envelope without a time-stamp.
    pub fn seal(self) -> Signed {
        self.into_signed(None)
    }

    fn into_signed(self, timestamp_signature: Option<&[u8]>) -> Signed {
        let chain = self.signer.chain();
        let agent = self.signer.agent().map_or(self.agent.to_owned(), |agent| format!("{} {agent}", self.agent));
        let unsigned = Unsigned { chain, signing_agent: &agent, timestamp_signature };
        let bytes = self.draft.seal(&self.signature, unsigned);
        let envelope = Blob::of(self.format.media_type(), bytes);
        Signed::storing(envelope, &self.artifact, chain, self.now)
    }
}

/// The payload about an artifact, with pairs of the signer's own.
pub fn payload(artifact: &Descriptor, user_metadata: &BTreeMap<String, String>) -> Result<Payload, SignError> {
    if let Some(key) = user_metadata.keys().find(|key| key.starts_with(RESERVED_PREFIX)) {
        return Err(SignError::ReservedMetadata(key.clone()));
    }
    if let Some(key) = user_metadata.keys().find(|key| artifact.annotations.contains_key(*key)) {
        return Err(SignError::MetadataTaken(key.clone()));
    }
    let mut annotations = artifact.annotations.clone();
    annotations.extend(user_metadata.clone());
    Ok(Payload { target_artifact: Descriptor { annotations, ..artifact.bare() } })
}

/// Envelopes carry whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn expiry_after(now: Timestamp, expiry: SignedDuration) -> Result<Timestamp, SignError> {
    if expiry.as_secs() < 1 || expiry.subsec_nanos() != 0 {
        return Err(SignError::Expiry);
    }
    now.checked_add(expiry).map_err(|_| SignError::Expiry)
}

fn annotations(chain: &[Certificate], signing_time: Timestamp) -> BTreeMap<String, String> {
    let thumbprints: Vec<String> = chain.iter().map(Certificate::thumbprint).collect();
    let thumbprints = serde_json::to_string(&thumbprints).unwrap_or_default();
    let created = whole_seconds(signing_time).to_string();
    BTreeMap::from([(THUMBPRINTS.to_owned(), thumbprints), (CREATED.to_owned(), created)])
}

/// What a manifest says beside the content that it lists.
#[derive(Clone, Debug)]
struct SignatureManifest {
    subject: Descriptor,
    annotations: BTreeMap<String, String>,
}

impl SignatureManifest {
    fn write(&self, envelope: &Blob, config: &Blob) -> Blob {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            schema_version: u8,
            media_type: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            artifact_type: Option<&'a str>,
            config: &'a Descriptor,
            layers: [&'a Descriptor; 1],
            subject: &'a Descriptor,
            annotations: &'a BTreeMap<String, String>,
        }
        let document = Document {
            schema_version: 2,
            media_type: media_type::IMAGE_MANIFEST,
            artifact_type: Some(media_type::NOTARY_SIGNATURE)
                .filter(|_| config.descriptor().media_type == media_type::EMPTY),
            config: config.descriptor(),
            layers: [envelope.descriptor()],
            subject: &self.subject,
            annotations: &self.annotations,
        };
        // A struct of text and numbers always has a JSON form.
        Blob::of(media_type::IMAGE_MANIFEST, serde_json::to_vec(&document).unwrap_or_default())
    }
}
