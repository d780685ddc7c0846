//! Memory for system calls to copy into: it begins where a page begins.

use std::ops::{Deref, DerefMut};

/// The smallest page of the processors that matter; larger pages begin at multiples of it.
const PAGE_BYTES: usize = 4096;

/// Bytes that begin where a page begins.
///
/// What a system reads from its page cache, or receives, it copies from the beginning of a page, mostly. Large allocations begin 16 bytes behind one (glibc), and on some
/// processors a copy to just behind the place in a page that it comes from takes three times as long: on Zen 3 such a read, or such a receive, costs
/// 0.65 s of processor time per GiB instead of 0.25.
#[derive(Debug, Default)]
pub struct PageBuffer {
    /// Longer than needed by what lies before the page; empty when nothing is.
    bytes: Vec<u8>,
    from: usize,
    len: usize,
}

impl PageBuffer {
    /// So many zeros.
    pub fn new(len: usize) -> Self {
        let mut buffer = PageBuffer::default();
        buffer.resize(len);
        buffer
    }

    /// Has so many bytes from now on, whatever they are. Memory that is there serves again.
    pub fn resize(&mut self, len: usize) {
        if self.bytes.len() - self.from < len {
            self.bytes = vec![0; len + PAGE_BYTES - 1];
            // Where no offset can be told, any will do.
            self.from = self.bytes.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES - 1);
        }
        self.len = len;
    }
}

impl From<&[u8]> for PageBuffer {
    fn from(bytes: &[u8]) -> Self {
        let mut buffer = PageBuffer::new(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer
    }
}

impl Deref for PageBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.from..self.from + self.len]
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..self.from + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_a_page_whatever_its_length_becomes() {
        let mut buffer = PageBuffer::default();
        for len in [0, 1, 100, 4096, 300_000, 5, 300_000, 299_999, 0] {
            buffer.resize(len);
            assert_eq!((buffer.len(), buffer.as_ptr() as usize % PAGE_BYTES * usize::from(len > 0)), (len, 0));
            buffer.fill(7);
            let copy = PageBuffer::from(&buffer[..]);
            assert_eq!((&copy[..], copy.as_ptr() as usize % PAGE_BYTES * usize::from(len > 0)), (&buffer[..], 0));
        }
    }
}
