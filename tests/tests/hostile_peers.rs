//! Peers from a bad world against the real program: none costs it memory, time, its data, or the peers that are honest.
//!
//! In most rows one peer is hostile and another, at an address of its own, seeds as it should (and only a moment later, so that the hostile one has its say):
//! the download must be complete, bit for bit, within the row's time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tests::{Deadline, HttpTracker, Link, Outcome, Rows, Run, Sample, ScriptedPeer, Stage, free_port, id};

const KIB: usize = 1024;
const PIECE_BYTES: usize = 64 * KIB;
/// The honest peer's pause and the transfer, on a busy machine.
const SOON_S: u64 = 10;
/// Peers that the program serves at a time.
const UPLOAD_SLOTS: u32 = 8;
/// Requests that a peer may reject before it is no longer asked: what it bears as messages that change nothing, and some.
const MAX_REJECTED: u32 = 5000;
/// A request that nobody answers is given to another after 30 s at most.
const SNUBBED_S: u64 = 45;

fn main() {
    let mut rows = Rows::default();
    beside_an_honest_one(&mut rows);
    rows.add("a_peer_that_corrupts_alone_is_left_soon_and_nothing_is_claimed", corrupts_alone);
    rows.add("a_corrupt_peer_on_the_address_of_an_honest_one_does_not_take_it_along", corrupts_on_a_shared_address);
    rows.add("a_peer_that_corrupts_now_and_then_is_found_out", corrupts_now_and_then);
    rows.add("our_own_peer_id_coming_back_is_closed_and_not_dialled_again", own_peer_id);
    rows.add("a_peer_that_rejects_everything_alone_is_not_asked_without_end", rejects_alone);
    rows.add("ourselves_in_the_peer_list_is_dialled_once", ourselves);
    rows.add("peers_that_close_at_once_are_not_dialled_over_and_over", closes_at_once);
    against_a_seed(&mut rows);
    rows.run();
}

type Script = fn(&ScriptedPeer, Link, &Sample) -> io::Result<()>;

fn beside_an_honest_one(rows: &mut Rows) {
    let mut row = |name: &str, within_s, script: Script| {
        rows.add(&format!("a_peer_that_{name}"), move |stage| beside(stage, within_s, script));
    };
    row("accepts_and_says_nothing", SOON_S, |_, mut link, _| link.drain());
    row("sends_half_a_handshake", SOON_S, |_, mut link, _| {
        link.stream.write_all(b"\x13BitTorrent protocol\0\0\0")?;
        link.drain()
    });
    row("speaks_http", SOON_S, |_, mut link, _| {
        link.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        link.drain()
    });
    row("names_another_torrent", SOON_S, |_, mut link, _| {
        link.send_handshake([9; 20], [8; 20], false)?;
        link.drain()
    });
    row("corrupts_every_block", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        this.seed(link, sample, |_, block| block.iter_mut().for_each(|byte| *byte ^= 1))
    });
    row("never_unchokes", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.drain()
    });
    row("unchokes_and_never_sends", SNUBBED_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.send(id::UNCHOKE, &[])?;
        link.drain()
    });
    row("chokes_and_unchokes_without_end", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        let flap = b"\0\0\0\x01\x01\0\0\0\x01\0".repeat(100);
        loop {
            link.stream.write_all(&flap)?;
        }
    });
    row("floods_with_blocks_that_nobody_asked_for", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        loop {
            link.send_block(1, 0, &[7; 16 * KIB])?;
        }
    });
    row("sends_blocks_of_pieces_that_do_not_exist", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.send_block(u32::MAX, u32::MAX, &[7; 16 * KIB])?;
        link.drain()
    });
    row("sends_one_huge_block", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.stream.write_all(&[0x40, 0, 0, 9, id::PIECE, 0, 0, 0, 0, 0, 0, 0, 0])?;
        loop {
            link.stream.write_all(&[7; 16 * KIB])?;
        }
    });
    row("announces_a_length_of_4_gib", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.stream.write_all(&[0xff, 0xff, 0xff, 0xff, id::BITFIELD])?;
        loop {
            link.stream.write_all(&[0; 16 * KIB])?;
        }
    });
    row("sends_a_bitfield_that_is_too_long", SOON_S, |_, mut link, sample| bitfield(&mut link, sample, 6));
    row("sends_a_bitfield_that_is_too_short", SOON_S, |_, mut link, sample| bitfield(&mut link, sample, 2));
    row("sends_a_bitfield_with_spare_bits", SOON_S, |_, mut link, sample| bitfield(&mut link, sample, 5));
    row("floods_with_have", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        let haves = [&[0, 0, 0, 5, id::HAVE], &0u32.to_be_bytes()[..]].concat().repeat(1000);
        loop {
            link.stream.write_all(&haves)?;
        }
    });
    row("has_a_piece_that_does_not_exist", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.send(id::HAVE, &u32::MAX.to_be_bytes())?;
        link.drain()
    });
    row("floods_with_keep_alives", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        loop {
            link.stream.write_all(&[0; 64 * KIB])?;
        }
    });
    row("floods_with_unknown_messages", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        loop {
            link.send(99, &[1; 1000])?;
        }
    });
    row("sends_absurd_extension_handshakes", SOON_S, |this, mut link, sample| {
        link.read_handshake()?;
        let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
        hello.extend_from_slice(&sample.torrent.info_hash);
        hello.extend_from_slice(b"-XX0000-............");
        link.stream.write_all(&hello)?;
        link.send(
            20,
            &[b"\0".as_slice(), b"d1:v5:\x1b[2J\n4:reqqi-99e1:pi999999e12:upload_onlyi77e6:yourip3:abce"].concat(),
        )?;
        link.send(20, b"\0d1:md11:ut_metadatai-1eee")?;
        link.send(id::HAVE_ALL, &[])?;
        this.seed(link, sample, |_, _| ())
    });
    row("sends_deep_nesting_in_an_extension_handshake", SOON_S, |_, mut link, sample| {
        link.read_handshake()?;
        let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
        hello.extend_from_slice(&sample.torrent.info_hash);
        hello.extend_from_slice(b"-XX0000-............");
        link.stream.write_all(&hello)?;
        link.send(20, &[&[0], b"l".repeat(16_000).as_slice()].concat())?;
        link.drain()
    });
    row("sends_one_byte_a_second", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.send(id::UNCHOKE, &[])?;
        let [piece, begin, len] = link.next_request()?;
        link.begin_block(piece, begin, len)?;
        loop {
            link.stream.write_all(&[7])?;
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    row("closes_in_mid_block", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.send(id::UNCHOKE, &[])?;
        let [piece, begin, len] = link.next_request()?;
        link.begin_block(piece, begin, len)?;
        link.stream.write_all(&[7; 5000])
    });
    row("sends_short_blocks", SNUBBED_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        this.seed(link, sample, |_, block| block.truncate(100))
    });
    row("rejects_every_request", SOON_S, |_, mut link, sample| {
        link.read_handshake()?;
        link.send_handshake(sample.torrent.info_hash, *b"-XX0000-............", true)?;
        link.send(id::HAVE_ALL, &[])?;
        link.send(id::UNCHOKE, &[])?;
        loop {
            let request = link.next_request()?;
            link.send_numbers(id::REJECT, request)?;
        }
    });
    row("rejects_what_nobody_asked_for", SOON_S, |_, mut link, sample| {
        link.read_handshake()?;
        link.send_handshake(sample.torrent.info_hash, *b"-XX0000-............", true)?;
        link.send(id::HAVE_ALL, &[])?;
        loop {
            link.send_numbers(id::REJECT, [1, 0, 16_384])?;
        }
    });
    row("sends_fast_messages_without_the_agreement", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.send(id::HAVE_ALL, &[])?;
        link.drain()
    });
    row("asks_for_what_we_do_not_have_without_end", SOON_S, |this, mut link, sample| {
        this.greet(&mut link, sample)?;
        link.send(id::INTERESTED, &[])?;
        loop {
            link.send_numbers(id::REQUEST, [3, 0, 16_384])?;
        }
    });
}

fn bitfield(link: &mut Link, sample: &Sample, len: usize) -> io::Result<()> {
    link.read_handshake()?;
    link.send_handshake(sample.torrent.info_hash, *b"-XX0000-............", false)?;
    link.send(id::BITFIELD, &vec![0xff; len])?;
    link.drain()
}

/// 33 pieces: the last byte of a bitfield has spare bits, and the last piece is short.
fn sample(stage: &Stage) -> Outcome<Sample> {
    let nowhere = format!("http://127.0.0.1:{}/announce", free_port());
    Sample::new(stage, 32 * PIECE_BYTES + 12_345, PIECE_BYTES, &nowhere)
}

fn beside(stage: &Stage, within_s: u64, script: Script) -> Outcome {
    let sample = sample(stage)?;
    let shared = sample.clone();
    let hostile = ScriptedPeer::start(3, move |this, link| script(this, link, &shared))?;
    let honest = ScriptedPeer::honest(2, &sample)?;
    let mut run = sample.download_from(stage, &[hostile.addr, honest.addr], &[])?;
    run.expect_exit(0, within_s)?;
    if hostile.connections() == 0 {
        return Err("the hostile peer was never dialled".into());
    }
    if let Some(c) = run.output()?.chars().find(|c| c.is_control() && *c != '\n') {
        return Err(format!("{c:?} was printed").into());
    }
    sample.check_data()
}

fn corrupt(block: &mut [u8]) {
    block.iter_mut().take(1).for_each(|byte| *byte ^= 0x80);
}

fn corrupts_alone(stage: &Stage) -> Outcome {
    let sample = sample(stage)?;
    let shared = sample.clone();
    let liar = ScriptedPeer::start(3, move |this, mut link| {
        this.greet(&mut link, &shared)?;
        this.seed(link, &shared, |_, block| corrupt(block))
    })?;
    let mut run = sample.download_from(stage, &[liar.addr], &[])?;
    run.wait_for_line("piece_failed", Deadline::in_s(SOON_S))?;
    run.wait_for_line("peer_gone", Deadline::in_s(SOON_S))?;
    watch(&mut run, 7)?;
    // How many come before the verdict on the first piece is a matter of the disk; but nothing is asked for twice.
    let blocks = (32 * PIECE_BYTES + 12_345).div_ceil(16 * 1024);
    if liar.connections() > 1 || liar.served() as usize > blocks {
        return Err(format!("{} connections, {} blocks", liar.connections(), liar.served()).into());
    }
    if run.output()?.contains("piece_verified") {
        return Err("a bad piece was taken".into());
    }
    run.terminate(7)
}

/// Two programs on one machine have one address: what one of them does is not the other's fault.
fn corrupts_on_a_shared_address(stage: &Stage) -> Outcome {
    let sample = sample(stage)?;
    let shared = sample.clone();
    let liar = ScriptedPeer::start(1, move |this, mut link| {
        this.greet(&mut link, &shared)?;
        this.seed(link, &shared, |_, block| corrupt(block))
    })?;
    let honest = ScriptedPeer::honest(1, &sample)?;
    let mut run = sample.download_from(stage, &[liar.addr, honest.addr], &[])?;
    run.expect_exit(0, SOON_S)?;
    sample.check_data()
}

fn corrupts_now_and_then(stage: &Stage) -> Outcome {
    let sample = sample(stage)?;
    let shared = sample.clone();
    let count = AtomicU32::new(0);
    let liar = ScriptedPeer::start(3, move |this, mut link| {
        this.greet(&mut link, &shared)?;
        this.seed(link, &shared, |_, block| {
            if count.fetch_add(1, Ordering::Relaxed) % 7 == 3 {
                corrupt(block);
            }
        })
    })?;
    let honest = ScriptedPeer::honest(2, &sample)?;
    let mut run = sample.download_from(stage, &[liar.addr, honest.addr], &[])?;
    run.expect_exit(0, SOON_S)?;
    sample.check_data()
}

fn own_peer_id(stage: &Stage) -> Outcome {
    let sample = sample(stage)?;
    let mirror = ScriptedPeer::start(3, |_, mut link| {
        let (info_hash, peer_id) = link.read_handshake()?;
        link.send_handshake(info_hash, peer_id, false)?;
        link.drain()
    })?;
    let mut run = sample.download_from(stage, &[mirror.addr], &[])?;
    stage.deadline().wait_for("a dial", || Ok((mirror.connections() > 0).then_some(())))?;
    watch(&mut run, 9)?;
    if mirror.connections() != 1 {
        return Err(format!("dialled {} times", mirror.connections()).into());
    }
    run.terminate(7)
}

/// Each reject could be answered by the same request at once: a loop as fast as the two machines.
fn rejects_alone(stage: &Stage) -> Outcome {
    let sample = sample(stage)?;
    let shared = sample.clone();
    let requests = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&requests);
    let peer = ScriptedPeer::start(3, move |_, mut link| {
        link.read_handshake()?;
        link.send_handshake(shared.torrent.info_hash, *b"-XX0000-............", true)?;
        link.send(id::HAVE_ALL, &[])?;
        link.send(id::UNCHOKE, &[])?;
        loop {
            let request = link.next_request()?;
            count.fetch_add(1, Ordering::Relaxed);
            link.send_numbers(id::REJECT, request)?;
        }
    })?;
    let mut run = sample.download_from(stage, &[peer.addr], &[])?;
    stage.deadline().wait_for("a request", || Ok((requests.load(Ordering::Relaxed) > 0).then_some(())))?;
    watch(&mut run, 5)?;
    let requests = requests.load(Ordering::Relaxed);
    if requests > MAX_REJECTED {
        return Err(format!("{requests} requests in 5 s").into());
    }
    run.terminate(7)
}

/// The tracker names our own address, on every announce.
fn ourselves(stage: &Stage) -> Outcome {
    let tracker = HttpTracker::start(|target, stream| {
        let port: u16 = target.split_once("port=").and_then(|(_, p)| p.split('&').next()?.parse().ok()).unwrap_or(1);
        let own = [SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
        // The client may be gone: the end of the script either way.
        let _ = stream.write_all(&tests::http_ok(&tests::reply(1800, &tests::compact(&own))));
    })?;
    let sample = Sample::new(stage, 32 * PIECE_BYTES, PIECE_BYTES, &tracker.url())?;
    let mut run = sample.download(stage, &["--log-level", "debug"])?;
    run.wait_for_line("tracker_answered", Deadline::in_s(SOON_S))?;
    watch(&mut run, 9)?;
    if run.output()?.contains("peer_connected") {
        return Err("it took itself for a peer".into());
    }
    run.terminate(7)
}

fn closes_at_once(stage: &Stage) -> Outcome {
    let sample = sample(stage)?;
    let rude = ScriptedPeer::start(3, |_, link| {
        drop(link);
        Ok(())
    })?;
    let mut run = sample.download_from(stage, &[rude.addr], &[])?;
    stage.deadline().wait_for("a dial", || Ok((rude.connections() > 0).then_some(())))?;
    watch(&mut run, 9)?;
    if rude.connections() > 3 {
        return Err(format!("dialled {} times in 9 s", rude.connections()).into());
    }
    run.terminate(7)
}

/// Looks at it for so long: it must stay alive, small and idle.
fn watch(run: &mut Run, seconds: u64) -> Outcome {
    let end = Deadline::in_s(seconds);
    while !end.is_over() {
        run.check_alive()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Hostile peers dial a seed; afterwards an honest one must still be served.
fn against_a_seed(rows: &mut Rows) {
    let mut row = |name: &str, script: fn(SocketAddr, &Sample) -> io::Result<()>| {
        rows.add(&format!("a_seed_outlives_{name}"), move |stage| {
            let seed = Seed::start(stage)?;
            // The seed may close at any moment: an error is the end of the script.
            let _ = script(seed.addr, &seed.sample);
            seed.check(stage)
        });
    };
    row("a_thousand_connections", |seed, _| {
        let streams: Vec<TcpStream> = (0..1000).map_while(|_| TcpStream::connect(seed).ok()).collect();
        std::thread::sleep(Duration::from_millis(500));
        drop(streams);
        Ok(())
    });
    row("a_thousand_silent_connections_that_stay", |seed, _| {
        let streams: Vec<TcpStream> = (0..1000).map_while(|_| TcpStream::connect(seed).ok()).collect();
        std::mem::forget(streams);
        Ok(())
    });
    row("a_thousand_handshakes", |seed, sample| {
        for _ in 0..1000 {
            dial(seed, sample)?;
        }
        Ok(())
    });
    row("a_peer_that_asks_and_never_reads", |seed, sample| {
        let mut link = dial(seed, sample)?;
        link.send(id::INTERESTED, &[])?;
        while link.receive()?.0 != id::UNCHOKE {}
        for n in 0..200_000u32 {
            link.send_numbers(id::REQUEST, [n % 32, (n % 4) * 16_384, 16_384])?;
        }
        std::mem::forget(link);
        Ok(())
    });
    row("as_many_peers_that_never_read_as_it_serves_at_a_time", |seed, sample| {
        for _ in 0..UPLOAD_SLOTS {
            let mut link = dial(seed, sample)?;
            link.send(id::INTERESTED, &[])?;
            while link.receive()?.0 != id::UNCHOKE {}
            // More than the buffers of both systems hold.
            for n in 0..1500u32 {
                link.send_numbers(id::REQUEST, [n % 32, 0, PIECE_BYTES as u32])?;
            }
            std::mem::forget(link);
        }
        Ok(())
    });
    row("requests_while_choked", |seed, sample| {
        let mut link = dial(seed, sample)?;
        loop {
            link.send_numbers(id::REQUEST, [1, 0, 16_384])?;
        }
    });
    row("a_request_beyond_the_end", |seed, sample| {
        let mut link = dial(seed, sample)?;
        link.send(id::INTERESTED, &[])?;
        while link.receive()?.0 != id::UNCHOKE {}
        link.send_numbers(id::REQUEST, [32, u32::MAX, u32::MAX])?;
        link.drain()
    });
    row("a_length_of_4_gib", |seed, sample| {
        let mut link = dial(seed, sample)?;
        link.stream.write_all(&[0xff; 64])?;
        link.drain()
    });
    row("a_flood_of_have", |seed, sample| {
        let mut link = dial(seed, sample)?;
        let haves = [&[0, 0, 0, 5, id::HAVE], &3u32.to_be_bytes()[..]].concat().repeat(1000);
        loop {
            link.stream.write_all(&haves)?;
        }
    });
    row("garbage", |seed, _| {
        let mut stream = TcpStream::connect(seed)?;
        stream.write_all(&tests::noise(9, 100_000))?;
        stream.read(&mut [0; 9]).map(drop)
    });
}

fn dial(seed: SocketAddr, sample: &Sample) -> io::Result<Link> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut link = Link::new(TcpStream::connect(seed)?);
    let mut peer_id = *b"-YY0000-............";
    peer_id[8..12].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    link.send_handshake(sample.torrent.info_hash, peer_id, false)?;
    link.read_handshake()?;
    Ok(link)
}

/// `sameseed` with all the data.
struct Seed {
    sample: Arc<Sample>,
    addr: SocketAddr,
    run: Run,
}

impl Seed {
    fn start(stage: &Stage) -> Outcome<Seed> {
        let sample = sample(stage)?;
        sample.tree.write_into(&sample.dir)?;
        let port = free_port();
        let text = |path: &Path| path.display().to_string();
        let mut run = Run::start(
            stage,
            "sameseed",
            [
                &text(&sample.torrent.path),
                "--dir",
                &text(&sample.dir),
                "--json",
                "--seed",
                "--listen-port",
                &port.to_string(),
            ],
        )?;
        run.wait_for_line("\"complete\"", Deadline::in_s(SOON_S))?;
        Ok(Seed { sample: Arc::new(sample), addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), run })
    }

    /// An honest leecher from another address gets a block; then the seed leaves as it should.
    fn check(mut self, stage: &Stage) -> Outcome {
        let mut last = None;
        stage.deadline().wait_for("an honest leecher is served", || {
            self.run.check_alive()?;
            last = self.fetch_block().err();
            Ok(last.is_none().then_some(()))
        })?;
        self.run.terminate(0)?;
        self.sample.check_data()
    }

    fn fetch_block(&self) -> io::Result<()> {
        let mut link = dial(self.addr, &self.sample)?;
        link.stream.set_read_timeout(Some(Duration::from_secs(12)))?;
        link.send(id::INTERESTED, &[])?;
        while link.receive()?.0 != id::UNCHOKE {}
        link.send_numbers(id::REQUEST, [5, 16_384, 16_384])?;
        loop {
            let (id, payload) = link.receive()?;
            if id == id::PIECE {
                let at = 5 * PIECE_BYTES + 16_384;
                let right = payload.get(8..) == self.sample.bytes().get(at..at + 16_384);
                return if right { Ok(()) } else { Err(io::Error::other("a wrong block")) };
            }
        }
    }
}
