//! Which addresses a tracker's URL may lead to.
//!
//! A torrent from a stranger must not make us knock at the services of this machine or of the home network (server-side request forgery).
//! Public names lead to public addresses only; a tracker nearby is fine when the URL says so openly and asks for nothing but an announce or a scrape.

use super::url::{Host, Scheme, Url};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The only paths that an HTTP tracker on this machine or network may have: no other service answers there.
const LOCAL_PATHS: [&str; 2] = ["/announce", "/scrape"];
/// Suffixes that mean nothing in the world's DNS (RFC 6761, 6762, 8375, and habit).
const LOCAL_SUFFIXES: [&str; 5] = [".localhost", ".local", ".home.arpa", ".internal", ".lan"];

/// How far an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Somewhere in the world.
    Global,
    /// This machine or its network.
    Local,
    /// No single host: unspecified, multicast, broadcast.
    Nowhere,
}

/// Sorts an address.
pub fn reach_of(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) => reach_of_v4(ip),
        IpAddr::V6(ip) => reach_of_v6(ip),
    }
}

fn reach_of_v4(ip: Ipv4Addr) -> Reach {
    let [a, b, ..] = ip.octets();
    if a == 0 || ip.is_multicast() || ip.is_broadcast() {
        Reach::Nowhere
    } else if ip.is_loopback() || ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64) {
        // 100.64.0.0/10 is shared by providers and overlay networks (RFC 6598).
        Reach::Local
    } else {
        Reach::Global
    }
}

fn reach_of_v6(ip: Ipv6Addr) -> Reach {
    let [first, second, .., high, low] = ip.segments();
    if ip.is_unspecified() || ip.is_multicast() {
        Reach::Nowhere
    } else if ip.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80 {
        // fe80::/10 is one link, fec0::/10 the old site-local range.
        Reach::Local
    } else if first == 0x64 && second == 0xff9b {
        // NAT64 leads to the IPv4 address that it carries (RFC 6052).
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        reach_of_v4(Ipv4Addr::new(a, b, c, d))
    } else {
        Reach::Global
    }
}

/// Whether `url` may lead to `ip`. `from_global` says that a redirect from a host in the world led here.
pub fn may_reach(url: &Url, ip: IpAddr, from_global: bool) -> bool {
    match reach_of(ip) {
        Reach::Global => true,
        Reach::Nowhere => false,
        // A UDP tracker's packets have one fixed form: the path does not matter there.
        Reach::Local => {
            !from_global && names_local(&url.host) && (url.scheme == Scheme::Udp || LOCAL_PATHS.contains(&url.path()))
        }
    }
}

/// Whether the host openly means something nearby: an address, or a name that the world's DNS does not know.
fn names_local(host: &Host) -> bool {
    match host {
        Host::Ip(_) => true,
        Host::Name(name) => !name.contains('.') || LOCAL_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(url: &str, ip: &str, from_global: bool) -> bool {
        may_reach(&Url::parse(url).unwrap(), ip.parse().unwrap(), from_global)
    }

    #[test]
    fn addresses_are_sorted_by_how_far_they_lie() {
        for ip in
            ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1"]
        {
            assert_eq!(reach_of(ip.parse().unwrap()), Reach::Local, "{ip}");
        }
        for ip in ["fe80::1", "fec0::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1"] {
            assert_eq!(reach_of(ip.parse().unwrap()), Reach::Local, "{ip}");
        }
        for ip in ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "ff02::1"] {
            assert_eq!(reach_of(ip.parse().unwrap()), Reach::Nowhere, "{ip}");
        }
        for ip in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1", "64:ff9b::101:101"] {
            assert_eq!(reach_of(ip.parse().unwrap()), Reach::Global, "{ip}");
        }
    }

    #[test]
    fn a_tracker_nearby_is_reached_by_its_announce_path_only() {
        assert!(may("http://127.0.0.1:6969/announce", "127.0.0.1", false));
        assert!(may("http://127.0.0.1:6969/announce?key=1", "127.0.0.1", false));
        assert!(may("http://localhost/announce", "::1", false));
        assert!(may("http://nas.local/announce", "192.168.1.2", false));
        assert!(may("udp://127.0.0.1:6969", "127.0.0.1", false));
        assert!(may("http://127.0.0.1:6969/scrape", "127.0.0.1", false));
        assert!(!may("http://127.0.0.1:631/admin", "127.0.0.1", false));
        assert!(!may("http://127.0.0.1/announce/../admin", "127.0.0.1", false));
    }

    #[test]
    fn a_public_name_never_leads_home() {
        assert!(may("http://tracker.example.com/announce", "1.1.1.1", false));
        assert!(!may("http://tracker.example.com/announce", "127.0.0.1", false));
        assert!(!may("udp://tracker.example.com:80/announce", "10.0.0.1", false));
    }

    #[test]
    fn a_redirect_from_the_world_never_leads_home() {
        assert!(may("http://other.example.com/x", "1.1.1.1", true));
        assert!(!may("http://127.0.0.1/announce", "127.0.0.1", true));
        assert!(!may("http://localhost/announce", "127.0.0.1", true));
    }
}
