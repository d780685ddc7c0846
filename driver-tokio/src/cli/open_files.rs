//! Each connection is an open file, of which a process may have so many: as a rule 1,024, and more when it asks.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections: torrents' files, the poller, sockets of trackers, logs.
const OTHERS: u64 = 300;

/// Asks the system for as many open files as so many connections need; gives how many there may be.
pub(crate) fn for_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let (current, connections) = fit(limit.current, limit.maximum, wanted);
    if current != limit.current
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, ..limit })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
        return fit(limit.current, limit.current, wanted).1;
    }
    if connections < wanted {
        tracing::warn!(wanted, connections, "fewer connections than wanted: the system allows no more open files");
    }
    connections
}

/// The limit to ask for, and the connections that it is enough for. `None` is no limit.
fn fit(current: Option<u64>, maximum: Option<u64>, wanted: usize) -> (Option<u64>, usize) {
    let needed = wanted as u64 + OTHERS;
    match (current, maximum) {
        (None, _) => (None, wanted),
        (Some(current), _) if current >= needed => (Some(current), wanted),
        (_, Some(maximum)) if maximum < needed => (Some(maximum), maximum.saturating_sub(OTHERS).max(1) as usize),
        _ => (Some(needed), wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_allowed_and_connections_follow() {
        assert_eq!(fit(Some(1024), Some(4096), 400), (Some(1024), 400), "enough as it is");
        assert_eq!(fit(Some(1024), Some(4096), 1000), (Some(1300), 1000));
        assert_eq!(fit(Some(1024), None, 9700), (Some(10_000), 9700));
        assert_eq!(fit(Some(1024), Some(4096), 9700), (Some(4096), 3796));
        assert_eq!(fit(Some(200), Some(200), 400), (Some(200), 1), "some are better than none");
        assert_eq!(fit(None, None, 9700), (None, 9700));
    }

    #[test]
    fn the_system_is_asked() {
        assert_eq!(for_connections(10), 10);
    }
}
