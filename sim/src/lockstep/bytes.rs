//! Bytes on their way. What equals the formula is carried as its place, so that payload is copied once: into the engine that receives it.

use super::content::Content;
use super::stream::{Heard, Readable, Stream};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

/// A run of bytes.
#[derive(Clone, Debug)]
pub(super) enum Run {
    /// Bytes as they are: a part of what was sent at a time.
    Plain(Rc<[u8]>, Range<usize>),
    /// The formula's bytes from one place to another.
    Formula(Range<u64>),
}

impl Run {
    fn len(&self) -> usize {
        match self {
            Run::Plain(_, range) => range.len(),
            Run::Formula(range) => (range.end - range.start) as usize,
        }
    }

    /// The bytes.
    pub(super) fn slice<'a>(&'a self, content: &'a Content) -> &'a [u8] {
        match self {
            Run::Plain(bytes, range) => &bytes[range.clone()],
            Run::Formula(range) => content.range(range.start, range.end - range.start),
        }
    }

    fn split_front(&mut self, count: usize) -> Run {
        match self {
            Run::Plain(bytes, range) => {
                let front = range.start..range.start + count;
                range.start = front.end;
                Run::Plain(bytes.clone(), front)
            }
            Run::Formula(range) => {
                let front = range.start..range.start + count as u64;
                range.start = front.end;
                Run::Formula(front)
            }
        }
    }
}

/// A queue of bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes {
    runs: VecDeque<Run>,
    len: usize,
}

impl Bytes {
    /// Bytes as they are.
    pub(super) fn plain(bytes: &[u8]) -> Self {
        let mut queue = Bytes::default();
        queue.push(Run::Plain(bytes.into(), 0..bytes.len()));
        queue
    }

    /// The formula's bytes of a range.
    pub(super) fn formula(from: u64, len: u64) -> Self {
        let mut queue = Bytes::default();
        queue.push(Run::Formula(from..from + len));
        queue
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, run: Run) {
        if run.len() > 0 {
            self.len += run.len();
            self.runs.push_back(run);
        }
    }

    /// Puts `more` behind.
    pub(super) fn append(&mut self, more: Bytes) {
        self.len += more.len;
        self.runs.extend(more.runs);
    }

    /// Takes the first `count` bytes away, or all there are.
    pub(super) fn take(&mut self, count: usize) -> Bytes {
        let mut taken = Bytes::default();
        while taken.len < count
            && let Some(front) = self.runs.front_mut()
        {
            let wanted = count - taken.len;
            if front.len() > wanted {
                taken.push(front.split_front(wanted));
            } else {
                taken.push(front.clone());
                self.runs.pop_front();
            }
        }
        self.len -= taken.len;
        taken
    }

    /// With the content, to be read by a stream.
    pub(super) fn in_world<'a>(&'a self, content: &'a Content) -> InWorld<'a> {
        InWorld { bytes: self, content }
    }

    /// The runs in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// Everything in one row.
    pub(super) fn copied(&self, content: &Content) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.runs().for_each(|run| bytes.extend_from_slice(run.slice(content)));
        bytes
    }
}

/// Bytes and the content that their places are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct InWorld<'a> {
    bytes: &'a Bytes,
    content: &'a Content,
}

impl Readable for InWorld<'_> {
    fn read_with(&self, stream: &mut Stream, mut tell: impl FnMut(Heard)) {
        for run in self.bytes.runs() {
            stream.read(run.slice(self.content), &mut tell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content;

    #[test]
    fn any_cut_gives_the_same_bytes() {
        let content = Content::new(&content::torrent("bytes", &[500], 100));
        let whole = [&b"head"[..], content.range(100, 300), b"tail"].concat();
        for portion in [1, 3, 4, 5, 299, 304, 1000] {
            let mut queue = Bytes::plain(b"head");
            queue.append(Bytes::formula(100, 300));
            queue.append(Bytes::plain(b""));
            queue.append(Bytes::plain(b"tail"));
            let mut read = Vec::new();
            while !queue.is_empty() {
                let taken = queue.take(portion);
                assert!(taken.len() == portion || queue.is_empty());
                read.extend(taken.copied(&content));
            }
            assert_eq!(read, whole, "in portions of {portion}");
        }
    }
}
