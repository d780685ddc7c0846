//! A corrupt peer: it claims to have everything, serves whoever asks, and every block is wrong.

use super::tracker::Ended;
use crate::content;
use crate::naive_wire::{NaiveHandshake, NaiveMessage, encode, encode_handshake};
use sameseed_core::metainfo::Metainfo;
use std::net::Ipv4Addr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

/// Bytes of a handshake.
const HANDSHAKE_LEN: usize = 68;
const REQUEST: u8 = 6;

/// Serves lies on `port`.
pub async fn serve(metainfo: Rc<Metainfo>, port: u16) -> Ended {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let metainfo = metainfo.clone();
        tokio::task::spawn_local(async move {
            // Whoever sees through it hangs up.
            let _ = lie(stream, &metainfo).await;
        });
    }
}

async fn lie(mut stream: TcpStream, metainfo: &Metainfo) -> Ended {
    let handshake = NaiveHandshake {
        reserved: [0; 8],
        info_hash: *metainfo.info_hash.wire_bytes(),
        peer_id: *b"-LI0001-liarliarliar",
    };
    stream.write_all(&encode_handshake(&handshake)).await?;
    stream.read_exact(&mut [0; HANDSHAKE_LEN]).await?;
    let pieces = metainfo.layout.piece_count();
    let mut bits = vec![0; pieces.div_ceil(8) as usize];
    (0..pieces).for_each(|piece| bits[piece as usize / 8] |= 0x80 >> (piece % 8));
    stream.write_all(&encode(&NaiveMessage::Bitfield { bits })).await?;
    stream.write_all(&encode(&NaiveMessage::Unchoke)).await?;
    loop {
        let mut frame = vec![0; stream.read_u32().await? as usize];
        stream.read_exact(&mut frame).await?;
        if let Some((&REQUEST, body)) = frame.split_first() {
            let [index, begin, length] = [0, 4, 8].map(|at| {
                let mut word = [0; 4];
                word.copy_from_slice(&body[at..at + 4]);
                u32::from_be_bytes(word)
            });
            let offset = u64::from(index) * u64::from(metainfo.layout.piece_len()) + u64::from(begin);
            let mut block = content::bytes(offset, length as usize);
            block[0] ^= 1;
            stream.write_all(&encode(&NaiveMessage::Piece { index, begin, block })).await?;
        }
    }
}
