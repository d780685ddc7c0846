//! Whatever a tracker sends: replies over HTTP (plain and gzip), UDP packets of both directions, redirects.
//!
//! The first byte chooses which. Nothing panics, all that comes out is within its limits and fit to be shown, and what decodes decodes alike
//! after it was encoded again.

use sameseed_core::id::InfoHash;
use sameseed_core::tracker::gzip::gunzip;
use sameseed_core::tracker::http::{
    ReplyError, encode_failure, encode_reply, encode_scrape, parse_reply, parse_scrape,
};
use sameseed_core::tracker::reach::may_reach;
use sameseed_core::tracker::udp::{
    MAX_SCRAPED, MAX_SERVED_PEERS, Response, decode_request, decode_response, encode_request, encode_response,
    response_transaction,
};
use sameseed_core::tracker::url::{Host, MAX_URL_BYTES, Url};
use sameseed_core::tracker::{MAX_PEERS, MAX_TEXT_BYTES, MAX_TRACKER_ID_BYTES, Reply};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A limit that the fuzzer meets; the real one is a megabyte.
const SMALL_LIMIT: usize = 64;

/// The torrent that is scraped.
const HASH: InfoHash = InfoHash::V1(*b"xxxxxxxxxxxxxxxxxxxx");

/// The properties; panics where one is broken.
pub fn check(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    match choice % 6 {
        0 | 1 => {
            check_http(data, choice % 6 == 1);
            check_scrape(data, choice % 6 == 1);
        }
        2 => check_response(data, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        3 => check_response(data, IpAddr::V6(Ipv6Addr::LOCALHOST)),
        4 => check_request(data),
        _ => check_redirect(data),
    }
}

fn check_text(text: &str) {
    assert!(text.len() <= MAX_TEXT_BYTES, "a text is too long");
    assert!(!text.chars().any(char::is_control), "a text holds a control character");
}

fn check_reply(reply: &Reply) {
    assert!(reply.peers.len() <= MAX_PEERS, "too many peers");
    assert!(reply.peers.iter().all(|peer| peer.port() != 0), "a peer with port 0");
    assert!(reply.tracker_id.as_ref().is_none_or(|id| id.len() <= MAX_TRACKER_ID_BYTES), "the tracker id is too long");
    reply.warning.iter().for_each(|warning| check_text(warning));
}

fn check_http(body: &[u8], gzipped: bool) {
    if gzipped && let Ok(out) = gunzip(body, SMALL_LIMIT) {
        assert!(out.len() <= SMALL_LIMIT, "unpacked beyond the limit");
    }
    match parse_reply(body, gzipped) {
        Ok(mut reply) => {
            check_reply(&reply);
            // The compact form puts IPv4 first; the sort is stable.
            reply.peers.sort_by_key(|peer| peer.is_ipv6());
            assert_eq!(parse_reply(&encode_reply(&reply), false), Ok(reply));
        }
        Err(ReplyError::Refused { reason, .. }) => {
            check_text(&reason);
            assert_eq!(parse_reply(&encode_failure(&reason), false), Err(ReplyError::Refused { reason, retry: None }));
        }
        Err(ReplyError::Malformed(_)) => {}
    }
}

fn check_scrape(body: &[u8], gzipped: bool) {
    match parse_scrape(body, gzipped, HASH) {
        Ok(swarm) => assert_eq!(parse_scrape(&encode_scrape(HASH, &swarm), false, HASH), Ok(swarm)),
        Err(ReplyError::Refused { reason, .. }) => check_text(&reason),
        Err(ReplyError::Malformed(_)) => {}
    }
}

fn check_response(packet: &[u8], from: IpAddr) {
    let Some(mut response) = decode_response(packet, from) else { return };
    assert_eq!(response_transaction(packet), Some(response.transaction()));
    match &mut response {
        Response::Connect { .. } => {}
        Response::Announce { reply, .. } => {
            check_reply(reply);
            reply.peers.retain(|peer| peer.is_ipv4() == from.is_ipv4());
            reply.peers.truncate(MAX_SERVED_PEERS);
        }
        Response::Scrape { swarms, .. } => assert!(swarms.len() <= MAX_SCRAPED, "too many counts"),
        Response::Error { reason, .. } => check_text(reason),
    }
    assert_eq!(decode_response(&encode_response(&response, from), from), Some(response));
}

fn check_request(packet: &[u8]) {
    if let Some(request) = decode_request(packet) {
        assert_eq!(decode_request(&encode_request(&request)), Some(request));
    }
}

/// A tracker's URL and a `Location`, with a line break between them.
fn check_redirect(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (base, location) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(base) = Url::parse(base) else { return };
    for url in [Some(base.clone()), base.join(location).ok(), base.for_scrape()].into_iter().flatten() {
        assert!(url.target.len() <= MAX_URL_BYTES && url.target.starts_with('/') && url.port != 0);
        assert!(url.to_string().bytes().all(|byte| byte.is_ascii_graphic()), "a URL holds more than printable ASCII");
        if url.to_string().len() <= MAX_URL_BYTES {
            assert_eq!(Url::parse(&url.to_string()), Ok(url.clone()));
        }
        if let Host::Ip(ip) = url.host
            && may_reach(&url, ip, true)
        {
            assert!(!ip.to_canonical().is_loopback(), "a redirect from the world leads home");
        }
    }
}
