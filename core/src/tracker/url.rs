//! Tracker URLs: parsing, resolving a redirect's `Location`, and nothing else.
//!
//! Small on purpose. It owns what a URL may look like to be used at all; where it may lead is `reach`'s matter. What it gives is fit for a
//! request line: printable ASCII, percent-encoded where the torrent had anything else.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A longer URL is refused: passkeys and query fit many times, and 200 of them stay small.
pub const MAX_URL_BYTES: usize = 2048;
/// DNS names cannot be longer (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
/// Nor can one part of them.
const MAX_LABEL_BYTES: usize = 63;

/// How a tracker is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 over TCP.
    Http,
    /// The same over TLS.
    Https,
    /// BEP 15.
    Udp,
}

/// Where a URL points to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to be resolved, in lower case.
    Name(String),
    /// An address, written as such.
    Ip(IpAddr),
}

/// A tracker's URL, ready for use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// How to speak.
    pub scheme: Scheme,
    /// Where to.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
    /// Path and query, printable ASCII; begins with `/`.
    pub target: String,
}

/// Why a URL cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UrlError {
    /// Longer than [`MAX_URL_BYTES`].
    TooLong,
    /// Control characters have no place in a URL, and could smuggle a header into the request.
    Control,
    /// Neither `http`, `https` nor `udp`.
    Scheme,
    /// `user:password@`. Not supported: an announce that silently leaves it out would only be refused later.
    UserInfo,
    /// No host, or one that is neither an address nor a name of letters, digits, `-`, `_` and dots. International names must be given in
    /// their `xn--` form.
    Host,
    /// A port that is not a number from 1 to 65,535.
    Port,
    /// UDP has no default port.
    NoPort,
}

impl UrlError {
    /// The reason in a few words, for people.
    pub const fn reason(self) -> &'static str {
        match self {
            UrlError::TooLong => "it is too long",
            UrlError::Control => "it contains control characters",
            UrlError::Scheme => "its scheme is not http, https or udp",
            UrlError::UserInfo => "it contains a user name",
            UrlError::Host => "its host is not valid",
            UrlError::Port => "its port is not valid",
            UrlError::NoPort => "it has no port, and UDP has no default one",
        }
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for UrlError {}

impl Url {
    /// Reads an absolute URL. Spaces around it are dropped, as is a fragment; an existing query stays (private trackers put passkeys there).
    ///
    /// # Errors
    /// [`UrlError`] names what is wrong with it.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let text = text.trim_matches(' ');
        check_text(text)?;
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.eq_ignore_ascii_case("udp") {
            Scheme::Udp
        } else {
            return Err(UrlError::Scheme);
        };
        Url::parse_after_scheme(scheme, rest)
    }

    /// Resolves a `Location` header against this URL (RFC 3986, section 5).
    ///
    /// # Errors
    /// [`UrlError`] when the result cannot be used.
    pub fn join(&self, location: &str) -> Result<Url, UrlError> {
        let location = location.trim_matches(' ');
        check_text(location)?;
        if has_scheme(location) {
            return Url::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse_after_scheme(self.scheme, rest);
        }
        let location = without_fragment(location);
        let merged = if location.starts_with('/') {
            location.to_string()
        } else if location.is_empty() {
            self.target.clone()
        } else if location.starts_with('?') {
            format!("{}{location}", self.path())
        } else {
            let folder = self.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        let (path, query) = merged.split_once('?').map_or((merged.as_str(), None), |(path, query)| (path, Some(query)));
        let mut target = encode(&without_dot_segments(path));
        if let Some(query) = query {
            target.push('?');
            target.push_str(&encode(query));
        }
        if target.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Ok(Url { target, ..self.clone() })
    }

    fn parse_after_scheme(scheme: Scheme, rest: &str) -> Result<Url, UrlError> {
        let rest = without_fragment(rest);
        let (authority, target) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let port = match (port, scheme) {
            ("", Scheme::Http) => 80,
            ("", Scheme::Https) => 443,
            ("", Scheme::Udp) => return Err(UrlError::NoPort),
            (digits, _) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| UrlError::Port)?,
            _ => return Err(UrlError::Port),
        };
        if port == 0 {
            return Err(UrlError::Port);
        }
        let target = if target.starts_with('/') { encode(target) } else { format!("/{}", encode(target)) };
        if target.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Ok(Url { scheme, host: Host::parse(host)?, port, target })
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// Where to ask how large the swarm is (BEP 48): the last part of the path begins with `announce`, which becomes `scrape`. `None` when
    /// it does not. A UDP tracker is asked at the same place (BEP 15).
    pub fn for_scrape(&self) -> Option<Url> {
        if self.scheme == Scheme::Udp {
            return Some(self.clone());
        }
        let (path, query) = self.target.split_at(self.path().len());
        let (folder, last) = path.rsplit_once('/')?;
        let rest = last.strip_prefix("announce")?;
        Some(Url { target: format!("{folder}/scrape{rest}{query}"), ..self.clone() })
    }

    /// What the `Host` header says: the port only when it is not the scheme's own.
    pub fn host_header(&self) -> String {
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// The URL without its query, for people: the query may hold a passkey.
    pub fn without_query(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host_header(), self.path())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host_header(), self.target)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Udp => "udp",
        })
    }
}

impl Host {
    fn parse(text: &str) -> Result<Host, UrlError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(UrlError::Host)?;
            return inner.parse::<Ipv6Addr>().map(|ip| Host::Ip(IpAddr::V6(ip))).map_err(|_| UrlError::Host);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let good_label = |label: &str| {
            (1..=MAX_LABEL_BYTES).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.len() > MAX_NAME_BYTES || !text.split('.').all(good_label) {
            return Err(UrlError::Host);
        }
        // Resolvers read `127.1`, `0x7f000001` or `017700000001` as addresses: what ends in a number must be a plain IPv4 address, or it
        // would slip past the rules for addresses.
        let last = text.rsplit('.').next().unwrap_or(text);
        if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X") {
            return text.parse::<Ipv4Addr>().map(|ip| Host::Ip(IpAddr::V4(ip))).map_err(|_| UrlError::Host);
        }
        Ok(Host::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

fn check_text(text: &str) -> Result<(), UrlError> {
    if text.len() > MAX_URL_BYTES {
        return Err(UrlError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(UrlError::Control);
    }
    Ok(())
}

/// Whether a reference names its own scheme: letters, digits, `+`, `-`, `.` before the first colon.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

fn without_fragment(text: &str) -> &str {
    text.split_once('#').map_or(text, |(before, _)| before)
}

fn split_port(authority: &str) -> Result<(&str, &str), UrlError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(UrlError::Host)? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(UrlError::Host),
        };
    }
    Ok(authority.split_once(':').unwrap_or((authority, "")))
}

/// Percent-encodes what may not stand in a request line. `%` stays: it already introduces an escape.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => push_escape(&mut out, byte),
            0x21..=0x7e => out.push(char::from(byte)),
            _ => push_escape(&mut out, byte),
        }
    }
    out
}

/// Appends `%XX`.
pub(super) fn push_escape(out: &mut String, byte: u8) {
    let digit = |n: u8| char::from(if n < 10 { b'0' + n } else { b'A' + n - 10 });
    out.push('%');
    out.push(digit(byte >> 4));
    out.push(digit(byte & 15));
}

/// RFC 3986, section 5.2.4.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_three_schemes_parse_with_their_default_ports() {
        let url = parse("HTTP://Tracker.Example.COM/announce?passkey=aBc");
        assert_eq!(url.host, Host::Name("tracker.example.com".into()));
        assert_eq!((url.scheme, url.port, url.target.as_str()), (Scheme::Http, 80, "/announce?passkey=aBc"));
        assert_eq!(url.host_header(), "tracker.example.com");
        assert_eq!(parse("https://t.example").port, 443);
        assert_eq!(parse("udp://t.example:6969").target, "/");
        assert_eq!(parse("http://t.example:8080?x=1").target, "/?x=1");
        assert_eq!(Url::parse("udp://t.example/announce"), Err(UrlError::NoPort));
    }

    #[test]
    fn addresses_are_told_from_names() {
        assert_eq!(parse("udp://127.0.0.1:1/").host, Host::Ip("127.0.0.1".parse().unwrap()));
        let v6 = parse("http://[::1]:6969/announce");
        assert_eq!(v6.host, Host::Ip("::1".parse().unwrap()));
        assert_eq!(v6.host_header(), "[::1]:6969");
        assert_eq!(parse("http://[::1]/a").port, 80);
    }

    #[test]
    fn numbers_that_resolvers_take_for_addresses_are_refused() {
        for text in
            ["http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://127.0.0.01/", "http://a.0X7f/"]
        {
            assert_eq!(Url::parse(text), Err(UrlError::Host), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let cases = [
            ("ws://t.example/", UrlError::Scheme),
            ("t.example/announce", UrlError::Scheme),
            ("", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("http://user:pw@t.example/", UrlError::UserInfo),
            ("http:///announce", UrlError::Host),
            ("http://[::1/announce", UrlError::Host),
            ("http://[::1]x/announce", UrlError::Host),
            ("http://a..b/", UrlError::Host),
            ("http://b\u{fc}cher.example/", UrlError::Host),
            ("http://t.example:0/", UrlError::Port),
            ("http://t.example:65536/", UrlError::Port),
            ("http://t.example:+80/", UrlError::Port),
            ("http://t.example:80:81/", UrlError::Port),
            ("http://t.example/\r\nX-Evil: 1", UrlError::Control),
        ];
        for (text, error) in cases {
            assert_eq!(Url::parse(text), Err(error), "{text}");
            assert_eq!(error.reason(), error.to_string());
        }
        assert_eq!(Url::parse(&format!("http://t.example/{}", "a".repeat(MAX_URL_BYTES))), Err(UrlError::TooLong));
        assert_eq!(Url::parse(&format!("http://t.example/{}", "\u{e9}".repeat(900))), Err(UrlError::TooLong));
    }

    #[test]
    fn odd_characters_are_percent_encoded_and_fragments_dropped() {
        assert_eq!(parse(" http://t.example/a b\u{e9}\"?k=<v>%20#frag ").target, "/a%20b%C3%A9%22?k=%3Cv%3E%20");
    }

    #[test]
    fn a_scrape_goes_where_the_last_part_of_the_path_begins_with_announce() {
        let scrape = |text: &str| parse(text).for_scrape().map(|url| url.to_string());
        let at = |text: &str| Some(text.to_string());
        assert_eq!(scrape("http://t.example/announce"), at("http://t.example/scrape"));
        assert_eq!(scrape("https://t.example/x/announce.php?key=a/b"), at("https://t.example/x/scrape.php?key=a/b"));
        assert_eq!(scrape("http://t.example/announce/announce-2"), at("http://t.example/announce/scrape-2"));
        assert_eq!(scrape("udp://t.example:1/any"), at("udp://t.example:1/any"));
        for none in [
            "http://t.example/",
            "http://t.example/a",
            "http://t.example/announce/x",
            "http://t.example/xannounce",
            "http://t.example/x?/announce",
        ] {
            assert_eq!(scrape(none), None, "{none}");
        }
    }

    #[test]
    fn locations_are_joined_as_rfc_3986_says() {
        let base = parse("http://t.example:81/x/announce?info_hash=1");
        let join = |location: &str| base.join(location).unwrap().to_string();
        assert_eq!(join("https://u.example/a?b"), "https://u.example/a?b");
        assert_eq!(join("//u.example/a"), "http://u.example/a");
        assert_eq!(join("/a/../b?c=/../d"), "http://t.example:81/b?c=/../d");
        assert_eq!(join("b?c"), "http://t.example:81/x/b?c");
        assert_eq!(join("../../../b"), "http://t.example:81/b");
        assert_eq!(join("./"), "http://t.example:81/x/");
        assert_eq!(join("?c=1"), "http://t.example:81/x/announce?c=1");
        assert_eq!(join(""), "http://t.example:81/x/announce?info_hash=1");
        assert_eq!(base.join("javascript:alert(1)"), Err(UrlError::Scheme));
        assert_eq!(base.join("/a\nb"), Err(UrlError::Control));
    }

    proptest! {
        #[test]
        fn parsed_urls_are_printable_and_parse_to_themselves(text in "(http|https|udp)://[a-z0-9.\\[\\]:@-]{0,20}[/?]\\PC{0,30}", location in "\\PC{0,30}") {
            if let Ok(url) = Url::parse(&text) {
                let again = url.to_string();
                prop_assert!(again.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert_eq!(Url::parse(&again), Ok(url.clone()));
                if let Ok(joined) = url.join(&location) {
                    prop_assert!(joined.to_string().bytes().all(|b| b.is_ascii_graphic()));
                    prop_assert!(joined.target.starts_with('/'));
                }
            }
        }
    }
}
