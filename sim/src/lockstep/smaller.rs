//! Scenarios a little smaller than another: what a search for the smallest failing one tries. The first client stays, so that a torrent never becomes unreachable by shrinking.

use super::link::Access;
use super::scenario::{Client, Scenario};
use sameseed_core::config::{RateLimits, SeedingGoals, Turns};
use sameseed_core::time::Duration;

/// One kind of shrinking: all its results, the boldest first.
pub type Shrink = fn(&Scenario) -> Vec<Scenario>;

/// Every kind with its name, in the order in which they pay off.
pub const SHRINKS: &[(&str, Shrink)] = &[
    ("checks after every step", every_step),
    ("fewer clients", fewer_clients),
    ("fewer hostile peers", fewer_hostile),
    ("fewer faults", fewer_faults),
    ("fewer pieces", fewer_pieces),
    ("fewer trackers", fewer_trackers),
    ("fewer files", fewer_files),
    ("less time", less_time),
    ("simpler clients", simpler_clients),
    ("shorter pieces", shorter_pieces),
];

/// Runs of `count` things to leave out: halves, quarters, down to one by one.
fn holes(count: usize) -> Vec<std::ops::Range<usize>> {
    let mut holes = Vec::new();
    let mut size = count;
    while size > 0 {
        holes.extend((0..count).step_by(size).map(|from| from..(from + size).min(count)));
        size /= 2;
    }
    holes
}

fn edited(scenario: &Scenario, edit: impl FnOnce(&mut Scenario)) -> Scenario {
    let mut scenario = scenario.clone();
    edit(&mut scenario);
    scenario
}

fn every_step(scenario: &Scenario) -> Vec<Scenario> {
    let plain = edited(scenario, |s| s.cadence = 1);
    Vec::from_iter((plain != *scenario).then_some(plain))
}

/// Leaves nodes out; those that stay get new numbers.
fn without_nodes(scenario: &Scenario, hole: std::ops::Range<usize>) -> Scenario {
    edited(scenario, |s| {
        let clients = s.clients.len();
        let kept = |items: usize, from: usize| (0..items).map(move |i| i + from);
        let mut nodes = kept(clients, 0);
        s.clients.retain(|_| nodes.next().is_none_or(|node| !hole.contains(&node)));
        let mut nodes = kept(s.hostile.len(), clients);
        s.hostile.retain(|_| nodes.next().is_none_or(|node| !hole.contains(&node)));
        for client in &mut s.clients {
            client.peers.retain(|peer| !hole.contains(peer));
            for peer in &mut client.peers {
                *peer -= if *peer >= hole.end { hole.len() } else { 0 };
            }
        }
    })
}

fn fewer_clients(scenario: &Scenario) -> Vec<Scenario> {
    let holes = holes(scenario.clients.len() - 1);
    holes.into_iter().map(|hole| without_nodes(scenario, hole.start + 1..hole.end + 1)).collect()
}

fn fewer_hostile(scenario: &Scenario) -> Vec<Scenario> {
    let clients = scenario.clients.len();
    let holes = holes(scenario.hostile.len()).into_iter();
    let mut all: Vec<Scenario> =
        holes.map(|hole| without_nodes(scenario, hole.start + clients..hole.end + clients)).collect();
    if scenario.hostile_stay {
        all.push(edited(scenario, |s| s.hostile_stay = false));
    }
    all
}

fn fewer_faults(scenario: &Scenario) -> Vec<Scenario> {
    let holes = holes(scenario.rates.len()).into_iter();
    let mut all: Vec<Scenario> = holes.map(|hole| edited(scenario, |s| _ = s.rates.drain(hole))).collect();
    if scenario.blow.is_some() {
        all.push(edited(scenario, |s| s.blow = None));
    }
    all
}

fn fewer_pieces(scenario: &Scenario) -> Vec<Scenario> {
    let pieces = scenario.pieces();
    let mut counts = vec![1, 2, 4, 16, pieces / 2, pieces - pieces / 4, pieces - 1];
    counts.retain(|count| (1..pieces).contains(count));
    counts.dedup();
    counts.into_iter().map(|count| with_pieces(scenario, count)).collect()
}

/// The last piece stays as long as it was.
fn with_pieces(scenario: &Scenario, count: u64) -> Scenario {
    let mut less = (scenario.pieces() - count) * u64::from(scenario.piece_len);
    edited(scenario, |s| {
        for len in s.file_lens.iter_mut().rev() {
            let cut = less.min(*len);
            (*len, less) = (*len - cut, less - cut);
        }
    })
}

fn fewer_trackers(scenario: &Scenario) -> Vec<Scenario> {
    if scenario.trackers.is_empty() {
        return Vec::new();
    }
    // Without a tracker everybody knows the first client by hand.
    let none = edited(scenario, |s| {
        s.trackers.clear();
        for client in s.clients.iter_mut().skip(1) {
            if !client.peers.contains(&0) {
                client.peers.insert(0, 0);
            }
        }
    });
    // The last one is always right, and stays as long as there are others.
    let one_less = (0..scenario.trackers.len() - 1).map(|n| edited(scenario, |s| _ = s.trackers.remove(n)));
    [none].into_iter().chain(one_less).collect()
}

fn fewer_files(scenario: &Scenario) -> Vec<Scenario> {
    if scenario.file_lens.len() == 1 {
        return Vec::new();
    }
    let total = scenario.file_lens.iter().sum();
    vec![
        edited(scenario, |s| s.file_lens = vec![total]),
        edited(scenario, |s| {
            if let Some(last) = s.file_lens.pop() {
                s.file_lens.iter_mut().last().into_iter().for_each(|len| *len += last);
            }
        }),
    ]
}

fn less_time(scenario: &Scenario) -> Vec<Scenario> {
    let now = scenario.safety;
    let seconds = [1, 2, 5, 10, 20].map(Duration::from_secs).into_iter().chain([now / 2, now * 3 / 4]);
    seconds.filter(|safety| *safety < now).map(|safety| edited(scenario, |s| s.safety = safety)).collect()
}

fn wants_all(client: &mut Client) {
    client.skips.clear();
}

fn plain_network(client: &mut Client) {
    client.access = Access::default();
}

fn plain_sizes(client: &mut Client) {
    let plain = Client::leecher();
    (client.pool_blocks, client.upload_slots) = (plain.pool_blocks, plain.upload_slots);
}

fn no_turns(client: &mut Client) {
    client.turns = Turns::default();
}

fn no_goals(client: &mut Client) {
    client.goals = SeedingGoals::default();
}

fn no_limits(client: &mut Client) {
    (client.limits, client.later) = (RateLimits::default(), None);
}

fn one_peer(client: &mut Client) {
    client.peers.truncate(1);
}

fn leeches(client: &mut Client) {
    client.seeder = false;
}

fn simpler_clients(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    for edit in [plain_network, plain_sizes, no_limits, no_goals, no_turns, one_peer, leeches, wants_all] {
        all.push(edited(scenario, |s| s.clients.iter_mut().skip(1).for_each(edit)));
        all.extend(
            (0..scenario.clients.len()).map(|n| edited(scenario, |s| s.clients[n..=n].iter_mut().for_each(edit))),
        );
    }
    // The first client stays a seeder.
    all.retain(|s| s != scenario && s.clients[0].seeder);
    all
}

fn shorter_pieces(scenario: &Scenario) -> Vec<Scenario> {
    let lens = [16_384, 32_768, scenario.piece_len / 2].into_iter().filter(|len| (1..scenario.piece_len).contains(len));
    let lens = lens.map(|piece_len| {
        let pieces = scenario.pieces();
        edited(scenario, |s| {
            s.piece_len = piece_len;
            s.file_lens = vec![pieces * u64::from(piece_len)];
        })
    });
    lens.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockstep::faults::Fault;

    #[test]
    fn who_stays_keeps_knowing_whom_it_knew() {
        let knows = |peers: &[usize]| Client { peers: peers.to_vec(), ..Client::leecher() };
        let clients = vec![Client::seeder(), knows(&[0, 2]), knows(&[0, 1, 3, 4]), knows(&[1, 5])];
        let hostile = vec![Fault::Flood, Fault::CorruptBlock];
        let scenario = Scenario { clients, hostile, ..Scenario::plain() };
        let small = without_nodes(&scenario, 1..2);
        let peers: Vec<_> = small.clients.iter().map(|client| client.peers.clone()).collect();
        assert_eq!(peers, [vec![], vec![0, 2, 3], vec![4]]);
        let small = without_nodes(&scenario, 4..5);
        assert_eq!(small.hostile, [Fault::CorruptBlock]);
        assert_eq!(small.clients[3].peers, [1, 4]);
    }

    #[test]
    fn shrinking_ends_and_every_result_can_be_built() {
        for seed in 0..20 {
            let mut scenario = Scenario::draw(seed);
            let mut steps = 0;
            while let Some(next) = SHRINKS.iter().find_map(|(_, shrink)| shrink(&scenario).into_iter().next()) {
                assert_ne!(next, scenario);
                assert!(next.pieces() >= 1 && next.pieces() <= scenario.pieces());
                next.build();
                scenario = next;
                steps += 1;
                assert!(steps < 1000, "seed {seed} never becomes smallest");
            }
            assert_eq!(scenario.clients.len(), 1, "only the first is left");
        }
    }

    #[test]
    fn the_last_piece_stays_as_long_as_it_was() {
        let scenario = Scenario { file_lens: vec![20_000, 0, 80_123], piece_len: 10_000, ..Scenario::plain() };
        assert_eq!(with_pieces(&scenario, 4).file_lens, [20_000, 0, 10_123]);
        assert_eq!(with_pieces(&scenario, 1).file_lens, [123, 0, 0]);
    }
}
