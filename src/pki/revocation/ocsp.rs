//! OCSP responses (RFC 6960).
//!
//! A response counts only if the issuer of the certificate signed it, or somebody to whom that issuer has given the power to
//! answer, and to nobody else: a certificate that the same issuer signed, valid now, with the extended key usage
//! `OCSPSigning`. Without that last demand, which the reference implementation does not make, anybody whom the authority
//! ever gave a certificate could vouch for a revoked one.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ID_CE_INVALIDITY_DATE, ID_KP_OCSP_SIGNING};
use const_oid::db::rfc6960::{ID_PKIX_OCSP_BASIC, ID_PKIX_OCSP_NOCHECK};
use der::asn1::{AnyRef, GeneralizedTime, OctetStringRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use jiff::{SignedDuration, Timestamp};
use x509_cert::ext::Extension;

use super::super::Certificate;
use super::ocsp_fault::InvalidOcspResponse;
use super::ocsp_request::{CertId, sha1};
use super::signed_data::{Fault, SignedData, content, critical_unknown, instant};
use super::{Moment, Reading, Status};

/// The largest OCSP response that is read, in bytes: what the reference implementation takes. One with a responder's
/// certificate of RSA-4096 has some 4 KiB.
pub const MAX_OCSP_RESPONSE_SIZE: usize = 20 * 1024;

/// How many certificates of a response are looked at. A responder sends its own, and some the chain above it.
const MAX_CERTIFICATES: usize = 8;

/// How many answers of a response are looked at: one was asked for. Responders that answer about more of their
/// certificates at a time send some ten.
const MAX_ANSWERS: usize = 64;

/// How long an answer without `nextUpdate` is relied upon. Such a responder says that it always knows something newer (RFC
/// 6960, section 2.4), so its answer is as old as the question; an hour is what the daemon keeps an admission.
const LIFE_WITHOUT_NEXT_UPDATE: SignedDuration = SignedDuration::from_hours(1);

/// An OCSP response of good form. Not believed yet.
pub struct OcspResponse<'a> {
    data: SignedData<'a>,
    responder: AnyRef<'a>,
    answers: Vec<SingleResponse<'a>>,
    certificates: Vec<Certificate>,
}

#[derive(der::Sequence)]
struct Outer<'a> {
    status: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<ResponseBytes<'a>>,
}

#[derive(der::Sequence)]
struct ResponseBytes<'a> {
    kind: ObjectIdentifier,
    response: &'a OctetStringRef,
}

#[derive(der::Sequence)]
struct ResponseData<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "Default::default")]
    version: u8,
    /// A choice: `[1]` holds a name, `[2]` the hash of a key.
    responder: AnyRef<'a>,
    produced_at: GeneralizedTime,
    answers: Vec<SingleResponse<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(der::Sequence)]
struct SingleResponse<'a> {
    certificate: CertId<'a>,
    /// A choice: `[0]` good, `[1]` revoked, `[2]` unknown.
    status: AnyRef<'a>,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

/// An OCSP response that somebody has signed whose word counts, about certificates of one issuer.
pub struct VouchedResponse<'r> {
    response: &'r OcspResponse<'r>,
    issuer: &'r Certificate,
    delegate: Option<&'r Certificate>,
}

impl<'a> OcspResponse<'a> {
    /// The response in these bytes, with nothing after it.
    pub fn from_der(der: &'a [u8]) -> Result<Self, InvalidOcspResponse> {
        if der.len() > MAX_OCSP_RESPONSE_SIZE {
            return Err(InvalidOcspResponse::TooLarge { size: der.len() });
        }
        let outer = Outer::from_der(der).map_err(malformed)?;
        if let Some(refusal) = refusal(outer.status)? {
            return Err(InvalidOcspResponse::Refused(refusal));
        }
        let bytes = outer.bytes.ok_or_else(|| malformed("there is no response in it"))?;
        if bytes.kind != ID_PKIX_OCSP_BASIC {
            return Err(InvalidOcspResponse::Type(bytes.kind.to_string()));
        }
        let data = SignedData::from_der(bytes.response.as_bytes()).map_err(malformed)?;
        let response = ResponseData::from_der(data.signed).map_err(malformed)?;
        if response.version != 0 || response.answers.len() > MAX_ANSWERS {
            return Err(malformed("its version, or the number of its answers, is not supported"));
        }
        // RFC 6960, section 4.4: none of the extensions that a response may have changes what it says.
        if let Some(oid) = critical_unknown(&response.extensions.unwrap_or_default(), &[]) {
            return Err(InvalidOcspResponse::CriticalExtension(oid));
        }
        let certificates = certificates(data.rest)?;
        Ok(Self { data, responder: response.responder, answers: response.answers, certificates })
    }

    /// The response, if it is signed by somebody whose word about a certificate of `issuer` counts (RFC 6960, section
    /// 4.2.2.2).
    pub fn vouched<'r>(
        &'r self,
        issuer: &'r Certificate,
        now: Timestamp,
    ) -> Result<VouchedResponse<'r>, InvalidOcspResponse> {
        let vouched = |delegate| VouchedResponse { response: self, issuer, delegate };
        let by_issuer = self.is_named(issuer).then(|| self.data.verify(issuer));
        if by_issuer == Some(Ok(())) {
            return Ok(vouched(None));
        }
        let others = self.certificates.iter().filter(|certificate| *certificate != issuer);
        let Some(delegate) = others.into_iter().find(|certificate| self.is_named(certificate)) else {
            return Err(match by_issuer {
                Some(Err(error)) => InvalidOcspResponse::Signature(error),
                _ => InvalidOcspResponse::NoSigner,
            });
        };
        if let Some(reason) = fault_of(delegate, issuer, now) {
            let subject = delegate.subject().to_string();
            return Err(InvalidOcspResponse::NotAuthorised { subject, reason });
        }
        self.data.verify(delegate).map_err(InvalidOcspResponse::Signature)?;
        Ok(vouched(Some(delegate)))
    }

    /// Whether the response says that this certificate's key has signed it.
    fn is_named(&self, certificate: &Certificate) -> bool {
        let (tag, value) = (self.responder.tag(), self.responder.value());
        match tag.number() {
            _ if !tag.is_context_specific() => false,
            TagNumber(1) => value == certificate.subject_der(),
            TagNumber(2) => {
                let hash = <&OctetStringRef>::from_der(value);
                hash.is_ok_and(|hash| hash.as_bytes() == sha1(certificate.key_bits()))
            }
            _ => false,
        }
    }
}

impl<'r> VouchedResponse<'r> {
    /// The responder's certificate, where the issuer might have revoked it: it did not sign itself, and the certificate
    /// lacks `id-pkix-ocsp-nocheck`, which says that nobody needs to ask (RFC 6960, section 4.2.2.2.1).
    pub fn revocable_responder(&self) -> Option<&'r Certificate> {
        self.delegate.filter(|delegate| delegate.extension(ID_PKIX_OCSP_NOCHECK).is_none())
    }

    /// What the response says about a certificate of the issuer.
    pub fn reading(&self, certificate: &Certificate, moment: Moment) -> Result<Reading, InvalidOcspResponse> {
        let answers = &self.response.answers;
        let about = answers.iter().filter(|answer| answer.certificate.is_about(certificate, self.issuer));
        let readings: Vec<Reading> = about.map(|answer| answer.reading(moment)).collect::<Result<_, _>>()?;
        // One certificate may be named by two hashes; where the answers differ, the worse one counts.
        let severity = |reading: &&Reading| match reading.status {
            Status::Revoked { .. } => 2,
            Status::Unknown => 1,
            Status::Good => 0,
        };
        let until = readings.iter().map(|reading| reading.until).min();
        let worst = readings.iter().max_by_key(severity).zip(until);
        worst.map(|(worst, until)| Reading { until, ..*worst }).ok_or(InvalidOcspResponse::OtherCertificate)
    }
}

impl SingleResponse<'_> {
    fn reading(&self, moment: Moment) -> Result<Reading, InvalidOcspResponse> {
        let extensions = self.extensions.as_deref().unwrap_or_default();
        if let Some(oid) = critical_unknown(extensions, &[ID_CE_INVALIDITY_DATE]) {
            return Err(InvalidOcspResponse::CriticalExtension(oid));
        }
        // RFC 6960, section 4.2.2.1: both ends of the time in which the answer holds.
        let this_update = instant(self.this_update);
        if moment.is_before(this_update) {
            return Err(InvalidOcspResponse::NotYetValid { this_update });
        }
        let without_end = || this_update.saturating_add(LIFE_WITHOUT_NEXT_UPDATE).unwrap_or(Timestamp::MAX);
        let until = self.next_update.map_or_else(without_end, instant);
        if moment.now > until {
            return Err(InvalidOcspResponse::Stale { until });
        }
        let invalid_from = content(extensions, ID_CE_INVALIDITY_DATE).map(GeneralizedTime::from_der).transpose();
        let status = match status(self.status)? {
            Status::Revoked { .. } if moment.precedes(invalid_from.map_err(malformed)?.map(instant)) => Status::Good,
            status => status,
        };
        Ok(Reading { status, until })
    }
}

fn status(choice: AnyRef<'_>) -> Result<Status, InvalidOcspResponse> {
    let (tag, value) = (choice.tag(), choice.value());
    match tag.number() {
        _ if !tag.is_context_specific() => Err(malformed("it has no status")),
        TagNumber(0) if value.is_empty() => Ok(Status::Good),
        TagNumber(1) => {
            // The tag stands in the place of a sequence's, whose first member this is. The reason behind it is for people:
            // a certificate on hold is revoked as long as it is.
            let time = SliceReader::new(value).and_then(|mut fields| GeneralizedTime::decode(&mut fields));
            Ok(Status::Revoked { at: instant(time.map_err(malformed)?) })
        }
        TagNumber(2) if value.is_empty() => Ok(Status::Unknown),
        _ => Err(malformed("its status is none that exists")),
    }
}

/// Why a certificate may not answer for `issuer`, if it may not.
fn fault_of(delegate: &Certificate, issuer: &Certificate, now: Timestamp) -> Option<&'static str> {
    let purposes = delegate.extended_key_usage().map(|usage| usage.content.as_slice()).unwrap_or_default();
    // "Directly" by the same key that signed the certificate in question: RFC 6960, section 4.2.2.2.
    if delegate.issuer_der() != issuer.subject_der() || delegate.verify_signed_by(issuer).is_err() {
        Some("it has not been issued by the issuer of the certificate in question")
    } else if !purposes.contains(&ID_KP_OCSP_SIGNING) {
        Some("its extKeyUsage does not list OCSPSigning")
    } else if delegate.key_usage().is_some_and(|usage| !usage.content.digital_signature()) {
        Some("its keyUsage does not allow digitalSignature")
    } else if now < delegate.not_before() || now > delegate.not_after() {
        Some("its certificate is not valid now")
    } else {
        None
    }
}

/// Why the responder does not answer, if it does not.
fn refusal(status: AnyRef<'_>) -> Result<Option<&'static str>, InvalidOcspResponse> {
    match (status.tag(), status.value()) {
        (Tag::Enumerated, [0]) => Ok(None),
        (Tag::Enumerated, [1]) => Ok(Some("it says that the request is malformed")),
        (Tag::Enumerated, [2]) => Ok(Some("it has an internal error")),
        (Tag::Enumerated, [3]) => Ok(Some("it says to try later")),
        (Tag::Enumerated, [5]) => Ok(Some("it wants the request to be signed")),
        (Tag::Enumerated, [6]) => Ok(Some("it does not know us, or not this certificate's issuer")),
        _ => Err(malformed("its status is none that exists")),
    }
}

/// The certificates behind the signature.
fn certificates(rest: &[u8]) -> Result<Vec<Certificate>, InvalidOcspResponse> {
    let mut reader = SliceReader::new(rest).map_err(malformed)?;
    if reader.is_finished() {
        return Ok(Vec::new());
    }
    let tagged: AnyRef<'_> = reader.decode().map_err(malformed)?;
    reader.finish().map_err(malformed)?;
    if tagged.tag() != (Tag::ContextSpecific { constructed: true, number: TagNumber(0) }) {
        return Err(malformed("what follows the signature is no certificates"));
    }
    let mut certificates = Vec::new();
    let mut inner = SliceReader::new(tagged.value()).map_err(malformed)?;
    let list: AnyRef<'_> = inner.decode().map_err(malformed)?;
    inner.finish().map_err(malformed)?;
    list.tag().assert_eq(Tag::Sequence).map_err(malformed)?;
    let mut list = SliceReader::new(list.value()).map_err(malformed)?;
    while !list.is_finished() {
        if certificates.len() == MAX_CERTIFICATES {
            return Err(malformed("it has more certificates than a responder needs"));
        }
        let der = list.tlv_bytes().map_err(malformed)?;
        certificates.push(Certificate::from_der(der).map_err(malformed)?);
    }
    Ok(certificates)
}

fn malformed(fault: impl Into<Fault>) -> InvalidOcspResponse {
    InvalidOcspResponse::Malformed(fault.into().0)
}
