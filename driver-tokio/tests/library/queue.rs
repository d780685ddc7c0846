//! Who may be active, and when seeding ends, as a program decides it with handles.

use super::bench::*;
use driver_tokio::core::action::Notice;
use driver_tokio::core::config::{ActiveLimits, Goal, SeedingGoals};
use driver_tokio::core::event::QueueMove;
use driver_tokio::core::view::TorrentState::{self, *};
use driver_tokio::{AddTorrentOptions, Event, Torrent};
use std::time::Duration;

async fn state(torrent: &Torrent) -> TorrentState {
    torrent.view().await.unwrap().state
}

/// Its check is over, and what is missing was made.
async fn ready(torrent: &Torrent) {
    in_time(async {
        while state(torrent).await == Checking {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn torrents_wait_for_their_turn_and_one_that_is_moved_to_the_top_has_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let one_at_a_time = ActiveLimits { downloads: Some(1), seeds: None };
    let session = builder().home(dir.path()).active_limits(one_at_a_time).start().await.unwrap();
    let (first, second) = (&session.add(Sample::usual("first").metainfo).await.unwrap(), Sample::usual("second"));
    ready(first).await;
    let second = &session.add(second.metainfo).await.unwrap();
    ready(second).await;
    assert_eq!((state(first).await, state(second).await), (Downloading, Queued));
    second.move_in_queue(QueueMove::Top).await.unwrap();
    assert_eq!((state(first).await, state(second).await), (Queued, Downloading));
    assert_eq!(session.view().await.unwrap().queue.order, [second.id(), first.id()]);
    session.set_active_limits(ActiveLimits::default()).await.unwrap();
    assert_eq!((state(first).await, state(second).await), (Downloading, Downloading));
    session.shutdown().await;
}

#[tokio::test]
async fn a_seed_that_has_reached_its_goal_says_so_and_seeds_on_when_it_is_resumed() {
    let sample = Sample::usual("enough");
    let dir = tempfile::tempdir().unwrap();
    sample.write(dir.path());
    let session = session().await;
    let mut events = session.events();
    let torrent = session.add(AddTorrentOptions::new(sample.metainfo.clone(), dir.path())).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    let at_once = SeedingGoals { time: Some(Duration::ZERO), ratio_per_mille: None };
    torrent.set_goals(Some(at_once)).await.unwrap();
    let told = |event| if let Event::Notice(Notice::SeededEnough { goal, .. }) = event { Some(goal) } else { None };
    assert_eq!(wait_for(&mut events, told).await, Goal::Time);
    assert_eq!(state(&torrent).await, Finished(Goal::Time));
    in_time(torrent.wait_complete()).await.unwrap();
    torrent.resume().await.unwrap();
    assert_eq!((state(&torrent).await, torrent.view().await.unwrap().goals_waived), (Seeding, true));
    torrent.set_goals(None).await.unwrap();
    session.set_seeding_goals(at_once).await.unwrap();
    assert_eq!(state(&torrent).await, Finished(Goal::Time));
    session.shutdown().await;
}
