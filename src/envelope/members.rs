//! JSON objects whose members are unique.
//!
//! The JSON library keeps the last of two members of one name in maps and generic values, other readers keep the first:
//! an object with both means different things to different readers, so none is accepted.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::value::RawValue;

use super::error::InvalidEnvelope;
use crate::oci::{JsonMembers, parse_json};
use crate::remedy::excerpt;

/// The members of an object, by name, each still as text.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// The object in these bytes.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, InvalidEnvelope> {
        let JsonMembers(pairs) = parse_json(bytes).map_err(InvalidEnvelope::Json)?;
        let mut members = BTreeMap::new();
        for (name, value) in pairs {
            if members.insert(name.clone(), value).is_some() {
                return Err(InvalidEnvelope::DuplicateMember(excerpt(&name)));
            }
        }
        Ok(Self(members))
    }

    /// Takes a member out, as the type it should have.
    pub(super) fn take<T: Deserialize<'a>>(
        &mut self,
        name: &str,
        expected: &'static str,
    ) -> Result<Option<T>, InvalidEnvelope> {
        let Some(raw) = self.0.remove(name) else { return Ok(None) };
        let value = serde_json::from_str(raw.get());
        value.map(Some).map_err(|_| InvalidEnvelope::Malformed { name: name.to_owned(), expected })
    }

    /// Takes a member out that must be there.
    pub(super) fn require<T: Deserialize<'a>>(
        &mut self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<T, InvalidEnvelope> {
        self.take(name, expected)?.ok_or(InvalidEnvelope::Missing(name))
    }

    /// The members not taken yet.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        self.0.into_iter()
    }
}

/// For serde: a map of text to text in which no key stands twice.
pub(super) fn unique_pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let JsonMembers(members) = JsonMembers::deserialize(deserializer)?;
    let mut pairs = BTreeMap::new();
    for (key, value) in members {
        if pairs.contains_key(&key) {
            return Err(D::Error::custom(format_args!("the member `{key}` stands twice")));
        }
        pairs.insert(key, serde_json::from_str(value.get()).map_err(D::Error::custom)?);
    }
    Ok(pairs)
}
