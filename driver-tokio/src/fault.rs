//! What the system reports, in the engine's words.

use sameseed_core::fault::LinkFault;
use std::io;

/// The fault of a connection or a dial.
pub(crate) fn link_fault(error: &io::Error) -> LinkFault {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => LinkFault::Refused,
        Kind::TimedOut => LinkFault::TimedOut,
        Kind::UnexpectedEof | Kind::WriteZero => LinkFault::Eof,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => LinkFault::Reset,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::AddrNotAvailable => {
            LinkFault::Unreachable
        }
        Kind::NotFound => LinkFault::NameNotFound,
        Kind::OutOfMemory => LinkFault::Exhausted,
        _ if is_exhausted(error) => LinkFault::Exhausted,
        _ => LinkFault::Other,
    }
}

/// No more sockets, or no memory for them: a pause helps, a retry at once does not.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|code| {
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|errno| errno.raw_os_error() == code)
    })
}
