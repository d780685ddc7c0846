//! Memory that is really there before somebody is measured who fills it.
//!
//! A virtual machine gives memory that lies free back to its host, and whoever touches it next pays for the way there: on one machine 2.2 CPU
//! seconds for each GiB written to a file in memory, instead of 0.9. Without this the table would measure who came after whom.

use ::tests::Outcome;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

const CHUNK_BYTES: usize = 1 << 20;
/// What is freed is not all that is given out next: after once as much a download costs what it costs without, after four times what it costs after two.
const TIMES: usize = 2;

/// Fills a file in this folder and removes it, so that the next files, of this length together, come to lie in memory that was in use a moment ago. Where there
/// is less room, as much as there is must do.
///
/// # Errors
/// When it cannot be written for another reason.
pub(crate) fn warm(dir: &Path, len_bytes: usize) -> Outcome {
    let path = dir.join("warm");
    let mut file = fs::File::create(&path)?;
    let chunk = vec![0; CHUNK_BYTES];
    for _ in 0..(TIMES * len_bytes).div_ceil(CHUNK_BYTES) {
        match file.write_all(&chunk) {
            Err(error) if error.kind() == ErrorKind::StorageFull => break,
            result => result?,
        }
    }
    Ok(fs::remove_file(&path)?)
}
