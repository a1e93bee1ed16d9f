//! Which containerd this is: its versions differ in which gates there are, and in how they are told of them.

use std::fmt;

/// The version of a containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second one.
    pub minor: u32,
}

impl Version {
    /// The oldest that is known to have what the gates need.
    pub const OLDEST: Self = Self { major: 1, minor: 7 };

    /// This version.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Out of what `containerd --version` prints: a name, a package and the version, such as
    /// `containerd github.com/containerd/containerd/v2 2.1.9+unknown` or `… 1.7.24~ds1`.
    pub fn of(printed: &str) -> Option<Self> {
        let parts = |word: &str| {
            let mut numbers = word.strip_prefix('v').unwrap_or(word).split('.');
            Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
        };
        printed.split_whitespace().skip(1).find_map(parts)
    }

    /// Whether there are image verifiers, a transfer service that can be told which differ to ask, and drop-ins that are
    /// merged table by table.
    pub fn is_second(self) -> bool {
        self.major >= 2
    }

    /// The newest version of configuration that it reads as it is written.
    pub fn of_configuration(self) -> &'static str {
        if self.is_second() { "3" } else { "2" }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_distributions_print() {
        for (printed, expected) in [
            ("containerd github.com/containerd/containerd/v2 2.1.9+unknown \n", Some((2, 1))),
            ("containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1\n", Some((1, 7))),
            ("containerd containerd.io v2.2.0-rc.1 1234abcd\n", Some((2, 2))),
            ("containerd\n", None),
            ("", None),
        ] {
            assert_eq!(Version::of(printed), expected.map(|(major, minor)| Version { major, minor }), "{printed}");
        }
        assert!(Version::new(1, 6) < Version::OLDEST && Version::new(1, 7) >= Version::OLDEST);
    }
}
