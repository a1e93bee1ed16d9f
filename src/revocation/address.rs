//! Which addresses a certificate may send this machine to.
//!
//! A trusted issuer writes the addresses, but a signer may choose the issuer, and a name may resolve to anything. So no
//! certificate leads into the networks behind this machine unless the operator says that its issuers live there; and none
//! ever to the link, where clouds answer with credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use crate::address::embedded_ipv4;

/// Whose an address is.
/// The later ones are gone to less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Anybody's.
    Public,
    /// This machine's, or its site's.
    Private,
    /// Never a server: the link, multicast, reserved.
    Never,
}

impl Reach {
    /// Whether it is gone to.
    pub(super) fn is_allowed(self, allow_private: bool) -> bool {
        match self {
            Self::Public => true,
            Self::Private => allow_private,
            Self::Never => false,
        }
    }
}

/// The reach of a host that is written as an address, or as a name that stands for this machine by definition (RFC 6761,
/// section 6.3); none where only its resolution will tell.
pub(super) fn reach_of_host(url: &Url) -> Option<Reach> {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.');
    match literal.parse::<IpAddr>() {
        Ok(address) => Some(reach_of(address)),
        Err(_) if name == "localhost" || name.ends_with(".localhost") => Some(Reach::Private),
        Err(_) => None,
    }
}

/// The reach of an address.
pub(super) fn reach_of(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_of_v4(v4),
        IpAddr::V6(v6) => embedded_ipv4(v6).into_iter().map(reach_of_v4).max().unwrap_or_else(|| reach_of_v6(v6)),
    }
}

/// The registries of special addresses (RFC 6890), as far as packets to them could arrive anywhere.
fn reach_of_v4(address: Ipv4Addr) -> Reach {
    let [first, second, third, _] = address.octets();
    match (first, second, third) {
        // "This network", multicast and reserved, the link.
        (0 | 224.., ..) | (169, 254, _) => Reach::Never,
        // Loopback and RFC 1918, carriers' networks (RFC 6598), protocol assignments, benchmarks.
        (127 | 10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) => {
            Reach::Private
        }
        _ => Reach::Public,
    }
}

fn reach_of_v6(address: Ipv6Addr) -> Reach {
    // Amazon's metadata service over IPv6 has a fixed unique local address.
    const CLOUD_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let is_never = address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local();
    // Unique local, and the site-local addresses that came before them.
    let [first, ..] = address.segments();
    let is_private = address.is_loopback() || address.is_unique_local() || first & 0xffc0 == 0xfec0;
    match () {
        () if is_never || address == CLOUD_METADATA => Reach::Never,
        () if is_private => Reach::Private,
        () => Reach::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(address: &str) -> Reach {
        reach_of(address.parse().unwrap())
    }

    #[test]
    fn what_is_behind_this_machine_is_private() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1:7f00:0:100::",
            "2002:7f00:1::",
        ] {
            assert_eq!(reach(address), Reach::Private, "{address}");
        }
    }

    #[test]
    fn the_link_and_what_is_no_host_are_never_gone_to() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2002:a9fe:a9fe::",
        ] {
            assert_eq!(reach(address), Reach::Never, "{address}");
            assert!(!reach(address).is_allowed(true), "{address}");
        }
    }

    #[test]
    fn everything_else_is_public() {
        for address in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.167.0.1",
            "2606:4700::1",
            "2002:808:808::",
            "64:ff9b:1::8.8.8.8",
        ] {
            assert_eq!(reach(address), Reach::Public, "{address}");
        }
    }

    #[test]
    fn every_spelling_of_a_host_is_understood() {
        let host = |url: &str| reach_of_host(&Url::parse(url).unwrap());
        for url in
            ["http://127.1/", "http://0x7f000001/", "http://[::1]:80/", "http://LOCALHOST/", "http://a.localhost./"]
        {
            assert_eq!(host(url), Some(Reach::Private), "{url}");
        }
        assert_eq!(host("http://169.254.1.1/"), Some(Reach::Never));
        assert_eq!(host("http://8.8.8.8/"), Some(Reach::Public));
        assert_eq!(host("http://ocsp.example/"), None);
    }
}
