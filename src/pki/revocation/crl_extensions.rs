//! What the extensions of a revocation list say about its scope (RFC 5280, section 5.2).
//!
//! A list that covers less than all certificates of its issuer, or is about those of somebody else, says nothing about a
//! certificate outside of it: that it does not list that one means nothing.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_CE_CRL_NUMBER, ID_CE_DELTA_CRL_INDICATOR, ID_CE_FRESHEST_CRL, ID_CE_ISSUING_DISTRIBUTION_POINT,
};
use der::Decode as _;
use der::asn1::UintRef;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::CrlDistributionPoints;
use x509_cert::ext::pkix::crl::IssuingDistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use super::super::Certificate;
use super::super::extensions::crl_urls;
use super::crl::InvalidCrl;
use super::signed_data::{content, critical_unknown};

/// The extensions that may be critical, since they are looked at.
const UNDERSTOOD: [ObjectIdentifier; 2] = [ID_CE_ISSUING_DISTRIBUTION_POINT, ID_CE_DELTA_CRL_INDICATOR];

/// What the extensions of one list say.
pub(super) struct CrlExtensions {
    /// Counts the issuer's lists, big-endian without leading zeros.
    pub(super) number: Option<Vec<u8>>,
    /// The number of the complete list that this one only says the changes since.
    pub(super) base_number: Option<Vec<u8>>,
    /// Where a list of the changes since this one lies. None: nothing is said about one.
    pub(super) delta_urls: Option<Vec<String>>,
    scope: Option<Scope>,
}

struct Scope {
    der: Vec<u8>,
    point: IssuingDistributionPoint,
}

impl CrlExtensions {
    pub(super) fn read(extensions: &[Extension]) -> Result<Self, InvalidCrl> {
        // RFC 5280, section 5.2: with a critical extension that it does not understand, nobody may use the list.
        if let Some(oid) = critical_unknown(extensions, &UNDERSTOOD) {
            return Err(InvalidCrl::CriticalExtension(oid));
        }
        let points = content(extensions, ID_CE_FRESHEST_CRL).map(CrlDistributionPoints::from_der).transpose();
        let scope = content(extensions, ID_CE_ISSUING_DISTRIBUTION_POINT).map(Scope::read).transpose()?;
        Ok(Self {
            number: number(extensions, ID_CE_CRL_NUMBER)?,
            base_number: number(extensions, ID_CE_DELTA_CRL_INDICATOR)?,
            delta_urls: points.map_err(InvalidCrl::malformed)?.map(|points| crl_urls(&points)),
            scope,
        })
    }

    /// Whether the list is about this certificate (RFC 5280, section 6.3.3, steps b and d).
    pub(super) fn check_scope(&self, certificate: &Certificate) -> Result<(), InvalidCrl> {
        self.scope
            .as_ref()
            .and_then(|scope| scope.fault_for(certificate))
            .map_or(Ok(()), |fault| Err(InvalidCrl::OutOfScope { fault }))
    }

    /// Whether both say the same about their scope (RFC 5280, section 5.2.4, condition b).
    pub(super) fn has_scope_of(&self, other: &Self) -> bool {
        self.scope_der() == other.scope_der()
    }

    /// What the list says about its scope, as it stands there; empty where it is about all certificates of its issuer.
    pub(super) fn scope_der(&self) -> &[u8] {
        self.scope.as_ref().map(|scope| scope.der.as_slice()).unwrap_or_default()
    }
}

impl Scope {
    fn read(der: &[u8]) -> Result<Self, InvalidCrl> {
        let point = IssuingDistributionPoint::from_der(der).map_err(InvalidCrl::malformed)?;
        Ok(Self { der: der.to_vec(), point })
    }

    fn fault_for(&self, certificate: &Certificate) -> Option<&'static str> {
        let point = &self.point;
        if point.indirect_crl {
            Some("it is about certificates of several issuers")
        } else if point.only_some_reasons.is_some() {
            Some("it is about some reasons of revocation alone")
        } else if point.only_contains_attribute_certs {
            Some("it is about attribute certificates alone")
        } else if point.only_contains_user_certs && certificate.is_ca() {
            Some("it is not about certificates of authorities")
        } else if point.only_contains_ca_certs && !certificate.is_ca() {
            Some("it is about certificates of authorities alone")
        } else if point.distribution_point.as_ref().is_some_and(|name| !is_named_by(certificate, name)) {
            Some("it is of another distribution point than the certificate names")
        } else {
            None
        }
    }
}

/// Whether the certificate names the distribution point that a list says it is of. Names that are not URLs are not compared:
/// nobody gets a list from there.
fn is_named_by(certificate: &Certificate, name: &DistributionPointName) -> bool {
    let DistributionPointName::FullName(names) = name else { return false };
    names.iter().any(|name| match name {
        GeneralName::UniformResourceIdentifier(url) => {
            certificate.crl_urls().iter().any(|named| named.as_str() == url.as_str())
        }
        _ => false,
    })
}

fn number(extensions: &[Extension], oid: ObjectIdentifier) -> Result<Option<Vec<u8>>, InvalidCrl> {
    let number = content(extensions, oid).map(UintRef::from_der).transpose().map_err(InvalidCrl::malformed)?;
    Ok(number.map(|number| number.as_bytes().to_vec()))
}
