//! Figures as people read them: `36,900`, `96.48 %`, `11 h 30 m`. One way for messages, tables and pages.
//!
//! A share is never rounded up to 100 % nor down to 0 %: "100 %" is a claim that nothing is missing.

use std::time::Duration;

/// `1234567` → `1,234,567`.
pub fn grouped(figure: u64) -> String {
    let digits = figure.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 gap`, `1,234 gaps`.
pub fn counted(figure: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(figure), if figure == 1 { "" } else { "s" })
}

/// `71 B`, `1.2 kB`, `268 MB`, `1.5 GB`.
pub fn bytes(figure: u64) -> String {
    let (unit, name) = match figure {
        0..1_000 => return format!("{figure} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    match figure / unit {
        whole @ 0..10 => format!("{whole}.{} {name}", figure % unit * 10 / unit),
        whole => format!("{} {name}", grouped(whole)),
    }
}

/// `part` of `whole` as `97.60 %`; exactly `100 %` and `0 %` only if it is exactly that. `None` for a share of nothing.
pub fn percent(part: u64, whole: u64) -> Option<String> {
    if whole == 0 {
        return None;
    }
    if part >= whole {
        return Some("100 %".into());
    }
    if part == 0 {
        return Some("0 %".into());
    }
    let hundredths = (u128::from(part) * 10_000 / u128::from(whole)).max(1);
    Some(format!("{}.{:02} %", hundredths / 100, hundredths % 100))
}

/// How far an attempt is: `7 of 20 landed`.
pub fn progress(done: u64, of: u64) -> String {
    format!("{} of {} landed", grouped(done), grouped(of))
}

/// The two largest units that matter: `41 d 3 h`, `11 h 30 m`, `45 s`; below a second `0 s`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (large, large_unit, small, small_unit) = match seconds {
        0..60 => return format!("{seconds} s"),
        60..3_600 => (seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    };
    match small {
        0 => format!("{} {large_unit}", grouped(large)),
        _ => format!("{} {large_unit} {small} {small_unit}", grouped(large)),
    }
}

/// As a config writes it, in the largest unit that leaves no rest: `1GB`, `64MiB`, `1500B`.
pub fn size(bytes: u64) -> String {
    let units = [("TiB", 1 << 40), ("TB", 10_u64.pow(12)), ("GiB", 1 << 30), ("GB", 10_u64.pow(9))];
    let smaller = [("MiB", 1 << 20), ("MB", 10_u64.pow(6)), ("KiB", 1 << 10), ("kB", 1_000)];
    let fits = units.into_iter().chain(smaller).find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_figures_that_matter_and_are_never_rounded_up() {
        let shown = [0, 71, 999, 1_000, 1_290, 9_999, 10_999, 268_435_456, 1_599_999_999, 5_000_000_000_000].map(bytes);
        assert_eq!(shown, ["0 B", "71 B", "999 B", "1.0 kB", "1.2 kB", "9.9 kB", "10 kB", "268 MB", "1.5 GB", "5,000 GB"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        for (figure, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (36_900, "36,900"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(figure), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_size_reads_as_it_was_written() {
        let written = ["0B", "999B", "1kB", "1KiB", "64MiB", "10MB", "1GB", "1500MB", "3TiB"];
        let bytes = [0, 999, 1_000, 1_024, 64 << 20, 10_000_000, 1_000_000_000, 1_500_000_000, 3 << 40];
        assert_eq!(bytes.map(size), written);
    }

    #[test]
    fn only_everything_is_a_hundred_percent() {
        assert_eq!(percent(99_999_999, 100_000_000).unwrap(), "99.99 %");
        assert_eq!(percent(1, 100_000_000).unwrap(), "0.01 %");
        assert_eq!(percent(521, 540).unwrap(), "96.48 %");
        assert_eq!(percent(7, 7).unwrap(), "100 %");
        assert_eq!(percent(0, 7).unwrap(), "0 %");
        assert_eq!(percent(0, 0), None);
    }

    #[test]
    fn spans_name_their_two_largest_units() {
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (61, "1 m 1 s"), (3_600, "1 h"), (41_400, "11 h 30 m"), (3_553_200, "41 d 3 h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
