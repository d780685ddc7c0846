//! What a burst has taken is given back: thousands of torrents begin at once, and then hardly anything waits any more.

use std::collections::VecDeque;

/// What is kept for the next time, in items: more than waits in any usual moment.
const KEPT: usize = 256;

/// After an item was taken from a queue.
pub(crate) fn let_go<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT {
        *queue = VecDeque::new();
    }
}

/// After a list was emptied.
pub(crate) fn let_go_list<T>(list: &mut Vec<T>) {
    if list.is_empty() && list.capacity() > KEPT {
        *list = Vec::new();
    }
}
