//! The laws of a swarm, each with a name and a sentence, and the log that tells how one was broken.
//!
//! A broken law is a panic, like a broken law inside an engine: both end the world and are reported alike.

use sameseed_core::id::ConnId;
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
    Unwanted "no block is asked of a piece that touches no selected file",
    LeftAlone "a file that was never selected is not made",
    AskedOnce "a block is asked of a peer once at a time",
    EndGameOnly "a block is asked of a second peer only when every other block within reach that is wanted is asked for, and never of a third",
    AnswerOnce "a block or a reject is sent only for a request, and once",
    AnswerAll "with BEP 6 each request is answered: at once when we choke or it is cancelled, in the end in any case",
    NotCancelled "no block is sent whose cancel has arrived",
    NotChoking "no block is sent while we choke, outside the allowed-fast set",
    BitfieldFirst "the pieces we have are told first or not at all",
    HaveOnce "a piece is announced once per connection",
    HaveIsTold "a piece that comes is announced to everybody within two seconds, unless payload before it is held by a limit",
    HaveIsTrue "only pieces are announced that stand verified on the disk",
    TakenBack "a piece that was announced and is found to be gone is taken back from everybody, and no other",
    Interested "we say that we are interested exactly while the peer has told of a piece that we lack and want",
    UploadIsTrue "only verified bytes are uploaded",
    AfterClose "nothing is sent or asked on a connection that is closed",
    DoneOnce "each operation ends exactly once",
    Recount "what an engine keeps equals a recount: a piece has one state, a buffer one place, a request one reservation",
    ClaimIsSafe "resume data claims only pieces that are right on stable storage, and nobody is told sooner that a download is complete",
    HaveCount "the count of pieces and bytes equals what is on the disk",
    Counted "each byte of payload is counted once, received as well as sent",
    Useful "what was received and not wasted is what was verified since the check",
    Junk "who has sent nothing that was asked for has no download rate",
    OneLink "a client has one live link per peer, and none to itself",
    Limits "connections, operations, windows, queues and backlogs stay under their limits",
    Rate "no more is received than the limits allow and one block, and no payload sent beyond",
    Spin "no timer fires over and over without time passing",
    IdleTick "a tick before its time changes nothing",
    HonestBan "an honest peer is never banned, unless it shares a liar's address",
    LiarBan "who alone sent a bad piece is cut off at once and not dialled again, and no liar spoils many pieces",
    Starving "an interested peer is unchoked within a turn for each peer that waits with it",
    Silent "a paused torrent is silent: no peer, no dial, no announce but the goodbye, and no scrape unless somebody asks",
    Active "a torrent that may not be active, or says that it was seeded enough, is silent: no peer, and no announce but the goodbye, unless it is being checked",
    Gone "a removed torrent is gone: no connection, operation or buffer of it, and no file if so wanted",
    Shown "how large the swarm is said to be is what that tracker has said, and what it has just said is shown",
    Explained "a torrent says why it receives no more, and each of its connections why it does not",
    Liveness "after healing every honest leecher has what it wants, or a piece exists nowhere reachable",
    Audit "in the end the files that are wanted equal the formula",
    Home "in the end every buffer, socket and operation is home",
    WritesFirst "a client says that it has stopped when its last write is safe, or its time for that is over",
    Announced "trackers are told what is true: what is left, that we completed, and at the end that we stop",
    Goodbye "a client that is told to stop says that it has, in time, and then nothing more",
}

/// Lines kept when all is not printed: enough that a quiet host has its own among them.
const MAX_LINES: usize = 2400;

/// What is known when a law breaks. Kept outside the world, so that it outlives a panic.
#[derive(Debug, Default)]
pub struct Scene {
    /// The simulated time.
    pub now: Instant,
    /// Whose turn it was.
    pub host: usize,
    /// Steps taken.
    pub steps: u64,
    /// Whether lines are kept.
    pub logging: bool,
    /// Whether all lines are kept.
    pub full: bool,
    /// The last lines: host, text.
    pub lines: VecDeque<(usize, String)>,
    /// How often each fault had struck when the world ended.
    pub counts: Vec<u64>,
    /// The connections when the world ended: node, its name for the connection, the node at the other end.
    pub neighbours: Vec<(usize, ConnId, usize)>,
}

impl Scene {
    /// Writes a line about a host.
    pub fn note(&mut self, host: usize, line: impl FnOnce() -> String) {
        if !self.logging {
            return;
        }
        let micros = self.now.as_micros();
        let line = {
            let (s, us, step) = (micros / 1_000_000, micros % 1_000_000, self.steps);
            format!("{s:>5}.{us:06} {step:>8}  host-{host:<2}  {}", line())
        };
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
