//! Reading times (of literals, of CSV cells, of calendar bounds) and numbers. A time without a zone is never guessed.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// How much of the calendar a text names: `2024-10` is a whole month. Ends of a calendar that are whole days include
/// them to their last hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fineness {
    Month,
    Day,
    Instant,
}

/// What is wrong, and a hint.
type Complaint = (String, Option<String>);

/// A literal. `zone` is for times without one.
pub(super) fn read(text: &str, zone: Option<&TimeZone>) -> Result<(Timestamp, Fineness), Complaint> {
    if let Some(time) = absolute(text) {
        return Ok((time, Fineness::Instant));
    }
    let (civil, fineness) = civil(text)?;
    let Some(zone) = zone else {
        let hint =
            format!("write its offset (`{}Z` is UTC), or give a calendar or typed column of this dataset a `zone:`", with_time(text));
        return Err((format!("`{text}` needs a zone, and nothing here has exactly one"), Some(hint)));
    };
    let time = zone.to_timestamp(civil).map_err(|_| (format!("`{text}` is out of range"), None))?;
    Ok((time, fineness))
}

/// A date of a calendar bound: civil time, carried as if it were UTC.
pub(super) fn read_civil(text: &str) -> Result<(Timestamp, Fineness), Complaint> {
    if absolute(text).is_some() {
        let hint = "leave the offset out: a calendar's dates are meant in its own `zone:`";
        return Err((format!("`{text}` has an offset"), Some(hint.into())));
    }
    let (civil, fineness) = civil(text)?;
    let time = TimeZone::UTC.to_timestamp(civil).map_err(|_| (format!("`{text}` is out of range"), None))?;
    Ok((time, fineness))
}

/// A text of a table. It must say its offset itself: only `time:` and `zone:` of a column can give it one.
pub(super) fn read_cell(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Some(time) = absolute(text) {
        return Ok(time);
    }
    match civil(text) {
        Ok(_) => Err(format!("`{text}` is a time without a zone: give its column `time:` and `zone:` in `columns:`")),
        Err(_) => Err(format!("`{text}` cannot be read as a time: give its column a `time:` format in `columns:`")),
    }
}

fn absolute(text: &str) -> Option<Timestamp> {
    if text.ends_with(']') {
        return text.parse::<Zoned>().ok().map(|zoned| zoned.timestamp());
    }
    text.parse::<Timestamp>().ok()
}

/// `2024-10`, `2024-10-01`, and with `T05`, `T05:30`, `T05:30:00` (or a blank for the `T`).
pub(crate) fn civil(text: &str) -> Result<(DateTime, Fineness), Complaint> {
    let wrong = || {
        let hint = "write `2024-10-01`, `2024-10-01T05:30` or, with an offset, `2024-10-01T05:30Z`";
        (format!("`{text}` is no time"), Some(hint.to_string()))
    };
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    match text.len() {
        7 if digits == 6 => {
            let month = format!("{text}-01").parse::<Date>().map_err(|_| wrong())?;
            Ok((month.into(), Fineness::Month))
        }
        10 if digits == 8 => Ok((text.parse::<Date>().map_err(|_| wrong())?.into(), Fineness::Day)),
        13 if digits == 10 => Ok((format!("{text}:00").parse().map_err(|_| wrong())?, Fineness::Instant)),
        16.. => Ok((text.parse().map_err(|_| wrong())?, Fineness::Instant)),
        _ => Err(wrong()),
    }
}

fn with_time(text: &str) -> String {
    match civil(text) {
        Ok((civil, _)) => civil.strftime("%Y-%m-%dT%H:%M").to_string(),
        Err(_) => text.to_string(),
    }
}

/// Digits with sign, point and exponent: no `inf`, no hexadecimal.
pub(crate) fn read_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|number| plain && number.is_finite())
}
