//! The trace hash: every event, action and byte of every host, in the order in which they happened.

use driver_tokio::Observer;
use sameseed_core::action::{Action, Destination, TxBatch};
use sameseed_core::event::Event;
use sameseed_core::hash::HashState;
use sameseed_core::id::Digest;
use sameseed_core::time::Instant;
use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

/// One hash for all hosts of a world; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trace(Rc<RefCell<Hasher>>);

#[derive(Debug, Default)]
struct Hasher {
    state: HashState,
    rest: Vec<u8>,
    entries: u64,
}

impl Trace {
    /// The hash of all that has happened, and how many entries it covers.
    pub fn hash(&self) -> (u64, Digest) {
        let hasher = self.0.borrow();
        (hasher.entries, hasher.state.finish(&hasher.rest))
    }

    /// What notes down the engine of one host.
    pub fn of_host(&self, host: u32) -> HostTrace {
        HostTrace { host, trace: self.clone() }
    }

    fn note(&self, host: u32, now: Instant, what: &dyn Debug, bytes: &[u8]) {
        let mut hasher = self.0.borrow_mut();
        let hasher = &mut *hasher;
        hasher.entries += 1;
        hasher.rest.extend_from_slice(format!("{host} {} {what:?}", now.as_micros()).as_bytes());
        hasher.rest.extend_from_slice(bytes);
        let whole = hasher.rest.len() & !63;
        hasher.state.absorb(&hasher.rest[..whole]);
        hasher.rest.drain(..whole);
    }
}

/// Notes down one engine.
#[derive(Debug)]
pub struct HostTrace {
    host: u32,
    trace: Trace,
}

impl Observer for HostTrace {
    fn event(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            // The bytes themselves, not their text: it would be four times as long.
            Event::Received { conn, bytes } => self.trace.note(self.host, now, conn, bytes),
            event => self.trace.note(self.host, now, event, &[]),
        }
    }

    fn action(&mut self, now: Instant, action: &Action) {
        self.trace.note(self.host, now, action, &[]);
    }

    fn transmit(&mut self, now: Instant, to: Destination, batch: &TxBatch) {
        self.trace.note(self.host, now, &(to, &batch.segments), &batch.bytes);
    }
}
