//! The session's rules about peers at work: before a dial, when somebody comes in, and when they change.
//!
//! Between the verdict and what follows from it lies no await, so a change of the rules is never missed.

use crate::disk::Disk;
use crate::filter::{PeerFilter, Verdict};
use crate::net::Net;
use crate::request::Reply;
use crate::shared::{Machine, Shared};
use sameseed_core::blocklist::Blocklist;
use sameseed_core::event::Event;
use sameseed_core::fault::LinkFault;
use sameseed_core::id::ConnId;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

/// Whether the rules allow this peer, as they are when it returns.
pub(crate) async fn admits<M: Machine, N: Net, D: Disk>(shared: &RefCell<Shared<M, N, D>>, peer: SocketAddr) -> bool {
    loop {
        let verdict = shared.borrow().rules.judge(peer);
        match verdict {
            Verdict::Given(allowed) => return allowed,
            Verdict::Awaited(version, answer) => {
                // Who gives no answer says no.
                let allowed = answer.await.is_ok_and(|allowed| allowed == [true]);
                if shared.borrow().rules.version() == version {
                    return allowed;
                }
            }
        }
    }
}

impl<M: Machine, N: Net, D: Disk> Shared<M, N, D> {
    /// A list in place of the former one. Whoever stands on it is closed.
    pub(crate) fn set_blocklist(&mut self, list: Option<Arc<Blocklist>>, reply: Reply<()>) {
        self.rules.set_blocklist(list);
        let listed = self.connected().into_iter().filter(|(_, peer)| self.rules.is_listed(*peer));
        for (conn, _) in listed.collect::<Vec<_>>() {
            self.expel(conn);
        }
        let _ = reply.send(());
    }

    /// A filter in place of the former one. Whoever it forbids is closed once it has said so.
    pub(crate) fn set_filter(&mut self, filter: Option<Arc<dyn PeerFilter>>, reply: Reply<()>) {
        self.rules.set_filter(filter);
        let connected = self.connected();
        let peers = connected.iter().map(|(_, peer)| *peer).collect();
        let (Some(answer), Some(me)) = (self.rules.ask(peers), self.me.upgrade()) else {
            let _ = reply.send(());
            return;
        };
        let version = self.rules.filter_version();
        self.spawn(async move {
            // Who gives no answer says no.
            let allowed = answer.await.unwrap_or_default();
            let mut shared = me.borrow_mut();
            let forbidden = connected.iter().enumerate().filter(|(i, _)| !allowed.get(*i).copied().unwrap_or(false));
            for (_, (conn, _)) in forbidden {
                // A filter that came later has its own say.
                if shared.rules.filter_version() == version {
                    shared.expel(*conn);
                }
            }
            let _ = reply.send(());
        });
    }

    fn connected(&self) -> Vec<(ConnId, SocketAddr)> {
        self.links.iter().filter_map(|(conn, link)| Some((*conn, link.peer?))).collect()
    }

    /// Closes a connection that the rules forbid. To the engine it is one that broke.
    fn expel(&mut self, conn: ConnId) {
        if let Some(link) = self.links.remove(&conn) {
            tracing::debug!(%conn, "closed, as the rules about peers have it");
            link.wake();
            self.tell(Event::Closed { conn, fault: LinkFault::Aborted });
        }
    }
}
