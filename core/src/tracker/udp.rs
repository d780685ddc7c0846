//! Announces and scrapes over UDP (BEP 15, URL data by BEP 41), both sides: the client's requests and replies, and the same for simulated trackers and round trips under test.
//!
//! Packets only. Connection ids, retransmission and time-outs are `announce`'s matter. Longer packets than expected are fine (BEP 15).

use super::{Announce, AnnounceKind, Reply, Swarm, Totals, add_peers, clean_text, compact_v4, compact_v6, counted};
use crate::id::{InfoHash, PeerId};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Marks a connect request.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;
/// BEP 41 option types.
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL_DATA: u8 = 2;
/// An option's length is one byte.
const MAX_OPTION_BYTES: usize = 255;
/// URL data kept of a request: as long as the longest URL we would send.
const MAX_URL_DATA_BYTES: usize = super::url::MAX_URL_BYTES;
/// Peers in one reply that we serve: it fits into one datagram of 1,500 bytes in either family.
pub const MAX_SERVED_PEERS: usize = 74;
/// Torrents in one scrape: what fits into one datagram (BEP 15).
pub const MAX_SCRAPED: usize = 74;
/// A count that a tracker does not know.
const UNKNOWN: u32 = u32::MAX;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks for a connection id.
    Connect {
        /// Echoed in the reply.
        transaction: u32,
    },
    /// An announce.
    Announce {
        /// From a connect reply.
        connection: u64,
        /// Echoed in the reply.
        transaction: u32,
        /// What is announced.
        announce: Announce,
        /// Path and query of the tracker's URL (BEP 41); may be empty.
        url_data: Vec<u8>,
    },
    /// Asks how large some swarms are.
    Scrape {
        /// From a connect reply.
        connection: u64,
        /// Echoed in the reply.
        transaction: u32,
        /// Which torrents: at most [`MAX_SCRAPED`].
        info_hashes: Vec<InfoHash>,
    },
}

/// What a tracker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A connection id, good for a minute.
    Connect {
        /// That of the request.
        transaction: u32,
        /// To be sent with announces.
        connection: u64,
    },
    /// The answer to an announce.
    Announce {
        /// That of the request.
        transaction: u32,
        /// The answer; interval, complete and incomplete are always present.
        reply: Reply,
    },
    /// The answer to a scrape.
    Scrape {
        /// That of the request.
        transaction: u32,
        /// In the order of the request, as far as the tracker answers: at most [`MAX_SCRAPED`].
        swarms: Vec<Swarm>,
    },
    /// A refusal.
    Error {
        /// That of the request.
        transaction: u32,
        /// The tracker's words, cleaned.
        reason: String,
    },
}

impl Response {
    /// The transaction that is answered.
    pub fn transaction(&self) -> u32 {
        match self {
            Response::Connect { transaction, .. }
            | Response::Announce { transaction, .. }
            | Response::Scrape { transaction, .. }
            | Response::Error { transaction, .. } => *transaction,
        }
    }
}

/// The transaction id of a response, when it is long enough to have one: the cheap test before decoding.
pub fn response_transaction(bytes: &[u8]) -> Option<u32> {
    Reader(bytes.get(4..)?).u32()
}

/// Encodes a request.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    match request {
        Request::Connect { transaction } => {
            out.extend(PROTOCOL_ID.to_be_bytes());
            out.extend(ACTION_CONNECT.to_be_bytes());
            out.extend(transaction.to_be_bytes());
        }
        Request::Announce { connection, transaction, announce, url_data } => {
            out.extend(connection.to_be_bytes());
            out.extend(ACTION_ANNOUNCE.to_be_bytes());
            out.extend(transaction.to_be_bytes());
            out.extend(announce.info_hash.wire_bytes());
            out.extend(announce.peer_id.0);
            out.extend(announce.totals.downloaded.to_be_bytes());
            out.extend(announce.totals.left.to_be_bytes());
            out.extend(announce.totals.uploaded.to_be_bytes());
            out.extend(kind_number(announce.kind).to_be_bytes());
            // The tracker sees our address itself.
            out.extend(0u32.to_be_bytes());
            out.extend(announce.key.to_be_bytes());
            out.extend(announce.num_want.to_be_bytes());
            out.extend(announce.port.to_be_bytes());
            for chunk in url_data.chunks(MAX_OPTION_BYTES) {
                out.extend([OPTION_URL_DATA, chunk.len() as u8]);
                out.extend(chunk);
            }
        }
        Request::Scrape { connection, transaction, info_hashes } => {
            out.extend(connection.to_be_bytes());
            out.extend(ACTION_SCRAPE.to_be_bytes());
            out.extend(transaction.to_be_bytes());
            info_hashes.iter().take(MAX_SCRAPED).for_each(|info_hash| out.extend(info_hash.wire_bytes()));
        }
    }
    out
}

/// Decodes a request; `None` for anything that is not one.
pub fn decode_request(bytes: &[u8]) -> Option<Request> {
    let mut from = Reader(bytes);
    let connection = from.u64()?;
    let action = from.u32()?;
    let transaction = from.u32()?;
    match (action, connection) {
        (ACTION_CONNECT, PROTOCOL_ID) => Some(Request::Connect { transaction }),
        (ACTION_ANNOUNCE, _) => {
            let info_hash = InfoHash::V1(*from.take()?);
            let peer_id = PeerId(*from.take()?);
            let (downloaded, left, uploaded) = (from.u64()?, from.u64()?, from.u64()?);
            let kind = kind_of_number(from.u32()?);
            let _ip = from.u32()?;
            let (key, num_want, port) = (from.u32()?, from.u32()?, from.u16()?);
            let totals = Totals { uploaded, downloaded, left };
            let announce = Announce { info_hash, peer_id, port, kind, totals, num_want, key };
            Some(Request::Announce { connection, transaction, announce, url_data: url_data(from.0) })
        }
        (ACTION_SCRAPE, _) => {
            let info_hashes = core::iter::from_fn(|| from.take().map(|hash| InfoHash::V1(*hash))).take(MAX_SCRAPED);
            Some(Request::Scrape { connection, transaction, info_hashes: info_hashes.collect() })
        }
        _ => None,
    }
}

/// The URL data among an announce's options (BEP 41), joined; broken options end the reading.
fn url_data(bytes: &[u8]) -> Vec<u8> {
    let mut from = Reader(bytes);
    let mut out = Vec::new();
    while let Some(option) = from.u8() {
        match option {
            OPTION_END => break,
            OPTION_NOP => {}
            _ => {
                let Some(data) = from.u8().and_then(|len| from.bytes(usize::from(len))) else { break };
                if option == OPTION_URL_DATA && out.len() + data.len() <= MAX_URL_DATA_BYTES {
                    out.extend(data);
                }
            }
        }
    }
    out
}

/// Encodes a response to a client at `to`: its family decides which peers fit in (BEP 15); at most [`MAX_SERVED_PEERS`] of them.
pub fn encode_response(response: &Response, to: IpAddr) -> Vec<u8> {
    let mut out = Vec::new();
    match response {
        Response::Connect { transaction, connection } => {
            out.extend(ACTION_CONNECT.to_be_bytes());
            out.extend(transaction.to_be_bytes());
            out.extend(connection.to_be_bytes());
        }
        Response::Announce { transaction, reply } => {
            out.extend(ACTION_ANNOUNCE.to_be_bytes());
            out.extend(transaction.to_be_bytes());
            for number in [reply.interval_s, reply.incomplete, reply.complete] {
                let number = number.unwrap_or(0).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
                out.extend((number as i32).to_be_bytes());
            }
            let to_v4 = to.to_canonical().is_ipv4();
            for peer in reply.peers.iter().filter(|peer| peer.is_ipv4() == to_v4).take(MAX_SERVED_PEERS) {
                match peer.ip() {
                    IpAddr::V4(ip) => out.extend(ip.octets()),
                    IpAddr::V6(ip) => out.extend(ip.octets()),
                }
                out.extend(peer.port().to_be_bytes());
            }
        }
        Response::Scrape { transaction, swarms } => {
            out.extend(ACTION_SCRAPE.to_be_bytes());
            out.extend(transaction.to_be_bytes());
            for swarm in swarms.iter().take(MAX_SCRAPED) {
                for number in [swarm.complete, swarm.downloaded, swarm.incomplete] {
                    out.extend(number.unwrap_or(UNKNOWN).to_be_bytes());
                }
            }
        }
        Response::Error { transaction, reason } => {
            out.extend(ACTION_ERROR.to_be_bytes());
            out.extend(transaction.to_be_bytes());
            out.extend(reason.as_bytes());
        }
    }
    out
}

/// Decodes a response that came from `from`, whose family decides how long a peer is (BEP 15). `None` for anything that is not one.
pub fn decode_response(bytes: &[u8], from: IpAddr) -> Option<Response> {
    let mut reader = Reader(bytes);
    let action = reader.u32()?;
    let transaction = reader.u32()?;
    match action {
        ACTION_CONNECT => Some(Response::Connect { transaction, connection: reader.u64()? }),
        ACTION_ANNOUNCE => {
            // As signed numbers, as trackers mean them: a huge interval is a negative one.
            let signed = |n: u32| Some(i64::from(n.cast_signed()));
            let mut reply = Reply {
                interval_s: signed(reader.u32()?),
                incomplete: signed(reader.u32()?),
                complete: signed(reader.u32()?),
                ..Reply::default()
            };
            if from.to_canonical().is_ipv4() {
                add_peers(&mut reply.peers, compact_v4(reader.0));
            } else {
                add_peers(&mut reply.peers, compact_v6(reader.0));
            }
            Some(Response::Announce { transaction, reply })
        }
        ACTION_SCRAPE => {
            let mut next = || {
                let [complete, downloaded, incomplete] =
                    [reader.u32()?, reader.u32()?, reader.u32()?].map(|n| counted(i64::from(n)));
                Some(Swarm { complete, incomplete, downloaded })
            };
            let swarms = core::iter::from_fn(&mut next).take(MAX_SCRAPED).collect();
            Some(Response::Scrape { transaction, swarms })
        }
        ACTION_ERROR => Some(Response::Error { transaction, reason: clean_text(reader.0) }),
        _ => None,
    }
}

const fn kind_number(kind: AnnounceKind) -> u32 {
    match kind {
        AnnounceKind::Regular => 0,
        AnnounceKind::Completed => 1,
        AnnounceKind::Started => 2,
        AnnounceKind::Stopped => 3,
    }
}

const fn kind_of_number(number: u32) -> AnnounceKind {
    match number {
        1 => AnnounceKind::Completed,
        2 => AnnounceKind::Started,
        3 => AnnounceKind::Stopped,
        _ => AnnounceKind::Regular,
    }
}

/// Takes big-endian numbers from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(head)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| *byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().copied().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().copied().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().copied().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_PEERS;
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use core::net::Ipv6Addr;
    use proptest::prelude::*;

    const V4: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn announce() -> Announce {
        Announce {
            info_hash: InfoHash::V1([0x11; 20]),
            peer_id: PeerId([0x22; 20]),
            port: 0x1ae1,
            kind: AnnounceKind::Started,
            totals: Totals { uploaded: 3, downloaded: 1, left: 2 },
            num_want: 50,
            key: 0xdead_beef,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| alloc::format!("{b:02x}")).collect()
    }

    #[test]
    fn packets_have_the_bytes_of_bep_15() {
        assert_eq!(hex(&encode_request(&Request::Connect { transaction: 7 })), "00000417271019800000000000000007");
        let request =
            Request::Announce { connection: 5, transaction: 7, announce: announce(), url_data: b"/a?b".to_vec() };
        let bytes = encode_request(&request);
        assert_eq!(
            hex(&bytes),
            "00000000000000050000000100000007".to_string()
                + &"11".repeat(20)
                + &"22".repeat(20)
                + "000000000000000100000000000000020000000000000003"
                + "0000000200000000deadbeef000000321ae1"
                + "02042f613f62"
        );
        assert_eq!(decode_request(&bytes), Some(request));
    }

    #[test]
    fn url_data_is_joined_over_options_as_bep_41_says() {
        let mut bytes = encode_request(&Request::Announce {
            connection: 5,
            transaction: 7,
            announce: announce(),
            url_data: Vec::new(),
        });
        assert_eq!(bytes.len(), 98);
        bytes.extend(*b"\x02\x02/d\x01\x01\x09\x03xyz\x02\x00\x02\x02ir\x00\x02\x02no");
        let Some(Request::Announce { url_data, .. }) = decode_request(&bytes) else { panic!("not an announce") };
        assert_eq!(url_data, b"/dir");
        let long: Vec<u8> = (0..600).map(|n| b'a' + (n % 26) as u8).collect();
        let bytes = encode_request(&Request::Announce {
            connection: 5,
            transaction: 7,
            announce: announce(),
            url_data: long.clone(),
        });
        let Some(Request::Announce { url_data, .. }) = decode_request(&bytes) else { panic!("not an announce") };
        assert_eq!(url_data, long);
    }

    #[test]
    fn the_family_of_the_sender_decides_how_long_a_peer_is() {
        let peers = ["1.2.3.4:5".parse().unwrap(), "[2001:db8::1]:6".parse().unwrap()];
        let reply = Reply {
            interval_s: Some(1800),
            complete: Some(1),
            incomplete: Some(2),
            peers: peers.to_vec(),
            ..Reply::default()
        };
        let response = Response::Announce { transaction: 9, reply };
        for (family, peer) in [(V4, peers[0]), (V6, peers[1])] {
            let bytes = encode_response(&response, family);
            let Some(Response::Announce { reply, .. }) = decode_response(&bytes, family) else {
                panic!("not an announce")
            };
            assert_eq!(reply.peers, [peer]);
            assert_eq!((reply.interval_s, reply.complete, reply.incomplete), (Some(1800), Some(1), Some(2)));
        }
        let mapped = "::ffff:1.2.3.4".parse().unwrap();
        assert_eq!(encode_response(&response, mapped), encode_response(&response, V4));
    }

    #[test]
    fn short_packets_and_unknown_actions_are_nothing() {
        let response = Response::Announce { transaction: 9, reply: Reply::default() };
        let bytes = encode_response(&response, V4);
        assert!((0..bytes.len()).all(|cut| decode_response(&bytes[..cut], V4).is_none()));
        assert!((0..15).all(|cut| {
            decode_response(&encode_response(&Response::Connect { transaction: 1, connection: 2 }, V4)[..cut], V4)
                .is_none()
        }));
        assert_eq!(decode_response(&[0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0], V4), None);
        assert_eq!(decode_request(&[0; 98]), None);
        let request = encode_request(&Request::Announce {
            connection: 5,
            transaction: 7,
            announce: announce(),
            url_data: Vec::new(),
        });
        assert!((0..98).all(|cut| decode_request(&request[..cut]).is_none()));
    }

    #[test]
    fn scrapes_have_the_bytes_of_bep_15() {
        let request = Request::Scrape { connection: 5, transaction: 7, info_hashes: vec![InfoHash::V1([0x11; 20])] };
        let bytes = encode_request(&request);
        assert_eq!(hex(&bytes), "00000000000000050000000200000007".to_string() + &"11".repeat(20));
        assert_eq!(decode_request(&bytes), Some(request));
        let swarm = Swarm { complete: Some(1), incomplete: Some(3), downloaded: Some(2) };
        let response = Response::Scrape { transaction: 7, swarms: vec![swarm] };
        let bytes = encode_response(&response, V4);
        assert_eq!(hex(&bytes), "0000000200000007000000010000000200000003");
        assert_eq!(decode_response(&bytes, V4), Some(response));
    }

    #[test]
    fn a_scrapes_broken_end_and_what_is_too_much_are_left_out() {
        let unknown = Swarm { complete: Some(1), incomplete: None, downloaded: None };
        let bytes = [&[0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 1][..], &[0xff; 4], &[0x80, 0, 0, 0], &[9; 11]].concat();
        let read = |bytes: &[u8]| match decode_response(bytes, V4) {
            Some(Response::Scrape { swarms, .. }) => swarms,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&bytes), [unknown]);
        assert_eq!(read(&bytes[..19]), []);
        assert!((0..8).all(|cut| decode_response(&bytes[..cut], V4).is_none()));
        assert_eq!(read(&[&bytes[..8], &[0; 60_000]].concat()).len(), MAX_SCRAPED);
        let all = [&[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 7][..], &[1; 60_000]].concat();
        let Some(Request::Scrape { info_hashes, .. }) = decode_request(&all) else { panic!("not a scrape") };
        assert_eq!(info_hashes.len(), MAX_SCRAPED);
    }

    #[test]
    fn errors_are_cleaned_and_peers_capped() {
        let error = Response::Error { transaction: 1, reason: "no\x1b[2J".to_string() };
        let decoded = decode_response(&encode_response(&error, V4), V4);
        assert_eq!(decoded, Some(Response::Error { transaction: 1, reason: "no [2J".to_string() }));
        let mut bytes = encode_response(&Response::Announce { transaction: 1, reply: Reply::default() }, V4);
        bytes.extend([1, 2, 3, 4, 5, 6].repeat(10_000));
        let Some(Response::Announce { reply, .. }) = decode_response(&bytes, V4) else { panic!("not an announce") };
        assert_eq!(reply.peers.len(), MAX_PEERS);
    }

    proptest! {
        #[test]
        fn any_request_that_decodes_encodes_to_one_that_decodes_alike(bytes in proptest::collection::vec(any::<u8>(), 98..400), action in 0u8..3) {
            let mut bytes = bytes;
            bytes[8..12].copy_from_slice(&[0, 0, 0, action]);
            if let Some(request) = decode_request(&bytes) {
                prop_assert_eq!(decode_request(&encode_request(&request)), Some(request));
            }
        }

        #[test]
        fn any_response_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), action in 0u8..4, v6: bool) {
            let mut bytes = bytes;
            if let Some(head) = bytes.first_chunk_mut::<4>() {
                *head = [0, 0, 0, action];
            }
            let from = if v6 { V6 } else { V4 };
            if let Some(response) = decode_response(&bytes, from) {
                prop_assert_eq!(response_transaction(&bytes), Some(response.transaction()));
            }
        }
    }
}
