//! The peer protocol (BEP 3, BEP 6) spoken plainly over a blocking socket, by other code than core's, for peers that keep to a script.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Numbers of messages.
pub mod id {
    #![expect(missing_docs, reason = "the names are those of BEP 3 and BEP 6")]
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const HAVE_ALL: u8 = 14;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT: u8 = 16;
}

/// A message longer than this is no answer of an honest client.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// No script waits longer for a word.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// One connection, after or before its handshake.
#[derive(Debug)]
pub struct Link {
    /// The bytes below the messages.
    pub stream: TcpStream,
}

impl Link {
    /// Talks over `stream`.
    pub fn new(stream: TcpStream) -> Link {
        // A script that writes on after a refusal only gets an error: nothing to handle.
        let _ = stream.set_read_timeout(Some(READ_TIMEOUT));
        let _ = stream.set_nodelay(true);
        Link { stream }
    }

    /// Sends a handshake. `fast` offers BEP 6.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send_handshake(&mut self, info_hash: [u8; 20], peer_id: [u8; 20], fast: bool) -> io::Result<()> {
        let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\0\0".to_vec();
        bytes.push(if fast { 4 } else { 0 });
        bytes.extend_from_slice(&info_hash);
        bytes.extend_from_slice(&peer_id);
        self.stream.write_all(&bytes)
    }

    /// Reads a handshake: info-hash and peer id.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn read_handshake(&mut self) -> io::Result<([u8; 20], [u8; 20])> {
        let mut bytes = [0; 68];
        self.stream.read_exact(&mut bytes)?;
        let (mut info_hash, mut peer_id) = ([0; 20], [0; 20]);
        info_hash.copy_from_slice(&bytes[28..48]);
        peer_id.copy_from_slice(&bytes[48..]);
        Ok((info_hash, peer_id))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, id: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = (payload.len() as u32 + 1).to_be_bytes().to_vec();
        bytes.push(id);
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes)
    }

    /// Sends a message of three numbers: request, cancel or reject.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send_numbers(&mut self, id: u8, numbers: [u32; 3]) -> io::Result<()> {
        self.send(id, numbers.map(u32::to_be_bytes).as_flattened())
    }

    /// Sends a block.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send_block(&mut self, piece: u32, begin: u32, block: &[u8]) -> io::Result<()> {
        let head = [piece.to_be_bytes(), begin.to_be_bytes()];
        self.send(id::PIECE, &[head.as_flattened(), block].concat())
    }

    /// Sends the head of a block of `len` bytes, which are to follow.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn begin_block(&mut self, piece: u32, begin: u32, len: u32) -> io::Result<()> {
        self.stream.write_all(&(len + 9).to_be_bytes())?;
        self.stream.write_all(&[id::PIECE])?;
        self.stream.write_all([piece.to_be_bytes(), begin.to_be_bytes()].as_flattened())
    }

    /// The next message with its payload; keep-alives are passed over.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let mut len = [0; 4];
            self.stream.read_exact(&mut len)?;
            let len = u32::from_be_bytes(len) as usize;
            if len > MAX_MESSAGE_BYTES {
                return Err(io::Error::other("an absurd length"));
            }
            let mut message = vec![0; len];
            self.stream.read_exact(&mut message)?;
            if !message.is_empty() {
                let payload = message.split_off(1);
                return Ok((message[0], payload));
            }
        }
    }

    /// The next request: piece, begin, length. Other messages are passed over.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn next_request(&mut self) -> io::Result<[u32; 3]> {
        loop {
            let (id, payload) = self.receive()?;
            if id == id::REQUEST && payload.len() == 12 {
                let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| payload[at + i]));
                return Ok([number(0), number(4), number(8)]);
            }
        }
    }

    /// Reads and drops all that comes until the other side closes.
    ///
    /// # Errors
    /// The connection is gone otherwise.
    pub fn drain(&mut self) -> io::Result<()> {
        let mut sink = [0; 4096];
        while self.stream.read(&mut sink)? > 0 {}
        Ok(())
    }
}
