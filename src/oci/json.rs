//! JSON from strangers: bounded in depth, and nothing after it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::remedy::{Code, Remedy};

/// How deep arrays and objects may nest. The deepest document of the OCI and Notary formats nests 7 deep; 64 leaves
/// room for annotations of any tool and is half of what the JSON library would follow on its own.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not the JSON document asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJson {
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("JSON nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Not JSON, or not of the shape asked for. Holds the JSON library's account with line and column.
    #[error("{0}")]
    Malformed(String),
}

impl Remedy for InvalidJson {
    fn code(&self) -> Code {
        match self {
            Self::TooDeep => Code("json-too-deep"),
            Self::Malformed(_) => Code("json-malformed"),
        }
    }
}

/// The document in these bytes. Known members that stand twice, and anything but white space after the document, are
/// refused by the type that is parsed into and by the parser.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, InvalidJson> {
    check_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| InvalidJson::Malformed(error.to_string()))
}

/// Refuses a text that nests deeper than [`MAX_DEPTH`], before any parser recurses into it.
pub fn check_depth(bytes: &[u8]) -> Result<(), InvalidJson> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(InvalidJson::TooDeep);
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The members of an object in the order of the text, each value still as text, and a name that stands twice twice.
///
/// The JSON library keeps the last of two members of one name in maps and generic values, other readers keep the first:
/// whoever reads a signed or a deciding document looks at all of them, and refuses two.
#[derive(Debug)]
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse::<IgnoredAny>(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse::<IgnoredAny>(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err(), InvalidJson::TooDeep);
        let quoted = format!("\"\\\"{}\"", "[".repeat(1000));
        assert!(parse::<IgnoredAny>(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn nothing_may_follow_the_document() {
        assert!(parse::<IgnoredAny>(b"{} \n").is_ok());
        assert!(matches!(parse::<IgnoredAny>(b"{} {}"), Err(InvalidJson::Malformed(_))));
    }
}
