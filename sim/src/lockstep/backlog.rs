//! What one connection has given to the network and the network has not yet taken.

use super::checks::Check;
use super::wire::Breach;
use std::collections::VecDeque;

/// Payload that was given to the network and not yet taken by it: half a MiB and one block of the longest kind.
const MAX_PAYLOAD_BACKLOG: u64 = (512 + 128) << 10;
/// All that was given to the network and not yet taken by it: a peer that reads nothing gets `have` messages for a minute at most.
const MAX_BACKLOG: u64 = 5 << 20;

/// Bytes on their way out, in order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Length, and whether it is payload.
    waiting: VecDeque<(u64, bool)>,
    /// Of messages, and of payload.
    bytes: [u64; 2],
}

impl Backlog {
    /// Bytes were given to the network.
    ///
    /// # Errors
    /// When more waits there than should.
    pub(super) fn handed_over(&mut self, bytes: u64, payload: bool) -> Result<(), Breach> {
        self.waiting.push_back((bytes, payload));
        self.bytes[usize::from(payload)] += bytes;
        let [control, blocks] = self.bytes;
        if blocks > MAX_PAYLOAD_BACKLOG || control + blocks > MAX_BACKLOG {
            return Err((Check::Limits, format!("{control} bytes of messages and {blocks} of payload wait")));
        }
        Ok(())
    }

    /// The network took bytes; gives how many of them were payload.
    pub(super) fn flushed(&mut self, mut bytes: u64) -> u64 {
        let before = self.bytes[1];
        while bytes > 0
            && let Some((len, payload)) = self.waiting.front_mut()
        {
            let part = bytes.min(*len);
            self.bytes[usize::from(*payload)] -= part;
            (*len, bytes) = (*len - part, bytes - part);
            if *len == 0 {
                self.waiting.pop_front();
            }
        }
        before - self.bytes[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_took_is_told_apart() {
        let mut backlog = Backlog::default();
        backlog.handed_over(13, false).unwrap();
        backlog.handed_over(100, true).unwrap();
        assert_eq!((backlog.flushed(50), backlog.flushed(1000)), (37, 63));
        let (check, _) = backlog.handed_over(1 << 20, true).unwrap_err();
        assert_eq!(check, Check::Limits);
    }
}
