//! A client driven: events go in, actions and bytes come out and are carried out. What a driver does, without a socket.

use super::announces::Announce;
use super::bytes::Bytes;
use super::checks::{Check, broken};
use super::faults::Fault;
use super::host::{Host, TORRENT};
use super::node::{Kind, Node, NodeIndex, is_liar};
use super::nth::{BACK_AFTER, Fate};
use super::sabotage::Sabotage;
use super::wire::{Breach, Wire};
use super::world::{Later, World};
use sameseed_core::action::{Action, CloseReason, Destination, Notice, Operation, Segment, TxBatch};
use sameseed_core::event::{Command, Event, Outcome};
use sameseed_core::fault::LinkFault;
use sameseed_core::id::ConnId;
use sameseed_core::time::Duration;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The laws that need a look at everything are checked every so many steps of the world.
const WIDE_CADENCE: u64 = 61;
/// A copy of an engine is ticked before its time after every so many of its events.
const IDLE_CADENCE: u64 = 251;

impl World {
    pub(super) fn tick(&mut self, index: NodeIndex, life: u32) {
        let now = self.now;
        if self.nodes[index].life != life || self.host(index).next_tick != Some(now) {
            return;
        }
        let host = self.host_mut(index);
        host.next_tick = None;
        host.note_tick(index, now + host.skew);
        self.tell(index, Event::Tick);
        if self.strikes(Fault::TwoTicks) {
            self.tell(index, Event::Tick);
        }
    }

    /// Breaks a client on purpose.
    ///
    /// # Panics
    /// When the node is hostile.
    pub fn sabotage(&mut self, index: NodeIndex, sabotage: Sabotage) {
        self.host_mut(index).sabotage = Some(sabotage);
    }

    /// Hands an event to a client, and does what it then wants.
    pub(super) fn tell(&mut self, index: NodeIndex, mut event: Event<'_>) {
        self.scene.borrow_mut().host = index;
        self.note(index, || format!("<- {}", brief(&event)));
        self.trace.number(self.now.as_micros() << 8 | index as u64);
        self.trace.event(&event);
        self.keep_books(index, &event);
        self.keep_flow(index, &event);
        self.note_command(index, &event);
        let (now, life) = (self.now, self.nodes[index].life);
        let eager = !self.host(index).undrained;
        let late = eager && self.strikes(Fault::LateDrain);
        let batched = eager && !late && self.strikes(Fault::Batched);
        let calm = !self.faults.on;
        let host = self.host_mut(index);
        host.events += 1;
        if let Event::Command(Command::Shutdown) = event {
            host.told_to_stop.get_or_insert(now + host.skew);
        }
        if host.sabotage.is_none_or(|sabotage| sabotage.event(&mut event)) {
            host.engine.handle(now + host.skew, event);
        }
        if !calm {
            host.calm_since = now;
        }
        if late || batched {
            host.undrained = true;
            // What else happens at this instant is taken in first.
            let after = Duration::from_micros(if late { self.rng.below(500_000) } else { 0 });
            self.push(after, Later::Drain { node: index, life });
        } else if !host.undrained {
            self.drain(index);
        }
        if self.nodes[index].life != life {
            // It died of what it wanted.
            return;
        }
        let (steps, cadence) = (self.steps, self.cadence);
        let host = self.host(index);
        if steps.is_multiple_of(cadence) {
            recount(index, host);
        }
        if steps.is_multiple_of(WIDE_CADENCE) && !host.said_shut_down {
            host.check(index, now, self.content.layout());
        }
        if host.events.is_multiple_of(IDLE_CADENCE) {
            host.check_idle(index, now);
        }
    }

    /// The node at the other end of a connection.
    fn other_end(&self, index: NodeIndex, conn: ConnId) -> Option<NodeIndex> {
        let (link, side) = self.nodes[index].conns.get(&conn)?;
        Some(self.links.get(link)?[1 - side].node)
    }

    fn keep_flow(&mut self, index: NodeIndex, event: &Event<'_>) {
        let (now, may) = (self.now, self.may_command(index));
        let Host { flow, wires, skew, undrained, engine, .. } = self.host_mut(index);
        match event {
            // The engine may have closed the connection, and not yet said so.
            Event::Received { conn, .. }
                if *undrained && engine.peers(TORRENT).iter().all(|peer| peer.conn != *conn) => {}
            Event::Received { bytes, .. } => {
                if let Err((check, detail)) = flow.received(now + *skew, bytes.len() as u64, wires.len()) {
                    broken(check, index, &detail);
                }
            }
            Event::Command(Command::SetLimits { torrent, limits }) if may || torrent.is_none() => {
                flow.command(torrent.is_some(), *limits);
            }
            _ => {}
        }
    }

    fn keep_books(&mut self, index: NodeIndex, event: &Event<'_>) {
        let Host { wires, books, touched, undrained, .. } = self.host_mut(index);
        match event {
            Event::Received { conn, .. } => {
                if let Some(wire) = wires.get_mut(conn) {
                    books.received(*conn, wire.payload_received(), &wire.take_new_blocks(), *undrained);
                    touched.insert(*conn);
                }
            }
            Event::Flushed { conn, bytes } => {
                if let Some(wire) = wires.get_mut(conn) {
                    books.flushed(*conn, wire.backlog.flushed(*bytes));
                }
            }
            Event::Command(Command::Recheck { .. }) => books.rechecked(),
            Event::Accepted { conn, .. } => books.opened(*conn),
            Event::Dialed { conn, outcome: Err(_) } => books.closed(*conn),
            Event::Closed { conn, .. } | Event::ServeFailed { conn, .. } => {
                wires.remove(conn);
                books.closed(*conn);
            }
            _ => {}
        }
    }

    pub(super) fn drain(&mut self, index: NodeIndex) {
        let late = std::mem::replace(&mut self.host_mut(index).undrained, false);
        let now = self.now;
        let host = self.host_mut(index);
        host.flow.drained(now + host.skew);
        let over = self.host(index).said_shut_down;
        while let Some(action) = self.host_mut(index).engine.poll_action() {
            self.trace.number(self.now.as_micros() << 8 | index as u64);
            self.trace.value(&action);
            self.note(index, || format!("-> {action:?}"));
            match self.nth.action() {
                Fate::Lives => {}
                Fate::Dies(crash, silence) => return self.crash(index, crash, silence, BACK_AFTER),
                Fate::Leaves => {
                    let life = self.nodes[index].life;
                    self.push(Duration::ZERO, Later::Leave { node: index, life });
                }
            }
            match self.host(index).sabotage {
                None => self.act(index, action, late),
                Some(sabotage) => {
                    let victim = SocketAddr::V4(self.nodes[0].addr);
                    let actions = sabotage.action(action, victim);
                    actions.into_iter().for_each(|action| self.act(index, action, late));
                }
            }
        }
        let mut batch = TxBatch::default();
        while let Some(to) = self.host_mut(index).engine.poll_transmit(&mut batch) {
            match to {
                Destination::Conn(conn) => {
                    self.transmit(index, conn, &batch, late);
                    self.host_mut(index).touched.insert(conn);
                }
                Destination::Datagram(to) => {
                    self.check_silent_datagram(index, &batch.bytes, late);
                    self.announced(index, to, Announce::of_datagram(&batch.bytes), late);
                    self.trace.bytes(&batch.bytes);
                    self.datagram(index, to, &batch.bytes);
                }
            }
            if over {
                broken(Check::Goodbye, index, &format!("{} bytes after ShutDown", batch.len_bytes()));
            }
        }
        // What came in since the engine had said so is the driver's to close.
        if self.host(index).said_shut_down && !over && !late {
            let sockets = self.host(index).books.sockets();
            if !sockets.is_empty() {
                broken(Check::Home, index, &format!("{sockets:?} are left"));
            }
        }
        self.check_silence(index);
        if let Err((check, detail)) = self.judge(index, late) {
            broken(check, index, &detail);
        }
        self.set_tick(index);
    }

    /// The laws that hold whenever a client has said all it had to say.
    fn judge(&mut self, index: NodeIndex, late: bool) -> Result<(), Breach> {
        let (now, content) = (self.now, self.content.clone());
        let layout = content.layout();
        // A request may have waited, or wait now, for the end of a block that leaves in parts.
        let late = late || self.host(index).wires.values().any(Wire::speaks_late);
        let touched = std::mem::take(&mut self.host_mut(index).touched);
        self.host(index).judge_unsaid(now)?;
        for conn in &touched {
            let host = self.host_mut(index);
            let Some(wire) = host.wires.get_mut(conn) else { continue };
            wire.drained(now, layout.piece_count()).map_err(|(check, detail)| (check, format!("{conn}: {detail}")))?;
            let asks = wire.take_new_asks();
            if late || asks.is_empty() {
                continue;
            }
            let snubbed = |conn| host.engine.peers(TORRENT).iter().any(|peer| peer.conn == conn && peer.snubbed);
            host.books.judge_asks(&host.wires, (*conn, &asks), layout, snubbed)?;
        }
        let wires = &mut self.host_mut(index).wires;
        touched.iter().for_each(|conn| _ = wires.get_mut(conn).map(Wire::looked_at));
        let mut books = std::mem::take(&mut self.host_mut(index).books);
        let is_liar = |conn| self.other_end(index, conn).is_some_and(|node| sends_bad_data(&self.nodes[node]));
        let judged = books.drained(&self.host(index).wires, is_liar);
        self.host_mut(index).books = books;
        judged
    }

    fn set_tick(&mut self, index: NodeIndex) {
        let host = self.host(index);
        let Some((at, _)) = host.engine.poll_timeout() else { return };
        let mut at = (at - host.skew).max(self.now);
        if host.sabotage == Some(Sabotage::TicksForEver) {
            at = self.now;
        }
        if host.next_tick.is_none_or(|next| next > at) {
            if self.strikes(Fault::LateTick) {
                at = at + Duration::from_micros(self.rng.below(5_000_000));
            }
            self.host_mut(index).next_tick = Some(at);
            let life = self.nodes[index].life;
            self.push(at.since(self.now), Later::Tick { node: index, life });
        }
    }

    /// The clock of a host jumps forward, as after a sleep.
    pub(super) fn jump(&mut self, index: NodeIndex, by: Duration) {
        self.note(index, || format!("CLOCK +{by:?}"));
        let host = self.host_mut(index);
        host.skew += by;
        host.next_tick = None;
        if !host.undrained {
            self.set_tick(index);
        }
    }

    fn act(&mut self, index: NodeIndex, action: Action, late: bool) {
        if self.host(index).said_shut_down {
            broken(Check::Goodbye, index, &format!("{action:?} after ShutDown"));
        }
        match action {
            Action::Dial { conn, to } => {
                if !late && self.host(index).paused_since.is_some() {
                    broken(Check::Silent, index, &format!("{to} is dialled"));
                }
                if let Err((check, detail)) = self.host(index).books.dialed(to) {
                    broken(check, index, &detail);
                }
                self.host_mut(index).books.opened(conn);
                self.dial(index, conn, to);
            }
            Action::Close { conn, reason } => self.close(index, conn, reason, late),
            Action::AllowRead { conn, bytes } => match self.nodes[index].conns.get(&conn).copied() {
                Some((link, side)) => {
                    let Some(ends) = self.links.get_mut(&link) else { return };
                    ends[side].credit += bytes as i64;
                    if !ends[side].inbox.is_empty() {
                        self.push(Duration::ZERO, Later::Arrived { link, side, bytes: Bytes::default() });
                    }
                }
                None if late => {}
                None => broken(Check::AfterClose, index, &format!("AllowRead on {conn}")),
            },
            Action::RevokeRead { conn, bytes } => match self.nodes[index].conns.get(&conn).copied() {
                Some((link, side)) => {
                    let Some(ends) = self.links.get_mut(&link) else { return };
                    ends[side].credit -= bytes as i64;
                }
                None if late => {}
                None => broken(Check::AfterClose, index, &format!("RevokeRead on {conn}")),
            },
            Action::Place { piece, in_parts, .. } => self.disk_mut(index).parts.place(piece, in_parts),
            Action::Submit { op, operation } => {
                self.host_mut(index).books.submitted(&operation);
                self.check_silent_operation(index, &operation, late);
                if let Operation::Fetch(fetch) = &operation {
                    self.announced(index, fetch.addr, Announce::of_target(&fetch.target), late);
                }
                self.submit(index, op, operation);
            }
            Action::Abort { op } => {
                self.host_mut(index).announces.done(op, false);
                if self.host_mut(index).fetches.contains(&op) {
                    let life = self.nodes[index].life;
                    let outcome = Outcome::Fetch(Err(LinkFault::Aborted));
                    self.push(Duration::from_millis(1), Later::Done { node: index, life, op, outcome });
                }
            }
            Action::Notify(notice) => self.notice(index, &notice, late),
        }
    }

    /// A client tells a tracker something. What it has is known when it has not taken in more since; of a torrent that was just removed nothing is left, and what was
    /// written before that in the same event was true.
    fn announced(&mut self, index: NodeIndex, to: SocketAddr, announce: Option<Announce>, late: bool) {
        let tracker = self.trackers.iter().position(|tracker| IpAddr::V4(tracker.ip) == to.ip());
        let (Some(tracker), Some(announce)) = (tracker, announce) else { return };
        let content = self.content.clone();
        let host = self.host_mut(index);
        let lacks_bytes = host.lacks_bytes(content.layout()).filter(|_| !late && host.removing.is_none());
        if let Err((check, detail)) = host.announces.sent(tracker, announce, lacks_bytes) {
            broken(check, index, &detail);
        }
    }

    fn notice(&mut self, index: NodeIndex, notice: &Notice, late: bool) {
        if let Notice::Scraped { url, result: Ok(swarm), .. } = notice
            && !late
        {
            let host = self.host(index);
            if let Err((check, detail)) = host.told.judge_news(url, *swarm, &host.trackers()) {
                broken(check, index, &detail);
            }
        }
        let now = self.now;
        if let Notice::SeededEnough { .. } | Notice::Complete { .. } | Notice::Checked { .. } = notice
            && self.host(index).may_rest()
        {
            self.host_mut(index).announces.rests();
        }
        if let Notice::SeededEnough { .. } = notice
            && !late
        {
            self.host_mut(index).enough_since = Some(now);
            self.faults.count(Fault::SeedGoals);
        }
        if let Notice::Complete { downloaded, .. } = notice {
            self.host_mut(index).announces.completed(*downloaded);
            let content = self.content.clone();
            // Told late, it may be of what was wanted then; and what is only found complete was perhaps not written by us.
            if let Some(piece) = self.host(index).first_unsafe(content.layout()).filter(|_| *downloaded && !late) {
                broken(
                    Check::ClaimIsSafe,
                    index,
                    &format!("it is told that the download is complete, and {piece:?} is not safe"),
                );
            }
        }
        if *notice == Notice::ShutDown
            && let Err((check, detail)) = self.host(index).judge_goodbye(self.now)
        {
            broken(check, index, &detail);
        }
        self.host_mut(index).note_pieces(now, notice);
        let content = self.content.clone();
        let Host { books, engine, .. } = self.host_mut(index);
        books
            .notice(notice, content.layout(), || engine.view().torrents.iter().map(|torrent| torrent.have_bytes).sum());
        if let Notice::Checked { .. } = notice {
            self.host_mut(index).note_checked();
        }
        self.host_mut(index).said_shut_down |= *notice == Notice::ShutDown;
        if let Notice::Removed { fault, .. } = notice {
            self.removed(index, fault.is_some());
        }
        if let Notice::Banned { addr, .. } = notice {
            let liar = self.nodes.iter().filter(|node| node.lived_at(addr.ip())).any(is_liar);
            if !liar {
                broken(Check::HonestBan, index, &format!("{addr}"));
            }
        }
    }

    fn close(&mut self, index: NodeIndex, conn: ConnId, reason: CloseReason, late: bool) {
        let host = self.host_mut(index);
        host.wires.remove(&conn);
        host.books.closed(conn);
        if !self.close_end(index, conn) && self.nodes[index].dialing.remove(&conn).is_none() && !late {
            broken(Check::AfterClose, index, &format!("Close of {conn}: {reason}"));
        }
    }

    fn transmit(&mut self, index: NodeIndex, conn: ConnId, batch: &TxBatch, late: bool) {
        let Some(place) = self.nodes[index].conns.get(&conn).copied() else {
            broken(Check::AfterClose, index, &format!("{} bytes on {conn}", batch.len_bytes()));
        };
        let mut bytes = Bytes::default();
        if self.host(index).sabotage == Some(Sabotage::RotsBeforeUpload) {
            self.rot(index, batch);
        }
        for segment in &batch.segments {
            match segment {
                Segment::Bytes(range) => bytes.append(Bytes::plain(&batch.bytes[range.clone()])),
                Segment::File { piece, begin, len, .. } => {
                    let unread = self.nth.serve();
                    let host = self.host(index);
                    if !host.disk.may_be_claimed(*piece) {
                        broken(Check::UploadIsTrue, index, &format!("{piece:?}"));
                    }
                    match unread.map_or_else(|| host.disk.read(*piece, *begin, *len), Err) {
                        Ok(block) => bytes.append(block),
                        Err(fault) => {
                            if let Some(wire) = self.host_mut(index).wires.get_mut(&conn) {
                                wire.is_failing = true;
                            }
                            self.push(Duration::ZERO, Later::ServeFailed { node: index, conn, fault });
                            let at = self.content.layout().start_of(*piece) + u64::from(*begin);
                            bytes.append(Bytes::formula(at, u64::from(*len)));
                        }
                    }
                }
            }
        }
        let last = batch.segments.iter().rposition(|segment| matches!(segment, Segment::File { .. }));
        let with_payload = batch.segments.iter().take(last.map_or(0, |last| last + 1)).map(Segment::len_bytes).sum();
        let now = self.now;
        let Host { flow, wires, skew, .. } = self.host_mut(index);
        if let Err((check, detail)) = flow.sent(now + *skew, batch.len_bytes(), with_payload, wires.len(), late) {
            broken(check, index, &detail);
        }
        let content = self.content.clone();
        if let Some(wire) = self.host(index).wires.get(&conn) {
            let words = || wire.words(&bytes.in_world(&content), true);
            self.note(index, || format!("-> {conn} {} bytes: {}", batch.len_bytes(), words()));
        }
        self.trace.carried(&bytes, &content);
        let Host { wires, disk, sabotage, .. } = self.host_mut(index);
        let knowledge = Host::knowledge(disk, content.layout());
        if let Some(sabotage) = sabotage {
            bytes = Bytes::plain(&sabotage.bytes(conn, bytes.copied(&content), wires, &knowledge));
        }
        if let Some(Err((check, detail))) = wires.get_mut(&conn).map(|wire| {
            wire.sent(&bytes.in_world(&content), late, &knowledge)?;
            let is_payload = |segment: &Segment| matches!(segment, Segment::File { .. });
            batch.segments.iter().try_for_each(|one| wire.backlog.handed_over(one.len_bytes(), is_payload(one)))
        }) {
            drop(knowledge);
            broken(check, index, &format!("{conn}: {detail}"));
        }
        drop(knowledge);
        // What the engine says is judged, but nothing goes out after a gap: it would look like a lie.
        if self.host(index).wires.get(&conn).is_some_and(|wire| !wire.is_failing) {
            self.put(place, bytes);
        }
    }

    /// The disk changes under what is about to be sent.
    fn rot(&mut self, index: NodeIndex, batch: &TxBatch) {
        for segment in &batch.segments {
            if let Segment::File { piece, .. } = segment {
                self.disk_mut(index).spoil(*piece);
            }
        }
    }
}

/// Recounts what an engine keeps.
fn recount(index: NodeIndex, host: &Host) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| host.engine.check_invariants())) {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        broken(Check::Recount, index, text.unwrap_or_default());
    }
}

/// Whether a node sends bytes that are not the torrent's.
fn sends_bad_data(node: &Node) -> bool {
    match &node.kind {
        Kind::Client(host) => host.disk.lie_about_pieces > 0,
        Kind::Hostile { vice, .. } => *vice == Fault::CorruptBlock,
    }
}

/// An event in one line.
fn brief(event: &Event<'_>) -> String {
    match event {
        Event::Received { conn, bytes } => format!("Received {conn} {} bytes", bytes.len()),
        Event::Datagram { from, bytes } => format!("Datagram {from} {} bytes", bytes.len()),
        Event::Command(Command::Add(_)) => String::from("Add"),
        event => format!("{event:?}"),
    }
}
