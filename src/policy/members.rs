//! The members of a JSON document together with the lines they stand on.
//!
//! A derived deserialiser knows only where the *document* went wrong. Here every value stays a slice of the file until
//! it is looked at, so that each rule that is broken later can still name the line of the value that broke it.
//!
//! A known member that stands twice is refused, since parsers differ in which of the two they take. So is one that
//! differs from a known member in case only: the reference implementation reads it, and to ignore it would put a weaker
//! policy in force than the one its author tested.

use serde::de::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::fault::{InvalidPolicy, PolicyFault};
use crate::oci;
use crate::remedy::excerpt;

/// A file's text, and where its lines begin.
pub(super) struct PolicyText<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

/// The members of one object, in the order of the file.
pub(super) struct Object<'a> {
    value: &'a RawValue,
    members: Vec<(String, &'a RawValue)>,
}

impl<'a> PolicyText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, line_starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The one JSON value of the file: of bounded depth, of good form to its last byte, and nothing after it.
    pub(super) fn document(&self) -> Result<&'a RawValue, InvalidPolicy> {
        oci::check_depth(self.text.as_bytes())
            .map_err(|error| InvalidPolicy::new(self.first_line_too_deep(), PolicyFault::Json(error)))?;
        serde_json::from_str(self.text).map_err(|error| malformed(0, &error))
    }

    fn first_line_too_deep(&self) -> usize {
        let ends_well = |start: &usize| {
            let before = self.text.as_bytes().get(..*start).unwrap_or_default();
            oci::check_depth(before).is_ok()
        };
        self.line_starts.partition_point(ends_well)
    }

    /// The line on which this value begins, counted from 1.
    pub(super) fn line_of(&self, value: &RawValue) -> usize {
        let offset = value.get().as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// This fault, at the line of this value.
    pub(super) fn fault(&self, value: &RawValue, fault: impl Into<PolicyFault>) -> InvalidPolicy {
        InvalidPolicy::new(self.line_of(value), fault.into())
    }

    /// The members of a value that must be an object. `name` is what a message calls the value.
    pub(super) fn object(&self, value: &'a RawValue, name: &'static str) -> Result<Object<'a>, InvalidPolicy> {
        let oci::JsonMembers(members) = self.read(value, name, "an object")?;
        Ok(Object { value, members })
    }

    /// The entries of a value that must be a list.
    pub(super) fn list(&self, value: &'a RawValue, name: &'static str) -> Result<Vec<&'a RawValue>, InvalidPolicy> {
        self.read(value, name, "a list")
    }

    /// The content of a value that must be a string.
    pub(super) fn string(&self, value: &'a RawValue, name: &'static str) -> Result<String, InvalidPolicy> {
        self.read(value, name, "a string")
    }

    /// A value that must be `true` or `false`.
    pub(super) fn boolean(&self, value: &'a RawValue, name: &'static str) -> Result<bool, InvalidPolicy> {
        self.read(value, name, "true or false")
    }

    fn read<T: Deserialize<'a>>(
        &self,
        value: &'a RawValue,
        name: &'static str,
        expected: &'static str,
    ) -> Result<T, InvalidPolicy> {
        serde_json::from_str(value.get()).map_err(|error| match error.classify() {
            Category::Data => self.fault(value, PolicyFault::WrongType { name, expected }),
            _ => malformed(self.line_of(value).saturating_sub(1), &error),
        })
    }
}

impl<'a> Object<'a> {
    /// The whole object, for what is said of it as a whole.
    pub(super) fn value(&self) -> &'a RawValue {
        self.value
    }

    /// Refuses a known member that stands twice or in another case. Members that nobody knows are left alone.
    pub(super) fn expect(self, file: &PolicyText<'_>, known: &[&'static str]) -> Result<Self, InvalidPolicy> {
        let mut seen = Vec::new();
        for (name, value) in &self.members {
            let Some(meant) = known.iter().find(|known| known.eq_ignore_ascii_case(name)) else { continue };
            if name != meant {
                return Err(file.fault(value, PolicyFault::MemberCase { found: excerpt(name), meant }));
            }
            if seen.contains(meant) {
                return Err(file.fault(value, PolicyFault::DuplicateMember(meant.to_string())));
            }
            seen.push(*meant);
        }
        Ok(self)
    }

    /// Every member, each of which may stand only once.
    pub(super) fn unique(&self, file: &PolicyText<'_>) -> Result<&[(String, &'a RawValue)], InvalidPolicy> {
        let mut seen = std::collections::BTreeSet::new();
        match self.members.iter().find(|(name, _)| !seen.insert(name)) {
            Some((name, value)) => Err(file.fault(value, PolicyFault::DuplicateMember(excerpt(name)))),
            None => Ok(&self.members),
        }
    }

    /// The member's value. `null` is no value, as it is for the reference implementation.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.members.iter().find(|(member, _)| member == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// The value of a member that must be there.
    pub(super) fn require(&self, file: &PolicyText<'_>, name: &'static str) -> Result<&'a RawValue, InvalidPolicy> {
        self.get(name).ok_or_else(|| file.fault(self.value, PolicyFault::MissingMember(name)))
    }
}

/// A syntax error; `lines_before` stand above the text that was parsed. The library's own "at line …" is dropped, since
/// it counts from the wrong place.
fn malformed(lines_before: usize, error: &serde_json::Error) -> InvalidPolicy {
    let account = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let what = account.strip_suffix(&position).unwrap_or(&account).to_owned();
    InvalidPolicy::new(lines_before + error.line().max(1), PolicyFault::Malformed(what))
}
