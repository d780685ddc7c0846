//! Lists of addresses that nobody wants to talk to, in the formats in which they are passed around.
//!
//! Owns the two texts (eMule's `.dat` and PeerGuardian's `.p2p`, with bare addresses, ranges and CIDR blocks besides) and a set of ranges that answers in
//! logarithmic time. What becomes of a listed address is not decided here.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str;

/// Longest list in bytes: ten times the largest that is passed around.
pub const MAX_LIST_BYTES: usize = 128 << 20;
/// Most ranges before overlaps are merged: the largest lists have some 800,000. With 8 bytes each (32 for IPv6) it bounds the memory.
pub const MAX_RANGES: usize = 4_000_000;
/// Longest line in bytes. Lines of real lists have some 100; what is longer is no list.
pub const MAX_LINE_BYTES: usize = 4096;
/// eMule's level of access (the second field of a `.dat`) above which a range is let through, as qBittorrent has it.
const MAX_BLOCKED_LEVEL: u32 = 127;
/// What of a bad line stands in its error, in characters.
const SHOWN_CHARS: usize = 60;

/// A set of addresses. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocklist {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Inclusive ranges; in order, and neither overlapping nor touching, once they are tidy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranges<T>(Vec<(T, T)>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Ranges(Vec::new())
    }
}

/// A line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault} ({text:?})")]
pub struct BlocklistError {
    /// Its number, from 1.
    pub line: u32,
    /// What is wrong with it.
    pub fault: BlocklistFault,
    /// How it begins.
    pub text: String,
}

/// What is wrong with a line, or with the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlocklistFault {
    /// Neither format.
    #[error(
        "no range of addresses: expected `1.2.3.0 - 1.2.3.255 , 000 , name`, `name:1.2.3.0-1.2.3.255` or `1.2.3.0/24`"
    )]
    NoRange,
    /// The end comes before the beginning.
    #[error("the range ends before it begins")]
    Backwards,
    /// One end is IPv4, the other IPv6.
    #[error("the range begins in IPv4 and ends in IPv6, or the other way round")]
    Mixed,
    /// More bits than an address has.
    #[error("the number of bits behind `/` is larger than the address")]
    Bits,
    /// eMule's level of access is no number.
    #[error("the level of access is no number")]
    Level,
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("the line is longer than {MAX_LINE_BYTES} bytes")]
    LongLine,
    /// More than [`MAX_RANGES`].
    #[error("the list has more than {MAX_RANGES} ranges")]
    TooMany,
    /// Longer than [`MAX_LIST_BYTES`].
    #[error("the list is longer than {MAX_LIST_BYTES} bytes")]
    TooLong,
}

impl Blocklist {
    /// Reads a list; each line may be of either format. Empty lines, and those that begin with `#` or `//`, say nothing.
    ///
    /// ```
    /// use sameseed_core::blocklist::Blocklist;
    ///
    /// let list = b"001.002.003.004 - 001.002.003.255 , 000 , somebody\nsomebody else:10.0.0.0-10.0.0.9\n2001:db8::/32\n";
    /// let list = Blocklist::parse(list).expect("three good lines");
    /// assert!(list.contains("1.2.3.77".parse().unwrap()) && list.contains("2001:db8::1".parse().unwrap()));
    /// assert!(!list.contains("10.0.0.10".parse().unwrap()));
    ///
    /// let error = Blocklist::parse(b"# a list\n1.2.3.4-1.2.3\n").expect_err("half an address");
    /// assert!(error.to_string().starts_with("line 2: no range of addresses"));
    /// ```
    ///
    /// # Errors
    /// The first line that cannot be understood.
    pub fn parse(text: &[u8]) -> Result<Self, BlocklistError> {
        let mut first = None;
        let list = Blocklist::parse_leniently(text, |error| _ = first.get_or_insert(error));
        first.map_or(Ok(list), Err)
    }

    /// Reads what can be understood of a list, and tells every line that cannot be. After `TooMany` and `TooLong` no more is read.
    pub fn parse_leniently(text: &[u8], mut on_error: impl FnMut(BlocklistError)) -> Self {
        let mut list = Blocklist::default();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        if text.len() > MAX_LIST_BYTES {
            on_error(BlocklistError { line: 0, fault: BlocklistFault::TooLong, text: String::new() });
            return list;
        }
        for (line, bytes) in (1u32..).zip(text.split(|byte| *byte == b'\n')) {
            let bytes = bytes.trim_ascii();
            let fault = match read_line(bytes) {
                Ok(None) => continue,
                Ok(Some(_)) if list.v4.0.len() + list.v6.0.len() >= MAX_RANGES => BlocklistFault::TooMany,
                Ok(Some((first, last))) => match list.push(first, last) {
                    Ok(()) => continue,
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            let shown = String::from_utf8_lossy(bytes.get(..MAX_LINE_BYTES).unwrap_or(bytes));
            on_error(BlocklistError { line, fault, text: shown.chars().take(SHOWN_CHARS).collect() });
            if fault == BlocklistFault::TooMany {
                break;
            }
        }
        list.v4.tidy(|end| end.checked_add(1));
        list.v6.tidy(|end| end.checked_add(1));
        list
    }

    /// A list of these ranges, the ends included.
    ///
    /// # Errors
    /// A range that ends before it begins, or whose ends are of two families; too many.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> Result<Self, BlocklistFault> {
        let mut list = Blocklist::default();
        for (number, (first, last)) in ranges.into_iter().enumerate() {
            if number >= MAX_RANGES {
                return Err(BlocklistFault::TooMany);
            }
            list.push(first, last)?;
        }
        list.v4.tidy(|end| end.checked_add(1));
        list.v6.tidy(|end| end.checked_add(1));
        Ok(list)
    }

    /// Whether an address is listed. An IPv4 address in IPv6's clothes (`::ffff:1.2.3.4`) is the IPv4 address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.contains(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.contains(ip.to_bits()),
        }
    }

    /// How many ranges there are, after those that overlap or touch were merged.
    pub fn len(&self) -> usize {
        self.v4.0.len() + self.v6.0.len()
    }

    /// Whether no address is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, first: IpAddr, last: IpAddr) -> Result<(), BlocklistFault> {
        match (first.to_canonical(), last.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => self.v4.0.push((first.to_bits(), last.to_bits())),
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => self.v6.0.push((first.to_bits(), last.to_bits())),
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => return Err(BlocklistFault::Backwards),
            _ => return Err(BlocklistFault::Mixed),
        }
        Ok(())
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// Sorts, and merges what overlaps or touches.
    fn tidy(&mut self, next: impl Fn(T) -> Option<T>) {
        self.0.sort_unstable();
        self.0.dedup_by(|range, before| {
            let touches = next(before.1).is_none_or(|next| range.0 <= next);
            if touches {
                before.1 = before.1.max(range.1);
            }
            touches
        });
        self.0.shrink_to_fit();
    }

    fn contains(&self, address: T) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        self.0[..after].last().is_some_and(|(_, last)| address <= *last)
    }
}

/// The range of one line; `None` when it says nothing, or lets a range through.
fn read_line(line: &[u8]) -> Result<Option<(IpAddr, IpAddr)>, BlocklistFault> {
    if line.is_empty() || line.starts_with(b"#") || line.starts_with(b"//") {
        return Ok(None);
    }
    if line.len() > MAX_LINE_BYTES {
        return Err(BlocklistFault::LongLine);
    }
    // `range , level , name`, or a range alone.
    let mut fields = line.splitn(3, |byte| *byte == b',');
    if let Some(range) = fields.next().and_then(read_range) {
        let level = match fields.next().map(<[u8]>::trim_ascii) {
            None => 0,
            Some(level) => number(level).ok_or(BlocklistFault::Level)?,
        };
        return Ok(Some(range).filter(|_| level <= MAX_BLOCKED_LEVEL));
    }
    if let Some(block) = line.split(|byte| *byte == b',').next().and_then(read_block) {
        return block.map(Some);
    }
    // `name:range`. Names hold colons, commas and dashes as they like. The range is one of IPv4: of IPv6 nobody could tell where the name ends.
    let colon = line.iter().rposition(|byte| *byte == b':');
    let range = colon.and_then(|at| line.get(at + 1..)).and_then(read_range);
    range.map(Some).ok_or(BlocklistFault::NoRange)
}

/// `first-last`.
fn read_range(text: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let dash = text.iter().position(|byte| *byte == b'-')?;
    Some((read_address(text.get(..dash)?)?, read_address(text.get(dash + 1..)?)?))
}

/// `address/bits`, or an address alone.
fn read_block(text: &[u8]) -> Option<Result<(IpAddr, IpAddr), BlocklistFault>> {
    let Some(slash) = text.iter().position(|byte| *byte == b'/') else {
        return read_address(text).map(|ip| Ok((ip, ip)));
    };
    let ip = read_address(text.get(..slash)?)?;
    let bits = number(text.get(slash + 1..)?.trim_ascii())?;
    Some(match ip {
        IpAddr::V4(ip) if bits <= 32 => {
            let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
            Ok((Ipv4Addr::from_bits(ip.to_bits() & !rest).into(), Ipv4Addr::from_bits(ip.to_bits() | rest).into()))
        }
        IpAddr::V6(ip) if bits <= 128 => {
            let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
            Ok((Ipv6Addr::from_bits(ip.to_bits() & !rest).into(), Ipv6Addr::from_bits(ip.to_bits() | rest).into()))
        }
        _ => Err(BlocklistFault::Bits),
    })
}

/// An address. Numbers of IPv4 may have zeros in front, and are decimal all the same: so these lists are written.
fn read_address(text: &[u8]) -> Option<IpAddr> {
    let text = text.trim_ascii();
    if text.contains(&b':') {
        return str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut numbers = text.split(|byte| *byte == b'.').map(|part| number(part).and_then(|n| u8::try_from(n).ok()));
    let mut next = || numbers.next().flatten();
    let ip = Ipv4Addr::new(next()?, next()?, next()?, next()?);
    numbers.next().is_none().then_some(ip.into())
}

/// One to three digits.
fn number(text: &[u8]) -> Option<u32> {
    let plain = (1..=3).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    plain.then(|| text.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn one(line: &str) -> Result<Option<(String, String)>, BlocklistFault> {
        Ok(read_line(line.trim().as_bytes())?.map(|(first, last)| (first.to_string(), last.to_string())))
    }

    fn is(first: &str, last: &str) -> Result<Option<(String, String)>, BlocklistFault> {
        Ok(Some((first.into(), last.into())))
    }

    #[test]
    fn lines_of_both_formats_and_bare_ones_are_read_however_odd() {
        for (line, first, last) in [
            ("001.002.003.004 - 001.002.003.255 , 000 , name", "1.2.3.4", "1.2.3.255"),
            ("1.2.3.4-1.2.3.255,127,a, b - c: d", "1.2.3.4", "1.2.3.255"),
            ("008.009.010.011 - 099.099.099.099 , 100 ,", "8.9.10.11", "99.99.99.99"),
            ("1.2.3.4 - 1.2.3.5\r", "1.2.3.4", "1.2.3.5"),
            ("name:1.2.3.4-1.2.3.255", "1.2.3.4", "1.2.3.255"),
            ("a - b: c, d:1:2:001.2.3.4 - 1.2.3.255", "1.2.3.4", "1.2.3.255"),
            (":1.2.3.4-1.2.3.4", "1.2.3.4", "1.2.3.4"),
            ("2001:db8:: - 2001:db8::ff , 0 , six", "2001:db8::", "2001:db8::ff"),
            ("10.1.2.3/8", "10.0.0.0", "10.255.255.255"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.4"),
            ("1.2.3.4/0", "0.0.0.0", "255.255.255.255"),
            ("2001:db8::1/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("1.2.3.4", "1.2.3.4", "1.2.3.4"),
        ] {
            assert_eq!(one(line), is(first, last), "{line}");
        }
        for silent in ["", "   ", "# 1.2.3.4", "// 1.2.3.4", "1.2.3.4 - 1.2.3.5 , 128 , let through"] {
            assert_eq!(one(silent), Ok(None), "{silent}");
        }
    }

    #[test]
    fn what_is_no_range_is_told_with_its_line_and_the_rest_is_read() {
        for (line, fault) in [
            ("nonsense", BlocklistFault::NoRange),
            ("1.2.3.4-1.2.3", BlocklistFault::NoRange),
            ("1.2.3.256", BlocklistFault::NoRange),
            ("1.2.3.4.5", BlocklistFault::NoRange),
            ("1.2.3.4-", BlocklistFault::NoRange),
            ("0001.2.3.4", BlocklistFault::NoRange),
            ("+1.2.3.4", BlocklistFault::NoRange),
            ("name:2001:db8::-2001:db8::ff", BlocklistFault::NoRange),
            ("1.2.3.4/33", BlocklistFault::Bits),
            ("::/129", BlocklistFault::Bits),
            ("1.2.3.4/", BlocklistFault::NoRange),
            ("1.2.3.4 - 1.2.3.5 , many , x", BlocklistFault::Level),
        ] {
            assert_eq!(one(line), Err(fault), "{line}");
        }
        let text = format!(
            "\u{feff}1.0.0.0/8\r\nbad\r\n5.0.0.2-5.0.0.1\n::1-1.2.3.4\n{}\nname \u{e9}:3.0.0.0-3.0.0.1",
            "x".repeat(5000)
        );
        let mut errors = Vec::new();
        let list = Blocklist::parse_leniently(text.as_bytes(), |error| errors.push((error.line, error.fault)));
        let expected = [
            (2, BlocklistFault::NoRange),
            (3, BlocklistFault::Backwards),
            (4, BlocklistFault::Mixed),
            (5, BlocklistFault::LongLine),
        ];
        assert_eq!(errors, expected);
        assert!(list.len() == 2 && list.contains(ip("1.2.3.4")) && list.contains(ip("3.0.0.1")));
        let error = Blocklist::parse(text.as_bytes()).unwrap_err();
        let range = "expected `1.2.3.0 - 1.2.3.255 , 000 , name`, `name:1.2.3.0-1.2.3.255` or `1.2.3.0/24`";
        assert_eq!(error.to_string(), format!("line 2: no range of addresses: {range} (\"bad\")"));
        assert!(Blocklist::parse(b"a:\xff\xfe\n").is_err(), "no text at all");
        assert_eq!(Blocklist::parse(b"caf\xe9 (Latin-1):1.2.3.4-1.2.3.5\n").unwrap().len(), 1);
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_one_and_ipv4_is_known_in_any_clothes() {
        let list = Blocklist::parse(
            b"1.0.0.0-1.0.0.9\n1.0.0.10-1.0.0.20\n1.0.0.5-1.0.0.7\n1.0.0.22\n255.255.255.255\n0.0.0.0\n",
        )
        .unwrap();
        assert_eq!(list.v4.0.len(), 4);
        for (address, listed) in
            [("1.0.0.0", true), ("1.0.0.20", true), ("1.0.0.21", false), ("1.0.0.22", true), ("0.255.255.255", false)]
        {
            assert_eq!(list.contains(ip(address)), listed, "{address}");
        }
        assert!(list.contains(ip("::ffff:1.0.0.3")) && !list.contains(ip("::1.0.0.3")));
        assert!(list.contains(ip("255.255.255.255")) && list.contains(ip("0.0.0.0")));
        let mapped = Blocklist::from_ranges([(ip("::ffff:9.0.0.0"), ip("::ffff:9.0.0.1"))]).unwrap();
        assert!(mapped.contains(ip("9.0.0.1")));
        assert_eq!(Blocklist::from_ranges([(ip("2.0.0.0"), ip("1.0.0.0"))]), Err(BlocklistFault::Backwards));
        assert!(Blocklist::default().is_empty() && !Blocklist::default().contains(ip("1.2.3.4")));
    }

    proptest! {
        #[test]
        fn a_list_contains_what_one_of_its_ranges_contains(ranges in proptest::collection::vec((0u8..60, 0u8..8), 0..12)) {
            let ends = |(first, len): (u8, u8)| (Ipv4Addr::new(9, 9, 9, first), Ipv4Addr::new(9, 9, 9, first + len));
            let list = Blocklist::from_ranges(ranges.iter().copied().map(ends).map(|(a, b)| (a.into(), b.into()))).unwrap();
            for n in 0..=255 {
                let address = Ipv4Addr::new(9, 9, 9, n);
                let listed = ranges.iter().copied().map(ends).any(|(first, last)| first <= address && address <= last);
                prop_assert_eq!(list.contains(address.into()), listed);
            }
            let gaps = list.v4.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
            prop_assert!(gaps, "ranges are apart: {:?}", list.v4.0);
        }

        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(proptest::sample::select(vec![b'1', b'.', b'-', b':', b',', b'/', b'a', b' ', b'\n', 255]), 0..80)) {
            Blocklist::parse_leniently(&text, |_| {});
        }
    }
}
