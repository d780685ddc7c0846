//! The choker against the same rules by one decision at a time; what each rule is for; and that nobody starves.

use super::*;
use alloc::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Come,
    Go(usize),
    Interest(usize, bool),
    Idle(usize, bool),
    Earn(usize, u64),
    Rechoke { wait_s: u64, count: usize, is_round: bool, is_leeching: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let rechoke = (0u64..20, 0usize..7, any::<bool>(), proptest::bool::weighted(0.7));
    prop_oneof![
        2 => Just(Op::Come),
        1 => (0usize..12).prop_map(Op::Go),
        3 => (0usize..12, any::<bool>()).prop_map(|(n, on)| Op::Interest(n, on)),
        2 => (0usize..12, any::<bool>()).prop_map(|(n, on)| Op::Idle(n, on)),
        3 => (0usize..12, 0u64..4).prop_map(|(n, rate)| Op::Earn(n, rate)),
        6 => rechoke.prop_map(|(wait_s, count, is_round, is_leeching)| Op::Rechoke { wait_s, count, is_round, is_leeching }),
    ]
}

/// The slots that peers should have, by one decision after another.
fn decide(now: Instant, peers: &[Chokee], slots: Slots) -> Vec<Slot> {
    let mut after: Vec<Slot> = peers.iter().map(|peer| if peer.interested { peer.slot } else { Slot::None }).collect();
    let had_earned: Vec<bool> = after.iter().map(|slot| *slot == Slot::Earned).collect();
    after.iter_mut().filter(|slot| **slot == Slot::Earned).for_each(|slot| *slot = Slot::Turn);
    let may_earn = if slots.is_leeching { slots.count - slots.count.div_ceil(5) } else { 0 };
    for _ in 0..may_earn {
        let open = (0..peers.len()).filter(|n| peers[*n].interested && after[*n] != Slot::Earned);
        let best = if slots.is_round {
            // Of equals, the one that has earned before, then the older connection.
            open.filter(|n| peers[*n].earns > 0).min_by_key(|n| (u64::MAX - peers[*n].earns, !had_earned[*n], *n))
        } else {
            open.filter(|n| had_earned[*n]).min()
        };
        let Some(best) = best else { break };
        after[best] = Slot::Earned;
    }
    let turns = slots.count - after.iter().filter(|slot| **slot == Slot::Earned).count();
    let waited = |n: usize| now.since(peers[n].since).as_micros() * if peers[n].was_served { 1 } else { 2 };
    let mut waiting: Vec<usize> =
        (0..peers.len()).filter(|n| peers[*n].interested && after[*n] == Slot::None).collect();
    let mut ending: Vec<usize> = (0..peers.len()).filter(|n| after[*n] == Slot::Turn).collect();
    loop {
        let serving = after.iter().filter(|slot| **slot == Slot::Turn).count();
        let next = waiting.iter().copied().max_by_key(|n| (waited(*n), Reverse(*n)));
        if serving < turns {
            let Some(next) = next else { break };
            waiting.retain(|n| *n != next);
            after[next] = Slot::Turn;
            continue;
        }
        let Some(last) = ending.iter().copied().min_by_key(|n| (!peers[*n].idle, peers[*n].since, *n)) else { break };
        let over = serving > turns;
        if !over && (next.is_none() || !(peers[last].idle || now.since(peers[last].since) >= TURN)) {
            // Nobody after it in line is idle or has been served longer.
            break;
        }
        ending.retain(|n| *n != last);
        after[last] = Slot::None;
    }
    after
}

proptest! {
    #[test]
    fn slots_are_given_as_one_decision_after_another_would(ops in proptest::collection::vec(op(), 0..80)) {
        let mut peers: Vec<Chokee> = Vec::new();
        let mut now = Instant::ZERO;
        for (n, op) in (0u64..).zip(ops) {
            let at = |which: usize| which % peers.len().max(1);
            match op {
                Op::Come => peers.push(Chokee { since: now, interested: false, ..peer(n, Slot::None, 0) }),
                Op::Go(which) if !peers.is_empty() => _ = peers.remove(at(which)),
                Op::Interest(which, on) if !peers.is_empty() => { let at = at(which); peers[at].interested = on; }
                Op::Idle(which, on) if !peers.is_empty() => { let at = at(which); peers[at].idle = on; }
                Op::Earn(which, rate) if !peers.is_empty() => { let at = at(which); peers[at].earns = rate; }
                Op::Rechoke { wait_s, count, is_round, is_leeching } => {
                    now = now + Duration::from_secs(wait_s);
                    let slots = Slots { count, is_round, is_leeching };
                    let expected = decide(now, &peers, slots);
                    let changes = pick_changes(now, &peers, slots);
                    let first_give = changes.iter().position(|(_, slot)| *slot != Slot::None).unwrap_or(changes.len());
                    prop_assert!(changes[first_give..].iter().all(|(_, slot)| *slot != Slot::None), "chokes come first");
                    for (conn, slot) in changes {
                        let peer = peers.iter_mut().find(|p| p.conn == conn).unwrap();
                        prop_assert_ne!(peer.slot, slot, "a change changes something");
                        if (peer.slot == Slot::None) != (slot == Slot::None) {
                            peer.since = now;
                        }
                        peer.slot = slot;
                        peer.was_served |= slot != Slot::None;
                    }
                    prop_assert_eq!(peers.iter().map(|p| p.slot).collect::<Vec<_>>(), expected);
                    let held = |slot| peers.iter().filter(|p| p.slot == slot).count();
                    prop_assert!(held(Slot::Turn) + held(Slot::Earned) <= count, "no more slots than there are");
                    prop_assert!(held(Slot::Earned) < count.max(1), "one turn is left");
                    let waits = peers.iter().any(|p| p.interested && p.slot == Slot::None);
                    prop_assert!(held(Slot::Turn) + held(Slot::Earned) == count || !waits, "no slot is empty while somebody waits");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn everybody_that_waits_has_a_turn_in_time(
        count in 1u64..12,
        slots in 1usize..6,
        rates in proptest::collection::vec(0u64..1000, 12),
        is_leeching in any::<bool>(),
    ) {
        let mut peers: Vec<Chokee> = (0..count).map(|n| Chokee { earns: rates[n as usize], ..peer(n, Slot::None, 0) }).collect();
        let mut served = vec![false; peers.len()];
        for second in 0..=count * TURN.as_secs() {
            let now = Instant::from_secs(second);
            let given = Slots { count: slots, is_round: second % ROUND.as_secs() == 0, is_leeching };
            for (conn, slot) in pick_changes(now, &peers, given) {
                let at = peers.iter().position(|p| p.conn == conn).unwrap();
                if (peers[at].slot == Slot::None) != (slot == Slot::None) {
                    peers[at].since = now;
                }
                (peers[at].slot, peers[at].was_served) = (slot, true);
                served[at] |= slot != Slot::None;
            }
        }
        prop_assert!(served.iter().all(|served| *served));
    }
}

fn peer(n: u64, slot: Slot, since_s: u64) -> Chokee {
    let since = Instant::from_secs(since_s);
    let was_served = slot != Slot::None;
    Chokee { conn: ConnId::dialed(n), interested: true, slot, idle: false, since, was_served, earns: 0 }
}

fn changes(now_s: u64, peers: &[Chokee], count: usize, is_round: bool) -> Vec<(u64, Slot)> {
    let slots = Slots { count, is_round, is_leeching: true };
    let changes = pick_changes(Instant::from_secs(now_s), peers, slots);
    let number = |conn| (0..100).find(|n| ConnId::dialed(*n) == conn).unwrap();
    changes.into_iter().map(|(conn, slot)| (number(conn), slot)).collect()
}

#[test]
fn a_free_slot_is_given_at_once_and_a_lost_interest_frees_one() {
    let mut peers = vec![peer(0, Slot::Turn, 0), peer(1, Slot::None, 5)];
    assert!(changes(6, &peers, 1, false).is_empty());
    peers[0].interested = false;
    assert_eq!(changes(6, &peers, 1, false), [(0, Slot::None), (1, Slot::Turn)]);
}

#[test]
fn who_sends_most_earns_a_slot_at_the_next_round_and_keeps_it_until_the_one_after() {
    let mut peers: Vec<Chokee> = (0..4).map(|n| Chokee { earns: 100 * n, ..peer(n, Slot::None, 0) }).collect();
    (0..2).for_each(|n| peers[n] = Chokee { slot: Slot::Turn, ..peers[n] });
    assert!(changes(5, &peers, 2, false).is_empty(), "between rounds nobody earns");
    assert_eq!(changes(10, &peers, 2, true), [(0, Slot::None), (3, Slot::Earned)]);
    (peers[0].slot, peers[3].slot) = (Slot::None, Slot::Earned);
    peers[2].earns = 1000;
    assert!(changes(15, &peers, 2, false).is_empty());
    assert_eq!(changes(20, &peers, 2, true), [(1, Slot::None), (3, Slot::Turn), (2, Slot::Earned)]);
}

#[test]
fn who_keeps_us_waiting_earns_nothing_and_a_seed_gives_all_in_turns() {
    let mut peers = vec![peer(0, Slot::Earned, 0), peer(1, Slot::Turn, 0), peer(2, Slot::None, 0)];
    peers[1].earns = 5;
    assert_eq!(changes(10, &peers, 2, true), [(0, Slot::Turn), (1, Slot::Earned)]);
    let slots = Slots { count: 2, is_round: true, is_leeching: false };
    let given = pick_changes(Instant::from_secs(30), &peers, slots);
    assert_eq!(given[0], (ConnId::dialed(0), Slot::None), "its turn is over");
    assert!(given.iter().all(|(_, slot)| *slot != Slot::Earned));
}

#[test]
fn new_peers_come_first_but_who_waits_long_is_not_passed_over() {
    let mut peers = vec![peer(0, Slot::Turn, 0), peer(1, Slot::None, 0), peer(2, Slot::None, 16)];
    peers[1].was_served = true;
    assert_eq!(changes(30, &peers, 1, false), [(0, Slot::None), (1, Slot::Turn)]);
    peers[2].since = Instant::from_secs(14);
    assert_eq!(changes(30, &peers, 1, false), [(0, Slot::None), (2, Slot::Turn)]);
}

#[test]
fn one_that_asks_for_nothing_makes_way_at_once_and_only_when_others_wait() {
    let mut peers = vec![peer(0, Slot::Turn, 0), peer(1, Slot::Turn, 1)];
    peers[1].idle = true;
    assert!(changes(5, &peers, 2, false).is_empty());
    peers.push(peer(2, Slot::None, 3));
    assert_eq!(changes(5, &peers, 2, false), [(1, Slot::None), (2, Slot::Turn)]);
}

#[test]
fn slots_grow_with_what_is_sent_and_a_limit_bounds_them() {
    let kib = |rate: u64, count: usize| vec![rate << 10; count];
    assert_eq!(count_slots(vec![], None, 32), 4, "nothing is known yet");
    assert_eq!(count_slots(kib(1, 8), None, 32), 4, "a thin line serves few");
    assert_eq!(count_slots(kib(12, 6), None, 32), 7, "all have their share: one more");
    assert_eq!(count_slots(kib(12, 9), None, 32), 7, "the seventh has not");
    assert_eq!(count_slots(kib(128, 8), None, 32), 22, "what eight are sent is enough for more");
    assert_eq!(count_slots(kib(10_000, 40), None, 32), 32);
    assert_eq!(count_slots(kib(10_000, 40), None, 3), 3);
    let limited = |limit: u64| count_slots(kib(10_000, 40), Some(limit << 10), 32);
    assert_eq!([limited(5), limited(50), limited(1024)], [2, 5, 22]);
}

#[test]
fn the_turn_that_is_told_is_the_turn_that_comes() {
    let at = Instant::from_secs;
    let peer = |n, slot, since| Chokee {
        conn: ConnId::accepted(n),
        interested: true,
        slot,
        idle: false,
        since: at(since),
        was_served: n == 4,
        earns: 0,
    };
    let peers = [
        peer(0, Slot::Turn, 92),
        peer(1, Slot::Turn, 88),
        peer(2, Slot::None, 90),
        peer(3, Slot::None, 80),
        peer(4, Slot::None, 65),
    ];
    let (now, slots) = (at(100), |count| Slots { count, is_round: false, is_leeching: false });
    assert_eq!(next_turn_in(now, &peers, 3), Duration::ZERO, "a slot is free");
    let next_in = next_turn_in(now, &peers, 2);
    assert_eq!(next_in, Duration::from_secs(18), "the older turn ends first");
    let ahead = [2, 3, 4].map(|n| count_ahead(now, &peers, ConnId::accepted(n)));
    assert_eq!(ahead, [2, 0, 1], "who was served before has waited 35 s, who was not 40 s");
    let given = |now| pick_changes(now, &peers, slots(2)).into_iter().filter(|(_, slot)| *slot == Slot::Turn);
    assert_eq!(given(now + next_in - Duration::from_micros(1)).count(), 0);
    assert_eq!(given(now + next_in).map(|(conn, _)| conn).collect::<Vec<_>>(), [ConnId::accepted(3)]);
}
