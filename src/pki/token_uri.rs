//! Which key of which token: a PKCS #11 URI, as far as it can name a private key.
//!
//! Read strictly. A URI that says something that is not understood could mean another key than the one that would be
//! found, so it is refused whole, and not followed in part.
//!
//! Follows RFC 7512. Departures, all towards less: an unknown attribute of the query is refused as one of the path is
//! (section 2.3 lets it be ignored); `pin-value` is refused, since a URI stands on command lines and in files that others
//! read; a `pin-source` that is a command (`|…`) is refused.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::remedy::{Code, Remedy, excerpt};

/// What every such URI begins with.
const SCHEME: &str = "pkcs11:";
/// The longest URI, in bytes. Labels have 32 bytes and paths at most 4096 on Linux.
const MAX_LENGTH: usize = 8192;

/// A private key, by what its token, its slot and its module say of themselves. What is not said fits everything.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TokenUri {
    text: String,
    /// The token's label.
    pub token: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The module's manufacturer.
    pub library_manufacturer: Option<String>,
    /// The module's description.
    pub library_description: Option<String>,
    /// The module's version, major and minor.
    pub library_version: Option<(u8, u8)>,
    /// The slot's description.
    pub slot_description: Option<String>,
    /// The slot's manufacturer.
    pub slot_manufacturer: Option<String>,
    /// The slot's number.
    pub slot_id: Option<u64>,
    /// The key's label (`CKA_LABEL`).
    pub object: Option<String>,
    /// The key's identifier (`CKA_ID`).
    pub id: Option<Vec<u8>>,
    /// The file of the module.
    pub module_path: Option<PathBuf>,
    /// The module's name, without `lib` and `.so`.
    pub module_name: Option<String>,
    /// The file that has the PIN.
    pub pin_source: Option<PathBuf>,
}

/// Why a text is not a URI of a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTokenUri {
    /// It begins with something else.
    #[error("it does not begin with `{SCHEME}`")]
    Scheme,
    /// Longer than what is read.
    #[error("it has more than {MAX_LENGTH} bytes")]
    TooLong,
    /// A part without a name, or without `=`.
    #[error("`{0}` is not written `name=value`")]
    NotAPair(String),
    /// An attribute that the RFC does not know at this place.
    #[error("the attribute `{0}` is not known there")]
    Unknown(String),
    /// An attribute that stands twice.
    #[error("the attribute `{0}` stands twice")]
    Repeated(&'static str),
    /// A character that must be percent-encoded, or a `%` without two hexadecimal digits.
    #[error("the value of `{0}` has a character that is not percent-encoded")]
    Encoding(&'static str),
    /// A text that is not UTF-8, or is empty where that says nothing.
    #[error("the value of `{0}` is not a text")]
    NotText(&'static str),
    /// A number, version, path or name of another form.
    #[error("the value of `{name}` is not {form}")]
    Form {
        /// The attribute.
        name: &'static str,
        /// What it should be.
        form: &'static str,
    },
    /// Another kind of object than a private key.
    #[error("it names an object of the type `{0}`, and only a private key signs")]
    Type(String),
    /// The PIN itself.
    #[error("it holds a PIN (`pin-value`), which everybody who sees the command line or the file can read")]
    PinValue,
}

impl Remedy for InvalidTokenUri {
    fn code(&self) -> Code {
        Code(match self {
            Self::PinValue => "token-uri-pin",
            _ => "token-uri-invalid",
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::PinValue => "write the PIN to a file that only you can read, and name it: `pin-source=/path`".into(),
            _ => "write `pkcs11:token=LABEL;object=LABEL?module-path=/path/to/module.so`".into(),
        })
    }
}

impl TokenUri {
    /// Whether a text is meant as one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The text as it was written. There is no secret in it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Takes an attribute of the path (RFC 7512, section 2.3, `pk11-pattr`).
    fn take_of_path(&mut self, part: &str) -> Result<(), InvalidTokenUri> {
        let (name, value) = pair(part)?;
        match name {
            "token" => put(&mut self.token, "token", || text("token", value)),
            "manufacturer" => put(&mut self.manufacturer, "manufacturer", || text("manufacturer", value)),
            "serial" => put(&mut self.serial, "serial", || text("serial", value)),
            "model" => put(&mut self.model, "model", || text("model", value)),
            "library-manufacturer" => {
                put(&mut self.library_manufacturer, "library-manufacturer", || text("library-manufacturer", value))
            }
            "library-description" => {
                put(&mut self.library_description, "library-description", || text("library-description", value))
            }
            "library-version" => put(&mut self.library_version, "library-version", || version(value)),
            "slot-description" => {
                put(&mut self.slot_description, "slot-description", || text("slot-description", value))
            }
            "slot-manufacturer" => {
                put(&mut self.slot_manufacturer, "slot-manufacturer", || text("slot-manufacturer", value))
            }
            "slot-id" => put(&mut self.slot_id, "slot-id", || number(value)),
            "object" => put(&mut self.object, "object", || text("object", value)),
            "id" => put(&mut self.id, "id", || bytes("id", value, PATH_CHARACTERS)),
            other => Err(InvalidTokenUri::Unknown(excerpt(other))),
        }
    }

    /// Takes an attribute of the query (`pk11-qattr`).
    fn take_of_query(&mut self, part: &str) -> Result<(), InvalidTokenUri> {
        let (name, value) = pair(part)?;
        match name {
            "module-path" => put(&mut self.module_path, "module-path", || path("module-path", value)),
            "module-name" => put(&mut self.module_name, "module-name", || module_name(value)),
            "pin-source" => put(&mut self.pin_source, "pin-source", || pin_source(value)),
            "pin-value" => Err(InvalidTokenUri::PinValue),
            other => Err(InvalidTokenUri::Unknown(excerpt(other))),
        }
    }
}

impl FromStr for TokenUri {
    type Err = InvalidTokenUri;

    fn from_str(s: &str) -> Result<Self, InvalidTokenUri> {
        let rest = s.strip_prefix(SCHEME).ok_or(InvalidTokenUri::Scheme)?;
        if s.len() > MAX_LENGTH {
            return Err(InvalidTokenUri::TooLong);
        }
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let mut uri = Self { text: s.to_owned(), ..Self::default() };
        let mut kind = None;
        for part in path.split(';').filter(|_| !path.is_empty()) {
            match pair(part)? {
                ("type", value) => put(&mut kind, "type", || private(value))?,
                _ => uri.take_of_path(part)?,
            }
        }
        // A question mark has something behind it.
        query.iter().flat_map(|query| query.split('&')).try_for_each(|part| uri.take_of_query(part))?;
        Ok(uri)
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenUri").field(&self.text).finish()
    }
}

/// What may stand in a value unencoded, beside letters, digits and `-._~` (`pk11-path-res-avail`).
const PATH_CHARACTERS: &[u8] = b":[]@!$'()*+,=&";
/// The same in the query (`pk11-query-res-avail`).
const QUERY_CHARACTERS: &[u8] = b":[]@!$'()*+,=/?|";

fn pair(part: &str) -> Result<(&str, &str), InvalidTokenUri> {
    match part.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        // Whatever it is, it may be a PIN that lost its name.
        _ => Err(InvalidTokenUri::NotAPair(part.chars().take(4).chain("…".chars()).collect())),
    }
}

fn put<T>(
    place: &mut Option<T>,
    name: &'static str,
    value: impl FnOnce() -> Result<T, InvalidTokenUri>,
) -> Result<(), InvalidTokenUri> {
    match place.replace(value()?) {
        None => Ok(()),
        Some(_) => Err(InvalidTokenUri::Repeated(name)),
    }
}

fn bytes(name: &'static str, value: &str, allowed: &[u8]) -> Result<Vec<u8>, InvalidTokenUri> {
    let wrong = || InvalidTokenUri::Encoding(name);
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'%' => {
                let (digits, after) = after.split_at_checked(2).ok_or_else(wrong)?;
                rest = after;
                let mut octet = [0];
                hex::decode_to_slice(digits, &mut octet).map_err(|_| wrong())?;
                let [octet] = octet;
                octet
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => byte,
            other if allowed.contains(&other) => other,
            _ => return Err(wrong()),
        });
    }
    Ok(decoded)
}

fn text_of(name: &'static str, value: &str, allowed: &[u8]) -> Result<String, InvalidTokenUri> {
    let text = String::from_utf8(bytes(name, value, allowed)?).map_err(|_| InvalidTokenUri::NotText(name))?;
    if text.contains('\0') { Err(InvalidTokenUri::NotText(name)) } else { Ok(text) }
}

fn text(name: &'static str, value: &str) -> Result<String, InvalidTokenUri> {
    text_of(name, value, PATH_CHARACTERS)
}

fn number(value: &str) -> Result<u64, InvalidTokenUri> {
    decimal(value).ok_or(InvalidTokenUri::Form { name: "slot-id", form: "a number" })
}

/// `1*DIGIT [ "." 1*DIGIT ]`, each part a byte in PKCS #11's `CK_VERSION`.
fn version(value: &str) -> Result<(u8, u8), InvalidTokenUri> {
    let (major, minor) = value.split_once('.').unwrap_or((value, "0"));
    let version = decimal(major).zip(decimal(minor));
    version.ok_or(InvalidTokenUri::Form { name: "library-version", form: "a version such as `1.2`" })
}

fn decimal<T: FromStr>(digits: &str) -> Option<T> {
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn private(value: &str) -> Result<(), InvalidTokenUri> {
    if value == "private" { Ok(()) } else { Err(InvalidTokenUri::Type(excerpt(value))) }
}

fn path(name: &'static str, value: &str) -> Result<PathBuf, InvalidTokenUri> {
    let text = text_of(name, value, QUERY_CHARACTERS)?;
    if Path::new(&text).is_absolute() {
        Ok(text.into())
    } else {
        Err(InvalidTokenUri::Form { name, form: "a path that begins with `/`" })
    }
}

/// The file as a path, or as a `file:` URI without a host.
fn pin_source(value: &str) -> Result<PathBuf, InvalidTokenUri> {
    let is_local = |path: &&str| path.starts_with('/') && !path.starts_with("//");
    let local = match value.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").filter(is_local).or(Some(rest).filter(is_local)),
        None => Some(value).filter(|value| !value.starts_with("//")),
    };
    let form = InvalidTokenUri::Form { name: "pin-source", form: "an absolute path or a `file:` URI" };
    path("pin-source", local.ok_or(form)?)
}

/// A name that cannot lead to another directory.
fn module_name(value: &str) -> Result<String, InvalidTokenUri> {
    let name = text_of("module-name", value, QUERY_CHARACTERS)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain) {
        Ok(name)
    } else {
        Err(InvalidTokenUri::Form { name: "module-name", form: "the name of a module, without `lib` and `.so`" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> TokenUri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refuses(text: &str) -> InvalidTokenUri {
        text.parse::<TokenUri>().expect_err(text)
    }

    #[test]
    fn each_attribute_is_read() {
        let uri = parse(
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;serial=1;model=1.0;\
             library-manufacturer=Acme;library-description=Soft%3Btoken;library-version=2.40;slot-description=Slot%20A;\
             slot-manufacturer=Acme%20AG;slot-id=327;object=my-key;type=private;id=%69%95%3E%5C%F4%bd%ec%91\
             ?module-path=/usr/lib/softhsm/libsofthsm2.so&module-name=softhsm2&pin-source=/etc/token%20pin",
        );
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(uri.token, some("The Software PKCS#11 Softtoken"));
        assert_eq!((uri.manufacturer, uri.serial, uri.model), (some("Snake Oil, Inc."), some("1"), some("1.0")));
        assert_eq!((uri.library_manufacturer, uri.library_description), (some("Acme"), some("Soft;token")));
        assert_eq!((uri.library_version, uri.slot_id), (Some((2, 40)), Some(327)));
        assert_eq!((uri.slot_description, uri.slot_manufacturer), (some("Slot A"), some("Acme AG")));
        assert_eq!((uri.object, uri.id), (some("my-key"), Some(b"\x69\x95\x3e\x5c\xf4\xbd\xec\x91".to_vec())));
        assert_eq!(uri.module_path, Some("/usr/lib/softhsm/libsofthsm2.so".into()));
        assert_eq!((uri.module_name, uri.pin_source), (some("softhsm2"), Some("/etc/token pin".into())));
    }

    #[test]
    fn what_is_not_said_fits_everything() {
        let uri = parse("pkcs11:");
        assert_eq!(TokenUri { text: "pkcs11:".to_owned(), ..TokenUri::default() }, uri);
        assert_eq!(parse("pkcs11:library-version=3").library_version, Some((3, 0)));
        assert_eq!(parse("pkcs11:object=a&b=c").object.as_deref(), Some("a&b=c"), "`&` parts only the query");
        assert_eq!(parse("pkcs11:object=").object.as_deref(), Some(""));
    }

    #[test]
    fn a_pin_source_is_a_file() {
        for (written, path) in [("/a", "/a"), ("file:/a", "/a"), ("file:///a%3fb", "/a?b")] {
            assert_eq!(parse(&format!("pkcs11:?pin-source={written}")).pin_source, Some(path.into()));
        }
        for wrong in ["a", "", "file:a", "file://host/a", "%7Ccat%20pin", "|cat", "http://a/b", "//host/a"] {
            let error = refuses(&format!("pkcs11:?pin-source={wrong}"));
            assert!(matches!(error, InvalidTokenUri::Form { name: "pin-source", .. }), "{wrong}: {error:?}");
        }
    }

    #[test]
    fn a_pin_in_the_uri_is_refused_and_never_repeated() {
        let error = refuses("pkcs11:token=a?pin-value=1234");
        assert_eq!(error.code().as_str(), "token-uri-pin");
        assert!(!format!("{error} {error:?}").contains("1234"));
        assert!(!format!("{:?}", refuses("pkcs11:token=a?pin-source=/a&123456")).contains("123456"));
        // Wrong place: an attribute of the path it is not.
        assert_eq!(refuses("pkcs11:pin-value=1234"), InvalidTokenUri::Unknown("pin-value".into()));
    }

    #[test]
    fn unknown_attributes_and_repeated_ones_are_refused() {
        for unknown in
            ["pkcs11:colour=red", "pkcs11:Token=a", "pkcs11:?colour=red", "pkcs11:module-path=/a", "pkcs11:?token=a"]
        {
            assert!(matches!(refuses(unknown), InvalidTokenUri::Unknown(_)), "{unknown}");
        }
        for repeated in
            ["pkcs11:token=a;token=a", "pkcs11:type=private;type=private", "pkcs11:?module-path=/a&module-path=/a"]
        {
            assert!(matches!(refuses(repeated), InvalidTokenUri::Repeated(_)), "{repeated}");
        }
    }

    #[test]
    fn values_are_of_their_form() {
        for wrong in ["a b", "a%2", "a%", "a%zz", "ö", "a#b", "a?b", "a\"b", "a/b"] {
            assert!("pkcs11:token=".to_owned().is_ascii());
            assert!(format!("pkcs11:token={wrong}").parse::<TokenUri>().is_err(), "{wrong}");
        }
        assert_eq!(refuses("pkcs11:token=%ff"), InvalidTokenUri::NotText("token"));
        assert_eq!(refuses("pkcs11:token=a%00"), InvalidTokenUri::NotText("token"));
        assert_eq!(parse("pkcs11:id=%ff%00").id, Some(vec![0xff, 0]));
        for wrong in ["slot-id=-1", "slot-id=", "slot-id=0x1", "slot-id=18446744073709551616", "slot-id=+1"] {
            assert!(matches!(refuses(&format!("pkcs11:{wrong}")), InvalidTokenUri::Form { .. }), "{wrong}");
        }
        for wrong in ["library-version=", "library-version=1.", "library-version=1.2.3", "library-version=256"] {
            assert!(matches!(refuses(&format!("pkcs11:{wrong}")), InvalidTokenUri::Form { .. }), "{wrong}");
        }
        for kind in ["cert", "public", "secret-key", "data", "x", ""] {
            assert_eq!(refuses(&format!("pkcs11:type={kind}")), InvalidTokenUri::Type(kind.into()));
        }
        for wrong in ["module-path=lib.so", "module-path=", "module-name=../a", "module-name=a/b", "module-name="] {
            assert!(matches!(refuses(&format!("pkcs11:?{wrong}")), InvalidTokenUri::Form { .. }), "{wrong}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!(refuses("PKCS11:token=a"), InvalidTokenUri::Scheme);
        assert_eq!(refuses(&format!("pkcs11:object={}", "a".repeat(MAX_LENGTH))), InvalidTokenUri::TooLong);
        for wrong in ["pkcs11:token", "pkcs11:=a", "pkcs11:token=a;", "pkcs11:;token=a", "pkcs11:?", "pkcs11:token=a?&"]
        {
            assert!(matches!(refuses(wrong), InvalidTokenUri::NotAPair(_)), "{wrong}");
        }
    }
}
