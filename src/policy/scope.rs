//! Which repositories a statement governs.
//!
//! A scope is compared with `registry/repository` as a string: there is no prefix, no folding of case, no alias for
//! Docker Hub, and the port counts. What differs from a scope by one character is governed by another statement or by
//! none, so a scope that could never equal a repository is refused when the policy is read.
//!
//! Follows the Notary trust policy specification, "Registry Scopes Constraints".

use std::fmt;
use std::str::FromStr;

use crate::oci::Repository;
use crate::remedy::excerpt;

/// One entry of `registryScopes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `*`: every repository that no other statement names.
    Any,
    /// One repository, written `host[:port]/path`.
    Repository(String),
}

/// Why a text is not a registry scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidScope {
    /// A registry without a repository.
    #[error("the scope `{0}` names a registry and no repository")]
    NoRepository(String),
    /// A scheme such as `https://` stands in front.
    #[error("the scope `{0}` has a scheme")]
    Scheme(String),
    /// A wildcard that is not the whole scope.
    #[error("the scope `{0}` has a `*` beside other text")]
    Pattern(String),
    /// What stands before the first slash is not a host with an optional port.
    #[error("the scope `{0}` does not begin with a registry host")]
    Registry(String),
    /// What stands after the first slash is not a repository path: a tag, a digest, upper case, an empty component.
    #[error("the scope `{0}` does not end with a repository path")]
    Path(String),
    /// containerd and docker write this repository in another way, so no image would ever be governed by it.
    #[error("the scope `{scope}` never matches: the full name of that repository is `{full}`")]
    NotFull {
        /// The scope.
        scope: String,
        /// The name that images of the repository have.
        full: Repository,
    },
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(s: &str) -> Result<Self, InvalidScope> {
        if s == "*" {
            return Ok(Self::Any);
        }
        if s.contains('*') {
            return Err(InvalidScope::Pattern(excerpt(s)));
        }
        if s.contains("://") {
            return Err(InvalidScope::Scheme(excerpt(s)));
        }
        let (registry, _) = s.split_once('/').ok_or_else(|| InvalidScope::NoRepository(excerpt(s)))?;
        if !is_registry(registry) {
            return Err(InvalidScope::Registry(excerpt(s)));
        }
        match s.parse::<Repository>() {
            Ok(full) if full.to_string() == s => Ok(Self::Repository(s.to_owned())),
            Ok(full) => Err(InvalidScope::NotFull { scope: excerpt(s), full }),
            Err(_) => Err(InvalidScope::Path(excerpt(s))),
        }
    }
}

/// Labels of letters, digits and inner hyphens, joined by dots, and an optional port. The specification's grammar has
/// no place for an IPv6 address.
fn is_registry(registry: &str) -> bool {
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        let is_edge = |c: char| c.is_ascii_alphanumeric();
        label.starts_with(is_edge) && label.ends_with(is_edge) && label.chars().all(|c| is_edge(c) || c == '-')
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::Repository(repository) => repository,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_the_full_name_that_images_have() {
        assert!("docker.io/library/alpine".parse::<Scope>().is_ok());
        for (short, full) in [
            ("docker.io/alpine", "docker.io/library/alpine"),
            ("index.docker.io/team/app", "docker.io/team/app"),
            ("registry/app", "docker.io/registry/app"),
        ] {
            let error = short.parse::<Scope>().unwrap_err();
            assert!(
                matches!(&error, InvalidScope::NotFull { full: named, .. } if named.to_string() == full),
                "{error}"
            );
        }
    }

    #[test]
    fn a_scope_is_a_repository_with_its_registry_or_a_lone_star() {
        for text in [
            "*",
            "registry.acme-rockets.example/software/net-monitor",
            "localhost:5000/net-monitor",
            "Registry.Example/a",
            "127.0.0.1:5000/a.b/c_d/e__f/g---h",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_scope_that_no_repository_can_equal_is_refused() {
        type Make = fn(String) -> InvalidScope;
        let cases: [(&str, Make); 20] = [
            ("", InvalidScope::NoRepository),
            ("registry.example", InvalidScope::NoRepository),
            ("https://registry.example/a", InvalidScope::Scheme),
            ("registry.example/*", InvalidScope::Pattern),
            ("*.example/a", InvalidScope::Pattern),
            ("**", InvalidScope::Pattern),
            ("/a", InvalidScope::Registry),
            ("-registry.example/a", InvalidScope::Registry),
            ("registry..example/a", InvalidScope::Registry),
            ("registry_1.example/a", InvalidScope::Registry),
            ("registry.example:/a", InvalidScope::Registry),
            ("registry.example:http/a", InvalidScope::Registry),
            ("[::1]:5000/a", InvalidScope::Registry),
            ("registry.example/", InvalidScope::Path),
            ("registry.example/a/", InvalidScope::Path),
            ("registry.example/a:v1", InvalidScope::Path),
            ("registry.example/a@sha256:00", InvalidScope::Path),
            ("registry.example/App", InvalidScope::Path),
            ("registry.example/a..b", InvalidScope::Path),
            (" registry.example/a", InvalidScope::Registry),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Scope>().unwrap_err(), expected(text.to_owned()), "{text}");
        }
    }
}
