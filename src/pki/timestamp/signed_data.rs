//! The shell of a time-stamp: `SignedData` of RFC 5652, as far as RFC 3161 uses it.
//!
//! Read by hand and not by a library of CMS: what the signature is over, and what is hashed, is cut out of the bytes
//! received, and every count has its limit before anything is collected.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::ID_SIGNED_DATA;
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber};
use spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};

use super::info::hash_of;
use super::{ID_CT_TST_INFO, InvalidTimestamp};
use crate::oci::DigestAlgorithm;

/// How many certificates a token may hold: its authority's chain at its longest, and as many of a second way up.
pub(super) const MAX_CERTIFICATES: usize = 32;
/// How many attributes the signer may add. RFC 3161 asks for three, and ETSI EN 319 122 knows a dozen.
pub(super) const MAX_ATTRIBUTES: usize = 32;

/// A token in its parts.
pub(super) struct SignedData<'a> {
    /// What was signed, by way of its hash: the DER of a `TSTInfo`.
    pub(super) content: &'a [u8],
    /// DER of the certificates, in the token's order.
    pub(super) certificates: Vec<&'a [u8]>,
    pub(super) signer: SignerInfo<'a>,
}

/// Who signed, and how.
pub(super) struct SignerInfo<'a> {
    /// DER of the name of the certificate's issuer.
    pub(super) issuer: &'a [u8],
    /// The certificate's serial number, as it stands in the DER integer.
    pub(super) serial_number: &'a [u8],
    pub(super) hash: DigestAlgorithm,
    attributes: Vec<Attribute<'a>>,
    /// What the signature is over: the DER of the signed attributes (RFC 5652, section 5.4).
    pub(super) to_be_signed: Vec<u8>,
    pub(super) signature_algorithm: AlgorithmIdentifierOwned,
    pub(super) signature: &'a [u8],
}

struct Attribute<'a> {
    kind: ObjectIdentifier,
    values: Vec<&'a [u8]>,
}

impl<'a> SignedData<'a> {
    /// The token in these bytes, which are DER.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, InvalidTimestamp> {
        let (kind, content) = content_info(der).map_err(|error| InvalidTimestamp::malformed(&error))?;
        if kind != ID_SIGNED_DATA {
            return Err(InvalidTimestamp::NotATimestamp(kind.to_string()));
        }
        let fields = Fields::read(content).map_err(|error| InvalidTimestamp::malformed(&error))?;
        // RFC 5652, section 5.1: what holds another kind of content than plain data is of version 3 at least.
        if fields.version != 3 {
            return Err(InvalidTimestamp::Form("its CMS structure is not of version 3"));
        }
        if fields.content_type != ID_CT_TST_INFO {
            return Err(InvalidTimestamp::NotATimestamp(fields.content_type.to_string()));
        }
        // The hashes of all signers, of which the one signer names its own again.
        for hash in items(fields.hashes.value(), MAX_CERTIFICATES, "hashes")? {
            AlgorithmIdentifierRef::from_der(hash).map_err(|error| InvalidTimestamp::malformed(&error))?;
        }
        let certificates = fields.certificates.map(|set| items(set.value(), MAX_CERTIFICATES, "certificates"));
        // RFC 3161, section 2.4.2: the authority's signature and no other.
        let [signer] = items(fields.signers.value(), MAX_CERTIFICATES, "signers")?[..] else {
            return Err(InvalidTimestamp::Form("it is not signed by exactly one authority"));
        };
        let content = fields.content.ok_or(InvalidTimestamp::Form("its content is detached"))?;
        Ok(Self {
            content: content.as_bytes(),
            certificates: certificates.transpose()?.unwrap_or_default(),
            signer: SignerInfo::parse(signer)?,
        })
    }
}

impl<'a> SignerInfo<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, InvalidTimestamp> {
        let fields = SignerFields::read(der).map_err(|error| InvalidTimestamp::malformed(&error))?;
        if fields.version != 1 {
            return Err(InvalidTimestamp::Form("its signer is not named by issuer and serial number"));
        }
        let attributes = fields.signed_attributes.ok_or(InvalidTimestamp::Form("it has no signed attributes"))?;
        let mut attributes = items(attributes.value(), MAX_ATTRIBUTES, "signed attributes")?;
        if let Some(unsigned) = fields.unsigned_attributes {
            items(unsigned.value(), MAX_ATTRIBUTES, "unsigned attributes")?;
        }
        // DER sorts a set, which the sender of a BER structure need not have done.
        attributes.sort_unstable();
        let set = attributes.concat();
        let set = AnyRef::new(Tag::Set, &set).and_then(|set| set.to_der());
        Ok(Self {
            issuer: fields.issuer,
            serial_number: fields.serial_number,
            hash: hash_of(&fields.hash)?,
            attributes: attributes.into_iter().map(Attribute::parse).collect::<Result<_, _>>()?,
            to_be_signed: set.map_err(|error| InvalidTimestamp::malformed(&error))?,
            signature_algorithm: AlgorithmIdentifierOwned::from(fields.signature_algorithm),
            signature: fields.signature.as_bytes(),
        })
    }

    /// The value of a signed attribute, as DER. None where it is not there; an error where it is there twice, or with any
    /// other number of values than one (RFC 5652, section 11).
    pub(super) fn attribute(
        &self,
        kind: ObjectIdentifier,
        name: &'static str,
    ) -> Result<Option<&'a [u8]>, InvalidTimestamp> {
        let mut found = self.attributes.iter().filter(|attribute| attribute.kind == kind);
        match (found.next().map(|attribute| &attribute.values[..]), found.next()) {
            (None, _) => Ok(None),
            (Some([value]), None) => Ok(Some(value)),
            _ => Err(InvalidTimestamp::Attribute(name)),
        }
    }

    /// The value of a signed attribute that must be there.
    pub(super) fn required(&self, kind: ObjectIdentifier, name: &'static str) -> Result<&'a [u8], InvalidTimestamp> {
        self.attribute(kind, name)?.ok_or(InvalidTimestamp::Attribute(name))
    }
}

impl<'a> Attribute<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, InvalidTimestamp> {
        let parts = sequence(der, |reader| Ok((ObjectIdentifier::decode(reader)?, set(reader)?)));
        let (kind, values) = parts.map_err(|error| InvalidTimestamp::malformed(&error))?;
        Ok(Self { kind, values: items(values.value(), MAX_ATTRIBUTES, "values of an attribute")? })
    }
}

/// `SignedData` before anything is asked of it.
struct Fields<'a> {
    version: u8,
    hashes: AnyRef<'a>,
    content_type: ObjectIdentifier,
    content: Option<&'a OctetStringRef>,
    certificates: Option<AnyRef<'a>>,
    signers: AnyRef<'a>,
}

impl<'a> Fields<'a> {
    fn read(der: &'a [u8]) -> der::Result<Self> {
        sequence(der, |reader| {
            let version = u8::decode(reader)?;
            let hashes = set(reader)?;
            let (content_type, content) = sequence(reader.tlv_bytes()?, |reader| {
                let kind = ObjectIdentifier::decode(reader)?;
                let content =
                    tagged(reader, 0)?.map(|content| <&OctetStringRef>::from_der(content.value())).transpose()?;
                Ok((kind, content))
            })?;
            let certificates = tagged(reader, 0)?;
            tagged(reader, 1)?; // revocation lists, which whoever made the token has chosen
            Ok(Self { version, hashes, content_type, content, certificates, signers: set(reader)? })
        })
    }
}

/// `SignerInfo` before anything is asked of it.
struct SignerFields<'a> {
    version: u8,
    issuer: &'a [u8],
    serial_number: &'a [u8],
    hash: AlgorithmIdentifierRef<'a>,
    signed_attributes: Option<AnyRef<'a>>,
    signature_algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a OctetStringRef,
    unsigned_attributes: Option<AnyRef<'a>>,
}

impl<'a> SignerFields<'a> {
    fn read(der: &'a [u8]) -> der::Result<Self> {
        sequence(der, |reader| {
            let version = u8::decode(reader)?;
            let (issuer, serial_number) = issuer_and_serial_number(reader.tlv_bytes()?)?;
            Ok(Self {
                version,
                issuer,
                serial_number,
                hash: AlgorithmIdentifierRef::decode(reader)?,
                signed_attributes: tagged(reader, 0)?,
                signature_algorithm: AlgorithmIdentifierRef::decode(reader)?,
                signature: <&OctetStringRef>::decode(reader)?,
                unsigned_attributes: tagged(reader, 1)?,
            })
        })
    }
}

/// Another way of naming the signer is met only where the version is another one, too; it then reads as empty.
fn issuer_and_serial_number(der: &[u8]) -> der::Result<(&[u8], &[u8])> {
    if AnyRef::from_der(der).is_ok_and(|id| der::Tagged::tag(&id).is_context_specific()) {
        return Ok((&[], &[]));
    }
    sequence(der, |reader| Ok((reader.tlv_bytes()?, integer(reader)?)))
}

fn content_info(der: &[u8]) -> der::Result<(ObjectIdentifier, &[u8])> {
    sequence(der, |reader| {
        let kind = ObjectIdentifier::decode(reader)?;
        let content = tagged(reader, 0)?.ok_or_else(|| der::Error::from(der::ErrorKind::Failed))?;
        Ok((kind, content.value()))
    })
}

/// Reads the fields of a sequence, which must be all that the bytes hold.
pub(super) fn sequence<'a, T>(
    der: &'a [u8],
    fields: impl FnOnce(&mut SliceReader<'a>) -> der::Result<T>,
) -> der::Result<T> {
    let mut reader = SliceReader::new(der)?;
    let read = reader.sequence(fields)?;
    reader.finish()?;
    Ok(read)
}

/// The content of an integer of any size.
pub(super) fn integer<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    let number = AnyRef::decode(reader)?;
    der::Tagged::tag(&number).assert_eq(Tag::Integer)?;
    Ok(number.value())
}

fn set<'a>(reader: &mut SliceReader<'a>) -> der::Result<AnyRef<'a>> {
    let set = AnyRef::decode(reader)?;
    der::Tagged::tag(&set).assert_eq(Tag::Set)?;
    Ok(set)
}

/// The next element, where it has this tag.
fn tagged<'a>(reader: &mut SliceReader<'a>, number: u32) -> der::Result<Option<AnyRef<'a>>> {
    let wanted = Tag::ContextSpecific { constructed: true, number: TagNumber(number) };
    if reader.is_finished() || Tag::peek(reader)? != wanted {
        return Ok(None);
    }
    AnyRef::decode(reader).map(Some)
}

/// The elements of a set, each with its tag and length, at most this many.
fn items<'a>(set: &'a [u8], limit: usize, what: &'static str) -> Result<Vec<&'a [u8]>, InvalidTimestamp> {
    let mut reader = SliceReader::new(set).map_err(|error| InvalidTimestamp::malformed(&error))?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        if found.len() == limit {
            return Err(InvalidTimestamp::TooMany(what));
        }
        found.push(reader.tlv_bytes().map_err(|error| InvalidTimestamp::malformed(&error))?);
    }
    Ok(found)
}
