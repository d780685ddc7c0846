//! A client driven: events go in, actions and bytes come out and are carried out. What a driver does, without a socket.

use super::checks::{Check, broken};
use super::faults::Fault;
use super::host::Host;
use super::node::{NodeIndex, is_liar};
use super::wire::Wire;
use super::world::{Later, World};
use sameseed_core::action::{Action, CloseReason, Destination, Notice, Segment, TxBatch};
use sameseed_core::event::{Command, Event, Outcome};
use sameseed_core::fault::LinkFault;
use sameseed_core::id::ConnId;
use sameseed_core::time::Duration;

/// The laws that need a look at everything are checked every so many steps of the world.
const WIDE_CADENCE: u64 = 61;

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

    /// Hands an event to a client, and does what it then wants.
    pub(super) fn tell(&mut self, index: NodeIndex, event: Event<'_>) {
        self.scene.borrow_mut().host = index;
        self.note(index, || format!("<- {}", brief(&event)));
        let now = self.now;
        let eager = !self.host(index).undrained;
        let late = eager && self.strikes(Fault::LateDrain);
        let batched = eager && !late && self.strikes(Fault::Batched);
        let host = self.host_mut(index);
        host.engine.handle(now + host.skew, event);
        if late || batched {
            host.undrained = true;
            let life = self.nodes[index].life;
            // What else happens at this instant is taken in first.
            let after = Duration::from_micros(if late { self.rng.below(500_000) } else { 0 });
            self.push(after, Later::Drain { node: index, life });
        } else if !host.undrained {
            self.drain(index);
        }
        let (steps, cadence) = (self.steps, self.cadence);
        let host = self.host(index);
        if steps.is_multiple_of(cadence) {
            host.engine.check_invariants();
        }
        if steps.is_multiple_of(WIDE_CADENCE) && !host.said_shut_down {
            host.check(index, self.content.layout());
        }
    }

    pub(super) fn drain(&mut self, index: NodeIndex) {
        let late = std::mem::replace(&mut self.host_mut(index).undrained, false);
        while let Some(action) = self.host_mut(index).engine.poll_action() {
            self.trace.number(self.now.as_micros() << 8 | index as u64);
            self.trace.value(&action);
            self.note(index, || format!("-> {action:?}"));
            self.act(index, action, late);
        }
        let mut batch = TxBatch::default();
        let mut sent = Vec::new();
        while let Some(to) = self.host_mut(index).engine.poll_transmit(&mut batch) {
            match to {
                Destination::Conn(conn) => {
                    self.transmit(index, conn, &batch, late);
                    sent.push(conn);
                }
                Destination::Datagram(to) => {
                    self.trace.bytes(&batch.bytes);
                    self.datagram(index, to, &batch.bytes);
                }
            }
        }
        for conn in sent {
            let wire = self.host_mut(index).wires.get_mut(&conn);
            if let Some(Err((check, detail))) = wire.map(Wire::drained) {
                broken(check, index, &format!("{conn}: {detail}"));
            }
        }
        self.set_tick(index);
    }

    fn set_tick(&mut self, index: NodeIndex) {
        let host = self.host(index);
        let Some((at, _)) = host.engine.poll_timeout() else { return };
        let mut at = (at - host.skew).max(self.now);
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
        match action {
            Action::Dial { conn, to } => self.dial(index, conn, to),
            Action::Close { conn, reason } => self.close(index, conn, reason, late),
            Action::AllowRead { conn, bytes } => match self.nodes[index].conns.get(&conn).copied() {
                Some((link, side)) => {
                    let Some(ends) = self.links.get_mut(&link) else { return };
                    ends[side].credit += bytes;
                    if !ends[side].inbox.is_empty() {
                        self.push(Duration::ZERO, Later::Arrived { link, side, bytes: Vec::new() });
                    }
                }
                None if late => {}
                None => broken(Check::AfterClose, index, &format!("AllowRead on {conn}")),
            },
            Action::Submit { op, operation } => self.submit(index, op, operation),
            Action::Abort { op } => {
                if self.host_mut(index).fetches.contains(&op) {
                    let life = self.nodes[index].life;
                    let outcome = Outcome::Fetch(Err(LinkFault::Aborted));
                    self.push(Duration::from_millis(1), Later::Done { node: index, life, op, outcome });
                }
            }
            Action::Notify(Notice::Banned { addr, .. }) => {
                let liar = self.nodes.iter().filter(|node| node.lived_at(addr.ip())).any(is_liar);
                if !liar {
                    broken(Check::HonestBan, index, &format!("{addr}"));
                }
            }
            Action::Notify(Notice::ShutDown) => self.host_mut(index).said_shut_down = true,
            Action::Notify(_) => {}
        }
    }

    fn close(&mut self, index: NodeIndex, conn: ConnId, reason: CloseReason, late: bool) {
        self.host_mut(index).wires.remove(&conn);
        if !self.close_end(index, conn) && self.nodes[index].dialing.remove(&conn).is_none() && !late {
            broken(Check::AfterClose, index, &format!("Close of {conn}: {reason}"));
        }
    }

    fn transmit(&mut self, index: NodeIndex, conn: ConnId, batch: &TxBatch, late: bool) {
        let Some(place) = self.nodes[index].conns.get(&conn).copied() else {
            broken(Check::AfterClose, index, &format!("{} bytes on {conn}", batch.len_bytes()));
        };
        self.note(index, || format!("-> {conn} {} bytes", batch.len_bytes()));
        let mut bytes = Vec::with_capacity(batch.len_bytes() as usize);
        let host = self.host(index);
        if !host.wires.contains_key(&conn) {
            // A range could not be read: the connection is about to end.
            return;
        }
        for segment in &batch.segments {
            match segment {
                Segment::Bytes(range) => bytes.extend_from_slice(&batch.bytes[range.clone()]),
                Segment::File { piece, begin, len, .. } => {
                    if !host.disk.may_be_claimed(*piece) {
                        broken(Check::UploadIsTrue, index, &format!("{piece:?}"));
                    }
                    match host.disk.read(*piece, *begin, *len) {
                        Ok(block) => bytes.extend(block),
                        Err(fault) => {
                            // Nothing more is sent: a gap would look like a lie.
                            self.host_mut(index).wires.remove(&conn);
                            self.push(Duration::ZERO, Later::ServeFailed { node: index, conn, fault });
                            return;
                        }
                    }
                }
            }
        }
        self.trace.bytes(&bytes);
        let content = self.content.clone();
        let Host { wires, disk, .. } = self.host_mut(index);
        let knowledge = Host::knowledge(disk, content.layout());
        if let Some(Err((check, detail))) = wires.get_mut(&conn).map(|wire| wire.sent(&bytes, late, &knowledge)) {
            drop(knowledge);
            broken(check, index, &format!("{conn}: {detail}"));
        }
        drop(knowledge);
        self.put(place, &bytes);
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
