//! SIGINT and SIGTERM, and the promise that the program then ends in time whatever happens.
//!
//! Signals are awaited on a thread of their own: a disk or a pipe that hangs must not keep the program from leaving.

use super::exit::{Exit, Failure, system_words};
use std::io;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// After the first signal, or when the work is done, the program is gone after this long: 5 seconds are promised.
const LEAVE_WITHIN: Duration = Duration::from_millis(4800);

/// From now on signals do not end the process by themselves. The first one is told by the receiver; then [`leave_soon`] holds, and the
/// second one ends the process at once.
pub(crate) fn watch() -> Result<oneshot::Receiver<()>, Failure> {
    let failure =
        |error: io::Error| Failure::new(Exit::Other, format!("cannot watch for signals: {}", system_words(&error)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failure)?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::new().map_err(failure)?
    };
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(signals.next());
            leave_soon(Exit::Interrupted);
            // Nobody listens any more when the work has just ended.
            let _ = tell.send(());
            runtime.block_on(signals.next());
            std::process::exit(Exit::Interrupted as i32);
        })
        .map_err(failure)?;
    Ok(told)
}

/// Ends the process with this code if it is still there after 5 seconds.
pub(crate) fn leave_soon(exit: Exit) {
    let guard = thread::Builder::new().name("leave".into()).spawn(move || {
        thread::sleep(LEAVE_WITHIN);
        std::process::exit(exit as i32);
    });
    // Without a thread to be had there is no guard; a second signal still ends the process.
    drop(guard);
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
