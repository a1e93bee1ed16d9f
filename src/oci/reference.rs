//! References to images, under docker's normalisation rules: what a person types, and what containerd passes on.
//!
//! Form follows the distribution specification ("Pulling manifests") and the grammar that docker, containerd and
//! nerdctl share; `alpine` means `docker.io/library/alpine:latest`.

use std::fmt;
use std::str::FromStr;

use super::{Digest, InvalidDigest};
use crate::remedy::{Code, Remedy, excerpt};

/// The longest registry-and-repository part that docker's grammar allows, in bytes.
const MAX_NAME_LENGTH: usize = 255;
/// The longest tag (distribution specification, "Pulling manifests").
const MAX_TAG_LENGTH: usize = 128;
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
/// Docker's word for this machine, which no registry elsewhere has for a name.
const NOWHERE: &str = "localhost";
const DEFAULT_TAG: &str = "latest";

/// A registry and a repository in it, such as `docker.io/library/alpine`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    path: String,
}

/// A name that a registry may point to something else at any time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// A repository with a tag, a digest, or both. A tag is a question, a digest an answer: where both stand, the digest
/// is what counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Repository {
    /// Stands for the repository of what lies in none, such as an image layout. Nobody is asked for it.
    pub fn nowhere() -> Self {
        Self { registry: NOWHERE.to_owned(), path: NOWHERE.to_owned() }
    }

    /// The repository of a whole reference, with its registry. A shorter name stands for another image with one tool than with
    /// the next.
    pub fn of_whole(name: &str) -> Option<Self> {
        let reference: Reference = name.parse().ok()?;
        let is_whole = name.strip_prefix(reference.repository.registry()).is_some_and(|rest| rest.starts_with('/'));
        is_whole.then_some(reference.repository)
    }

    /// Host and port, as written: `docker.io`, `registry.example:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry, such as `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What this tag of the repository points to.
    pub fn tagged(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag), digest: None }
    }

    /// The reference to one content of this repository.
    pub fn at(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

impl Tag {
    /// The tag without its colon.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reference {
    /// Where the image lies.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, where one was written or implied. A reference by digest implies none.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, where one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository, pinned to this digest. The tag goes: it must not be asked again.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        self.repository.at(digest)
    }
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReference {
    /// Nothing there.
    #[error("the reference is empty")]
    Empty,
    /// Longer than docker's grammar allows.
    #[error("the name of a repository has at most {MAX_NAME_LENGTH} characters, this one has {0}")]
    TooLong(usize),
    /// The part before the first slash is not a host.
    #[error("`{0}` is not a registry host")]
    Registry(String),
    /// The path has an empty or otherwise bad component.
    #[error("`{0}` is not a repository path: lowercase letters and digits, joined by `.`, `_`, `__` or dashes")]
    Path(String),
    /// What follows the colon is not a tag.
    #[error("`{0}` is not a tag")]
    Tag(String),
    /// What follows the `@` is not a digest.
    #[error("what follows the `@` is not a digest")]
    Digest(#[source] InvalidDigest),
    /// A scheme such as `https://` stands in front.
    #[error("a reference has no scheme such as `{0}://`")]
    Scheme(String),
}

impl Remedy for InvalidReference {
    fn code(&self) -> Code {
        Code("invalid-reference")
    }

    fn remedy(&self) -> Option<String> {
        Some("write `registry/repository:tag` or `registry/repository@sha256:…`".into())
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(s: &str) -> Result<Self, InvalidReference> {
        if let Some((scheme, _)) = s.split_once("://") {
            return Err(InvalidReference::Scheme(excerpt(scheme)));
        }
        let (rest, digest) = match s.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(InvalidReference::Digest)?)),
            None => (s, None),
        };
        let (name, tag) = split_tag(rest);
        let tag = tag.map(str::parse).transpose()?;
        let repository = name.parse()?;
        let implied = || digest.is_none().then(|| Tag(DEFAULT_TAG.to_owned()));
        Ok(Self { repository, tag: tag.or_else(implied), digest })
    }
}

/// The tag starts at a colon after the last slash; a colon before it belongs to a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !tag.contains(']') => (name, Some(tag)),
        _ => (name, None),
    }
}

impl FromStr for Tag {
    type Err = InvalidReference;

    fn from_str(s: &str) -> Result<Self, InvalidReference> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let good = s.len() <= MAX_TAG_LENGTH
            && s.bytes().next().is_some_and(is_word)
            && s.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'));
        if good { Ok(Self(s.to_owned())) } else { Err(InvalidReference::Tag(excerpt(s))) }
    }
}

impl FromStr for Repository {
    type Err = InvalidReference;

    fn from_str(s: &str) -> Result<Self, InvalidReference> {
        if s.is_empty() {
            return Err(InvalidReference::Empty);
        }
        let (registry, path) = match s.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
            Some(_) => (DEFAULT_REGISTRY, s.to_owned()),
            None => (DEFAULT_REGISTRY, format!("{DEFAULT_NAMESPACE}/{s}")),
        };
        // Docker Hub's old name for itself, which docker and containerd rewrite too.
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        let path = match path.split_once('/') {
            None if registry == DEFAULT_REGISTRY => format!("{DEFAULT_NAMESPACE}/{path}"),
            _ => path,
        };
        check_host(registry)?;
        check_path(&path)?;
        let length = registry.len() + 1 + path.len();
        if length > MAX_NAME_LENGTH {
            return Err(InvalidReference::TooLong(length));
        }
        Ok(Self { registry: registry.to_owned(), path })
    }
}

/// Docker's rule for telling a host from the first component of a path on Docker Hub.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// A host name, an IPv4 address or a bracketed IPv6 address, with an optional port.
fn check_host(host: &str) -> Result<(), InvalidReference> {
    let bad = || InvalidReference::Registry(excerpt(host));
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            address.parse::<core::net::Ipv6Addr>().map_err(|_| bad())?;
            (None, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) })
        }
        None => host.split_once(':').map_or((Some(host), None), |(name, port)| (Some(name), Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let good_name = name.is_none_or(|name| name.split('.').all(label));
    let good_port = port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    if good_name && good_port { Ok(()) } else { Err(bad()) }
}

fn check_path(path: &str) -> Result<(), InvalidReference> {
    let good = path.split('/').all(is_path_component);
    if good { Ok(()) } else { Err(InvalidReference::Path(excerpt(path))) }
}

/// `[a-z0-9]+` joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !component.starts_with(is_word) || !component.ends_with(is_word) {
        return false;
    }
    component.split(is_word).all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Display for Reference {
    /// `registry/repository[:tag][@digest]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{}", tag.0))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_normalised_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (typed, meant) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine:latest"),
            ("team/app", "docker.io/team/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("127.0.0.1:15000/demo/three:v1", "127.0.0.1:15000/demo/three:v1"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("[2001:db8::1]/app:v1", "[2001:db8::1]/app:v1"),
            ("Registry/app", "Registry/app:latest"),
            ("registry.example/a/b__c/d-e.f_g", "registry.example/a/b__c/d-e.f_g:latest"),
            ("registry.example/a/b---c", "registry.example/a/b---c:latest"),
            (&format!("alpine@{digest}"), &format!("docker.io/library/alpine@{digest}")),
            (&format!("alpine:3@{digest}"), &format!("docker.io/library/alpine:3@{digest}")),
        ] {
            let reference: Reference = typed.parse().unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!(reference.to_string(), meant, "{typed}");
            assert_eq!(meant.parse::<Reference>().unwrap(), reference, "{meant}");
        }
    }

    #[test]
    fn what_is_no_reference_says_which_part_is_wrong() {
        use InvalidReference as E;
        let is = |typed: &str, expected: fn(&E) -> bool| {
            let error = typed.parse::<Reference>().expect_err(typed);
            assert!(expected(&error), "{typed}: {error:?}");
        };
        is("", |e| *e == E::Empty);
        is("https://registry.example/app", |e| matches!(e, E::Scheme(_)));
        is("registry.example/App", |e| matches!(e, E::Path(_)));
        is("registry.example/a//b", |e| matches!(e, E::Path(_)));
        is("registry.example/../b", |e| matches!(e, E::Path(_)));
        is("registry.example/a___b", |e| matches!(e, E::Path(_)));
        is("registry.example/-a", |e| matches!(e, E::Path(_)));
        is("registry.example/", |e| matches!(e, E::Path(_)));
        is("registry.example:port/a", |e| matches!(e, E::Registry(_)));
        is("registry.example:99999/a", |e| matches!(e, E::Registry(_)));
        is("-bad.example/a", |e| matches!(e, E::Registry(_)));
        is("[::1/a", |e| matches!(e, E::Registry(_)));
        is("[zz::1]/a", |e| matches!(e, E::Registry(_)));
        is("alpine:", |e| matches!(e, E::Tag(_)));
        is("alpine:-x", |e| matches!(e, E::Tag(_)));
        is(&format!("alpine:{}", "x".repeat(129)), |e| matches!(e, E::Tag(_)));
        is("alpine@sha256:abc", |e| matches!(e, E::Digest(_)));
        is("alpine@", |e| matches!(e, E::Digest(_)));
        is(&format!("registry.example/{}", "a".repeat(300)), |e| matches!(e, E::TooLong(_)));
    }

    #[test]
    fn pinning_drops_the_tag() {
        let digest = Digest::sha256(b"x");
        let pinned = "alpine:3".parse::<Reference>().unwrap().pinned(digest.clone());
        assert_eq!(pinned.to_string(), format!("docker.io/library/alpine@{digest}"));
    }
}
