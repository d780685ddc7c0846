//! The laws of a swarm, each with a name and a sentence, and the log that tells how one was broken.
//!
//! A broken law is a panic, like a broken law inside an engine: both end the world and are reported alike.

use super::faults::Fault;
use sameseed_core::time::Instant;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

macro_rules! checks {
    ($($check:ident $sentence:literal),* $(,)?) => {
        /// A law, named.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the sentences beside the names say it")]
        pub enum Check { $($check),* }

        impl Check {
            /// Every law.
            pub const ALL: &[Check] = &[$(Check::$check),*];

            /// What must hold.
            pub const fn sentence(self) -> &'static str {
                match self { $(Check::$check => $sentence),* }
            }
        }
    };
}

checks! {
    Readable "all that a client sends is read by the naive decoder",
    ChokedRequest "no request is sent while the peer chokes",
    PossibleRequest "only blocks are asked for that the peer announced, inside their piece, of a piece we lack",
    AskedOnce "a block is asked of a peer once at a time",
    EndGameOnly "a block is asked of a second peer only when every other block within reach is asked for, and never of a third",
    AnswerOnce "a block or a reject is sent only for a request, and once",
    AnswerAll "with BEP 6 each request is answered: at once when we choke or it is cancelled, in the end in any case",
    NotCancelled "no block is sent whose cancel has arrived",
    NotChoking "no block is sent while we choke, outside the allowed-fast set",
    BitfieldFirst "the pieces we have are told first or not at all",
    HaveOnce "a piece is announced once per connection",
    HaveIsTrue "only pieces are announced that stand verified on the disk",
    Interested "we say that we are interested exactly while the peer has told of a piece that we lack",
    UploadIsTrue "only verified bytes are uploaded",
    AfterClose "nothing is sent or asked on a connection that is closed",
    DoneOnce "each operation ends exactly once",
    Recount "what an engine keeps equals a recount: a piece has one state, a buffer one place, a request one reservation",
    HaveCount "the count of pieces and bytes equals what is on the disk",
    Counted "each byte of payload is counted once, received as well as sent",
    Useful "what was received and not wasted is what was missing at the start",
    Junk "who has sent nothing that was asked for has no download rate",
    OneLink "a client has one live link per peer, and none to itself",
    Limits "connections, operations, windows, queues and backlogs stay under their limits",
    Spin "no timer fires over and over without time passing",
    IdleTick "a tick before its time changes nothing",
    HonestBan "an honest peer is never banned, unless it shares a liar's address",
    LiarBan "who alone sent a bad piece is cut off at once and not dialled again, and no liar spoils many pieces",
    Starving "an interested peer is unchoked within a turn for each peer that waits with it",
    Liveness "after healing every honest leecher finishes, or a piece exists nowhere reachable",
    Audit "in the end the files equal the formula",
    Home "in the end every buffer, socket and operation is home",
    Goodbye "a client that is told to stop says that it has, in time, and then nothing more",
}

/// Lines that a report shows of each host involved.
const REPORT_LINES: usize = 30;
/// Lines kept when all is not printed: enough that a quiet host has its own among them.
const MAX_LINES: usize = 80 * REPORT_LINES;

/// What is known when a law breaks. Kept outside the world, so that it outlives a panic.
#[derive(Debug, Default)]
pub struct Scene {
    /// The simulated time.
    pub now: Instant,
    /// Whose turn it was.
    pub host: usize,
    /// Who is at the other end of the connection concerned; known only while lines are kept.
    pub other: Option<usize>,
    /// Steps taken.
    pub steps: u64,
    /// How often each kind of fault has struck; known when the run is over.
    pub counts: Vec<u64>,
    /// Whether lines are kept.
    pub logging: bool,
    /// Whether all lines are kept.
    pub full: bool,
    /// The last lines: host, text.
    pub lines: VecDeque<(usize, String)>,
}

impl Scene {
    /// Writes a line about a host.
    pub fn note(&mut self, host: usize, line: impl FnOnce() -> String) {
        if !self.logging {
            return;
        }
        let micros = self.now.as_micros();
        let line = format!("{:>5}.{:06}  host-{host:<2}  {}", micros / 1_000_000, micros % 1_000_000, line());
        self.lines.push_back((host, line));
        if !self.full && self.lines.len() > MAX_LINES {
            self.lines.pop_front();
        }
    }

    /// The last lines about a host.
    pub fn last(&self, host: usize, count: usize) -> Vec<&str> {
        let mut lines: Vec<&str> =
            self.lines.iter().rev().filter(|(h, _)| *h == host).take(count).map(|(_, l)| l.as_str()).collect();
        lines.reverse();
        lines
    }

    /// How often each kind of fault has struck, in words.
    pub fn faults(&self) -> String {
        let struck = Fault::ALL.iter().zip(&self.counts).filter(|(_, count)| **count > 0);
        let struck: Vec<String> = struck.map(|(fault, count)| format!("{} {count}", fault.name())).collect();
        if struck.is_empty() { String::from("none") } else { struck.join(", ") }
    }
}

/// The scene, shared between a world and whoever watches it.
pub type SharedScene = Rc<RefCell<Scene>>;

/// Ends the world because a law is broken.
///
/// # Panics
/// Always.
pub fn broken(check: Check, host: usize, detail: &str) -> ! {
    panic!("{check:?}: {} (host-{host}: {detail})", check.sentence())
}

/// What is told of a broken law: the law, where and when, the last events of the hosts involved, the faults, and how to repeat it.
/// `text` is the panic's message.
pub fn report(seed: u64, scene: &Scene, text: &str) -> String {
    let micros = scene.now.as_micros();
    let at = format!("{}.{:06} s", micros / 1_000_000, micros % 1_000_000);
    let mut report = format!("BROKEN {text}\n  host-{}, step {}, simulated time {at}\n", scene.host, scene.steps);
    for host in [Some(scene.host), scene.other.filter(|other| *other != scene.host)].into_iter().flatten() {
        let lines = scene.last(host, REPORT_LINES);
        if !lines.is_empty() {
            report += &format!("  last {} events of host-{host}:\n    {}\n", lines.len(), lines.join("\n    "));
        }
    }
    report += &format!("  faults so far: {}\n  seed {seed}\n", scene.faults());
    report + &format!("  repeat with: cargo run --release -p sim -- run {seed} --log full")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_law_the_place_the_faults_and_the_command() {
        let mut scene = Scene { host: 3, other: Some(1), steps: 77, logging: true, ..Scene::default() };
        scene.now = Instant::from_secs(5);
        (0..50).for_each(|n| scene.note(3, || format!("line {n}")));
        scene.note(1, || String::from("the other"));
        scene.note(2, || String::from("a stranger"));
        scene.counts = vec![0; Fault::ALL.len()];
        scene.counts[Fault::Reset as usize] = 4;
        let text = report(9, &scene, "HaveOnce: a piece is announced once per connection (host-3: piece 1)");
        assert!(text.starts_with("BROKEN HaveOnce: a piece is announced once per connection"), "{text}");
        assert!(text.contains("host-3, step 77, simulated time 5.000000 s"), "{text}");
        assert!(text.contains("line 20") && !text.contains("line 19\n"), "the last 30: {text}");
        assert!(text.contains("the other") && !text.contains("a stranger"), "{text}");
        assert!(text.contains("faults so far: link: reset 4"), "{text}");
        assert!(text.ends_with("cargo run --release -p sim -- run 9 --log full"), "{text}");
    }
}
