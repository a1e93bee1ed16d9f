//! Certificates made up for tests, each of which differs from a good one in exactly one thing.

use std::str::FromStr as _;

use const_oid::AssociatedOid;
use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;
use der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString};
use der::flagset::FlagSet;
use der::{DateTime, Encode};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{DerSignature, SigningKey};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::certificate::Rfc5280;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages,
};
use x509_cert::name::Name;
use x509_cert::time::{Time, Validity};

use super::Certificate;
use super::extensions::BasicConstraints;

/// A certificate before it is signed. Keys are on P-256 and known by a number.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) subject: Name,
    pub(super) issuer: Name,
    pub(super) key: u8,
    pub(super) signer: u8,
    pub(super) not_after: Time,
    pub(super) extensions: Vec<Extension>,
}

#[derive(der::Sequence)]
struct Signed {
    tbs: Tbs,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

#[derive(der::Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial_number: u32,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity<Rfc5280>,
    subject: Name,
    key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

impl Draft {
    /// A good leaf, issued by `authority(1)`.
    pub(super) fn leaf() -> Self {
        Self::new("CN=leaf,O=Acme,C=US", 0).usage(true, KeyUsages::DigitalSignature.into())
    }

    /// A good certificate authority with this number of authorities below it, issued by the next higher one.
    pub(super) fn authority(number: u8) -> Self {
        Self::new(&format!("CN=ca {number},O=Acme,C=US"), number)
            .constraints(true, true, None)
            .usage(true, KeyUsages::KeyCertSign | KeyUsages::CRLSign)
    }

    fn new(subject: &str, number: u8) -> Self {
        Self {
            subject: Name::from_str(subject).unwrap(),
            issuer: Name::from_str(&format!("CN=ca {},O=Acme,C=US", number + 1)).unwrap(),
            key: number + 1,
            signer: number + 2,
            not_after: Time::from(DateTime::new(2040, 1, 1, 0, 0, 0).unwrap()),
            extensions: Vec::new(),
        }
    }

    pub(super) fn self_signed(mut self) -> Self {
        self.issuer = self.subject.clone();
        self.signer = self.key;
        self
    }

    pub(super) fn usage(self, is_critical: bool, usages: FlagSet<KeyUsages>) -> Self {
        self.with(KeyUsage::OID, is_critical, &KeyUsage(usages))
    }

    pub(super) fn purposes(self, is_critical: bool, purposes: &[ObjectIdentifier]) -> Self {
        self.with(ExtendedKeyUsage::OID, is_critical, &ExtendedKeyUsage(purposes.to_vec()))
    }

    pub(super) fn constraints(self, is_critical: bool, is_ca: bool, path_length: Option<u32>) -> Self {
        self.with(BasicConstraints::OID, is_critical, &BasicConstraints { is_ca, path_length })
    }

    pub(super) fn access(self, method: ObjectIdentifier, url: &str) -> Self {
        let description = AccessDescription { access_method: method, access_location: uri(url) };
        self.with(AuthorityInfoAccessSyntax::OID, false, &AuthorityInfoAccessSyntax(vec![description]))
    }

    pub(super) fn crl(self, url: &str) -> Self {
        let distribution_point = Some(DistributionPointName::FullName(vec![uri(url)]));
        let point = DistributionPoint { distribution_point, reasons: None, crl_issuer: None };
        self.with(CrlDistributionPoints::OID, false, &CrlDistributionPoints(vec![point]))
    }

    /// With this extension, in the place of another of its type.
    pub(super) fn with(self, oid: ObjectIdentifier, critical: bool, content: &impl Encode) -> Self {
        let mut draft = self.without(oid);
        let extn_value = OctetString::new(content.to_der().unwrap()).unwrap();
        draft.extensions.push(Extension { extn_id: oid, critical, extn_value });
        draft
    }

    pub(super) fn without(mut self, oid: ObjectIdentifier) -> Self {
        self.extensions.retain(|extension| extension.extn_id != oid);
        self
    }

    pub(super) fn der(self) -> Vec<u8> {
        let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA_256, parameters: None };
        let not_before = Time::from(DateTime::new(2020, 1, 1, 0, 0, 0).unwrap());
        let tbs = Tbs {
            version: 2,
            serial_number: 7,
            signature: algorithm.clone(),
            issuer: self.issuer,
            validity: Validity::new(not_before, self.not_after),
            subject: self.subject,
            key: SubjectPublicKeyInfoOwned::from_key(key(self.key).verifying_key()).unwrap(),
            extensions: self.extensions,
        };
        let signature: DerSignature = key(self.signer).sign(&tbs.to_der().unwrap());
        Signed { tbs, algorithm, signature: BitString::from_bytes(signature.as_bytes()).unwrap() }.to_der().unwrap()
    }

    pub(super) fn certificate(self) -> Certificate {
        Certificate::from_der(&self.der()).unwrap()
    }
}

fn uri(url: &str) -> GeneralName {
    GeneralName::UniformResourceIdentifier(Ia5String::new(url).unwrap())
}

/// The key of this number.
pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number; 32]).unwrap()
}

/// The certificates of a file under `tests/`.
pub(super) fn read(path: &str) -> Vec<Certificate> {
    let path = format!("{}/tests/{path}", env!("CARGO_MANIFEST_DIR"));
    Certificate::read_all(&std::fs::read(&path).expect(&path)).expect(&path)
}
