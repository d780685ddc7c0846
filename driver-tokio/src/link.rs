//! One connection: a task that owns the socket and borrows the engine for one poll at a time.
//!
//! Bytes go from the socket into the thread's scratch and from there straight into the engine: no channel and no copy between.
//! A socket is read only as far as the engine allows.

use crate::disk::Disk;
use crate::fault::link_fault;
use crate::gate::admits;
use crate::net::{Net, Stream};
use crate::outgoing::{Broken, Outgoing};
use crate::shared::{Machine, Shared};
use sameseed_core::event::Event;
use sameseed_core::fault::LinkFault;
use sameseed_core::id::ConnId;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

/// Reads and writes of one connection before the others have their turn.
const ROUNDS_PER_POLL: usize = 8;

/// What the thread knows of a connection; the socket itself belongs to the task. It is removed when the connection is closed, which
/// is how its task learns of it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// How many bytes may still be read.
    pub(crate) credit: i64,
    pub(crate) outgoing: Outgoing,
    /// The system can send from files on it.
    pub(crate) sends_files: bool,
    /// Who it is, once it is connected.
    pub(crate) peer: Option<SocketAddr>,
    waker: Option<Waker>,
}

impl Link {
    /// One that is connected.
    pub(crate) fn to(peer: SocketAddr) -> Self {
        Link { peer: Some(peer), ..Link::default() }
    }

    /// Has the connection's task look again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    fn keep_waker(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }
}

/// Dials, then serves the connection. Ends at once when the engine gives it up.
pub(crate) async fn dial<M: Machine, N: Net, D: Disk>(
    shared: Rc<RefCell<Shared<M, N, D>>>,
    conn: ConnId,
    to: SocketAddr,
) {
    let outcome = {
        let (net, bind) = {
            let shared = shared.borrow();
            (shared.net.clone(), shared.bind)
        };
        let mut dialing = pin!(async {
            let forbidden = || io::Error::from(io::ErrorKind::ConnectionRefused);
            if !admits(&shared, to).await {
                return Err(forbidden());
            }
            let version = shared.borrow().rules.version();
            let dialed = net.dial(bind, to).await?;
            // The rules may have changed meanwhile.
            let unchanged = shared.borrow().rules.version() == version;
            if unchanged || admits(&shared, to).await { Ok(dialed) } else { Err(forbidden()) }
        });
        poll_fn(|cx| {
            match shared.borrow_mut().links.get_mut(&conn) {
                None => return Poll::Ready(None),
                Some(link) => link.keep_waker(cx),
            }
            dialing.as_mut().poll(cx).map(Some)
        })
        .await
    };
    match outcome {
        None => {}
        Some(Ok((stream, local))) => {
            shared.borrow_mut().dialed(conn, to, local);
            serve(shared, conn, stream).await;
        }
        Some(Err(error)) => {
            let mut shared = shared.borrow_mut();
            shared.links.remove(&conn);
            shared.tell(Event::Dialed { conn, outcome: Err(link_fault(&error)) });
        }
    }
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve<M: Machine, N: Net, D: Disk>(
    shared: Rc<RefCell<Shared<M, N, D>>>,
    conn: ConnId,
    mut stream: N::Stream,
) {
    if let Some(link) = shared.borrow_mut().links.get_mut(&conn) {
        link.sends_files = stream.sends_files();
    }
    poll_fn(|cx| poll(&mut shared.borrow_mut(), conn, &mut stream, cx)).await;
}

fn poll<M: Machine, N: Net, D: Disk>(
    shared: &mut Shared<M, N, D>,
    conn: ConnId,
    stream: &mut N::Stream,
    cx: &mut Context<'_>,
) -> Poll<()> {
    for _ in 0..ROUNDS_PER_POLL {
        let wrote = poll_write(shared, conn, stream, cx);
        let progress = wrote.and_then(|wrote| Ok(poll_read(shared, conn, stream, cx)? || wrote));
        if let Err(fault) = progress {
            shared.lost(conn, fault);
        }
        if !shared.links.contains_key(&conn) {
            return Poll::Ready(());
        }
        if progress == Ok(false) {
            return Poll::Pending;
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// One write. Gives whether it made progress; a connection that is gone makes none.
fn poll_write<M: Machine, N: Net, D: Disk>(
    shared: &mut Shared<M, N, D>,
    conn: ConnId,
    stream: &mut N::Stream,
    cx: &mut Context<'_>,
) -> Result<bool, LinkFault> {
    let Some(link) = shared.links.get_mut(&conn) else { return Ok(false) };
    link.keep_waker(cx);
    match link.outgoing.poll_write(stream, cx) {
        Poll::Pending => Ok(false),
        Poll::Ready(Err(Broken::Link(error))) => Err(link_fault(&error)),
        Poll::Ready(Err(Broken::File(fault))) => {
            shared.unreadable(conn, fault);
            Ok(false)
        }
        Poll::Ready(Ok(bytes)) => {
            shared.read_ahead(conn);
            shared.heart.handle(Event::Flushed { conn, bytes: bytes as u64 });
            shared.drain(Some(conn));
            Ok(true)
        }
    }
}

/// One read into the scratch, as far as the engine allows. Gives whether it made progress.
fn poll_read<M: Machine, N: Net, D: Disk>(
    shared: &mut Shared<M, N, D>,
    conn: ConnId,
    stream: &mut N::Stream,
    cx: &mut Context<'_>,
) -> Result<bool, LinkFault> {
    let Some(link) = shared.links.get_mut(&conn) else { return Ok(false) };
    let room = usize::try_from(link.credit.max(0)).unwrap_or(usize::MAX).min(shared.scratch.len());
    if room == 0 {
        return Ok(false);
    }
    let mut buffer = ReadBuf::new(&mut shared.scratch[..room]);
    match Pin::new(stream).poll_read(cx, &mut buffer) {
        Poll::Pending => Ok(false),
        Poll::Ready(Err(error)) => Err(link_fault(&error)),
        Poll::Ready(Ok(())) => {
            let len = buffer.filled().len();
            if len == 0 {
                return Err(LinkFault::Eof);
            }
            link.credit -= len as i64;
            shared.heart.handle(Event::Received { conn, bytes: &mut shared.scratch[..len] });
            shared.drain(Some(conn));
            Ok(true)
        }
    }
}
