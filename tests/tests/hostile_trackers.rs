//! Trackers from a bad world against the real program: none costs it memory, time or its way to the next tracker.
//!
//! In most rows the first tracker is hostile and the second honest: the download must be complete, from the second's seeder, within the row's time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use tests::{
    Deadline, HttpTracker, Outcome, Rows, Run, Sample, ScriptedPeer, Stage, UdpTracker, compact, free_port, http_ok,
    reply,
};

const MIB: usize = 1024 * 1024;
/// A tracker that says something wrong is passed over at once; the rest is the transfer on a busy machine.
const AT_ONCE_S: u64 = 8;
/// One that keeps silent is joined by the next after 10 s.
const AFTER_TEN_S: u64 = 18;

fn main() {
    let mut rows = Rows::default();
    http_rows(&mut rows);
    udp_rows(&mut rows);
    rows.add("a_tracker_with_interval_0_is_not_hammered", |stage| is_asked_once(stage, 0));
    rows.add("a_tracker_with_a_negative_interval_is_not_hammered", |stage| is_asked_once(stage, -5));
    rows.add("a_tracker_with_a_huge_interval_is_believed_for_a_day_at_most", |stage| is_asked_once(stage, i64::MAX));
    rows.add("a_peer_list_with_ourselves_nonsense_and_duplicates_holds_one_peer", odd_peer_list);
    rows.add("peers_in_dictionaries_may_have_names_and_unknown_keys", dictionary_peers);
    rows.add("of_500_candidates_half_are_dead_and_the_first_block_comes_in_5_s", half_dead_candidates);
    rows.add("a_tracker_that_hangs_on_stopped_does_not_keep_us", hangs_on_stopped);
    rows.add("all_trackers_that_hang_do_not_keep_us", all_hang);
    rows.run();
}

fn http_rows(rows: &mut Rows) {
    let mut row = |name: &str, within_s, script: fn(&str, &mut TcpStream)| {
        rows.add(&format!("a_tracker_that_{name}"), move |stage| {
            passed_over(stage, &HttpTracker::start(script)?.url(), within_s)
        });
    };
    row("never_answers", AFTER_TEN_S, |_, stream| hold(stream));
    row("drips_one_byte_a_second", AFTER_TEN_S, |_, stream| {
        let answer = http_ok(&reply(1800, &[0; 600]));
        drip(stream, &answer);
    });
    row("drips_its_body", AFTER_TEN_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nd8:interval");
        drip(stream, &[b'1'; 1000]);
    });
    row("redirects_to_itself", AT_ONCE_S, |target, stream| redirect(stream, target));
    row("redirects_a_hundred_times", AT_ONCE_S, |target, stream| {
        let times: u32 = target.split_once("n=").and_then(|(_, n)| n.split('&').next()?.parse().ok()).unwrap_or(0);
        redirect(stream, &format!("/announce?n={}&", times + 1));
    });
    row("redirects_to_a_file", AT_ONCE_S, |_, stream| redirect(stream, "file:///etc/passwd"));
    row("redirects_to_nowhere", AT_ONCE_S, |_, stream| redirect(stream, "http://[::1"));
    row("sends_a_gzip_bomb", AT_ONCE_S, |_, stream| {
        let bomb = gzip_bomb();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
        send(stream, &[head.as_bytes(), &bomb].concat());
    });
    row("sends_broken_gzip", AT_ONCE_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff");
    });
    row("sends_an_endless_body", AT_ONCE_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\n\r\nd5:peers");
        flood(stream, &[b'9'; 65_536]);
    });
    row("sends_an_endless_chunked_body", AT_ONCE_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        flood(stream, &[b"10000\r\n".as_slice(), &[b'9'; 65_536], b"\r\n"].concat());
    });
    row("sends_a_chunk_of_all_the_memory", AT_ONCE_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n");
    });
    row("promises_all_the_memory", AT_ONCE_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nd");
        hold(stream);
    });
    row("sends_endless_headers", AT_ONCE_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\n");
        flood(stream, &b"X-Noise: abcdefghijklmnopqrstuvwxyz\r\n".repeat(100));
    });
    row("sends_one_endless_header", AT_ONCE_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nX-Noise: ");
        flood(stream, &[b'x'; 65_536]);
    });
    row("names_a_million_peers", AT_ONCE_S, |_, stream| send(stream, &http_ok(&reply(1800, &vec![7; 6_000_000]))));
    row("names_a_million_peers_without_saying_so", AT_ONCE_S, |_, stream| {
        send(stream, &[b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &reply(1800, &vec![7; 6_000_000])].concat());
    });
    row("refuses", AT_ONCE_S, |_, stream| send(stream, &http_ok(b"d14:failure reason9:no \x1b[2J\x07 !e")));
    row("answers_garbage", AT_ONCE_S, |_, stream| send(stream, &http_ok(b"<html>\x00\xff\xfe")));
    row("answers_deep_nesting", AT_ONCE_S, |_, stream| send(stream, &http_ok(&[b'l'; 900_000])));
    row("answers_nothing", AT_ONCE_S, |_, stream| send(stream, &http_ok(b"")));
    row("closes_at_once", AT_ONCE_S, |_, _| ());
    row("answers_500", AT_ONCE_S, |_, stream| send(stream, b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"));
    row("speaks_another_protocol", AT_ONCE_S, |_, stream| send(stream, b"SSH-2.0-OpenSSH_9.9\r\n"));
    row("ends_in_mid_body", AT_ONCE_S, |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nd8:interval");
    });
    rows.add("a_tracker_that_is_not_there", |stage| {
        passed_over(stage, &format!("http://127.0.0.1:{}/announce", free_port()), AT_ONCE_S)
    });
    rows.add("a_tracker_whose_name_does_not_exist", |stage| {
        passed_over(stage, "http://tracker.invalid/announce", AFTER_TEN_S)
    });
    rows.add("a_tracker_whose_url_makes_no_sense", |stage| passed_over(stage, "http://[:::/%%%", AT_ONCE_S));
    rows.add("a_tracker_of_an_unknown_kind", |stage| passed_over(stage, "gopher://127.0.0.1/announce", AT_ONCE_S));
}

fn udp_rows(rows: &mut Rows) {
    let mut row = |name: &str, within_s, script: fn(&UdpSocket, &[u8], SocketAddr)| {
        rows.add(&format!("a_udp_tracker_that_{name}"), move |stage| {
            passed_over(stage, &UdpTracker::start(script)?.url(), within_s)
        });
    };
    row("is_silent", AFTER_TEN_S, |_, _, _| ());
    row("answers_with_another_transaction_id", AFTER_TEN_S, |socket, request, to| {
        let mut answer = connect_answer(request);
        answer[4] ^= 0xff;
        tell(socket, to, &answer);
    });
    row("answers_from_another_port", AFTER_TEN_S, |_, request, to| {
        if let Ok(other) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            tell(&other, to, &connect_answer(request));
        }
    });
    row("answers_short_packets", AFTER_TEN_S, |socket, request, to| {
        (0..16).for_each(|len| tell(socket, to, &connect_answer(request)[..len]));
    });
    row("answers_a_short_announce", AFTER_TEN_S, |socket, request, to| match action(request) {
        0 => tell(socket, to, &connect_answer(request)),
        _ => tell(socket, to, &[&[0, 0, 0, 1], &request[12..16], &[0; 5]].concat()),
    });
    row("answers_an_error", AT_ONCE_S, |socket, request, to| {
        tell(socket, to, &[&[0, 0, 0, 3], &request[12..16], b"go away\x1b[2J"].concat());
    });
    row("answers_an_error_to_the_announce", AT_ONCE_S, |socket, request, to| match action(request) {
        0 => tell(socket, to, &connect_answer(request)),
        _ => tell(socket, to, &[&[0, 0, 0, 3], &request[12..16], b"no"].concat()),
    });
    row("floods_us", AFTER_TEN_S, |socket, _, to| (0..5000).for_each(|_| tell(socket, to, &[0xaa; 1400])));
}

/// The first tracker is at `url`, the second is honest.
fn passed_over(stage: &Stage, url: &str, within_s: u64) -> Outcome {
    let sample = Sample::new(stage, MIB, 64 * 1024, url)?;
    let seeder = ScriptedPeer::honest(2, &sample)?;
    let second = HttpTracker::honest(&[seeder.addr])?;
    let mut run = sample.download(stage, &["--tracker", &second.url()])?;
    run.expect_exit(0, within_s)?;
    no_control_characters(&run)?;
    let events: Vec<String> = second.requests().iter().filter_map(|target| parameter(target, "event")).collect();
    if events.first().map(String::as_str) != Some("started") || events.last().map(String::as_str) != Some("stopped") {
        return Err(format!("the second tracker heard {events:?}").into());
    }
    sample.check_data()
}

/// What a tracker says must not reach a terminal as it is.
fn no_control_characters(run: &Run) -> Outcome {
    match run.output()?.chars().find(|c| c.is_control() && *c != '\n') {
        Some(c) => Err(format!("{c:?} was printed").into()),
        None => Ok(()),
    }
}

/// A tracker without peers and without counts, its interval odd: one announce and one scrape within some seconds, not many.
fn is_asked_once(stage: &Stage, interval_s: i64) -> Outcome {
    let answer = http_ok(&reply(interval_s, &[]));
    let tracker = HttpTracker::start(move |_, stream| send(stream, &answer))?;
    let sample = Sample::new(stage, MIB, 64 * 1024, &tracker.url())?;
    let mut run = sample.download(stage, &[])?;
    let answered = run.wait_for_line("tracker_answered", Deadline::in_s(10))?;
    let next_in_s: u64 = number_after(&answered, "\"next_in_s\":").ok_or("next_in_s is told")?;
    if !(60..=86_400).contains(&next_in_s) {
        return Err(answered.into());
    }
    let quiet = Deadline::in_s(4);
    while !quiet.is_over() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let requests = tracker.requests();
    let announces = requests.iter().filter(|target| target.starts_with("/announce")).count();
    let scrapes = requests.iter().filter(|target| target.starts_with("/scrape")).count();
    if (announces, scrapes) != (1, 1) || requests.len() != 2 {
        return Err(format!("asked {requests:?}").into());
    }
    run.check_alive()?;
    run.terminate(7)
}

/// The list names ourselves, port 0, nobody's addresses and the one seeder a hundred times.
fn odd_peer_list(stage: &Stage) -> Outcome {
    // The tracker is needed for the torrent and the torrent for the seeder: the seeder's address comes later, over the port in the request.
    let seeder_of = std::sync::Arc::new(std::sync::OnceLock::<SocketAddr>::new());
    let told = std::sync::Arc::clone(&seeder_of);
    let tracker = HttpTracker::start(move |target, stream| {
        let own = parameter(target, "port").and_then(|port| port.parse().ok()).unwrap_or(1);
        let mut peers: Vec<SocketAddr> = (1..4).map(|host| SocketAddr::from(([127, 0, 0, host], own))).collect();
        peers
            .extend([([0, 0, 0, 0], 6881), ([255, 255, 255, 255], 6881), ([224, 0, 0, 1], 6881)].map(SocketAddr::from));
        peers.extend([([127, 0, 0, 2], 0), ([127, 0, 0, 1], 22)].map(SocketAddr::from));
        peers.extend(std::iter::repeat_n(told.get().copied(), 100).flatten());
        send(stream, &http_ok(&reply(1800, &compact(&peers))));
    })?;
    let sample = Sample::new(stage, MIB, 64 * 1024, &tracker.url())?;
    let seeder = ScriptedPeer::honest(2, &sample)?;
    seeder_of.get_or_init(|| seeder.addr);
    let mut run = sample.download(stage, &[])?;
    run.expect_exit(0, AT_ONCE_S)?;
    if seeder.connections() != 1 {
        return Err(format!("the seeder was dialled {} times", seeder.connections()).into());
    }
    if run.output()?.contains("-SM0001-") {
        return Err("it shook hands with itself".into());
    }
    sample.check_data()
}

fn dictionary_peers(stage: &Stage) -> Outcome {
    let seeder_of = std::sync::Arc::new(std::sync::OnceLock::<SocketAddr>::new());
    let told = std::sync::Arc::clone(&seeder_of);
    let tracker = HttpTracker::start(move |_, stream| {
        let seeder = told.get().map_or(1, SocketAddr::port);
        let body = format!(
            "d8:intervali1800e5:peersl\
             d2:ip17:localhost.invalid4:porti6881ee\
             d2:ip9:not an ip4:porti99999ee\
             d2:ip9:127.0.0.94:porti-1ee\
             dei7e3:abc\
             d2:ip9:127.0.0.27:peer id3:abc4:porti{seeder}e5:weirdl1:xeee6:peers67:1234567e"
        );
        send(stream, &http_ok(body.as_bytes()));
    })?;
    let sample = Sample::new(stage, MIB, 64 * 1024, &tracker.url())?;
    let seeder = ScriptedPeer::honest(2, &sample)?;
    seeder_of.get_or_init(|| seeder.addr);
    sample.download(stage, &[])?.expect_exit(0, AT_ONCE_S)?;
    sample.check_data()
}

/// 125 addresses refuse, 125 take the connection and say nothing, 250 seed.
fn half_dead_candidates(stage: &Stage) -> Outcome {
    let sample_of = std::sync::Arc::new(std::sync::OnceLock::<Vec<SocketAddr>>::new());
    let told = std::sync::Arc::clone(&sample_of);
    let tracker = HttpTracker::start(move |_, stream| {
        send(stream, &http_ok(&reply(1800, &compact(told.get().map_or(&[], |peers| peers)))));
    })?;
    let sample = Sample::new(stage, 4 * MIB, 64 * 1024, &tracker.url())?;
    let black_hole = BlackHole::new()?;
    let mut peers: Vec<SocketAddr> = (0..125u8).map(|i| SocketAddr::from(([127, 0, 9, i], 40_000))).collect();
    peers.extend((0..125u8).map(|i| SocketAddr::from(([127, 0, 10, i], black_hole.port()))));
    // A listener on all addresses is as many seeders as there are addresses.
    let seeder = ScriptedPeer::honest_everywhere(&sample)?;
    peers.extend((0..250u8).map(|i| SocketAddr::from(([127, 0, 11, i], seeder.addr.port()))));
    sample_of.get_or_init(|| peers);
    let mut run = sample.download(stage, &[])?;
    run.wait_for_line("tracker_answered", Deadline::in_s(5))?;
    run.wait_for_line("piece_verified", Deadline::in_s(5))?;
    run.expect_exit(0, AT_ONCE_S)?;
    sample.check_data()
}

/// A listening socket whose queue is full: dials to it hang, as dials into the void do.
struct BlackHole {
    listener: std::net::TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    fn new() -> Outcome<BlackHole> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
        let mut waiting = Vec::new();
        // The standard library asks for a queue of 128, and one more fits (listen(2)).
        while waiting.len() < 5000 {
            match TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
                Ok(stream) => waiting.push(stream),
                Err(_) => return Ok(BlackHole { listener, _waiting: waiting }),
            }
        }
        Err("the queue never filled".into())
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |addr| addr.port())
    }
}

fn hangs_on_stopped(stage: &Stage) -> Outcome {
    let tracker = HttpTracker::start(|target, stream| match parameter(target, "event").as_deref() {
        Some("stopped") => hold(stream),
        _ => send(stream, &http_ok(&reply(1800, &[]))),
    })?;
    let sample = Sample::new(stage, MIB, 64 * 1024, &tracker.url())?;
    let mut run = sample.download(stage, &[])?;
    run.wait_for_line("tracker_answered", Deadline::in_s(10))?;
    run.terminate(7)?;
    let last = tracker.requests().pop().unwrap_or_default();
    if parameter(&last, "event").as_deref() != Some("stopped") {
        return Err(format!("the tracker heard {last} last").into());
    }
    Ok(())
}

fn all_hang(stage: &Stage) -> Outcome {
    let tracker = HttpTracker::start(|_, stream| hold(stream))?;
    let udp = UdpTracker::start(|_, _, _| ())?;
    let sample = Sample::new(stage, MIB, 64 * 1024, &tracker.url())?;
    let mut run = sample.download(stage, &["--tracker", &udp.url()])?;
    stage.deadline().wait_for("the first announce", || Ok((!tracker.requests().is_empty()).then_some(())))?;
    run.check_alive()?;
    run.terminate(7)
}

/// A client that has had enough closes: an error here is the end of the script.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Says nothing until the client leaves.
fn hold(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 64]);
}

fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn flood(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

fn redirect(stream: &mut TcpStream, to: &str) {
    send(stream, format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").as_bytes());
}

/// One gzip member that unpacks to 150 MB of zeros and is itself just below the limit for answers: one match of deflate (RFC 1951) over and over.
fn gzip_bomb() -> Vec<u8> {
    // Fixed Huffman code: a literal 0 (00110000), then length 258 (11000101) at distance 1 (00000), as often as fits; bits in order of writing.
    let mut bits: Vec<bool> = Vec::new();
    let mut push = |code: &str| bits.extend(code.bytes().map(|b| b == b'1'));
    push("110");
    push("00110000");
    (0..600_000).for_each(|_| push("1100010100000"));
    push("0000000");
    let mut bytes = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    bytes.extend(bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |all, bit| all << 1 | u8::from(*bit))));
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

fn action(request: &[u8]) -> u8 {
    request.get(11).copied().unwrap_or(0)
}

fn connect_answer(request: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0], &request[12..16], &[1, 2, 3, 4, 5, 6, 7, 8]].concat()
}

fn tell(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    let _ = socket.send_to(bytes, to);
}

/// A parameter of a request's target.
fn parameter(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let (_, rest) = text.split_once(key)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
