//! Instructions, counted by valgrind's `callgrind`: the same on a busy machine and on an idle one.

use crate::work::{WORKS, Work};
use ::tests::{Lone, Outcome, Sizes};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The word before what is done.
pub(crate) const RUN: &str = "--run";

/// Instructions of the engine for one piece of work: this program does it N times and 2 N times, and the difference has neither the beginning nor the
/// world around the engine.
///
/// # Errors
/// When valgrind fails.
pub(crate) fn count(work: Work, sizes: Sizes) -> Outcome<f64> {
    let times = work.times();
    let (once, twice) = (run(work, times, sizes)?, run(work, 2 * times, sizes)?);
    Ok((twice as f64 - once as f64) / f64::from(times))
}

fn run(work: Work, times: u32, sizes: Sizes) -> Outcome<u64> {
    let Sizes { pieces, files, peers, torrents } = sizes;
    let name = WORKS.iter().find(|(_, known)| *known == work).map_or("", |(name, _)| name);
    let profile = std::env::temp_dir().join(format!("sameseed-instructions.{}", std::process::id()));
    let program = std::env::current_exe()?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", &format!("--callgrind-out-file={}", profile.display())]);
    command.arg(format!("--toggle-collect={}", Lone::COUNTED)).arg(&program).args([RUN, name]);
    command.args([times, pieces, files, peers, torrents].map(|number| number.to_string()));
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("valgrind: {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let counted = sum_of(&fs::read_to_string(&profile)?, &program)?;
    fs::remove_file(&profile)?;
    Ok(counted)
}

/// What a profile says of one program, without the libraries that it calls: how those copy and allocate differs by processor and system, and allocations
/// are counted elsewhere.
fn sum_of(profile: &str, program: &Path) -> Outcome<u64> {
    let program = program.display().to_string();
    // The name stands behind an object's number where that comes first, be it as caller or as called.
    let (mut own, mut is_own, mut sum) = (BTreeSet::new(), false, 0);
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        let object = line.strip_prefix("ob=");
        if let Some((number, name)) = object.or(line.strip_prefix("cob=")).and_then(|object| object.split_once(' '))
            && name == program
        {
            own.insert(number);
        }
        if let Some(number) = object.and_then(|object| object.split(' ').next()) {
            is_own = own.contains(number);
        } else if line.starts_with("calls=") {
            // What the called function cost is said with it.
            lines.next();
        } else if is_own && line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            let (_, cost) = line.split_once(' ').ok_or_else(|| format!("a profile says {line:?}"))?;
            sum += cost.trim().parse::<u64>()?;
        }
    }
    if sum > 0 { Ok(sum) } else { Err("a profile says nothing of this program".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_lines_count() {
        let profile = "\
events: Ir
fn=(1) copy
ob=(1) /libc.so
10 5
fn=(2) handle
cob=(2) /own
ob=(2)
20 7
+1 3
cob=(1)
calls=2 10
* 100
ob=(1)
11 50
ob=(2)
* 1
totals: 166
";
        assert_eq!(sum_of(profile, Path::new("/own")).ok(), Some(11));
        assert!(sum_of(profile, Path::new("/other")).is_err());
    }
}
