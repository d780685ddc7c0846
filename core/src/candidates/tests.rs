//! Addresses that come, fail, leave and come back: who is dialled, when, and how many are kept.

use super::*;
use crate::engine::tests::breaches::check_breaches;
use crate::rng::{Rng, Stream};
use core::net::Ipv4Addr;
use proptest::prelude::*;

fn candidates() -> Candidates {
    Candidates::new(Rng::new(&[1; 32], Stream::Candidates, 0))
}

fn addr(n: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), n))
}

#[test]
fn addresses_named_by_hand_come_first_and_each_only_once() {
    let mut c = candidates();
    for n in 2000..2050 {
        c.add(Instant::ZERO, addr(n), Source::Tracker);
    }
    c.add(Instant::ZERO, addr(1), Source::Hand);
    c.add(Instant::ZERO, addr(1), Source::Tracker);
    assert_eq!(c.waiting(), 51);
    assert_eq!(c.pop_due(Instant::ZERO, ConnId::dialed(0)), Some(addr(1)));
    c.add(Instant::ZERO, addr(1), Source::Hand);
    assert_eq!(c.waiting(), 50, "an address in use is not queued again");
}

#[test]
fn unusable_addresses_are_dropped() {
    let mut c = candidates();
    for bad in ["0.0.0.0:6881", "224.0.0.1:6881", "255.255.255.255:6881", "1.2.3.4:0", "1.2.3.4:80", "[ff02::1]:6881"] {
        c.add(Instant::ZERO, bad.parse().unwrap(), Source::Tracker);
    }
    assert_eq!(c.waiting(), 0);
}

#[test]
fn failures_wait_longer_each_time_and_success_resets() {
    let mut c = candidates();
    c.add(Instant::ZERO, addr(2000), Source::Tracker);
    let mut now = Instant::ZERO;
    let mut waits = [0; 4];
    for (n, wait) in waits.iter_mut().enumerate() {
        let conn = ConnId::dialed(n as u64);
        assert_eq!(c.pop_due(now, conn), Some(addr(2000)));
        c.unlinked(now, conn, Ending::Useless);
        assert_eq!(c.pop_due(now, conn), None);
        *wait = c.next_due().unwrap().since(now).as_secs();
        now = c.next_due().unwrap();
    }
    assert!(waits[3] >= 16 && waits[0] < 4, "{waits:?}");
    c.pop_due(now, ConnId::dialed(9));
    c.unlinked(now, ConnId::dialed(9), Ending::Useful);
    assert!(c.next_due().unwrap().since(now) < Duration::from_secs(4));
    now = c.next_due().unwrap();
    c.pop_due(now, ConnId::dialed(10));
    c.unlinked(now, ConnId::dialed(10), Ending::Breach);
    assert!(c.next_due().unwrap().since(now) >= Duration::from_secs(60), "a breach waits a minute at least");
}

#[test]
fn ourselves_and_the_banned_are_never_dialled_again() {
    let mut c = candidates();
    c.add(Instant::ZERO, addr(2000), Source::Tracker);
    c.pop_due(Instant::ZERO, ConnId::dialed(0));
    c.never_again(addr(2000));
    c.unlinked(Instant::ZERO, ConnId::dialed(0), Ending::Useless);
    c.add(Instant::ZERO, addr(2000), Source::Tracker);
    assert_eq!(c.waiting(), 0);
    c.add(Instant::ZERO, addr(2001), Source::Tracker);
    c.forget(|banned| banned == addr(2001));
    assert_eq!(c.waiting(), 0);
}

#[test]
fn who_has_everything_rests_for_an_hour_or_until_we_lack_something() {
    let mut c = candidates();
    c.add(Instant::ZERO, addr(2000), Source::Tracker);
    c.pop_due(Instant::ZERO, ConnId::dialed(0));
    c.unlinked(Instant::ZERO, ConnId::dialed(0), Ending::Useful);
    c.rest(Instant::ZERO, addr(2000));
    c.check_invariants();
    assert_eq!(c.pop_due(Instant::from_secs(3599), ConnId::dialed(1)), None);
    c.revive(Instant::from_secs(10));
    c.check_invariants();
    assert_eq!(c.pop_due(Instant::from_secs(12), ConnId::dialed(1)), Some(addr(2000)));
    c.never_again(addr(2000));
    c.rest(Instant::ZERO, addr(2000));
    c.revive(Instant::ZERO);
    assert_eq!(c.waiting(), 0, "ourselves we stay");
}

#[test]
fn who_is_left_for_our_own_reasons_is_tried_again_as_soon_as_before() {
    let mut c = candidates();
    c.add(Instant::ZERO, addr(2000), Source::Tracker);
    let mut now = Instant::ZERO;
    for n in 0..20 {
        assert_eq!(c.pop_due(now, ConnId::dialed(n)), Some(addr(2000)));
        c.unlinked(now, ConnId::dialed(n), Ending::Parted);
        let next = c.next_due().unwrap();
        assert!(next.since(now) <= FIRST_WAIT * 3 / 2);
        now = next;
    }
}

#[test]
fn all_addresses_of_one_peer_are_free_again_when_its_link_is_gone() {
    let mut c = candidates();
    let (now, conn) = (Instant::ZERO, ConnId::dialed(0));
    c.add(now, addr(2000), Source::Tracker);
    c.pop_due(now, conn);
    c.linked(now, addr(2001), conn);
    assert_eq!(c.waiting(), 0);
    c.unlinked(now, conn, Ending::Useful);
    assert_eq!(c.waiting(), 2);
}

#[test]
fn addresses_past_use_make_way_for_new_ones() {
    let mut c = candidates();
    for n in 0..MAX_CANDIDATES as u16 {
        c.add(Instant::ZERO, addr(2000 + n), Source::Tracker);
        c.pop_due(Instant::ZERO, ConnId::dialed(u64::from(n)));
        c.never_again(addr(2000 + n));
    }
    c.add(Instant::ZERO, addr(9999), Source::Tracker);
    assert_eq!(c.pop_due(Instant::ZERO, ConnId::dialed(1)), Some(addr(9999)));
}

fn own() -> Own {
    Own { ips: [[123, 213, 32, 10].into()].into(), port: 6881 }
}

fn far(n: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x5000_0000 + n * 0x1_0000), 6881))
}

/// All that are due, in their order.
fn dial_all(c: &mut Candidates) -> Vec<SocketAddr> {
    (0..).map_while(|n| c.pop_due(Instant::from_secs(10_000), ConnId::dialed(n))).collect()
}

#[test]
fn of_those_that_are_due_the_canonical_priority_decides() {
    let mut c = candidates();
    (0..50).for_each(|n| c.add(Instant::ZERO, far(n), Source::Tracker));
    c.set_own(&own());
    (50..100).for_each(|n| c.add(Instant::ZERO, far(n), Source::Tracker));
    c.add(Instant::ZERO, addr(7), Source::Hand);
    c.check_invariants();
    let order = dial_all(&mut c);
    let mut expected: Vec<SocketAddr> = (0..100).map(far).collect();
    expected.sort_by_key(|addr| Reverse(own().priority_of(*addr)));
    assert_eq!((order.first(), order.get(1..)), (Some(&addr(7)), Some(&expected[..])));
}

#[test]
fn who_failed_comes_after_all_who_did_not() {
    let mut c = candidates();
    c.set_own(&own());
    (0..100).for_each(|n| c.add(Instant::ZERO, far(n), Source::Tracker));
    let best = c.pop_due(Instant::ZERO, ConnId::dialed(1000)).unwrap();
    c.unlinked(Instant::ZERO, ConnId::dialed(1000), Ending::Useless);
    assert_eq!(dial_all(&mut c).last(), Some(&best));
}

#[test]
fn of_too_many_those_of_the_highest_priority_stay() {
    let mut c = candidates();
    c.set_own(&own());
    c.add(Instant::ZERO, addr(7), Source::Hand);
    let many = 3 * MAX_CANDIDATES as u32;
    (0..many).for_each(|n| c.add(Instant::ZERO, far(n), Source::Tracker));
    c.check_invariants();
    let mut expected: Vec<SocketAddr> = (0..many).map(far).collect();
    expected.sort_by_key(|addr| Reverse(own().priority_of(*addr)));
    expected.truncate(MAX_CANDIDATES - 1);
    assert_eq!(dial_all(&mut c).get(1..), Some(&expected[..]));
}

proptest! {
    /// Beside a list that is sorted anew each time.
    #[test]
    fn the_next_address_is_the_first_in_order_whatever_happened(
        steps in proptest::collection::vec((0..5u8, 0..40u32, 0..20u64), 0..200),
    ) {
        let (mut c, mut now, mut linked) = (candidates(), Instant::ZERO, Vec::new());
        for (n, (step, which, seconds)) in steps.into_iter().enumerate() {
            now = now + Duration::from_secs(seconds);
            match step {
                0 => c.add(now, far(which), Source::Tracker),
                1 => c.set_own(&Own { port: which as u16, ..if which < 20 { own() } else { Own::default() } }),
                2 if !linked.is_empty() => {
                    let conn = linked.remove(which as usize % linked.len());
                    let ending = [Ending::Useful, Ending::Useless, Ending::Breach][which as usize % 3];
                    c.unlinked(now, conn, ending);
                }
                3 => c.forget(|banned| banned == far(which)),
                _ => {
                    let order = |(addr, c): (&SocketAddr, &Candidate)| match c.state {
                        State::Waiting { at, turn } if at <= now => Some((c.failures, !c.priority, turn, *addr)),
                        _ => None,
                    };
                    let first = c.known.iter().filter_map(order).min().map(|(.., addr)| addr);
                    let conn = ConnId::dialed(n as u64);
                    prop_assert_eq!(c.pop_due(now, conn), first);
                    linked.extend(first.map(|_| conn));
                }
            }
            c.check_invariants();
        }
    }
}

#[test]
fn a_million_addresses_cost_no_more_than_the_bound() {
    let mut c = candidates();
    for n in 0..1_000_000u32 {
        c.add(Instant::ZERO, SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + n), 6881)), Source::Tracker);
    }
    assert_eq!(c.waiting(), MAX_CANDIDATES);
}

#[test]
fn each_law_is_seen_to_be_broken() {
    let intact = || {
        let mut c = candidates();
        c.add(Instant::ZERO, addr(2000), Source::Tracker);
        c.linked(Instant::ZERO, addr(2001), ConnId::dialed(0));
        c
    };
    check_breaches(
        include_str!("../candidates.rs"),
        intact,
        Candidates::check_invariants,
        &[
            ("addresses are bounded", |c| {
                let (state, source) = (State::Never, Source::Tracker);
                let never = Candidate { state, failures: 0, source, priority: 0, sated: false };
                c.known.extend((0..MAX_CANDIDATES as u16).map(|n| (addr(3000 + n), never)));
            }),
            ("each waiting address stands in one queue once", |c| c.due.clear()),
            ("who is due stands at its rank", |c| {
                let rank = c.due.pop_first().unwrap();
                c.due.insert(Rank { failures: 1, ..rank });
            }),
            ("priorities are those of our own addresses", |c| c.own.ips.push([10, 0, 0, 9].into())),
            ("an address in use is found by its link", |c| c.links.clear()),
            ("an address past use is known to be there", |c| {
                let rank = c.due.pop_first().unwrap();
                c.known.get_mut(&rank.addr).unwrap().failures = 1;
                c.due.insert(Rank { failures: 1, ..rank });
            }),
        ],
    );
}
