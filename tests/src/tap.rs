//! A tap on the wire: a relay that stands between two peers and counts the bytes that flow from the far one to the near one.

use crate::client::LOOPBACK;
use crate::{Outcome, in_background};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One read of the relay.
const READ_BYTES: usize = 64 * 1024;

/// A relay to one peer. Its threads end with the process: nothing waits for them.
#[derive(Debug)]
pub struct Tap {
    listens: SocketAddr,
    received_bytes: Arc<AtomicU64>,
}

impl Tap {
    /// Starts a relay to `target`.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start(target: SocketAddr) -> Outcome<Tap> {
        let listener = TcpListener::bind((LOOPBACK, 0))?;
        let tap = Tap { listens: listener.local_addr()?, received_bytes: Arc::default() };
        let received = Arc::clone(&tap.received_bytes);
        in_background(move || {
            for near in listener.incoming().flatten() {
                // A dead target is a closed connection to the near side.
                let _ = relay(near, target, &received);
            }
        });
        Ok(tap)
    }

    /// Where to dial.
    pub fn listens(&self) -> SocketAddr {
        self.listens
    }

    /// Bytes from the target, on all connections together.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }
}

fn relay(near: TcpStream, target: SocketAddr, received: &Arc<AtomicU64>) -> Outcome {
    let far = TcpStream::connect(target)?;
    let (near_writer, far_reader) = (near.try_clone()?, far.try_clone()?);
    let received = Arc::clone(received);
    in_background(move || {
        pump(far_reader, near_writer, |len_bytes| _ = received.fetch_add(len_bytes, Ordering::Relaxed))
    });
    in_background(move || pump(near, far, |_| ()));
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream, count: impl Fn(u64)) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        count(len as u64);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    // The end of one direction is the end of the connection; it may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
