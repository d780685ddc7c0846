//! Ports on loopback that nobody uses.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which Linux takes ports for outgoing connections, so that none of those can come between the look and the use.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port that is free for TCP and for UDP. No port is given twice by one process.
///
/// # Panics
/// When every port is taken.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side start far from each other.
    let start = std::process::id().wrapping_mul(997);
    (0..COUNT)
        .find_map(|_| {
            let offset = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let port = u16::try_from(FIRST + offset).ok()?;
            let all = (Ipv4Addr::UNSPECIFIED, port);
            (TcpListener::bind(all).is_ok() && UdpSocket::bind(all).is_ok()).then_some(port)
        })
        .expect("one of 12,000 ports is free")
}
