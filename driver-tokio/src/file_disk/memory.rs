//! Whether a byte of a file is in memory: what is can be sent by the system from there, while a device would keep the thread that asks waiting.

#[cfg(target_os = "linux")]
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
#[cfg(target_os = "linux")]
use std::io::IoSliceMut;

/// The file system that lives in memory as a whole, by its number (`statfs(2)`). It does not answer reads that must not wait.
#[cfg(target_os = "linux")]
const TMPFS: i64 = 0x0102_1994;

/// Whether there is a byte at `offset`, and it can be had without waiting for a device.
#[cfg(target_os = "linux")]
pub(super) fn holds(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    match preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => read == 1,
        Err(Errno::OPNOTSUPP) => {
            let is_in_memory = rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == TMPFS);
            is_in_memory && file.metadata().is_ok_and(|found| found.len() > offset)
        }
        Err(_) => false,
    }
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn holds(_: &File, _: u64) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_just_written_is_in_memory_and_what_is_not_there_is_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        assert!(holds(&file, 0) && holds(&file, 9_999));
        assert!(!holds(&file, 10_000));
    }

    #[test]
    fn a_file_system_in_memory_is_known() {
        let Ok(mut file) = tempfile::tempfile_in("/dev/shm") else { return };
        file.write_all(&[7; 10_000]).unwrap();
        assert!(holds(&file, 9_999) && !holds(&file, 10_000));
    }
}
