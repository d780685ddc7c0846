//! One announce to one tracker, or one scrape of it, from the resolver to the answer: addresses in turn, redirects, UDP's connection ids and
//! retransmission.
//!
//! It knows nothing of other trackers. It lives until it gives an answer or a failure, or is cancelled from above.

use super::tracker::Connection;
use super::{AnnounceOutput, RequestId};
use crate::action::{Fetch, Operation, TrackerFailure};
use crate::event::FetchReply;
use crate::fault::LinkFault;
use crate::id::InfoHash;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::tracker::http::{ReplyError, Retry, announce_target, failure_in, parse_reply, parse_scrape, scrape_target};
use crate::tracker::reach::{Reach, may_reach, reach_of};
use crate::tracker::udp::{Request, Response, decode_response, encode_request, response_transaction};
use crate::tracker::url::{Host, Scheme, Url};
use crate::tracker::{Announce, AnnounceKind, MAX_REPLY_BYTES, Reply, Swarm};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Redirects followed in one announce. A circle ends here.
pub(crate) const MAX_REDIRECTS: u32 = 5;
/// Addresses of one name that are tried: no tracker has more, a hostile name server might.
const MAX_ADDRESSES: usize = 8;
/// An HTTP address that keeps silent gives way to the name's next one after this long.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(15);
/// BEP 15: a UDP packet is sent again after 15·2^n seconds...
const RETRANSMIT_BASE: Duration = Duration::from_secs(15);
/// ... with n up to 8; then the tracker is given up.
const MAX_RETRANSMITS: u32 = 8;

/// What an attempt may use while it is told something.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) question: Question,
    pub(super) tracker_id: Option<&'a [u8]>,
    pub(super) user_agent: &'a str,
    pub(super) connection: &'a mut Option<Connection>,
    pub(super) rng: &'a mut Rng,
    pub(super) next_request: &'a mut u64,
    pub(super) outputs: &'a mut VecDeque<AnnounceOutput>,
}

impl Context<'_> {
    fn submit(&mut self, operation: Operation) -> RequestId {
        let request = RequestId(*self.next_request);
        *self.next_request += 1;
        self.outputs.push_back(AnnounceOutput::Submit { request, operation });
        request
    }
}

/// What a tracker is asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Announce(Announce),
    /// How large the swarm of this torrent is.
    Scrape(InfoHash),
}

/// How an attempt stands after it was told something.
#[derive(Debug)]
pub(super) enum Progress {
    /// It goes on.
    Pending,
    /// The tracker answered, from this address.
    Answered(Reply, SocketAddr),
    /// The tracker answered a scrape.
    Counted(Swarm),
    /// It is over.
    Failed(TrackerFailure, Option<Retry>),
}

fn failed(reason: impl Into<TrackerFailure>) -> Progress {
    Progress::Failed(reason.into(), None)
}

/// One announce or scrape under way.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Which tracker.
    pub(super) tracker: usize,
    /// What it is told; `None` when it is scraped.
    pub(super) kind: Option<AnnounceKind>,
    /// When this began.
    pub(super) began: Instant,
    /// It took too long and was reported; only UDP attempts go on after that.
    pub(super) overdue: bool,
    url: Url,
    redirects: u32,
    /// A redirect came from a host in the world.
    from_global: bool,
    /// Addresses not yet tried.
    addrs: VecDeque<SocketAddr>,
    /// Why the last address failed.
    fault: LinkFault,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    /// Nothing under way: the moment between two steps.
    Idle,
    Resolving(RequestId),
    Fetching {
        request: RequestId,
        addr: SocketAddr,
        /// When the next address has its turn; `None` for the last one.
        give_way_at: Option<Instant>,
    },
    Udp(Exchange),
}

#[derive(Clone, Copy, Debug)]
struct Exchange {
    addr: SocketAddr,
    transaction: u32,
    sent: Sent,
    /// Retransmissions since the last progress.
    retransmits: u32,
    /// A connection id came during this attempt. Only the first one counts as progress: a tracker that answers nothing else must not keep us
    /// at the short pauses.
    connected: bool,
    resend_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    Connect,
    Question,
}

impl Attempt {
    pub(super) fn new(tracker: usize, kind: Option<AnnounceKind>, url: Url, now: Instant) -> Self {
        Attempt {
            tracker,
            kind,
            began: now,
            overdue: false,
            url,
            redirects: 0,
            from_global: false,
            addrs: VecDeque::new(),
            fault: LinkFault::NameNotFound,
            step: Step::Idle,
        }
    }

    /// Sets off; `known` is an address to use without asking the resolver.
    pub(super) fn begin(&mut self, known: Option<SocketAddr>, cx: &mut Context<'_>) -> Progress {
        if let Some(addr) = known {
            return self.use_addresses(&[addr.ip()], cx);
        }
        match &self.url.host {
            Host::Ip(ip) => self.use_addresses(&[*ip], cx),
            Host::Name(host) => {
                let request = cx.submit(Operation::Resolve { host: host.clone() });
                self.step = Step::Resolving(request);
                Progress::Pending
            }
        }
    }

    /// The operation under way, when there is one.
    pub(super) fn request(&self) -> Option<RequestId> {
        match &self.step {
            Step::Resolving(request) | Step::Fetching { request, .. } => Some(*request),
            Step::Idle | Step::Udp(_) => None,
        }
    }

    /// Whether it was led to another URL than the tracker's own.
    pub(super) fn was_redirected(&self) -> bool {
        self.redirects > 0
    }

    /// Whether a UDP exchange is under way.
    pub(super) fn is_udp(&self) -> bool {
        matches!(self.step, Step::Udp(_))
    }

    /// Whether a datagram may be the answer that this attempt waits for.
    pub(super) fn expects(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        let Step::Udp(exchange) = &self.step else { return false };
        exchange.addr == canonical(from) && response_transaction(bytes) == Some(exchange.transaction)
    }

    /// When it wants to be told the time.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match &self.step {
            Step::Fetching { give_way_at, .. } => *give_way_at,
            Step::Udp(exchange) => Some(exchange.resend_at),
            Step::Idle | Step::Resolving(_) => None,
        }
    }

    /// The time named by [`Attempt::timeout`] has come.
    pub(super) fn handle_time(&mut self, cx: &mut Context<'_>) -> Progress {
        match self.step.clone() {
            Step::Fetching { request, .. } => {
                cx.outputs.push_back(AnnounceOutput::Abort { request });
                self.fault = LinkFault::TimedOut;
                self.next_address(cx)
            }
            Step::Udp(exchange) if exchange.retransmits == MAX_RETRANSMITS => failed(LinkFault::TimedOut),
            Step::Udp(mut exchange) => {
                exchange.retransmits += 1;
                // Before any word from the tracker its other addresses get their turn.
                if exchange.sent == Sent::Connect
                    && let Some(next) = self.addrs.pop_front()
                {
                    self.addrs.push_back(exchange.addr);
                    exchange.addr = next;
                    exchange.sent = Sent::Nothing;
                }
                self.send(exchange, cx)
            }
            Step::Idle | Step::Resolving(_) => Progress::Pending,
        }
    }

    /// The resolver has answered.
    pub(super) fn handle_resolved(&mut self, result: Result<Vec<IpAddr>, LinkFault>, cx: &mut Context<'_>) -> Progress {
        match result {
            Ok(ips) => self.use_addresses(&ips, cx),
            Err(fault) => failed(fault),
        }
    }

    fn use_addresses(&mut self, ips: &[IpAddr], cx: &mut Context<'_>) -> Progress {
        if ips.is_empty() {
            return failed(LinkFault::NameNotFound);
        }
        self.addrs.clear();
        for ip in ips.iter().take(MAX_ADDRESSES) {
            let addr = canonical(SocketAddr::new(*ip, self.url.port));
            if may_reach(&self.url, addr.ip(), self.from_global) && !self.addrs.contains(&addr) {
                self.addrs.push_back(addr);
            }
        }
        if self.addrs.is_empty() {
            let redirected = self.redirects > 0;
            return failed(if redirected { TrackerFailure::Redirect } else { TrackerFailure::ForbiddenAddress });
        }
        self.next_address(cx)
    }

    fn next_address(&mut self, cx: &mut Context<'_>) -> Progress {
        let Some(addr) = self.addrs.pop_front() else { return failed(self.fault) };
        if self.url.scheme == Scheme::Udp {
            let (retransmits, connected, resend_at) = (0, false, cx.now);
            return self
                .send(Exchange { addr, transaction: 0, sent: Sent::Nothing, retransmits, connected, resend_at }, cx);
        }
        let target = match self.redirects {
            0 => match &cx.question {
                Question::Announce(announce) => announce_target(&self.url, announce, cx.tracker_id),
                Question::Scrape(info_hash) => scrape_target(&self.url, *info_hash),
            },
            // The redirecting server had our parameters and put into `Location` what is to be asked.
            _ => self.url.target.clone(),
        };
        let tls_name = (self.url.scheme == Scheme::Https).then(|| match &self.url.host {
            Host::Name(name) => name.clone(),
            Host::Ip(ip) => ip.to_string(),
        });
        let fetch = Fetch {
            addr,
            tls_name,
            host: self.url.host_header(),
            target,
            user_agent: String::from(cx.user_agent),
            max_body_bytes: MAX_REPLY_BYTES,
        };
        let request = cx.submit(Operation::Fetch(Box::new(fetch)));
        let give_way_at = (!self.addrs.is_empty()).then(|| cx.now + ADDRESS_TIMEOUT);
        self.step = Step::Fetching { request, addr, give_way_at };
        Progress::Pending
    }

    /// The HTTP exchange has ended.
    pub(super) fn handle_fetched(&mut self, result: Result<FetchReply, LinkFault>, cx: &mut Context<'_>) -> Progress {
        let Step::Fetching { addr, .. } = self.step else { return Progress::Pending };
        let reply = match result {
            Ok(reply) => reply,
            // The same bomb lies behind its other addresses.
            Err(LinkFault::TooLarge) => return failed(LinkFault::TooLarge),
            Err(fault) => {
                self.fault = fault;
                return self.next_address(cx);
            }
        };
        match reply.status {
            200..=299 => match cx.question {
                Question::Announce(_) => {
                    parse_reply(&reply.body, reply.gzip).map_or_else(refused, |reply| Progress::Answered(reply, addr))
                }
                Question::Scrape(info_hash) => {
                    parse_scrape(&reply.body, reply.gzip, info_hash).map_or_else(refused, Progress::Counted)
                }
            },
            301 | 302 | 303 | 307 | 308 if reply.location.is_some() => {
                self.redirect(&reply.location.unwrap_or_default(), addr, cx)
            }
            status => failure_in(&reply.body, reply.gzip).map_or(failed(TrackerFailure::Status(status)), refused),
        }
    }

    fn redirect(&mut self, location: &str, from: SocketAddr, cx: &mut Context<'_>) -> Progress {
        self.redirects += 1;
        self.from_global |= reach_of(from.ip()) == Reach::Global;
        let Ok(url) = self.url.join(location) else { return failed(TrackerFailure::Redirect) };
        // The parameters hold a passkey: what TLS protected is not sent in the clear afterwards.
        let weaker = url.scheme == Scheme::Udp || (self.url.scheme, url.scheme) == (Scheme::Https, Scheme::Http);
        if weaker || self.redirects > MAX_REDIRECTS {
            return failed(TrackerFailure::Redirect);
        }
        self.url = url;
        self.begin(None, cx)
    }

    /// Sends the packet that is due: the question when there is a good connection id, else a connect. The same packet keeps its
    /// transaction, so that a late answer still counts.
    fn send(&mut self, mut exchange: Exchange, cx: &mut Context<'_>) -> Progress {
        let connection = cx.connection.and_then(|connection| connection.id_for(exchange.addr, cx.now));
        let sent = if connection.is_some() { Sent::Question } else { Sent::Connect };
        if sent != exchange.sent {
            exchange.sent = sent;
            exchange.transaction = cx.rng.next_u32();
        }
        let transaction = exchange.transaction;
        let request = match (connection, &cx.question) {
            (None, _) => Request::Connect { transaction },
            (Some(connection), Question::Announce(announce)) => {
                let url_data = if self.url.target == "/" { Vec::new() } else { self.url.target.clone().into_bytes() };
                Request::Announce { connection, transaction, announce: announce.clone(), url_data }
            }
            (Some(connection), Question::Scrape(info_hash)) => {
                Request::Scrape { connection, transaction, info_hashes: vec![*info_hash] }
            }
        };
        exchange.resend_at = cx.now + RETRANSMIT_BASE * (1 << exchange.retransmits.min(MAX_RETRANSMITS));
        cx.outputs.push_back(AnnounceOutput::Datagram { to: exchange.addr, bytes: encode_request(&request) });
        self.step = Step::Udp(exchange);
        Progress::Pending
    }

    /// A datagram that [`Attempt::expects`] has arrived.
    pub(super) fn handle_datagram(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Progress {
        let Step::Udp(mut exchange) = self.step else { return Progress::Pending };
        let scrapes = matches!(cx.question, Question::Scrape(_));
        match (decode_response(bytes, exchange.addr.ip()), exchange.sent) {
            (Some(Response::Connect { connection, .. }), Sent::Connect) => {
                *cx.connection = Some(Connection { addr: exchange.addr, id: connection, received: cx.now });
                if !exchange.connected {
                    exchange.connected = true;
                    exchange.retransmits = 0;
                }
                self.send(exchange, cx)
            }
            (Some(Response::Announce { reply, .. }), Sent::Question) if !scrapes => {
                Progress::Answered(reply, exchange.addr)
            }
            (Some(Response::Scrape { swarms, .. }), Sent::Question) if scrapes => match swarms.first() {
                Some(swarm) => Progress::Counted(*swarm),
                None => failed(TrackerFailure::Malformed("a scrape without counts")),
            },
            (Some(Response::Error { reason, .. }), sent) => {
                *cx.connection = None;
                if sent == Sent::Question && !exchange.connected {
                    // The id was from an earlier exchange: the tracker may have been restarted since. Ask for a new one, once.
                    exchange.connected = true;
                    exchange.sent = Sent::Nothing;
                    return self.send(exchange, cx);
                }
                failed(TrackerFailure::Refused(reason))
            }
            (Some(_), _) => Progress::Pending,
            (None, _) => failed(TrackerFailure::Malformed("broken UDP packet")),
        }
    }

    /// Gives the operation under way up, if there is one.
    pub(super) fn cancel(&self, outputs: &mut VecDeque<AnnounceOutput>) {
        outputs.extend(self.request().map(|request| AnnounceOutput::Abort { request }));
    }
}

fn refused(error: ReplyError) -> Progress {
    match error {
        ReplyError::Refused { reason, retry } => Progress::Failed(TrackerFailure::Refused(reason), retry),
        ReplyError::Malformed(what) => failed(TrackerFailure::Malformed(what)),
    }
}

/// Sockets that speak both families report IPv4 senders as mapped addresses.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
