//! One number for everything that was done in a world: two runs of one seed must come to the same.

use super::bytes::{Bytes, Run};
use super::content::Content;
use sameseed_core::event::Event;
use std::fmt;

/// A running hash; not cryptographic, quick.
#[derive(Clone, Debug)]
pub(super) struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Trace(0x9e37_79b9_7f4a_7c15)
    }
}

impl Trace {
    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
    }

    /// Adds bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.number(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.number(u64::from(*byte) | 0x100));
        self.number(bytes.len() as u64);
    }

    /// Adds bytes on their way: the formula's by their place.
    pub(super) fn carried(&mut self, bytes: &Bytes, content: &Content) {
        for run in bytes.runs() {
            match run {
                Run::Plain(..) => self.bytes(run.slice(content)),
                Run::Formula(range) => {
                    self.number(range.start);
                    self.number(!range.end);
                }
            }
        }
    }

    /// Adds what a value prints as.
    pub(super) fn value(&mut self, value: &impl fmt::Debug) {
        // Writing to a hash never fails.
        let _ = fmt::write(self, format_args!("{value:?}"));
    }

    /// Adds an event. What is received was added when it was sent: only where it was cut is new.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Received { conn, bytes } => {
                self.value(conn);
                self.number(bytes.len() as u64);
            }
            Event::Datagram { bytes, .. } => self.bytes(bytes),
            event => self.value(event),
        }
    }

    /// The hash of all that was added.
    pub(super) fn hash(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}
