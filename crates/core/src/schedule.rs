//! Times by cron expressions, in a zone: when a job is due, and whether a maintenance window is open.
//!
//! Expressions have five fields (minute, hour, day of month, month, weekday), or six with seconds in front; names (`mon`, `jan`), `?`, `L`, `#` and `@daily` are understood.
//! Where both days are given, either is enough, as cron has always had it.
//!
//! When clocks change: what is due at a fixed time that does not exist that day runs at the first instant after the gap; what is due at a time that
//! comes twice runs the first time only. What runs every so often (`*`, `*/15`) leaves out what does not exist, and runs both times.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;

use crate::time::{SignedDuration, Timestamp};

/// A look comes at least once a second; whoever is later than this was not there.
pub const ON_TIME: Duration = Duration::from_secs(60);

/// However long nobody was there: more runs that were missed are not counted.
const COUNTED: u32 = 1_000;

#[derive(Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// The error: what is wrong with the expression.
    pub fn new(text: &str, zone: TimeZone) -> Result<Schedule, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).sloppy_ranges(true).build();
        let cron = parser.parse(text).map_err(|error| error.to_string())?;
        Ok(Schedule { text: text.to_owned(), cron, zone })
    }

    /// The first one after this instant; `None`: there is none.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&at.to_zoned(self.zone.clone()), false).ok()?;
        Some(next.timestamp())
    }

    /// The last one up to this instant.
    pub fn last_by(&self, at: Timestamp) -> Option<Timestamp> {
        let last = self.cron.find_previous_occurrence(&at.to_zoned(self.zone.clone()), true).ok()?;
        Some(last.timestamp())
    }

    /// The first instant at which a window that opens by this and stays open for so long is shut again; `None`: it is not open.
    pub fn open_until(&self, stays: Duration, now: Timestamp) -> Option<Timestamp> {
        let until = self.last_by(now)?.saturating_add(SignedDuration::try_from(stays).ok()?).ok()?;
        (until > now).then_some(until)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone.iana_name().unwrap_or("UTC"))
    }
}

/// What becomes of runs for which nobody was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// One run stands for all of them.
    #[default]
    Once,
    /// They are left out.
    Skip,
}

/// What is to be done about a schedule now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// A run is due since then; `None`: those that were are left out.
    pub run: Option<Timestamp>,
    /// Others before it, that it stands for, or that are left out.
    pub missed: u32,
    /// Everything up to here is seen to once that is done.
    pub seen_to: Timestamp,
}

/// What was due since `seen_to`; `None`: nothing.
pub fn due(schedule: &Schedule, missed: Missed, seen_to: Timestamp, now: Timestamp) -> Option<Due> {
    let mut last = None;
    let mut count = 0;
    let mut at = seen_to;
    while let Some(next) = schedule.next_after(at).filter(|next| *next <= now) {
        (last, at) = (Some(next), next);
        count += 1;
        if count == COUNTED {
            last = schedule.last_by(now);
            break;
        }
    }
    let last = last?;
    let is_on_time = now.duration_since(last) <= SignedDuration::try_from(ON_TIME).unwrap_or_default();
    let runs = is_on_time || missed == Missed::Once;
    Some(Due { run: runs.then_some(last), missed: if runs { count - 1 } else { count }, seen_to: last })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn new_york(text: &str) -> Schedule {
        Schedule::new(text, TimeZone::get("America/New_York").unwrap()).unwrap()
    }

    fn nexts(schedule: &Schedule, from: &str, many: usize) -> Vec<String> {
        let mut now = at(from);
        let next = |_| {
            now = schedule.next_after(now).unwrap();
            now.to_string()
        };
        (0..many).map(next).collect()
    }

    #[test]
    fn a_fixed_time_that_does_not_exist_is_due_right_after_the_gap_and_one_that_comes_twice_once() {
        // On 2024-03-10 clocks in New York go from 02:00 to 03:00, on 2024-11-03 from 02:00 back to 01:00.
        let at_half_past_two = new_york("30 2 * * *");
        assert_eq!(nexts(&at_half_past_two, "2024-03-09T12:00:00Z", 2), ["2024-03-10T07:00:00Z", "2024-03-11T06:30:00Z"]);
        let at_half_past_one = new_york("30 1 * * *");
        assert_eq!(nexts(&at_half_past_one, "2024-11-03T00:00:00Z", 2), ["2024-11-03T05:30:00Z", "2024-11-04T06:30:00Z"]);
    }

    #[test]
    fn what_runs_every_so_often_leaves_out_what_does_not_exist_and_runs_both_times() {
        let hourly = new_york("0 * * * *");
        let spring = ["2024-03-10T06:00:00Z", "2024-03-10T07:00:00Z", "2024-03-10T08:00:00Z"];
        assert_eq!(nexts(&hourly, "2024-03-10T05:30:00Z", 3), spring, "every hour that there is");
        let autumn = ["2024-11-03T05:00:00Z", "2024-11-03T06:00:00Z", "2024-11-03T07:00:00Z"];
        assert_eq!(nexts(&hourly, "2024-11-03T04:30:00Z", 3), autumn);
    }

    #[test]
    fn missed_runs_are_caught_up_once_or_left_out_and_those_on_time_run_either_way() {
        let daily = new_york("0 4 * * *");
        let seen = at("2024-06-01T08:00:00Z");
        assert_eq!(due(&daily, Missed::Once, seen, at("2024-06-02T07:59:59Z")), None);
        for missed in [Missed::Once, Missed::Skip] {
            let on_time = due(&daily, missed, seen, at("2024-06-02T08:00:30Z")).unwrap();
            assert_eq!(on_time, Due { run: Some(at("2024-06-02T08:00:00Z")), missed: 0, seen_to: at("2024-06-02T08:00:00Z") });
        }
        let late = at("2024-06-05T12:00:00Z");
        let last = at("2024-06-05T08:00:00Z");
        assert_eq!(due(&daily, Missed::Once, seen, late), Some(Due { run: Some(last), missed: 3, seen_to: last }));
        assert_eq!(due(&daily, Missed::Skip, seen, late), Some(Due { run: None, missed: 4, seen_to: last }));
        assert_eq!(due(&daily, Missed::Once, last, late), None, "it is seen to");
    }

    #[test]
    fn a_window_is_open_from_its_time_on_for_as_long_as_it_stays() {
        let sundays = new_york("0 2 * * sun");
        let open = |now: &str| sundays.open_until(Duration::from_secs(2 * 3_600), at(now)).map(|until| until.to_string());
        assert_eq!(open("2024-06-02T05:59:59Z"), None);
        assert_eq!(open("2024-06-02T06:00:00Z").as_deref(), Some("2024-06-02T08:00:00Z"));
        assert_eq!(open("2024-06-02T07:59:59Z").as_deref(), Some("2024-06-02T08:00:00Z"));
        assert_eq!(open("2024-06-02T08:00:00Z"), None);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "xyz", "60 0 * * *", "0 60 * * *", "0 0 * * XYZ", "* * * *", "@unrecognized", "* 5 j * * *"] {
            assert!(Schedule::new(text, TimeZone::UTC).is_err(), "{text}");
        }
    }
}
