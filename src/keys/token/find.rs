//! The module, the slot, and the key that a URI names.

use std::path::PathBuf;

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use jiff::Timestamp;

use super::{TokenError, choose};
use crate::pki::{Certificate, MAX_CHAIN_LENGTH, PublicKey, TokenUri};
use crate::remedy::excerpt;

/// The most keys of one label: more than a rotation leaves behind in years.
const MAX_KEYS: usize = 64;
/// The most certificates of a token that are looked at.
const MAX_CERTIFICATES: usize = 256;

/// A key, and the certificates that its signatures carry.
pub(super) struct Found {
    pub(super) key: ObjectHandle,
    pub(super) certificates: Vec<Certificate>,
}

/// The module, loaded and not initialised yet.
pub(super) fn module(uri: &TokenUri) -> Result<Pkcs11, TokenError> {
    let named = || uri.module_name.as_ref().map(|name| PathBuf::from(format!("lib{name}.so")));
    let path = uri.module_path.clone().or_else(named).ok_or(TokenError::NoModule)?;
    Pkcs11::new(&path).map_err(|error| TokenError::Module {
        module: path.display().to_string(),
        fault: excerpt(&match error {
            cryptoki::error::Error::LibraryLoading(error) => error.to_string(),
            error => error.to_string(),
        }),
    })
}

/// The slot of the one token that fits.
pub(super) fn slot(context: &Pkcs11, uri: &TokenUri) -> Result<Slot, TokenError> {
    check_library(context, uri)?;
    let mut fitting = Vec::new();
    let mut there = Vec::new();
    for slot in context.get_slots_with_initialized_token()? {
        let (slot_info, token) = (context.get_slot_info(slot)?, context.get_token_info(slot)?);
        let fits = says(uri.token.as_deref(), token.label())
            && says(uri.manufacturer.as_deref(), token.manufacturer_id())
            && says(uri.serial.as_deref(), token.serial_number())
            && says(uri.model.as_deref(), token.model())
            && says(uri.slot_description.as_deref(), slot_info.slot_description())
            && says(uri.slot_manufacturer.as_deref(), slot_info.manufacturer_id())
            && uri.slot_id.is_none_or(|id| id == slot.id());
        let name = format!("`{}` (serial {}, slot {})", token.label(), token.serial_number(), slot.id());
        if fits {
            fitting.push((slot, name.clone()));
        }
        there.push(name);
    }
    match &fitting[..] {
        [(slot, _)] => Ok(*slot),
        [] if there.is_empty() => Err(TokenError::NoToken("none".to_owned())),
        [] => Err(TokenError::NoToken(excerpt(&there.join(", ")))),
        several => {
            let names: Vec<&str> = several.iter().map(|(_, name)| name.as_str()).collect();
            Err(TokenError::Tokens(excerpt(&names.join(", "))))
        }
    }
}

fn check_library(context: &Pkcs11, uri: &TokenUri) -> Result<(), TokenError> {
    let info = context.get_library_info()?;
    let version = (info.library_version().major(), info.library_version().minor());
    let fits = says(uri.library_manufacturer.as_deref(), info.manufacturer_id())
        && says(uri.library_description.as_deref(), info.library_description())
        && uri.library_version.is_none_or(|wanted| wanted == version);
    let itself = || format!("{} {}, {}.{}", info.manufacturer_id(), info.library_description(), version.0, version.1);
    if fits { Ok(()) } else { Err(TokenError::OtherModule(excerpt(&itself()))) }
}

/// What the URI does not say fits everything.
fn says(wanted: Option<&str>, is: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == is)
}

/// The key that fits, and its chain. Certificates that are given are the chain; otherwise the token's are.
pub(super) fn key(
    session: &Session,
    uri: &TokenUri,
    label: &str,
    certificates: Option<Vec<Certificate>>,
    now: Timestamp,
) -> Result<Found, TokenError> {
    let keys = candidates(session, uri)?;
    if keys.is_empty() {
        return Err(TokenError::NoKey(label.to_owned()));
    }
    match certificates {
        Some(certificates) => of_file(&keys, certificates),
        None => of_token(session, &keys, now),
    }
}

/// A private key, with what the token says about its public half.
struct Candidate {
    key: ObjectHandle,
    id: Vec<u8>,
    public: Option<PublicKey>,
}

fn candidates(session: &Session, uri: &TokenUri) -> Result<Vec<Candidate>, TokenError> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(uri.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
    let keys = objects(session, &template, MAX_KEYS)?;
    keys.into_iter().map(|key| candidate(session, key)).collect()
}

fn candidate(session: &Session, key: ObjectHandle) -> Result<Candidate, TokenError> {
    let own = Described::of(session, key)?;
    let public = match own.public_key() {
        // Tokens keep the point with the public key alone, which has the same identifier.
        None if !own.id.is_empty() => {
            let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(own.id.clone())];
            let halves = objects(session, &template, MAX_KEYS)?;
            let described = halves.into_iter().map(|half| Described::of(session, half));
            described.collect::<Result<Vec<_>, _>>()?.iter().find_map(Described::public_key)
        }
        public => public,
    };
    Ok(Candidate { key, id: own.id, public })
}

/// What an object says of itself.
#[derive(Default)]
struct Described {
    id: Vec<u8>,
    value: Vec<u8>,
    rsa: (Vec<u8>, Vec<u8>),
    curve: (Vec<u8>, Vec<u8>),
}

impl Described {
    fn of(session: &Session, object: ObjectHandle) -> Result<Self, TokenError> {
        const WANTED: [AttributeType; 5] = [
            AttributeType::Id,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
            AttributeType::EcParams,
            AttributeType::EcPoint,
        ];
        let attributes = session.get_attributes(object, &WANTED)?;
        Ok(attributes.into_iter().fold(Self::default(), Self::with))
    }

    fn with(mut self, attribute: Attribute) -> Self {
        match attribute {
            Attribute::Id(id) => self.id = id,
            Attribute::Modulus(modulus) => self.rsa.0 = modulus,
            Attribute::PublicExponent(exponent) => self.rsa.1 = exponent,
            Attribute::EcParams(parameters) => self.curve.0 = parameters,
            Attribute::EcPoint(point) => self.curve.1 = point,
            Attribute::Value(value) => self.value = value,
            _ => {}
        }
        self
    }

    fn public_key(&self) -> Option<PublicKey> {
        let ((modulus, exponent), (parameters, point)) = (&self.rsa, &self.curve);
        if modulus.is_empty() {
            PublicKey::from_point(parameters, point).ok()
        } else {
            PublicKey::from_numbers(modulus, exponent).ok()
        }
    }
}

fn of_file(keys: &[Candidate], certificates: Vec<Certificate>) -> Result<Found, TokenError> {
    let leaf = certificates.first().ok_or(TokenError::NoCertificate)?;
    let leaf_key = leaf.public_key().ok();
    let known = keys.iter().find(|key| key.public.is_some() && key.public == leaf_key);
    let mut silent = keys.iter().filter(|key| key.public.is_none());
    let key = match (known, silent.next(), silent.next()) {
        // Where the token says nothing, the signature will show whether they belong together.
        (Some(key), ..) | (None, Some(key), None) => key.key,
        (None, Some(_), Some(_)) => {
            let fault = "nothing tells to which of them the certificate belongs";
            return Err(TokenError::Keys { count: keys.len(), fault });
        }
        (None, None, _) => return Err(TokenError::OtherCertificate(leaf.subject().to_string())),
    };
    Ok(Found { key, certificates })
}

fn of_token(session: &Session, keys: &[Candidate], now: Timestamp) -> Result<Found, TokenError> {
    let mut certificates = Vec::new();
    for object in objects(session, &[Attribute::Class(ObjectClass::CERTIFICATE)], MAX_CERTIFICATES)? {
        let attributes = session.get_attributes(object, &[AttributeType::Id, AttributeType::Value])?;
        let described = attributes.into_iter().fold(Described::default(), Described::with);
        // Certificates of other kinds than X.509 are no concern of ours.
        if let Ok(certificate) = Certificate::from_der(&described.value) {
            certificates.push((described.id, certificate));
        }
    }
    let belongs = |key: &Candidate, id: &[u8], certificate: &Certificate| match &key.public {
        Some(public) => certificate.public_key().is_ok_and(|certified| certified == *public),
        None => !id.is_empty() && key.id == id,
    };
    let mut pairs: Vec<(ObjectHandle, &Certificate)> = keys
        .iter()
        .flat_map(|key| {
            let own = certificates.iter().filter(move |(id, certificate)| belongs(key, id, certificate));
            own.map(move |(_, certificate)| (key.key, certificate))
        })
        .collect();
    // The same certificate may lie there twice.
    let mut seen = Vec::new();
    pairs.retain(|(_, leaf)| {
        !seen.contains(leaf) && {
            seen.push(*leaf);
            true
        }
    });
    let leaves: Vec<&Certificate> = pairs.iter().map(|(_, leaf)| *leaf).collect();
    let (key, leaf) = pairs.get(choose::newest(&leaves, now)?).ok_or(TokenError::NoCertificate)?;
    let others: Vec<Certificate> = certificates.iter().map(|(_, certificate)| certificate.clone()).collect();
    Ok(Found { key: *key, certificates: choose::chain(leaf, &others, MAX_CHAIN_LENGTH) })
}

/// Those that fit, at most `limit` of them.
fn objects(session: &Session, template: &[Attribute], limit: usize) -> Result<Vec<ObjectHandle>, TokenError> {
    let mut found = Vec::new();
    for object in session.iter_objects(template)? {
        if found.len() == limit {
            return Err(TokenError::TooMany(limit));
        }
        found.push(object?);
    }
    Ok(found)
}
