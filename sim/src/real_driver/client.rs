//! A client of the swarm: what it is, and one life of it from start to shutdown or crash.

use super::account::Account;
use super::disk::{Platter, SimDisk};
use super::net::{SimNet, Weather};
use super::trace::{HostTrace, Trace};
use super::tracker::Ended;
use driver_tokio::{AddTorrentOptions, Net, Observer, Session, SessionConfig};
use sameseed_core::action::{Action, Destination, Notice, TxBatch};
use sameseed_core::event::Event;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::time::{Duration, Instant};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Every client and liar listens here.
pub const PORT: u16 = 6881;
/// The wall clock at the start of every world, in seconds since 1970.
pub(super) const EPOCH_UNIX_S: u64 = 1_700_000_000;

/// How long what was verified is in no resume data.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// A client to be added.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// It has everything.
    pub seeder: bool,
    /// Peers given by hand.
    pub peers: Vec<SocketAddr>,
    /// Its trackers, each a tier of its own.
    pub trackers: Vec<String>,
    /// So many of its first connections break.
    pub cuts: u32,
    /// What it does wrong, to see that the world notices.
    pub sabotage: Option<Sabotage>,
}

/// A deliberate fault of a client, for tests of the world itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A task of the driver panics.
    PanicInDriver,
    /// A task panics that nobody waits for.
    PanicInSpawnedTask,
    /// It logs an ERROR line.
    LogError,
    /// It keeps one more connection than its engine knows of.
    LeakSocket,
    /// It leaves a task behind when it ends.
    LeakTask,
}

/// What is known of a client from outside, over all its lives.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// How often it was started.
    pub number: Cell<u32>,
    /// What it said since its last start.
    pub notices: RefCell<Vec<Notice>>,
    /// Asks the present life to shut down.
    pub stop: RefCell<Rc<Notify>>,
    /// The present life has shut down.
    pub ended: Cell<bool>,
    /// What it holds.
    pub account: Account,
    /// How its network is.
    pub weather: Weather,
}

/// All that a client needs to live, and to live again.
pub(super) struct Plan {
    pub seed: u64,
    pub number: u32,
    pub metainfo: Metainfo,
    pub client: Client,
    pub platter: Platter,
    pub life: Rc<Life>,
    pub trace: Trace,
}

/// Notes down and keeps the account of one engine.
struct Witness {
    trace: HostTrace,
    account: Account,
    panics: bool,
}

impl Observer for Witness {
    fn event(&mut self, now: Instant, event: &Event<'_>) {
        // Bytes are told by the task of their connection.
        assert!(!(self.panics && matches!(event, Event::Received { .. })), "sabotage in a task of the driver");
        self.trace.event(now, event);
        self.account.event(event);
    }

    fn action(&mut self, now: Instant, action: &Action) {
        self.trace.action(now, action);
        self.account.action(action);
    }

    fn transmit(&mut self, now: Instant, to: Destination, batch: &TxBatch) {
        self.trace.transmit(now, to, batch);
    }
}

/// One life of a client.
pub(super) async fn live(plan: Rc<Plan>) -> Ended {
    let life = &plan.life;
    life.number.set(life.number.get() + 1);
    life.notices.borrow_mut().clear();
    let stop = life.stop.borrow().clone();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
    seed[8..12].copy_from_slice(&plan.number.to_le_bytes());
    seed[12..16].copy_from_slice(&life.number.get().to_le_bytes());
    let mut config = SessionConfig::new(seed, EPOCH_UNIX_S);
    config.bind = Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    config.port = Some(PORT);
    // Small torrents that are soon complete have their checkpoints too.
    config.engine.keep_resume = true;
    config.engine.checkpoint_interval = CHECKPOINT_INTERVAL;
    // Each life chops its streams differently.
    let place = plan.number + 1000 * life.number.get();
    let net = SimNet::new(plan.seed, place, plan.client.cuts, &life.weather, &life.account);
    let disk = SimDisk::new(plan.platter.clone(), plan.seed, place, &life.account);
    let (session, mut driver) = Session::start(net.clone(), disk, config).await?;
    life.account.begin(driver.tasks());
    driver.observe(Witness {
        trace: plan.trace.of_host(place),
        account: life.account.clone(),
        panics: plan.client.sabotage == Some(Sabotage::PanicInDriver),
    });
    let mut notices = session.notices();
    let talk = async {
        let mut add = AddTorrentOptions::new(plan.metainfo.clone(), "/");
        add.peers.clone_from(&plan.client.peers);
        add.resume = plan.platter.resume();
        session.add(add).await?;
        if let Some(sabotage) = plan.client.sabotage {
            commit(sabotage, &net, &plan.client).await;
        }
        loop {
            tokio::select! {
                biased;
                () = stop.notified() => break,
                notice = notices.next() => match notice {
                    Some(notice) => life.notices.borrow_mut().push(notice),
                    None => break,
                },
            }
        }
        session.shutdown().await;
        Ended::Ok(())
    };
    let ((), talked) = tokio::join!(driver.run(), talk);
    life.account.end();
    life.account.audit()?;
    match Handle::current().metrics().num_alive_tasks() {
        0 => {}
        tasks => return Err(format!("{tasks} tasks outlive the driver").into()),
    }
    life.ended.set(true);
    talked
}

async fn commit(sabotage: Sabotage, net: &SimNet, client: &Client) {
    match sabotage {
        Sabotage::PanicInDriver => {}
        Sabotage::PanicInSpawnedTask => drop(tokio::task::spawn_local(async { panic!("sabotage in a spawned task") })),
        Sabotage::LogError => tracing::error!("sabotage"),
        Sabotage::LeakSocket => {
            let stream = net.dial(None, client.peers[0]).await;
            // Not even the end of the world closes it.
            std::mem::forget(stream);
        }
        Sabotage::LeakTask => drop(tokio::spawn(std::future::pending::<()>())),
    }
}
