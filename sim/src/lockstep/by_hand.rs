//! What a test breaks, and mends, by hand: one thing at a time, at a moment of its own, where chaos would draw both.

use super::disk::Crash;
use super::host::TORRENT;
use super::node::NodeIndex;
use super::world::World;
use sameseed_core::config::Config;
use sameseed_core::event::Command;
use sameseed_core::fault::DiskFaultKind;
use sameseed_core::id::FileIndex;
use sameseed_core::selection::Priority;
use sameseed_core::time::{Duration, Instant};
use std::collections::BTreeSet;

impl World {
    /// Every operation of a disk fails like this from now on; with `None` it works again.
    pub fn break_disk(&mut self, index: NodeIndex, kind: Option<DiskFaultKind>) {
        self.disk_mut(index).damage.dead = kind;
    }

    /// A tracker answers nobody for so long: HTTP is refused, datagrams are lost.
    pub fn silence_tracker(&mut self, tracker: usize, time: Duration) {
        self.trackers[tracker].dead_until = self.now + time;
    }

    /// A tracker answers again.
    pub fn mend_tracker(&mut self, tracker: usize) {
        self.trackers[tracker].dead_until = Instant::ZERO;
    }

    /// A program ends in good order and starts again with other settings.
    pub fn restart_with(&mut self, index: NodeIndex, change: impl FnOnce(&mut Config)) {
        change(&mut self.host_mut(index).config);
        self.crash(index, Crash::Kept, false, Duration::from_millis(100));
    }

    /// A client wants all files but these from now on.
    pub fn select_but(&mut self, index: NodeIndex, skips: &[u32]) {
        let files = (0..self.content.layout().files().len() as u32)
            .map(|file| (FileIndex(file), if skips.contains(&file) { Priority::Skip } else { Priority::Normal }));
        self.choose(index, skips.iter().copied().collect(), files.collect());
    }

    /// Files are selected, and whoever watches the client knows it.
    pub(super) fn choose(&mut self, index: NodeIndex, skips: BTreeSet<u32>, files: Vec<(FileIndex, Priority)>) {
        let content = self.content.clone();
        let host = self.host_mut(index);
        host.set_skips(skips, content.layout());
        host.books.reselected();
        let unwanted = host.unwanted(content.layout());
        host.wires.values_mut().for_each(|wire| wire.set_unwanted(unwanted.clone()));
        let conns: Vec<_> = host.wires.keys().copied().collect();
        host.touched.extend(conns);
        self.command(index, Command::SetPriorities { torrent: TORRENT, files });
    }
}
