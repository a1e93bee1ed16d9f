//! Which certificate an authority says it signed with: `SigningCertificateV2` of RFC 5035, as RFC 5816 asks for it.
//!
//! Without it another certificate for the same key could be put in the signer's place. Its predecessor knows SHA-1 alone, and
//! is not enough.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode as _, Reader as _, SliceReader, Tag};
use spki::AlgorithmIdentifierRef;

use super::InvalidTimestamp;
use super::info::hash_of;
use super::signed_data::{integer, sequence};
use crate::oci::DigestAlgorithm;
use crate::pki::Certificate;

/// `id-aa-signingCertificateV2`.
pub(super) const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// The first `ESSCertIDv2` of the attribute, which is the signer's; more would be its issuers.
pub(super) struct Binding<'a> {
    /// SHA-256 where none is named.
    algorithm: Option<AlgorithmIdentifierRef<'a>>,
    hashed: &'a [u8],
    /// As it stands in the DER integer, where it is told; the hash says as much already.
    serial_number: Option<&'a [u8]>,
}

impl<'a> Binding<'a> {
    /// The value of the attribute.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, InvalidTimestamp> {
        Self::first(der).map_err(|error| InvalidTimestamp::malformed(&error))
    }

    /// The certificate among these that is meant.
    pub(super) fn find<'c>(
        &self,
        certificates: impl IntoIterator<Item = &'c Certificate>,
    ) -> Result<Option<&'c Certificate>, InvalidTimestamp> {
        let hash = self.algorithm.as_ref().map_or(Ok(DigestAlgorithm::Sha256), hash_of)?;
        let is_meant = |certificate: &&Certificate| {
            hash.hash(certificate.der()) == self.hashed
                && self.serial_number.is_none_or(|number| number == certificate.serial_number())
        };
        Ok(certificates.into_iter().find(is_meant))
    }

    /// `SEQUENCE { certs SEQUENCE OF ESSCertIDv2, policies SEQUENCE OF PolicyInformation OPTIONAL }`
    fn first(der: &'a [u8]) -> der::Result<Self> {
        let certificates = sequence(der, |reader| {
            let certificates = AnyRef::decode(reader)?;
            if !reader.is_finished() {
                reader.tlv_bytes()?; // under which policies the certificate is meant, which nobody here asks about
            }
            Ok(certificates)
        })?;
        sequence(SliceReader::new(certificates.value())?.tlv_bytes()?, Self::read)
    }

    /// `ESSCertIDv2 ::= SEQUENCE { hashAlgorithm AlgorithmIdentifier DEFAULT sha256, certHash OCTET STRING, issuerSerial SEQUENCE
    /// { issuer GeneralNames, serialNumber INTEGER } OPTIONAL }`
    fn read(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        let is_default = Tag::peek(reader)? == Tag::OctetString;
        let algorithm = if is_default { None } else { Some(AlgorithmIdentifierRef::decode(reader)?) };
        let hashed = <&OctetStringRef>::decode(reader)?.as_bytes();
        let serial_number = if reader.is_finished() {
            None
        } else {
            let number = sequence(reader.tlv_bytes()?, |reader| {
                reader.tlv_bytes()?; // the issuer, as general names
                integer(reader)
            })?;
            Some(number)
        };
        Ok(Self { algorithm, hashed, serial_number })
    }
}
