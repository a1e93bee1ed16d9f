//! Certificate revocation lists (RFC 5280, sections 5 and 6.3).
//!
//! Only complete lists are read whose scope takes in the certificate, signed by the very issuer of the certificate; with the
//! list of later changes ("delta") where the complete one says that there is one. A list that is spoilt, foreign or too old
//! says nothing, and never that a certificate is good.

use const_oid::db::rfc5280::ID_CE_FRESHEST_CRL;
use der::asn1::AnyRef;
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber};
use jiff::Timestamp;
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::super::certificate::timestamp;
use super::super::{Certificate, DistinguishedName, InvalidPem, X509SignatureError, pem};
use super::crl_entries::{Effect, Entry, entries_about};
use super::crl_extensions::CrlExtensions;
use super::signed_data::{Fault, SignedData};
use super::{Moment, Reading, Status};
use crate::remedy::{Code, Remedy};

/// The largest list that is read, in bytes: what the reference implementation takes, and enough for half a million entries
/// with reasons.
pub const MAX_CRL_SIZE: usize = 32 * 1024 * 1024;

/// A revocation list of good form but for its entries. Not believed yet.
pub struct Crl<'a> {
    data: SignedData<'a>,
    issuer_der: &'a [u8],
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    /// The content of the list of entries; empty where there is none.
    entries: &'a [u8],
    extensions: CrlExtensions,
}

/// A revocation list that its issuer vouches for, and that says something about one certificate.
pub struct UsableCrl<'c> {
    list: &'c Crl<'c>,
    certificate: &'c Certificate,
}

/// Why a revocation list says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCrl {
    /// Longer than [`MAX_CRL_SIZE`].
    #[error("the CRL has {size} bytes, at most {MAX_CRL_SIZE} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not a revocation list in DER. Holds the parser's account.
    #[error("not a CRL: {0}")]
    Malformed(String),
    /// The file is not readable as PEM.
    #[error("the file is not readable as PEM")]
    Pem(#[source] InvalidPem),
    /// A critical extension of the list or of an entry that is not understood. Holds the object identifier.
    #[error("the CRL has the critical extension {0}, which is not understood")]
    CriticalExtension(String),
    /// A list of another issuer.
    #[error("the CRL is of another issuer than the certificate")]
    OtherIssuer,
    /// The issuer's certificate does not let its key sign lists.
    #[error("the keyUsage of the issuer does not allow cRLSign")]
    NoCrlSign,
    /// The signature is not one to believe.
    #[error("the signature on the CRL is not acceptable")]
    Signature(#[source] X509SignatureError),
    /// The list is not about this certificate.
    #[error("the CRL says nothing about the certificate: {fault}")]
    OutOfScope {
        /// What it is about instead.
        fault: &'static str,
    },
    /// A list of changes stands where a complete one belongs, or one that does not go with the complete one.
    #[error("the delta CRL cannot be used: {fault}")]
    Delta {
        /// What does not go together.
        fault: &'static str,
    },
    /// The list is from the future.
    #[error("the CRL holds from {this_update} on")]
    NotYetValid {
        /// The first instant at which it holds.
        this_update: Timestamp,
    },
    /// There is a newer list by now, or nothing says when there will be.
    #[error("the CRL was good until {}", until.map_or_else(|| "nobody says when".to_owned(), |until| until.to_string()))]
    Stale {
        /// The last instant at which it held.
        until: Option<Timestamp>,
    },
}

impl InvalidCrl {
    pub(super) fn malformed(fault: impl Into<Fault>) -> Self {
        Self::Malformed(fault.into().0)
    }
}

impl Remedy for InvalidCrl {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code("crl-too-large"),
            Self::Malformed(_) => Code("crl-malformed"),
            Self::Pem(source) => source.code(),
            Self::CriticalExtension(_) => Code("crl-extension-unknown"),
            Self::OtherIssuer => Code("crl-other-issuer"),
            Self::NoCrlSign => Code("crl-issuer-not-authorised"),
            Self::Signature(_) => Code("crl-signature-invalid"),
            Self::OutOfScope { .. } => Code("crl-out-of-scope"),
            Self::Delta { .. } => Code("crl-delta-unusable"),
            Self::NotYetValid { .. } => Code("crl-not-yet-valid"),
            Self::Stale { .. } => Code("crl-stale"),
        }
    }
}

impl<'a> Crl<'a> {
    /// The list in these bytes, with nothing after it. Its entries are not looked at yet.
    pub fn from_der(der: &'a [u8]) -> Result<Self, InvalidCrl> {
        if der.len() > MAX_CRL_SIZE {
            return Err(InvalidCrl::TooLarge { size: der.len() });
        }
        let data = SignedData::from_der(der).map_err(InvalidCrl::malformed)?;
        if !data.rest.is_empty() {
            return Err(InvalidCrl::malformed("something follows the signature"));
        }
        let mut reader = SliceReader::new(data.signed).map_err(InvalidCrl::malformed)?;
        let fields = reader.sequence(Fields::decode).map_err(InvalidCrl::malformed)?;
        // RFC 5280, section 5.1.2.2.
        if fields.algorithm != data.algorithm {
            return Err(InvalidCrl::malformed("it names two different signature algorithms"));
        }
        let extensions = CrlExtensions::read(&fields.extensions)?;
        let Fields { issuer_der, this_update, next_update, entries, .. } = fields;
        Ok(Self { data, issuer_der, this_update, next_update, entries, extensions })
    }

    /// Whether the list says that it is of this issuer.
    pub fn is_of(&self, issuer: &Certificate) -> bool {
        self.issuer_der == issuer.subject_der()
    }

    /// Who says that these certificates are revoked, where the name can be read.
    pub fn issuer(&self) -> Option<DistinguishedName> {
        Name::from_der(self.issuer_der).ok().map(|name| DistinguishedName::from_name(&name))
    }

    /// Bytes that lists have in common which take each other's place: those of one issuer, kind and scope.
    pub fn series(&self) -> Vec<u8> {
        [self.issuer_der, &[u8::from(self.is_delta())], self.extensions.scope_der()].concat()
    }

    /// The first instant at which the list holds.
    pub fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// The last instant at which the list holds.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.next_update
    }

    /// Whether this is a list of changes.
    pub fn is_delta(&self) -> bool {
        self.extensions.base_number.is_some()
    }

    /// Where the list of the changes since this one lies, by this one's `freshestCRL`. None: it does not say that there is
    /// any.
    pub fn delta_urls(&self) -> Option<&[String]> {
        self.extensions.delta_urls.as_deref()
    }

    /// The list, if it is a complete one that says something about the certificate, listed or not.
    pub fn usable<'c>(
        &'c self,
        certificate: &'c Certificate,
        issuer: &Certificate,
        moment: Moment,
    ) -> Result<UsableCrl<'c>, InvalidCrl> {
        if self.is_delta() {
            return Err(InvalidCrl::Delta { fault: "it stands where a complete one belongs" });
        }
        // A certificate may name the changes, too; then a list that does not would hide them.
        if self.extensions.delta_urls.is_none() && certificate.extension(ID_CE_FRESHEST_CRL).is_some() {
            return Err(InvalidCrl::Delta { fault: "the certificate names one, and its complete CRL does not" });
        }
        self.check(certificate, issuer, moment)?;
        Ok(UsableCrl { list: self, certificate })
    }

    fn check(&self, certificate: &Certificate, issuer: &Certificate, moment: Moment) -> Result<(), InvalidCrl> {
        if !self.is_of(issuer) {
            return Err(InvalidCrl::OtherIssuer);
        }
        self.extensions.check_scope(certificate)?;
        if moment.is_before(self.this_update) {
            return Err(InvalidCrl::NotYetValid { this_update: self.this_update });
        }
        // RFC 5280, section 5.1.2.5 demands nextUpdate; without it a list from before a revocation would hold for ever.
        if self.next_update.is_none_or(|until| moment.now > until) {
            return Err(InvalidCrl::Stale { until: self.next_update });
        }
        // RFC 5280, section 6.3.3, steps f and g.
        if issuer.key_usage().is_some_and(|usage| !usage.content.crl_sign()) {
            return Err(InvalidCrl::NoCrlSign);
        }
        self.data.verify(issuer).map_err(InvalidCrl::Signature)
    }
}

impl<'c> UsableCrl<'c> {
    /// The list itself.
    pub fn list(&self) -> &'c Crl<'c> {
        self.list
    }

    /// The delta, if it says what has changed since this list (RFC 5280, section 5.2.4).
    pub fn usable_delta<'d>(
        &self,
        delta: &'d Crl<'d>,
        issuer: &Certificate,
        moment: Moment,
    ) -> Result<UsableCrl<'d>, InvalidCrl>
    where
        'c: 'd,
    {
        let fault = |fault| Err(InvalidCrl::Delta { fault });
        let base = &self.list.extensions;
        let (Some(number), Some(since), Some(base_number)) =
            (&delta.extensions.number, &delta.extensions.base_number, &base.number)
        else {
            return fault("it is no delta CRL, or one of both has no number");
        };
        if is_greater(since, base_number) {
            return fault("the complete one is older than the changes begin");
        }
        if !is_greater(number, base_number) {
            return fault("it is not newer than the complete one");
        }
        if !delta.extensions.has_scope_of(base) {
            return fault("it is about other certificates than the complete one");
        }
        delta.check(self.certificate, issuer, moment)?;
        Ok(UsableCrl { list: delta, certificate: self.certificate })
    }

    /// What the list says about the certificate, with the changes since.
    pub fn reading(&self, delta: Option<&UsableCrl<'_>>, moment: Moment) -> Result<Reading, InvalidCrl> {
        let serial_number = self.certificate.serial_number();
        // Only a list of changes can release what is on hold (RFC 5280, section 5.3.1).
        let listed = entries_about(self.list.entries, serial_number)?;
        let mut entries: Vec<Entry> = listed.into_iter().filter(|entry| entry.effect != Effect::Release).collect();
        if let Some(delta) = delta {
            entries.extend(entries_about(delta.list.entries, serial_number)?);
        }
        entries.retain(|entry| !moment.precedes(entry.invalid_from));
        let lists = [Some(self.list), delta.map(|delta| delta.list)];
        let until = lists.into_iter().flatten().filter_map(|list| list.next_update).min();
        Ok(Reading { status: status_of(&entries), until: until.unwrap_or(self.list.this_update) })
    }
}

/// Revoked for good wherever it says so; otherwise what was said last.
fn status_of(entries: &[Entry]) -> Status {
    let is_final = |entry: &&Entry| entry.effect == Effect::Final;
    match entries.iter().find(is_final).or(entries.last()) {
        Some(entry) if entry.effect != Effect::Release => Status::Revoked { at: entry.revoked_at },
        _ => Status::Good,
    }
}

/// Whether one number without leading zeros is greater than another.
fn is_greater(number: &[u8], other: &[u8]) -> bool {
    (number.len(), number) > (other.len(), other)
}

/// The members of what is signed.
struct Fields<'a> {
    algorithm: AlgorithmIdentifierOwned,
    issuer_der: &'a [u8],
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    entries: &'a [u8],
    extensions: Vec<Extension>,
}

impl<'a> Fields<'a> {
    fn decode(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        // Lists of version 1 can say nothing about their scope; nobody makes them any more.
        if u8::decode(reader)? != 1 {
            return Err(Tag::Integer.value_error().into());
        }
        let algorithm = AlgorithmIdentifierOwned::decode(reader)?;
        let issuer_der = reader.tlv_bytes()?;
        let this_update = timestamp(Time::decode(reader)?);
        let next_update = Option::<Time>::decode(reader)?.map(timestamp);
        let entries = match reader.peek_byte() {
            Some(0x30) => AnyRef::decode(reader)?.value(),
            _ => &[],
        };
        let extensions = reader.context_specific(TagNumber(0), der::TagMode::Explicit)?;
        Ok(Self {
            algorithm,
            issuer_der,
            this_update,
            next_update,
            entries,
            extensions: extensions.unwrap_or_default(),
        })
    }
}

/// The lists of a file, each in DER: PEM blocks, with other blocks left out, or one list in DER.
pub fn crls_in(file: &[u8]) -> Result<Vec<Vec<u8>>, InvalidCrl> {
    // No text begins like this: the second byte would not be UTF-8.
    let is_der = matches!(file, [0x30, 0x81..=0x84, ..]);
    let lists = if is_der {
        vec![file.to_vec()]
    } else {
        let blocks = pem::blocks(file).map_err(InvalidCrl::Pem)?;
        let lists = blocks.into_iter().filter(|block| block.label == "X509 CRL");
        lists.map(|block| block.contents.to_vec()).collect()
    };
    if lists.is_empty() {
        return Err(InvalidCrl::malformed("there is none in the file"));
    }
    for list in &lists {
        Crl::from_der(list)?;
    }
    Ok(lists)
}
