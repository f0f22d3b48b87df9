//! `2024-05-06T22:37:48.000Z`, ten million times.

use adce_core::time::Timestamp;

/// Microseconds since 1970. The usual form is read without a parser's help; any other that is a time is one, too.
pub(crate) fn micros(text: &[u8]) -> Option<i64> {
    usual(text).or_else(|| {
        let text = std::str::from_utf8(text).ok()?;
        Some(text.parse::<Timestamp>().ok()?.as_microsecond())
    })
}

fn usual(text: &[u8]) -> Option<i64> {
    let shape = text.len() >= 20 && text[4] == b'-' && text[7] == b'-' && text[10] == b'T' && text[13] == b':' && text[16] == b':';
    if !shape || *text.last()? != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].get(usize::try_from(month - 1).ok()?).copied()?;
    if day < 1 || day > last || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match &text[19..text.len() - 1] {
        [] => 0,
        [b'.', a, b, c] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => {
            (i64::from(a - b'0') * 100 + i64::from(b - b'0') * 10 + i64::from(c - b'0')) * 1_000
        }
        _ => return None,
    };
    Some((days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000 + fraction)
}

/// From 1970-01-01, in the Gregorian calendar: years begin in March, so that a leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "2024", "2024-02-30T00:00:00Z", "2023-02-29T00:00:00.000Z", "2024-13-01T00:00:00Z", "2024-05-06 22:37:48"] {
            assert_eq!(micros(text.as_bytes()), None, "{text}");
        }
        assert_eq!(micros(b"2024-05-06T22:37:48+02:00"), micros(b"2024-05-06T20:37:48.000Z"));
    }

    proptest! {
        #[test]
        fn the_usual_form_is_read_as_any_library_would(millis in -2_208_988_800_000_i64..7_258_118_400_000) {
            let time = Timestamp::from_millisecond(millis).unwrap();
            let text = time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            prop_assert_eq!(usual(text.as_bytes()), Some(time.as_microsecond()));
        }
    }
}
