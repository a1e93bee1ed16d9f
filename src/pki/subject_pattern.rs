//! Which certificate subjects a trusted identity means.
//!
//! The identity lists some attributes, and a subject that has all of them is meant, whatever else it has (Notary trust
//! policy specification, "Trusted Identities Constraints"). The reference implementation never matches a subject with
//! two organisational units or an e-mail address; the specification's partial match does not mind them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::DistinguishedName;
use super::name::write_escaped;
use crate::remedy::{Code, Remedy};

/// The longest text of a pattern, in bytes: half of what a whole name may have in a certificate, and many times what
/// the attributes that people list need.
pub const MAX_PATTERN_LENGTH: usize = 4 * 1024;

/// What every identity must say, so that it cannot mean subjects all over the world.
const REQUIRED: [&str; 3] = ["C", "ST", "O"];

/// The value of a `x509.subject:` trusted identity: some pairs that a subject must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubjectPattern(BTreeMap<String, String>);

/// Why a text is not a subject that a trusted identity can name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// Longer than [`MAX_PATTERN_LENGTH`].
    #[error("the subject has {length} bytes, at most {MAX_PATTERN_LENGTH} are read")]
    TooLong {
        /// How many bytes it has.
        length: usize,
    },
    /// What stands between two separators is not `type=value`.
    #[error("`{part}` in the subject is not `type=value`")]
    NotAPair {
        /// What stands there.
        part: String,
    },
    /// What stands before the equals sign is no attribute type.
    #[error("`{kind}` in the subject is not an attribute type")]
    Type {
        /// What stands there.
        kind: String,
    },
    /// Two pairs are joined by `+`.
    #[error("the subject joins attributes with `+`")]
    MultiValued,
    /// A value begins with `#`, which means hex.
    #[error("a value in the subject is written in hex, with `=#`")]
    Hex,
    /// A backslash is followed by neither two hex digits nor a character that may be escaped, or ends in no character.
    #[error("the value `{value}` in the subject has a backslash that escapes nothing")]
    Escape {
        /// The value as written.
        value: String,
    },
    /// The hex digits after backslashes do not make up characters of UTF-8.
    #[error("the value `{value}` in the subject escapes bytes that are not UTF-8")]
    NotUtf8 {
        /// The value as written.
        value: String,
    },
    /// A type stands twice. `S` is the same type as `ST`.
    #[error("the subject has `{kind}` twice")]
    Repeated {
        /// The type.
        kind: String,
    },
    /// One of the types that every identity must have is absent or empty.
    #[error("the subject has no `{kind}`")]
    Missing {
        /// The type.
        kind: &'static str,
    },
}

impl Remedy for InvalidPattern {
    fn code(&self) -> Code {
        match self {
            Self::TooLong { .. } => Code("identity-too-long"),
            Self::NotAPair { .. } => Code("identity-not-a-pair"),
            Self::Type { .. } => Code("identity-type-malformed"),
            Self::MultiValued => Code("identity-multi-valued"),
            Self::Hex => Code("identity-hex-value"),
            Self::Escape { .. } => Code("identity-escape-malformed"),
            Self::NotUtf8 { .. } => Code("identity-not-utf8"),
            Self::Repeated { .. } => Code("identity-attribute-repeated"),
            Self::Missing { .. } => Code("identity-attribute-missing"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::NotAPair { .. } => Some("write a comma inside a value as `\\,`".into()),
            Self::Hex => Some("write a value that begins with `#` as `\\#`".into()),
            Self::MultiValued => {
                Some("separate attributes with commas, and write a plus sign inside a value as `\\+`".into())
            }
            Self::Missing { .. } => {
                Some("name at least the country `C`, the state `ST` and the organisation `O`".into())
            }
            _ => None,
        }
    }
}

impl SubjectPattern {
    /// Whether the subject has every pair of this pattern, byte for byte. An empty value asks for the attribute to be
    /// absent or empty.
    pub fn matches(&self, subject: &DistinguishedName) -> bool {
        self.0.iter().all(|(kind, value)| {
            if value.is_empty() { subject.lacks(kind) } else { subject.values(kind).any(|own| own == value) }
        })
    }

    /// Whether every pair of this one is in the other, where an empty value is the same as none.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.0.iter().all(|(kind, value)| other.0.get(kind).map_or("", String::as_str) == value)
    }
}

impl FromStr for SubjectPattern {
    type Err = InvalidPattern;

    /// Reads `C=US, ST=WA, O=Acme`: pairs separated by commas or semicolons, blanks around types and values dropped,
    /// backslash escapes of RFC 4514. Types are told apart as written.
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.len() > MAX_PATTERN_LENGTH {
            return Err(InvalidPattern::TooLong { length: text.len() });
        }
        if text.contains("=#") {
            return Err(InvalidPattern::Hex);
        }
        let mut pairs = BTreeMap::new();
        for part in parts(text.trim_start())? {
            let (kind, value) = pair(part)?;
            if pairs.insert(kind.to_owned(), value).is_some() {
                return Err(InvalidPattern::Repeated { kind: kind.to_owned() });
            }
        }
        let is_missing = |kind: &&str| pairs.get(*kind).is_none_or(String::is_empty);
        match REQUIRED.into_iter().find(is_missing) {
            Some(kind) => Err(InvalidPattern::Missing { kind }),
            None => Ok(Self(pairs)),
        }
    }
}

impl fmt::Display for SubjectPattern {
    /// The pairs in the order of their types.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{kind}=")?;
            write_escaped(f, value)?;
        }
        Ok(())
    }
}

/// What stands between separators that are not escaped.
fn parts(text: &str) -> Result<Vec<&str>, InvalidPattern> {
    let mut parts = Vec::new();
    let (mut start, mut is_escaped) = (0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'+' => return Err(InvalidPattern::MultiValued),
            b',' | b';' => {
                parts.push(text.get(start..index).unwrap_or_default());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

/// The type and the value of `type=value`.
fn pair(part: &str) -> Result<(&str, String), InvalidPattern> {
    let (kind, value) =
        part.split_once('=').ok_or_else(|| InvalidPattern::NotAPair { part: part.trim().to_owned() })?;
    let kind = kind.trim_matches(' ');
    let is_type_character = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if kind.is_empty() || !kind.chars().all(is_type_character) {
        return Err(InvalidPattern::Type { kind: kind.to_owned() });
    }
    let value = value.trim_start_matches(' ');
    if value.starts_with('#') {
        return Err(InvalidPattern::Hex);
    }
    Ok((if kind == "S" { "ST" } else { kind }, unescape(value)?))
}

/// The text that is meant (RFC 4514, section 3). Blanks at the end are dropped unless escaped.
fn unescape(value: &str) -> Result<String, InvalidPattern> {
    let escape = || InvalidPattern::Escape { value: value.to_owned() };
    let mut text = Vec::with_capacity(value.len());
    let mut kept = 0;
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            text.push(escaped(&mut bytes).ok_or_else(escape)?);
            kept = text.len();
        } else {
            text.push(byte);
            kept = if byte == b' ' { kept } else { text.len() };
        }
    }
    text.truncate(kept);
    String::from_utf8(text).map_err(|_| InvalidPattern::NotUtf8 { value: value.to_owned() })
}

/// The byte that stands after a backslash: itself, or as two hex digits.
fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = bytes.next()?;
    if b" \"#+,;<=>\\".contains(&first) {
        return Some(first);
    }
    let digits = [first, bytes.next()?];
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    let [byte] = byte;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::super::Certificate;
    use super::super::name::tests::named;
    use super::*;

    fn pattern(text: &str) -> SubjectPattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn code(text: &str) -> &'static str {
        text.parse::<SubjectPattern>().expect_err(text).code().as_str()
    }

    #[test]
    fn each_mistake_has_its_own_code_beside_a_twin_without_it() {
        let good = "C=US, ST=WA, O=Acme";
        pattern(good);
        for (text, expected) in [
            ("C=US, ST=WA, O=Acme, Inc.", "identity-not-a-pair"),
            ("C=US, ST=WA, O=Acme,", "identity-not-a-pair"),
            ("", "identity-not-a-pair"),
            ("C=US, ST=WA, O=Acme, =x", "identity-type-malformed"),
            ("C=US, ST=WA, O=Acme, a b=x", "identity-type-malformed"),
            ("C=US, ST=WA+O=Acme", "identity-multi-valued"),
            ("C=US, ST=WA, O=#0c06", "identity-hex-value"),
            ("C=US, ST=WA, O= #0c06", "identity-hex-value"),
            ("C=US, ST=WA, O=Acme\\x", "identity-escape-malformed"),
            ("C=US, ST=WA, O=Acme\\", "identity-escape-malformed"),
            ("C=US, ST=WA, O=Acme\\ff", "identity-not-utf8"),
            ("C=US, ST=WA, S=WA, O=Acme", "identity-attribute-repeated"),
            ("C=US, ST=WA, O=Acme, OU=a, OU=a", "identity-attribute-repeated"),
            ("C=US, ST=WA", "identity-attribute-missing"),
            ("C=US, ST=, O=Acme", "identity-attribute-missing"),
            ("c=US, ST=WA, O=Acme", "identity-attribute-missing"),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
        assert_eq!(code(&format!("{good}{}", "x".repeat(MAX_PATTERN_LENGTH))), "identity-too-long");
        pattern(&format!("{good}{}", "x".repeat(MAX_PATTERN_LENGTH - good.len())));
    }

    #[test]
    fn values_are_read_with_their_escapes_and_without_their_blanks() {
        let subject = |organisation| named(&[("C", "US"), ("ST", "WA"), ("O", organisation)]);
        for (written, meant) in [
            ("Acme\\, Inc.", "Acme, Inc."),
            ("  Acme  ", "Acme"),
            ("\\ Acme\\ ", " Acme "),
            ("Acme\\ \\  ", "Acme  "),
            ("a=b", "a=b"),
            ("\"Acme\"", "\"Acme\""),
            ("Zo\\c3\\ab", "Zoë"),
            ("\\#1", "#1"),
            ("a\\+b\\;c", "a+b;c"),
        ] {
            assert!(pattern(&format!("C=US; S=WA, O={written}")).matches(&subject(meant)), "{written}");
            assert!(!pattern(&format!("C=US; S=WA, O={written}")).matches(&subject("other")), "{written}");
        }
    }

    #[test]
    fn an_attribute_more_in_the_subject_does_not_matter_and_one_less_does() {
        let identity = pattern("C=US, ST=WA, O=acme, OU=b");
        let two_units = [("C", "US"), ("ST", "WA"), ("O", "acme"), ("OU", "a"), ("OU", "b")];
        assert!(identity.matches(&named(&two_units)));
        assert!(!identity.matches(&named(&two_units[..4])));
        assert!(!identity.matches(&named(&[("c", "US"), ("ST", "WA"), ("O", "acme"), ("OU", "b")])));
    }

    #[test]
    fn an_empty_value_means_that_the_attribute_is_absent() {
        let identity = pattern("C=US, ST=WA, O=acme, OU=");
        assert!(identity.matches(&named(&[("C", "US"), ("ST", "WA"), ("O", "acme")])));
        assert!(identity.matches(&named(&[("C", "US"), ("ST", "WA"), ("O", "acme"), ("OU", "")])));
        assert!(!identity.matches(&named(&[("C", "US"), ("ST", "WA"), ("O", "acme"), ("OU", "a")])));
    }

    #[test]
    fn a_pattern_is_a_subset_of_one_that_asks_for_more() {
        let (wide, narrow) = (pattern("C=US,ST=WA,O=acme"), pattern("C=US,ST=WA,O=acme,OU=a"));
        assert!(wide.is_subset_of(&narrow) && wide.is_subset_of(&wide) && !narrow.is_subset_of(&wide));
        assert!(pattern("C=US,ST=WA,O=acme,OU=").is_subset_of(&wide));
        assert!(!pattern("C=US,ST=WA,O=acme,OU=").is_subset_of(&narrow));
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_pattern() {
        let identity = pattern("C=US, ST=WA, O=\\ Acme\\, Inc.\\0a, CN=a");
        assert_eq!(identity.to_string(), "C=US,CN=a,O=\\ Acme\\, Inc.\\0a,ST=WA");
        assert_eq!(pattern(&identity.to_string()), identity);
    }

    #[test]
    fn the_shared_cases_give_the_result_they_expect() {
        let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/");
        let cases = std::fs::read(format!("{vectors}dn-cases.json")).unwrap();
        let cases: Vec<serde_json::Value> = serde_json::from_slice(&cases).unwrap();
        assert_eq!(cases.len(), 20);
        for case in cases {
            let file = std::fs::read(format!("{vectors}{}", case["subjectCert"].as_str().unwrap())).unwrap();
            let certificate = Certificate::read_all(&file).unwrap().remove(0);
            let identities: Vec<_> =
                case["trustedIdentities"].as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect();
            assert_eq!(result(&identities, certificate.subject()), case["expected"]["result"], "{}", case["case"]);
        }
    }

    /// What a policy with these identities says of the subject.
    fn result(identities: &[&str], subject: &DistinguishedName) -> &'static str {
        if identities == ["*"] {
            return "match";
        }
        let patterns = identities.iter().filter_map(|identity| identity.strip_prefix("x509.subject:"));
        match patterns.map(str::parse).collect::<Result<Vec<SubjectPattern>, _>>() {
            Err(_) => "invalid-policy",
            Ok(patterns) if patterns.iter().any(|pattern| pattern.matches(subject)) => "match",
            Ok(_) => "no-match",
        }
    }
}
