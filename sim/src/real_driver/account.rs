//! What one client holds of the system, against what its engine knows: sockets, tasks, disk operations.
//!
//! The engine's side is kept from the actions and events that pass the driver, the other side by guards that live as long as what
//! they count. The two may differ for a moment; what differs for longer is a leak, or something that the driver forgot.

use driver_tokio::TaskGauge;
use sameseed_core::action::{Action, Operation};
use sameseed_core::event::Event;
use sameseed_core::id::{ConnId, OpId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Recounts in a row that may differ. A task that is told to end does so when it runs next, in this tick or the following.
const MOMENT_RECOUNTS: u32 = 25;
/// Every client listens on one address and has one UDP socket.
const OWN_SOCKETS: Held = Held { listeners: 1, udp: 1, streams: 0, tasks: 3, disk_operations: 0 };

/// Things of one kind that are there now. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Rc<Cell<usize>>);

impl Gauge {
    /// Counts one more, until the guard is dropped.
    pub fn count(&self) -> Counted {
        self.0.set(self.0.get() + 1);
        Counted(self.0.clone())
    }
}

/// One thing, as long as it is there.
#[derive(Debug)]
pub struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a client holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Listening sockets.
    pub listeners: usize,
    /// UDP sockets.
    pub udp: usize,
    /// Connections, to peers and trackers, and dials under way.
    pub streams: usize,
    /// Tasks of the driver.
    pub tasks: usize,
    /// Operations that the disk has not ended.
    pub disk_operations: usize,
}

/// What the engine of the present life knows.
#[derive(Debug, Default)]
struct Known {
    links: BTreeSet<ConnId>,
    /// Operations not yet done, and whether each is the network's.
    operations: BTreeMap<OpId, bool>,
}

/// The account of one client, over all its lives. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Counts listening sockets.
    pub listeners: Gauge,
    /// Counts UDP sockets.
    pub udp: Gauge,
    /// Counts connections and dials.
    pub streams: Gauge,
    /// Counts what the disk works on.
    pub disk_operations: Gauge,
    life: Rc<RefCell<Life>>,
}

#[derive(Debug, Default)]
struct Life {
    tasks: TaskGauge,
    /// Nothing between two lives.
    known: Option<Known>,
    differing: u32,
    /// Something ended that was never begun.
    breach: Option<String>,
}

impl Account {
    /// A life begins, of a driver with these tasks.
    pub fn begin(&self, tasks: TaskGauge) {
        let mut life = self.life.borrow_mut();
        life.tasks = tasks;
        life.known = Some(Known::default());
    }

    /// A life has ended: from now on nothing may be held.
    pub fn end(&self) {
        self.life.borrow_mut().known = None;
    }

    /// What is there.
    pub fn held(&self) -> Held {
        Held {
            listeners: self.listeners.0.get(),
            udp: self.udp.0.get(),
            streams: self.streams.0.get(),
            tasks: self.life.borrow().tasks.alive(),
            disk_operations: self.disk_operations.0.get(),
        }
    }

    /// What should be there.
    pub fn wanted(&self) -> Held {
        let life = self.life.borrow();
        let Some(known) = &life.known else { return Held::default() };
        let network = known.operations.values().filter(|network| **network).count();
        let links = known.links.len() + network;
        Held {
            streams: links,
            tasks: OWN_SOCKETS.tasks + links,
            disk_operations: known.operations.len() - network,
            ..OWN_SOCKETS
        }
    }

    /// Compares the two sides; to be called after each tick.
    ///
    /// # Errors
    /// A sentence, when they have differed for too long, or something ended that was never begun.
    pub fn recount(&self) -> Result<(), String> {
        let (held, wanted) = (self.held(), self.wanted());
        let mut life = self.life.borrow_mut();
        life.differing = if held == wanted { 0 } else { life.differing + 1 };
        if life.differing > MOMENT_RECOUNTS {
            return Err(format!("it holds {held:?}\n   but should hold {wanted:?}"));
        }
        life.breach.take().map_or(Ok(()), Err)
    }

    /// Compares the two sides at once: when a life is over nothing is under way.
    ///
    /// # Errors
    /// A sentence, when they differ.
    pub fn audit(&self) -> Result<(), String> {
        let (held, wanted) = (self.held(), self.wanted());
        if held == wanted { Ok(()) } else { Err(format!("it holds {held:?}\n   but should hold {wanted:?}")) }
    }

    /// Takes note of what the engine is told.
    pub fn event(&self, event: &Event<'_>) {
        let mut life = self.life.borrow_mut();
        let Life { known: Some(known), breach, .. } = &mut *life else { return };
        match event {
            Event::Accepted { conn, .. } => {
                known.links.insert(*conn);
            }
            Event::Closed { conn, .. } | Event::Dialed { conn, outcome: Err(_) } | Event::ServeFailed { conn, .. } => {
                known.links.remove(conn);
            }
            Event::Done { op, outcome } if known.operations.remove(op).is_none() => {
                *breach = Some(format!("operation {} ended twice, or was never begun: {outcome:?}", op.0));
            }
            _ => {}
        }
    }

    /// Takes note of what the engine wants.
    pub fn action(&self, action: &Action) {
        let mut life = self.life.borrow_mut();
        let Some(known) = &mut life.known else { return };
        match action {
            Action::Dial { conn, .. } => {
                known.links.insert(*conn);
            }
            Action::Close { conn, .. } => {
                known.links.remove(conn);
            }
            Action::Submit { op, operation } => {
                let network = matches!(operation, Operation::Resolve { .. } | Operation::Fetch(_));
                known.operations.insert(*op, network);
            }
            _ => {}
        }
    }
}
