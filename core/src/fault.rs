//! The error families, which never mix.
//!
//! [`PeerFault`]: they broke the protocol; each variant is one close reason. [`LinkFault`] and [`DiskFault`]: the world; the
//! engine decides on retry. What a torrent file or a tracker gets wrong stands with `metainfo` and `action::TrackerFailure`. A broken inner
//! law is an `assert!`, and nothing from outside may reach one.

use alloc::string::String;

/// What a peer did that ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PeerFault {
    /// The first 20 bytes are not BEP 3's.
    #[error("the handshake does not begin with the BitTorrent protocol string")]
    NotBitTorrent,
    /// It wants a torrent that we do not have.
    #[error("the handshake names an unknown info-hash")]
    UnknownInfoHash,
    /// We dialled for one torrent and were answered with another.
    #[error("the handshake names another torrent than the one dialled for")]
    OtherInfoHash,
    /// No handshake, or half of one, within the time allowed.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// A message longer than its kind can be.
    #[error("message {id} has a length of {len} bytes")]
    Oversize {
        /// The message's id.
        id: u8,
        /// Its claimed length.
        len: u32,
    },
    /// A message whose length does not fit its kind.
    #[error("message {id} has a length of {len} bytes, which does not fit its kind")]
    WrongLength {
        /// The message's id.
        id: u8,
        /// Its claimed length.
        len: u32,
    },
    /// BEP 6 `have none` that is not the first message: it takes back what was said before.
    #[error("a `have none` that is not the first message")]
    LateHaveNone,
    /// A bitfield of the wrong length or with spare bits set.
    #[error("a bitfield that does not fit the torrent")]
    BadBitfield,
    /// A piece index beyond the torrent.
    #[error("a piece index beyond the torrent")]
    NoSuchPiece,
    /// A request that does not lie inside a piece, or asks for more than 128 KiB.
    #[error("a request outside its piece")]
    BadRequest,
    /// More requests than we announced to take.
    #[error("more requests than we take")]
    TooManyRequests,
    /// A BEP 6 message although the extension was not agreed.
    #[error("a fast-extension message without the extension")]
    UnexpectedFast,
    /// A BEP 10 message that is not bencode, or too large.
    #[error("a broken extension message")]
    BadExtension,
    /// Too many blocks that nobody asked for.
    #[error("too many blocks that nobody asked for")]
    UnrequestedBlocks,
    /// Control messages in a flood.
    #[error("a flood of control messages")]
    Flood,
    /// Wrong bytes: a whole piece that fails its hash, or a block of one that differs from the right one.
    #[error("sent wrong bytes")]
    CorruptPiece,
}

/// What went wrong with a connection or a network exchange, without anybody's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LinkFault {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("timed out")]
    TimedOut,
    /// The other side closed in good order.
    #[error("closed by the other side")]
    Eof,
    /// The connection was reset.
    #[error("connection reset")]
    Reset,
    /// The network or the host cannot be reached.
    #[error("host unreachable")]
    Unreachable,
    /// The name has no address.
    #[error("the name cannot be resolved")]
    NameNotFound,
    /// TLS could not be agreed or the certificate is not trusted.
    #[error("TLS failed or the certificate is not trusted")]
    Tls,
    /// Not HTTP, or broken HTTP.
    #[error("the answer is not valid HTTP")]
    BadHttp,
    /// The answer exceeds the limit.
    #[error("the answer is too large")]
    TooLarge,
    /// We gave it up ourselves.
    #[error("aborted")]
    Aborted,
    /// This machine ran out of sockets or memory for them.
    #[error("out of sockets")]
    Exhausted,
    /// Anything else the system reports.
    #[error("network error")]
    Other,
}

/// What kind of disk trouble it is: the engine's policy depends on the kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DiskFaultKind {
    /// No space, or a quota reached.
    #[error("no space left")]
    Full,
    /// Not allowed, or a read-only file system.
    #[error("permission denied")]
    Denied,
    /// The file or its folder is not there.
    #[error("file not found")]
    NotFound,
    /// The file is shorter than it must be.
    #[error("file is too short")]
    Short,
    /// The path leads through a link, or is not a regular file.
    #[error("not a regular file, or behind a link")]
    NotRegular,
    /// Anything else the system reports.
    #[error("input/output error")]
    Io,
}

/// A disk operation that failed, with a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{path}: {kind} ({detail})")]
pub struct DiskFault {
    /// What kind of trouble.
    pub kind: DiskFaultKind,
    /// The path concerned, for people.
    pub path: String,
    /// What the system said, for people.
    pub detail: String,
}
