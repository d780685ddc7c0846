//! The thin adapter between `sameseed_core` and the world: sockets, files, HTTP and the clock.
//!
//! [`Session`] is what other programs embed. The [`Driver`] behind it is generic over [`Net`] and [`Disk`], and its time is
//! tokio's, so the same code runs in production ([`TokioNet`], [`FileDisk`]) and in simulation. It moves bytes and decides nothing:
//! what decides is in core.
//!
//! Read `session`, then `driver` (the engine's thread, turn by turn), then `link` (one connection).
#![forbid(unsafe_code)]

mod clock;
mod disk;
mod driver;
mod fault;
mod file_disk;
mod gauge;
mod http;
mod link;
mod net;
mod notice;
mod outgoing;
mod resume_file;
mod session;
mod shared;
mod tokio_net;

pub use disk::{Disk, DiskDone, ReadRequest, Storage};
pub use driver::{Driver, Observer};
pub use file_disk::FileDisk;
pub use gauge::TaskGauge;
pub use net::{Listener, Net, Udp};
pub use notice::Notices;
pub use session::{AddTorrentOptions, CommandError, Ended, Session, SessionConfig, StartError};
pub use tokio_net::TokioNet;
