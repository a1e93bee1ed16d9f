//! Which IPv4 address an IPv6 address stands for.
//!
//! Whoever refuses to go to an address of this machine or its link must refuse it in every spelling that a translator or a
//! tunnel would unpack on the way.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The prefix that every translator knows (RFC 6052, section 2.1), of 96 bits.
const WELL_KNOWN: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];
/// The prefix of translators inside of a site (RFC 8215), of 48 bits.
const LOCAL_USE: [u8; 6] = [0, 0x64, 0xff, 0x9b, 0, 1];
/// The prefix of tunnels (RFC 3056), of 16 bits.
const TUNNEL: [u8; 2] = [0x20, 0x02];
/// Where the four octets stand behind a prefix of 48, 56, 64 and 96 bits (RFC 6052, section 2.2).
const PLACES: [[usize; 4]; 4] = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], LAST];
const LAST: [usize; 4] = [12, 13, 14, 15];

/// The IPv4 addresses to which packets may go that are sent to this address: mapped, translated or tunnelled. None where it
/// stands for itself alone; more than one where only the site's translator knows how long its prefix is.
pub(crate) fn embedded_ipv4(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let octets = address.octets();
    let at = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| octets.get(place).copied().unwrap_or_default()));
    if octets.starts_with(&WELL_KNOWN) {
        vec![at(LAST)]
    } else if octets.starts_with(&LOCAL_USE) {
        let readings = PLACES.map(at);
        // A reading of what is nothing but padding in the others: "this network" (RFC 1122), where no translator sends.
        let meant: Vec<Ipv4Addr> = readings.into_iter().filter(|read| read.octets().first() != Some(&0)).collect();
        if meant.is_empty() { vec![Ipv4Addr::UNSPECIFIED] } else { meant }
    } else if octets.starts_with(&TUNNEL) {
        vec![at([2, 3, 4, 5])]
    } else {
        address.to_ipv4_mapped().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_carrying_an_ipv4_address_is_unpacked() {
        for address in [
            "::ffff:192.0.2.33",
            "64:ff9b::192.0.2.33",
            "2002:c000:221::",
            "2002:c000:221:5::1",
            // RFC 6052, section 2.4, with the prefix of RFC 8215: 48, 56, 64 and 96 bits.
            "64:ff9b:1:c000:2:2100::",
            "64:ff9b:1:c0:0:221::",
            "64:ff9b:1:0:c0:2:2100::",
            "64:ff9b:1::192.0.2.33",
            "64:ff9b:1:aa:bb::192.0.2.33",
        ] {
            let found = embedded_ipv4(address.parse().unwrap());
            assert!(found.contains(&Ipv4Addr::new(192, 0, 2, 33)), "{address}: {found:?}");
        }
    }

    #[test]
    fn other_addresses_stand_for_themselves() {
        for address in ["::1", "2001:db8::192.0.2.33", "64:ff9c::192.0.2.33", "64:ff9b:2::192.0.2.33", "2003::1"] {
            assert!(embedded_ipv4(address.parse().unwrap()).is_empty(), "{address}");
        }
    }

    #[test]
    fn what_a_reading_takes_from_padding_does_not_count() {
        assert_eq!(embedded_ipv4("64:ff9b:1::8.8.8.8".parse().unwrap()), [Ipv4Addr::new(8, 8, 8, 8)]);
        assert_eq!(embedded_ipv4("64:ff9b:1::".parse().unwrap()), [Ipv4Addr::UNSPECIFIED]);
    }
}
