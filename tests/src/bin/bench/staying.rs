//! Leechers that stay when they are complete: they are watched by what they have written.

use crate::measure::{Cost, cpu_of, now, peak_mib};
use crate::scene::{Shared, settle};
use ::tests::{Outcome, Process, Stage, files_below};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Between two looks at the files.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What `stat` counts in.
const SECTOR_BYTES: u64 = 512;

/// Watches a process from its first byte until all is written, and then until it rests.
///
/// # Errors
/// When it ends, or the stage's time does.
pub(crate) fn until_written(stage: &Stage, mut process: Process, shared: &Shared, dir: &Path) -> Outcome<Cost> {
    let all = shared.tree.len_bytes() as u64;
    let mut start = None;
    loop {
        let written = written_bytes(dir)?;
        if written > 0 {
            start.get_or_insert_with(now);
        }
        if written >= all {
            break;
        }
        process.check_alive()?;
        if stage.deadline().is_over() {
            return Err(format!("{written} of {all} bytes are written in time").into());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let wall_s = start.map_or(0.0, |start| start.elapsed().as_secs_f64());
    settle(process.id());
    Ok(Cost { wall_s, cpu_s: cpu_of(process.id()), peak_mib: peak_mib(process.id()) })
}

/// What has been written below a folder, whatever the files are called meanwhile and however long they are.
fn written_bytes(dir: &Path) -> Outcome<u64> {
    let files = files_below(dir)?;
    // One that is gone has another name by now.
    Ok(files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.blocks() * SECTOR_BYTES).sum())
}
