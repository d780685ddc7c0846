//! Unpacking of gzip bodies (RFC 1952), with a cap on what they unpack to.
//!
//! Trackers compress their replies, and a kilobyte can unpack to a megabyte. Nothing is allocated beyond the cap, and the checksum
//! must fit. Only the first member is read; what follows it is ignored.

use alloc::boxed::Box;
use alloc::vec::Vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// Magic, method, flags, time, extra flags, system.
const HEADER_BYTES: usize = 10;
/// CRC-32 and length.
const TRAILER_BYTES: usize = 8;
/// The first guess at the unpacked size; it doubles from there up to the cap.
const FIRST_OUTPUT_BYTES: usize = 16 * 1024;

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

/// Why a gzip body cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GzipError {
    /// The header is not gzip's.
    #[error("not gzip")]
    Header,
    /// The compressed data is broken or ends early.
    #[error("broken gzip data")]
    Data,
    /// It unpacks to more than the cap.
    #[error("the gzip data unpacks to too much")]
    TooLarge,
    /// Checksum or length differ.
    #[error("the gzip checksum differs")]
    Checksum,
}

/// Unpacks `data` to at most `max_bytes`.
///
/// # Errors
/// [`GzipError`] says what is wrong; no more than `max_bytes` were ever held.
pub fn gunzip(data: &[u8], max_bytes: usize) -> Result<Vec<u8>, GzipError> {
    let packed = skip_header(data).ok_or(GzipError::Header)?;
    let (unpacked, consumed) = inflate(packed, max_bytes)?;
    let trailer: &[u8; TRAILER_BYTES] =
        packed.get(consumed..).and_then(|rest| rest.first_chunk()).ok_or(GzipError::Data)?;
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    let crc = u32::from_le_bytes([c0, c1, c2, c3]);
    let len = u32::from_le_bytes([l0, l1, l2, l3]);
    if crc != crc32(&unpacked) || usize::try_from(len) != Ok(unpacked.len()) {
        return Err(GzipError::Checksum);
    }
    Ok(unpacked)
}

fn skip_header(data: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = data.split_first_chunk::<HEADER_BYTES>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *header else { return None };
    if flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|b| *b == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// The unpacked bytes, and how many packed ones they came from.
fn inflate(packed: &[u8], max_bytes: usize) -> Result<(Vec<u8>, usize), GzipError> {
    let mut state = Box::<DecompressorOxide>::default();
    let mut out = alloc::vec![0; FIRST_OUTPUT_BYTES.min(max_bytes)];
    let (mut read, mut written) = (0, 0);
    loop {
        let rest = packed.get(read..).unwrap_or_default();
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, more_read, more_written) = decompress(&mut state, rest, &mut out, written, flags);
        read += more_read;
        written += more_written;
        match status {
            TINFLStatus::Done => {
                out.truncate(written);
                return Ok((out, read));
            }
            TINFLStatus::HasMoreOutput if out.len() < max_bytes => {
                let larger = out.len().saturating_mul(2).min(max_bytes);
                out.resize(larger, 0);
            }
            TINFLStatus::HasMoreOutput => return Err(GzipError::TooLarge),
            _ => return Err(GzipError::Data),
        }
    }
}

fn crc32(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc_table();
    !data.iter().fold(!0, |crc, byte| TABLE[usize::from((crc as u8) ^ byte)] ^ (crc >> 8))
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

/// Packs bytes as gzip, for tests of those who read it.
#[cfg(test)]
pub(crate) fn gzip_for_tests(data: &[u8]) -> Vec<u8> {
    let mut out = alloc::vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend(miniz_oxide::deflate::compress_to_vec(data, 9));
    out.extend(crc32(data).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAP: usize = 1024 * 1024;

    #[test]
    fn the_checksum_is_the_one_everybody_uses() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_stored_block_made_by_hand_unpacks() {
        let body =
            [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 0, 0xfd, 0xff, b'd', b'e', 0xb5, 0x7d, 0x61, 0x3c, 2, 0, 0, 0];
        let mut body = body.to_vec();
        let crc = crc32(b"de").to_le_bytes();
        body[17..21].copy_from_slice(&crc);
        assert_eq!(gunzip(&body, CAP), Ok(b"de".to_vec()));
    }

    #[test]
    fn optional_header_fields_are_skipped() {
        let plain = gzip_for_tests(b"hello");
        let mut rich = plain[..10].to_vec();
        rich[3] = FLAG_EXTRA | FLAG_NAME | FLAG_COMMENT | FLAG_HEADER_CRC;
        rich.extend([3, 0, 1, 2, 3]);
        rich.extend(b"name\0comment\0");
        rich.extend([0, 0]);
        rich.extend(&plain[10..]);
        assert_eq!(gunzip(&rich, CAP), Ok(b"hello".to_vec()));
        for cut in 0..rich.len() {
            assert!(gunzip(&rich[..cut], CAP).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let bomb = gzip_for_tests(&alloc::vec![b'a'; 64 * CAP]);
        assert!(bomb.len() < CAP);
        assert_eq!(gunzip(&bomb, CAP), Err(GzipError::TooLarge));
        let just_fits = gzip_for_tests(&alloc::vec![b'a'; CAP]);
        assert_eq!(gunzip(&just_fits, CAP).map(|out| out.len()), Ok(CAP));
    }

    #[test]
    fn broken_bodies_are_told_apart() {
        let good = gzip_for_tests(b"hello");
        let mut wrong_crc = good.clone();
        let at = good.len() - 8;
        wrong_crc[at] ^= 1;
        assert_eq!(gunzip(&wrong_crc, CAP), Err(GzipError::Checksum));
        assert_eq!(gunzip(b"d8:intervali1ee", CAP), Err(GzipError::Header));
        let mut broken = good.clone();
        broken[10] = 0xff;
        assert_eq!(gunzip(&broken, CAP), Err(GzipError::Data));
        let mut trailing = good;
        trailing.extend(b"\r\n");
        assert_eq!(gunzip(&trailing, CAP), Ok(b"hello".to_vec()));
    }

    proptest! {
        #[test]
        fn unpacking_gives_back_what_was_packed(data in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(gunzip(&gzip_for_tests(&data), CAP), Ok(data));
        }
    }
}
