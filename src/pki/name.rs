//! Distinguished names, as certificates hold them and as people read them.
//!
//! A name is kept as a flat list of types and decoded values. What cannot be decoded is shown as hex and equals no text,
//! so nothing that was misread can make a trusted identity match.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use der::asn1::Any;
use der::{Encode, Tag, Tagged};
use x509_cert::name::Name;

/// The largest name that is read, in bytes of DER. RFC 5280 (appendix A) bounds the usual values at 64 or 128
/// characters; twenty of those at four bytes a character would be 8 KiB.
pub const MAX_NAME_SIZE: usize = 8 * 1024;

/// The types that the reference implementation knows, in the order in which it writes them.
const REFERENCE_ORDER: [&str; 9] = ["SERIALNUMBER", "CN", "OU", "O", "POSTALCODE", "STREET", "L", "ST", "C"];

/// The attributes of a subject or issuer, in the order of the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DistinguishedName(Vec<Attribute>);

/// One attribute. Its type is the short name where there is one, else the object identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attribute {
    kind: Cow<'static, str>,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Text(String),
    /// DER of a value that is no string, or not of the kind it says.
    Opaque(Vec<u8>),
}

impl DistinguishedName {
    /// Flattens the relative names: which attributes were grouped is forgotten.
    pub(super) fn from_name(name: &Name) -> Self {
        Self(
            name.iter()
                .map(|attribute| Attribute { kind: kind(&attribute.oid), value: decode(&attribute.value) })
                .collect(),
        )
    }

    /// Whether there is no attribute at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every decoded value of this type, in the order of the certificate. The type is a short name (`CN`, `SERIALNUMBER`,
    /// `C`, `L`, `ST`, `STREET`, `O`, `OU`, `POSTALCODE`), or the dotted object identifier of any other.
    pub fn values(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |attribute| attribute.kind == kind).filter_map(|attribute| match &attribute.value {
            Value::Text(text) => Some(text.as_str()),
            Value::Opaque(_) => None,
        })
    }

    /// The name as the Notary Project's reference implementation writes it: in a fixed order of types whatever the
    /// certificate's, values of one type joined by `+`, of several common names the last, other types at the end.
    pub fn in_reference_order(&self) -> String {
        let of_kind = |kind: &str| self.0.iter().filter(move |attribute| attribute.kind == kind).collect::<Vec<_>>();
        let last_of = |kind: &str| of_kind(kind).pop().into_iter().collect();
        let others =
            self.0.iter().rev().filter(|other| !REFERENCE_ORDER.contains(&&*other.kind)).map(|other| vec![other]);
        let groups = REFERENCE_ORDER.iter().map(|kind| match *kind {
            "CN" | "SERIALNUMBER" => last_of(kind),
            kind => of_kind(kind),
        });
        let joined = |group: Vec<&Attribute>| group.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
        groups.chain(others).filter(|group| !group.is_empty()).map(joined).collect::<Vec<_>>().join(",")
    }

    /// Whether every value can be decoded.
    pub(super) fn is_text(&self) -> bool {
        self.0.iter().all(|attribute| matches!(attribute.value, Value::Text(_)))
    }

    /// Whether no attribute of this type has a value. One with an empty text counts as none, one that cannot be decoded
    /// counts as one.
    pub(super) fn lacks(&self, kind: &str) -> bool {
        let is_empty = |value: &Value| matches!(value, Value::Text(text) if text.is_empty());
        self.0.iter().all(|attribute| attribute.kind != kind || is_empty(&attribute.value))
    }
}

impl fmt::Display for DistinguishedName {
    /// The most specific attribute, which certificates hold last, comes first: `CN=x,O=y,C=z`, escaped as RFC 4514 says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.0.iter().rev().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{attribute}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.kind)?;
        match &self.value {
            Value::Text(text) => write_escaped(f, text),
            Value::Opaque(der) => write!(f, "#{}", hex::encode(der)),
        }
    }
}

/// Writes a value so that it reads back as the same text (RFC 4514, section 2.4). Control characters become hex pairs.
pub(super) fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, c) in text.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => write!(f, "\\{c}")?,
            ' ' if index == 0 || index == last => f.write_str("\\ ")?,
            '#' if index == 0 => f.write_str("\\#")?,
            c if c.is_control() => {
                c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
            }
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

/// The short name of an attribute type, for the nine that Notary's reference implementation names too.
fn kind(oid: &der::oid::ObjectIdentifier) -> Cow<'static, str> {
    let dotted = oid.to_string();
    Cow::Borrowed(match dotted.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.17" => "POSTALCODE",
        _ => return Cow::Owned(dotted),
    })
}

/// The text of a value, by the kind of string that it says it is.
fn decode(value: &Any) -> Value {
    let bytes = value.value();
    let text = match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(str::to_owned),
        // Characters beyond each kind's own alphabet occur in the field; beyond ASCII they mean nothing certain.
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => ascii(bytes),
        // T.61 was never used as such: where it goes beyond ASCII it holds Latin-1, whose codes are those of Unicode.
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => utf16(bytes),
        _ => None,
    };
    text.map_or_else(|| Value::Opaque(value.to_der().unwrap_or_default()), Value::Text)
}

fn ascii(bytes: &[u8]) -> Option<String> {
    bytes.is_ascii().then(|| String::from_utf8_lossy(bytes).into_owned())
}

fn utf16(bytes: &[u8]) -> Option<String> {
    let (pairs, []) = bytes.as_chunks::<2>() else { return None };
    char::decode_utf16(pairs.iter().copied().map(u16::from_be_bytes)).collect::<Result<_, _>>().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A name of these types and texts.
    pub(in crate::pki) fn named(attributes: &[(&'static str, &str)]) -> DistinguishedName {
        let attribute = |&(kind, text): &(&'static str, &str)| Attribute {
            kind: Cow::Borrowed(kind),
            value: Value::Text(text.to_owned()),
        };
        DistinguishedName(attributes.iter().map(attribute).collect())
    }

    fn decoded(tag: Tag, bytes: &[u8]) -> Option<String> {
        match decode(&Any::new(tag, bytes).unwrap()) {
            Value::Text(text) => Some(text),
            Value::Opaque(_) => None,
        }
    }

    #[test]
    fn the_most_specific_attribute_is_shown_first() {
        let name = named(&[("C", "US"), ("O", "Acme"), ("CN", "build")]);
        assert_eq!(name.to_string(), "CN=build,O=Acme,C=US");
        assert_eq!(DistinguishedName::default().to_string(), "");
    }

    #[test]
    fn what_would_read_as_something_else_is_escaped() {
        for (text, shown) in [
            ("Acme, Inc.", "O=Acme\\, Inc."),
            ("#1", "O=\\#1"),
            ("a#1", "O=a#1"),
            (" a b ", "O=\\ a b\\ "),
            ("a+\"<>;\\", "O=a\\+\\\"\\<\\>\\;\\\\"),
            ("a\nb", "O=a\\0ab"),
            ("Zoë", "O=Zoë"),
        ] {
            assert_eq!(named(&[("O", text)]).to_string(), shown);
        }
    }

    #[test]
    fn every_kind_of_string_is_decoded() {
        assert_eq!(decoded(Tag::Utf8String, "Zoë".as_bytes()).unwrap(), "Zoë");
        assert_eq!(decoded(Tag::PrintableString, b"a@b").unwrap(), "a@b");
        assert_eq!(decoded(Tag::Ia5String, b"a").unwrap(), "a");
        assert_eq!(decoded(Tag::TeletexString, b"Zo\xeb").unwrap(), "Zoë");
        assert_eq!(decoded(Tag::BmpString, b"\0Z\0o\0\xeb").unwrap(), "Zoë");
    }

    #[test]
    fn what_cannot_be_decoded_is_shown_as_hex_and_equals_no_text() {
        for (tag, bytes) in [
            (Tag::Utf8String, b"\xff".as_slice()),
            (Tag::PrintableString, b"\xff"),
            (Tag::BmpString, b"\0Z\0"),
            (Tag::BmpString, b"\xd8\0"),
            (Tag::OctetString, b"a"),
        ] {
            assert_eq!(decoded(tag, bytes), None, "{tag}");
        }
        let value = decode(&Any::new(Tag::Utf8String, b"\xff".as_slice()).unwrap());
        let name = DistinguishedName(vec![Attribute { kind: Cow::Borrowed("O"), value }]);
        assert_eq!(name.to_string(), "O=#0c01ff");
        assert_eq!(name.values("O").count(), 0);
        assert!(!name.lacks("O"));
    }
}
