//! What a process costs, as the operating system tells.

use std::fs;
use std::time::Instant;

/// Ticks of the processor clock in a second: what `/proc` counts in, on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// One run of one program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// From its start, or its first byte, to its end.
    pub(crate) wall_s: f64,
    /// User and system time.
    pub(crate) cpu_s: f64,
    /// The most that was resident.
    pub(crate) peak_mib: f64,
}

/// CPU seconds of a process that runs; of all children that have ended and were waited for, when it is asked of ourselves.
fn cpu_s(process: &str, first: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name may hold anything; what is numbered stands behind its last bracket, and begins with the third field.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at - 3).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(first) + ticks(first + 1)) / TICKS_PER_S
}

/// CPU seconds of a process so far.
pub(crate) fn cpu_of(process: u32) -> f64 {
    cpu_s(&process.to_string(), 14)
}

/// CPU seconds of all children that have ended.
pub(crate) fn cpu_of_ended_children() -> f64 {
    cpu_s("self", 16)
}

/// The most that was ever resident of a process that runs, in MiB; 0 when it has ended.
pub(crate) fn peak_mib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The time, of which only differences mean anything.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The middle one; of two the mean.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len => (values[(len - 1) / 2] + values[len / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_costs_something() {
        let start = cpu_of(std::process::id());
        let mut sum = 0u64;
        while cpu_of(std::process::id()) - start < 0.02 {
            sum = sum.wrapping_add(1);
        }
        assert!(peak_mib(std::process::id()) > 0.5 && sum > 0);
    }
}
