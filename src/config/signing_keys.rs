//! Which keys may sign here: notation's `signingkeys.json`.
//!
//! The file only says where a key lies; the key itself is read by whoever signs. Entries that notation wrote, and
//! members that only notation knows, stay as they are when a key is added.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::NotationDir;
use super::file::{self, NotationFileError};
use crate::pki::TokenUri;
use crate::policy::is_safe_name;
use crate::remedy::{Code, Remedy, one_line};

/// The keys of a notation directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningKeys {
    default: Option<String>,
    entries: Vec<SigningKeyEntry>,
}

/// One key, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyEntry {
    name: String,
    key: SigningKey,
}

/// Where a key lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// In two PEM files.
    Files {
        /// The private key.
        key: PathBuf,
        /// Its certificates, leaf first, up to the root.
        certificates: PathBuf,
    },
    /// On a PKCS #11 token. In the file, `keyPath` is the URI and `certPath` may be missing: notation reads such an entry, and
    /// finds no such file.
    Token {
        /// Which one.
        uri: Box<TokenUri>,
        /// The certificates, where they are not on the token.
        certificates: Option<PathBuf>,
    },
    /// Behind a signing plugin.
    Plugin {
        /// The plugin's name, safe as the name of a file.
        plugin: String,
        /// What the plugin calls the key.
        id: String,
        /// What is passed on to the plugin.
        config: BTreeMap<String, String>,
    },
}

/// Why there is no key to sign with, or none could be added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// The file is there and cannot be used.
    #[error(transparent)]
    File(#[from] NotationFileError),
    /// An entry breaks a rule of the file.
    #[error("{}: {problem}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The rule.
        problem: String,
    },
    /// No key has this name.
    #[error("there is no signing key `{name}`")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// No name was given and no key is the default.
    #[error("no signing key is the default")]
    NoDefault,
    /// A key of this name is there already.
    #[error("there is a signing key `{name}` already")]
    Taken {
        /// The name.
        name: String,
    },
    /// The name is empty.
    #[error("the name of a signing key is not empty")]
    EmptyName,
    /// A path that JSON cannot hold.
    #[error("the path {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl Remedy for SigningKeyError {
    fn code(&self) -> Code {
        match self {
            Self::File(error) => error.code(),
            Self::Entry { .. } => Code("signing-keys-invalid"),
            Self::Unknown { .. } => Code("signing-key-unknown"),
            Self::NoDefault => Code("signing-key-no-default"),
            Self::Taken { .. } => Code("signing-key-taken"),
            Self::EmptyName => Code("signing-key-name"),
            Self::NotUtf8(_) => Code("signing-key-path"),
            Self::Write { .. } => Code("signing-keys-unwritable"),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::File(error) => error.remedy(),
            Self::Entry { path, .. } => Some(format!("mend {}", path.display())),
            Self::Unknown { .. } => Some("see the names of keys with `pratique key ls`".into()),
            Self::NoDefault => Some(
                "name a key with `--key`, or make one the default: `pratique key default NAME`, or `--default` of \
                     `pratique key add`"
                    .into(),
            ),
            Self::Taken { .. } | Self::EmptyName => Some("choose another name".into()),
            Self::NotUtf8(_) => Some("move the file to a path of plain letters".into()),
            Self::Write { .. } => None,
        }
    }
}

#[derive(Deserialize)]
struct Document {
    default: Option<String>,
    keys: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    key_path: Option<PathBuf>,
    cert_path: Option<PathBuf>,
    id: Option<String>,
    plugin_name: Option<String>,
    plugin_config: Option<BTreeMap<String, String>>,
}

impl NotationDir {
    /// The keys of `signingkeys.json`. None where there is no file.
    pub fn signing_keys(&self) -> Result<SigningKeys, SigningKeyError> {
        let path = self.signing_keys_file();
        match file::read_json::<Document>(&path)? {
            None => Ok(SigningKeys::default()),
            Some(document) => document.try_into().map_err(|problem| SigningKeyError::Entry { path, problem }),
        }
    }

    /// The key of this name, or the default one.
    pub fn signing_key(&self, name: Option<&str>) -> Result<SigningKeyEntry, SigningKeyError> {
        let keys = self.signing_keys()?;
        let name = name.or(keys.default_name()).ok_or(SigningKeyError::NoDefault)?;
        let entry = keys.entries.iter().find(|entry| entry.name == name);
        entry.cloned().ok_or_else(|| SigningKeyError::Unknown { name: name.to_owned() })
    }

    /// Adds a key that lies in two files, and makes it the default one where asked to. Relative paths are taken from the
    /// working directory.
    pub fn add_signing_key(
        &self,
        name: &str,
        key: &Path,
        certificates: &Path,
        default: bool,
    ) -> Result<(), SigningKeyError> {
        let (key, certificates) = (absolute(key)?, absolute(certificates)?);
        self.add_entry(name, json!({"name": name, "keyPath": key, "certPath": certificates}), default)
    }

    /// Adds a key on a PKCS #11 token, with its certificates where they are not on the token. The URI stays as it was written.
    pub fn add_token_key(
        &self,
        name: &str,
        uri: &TokenUri,
        certificates: Option<&Path>,
        default: bool,
    ) -> Result<(), SigningKeyError> {
        let mut entry = json!({"name": name, "keyPath": uri.as_str()});
        if let (Some(members), Some(certificates)) = (entry.as_object_mut(), certificates) {
            members.insert("certPath".into(), absolute(certificates)?.into());
        }
        self.add_entry(name, entry, default)
    }

    /// Adds a key that a plugin holds, by the plugin's name for it, and makes it the default one where asked to.
    pub fn add_plugin_key(
        &self,
        name: &str,
        plugin: &str,
        id: &str,
        config: &BTreeMap<String, String>,
        default: bool,
    ) -> Result<(), SigningKeyError> {
        let mut entry = json!({"name": name, "id": id, "pluginName": plugin});
        if let (Some(members), false) = (entry.as_object_mut(), config.is_empty()) {
            members.insert("pluginConfig".into(), json!(config));
        }
        self.add_entry(name, entry, default)
    }

    fn add_entry(&self, name: &str, entry: Value, default: bool) -> Result<(), SigningKeyError> {
        if name.is_empty() {
            return Err(SigningKeyError::EmptyName);
        }
        self.change_signing_keys(|keys, members| {
            if keys.entries.iter().any(|entry| entry.name == name) {
                return Err(SigningKeyError::Taken { name: name.to_owned() });
            }
            if default {
                members.insert("default".into(), name.into());
            }
            match members.get_mut("keys").and_then(Value::as_array_mut) {
                Some(keys) => keys.push(entry),
                None => _ = members.insert("keys".into(), json!([entry])),
            }
            Ok(())
        })
    }

    /// Makes a key that is there the default one.
    pub fn set_default_signing_key(&self, name: &str) -> Result<(), SigningKeyError> {
        self.change_signing_keys(|keys, members| {
            keys.check_known(name)?;
            members.insert("default".into(), name.into());
            Ok(())
        })
    }

    /// Takes these keys out of the list: all of them, or none where one is not in it. Their files stay.
    pub fn remove_signing_keys(&self, names: &[String]) -> Result<(), SigningKeyError> {
        self.change_signing_keys(|keys, members| {
            names.iter().try_for_each(|name| keys.check_known(name))?;
            let is_removed = |name: Option<&str>| name.is_some_and(|name| names.iter().any(|removed| removed == name));
            if is_removed(keys.default_name()) {
                members.remove("default");
            }
            if let Some(entries) = members.get_mut("keys").and_then(Value::as_array_mut) {
                entries.retain(|entry| !is_removed(entry.get("name").and_then(Value::as_str)));
            }
            Ok(())
        })
    }

    /// Changes the file, while no other process does.
    fn change_signing_keys(
        &self,
        change: impl FnOnce(&SigningKeys, &mut Map<String, Value>) -> Result<(), SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        let path = self.signing_keys_file();
        let unwritable = |source| SigningKeyError::Write { path: path.clone(), source };
        // Held until the end: another process may be adding a key of its own.
        let _lock = file::lock_directory(self.path()).map_err(unwritable)?;
        let keys = self.signing_keys()?;
        let mut document = file::read_json::<Value>(&path)?.unwrap_or_else(|| json!({}));
        if let Some(members) = document.as_object_mut() {
            change(&keys, members)?;
        }
        file::replace(&path, format!("{document:#}\n").as_bytes()).map_err(unwritable)
    }

    fn signing_keys_file(&self) -> PathBuf {
        self.path().join("signingkeys.json")
    }
}

fn absolute(path: &Path) -> Result<String, SigningKeyError> {
    let not_utf8 = || SigningKeyError::NotUtf8(path.to_owned());
    // Fails for the empty path and where there is no working directory.
    let absolute =
        std::path::absolute(path).map_err(|source| SigningKeyError::Write { path: path.to_owned(), source })?;
    absolute.to_str().map(str::to_owned).ok_or_else(not_utf8)
}

impl SigningKeys {
    /// The name of the default key.
    pub fn default_name(&self) -> Option<&str> {
        self.default.as_deref()
    }

    fn check_known(&self, name: &str) -> Result<(), SigningKeyError> {
        let is_known = self.entries.iter().any(|entry| entry.name == name);
        if is_known { Ok(()) } else { Err(SigningKeyError::Unknown { name: name.to_owned() }) }
    }

    /// The keys, in the order of the file.
    pub fn entries(&self) -> &[SigningKeyEntry] {
        &self.entries
    }
}

impl SigningKeyEntry {
    /// The name, unique in its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the key lies.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }
}

impl TryFrom<Document> for SigningKeys {
    type Error = String;

    fn try_from(document: Document) -> Result<Self, String> {
        let entries: Vec<SigningKeyEntry> =
            document.keys.unwrap_or_default().into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(entry) = entries.iter().find(|entry| !names.insert(entry.name.as_str())) {
            return Err(format!("two keys have the name `{}`", entry.name));
        }
        match document.default {
            Some(default) if !names.contains(default.as_str()) => {
                Err(format!("the default key `{default}` is not there"))
            }
            default => Ok(Self { default, entries }),
        }
    }
}

impl TryFrom<Entry> for SigningKeyEntry {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        let Entry { name, key_path, cert_path, id, plugin_name, plugin_config } = entry;
        if name.is_empty() {
            return Err("a key has no name".into());
        }
        let token = key_path.as_ref().and_then(|path| path.to_str()).filter(|path| TokenUri::is_meant(path));
        let token = token.map(str::parse::<TokenUri>).transpose();
        let token = token.map_err(|error| format!("the key `{name}`: {}", one_line(&error)))?;
        let key = match (key_path, cert_path, id, plugin_name) {
            (Some(_), certificates, None, None) if let Some(uri) = token => {
                SigningKey::Token { uri: Box::new(uri), certificates }
            }
            (Some(key), Some(certificates), None, None) => SigningKey::Files { key, certificates },
            (None, None, Some(id), Some(plugin)) if is_safe_name(&plugin) => {
                SigningKey::Plugin { plugin, id, config: plugin_config.unwrap_or_default() }
            }
            (None, None, Some(_), Some(plugin)) => {
                return Err(format!("the key `{name}` names the plugin `{plugin}`, which is not the name of a file"));
            }
            _ => {
                return Err(format!(
                    "the key `{name}` has neither keyPath and certPath alone nor id and pluginName alone"
                ));
            }
        };
        Ok(Self { name, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn directory_with(keys: &str) -> (tempfile::TempDir, NotationDir) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("signingkeys.json"), keys).unwrap();
        let notation = NotationDir::new(directory.path().to_owned());
        (directory, notation)
    }

    const KEYS: &str = r#"{
        "default": "build",
        "keys": [
            {"name": "build", "keyPath": "/keys/build.key", "certPath": "/keys/build.crt", "colour": "red"},
            {"name": "remote", "id": "key/7", "pluginName": "com.acme.kms", "pluginConfig": {"region": "eu"}}
        ],
        "generator": "notation"
    }"#;

    #[test]
    fn a_key_is_found_by_its_name_or_as_the_default() {
        let (_guard, notation) = directory_with(KEYS);
        let build = notation.signing_key(None).unwrap();
        let files = SigningKey::Files { key: "/keys/build.key".into(), certificates: "/keys/build.crt".into() };
        assert_eq!((build.name(), build.key()), ("build", &files));
        let remote = notation.signing_key(Some("remote")).unwrap();
        assert!(matches!(remote.key(), SigningKey::Plugin { plugin, id, config }
            if plugin == "com.acme.kms" && id == "key/7" && config["region"] == "eu"));
        let error = notation.signing_key(Some("other")).unwrap_err();
        assert_eq!(error.code(), Code("signing-key-unknown"));
    }

    #[test]
    fn without_a_file_there_are_no_keys_and_no_default() {
        let directory = tempfile::tempdir().unwrap();
        let notation = NotationDir::new(directory.path().to_owned());
        assert_eq!(notation.signing_keys().unwrap(), SigningKeys::default());
        assert_eq!(notation.signing_key(None).unwrap_err().code(), Code("signing-key-no-default"));
    }

    #[test]
    fn a_file_that_breaks_a_rule_is_refused_whole() {
        for (from, to) in [
            ("\"remote\"", "\"build\""),
            ("\"name\": \"remote\"", "\"name\": \"\""),
            ("\"default\": \"build\"", "\"default\": \"other\""),
            ("com.acme.kms", "../kms"),
            ("\"id\": \"key/7\", ", ""),
            ("\"id\"", "\"keyPath\": \"/a\", \"id\""),
        ] {
            let (_guard, notation) = directory_with(&KEYS.replace(from, to));
            assert_eq!(notation.signing_keys().unwrap_err().code(), Code("signing-keys-invalid"), "{to}");
        }
        let (_guard, notation) = directory_with("{\"keys\": {}}");
        assert_eq!(notation.signing_keys().unwrap_err().code(), Code("notation-file-malformed"));
    }

    #[test]
    fn an_added_key_is_found_and_leaves_the_others_as_they_were() {
        let (directory, notation) = directory_with(KEYS);
        notation.add_signing_key("new", Path::new("/keys/new.key"), Path::new("/keys/new.crt"), true).unwrap();
        assert_eq!(notation.signing_key(None).unwrap().name(), "new");
        let text = fs::read_to_string(directory.path().join("signingkeys.json")).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let before: Value = serde_json::from_str(KEYS).unwrap();
        assert_eq!(document["generator"], before["generator"]);
        assert_eq!(document["keys"][0], before["keys"][0]);
        assert_eq!(document["keys"][1], before["keys"][1]);
        let again = notation.add_signing_key("new", Path::new("/a"), Path::new("/b"), false).unwrap_err();
        assert_eq!(again.code(), Code("signing-key-taken"));
    }

    #[test]
    fn a_key_on_a_token_keeps_its_uri_as_it_was_written() {
        let (directory, notation) = directory_with(KEYS);
        let uri: TokenUri = "pkcs11:token=card;object=release?module-path=/usr/lib/hsm.so".parse().unwrap();
        notation.add_token_key("card", &uri, None, false).unwrap();
        notation.add_token_key("file", &uri, Some(Path::new("/keys/a.crt")), true).unwrap();
        let key = |name: &str| notation.signing_key(Some(name)).unwrap().key().clone();
        assert_eq!(key("card"), SigningKey::Token { uri: Box::new(uri.clone()), certificates: None });
        let certificates = Some("/keys/a.crt".into());
        assert_eq!(key("file"), SigningKey::Token { uri: Box::new(uri), certificates });
        let text = fs::read_to_string(directory.path().join("signingkeys.json")).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let uri = "pkcs11:token=card;object=release?module-path=/usr/lib/hsm.so";
        assert_eq!(document["keys"][2], json!({"name": "card", "keyPath": uri}));
        assert_eq!(document["default"], "file");
    }

    #[test]
    fn keys_are_removed_all_or_none_and_the_default_with_its_key() {
        let (_guard, notation) = directory_with(KEYS);
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let error = notation.remove_signing_keys(&names(&["build", "other"])).unwrap_err();
        assert_eq!(error.code(), Code("signing-key-unknown"));
        assert_eq!(notation.signing_keys().unwrap().entries().len(), 2);
        notation.remove_signing_keys(&names(&["build"])).unwrap();
        assert_eq!(notation.signing_key(None).unwrap_err().code(), Code("signing-key-no-default"));
        assert_eq!(notation.set_default_signing_key("build").unwrap_err().code(), Code("signing-key-unknown"));
        notation.set_default_signing_key("remote").unwrap();
        assert_eq!(notation.signing_key(None).unwrap().name(), "remote");
    }

    #[test]
    fn the_first_key_makes_a_file_that_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let notation = NotationDir::new(directory.path().join("deep/notation"));
        notation.add_signing_key("first", Path::new("/keys/a.key"), Path::new("/keys/a.crt"), false).unwrap();
        assert_eq!(notation.signing_key(Some("first")).unwrap().name(), "first");
        assert_eq!(notation.signing_key(None).unwrap_err().code(), Code("signing-key-no-default"));
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(notation.path().to_owned()), 0o700);
        assert_eq!(mode(notation.path().join("signingkeys.json")), 0o600);
    }
}
