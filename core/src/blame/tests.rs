//! Verdicts with several authors, honest and not, over disks that keep what they are given and disks that do not.

use super::*;
use crate::engine::tests::breaches::check_breaches;
use alloc::vec;
use proptest::prelude::*;

const NOW: Instant = Instant::ZERO;
const PIECE: PieceIndex = PieceIndex(3);

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6881))
}

/// The digest of some contents.
fn digest(n: u8) -> Digest {
    Digest::Sha1([n; 20])
}

/// A whole piece's digest, made of those of its blocks: any change shows.
fn whole(blocks: &[u8]) -> Digest {
    let mut bytes = [0; 20];
    bytes.iter_mut().zip(blocks).for_each(|(byte, block)| *byte = block + 1);
    Digest::Sha1(bytes)
}

/// Reads all that is wanted from a disk that holds `disk`.
fn read_all(blame: &mut Blame, disk: &[u8]) -> BTreeSet<SocketAddr> {
    let mut guilty = BTreeSet::new();
    while let Some((id, exhibit)) = blame.next_exhibit(PIECE) {
        let digest = match exhibit {
            Exhibit::Block(block) => digest(disk[block as usize]),
            Exhibit::Whole => whole(disk),
        };
        guilty.extend(blame.exhibit_read(PIECE, id, Some(digest)));
        blame.check_invariants();
    }
    guilty
}

/// A try: who sent what.
fn fail(blame: &mut Blame, sent: &[(u8, u8)]) -> (Option<SocketAddr>, Vec<u8>) {
    let contents: Vec<u8> = sent.iter().map(|(_, content)| *content).collect();
    let senders: Vec<_> = (0..).zip(sent).map(|(block, (from, _))| (block, addr(*from))).collect();
    (blame.piece_failed(NOW, PIECE, whole(&contents), &senders, true), contents)
}

#[test]
fn who_alone_sent_a_bad_piece_is_to_blame_at_once() {
    let mut blame = Blame::default();
    assert_eq!(fail(&mut blame, &[(1, 0), (1, 9)]).0, Some(addr(1)));
    assert!(blame.next_exhibit(PIECE).is_none());
    assert_eq!(blame.piece_failed(NOW, PIECE, whole(&[9]), &[(0, addr(1))], false), None, "the rest may be the disk's");
}

#[test]
fn who_sent_the_block_that_differs_from_the_right_one_is_guilty_and_nobody_else() {
    let mut blame = Blame::default();
    let (guilty, contents) = fail(&mut blame, &[(1, 0), (2, 9), (3, 0)]);
    assert_eq!((guilty, read_all(&mut blame, &contents).len()), (None, 0));
    blame.piece_verified(NOW, PIECE, whole(&[0, 0, 0]));
    assert_eq!(read_all(&mut blame, &[0, 0, 0]), [addr(2)].into());
    assert!(blame.cases.is_empty() && blame.failed.is_empty());
}

#[test]
fn a_disk_that_changes_bytes_or_cannot_be_read_blames_nobody() {
    let sent = [(1, 0), (2, 9), (3, 0)];
    let right = [0, 0, 0];
    // The honest block of the first try has rotted; the right piece has rotted; a block cannot be read, or the whole.
    for (first, second, fails_at) in [
        (vec![7, 9, 0], vec![0, 0, 0], None),
        (vec![0, 9, 0], vec![7, 0, 0], None),
        (vec![0, 9, 0], vec![0, 0, 0], Some(1)),
        (vec![0, 9, 0], vec![0, 0, 0], Some(3)),
        (vec![0, 9, 0], vec![0, 0, 0], Some(4)),
    ] {
        let mut blame = Blame::default();
        fail(&mut blame, &sent);
        let (mut step, mut guilty) = (0, BTreeSet::new());
        for (disk, verified) in [(&first, false), (&second, true)] {
            if verified {
                blame.piece_verified(NOW, PIECE, whole(&right));
            }
            while let Some((id, exhibit)) = blame.next_exhibit(PIECE) {
                let read = match exhibit {
                    Exhibit::Block(block) => digest(disk[block as usize]),
                    Exhibit::Whole => whole(disk),
                };
                guilty.extend(blame.exhibit_read(PIECE, id, Some(read).filter(|_| fails_at != Some(step))));
                step += 1;
            }
        }
        assert_eq!(guilty, BTreeSet::new(), "{first:?} {second:?} {fails_at:?}");
        assert!(blame.cases.is_empty());
    }
}

#[test]
fn a_late_answer_belongs_to_no_reading_and_a_slow_disk_holds_up_no_piece() {
    let mut blame = Blame::default();
    fail(&mut blame, &[(1, 0), (2, 9)]);
    let (stale, _) = blame.next_exhibit(PIECE).unwrap();
    assert_eq!(blame.retries().count(), 0, "not before it is read");
    blame.give_up_late(NOW + MAX_READING);
    assert_eq!(blame.retries().count(), 1);
    fail(&mut blame, &[(1, 0), (2, 9)]);
    blame.exhibit_read(PIECE, stale, None);
    assert!(blame.is_reading(PIECE), "the second reading goes on");
}

#[test]
fn leases_grow_with_each_failure_to_a_bound() {
    let mut blame = Blame::default();
    let mut leases = vec![];
    for _ in 0..20 {
        fail(&mut blame, &[(1, 9)]);
        leases.extend(blame.retries().map(|(_, lease)| lease));
    }
    assert_eq!(leases[..3], [60, 120, 240].map(Duration::from_secs));
    assert_eq!(leases.last(), Some(&MAX_LEASE));
}

#[test]
fn a_thousand_failed_pieces_keep_the_newest_evidence_within_the_bound() {
    let mut blame = Blame::default();
    for n in 0..1000 {
        let sent = [(0, addr(1)), (1, addr(2))];
        blame.piece_failed(Instant::from_secs(n), PieceIndex(n as u32), whole(&[0, 9]), &sent, true);
        blame.check_invariants();
    }
    assert_eq!(blame.readings().map(|(piece, _)| piece.0).collect::<Vec<_>>(), (992..1000).collect::<Vec<_>>());
    assert_eq!(blame.retries().count(), 992);
}

proptest! {
    /// However often it fails, and whoever leaves: once it verifies, exactly those are guilty who sent a wrong block.
    #[test]
    fn exactly_the_liars_are_named(tries in proptest::collection::vec(
        proptest::collection::vec((1u8..5, prop_oneof![3 => Just(0u8), 1 => 1u8..4]), 4), 1..6,
    )) {
        let mut blame = Blame::default();
        let (mut guilty, mut liars) = (BTreeSet::new(), BTreeSet::new());
        for sent in tries.into_iter().filter(|sent| sent.iter().any(|(_, content)| *content != 0)) {
            liars.extend(sent.iter().filter(|(_, content)| *content != 0).map(|(from, _)| addr(*from)));
            let (alone, contents) = fail(&mut blame, &sent);
            guilty.extend(alone);
            prop_assert!(read_all(&mut blame, &contents).is_empty());
        }
        blame.piece_verified(NOW, PIECE, whole(&[0; 4]));
        guilty.extend(read_all(&mut blame, &[0; 4]));
        prop_assert_eq!(guilty, liars);
    }
}

#[test]
fn each_law_is_seen_to_be_broken() {
    let intact = || {
        let mut blame = Blame::default();
        fail(&mut blame, &[(1, 0), (2, 9)]);
        blame
    };
    fn case() -> Case {
        Case { opened: NOW, evidence: vec![], reading: None }
    }
    check_breaches(
        include_str!("../blame.rs"),
        intact,
        Blame::check_invariants,
        &[
            ("pieces under investigation are bounded", |blame| {
                (0..=MAX_CASES as u32).for_each(|n| _ = blame.cases.insert(PieceIndex(n), case()));
            }),
            ("evidence is bounded", |blame| {
                let evidence = Evidence { block: 0, digest: digest(0), from: addr(1) };
                blame.cases.values_mut().for_each(|case| case.evidence = vec![evidence; MAX_EVIDENCE + 1]);
            }),
            ("a case ends with its piece", |blame| _ = blame.cases.insert(PieceIndex(9), case())),
        ],
    );
}
