//! HTTP on top of the swarms (BEP 3, 7, 23, 48): a request's head in, a whole response out.
//!
//! Pure: the bytes come from and go to `serve`. A request that makes no sense gets a `failure reason`, as trackers do; what is not for
//! a tracker at all gets an HTTP error.

use super::swarm::{Announce, Moment, Swarms};
use sameseed_core::time::Instant;
use std::net::{IpAddr, SocketAddr};

/// A head of a request that is longer is refused: an announce takes some 500 bytes, a scrape of 74 torrents 6 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 8 << 10;
/// Peers in a reply when the client does not say (BEP 3).
const DEFAULT_WANTED: usize = 50;
/// Peers in a reply at most: beyond it a client gains nothing.
const MAX_WANTED: usize = 200;
/// Torrents in one scrape, as many as fit into a UDP one (BEP 15).
const MAX_SCRAPE: usize = 74;

/// The whole response to a request. `head` ends with the empty line.
pub(crate) fn respond(head: &[u8], from: IpAddr, interval_s: u32, now: Instant, swarms: &mut Swarms) -> Vec<u8> {
    let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(target), true) = (target, version.is_some_and(|version| version.starts_with(b"HTTP/1."))) else {
        return response("400 Bad Request", b"not HTTP/1");
    };
    if method != Some(b"GET") {
        return response("405 Method Not Allowed", b"only GET");
    }
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let body = match path {
        b"/announce" => announce(query, from, interval_s, now, swarms),
        b"/scrape" => scrape(query, swarms),
        _ => return response("404 Not Found", b"this is a tracker: /announce and /scrape"),
    };
    response("200 OK", &body.unwrap_or_else(failure))
}

/// An HTTP error for a request that is not even read to its end.
pub(crate) fn too_long() -> Vec<u8> {
    response("431 Request Header Fields Too Large", b"the request is too long")
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

fn failure(reason: &'static str) -> Vec<u8> {
    let mut out = b"d".to_vec();
    put_bytes(&mut out, b"failure reason");
    put_bytes(&mut out, reason.as_bytes());
    out.push(b'e');
    out
}

fn announce(
    query: &[u8],
    from: IpAddr,
    interval_s: u32,
    now: Instant,
    swarms: &mut Swarms,
) -> Result<Vec<u8>, &'static str> {
    let get = |key: &[u8]| pairs(query).find(|(name, _)| *name == key).map(|(_, value)| value);
    let digits = |key| get(key).and_then(|value| std::str::from_utf8(&value).ok()?.parse::<u64>().ok());
    let info_hash = get(b"info_hash").ok_or("info_hash is missing")?;
    let info_hash = <[u8; 20]>::try_from(info_hash).map_err(|_| "info_hash is not 20 bytes long")?;
    let peer_id = get(b"peer_id").ok_or("peer_id is missing")?;
    let peer_id = <[u8; 20]>::try_from(peer_id).map_err(|_| "peer_id is not 20 bytes long")?;
    let port = digits(b"port").and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let wanted = digits(b"numwant").and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_WANTED).min(MAX_WANTED);
    let seed = digits(b"left") == Some(0);
    let moment = match get(b"event").as_deref() {
        Some(b"stopped") => Moment::Stopped,
        Some(b"completed") => Moment::Completed,
        _ => Moment::Present,
    };
    // BEP 3's `ip` is not honoured: it would let anybody send our clients to a third party.
    let addr = SocketAddr::new(from.to_canonical(), port.ok_or("port is missing or not from 1 to 65535")?);
    let neighbours =
        swarms.announce(now, &Announce { info_hash, peer_id, addr, seed, moment, wanted, same_family: false })?;

    let mut out = b"d".to_vec();
    put_number(&mut out, b"complete", neighbours.counts.seeds);
    put_number(&mut out, b"downloaded", neighbours.counts.completed);
    put_number(&mut out, b"incomplete", neighbours.counts.leechers);
    put_number(&mut out, b"interval", interval_s);
    put_number(&mut out, b"min interval", interval_s);
    if get(b"compact").as_deref() == Some(b"0") {
        let ids = get(b"no_peer_id").as_deref() != Some(b"1");
        put_bytes(&mut out, b"peers");
        out.push(b'l');
        for (addr, id) in &neighbours.peers {
            out.push(b'd');
            put_bytes(&mut out, b"ip");
            put_bytes(&mut out, addr.ip().to_string().as_bytes());
            if ids {
                put_bytes(&mut out, b"peer id");
                put_bytes(&mut out, id);
            }
            put_number(&mut out, b"port", u32::from(addr.port()));
            out.push(b'e');
        }
        out.push(b'e');
    } else {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (addr, _) in &neighbours.peers {
            put_compact(if addr.is_ipv4() { &mut v4 } else { &mut v6 }, addr);
        }
        put_bytes(&mut out, b"peers");
        put_bytes(&mut out, &v4);
        if !v6.is_empty() {
            put_bytes(&mut out, b"peers6");
            put_bytes(&mut out, &v6);
        }
    }
    out.push(b'e');
    Ok(out)
}

fn scrape(query: &[u8], swarms: &Swarms) -> Result<Vec<u8>, &'static str> {
    let mut hashes = Vec::new();
    for (_, value) in pairs(query).filter(|(name, _)| *name == b"info_hash").take(MAX_SCRAPE) {
        hashes.push(<[u8; 20]>::try_from(value).map_err(|_| "info_hash is not 20 bytes long")?);
    }
    if hashes.is_empty() {
        return Err("info_hash is missing: this tracker does not list all torrents");
    }
    // The keys of a dictionary are sorted, and each stands once (BEP 3).
    hashes.sort_unstable();
    hashes.dedup();
    let mut out = b"d5:filesd".to_vec();
    for hash in &hashes {
        let counts = swarms.scrape(hash);
        put_bytes(&mut out, hash);
        out.push(b'd');
        put_number(&mut out, b"complete", counts.seeds);
        put_number(&mut out, b"downloaded", counts.completed);
        put_number(&mut out, b"incomplete", counts.leechers);
        out.push(b'e');
    }
    out.extend_from_slice(b"ee");
    Ok(out)
}

/// Address and port in network order (BEP 23, BEP 7).
pub(crate) fn put_compact(out: &mut Vec<u8>, addr: &SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, key: &[u8], number: u32) {
    put_bytes(out, key);
    out.extend_from_slice(format!("i{number}e").as_bytes());
}

/// The pairs of a query, values percent-decoded. Keys are given as they stand: nobody encodes theirs.
fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], Vec<u8>)> {
    query.split(|byte| *byte == b'&').filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((&pair[..at], decoded(&pair[at + 1..])))
    })
}

/// `%41` becomes `A`; what is not a valid escape stays as it stands.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return out,
            [b'%', high, low, after @ ..] if digit(high).is_some() && digit(low).is_some() => {
                out.push((digit(high).unwrap_or(0) << 4 | digit(low).unwrap_or(0)) as u8);
                after
            }
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::time::Duration;

    fn ask(swarms: &mut Swarms, target: &str, from: [u8; 4]) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n");
        let out = respond(head.as_bytes(), IpAddr::from(from), 60, Instant::ZERO, swarms);
        out.escape_ascii().to_string().replace("\\r\\n", "\n")
    }

    fn body(swarms: &mut Swarms, target: &str, from: [u8; 4]) -> String {
        ask(swarms, target, from).split_once("\n\n").unwrap().1.to_owned()
    }

    const HASH: &str = "%00aaaaaaaaaaaaaaaaaa%ff";

    #[test]
    fn two_peers_meet_in_both_formats() {
        let mut swarms = Swarms::new(Duration::from_secs(600));
        let seed = format!("/announce?info_hash={HASH}&peer_id=-XX0000-aaaaaaaaaaaa&port=6881&left=0&event=started");
        let leech = format!("/announce?info_hash={HASH}&peer_id=-XX0000-bbbbbbbbbbbb&port=6882&left=10&compact=1");
        let shown = [
            ask(&mut swarms, &seed, [10, 0, 0, 1]),
            body(&mut swarms, &leech, [10, 0, 0, 2]),
            body(&mut swarms, &format!("{leech}&compact=0").replace("&compact=1", ""), [10, 0, 0, 2]),
            body(&mut swarms, &leech.replace("compact=1", "compact=0&no_peer_id=1"), [10, 0, 0, 2]),
            body(&mut swarms, &format!("/scrape?info_hash={HASH}&info_hash={}", "x".repeat(20)), [10, 0, 0, 2]),
            body(&mut swarms, &leech.replace("left=10", "left=0&event=stopped"), [10, 0, 0, 2]),
        ];
        insta::assert_snapshot!(shown.join("\n"), @r##"
        HTTP/1.1 200 OK
        Content-Type: text/plain
        Content-Length: 89
        Connection: close

        d8:completei1e10:downloadedi0e10:incompletei0e8:intervali60e12:min intervali60e5:peers0:e
        d8:completei1e10:downloadedi0e10:incompletei1e8:intervali60e12:min intervali60e5:peers6:\n\x00\x00\x01\x1a\xe1e
        d8:completei1e10:downloadedi0e10:incompletei1e8:intervali60e12:min intervali60e5:peersld2:ip8:10.0.0.17:peer id20:-XX0000-aaaaaaaaaaaa4:porti6881eeee
        d8:completei1e10:downloadedi0e10:incompletei1e8:intervali60e12:min intervali60e5:peersld2:ip8:10.0.0.14:porti6881eeee
        d5:filesd20:\x00aaaaaaaaaaaaaaaaaa\xffd8:completei1e10:downloadedi0e10:incompletei1ee20:xxxxxxxxxxxxxxxxxxxxd8:completei0e10:downloadedi0e10:incompletei0eeee
        d8:completei1e10:downloadedi0e10:incompletei0e8:intervali60e12:min intervali60e5:peers0:e
        "##);
    }

    #[test]
    fn nonsense_gets_an_error_and_is_not_remembered() {
        let mut swarms = Swarms::new(Duration::from_secs(600));
        let id = "peer_id=-XX0000-aaaaaaaaaaaa";
        let shown: Vec<String> = [
            "/announce".to_owned(),
            format!("/announce?info_hash=short&{id}&port=1"),
            format!("/announce?info_hash={HASH}&port=1"),
            format!("/announce?info_hash={HASH}&{id}"),
            format!("/announce?info_hash={HASH}&{id}&port=0"),
            format!("/announce?info_hash={HASH}&{id}&port=65536"),
            format!("/announce?info_hash={HASH}&{id}&port=-1"),
            "/scrape".to_owned(),
            "/scrape?info_hash=%".to_owned(),
            "/".to_owned(),
            "/announce/../etc/passwd".to_owned(),
        ]
        .iter()
        .map(|target| body(&mut swarms, target, [10, 0, 0, 1]))
        .collect();
        insta::assert_snapshot!(shown.join("\n"), @r##"
        d14:failure reason20:info_hash is missinge
        d14:failure reason30:info_hash is not 20 bytes longe
        d14:failure reason18:peer_id is missinge
        d14:failure reason38:port is missing or not from 1 to 65535e
        d14:failure reason38:port is missing or not from 1 to 65535e
        d14:failure reason38:port is missing or not from 1 to 65535e
        d14:failure reason38:port is missing or not from 1 to 65535e
        d14:failure reason61:info_hash is missing: this tracker does not list all torrentse
        d14:failure reason30:info_hash is not 20 bytes longe
        this is a tracker: /announce and /scrape
        this is a tracker: /announce and /scrape
        "##);
        assert_eq!(format!("{swarms:?}"), format!("{:?}", Swarms::new(Duration::from_secs(600))));
    }

    #[test]
    fn what_is_not_a_get_of_http_1_is_refused() {
        let mut swarms = Swarms::new(Duration::from_secs(600));
        for head in [
            &b""[..],
            b"\r\n\r\n",
            b"GET /announce\r\n\r\n",
            b"POST / HTTP/1.1\r\n\r\n",
            b"\xff\x00 \xff HTTP/2\r\n\r\n",
        ] {
            let out = respond(head, IpAddr::from([10, 0, 0, 1]), 60, Instant::ZERO, &mut swarms);
            assert!(out.starts_with(b"HTTP/1.1 40"), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn ipv6_peers_stand_apart_and_mapped_addresses_are_ipv4() {
        let mut swarms = Swarms::new(Duration::from_secs(600));
        let mut ask = |port: u16, from: &str| {
            let head =
                format!("GET /announce?info_hash={HASH}&peer_id=-XX0000-aaaaaaaaaaaa&port={port} HTTP/1.1\r\n\r\n");
            let out = respond(head.as_bytes(), from.parse().unwrap(), 60, Instant::ZERO, &mut swarms);
            out.escape_ascii().to_string()
        };
        ask(1, "::1");
        ask(2, "::ffff:10.0.0.2");
        let out = ask(3, "10.0.0.3");
        assert!(out.contains(r"5:peers6:\n\x00\x00\x02\x00\x026:peers618:\x00"), "{out}");
    }
}
