//! The values that options take: ports, addresses, URLs, speeds and lengths as people write them.
//!
//! Each refuses with a sentence that shows a right one.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Ports to try, first to last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// Bytes per second as aria2 reads them.
pub(crate) fn speed(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()));
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| String::from("a speed is a number, perhaps with K or M: 500K"))
}

/// What was sent to what was received, in thousandths.
pub(crate) fn ratio(text: &str) -> Result<u32, String> {
    thousandths(text).ok_or_else(|| String::from("a ratio is a number, perhaps with up to three decimals: 1.5"))
}

/// Minutes, as aria2 reads them.
pub(crate) fn minutes(text: &str) -> Result<Duration, String> {
    let milli = thousandths(text).ok_or_else(|| String::from("a time is a number of minutes: 90, or 0.5"))?;
    Ok(Duration::from_millis(60 * u64::from(milli)))
}

fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 3 {
        return None;
    }
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(part)
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse::<u16>().map_err(|_| String::from("a port is a number from 0 to 65535"));
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        match first <= last && (first > 0 || last == 0) {
            true => Ok(PortRange { first, last }),
            false => Err(String::from("a range goes from a lower port, not 0, to a higher one")),
        }
    }
}

/// Where a peer listens.
pub(crate) fn peer(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.port() > 0 => Ok(addr),
        _ => Err(String::from("a peer is an address and a port: 192.168.1.7:6881 or [fe80::1]:6881")),
    }
}

/// A tracker that we can speak to.
pub(crate) fn tracker_url(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let known =
        ["http://", "https://", "udp://"].iter().any(|scheme| lower.len() > scheme.len() && lower.starts_with(scheme));
    match known && !text.chars().any(|c| c.is_control() || c == ' ') {
        true => Ok(text.to_owned()),
        false => Err(String::from("a tracker's URL begins with http://, https:// or udp://")),
    }
}

/// Bytes of a piece.
pub(crate) fn piece_length(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.trim_end_matches("iB").as_bytes() {
        [digits @ .., b'k' | b'K'] => (digits, 1 << 10),
        [digits @ .., b'm' | b'M'] => (digits, 1 << 20),
        digits => (digits, 1),
    };
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse::<u32>().ok())
        .and_then(|n| n.checked_mul(unit))
        .filter(|len| len.is_power_of_two() && (MIN_PIECE_LEN..=MAX_PIECE_LEN).contains(len))
        .ok_or_else(|| String::from("a piece length is a power of two from 16K to 128M"))
}

/// Below one block a piece would only cost hashes.
const MIN_PIECE_LEN: u32 = 16 << 10;
/// Other clients refuse longer ones.
const MAX_PIECE_LEN: u32 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_ranges_are_read() {
        assert_eq!(piece_length("16384"), Ok(16384));
        assert_eq!(piece_length("256K"), Ok(256 << 10));
        assert_eq!(piece_length("4MiB"), Ok(4 << 20));
        assert_eq!([speed("0"), speed("5000"), speed("5K"), speed("2m")], [Ok(0), Ok(5000), Ok(5 << 10), Ok(2 << 20)]);
        assert_eq!([ratio("0"), ratio("2"), ratio("1.5"), ratio("0.125")], [Ok(0), Ok(2000), Ok(1500), Ok(125)]);
        assert_eq!([minutes("90"), minutes("0.5")].map(|time| time.unwrap().as_secs()), [5400, 30]);
        for bad in ["", ".5", "1.", "-1", "+1", "1e3", "inf", "1,5", "1.2345", "4294968", "99999999999", "1.+1"] {
            assert!(ratio(bad).is_err() && minutes(bad).is_err(), "{bad}");
        }
        assert_eq!("0".parse(), Ok(PortRange { first: 0, last: 0 }));
        assert_eq!("6881-6889".parse(), Ok(PortRange { first: 6881, last: 6889 }));
    }
}
