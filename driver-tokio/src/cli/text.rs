//! Text for people: names from outside made harmless, sizes, rates and times made readable.
//!
//! Names come from torrents, peers and trackers that nobody vouches for: what could steer a terminal is replaced before it is shown.

use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `name` with everything replaced that moves the cursor, starts an escape sequence, or turns the direction of writing.
pub(crate) fn clean(name: &str) -> String {
    name.chars().map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect()
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // line and paragraph separators, directions and invisible marks
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// `text` cut to `columns` columns of a terminal; `…` at the end says so.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut room = columns.saturating_sub(1);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > room {
            break;
        }
        room -= width;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// A count of bytes with a unit of 1024: `17 B`, `1.5 KiB`, `123 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 999.5 would be printed as 1000
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 99.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// `1 peer`, `2 peers`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Bytes per second.
pub(crate) fn rate(bytes_per_s: u64) -> String {
    format!("{}/s", size(bytes_per_s))
}

/// A duration in the two largest units: `7s`, `2m05s`, `3h20m`, `4d02h`.
pub(crate) fn time(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// Per cent with one digit, never rounded up to 100.0 before all is there.
pub(crate) fn per_cent(part: u64, whole: u64) -> String {
    let tenths = if whole == 0 { 1000 } else { (u128::from(part) * 1000 / u128::from(whole)).min(1000) };
    format!("{}.{}%", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\nc\u{202e}gpj.exe\u{9b}1m"), "a�[2Jb��c�gpj.exe�1m");
        assert_eq!(clean("Füße 日本"), "Füße 日本");
    }

    #[test]
    fn cut_counts_columns_not_characters() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 2), "a…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        let shown: Vec<String> =
            [0, 1023, 1024, 1536, 102_348, 1_048_575, 1 << 30, u64::MAX].into_iter().map(size).collect();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "99.9 KiB", "1.0 MiB", "1.0 GiB", "16.0 EiB"]);
    }

    #[test]
    fn times_show_two_units() {
        let shown: Vec<String> =
            [0, 59, 60, 3599, 3600, 86_399, 86_400].into_iter().map(|s| time(Duration::from_secs(s))).collect();
        assert_eq!(shown, ["0s", "59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d00h"]);
    }

    #[test]
    fn hundred_per_cent_means_all() {
        assert_eq!(per_cent(u64::MAX - 1, u64::MAX), "99.9%");
        assert_eq!(per_cent(5, 5), "100.0%");
        assert_eq!(per_cent(0, 0), "100.0%");
    }
}
