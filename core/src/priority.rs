//! The canonical peer priority (BEP 40): a number for two addresses that both sides arrive at alike. And our own addresses, without which there is none.
//!
//! Owns the formula; who is dialled because of it is `candidates`' matter.

use crate::tracker::reach::reach_of;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// The bytes of an address that always count whole; of those behind, every other bit does.
const WHOLE_BYTES_V4: usize = 2;
const WHOLE_BYTES_V6: usize = 6;
const HALF_MASK: u8 = 0x55;
/// Castagnoli's polynomial, its bits reversed.
const CRC32C_POLYNOMIAL: u32 = 0x82f6_3b78;

/// Our own addresses, and the port where we listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// The better known first.
    pub ips: Vec<IpAddr>,
    /// 0 when nothing listens.
    pub port: u16,
}

impl Own {
    /// Whether it is ourselves that is found at `addr`.
    pub(crate) fn is_at(&self, addr: SocketAddr) -> bool {
        addr.port() == self.port && self.ips.contains(&addr.ip())
    }

    /// The priority of a peer, whose side sees us at the address of its own family and reach. 0 when we know none: then all are equal.
    pub(crate) fn priority_of(&self, peer: SocketAddr) -> u32 {
        let reach = reach_of(peer.ip());
        let mut facing = self.ips.iter().filter(|ip| ip.is_ipv4() == peer.is_ipv4() && reach_of(**ip) == reach);
        facing.next().map_or(0, |ip| priority(SocketAddr::new(*ip, self.port), peer))
    }
}

/// BEP 40's number for two addresses, in either order.
pub(crate) fn priority(one: SocketAddr, other: SocketAddr) -> u32 {
    match (one.ip(), other.ip()) {
        (a, b) if a == b => crc32c_sorted(&one.port().to_be_bytes(), &other.port().to_be_bytes()),
        (IpAddr::V4(a), IpAddr::V4(b)) => masked_priority(a.octets(), b.octets(), WHOLE_BYTES_V4),
        (IpAddr::V6(a), IpAddr::V6(b)) => masked_priority(a.octets(), b.octets(), WHOLE_BYTES_V6),
        // No two hosts see each other so.
        _ => 0,
    }
}

/// The mask grows with what the addresses share: the more alike they are, the more of them counts.
fn masked_priority<const N: usize>(mut a: [u8; N], mut b: [u8; N], least: usize) -> u32 {
    let shared = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let whole = if shared < least { least } else { shared + 1 };
    for byte in a.iter_mut().skip(whole).chain(b.iter_mut().skip(whole)) {
        *byte &= HALF_MASK;
    }
    crc32c_sorted(&a, &b)
}

fn crc32c_sorted(a: &[u8], b: &[u8]) -> u32 {
    crc32c(a.min(b).iter().chain(a.max(b)))
}

/// CRC32-C (Castagnoli). Bit by bit: it reads 32 bytes at most.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let divide = |crc: u32| (crc >> 1) ^ (CRC32C_POLYNOMIAL & (crc & 1).wrapping_neg());
    !bytes.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| divide(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn of(one: &str, other: &str) -> u32 {
        priority(one.parse().unwrap(), other.parse().unwrap())
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
        assert_eq!(crc32c([0; 32].iter()), 0x8a91_36aa);
        assert_eq!(crc32c([0xff; 32].iter()), 0x62a8_ab43);
    }

    #[test]
    fn the_examples_of_bep_40_are_reproduced() {
        assert_eq!(of("123.213.32.10:0", "98.76.54.32:0"), 0xec2d_7224);
        assert_eq!(of("123.213.32.10:0", "123.213.32.234:0"), 0x9956_8189);
    }

    #[test]
    fn the_closer_two_addresses_are_the_more_of_them_counts() {
        let differ = |one: &str, other: &str| of("1.2.3.4:1", one) != of("1.2.3.4:1", other);
        assert!(!differ("5.6.0.0:1", "5.6.170.170:1") && differ("5.6.0.0:1", "5.6.1.0:1"), "FF.FF.55.55");
        assert!(!differ("1.2.9.0:1", "1.2.9.170:1") && differ("1.2.9.0:1", "1.2.11.0:1"), "FF.FF.FF.55");
        assert!(differ("1.2.3.0:1", "1.2.3.2:1"), "FF.FF.FF.FF");
        let differ = |one: &str, other: &str| of("[2001:db8:1:2::1]:1", one) != of("[2001:db8:1:2::1]:1", other);
        assert!(!differ("[2001:db8:9:0::1]:1", "[2001:db8:9:aaaa::1]:1"), "/48");
        assert!(differ("[2001:db8:1:100::1]:1", "[2001:db8:1:300::1]:1"), "/48 is shared");
        assert!(!differ("[2001:db8:1:100::1]:1", "[2001:db8:1:1aa::1]:1"), "/48 is shared");
        assert!(differ("[2001:db8:1:0::1]:1", "[2001:db8:1:aa::1]:1"), "/56 is shared");
    }

    #[test]
    fn behind_one_address_the_ports_decide() {
        assert_eq!(of("1.2.3.4:256", "1.2.3.4:1"), crc32c([0, 1, 1, 0].iter()));
    }

    #[test]
    fn a_peer_is_faced_from_the_address_that_it_sees() {
        let ips = vec!["123.213.32.10".parse().unwrap(), "192.168.0.1".parse().unwrap()];
        let own = Own { ips, port: 6881 };
        assert_eq!(own.priority_of("98.76.54.32:6881".parse().unwrap()), 0xec2d_7224);
        assert_eq!(own.priority_of("192.168.0.2:1".parse().unwrap()), of("192.168.0.1:6881", "192.168.0.2:1"));
        assert_eq!(own.priority_of("[2606:4700::1]:1".parse().unwrap()), 0, "no address of that family is known");
        assert!(own.is_at("192.168.0.1:6881".parse().unwrap()) && !own.is_at("192.168.0.1:6882".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn both_sides_arrive_at_the_same_number(one: SocketAddr, other: SocketAddr) {
            prop_assert_eq!(priority(one, other), priority(other, one));
        }
    }
}
