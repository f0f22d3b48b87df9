//! Plain values with a unit or a fixed set of words: `30s`, `1m..30m`, `64MiB`, `20%`, `gateway`.
//!
//! A number without its unit is the classic config mistake (`timeout: 30` — seconds? minutes?), so the unit stands in
//! the text and its absence is an error that says what is missing.

use std::time::Duration;

use schemars::{Schema, json_schema};

/// A value that is written as one word of text.
pub trait FromText: Sized {
    /// With an article, for "expected …".
    const EXPECTED: &'static str;

    /// `Err` may say what would help.
    fn from_text(text: &str) -> Result<Self, Option<String>>;

    fn schema() -> Schema;
}

/// A duration: `30s`, `5m`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// Two durations: `1m..30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanRange {
    pub min: Duration,
    pub max: Duration,
}

/// Bytes: `100B`, `64MiB`, `1GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Bytes a second, 1 or more, written as a size: `1MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate(pub u64);

/// Parts of a thousand, written as `20%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent {
    pub permille: u32,
}

/// A whole number, 1 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positive(pub u32);

/// A whole number, 0 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole(pub u32);

/// A number above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factor(pub f64);

/// A number, 0 or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Points(pub f64);

const UNITS: [(&str, u64); 7] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000), ("y", 31_536_000_000)];
/// Longer spans are a slip of the pen, and would overflow instants.
const LONGEST_MS: u64 = 1_000 * 31_536_000_000;

impl FromText for Span {
    const EXPECTED: &'static str = "a duration (such as `30s`, `5m`, `1h`, `1d` or `1w`)";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        if text == "0" {
            return Ok(Span(Duration::ZERO));
        }
        if text.parse::<f64>().is_ok() {
            return Err(Some(format!("the unit is missing: `{text}s`, `{text}m` or `{text}h`?")));
        }
        let mut rest = text;
        let mut total_ms = 0_u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(None)?;
            let unit_end = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |at| digits + at);
            let unit = &rest[digits..unit_end];
            let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| unit_hint(&rest[..digits], unit))?;
            total_ms = total_ms.checked_add(scaled(&rest[..digits], *unit_ms).ok_or(None)?).filter(|ms| *ms <= LONGEST_MS).ok_or(None)?;
            rest = &rest[unit_end..];
        }
        if text.is_empty() { Err(None) } else { Ok(Span(Duration::from_millis(total_ms))) }
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["string", "integer"], "examples": ["30s", "5m", "1h", "1d", "1w"],
            "pattern": r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w|y))+|.*\$\{.*)$", "minimum": 0, "maximum": 0,
        })
    }
}

/// A duration as the config writes it (`30s`, `1h30m`), for the command line.
pub fn parse_duration(text: &str) -> Option<Duration> {
    Span::from_text(text).ok().map(|span| span.0)
}

fn unit_hint(number: &str, unit: &str) -> Option<String> {
    let meant = match unit.to_ascii_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        "week" | "weeks" => "w",
        "msec" | "millis" | "milliseconds" => "ms",
        "mo" | "month" | "months" => return Some("months differ in length: give days".into()),
        _ => return None,
    };
    Some(format!("write `{number}{meant}`"))
}

/// `number` × `unit`, exact for what can be written in a config; `None`: not a number, or too large.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(unit),
        Some((whole, part)) => {
            if whole.is_empty() || part.is_empty() || part.len() > 9 || part.contains('.') {
                return None;
            }
            let scale = 10_u64.pow(u32::try_from(part.len()).ok()?);
            let part = u128::from(part.parse::<u64>().ok()?) * u128::from(unit) / u128::from(scale);
            whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
        }
    }
}

impl FromText for SpanRange {
    const EXPECTED: &'static str = "a range of durations (such as `1m..30m`)";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let (min, max) = (Span::from_text(min.trim())?.0, Span::from_text(max.trim())?.0);
        if min > max {
            return Err(Some("the shorter duration comes first".into()));
        }
        Ok(SpanRange { min, max })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["1m..30m"], "pattern": r"^([0-9]+(\.[0-9]+)?[a-z]+)+( *\.\. *([0-9]+(\.[0-9]+)?[a-z]+)+)?$|\$\{" })
    }
}

impl FromText for Size {
    const EXPECTED: &'static str = "a size (such as `100B`, `64MiB` or `1GB`)";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim_start());
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" if !number.is_empty() => return Err(Some(format!("the unit is missing: `{number}B`, `{number}kB` or `{number}MiB`?"))),
            "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            _ => return Err(None),
        };
        scaled(number, factor).filter(|bytes| i64::try_from(*bytes).is_ok()).map(Size).ok_or(None)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["100B", "64MiB", "1GB"], "pattern": r"^[0-9]+(\.[0-9]+)? *([kKmMgGtT]i?)?[bB]$|\$\{" })
    }
}

impl FromText for ByteRate {
    const EXPECTED: &'static str = "a size, which is that of a second (such as `500kB` or `1MB`)";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        let bare = text.strip_suffix("ps").or_else(|| text.split_once('/').map(|(size, _)| size)).map(str::trim_end);
        let hint = match (Size::from_text(text), bare) {
            (Ok(Size(bytes)), _) if bytes > 0 => return Ok(ByteRate(bytes)),
            (read, _) if read.is_ok() || text == "0" => Some("at least `1B`; without a limit leave it out".into()),
            (_, Some(bare)) if Size::from_text(bare).is_ok() => Some(format!("write `{bare}`")),
            _ if text.contains("bit") => Some("in bytes: 8 Mbit a second are `1MB`".into()),
            (read, _) => read.err().flatten(),
        };
        Err(hint)
    }

    fn schema() -> Schema {
        Size::schema()
    }
}

impl FromText for Percent {
    const EXPECTED: &'static str = "a share (such as `20%`)";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        let Some(number) = text.strip_suffix('%') else {
            let is_number = text.parse::<f64>().is_ok();
            return Err(is_number.then(|| format!("the sign is missing: `{text}%`?")));
        };
        let permille = scaled(number.trim_end(), 10).filter(|permille| *permille <= 1_000).ok_or(None)?;
        Ok(Percent { permille: u32::try_from(permille).map_err(|_| None)? })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["20%"], "pattern": r"^[0-9]+(\.[0-9]+)?%$|\$\{" })
    }
}

fn whole_number(text: &str) -> Result<u32, Option<String>> {
    text.parse().map_err(|_| {
        let digits: String = text.chars().filter(|c| !matches!(c, ',' | '_' | ' ' | '\'')).collect();
        (digits != text && digits.parse::<u32>().is_ok()).then(|| format!("write `{digits}`"))
    })
}

impl FromText for Positive {
    const EXPECTED: &'static str = "a whole number of at least 1";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        whole_number(text).and_then(|number| if number == 0 { Err(None) } else { Ok(Positive(number)) })
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 1, "pattern": r"^[0-9]+$|\$\{" })
    }
}

impl FromText for Whole {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        whole_number(text).map(Whole)
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 0, "pattern": r"^[0-9]+$|\$\{" })
    }
}

/// Beyond this a score would no longer fit its integer micro-points.
const LARGEST: f64 = 1e9;

fn number(text: &str) -> Result<f64, Option<String>> {
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number <= LARGEST).ok_or(None)
}

impl FromText for Factor {
    const EXPECTED: &'static str = "a number above 0";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        number(text).and_then(|number| if number > 0.0 { Ok(Factor(number)) } else { Err(None) })
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["number", "string"], "exclusiveMinimum": 0, "pattern": r"^[0-9.]+$|\$\{" })
    }
}

impl FromText for Points {
    const EXPECTED: &'static str = "a number of 0 or more";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        number(text).and_then(|number| if number >= 0.0 { Ok(Points(number)) } else { Err(None) })
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["number", "string"], "minimum": 0, "pattern": r"^[0-9.]+$|\$\{" })
    }
}

impl FromText for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn from_text(text: &str) -> Result<Self, Option<String>> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "true" | "1" => Some("write `true`".into()),
                "no" | "off" | "false" | "0" => Some("write `false`".into()),
                _ => None,
            }),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["boolean", "string"], "pattern": r"^(true|false)$|\$\{" })
    }
}

/// An enum that is written as one of a few words.
macro_rules! words {
    ($name:ty: $expected:literal { $($word:literal => $value:expr,)* }) => {
        impl FromText for $name {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, Option<String>> {
                let all = [$(($word, $value)),*];
                match all.iter().position(|(word, _)| *word == text) {
                    Some(at) => Ok(all[at].1),
                    None => Err($crate::spec::problem::did_you_mean(text, [$($word),*]).map(|word| format!("did you mean `{word}`?"))),
                }
            }

            fn schema() -> Schema {
                json_schema!({ "type": "string", "enum": [$($word),*] })
            }
        }
    };
}

use super::{Compression, PriorityLevel};

words!(Compression: "`gzip`" { "gzip" => Compression::Gzip, });

words!(PriorityLevel: "`critical`, `high`, `medium` or `low`" {
    "critical" => PriorityLevel::Critical,
    "high" => PriorityLevel::High,
    "medium" => PriorityLevel::Medium,
    "low" => PriorityLevel::Low,
});

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> Result<Duration, Option<String>> {
        Span::from_text(text).map(|span| span.0)
    }

    #[test]
    fn durations_are_what_their_units_say() {
        let secs = Duration::from_secs;
        for (text, expected) in [("30s", secs(30)), ("5m", secs(300)), ("1h30m", secs(5_400)), ("1.5h", secs(5_400)), ("1w", secs(604_800))]
        {
            assert_eq!(span(text), Ok(expected), "{text}");
        }
        assert_eq!(span("30ms"), Ok(Duration::from_millis(30)));
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_the_unit_to_add() {
        assert_eq!(span("30"), Err(Some("the unit is missing: `30s`, `30m` or `30h`?".into())));
        assert_eq!(span("5min"), Err(Some("write `5m`".into())));
        for text in ["", "s", "1.h", ".5h", "-1s", "1s2", "99999999999999999999s", "2000y", "1h 30m"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_tell_thousands_from_1024s() {
        assert_eq!(Size::from_text("64MiB"), Ok(Size(67_108_864)));
        assert_eq!(Size::from_text("1GB"), Ok(Size(1_000_000_000)));
        assert_eq!(Size::from_text("1.5kB"), Ok(Size(1_500)));
        assert!(Size::from_text("100").is_err());
        assert!(Size::from_text("99999999TB").is_err());
    }

    #[test]
    fn shares_are_kept_to_a_tenth_of_a_percent() {
        assert_eq!(Percent::from_text("20%"), Ok(Percent { permille: 200 }));
        assert_eq!(Percent::from_text("0.5%"), Ok(Percent { permille: 5 }));
        assert!(Percent::from_text("101%").is_err());
        assert_eq!(Percent::from_text("20"), Err(Some("the sign is missing: `20%`?".into())));
    }
}
