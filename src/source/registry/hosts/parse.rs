//! What one `hosts.toml` says, as containerd reads it: the hosts in the file's order, the server last.
//!
//! Pure: text in, entries out; no file that the text names is looked at. A key that nobody knows is passed over, as containerd
//! does. A value of bad form is a mistake, where containerd writes a line into its log and goes on without the file: to ask
//! somebody else than the operator meant is no way to find out whether an image is signed.
//!
//! Follows containerd's `docs/hosts.md`.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use toml::{Table, Value};

use crate::source::limits::{MAX_HOST_FILES, MAX_REGISTRY_HOSTS};

/// One host that is asked about the images of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::source::registry) struct HostEntry {
    /// Where it is; none: at the registry's own name.
    pub address: Option<Address>,
    /// What it may be asked for.
    pub capabilities: Capabilities,
    /// Files with certificate authorities that it is believed by, beside the machine's own.
    pub ca: Vec<PathBuf>,
    /// The file with the client certificate, and the one with its key where that is another.
    pub client: Option<(PathBuf, Option<PathBuf>)>,
    /// Whether its certificate is not looked at, where the file says anything about it.
    pub skip_verify: Option<bool>,
    /// What is sent along with each request. Every value is marked as sensitive.
    pub headers: HeaderMap,
    /// How long a connection may take to open.
    pub dial_timeout: Option<Duration>,
}

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source::registry) struct Address {
    /// Scheme, host and port.
    pub base: Url,
    /// The path of the API: `/v2`, unless the operator says otherwise. No slash at its end.
    pub path: String,
}

/// What a host may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::registry) enum Capability {
    /// Content by its digest.
    Pull,
    /// What a tag points to.
    Resolve,
    /// To store something.
    Push,
    /// What refers to a manifest.
    Referrers,
}

/// All that a host may be asked for; without a word about it, everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source::registry) struct Capabilities(Vec<Capability>);

impl Capabilities {
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self(vec![Capability::Pull, Capability::Resolve, Capability::Push, Capability::Referrers])
    }
}

/// What is wrong with a file, and where in it. Never shows the value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake(pub String);

/// The hosts in the order in which they are asked. There is always one: the last is the server.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<HostEntry>, Mistake> {
    let text = std::str::from_utf8(bytes).map_err(|_| Mistake("it is not text in UTF-8".into()))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        Mistake(format!("line {}: {}", before.split('\n').count(), error.message()))
    })?;
    let root = Section { name: String::new(), table: &table };
    let mut entries = root.hosts()?;
    let server = root.optional("server", Value::as_str, "a text")?.filter(|server| !server.is_empty());
    let server = server.map(|server| root.address("server", server)).transpose()?;
    // Where no server is named containerd takes the registry itself, and takes it to be able to do everything.
    let is_own = server.is_none();
    let own = root.entry(server)?;
    entries.push(if is_own { HostEntry { capabilities: Capabilities::default(), ..own } } else { own });
    Ok(entries)
}

/// The file itself, or one of its hosts.
struct Section<'a> {
    /// What stands before a key in messages.
    name: String,
    table: &'a Table,
}

impl Section<'_> {
    fn hosts(&self) -> Result<Vec<HostEntry>, Mistake> {
        let Some(hosts) = self.optional("host", Value::as_table, "a table of hosts")? else { return Ok(Vec::new()) };
        if hosts.len() > MAX_REGISTRY_HOSTS {
            return Err(self.mistake("host", &format!("it has more than {MAX_REGISTRY_HOSTS} hosts")));
        }
        // In the order in which they were written: the library keeps it (`preserve_order`).
        let entry = |(url, value): (&String, &Value)| {
            let table = value.as_table().ok_or_else(|| self.mistake(&format!("host.\"{url}\""), "not a table"))?;
            let section = Section { name: format!("host.\"{url}\"."), table };
            section.entry(Some(self.address(&format!("host.\"{url}\""), url)?))
        };
        hosts.iter().map(entry).collect()
    }

    fn entry(&self, address: Option<Address>) -> Result<HostEntry, Mistake> {
        let address = match address {
            Some(address) => Some(self.with_path(address)?),
            None => None,
        };
        Ok(HostEntry {
            address,
            capabilities: self.capabilities()?,
            ca: self.paths("ca")?,
            client: self.client()?,
            skip_verify: self.optional("skip_verify", Value::as_bool, "`true` or `false`")?,
            headers: self.headers()?,
            dial_timeout: self.dial_timeout()?,
        })
    }

    /// A URL, or a host that is spoken to by https.
    fn address(&self, key: &str, text: &str) -> Result<Address, Mistake> {
        let written = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let mut base = Url::parse(&written).map_err(|_| self.mistake(key, "not a URL"))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(self.mistake(key, "not a URL of http or https"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(self.mistake(key, "a name and a password have no place in it"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(self.mistake(key, "nothing follows the path of a host"));
        }
        let path = base.path().to_owned();
        base.set_path("/");
        Ok(Address { base, path })
    }

    /// The address with the path of its API: what stands in the URL, and `/v2` behind it where that is not its end or the path
    /// is to be taken as it is.
    fn with_path(&self, address: Address) -> Result<Address, Mistake> {
        let is_whole = self.optional("override_path", Value::as_bool, "`true` or `false`")?.unwrap_or_default();
        let mut segments: Vec<&str> = address.path.split('/').filter(|segment| !segment.is_empty()).collect();
        if !is_whole && segments.last() != Some(&"v2") {
            segments.push("v2");
        }
        let path = if segments.is_empty() { String::new() } else { format!("/{}", segments.join("/")) };
        Ok(Address { path, ..address })
    }

    fn capabilities(&self) -> Result<Capabilities, Mistake> {
        let Some(listed) = self.optional("capabilities", Value::as_array, "a list")? else {
            return Ok(Capabilities::default());
        };
        let of = |value: &Value| match value.as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
            "pull" => Ok(Capability::Pull),
            "resolve" => Ok(Capability::Resolve),
            "push" => Ok(Capability::Push),
            "referrers" => Ok(Capability::Referrers),
            _ => Err(self.mistake("capabilities", "only `pull`, `resolve`, `push` and `referrers` are known")),
        };
        let listed = listed.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        Ok(if listed.is_empty() { Capabilities::default() } else { Capabilities(listed) })
    }

    /// A path, or a list of them.
    fn paths(&self, key: &str) -> Result<Vec<PathBuf>, Mistake> {
        let paths: Vec<PathBuf> = match self.table.get(key) {
            None => Vec::new(),
            Some(Value::String(path)) => vec![path.into()],
            Some(Value::Array(paths)) => {
                let path = |value: &Value| value.as_str().map(PathBuf::from);
                let paths: Option<_> = paths.iter().map(path).collect();
                paths.ok_or_else(|| self.mistake(key, "every path in it must be a text"))?
            }
            Some(_) => return Err(self.mistake(key, "not a path or a list of paths")),
        };
        if paths.len() > MAX_HOST_FILES {
            return Err(self.mistake(key, &format!("more than {MAX_HOST_FILES} files")));
        }
        Ok(paths)
    }

    /// A path of a file with both, or a list of one such path or of one pair of paths.
    fn client(&self) -> Result<Option<(PathBuf, Option<PathBuf>)>, Mistake> {
        const KEY: &str = "client";
        let bad = || self.mistake(KEY, "not a path, a list of paths, or a list of pairs of paths");
        let listed = match self.table.get(KEY) {
            None => return Ok(None),
            Some(Value::String(path)) => return Ok(Some((path.into(), None))),
            Some(Value::Array(listed)) => listed.as_slice(),
            Some(_) => return Err(bad()),
        };
        let pair = |value: &Value| match value {
            Value::String(path) => Some((PathBuf::from(path), None)),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(certificate), Value::String(key)] => {
                    Some((certificate.into(), Some(PathBuf::from(key)).filter(|_| !key.is_empty())))
                }
                _ => None,
            },
            _ => None,
        };
        let pairs = listed.iter().map(pair).collect::<Option<Vec<_>>>().ok_or_else(bad)?;
        match pairs.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            // Which of several a server wants only the handshake tells, and the HTTP library takes one.
            _ => Err(self.mistake(KEY, "more than one client certificate, and only one can be shown to a host")),
        }
    }

    fn headers(&self) -> Result<HeaderMap, Mistake> {
        let mut headers = HeaderMap::new();
        let Some(table) = self.optional("header", Value::as_table, "a table")? else { return Ok(headers) };
        for (name, value) in table {
            let key = format!("header.{name}");
            let own = HeaderName::from_bytes(name.as_bytes()).map_err(|_| self.mistake(&key, "no name of a header"))?;
            if FRAMING.contains(&own) {
                return Err(self.mistake(&key, "this header belongs to the connection, and cannot be set"));
            }
            let bad = || self.mistake(&key, "not a text, or a list of texts, that a header can have");
            let values = match value {
                Value::String(_) => std::slice::from_ref(value),
                Value::Array(values) => values,
                _ => return Err(bad()),
            };
            for value in values {
                let text = value.as_str().ok_or_else(bad)?;
                let mut value = HeaderValue::from_str(text).map_err(|_| bad())?;
                value.set_sensitive(true);
                headers.append(own.clone(), value);
            }
        }
        Ok(headers)
    }

    fn dial_timeout(&self) -> Result<Option<Duration>, Mistake> {
        const KEY: &str = "dial_timeout";
        let Some(text) = self.optional(KEY, Value::as_str, "a text")?.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let written = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
        let written = written.ok_or_else(|| self.mistake(KEY, "not a duration such as `500ms` or `3s`"))?;
        // Zero is Go's word for no limit, and then ours holds.
        Ok(Some(written).filter(|duration| !duration.is_zero()))
    }

    fn optional<'t, T>(
        &'t self,
        key: &str,
        read: impl Fn(&'t Value) -> Option<T>,
        what: &str,
    ) -> Result<Option<T>, Mistake> {
        let value = self.table.get(key);
        value.map(|value| read(value).ok_or_else(|| self.mistake(key, &format!("not {what}")))).transpose()
    }

    fn mistake(&self, key: &str, fault: &str) -> Mistake {
        Mistake(format!("`{}{key}`: {fault}", self.name))
    }
}

/// Headers that the HTTP library writes itself.
const FRAMING: [HeaderName; 4] = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

#[cfg(test)]
mod tests;
