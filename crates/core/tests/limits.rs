//! The limiter against brute force, written from the promise alone: nothing here asks the limiter what it counted.
//!
//! A random life of two sources is played (asks, late sends, settlements in the past and ahead, crashes). Then every
//! bracket is compared with every other one: a request may have arrived anywhere in its bracket, so a span of W is
//! exceeded if more than N brackets *touch* one, which is the worst that any choice of instants can do.

mod worlds;

use std::time::Duration;

use adce_core::ids::ValueId;
use adce_core::limits::{Ask, AskKind, Because, HoldOff, Limiter, Reach, Restored, SourceIx};
use adce_core::ports::{PermitId, Settlement};
use adce_core::spec::{Limits, Margin, PriorityLevel, Reserve, Window};
use adce_core::time::Boottime;
use proptest::prelude::*;
use worlds::{fillings, life, limits, play, rules, some};

const A: SourceIx = SourceIx(0);
const MINUTE: Duration = Duration::from_secs(60);

fn per(requests: u32, secs: u64) -> Window {
    Window { requests, span: Duration::from_secs(secs) }
}

fn limiter(limits: Limits) -> Limiter {
    Limiter::new(&[("a".into(), limits)], &Limits::default())
}

fn windows(windows: &[Window]) -> Limits {
    Limits { windows: windows.to_vec(), ..Limits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn never_lets_more_than_limit_arrive_in_any_window(rules in rules(), steps in life()) {
        let played = play(&rules, &steps, |_, _, _, _| Ok(()))?;
        for (name, limits, requests) in played.by_scope(&rules) {
            for window in &limits.windows {
                played.no_span_holds_more_than(window, &requests, &name)?;
            }
        }
    }

    #[test]
    fn spacing_holds_between_any_two_requests(rules in rules(), steps in life()) {
        let played = play(&rules, &steps, |_, _, _, _| Ok(()))?;
        for (name, limits, requests) in played.by_scope(&rules) {
            worlds::delays_hold(limits, &requests, &name)?;
            worlds::flight_holds(limits, &requests, &name)?;
            if !played.restarted {
                worlds::burst_holds(limits, &requests, &name)?;
            }
        }
    }

    #[test]
    fn a_refusal_changes_nothing(rules in rules(), steps in life()) {
        play(&rules, &steps, |limiter, ask, now, _| {
            let before = limiter.clone();
            let answer = limiter.could_acquire(ask, now);
            let mut asked = before.clone();
            let granted = asked.try_acquire(ask, now);
            prop_assert_eq!(answer.err(), granted.err(), "looking and taking answer differently");
            if granted.is_err() {
                prop_assert_eq!(&asked, &before);
            }
            prop_assert_eq!(limiter, &before, "looking alone changed something");
            Ok(())
        })?;
    }

    #[test]
    fn a_hold_off_ends_exactly_when_it_says(rules in rules(), steps in life()) {
        play(&rules, &steps, |limiter, ask, now, _| {
            match limiter.could_acquire(ask, now) {
                Ok(()) => {}
                Err(HoldOff::Until { at, because }) => {
                    prop_assert!(at > now);
                    prop_assert!(limiter.could_acquire(ask, at).is_ok(), "{because}: still refused at {at:?}");
                    for earlier in [at - Duration::from_micros(1), now + at.since(now) / 2] {
                        prop_assert!(limiter.could_acquire(ask, earlier).is_err(), "{because}: admitted before {at:?}");
                    }
                }
                Err(HoldOff::UntilSettled { .. } | HoldOff::Never { .. }) => {
                    let much_later = now + Duration::from_secs(40 * 86_400);
                    prop_assert!(limiter.could_acquire(ask, much_later).is_err());
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_window_refuses_exactly_when_each_priority_counting_its_share_does_not_fit(rules in rules(), steps in life()) {
        play(&rules, &steps, |limiter, ask, now, played| {
            let fits = fillings(&rules, played, ask, now).iter().all(|filling| {
                let nobodys = filling.used - filling.by.iter().sum::<u64>();
                let counted: u64 = PriorityLevel::ALL.iter().map(|priority| {
                    let used = filling.by[*priority as usize] + if *priority == ask.priority { filling.wanted } else { 0 };
                    used.max(u64::from(rules.reserve.of_window(*priority, filling.window.requests)))
                }).sum();
                nobodys + counted <= u64::from(filling.window.requests)
            });
            let refused_by_window = limiter.shortest_refusing_window(ask, now).is_some();
            prop_assert_eq!(refused_by_window, !fits, "{:?}", limiter.could_acquire(ask, now));
            Ok(())
        })?;
    }

    #[test]
    fn what_is_set_aside_is_there_whenever_it_is_asked_for(rules in rules(), steps in life()) {
        play(&rules, &steps, |limiter, ask, now, played| {
            let of_window = |requests| u64::from(rules.reserve.of_window(ask.priority, requests));
            let fillings = fillings(&rules, played, ask, now);
            let within = |filling: &worlds::Filling| {
                filling.by[ask.priority as usize] + filling.wanted <= of_window(filling.window.requests)
            };
            let all_within_of = |of_value| {
                let mut of = fillings.iter().filter(|filling| filling.of_value == of_value).peekable();
                of.peek().is_some() && of.all(within)
            };
            prop_assert_eq!(limiter.is_within_its_share(ask, now), all_within_of(false));
            prop_assert_eq!(limiter.is_within_its_share_of_its_value(ask, now), all_within_of(true));
            let all_within = !fillings.is_empty() && fillings.iter().all(within);
            // What an earlier process sent is nobody's, and may lie where the share was.
            if all_within && !played.restarted {
                prop_assert_eq!(limiter.shortest_refusing_window(ask, now), None);
            }
            Ok(())
        })?;
    }

    #[test]
    fn unsent_gives_everything_back(rules in rules(), steps in life(), send_first in any::<bool>()) {
        play(&rules, &steps, |limiter, ask, now, _| {
            let ask_of = ask;
            let mut used = limiter.clone();
            let Ok(permit) = used.try_acquire(ask, now) else { return Ok(()) };
            if send_first {
                prop_assert!(used.sent(permit.id, now).is_ok());
            }
            used.settle(permit.id, Settlement::Unsent, now);
            for source in [SourceIx(0), SourceIx(1)] {
                let kinds = [AskKind::OneRequest, AskKind::ChargedAhead { permits: 3 }, AskKind::Paced];
                let asks = kinds.into_iter().flat_map(|kind| [(kind, PriorityLevel::Critical), (kind, PriorityLevel::Low)]);
                for ((kind, priority), value) in asks.flat_map(|ask| [(ask, ask_of.value), (ask, some(2))]) {
                    let ask = Ask { source, kind, priority, value };
                    for wait in [0, 1, 59_999_999, 60_000_001, 4_000_000_000] {
                        let later = now + Duration::from_micros(wait);
                        prop_assert_eq!(used.could_acquire(&ask, later), limiter.could_acquire(&ask, later));
                    }
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_fixed_margin_counts_from_sent_however_long_it_takes(
        requests in 1_u32..6,
        takes in prop::collection::vec((0_u64..90_000, 0_u64..30_000), 1..60),
    ) {
        let margin = Duration::from_millis(30);
        let mut limiter = limiter(Limits { margin: Margin::Fixed(margin), ..windows(&[per(requests, 60)]) });
        let (mut now, mut sent) = (Boottime::from_secs(500), Vec::new());
        let mut open = Vec::new();
        for (settles_after_ms, waits_ms) in takes {
            now = now + Duration::from_millis(waits_ms);
            if let Err(HoldOff::Until { at, .. }) = limiter.could_acquire(&Ask::one(A), now) {
                now = at;
            }
            for (id, at) in std::mem::take(&mut open) {
                if at <= now { limiter.settle(id, Settlement::ArrivedBy(at), now) } else { open.push((id, at)) }
            }
            let permit = limiter.try_acquire(&Ask::one(A), now).expect("settled or not, the margin is over");
            prop_assert!(limiter.sent(permit.id, now).is_ok());
            sent.push(now);
            open.push((permit.id, now + Duration::from_millis(settles_after_ms)));
        }
        for first in &sent {
            let span = sent.iter().filter(|at| *at >= first && at.since(*first) <= MINUTE + margin).count();
            prop_assert!(span as u32 <= requests, "{span} of {requests} sent within a minute and the margin");
        }
    }
}

/// As fast as it lets, for `spans` of the longest window, from `answers` that take their time. Returns requests sent.
fn under_constant_demand(limits: &Limits, end: Boottime, mut takes_us: impl FnMut() -> u64) -> (u64, f64) {
    let mut limiter = limiter(limits.clone());
    let mut now = Boottime::from_secs(10_000);
    let end = now + end.since(Boottime::default());
    let mut open = std::collections::BTreeSet::new();
    let (mut sent, mut took) = (0_u64, 0_u64);
    while now < end {
        let wake = match limiter.try_acquire(&Ask::one(A), now) {
            Ok(permit) => {
                limiter.sent(permit.id, now).expect("not paused");
                let takes = takes_us();
                open.insert((now + Duration::from_micros(takes), permit.id));
                sent += 1;
                took += takes;
                continue;
            }
            Err(HoldOff::Until { at, .. }) => Some(at),
            Err(_) => None,
        };
        let settles = open.first().copied();
        match (wake, settles) {
            (Some(wake), Some((at, _))) if wake <= at => now = wake,
            (_, Some((at, id))) => {
                open.remove(&(at, id));
                now = at;
                limiter.settle(id, Settlement::ArrivedBy(at), now);
            }
            (Some(wake), None) => now = wake,
            (None, None) => unreachable!("refused for ever with nothing in flight"),
        }
    }
    (sent, took as f64 / sent as f64 / 1e6)
}

#[test]
fn constant_demand_uses_what_the_promise_leaves() {
    let cases = [
        (vec![per(60, 60)], None, 200, 4 * 3_600),
        (vec![per(1, 60)], None, 900, 40 * 3_600),
        (vec![per(20, 60)], None, 5_000, 10 * 3_600),
        (vec![per(10, 1)], None, 300, 3_600),
        (vec![per(60, 60), per(3_000, 3_600)], None, 400, 30 * 3_600),
        (vec![per(60, 60), per(3_000, 3_600)], Some(10), 400, 60 * 3_600),
        (vec![per(5, 1), per(100, 60), per(5_000, 3_600)], None, 50, 30 * 3_600),
        (vec![per(60, 60)], Some(5), 1_500, 10 * 3_600),
    ];
    for (windows, burst, mean_ms, secs) in cases {
        let limits = Limits { windows: windows.clone(), burst, ..Limits::default() };
        let mut dice = worlds::Dice(7);
        // From a tenth of the mean to almost twice of it, and one answer in fifty that takes ten times as long.
        let takes = || {
            let usual = mean_ms * 100 + dice.below(mean_ms * 1_800);
            if dice.below(50) == 0 { usual * 10 } else { usual }
        };
        let (sent, mean) = under_constant_demand(&limits, Boottime::from_secs(secs), takes);
        let left = windows.iter().map(|w| f64::from(w.requests) / (w.span.as_secs_f64() + mean)).fold(f64::MAX, f64::min);
        let share = sent as f64 / secs as f64 / left;
        assert!(share >= 0.99, "{windows:?} burst {burst:?}: {:.2} % of what is left", share * 100.0);
    }
}

/// A hundred customers at once, each of which may use as much as the promise leaves of its window, whatever the others do.
#[test]
fn constant_demand_of_many_values_uses_what_the_promise_leaves_of_each() {
    let (values, of_each, secs, mean_ms) = (100_u64, per(30, 60), 4 * 3_600_u64, 400_u64);
    let mut limiter = limiter(windows(&[per(3_600, 60)]));
    limiter.by_value(A, &windows(&[of_each]));
    let mut dice = worlds::Dice(11);
    let (mut now, end) = (Boottime::from_secs(10_000), Boottime::from_secs(10_000 + secs));
    let mut open: std::collections::BTreeSet<(Boottime, PermitId, u64)> = std::collections::BTreeSet::new();
    // When each asks again; nobody asks before it is told to.
    let mut asks: std::collections::BTreeSet<(Boottime, u64)> = (0..values).map(|value| (now, value)).collect();
    let (mut sent, mut took) = (vec![0_u64; values as usize], 0_u64);
    while let Some(next) = asks.first().map(|(at, _)| *at).into_iter().chain(open.first().map(|(at, ..)| *at)).min().filter(|at| *at < end)
    {
        now = next;
        while let Some((at, id, value)) = open.first().copied().filter(|(at, ..)| *at <= now) {
            open.remove(&(at, id, value));
            limiter.settle(id, Settlement::ArrivedBy(at), now);
            // It may have waited for this.
            asks.insert((now, value));
        }
        while let Some((at, value)) = asks.first().copied().filter(|(at, _)| *at <= now) {
            asks.remove(&(at, value));
            let ask = Ask::one(A).by(Some(ValueId::of(&value.to_string())));
            match limiter.try_acquire(&ask, now) {
                Ok(permit) => {
                    limiter.sent(permit.id, now).expect("not paused");
                    let takes = mean_ms * 100 + dice.below(mean_ms * 1_800);
                    open.insert((now + Duration::from_micros(takes), permit.id, value));
                    (sent[value as usize], took) = (sent[value as usize] + 1, took + takes);
                    asks.insert((now, value));
                }
                Err(HoldOff::Until { at, .. }) => drop(asks.insert((at, value))),
                Err(_) => {}
            }
        }
    }
    let mean = took as f64 / sent.iter().sum::<u64>() as f64 / 1e6;
    let left = f64::from(of_each.requests) / (of_each.span.as_secs_f64() + mean) * secs as f64;
    let least = *sent.iter().min().unwrap() as f64 / left;
    assert!(least >= 0.99, "somebody got {:.2} % of what is left", least * 100.0);
}

#[test]
fn a_value_that_is_used_up_leaves_the_others_theirs_and_takes_nothing_from_them() {
    let mut limiter = limiter(windows(&[per(5, 60)]));
    limiter.by_value(A, &Limits { in_flight: Some(2), ..windows(&[per(2, 60)]) });
    let now = Boottime::from_secs(100);
    let of = |value: &str| Ask::one(A).by(Some(ValueId::of(value)));
    for _ in 0..2 {
        limiter.try_acquire(&of("acme"), now).unwrap();
    }
    let refused = limiter.try_acquire(&of("acme"), now).unwrap_err();
    assert_eq!(refused.because().to_string(), "`per_minute: 2` of its value");
    assert_eq!(limiter.refusal_of_any_value(&of("acme"), now), None, "others would not be refused");
    assert_eq!(limiter.usage(Some(A), now)[0].used, 2, "a refusal takes nothing of the source's window");
    limiter.try_acquire(&of("zeta"), now).unwrap();
    // Of whom nobody knows whose they are share one.
    for _ in 0..2 {
        limiter.try_acquire(&Ask::one(A), now).unwrap();
    }
    let everybody = limiter.try_acquire(&of("new"), now).unwrap_err();
    assert_eq!(everybody.because().to_string(), "`per_minute: 5` of the source");
    assert_eq!(limiter.refusal_of_any_value(&of("new"), now), Some(everybody));
}

#[test]
fn a_value_that_is_forgotten_has_nothing_that_a_limit_could_see() {
    let mut limiter = limiter(Limits::default());
    let own = Limits { in_flight: Some(1), min_delay: Some(Duration::from_secs(2)), burst: Some(3), ..windows(&[per(5, 60)]) };
    limiter.by_value(A, &own);
    let mut dice = worlds::Dice(5);
    let mut now = Boottime::from_secs(1_000);
    let mut most = 0;
    let mut last_settled = std::collections::HashMap::new();
    for number in 0..40_000_u64 {
        now = now + Duration::from_millis(dice.below(100));
        let value = ValueId::of(&format!("customer {}", number / 8 + dice.below(20)));
        let Ok(permit) = limiter.try_acquire(&Ask::one(A).by(Some(value)), now) else { continue };
        limiter.sent(permit.id, now).unwrap();
        limiter.settle(permit.id, Settlement::ArrivedBy(now), now);
        last_settled.insert(value, now);
        most = most.max(limiter.known_values(A).count());
        if number % 1_000 == 0 {
            let known: std::collections::HashSet<ValueId> = limiter.known_values(A).collect();
            for (value, settled) in last_settled.iter().filter(|(value, _)| !known.contains(*value)) {
                assert!(*settled + MINUTE < now, "{value:?} is forgotten and its last request counts");
            }
        }
    }
    // Some 8,000 values came by, and 170 of them within a minute and the second that a request may linger.
    assert!(most < 600, "{most} values are remembered");
}

#[test]
fn a_request_counts_until_its_window_after_it_settled() {
    let mut limiter = limiter(windows(&[per(1, 60)]));
    let sent = Boottime::from_secs(100);
    let permit = limiter.try_acquire(&Ask::one(A), sent).unwrap();
    limiter.sent(permit.id, sent).unwrap();
    let because = Because::Window { reach: adce_core::limits::Reach::Source, window: per(1, 60) };
    let hour_later = sent + Duration::from_secs(3_600);
    assert_eq!(limiter.could_acquire(&Ask::one(A), hour_later), Err(HoldOff::UntilSettled { because }));
    limiter.settle(permit.id, Settlement::ArrivedBy(hour_later), hour_later);
    let at = hour_later + MINUTE + Duration::from_micros(1);
    assert_eq!(limiter.could_acquire(&Ask::one(A), hour_later), Err(HoldOff::Until { at, because }));
    let text = because.to_string();
    assert_eq!(text, "`per_minute: 1` of the source");
}

#[test]
fn what_is_set_aside_of_a_window_is_refused_to_others_until_so_many_have_left_it() {
    let mut limiter = limiter(windows(&[per(5, 60)]));
    limiter.set_aside(Reserve::default().with(PriorityLevel::Critical, 400));
    let (others, critical) = (Ask::one(A), Ask::one(A).of(PriorityLevel::Critical));
    let at = |second| Boottime::from_secs(second);
    for second in [100, 110, 120] {
        let permit = limiter.try_acquire(&others, at(second)).unwrap();
        limiter.settle(permit.id, Settlement::ArrivedBy(at(second)), at(second));
    }
    let refused = limiter.could_acquire(&others, at(121)).unwrap_err();
    assert_eq!(refused.at(), Some(at(160) + Duration::from_micros(1)));
    assert_eq!(refused.because().to_string(), "what is not set aside of `per_minute: 5` of the source");
    assert_eq!(limiter.usage(Some(A), at(121))[0].set_aside, 2);
    for _ in 0..2 {
        let permit = limiter.try_acquire(&critical, at(121)).expect("it is set aside");
        limiter.settle(permit.id, Settlement::ArrivedBy(at(121)), at(121));
    }
    assert!(matches!(limiter.could_acquire(&critical, at(121)).unwrap_err().because(), Because::Window { .. }));
    assert_eq!(limiter.usage(Some(A), at(121))[0].set_aside, 0);
    // What critical has used counts as its share, so the rest is everybody's as before.
    assert_eq!(limiter.could_acquire(&others, at(130)).unwrap_err().at(), Some(at(160) + Duration::from_micros(1)));
    let too_many = limiter.could_acquire(&Ask::charged(A, 4), at(121)).unwrap_err();
    assert!(matches!(too_many, HoldOff::Never { .. }), "{too_many:?}");
}

#[test]
fn one_scope_refusing_takes_nothing_from_the_other() {
    let source = windows(&[per(2, 60)]);
    let mut limiter = Limiter::new(&[("a".into(), source.clone()), ("b".into(), source)], &windows(&[per(3, 3_600)]));
    let now = Boottime::from_secs(100);
    for source in [A, A, SourceIx(1)] {
        limiter.try_acquire(&Ask::one(source), now).unwrap();
    }
    let refused = limiter.try_acquire(&Ask::one(SourceIx(1)), now).unwrap_err();
    assert_eq!(refused.because().to_string(), "`per_hour: 3` of all sources together");
    assert_eq!(limiter.usage(Some(SourceIx(1)), now)[0].used, 1);
    assert_eq!(limiter.usage(None, now)[0].used, 3);
}

#[test]
fn burst_admits_b_at_once_and_then_one_at_a_time() {
    let mut limiter = limiter(Limits { burst: Some(3), ..windows(&[per(60, 60), per(1_000, 3_600)]) });
    let now = Boottime::from_secs(100);
    let mut granted = 0;
    while let Ok(permit) = limiter.try_acquire(&Ask::one(A), now) {
        limiter.sent(permit.id, now).unwrap();
        limiter.settle(permit.id, Settlement::ArrivedBy(now), now);
        granted += 1;
    }
    assert_eq!(granted, 3);
    let refused = limiter.could_acquire(&Ask::one(A), now).unwrap_err();
    assert_eq!(refused.at(), Some(Boottime::from_secs(101)));
    assert_eq!(refused.because().word(), "burst");
}

#[test]
fn a_held_permit_is_never_refused_by_what_was_granted_after_it() {
    let mut limiter = limiter(Limits { burst: Some(2), ..windows(&[per(60, 60)]) });
    let start = Boottime::from_secs(100);
    let held = limiter.try_acquire(&Ask::one(A), start).unwrap();
    let other = limiter.try_acquire(&Ask::one(A), start).unwrap();
    limiter.sent(other.id, start).unwrap();
    let refused = limiter.could_acquire(&Ask::one(A), start + Duration::from_millis(999)).unwrap_err();
    assert_eq!(refused.at(), Some(Boottime::from_secs(101)), "the held one keeps its share");
    limiter.sent(held.id, start + Duration::from_secs(30)).unwrap();
    assert!(limiter.could_acquire(&Ask::one(A), start + Duration::from_secs(30)).is_ok());
}

#[test]
fn a_charge_is_in_the_long_windows_from_its_start_until_its_end_plus_the_window() {
    let limits = Limits { in_flight: Some(1), min_delay: Some(MINUTE), ..windows(&[per(2, 1), per(20, 60), per(25, 3_600)]) };
    let mut limiter = limiter(limits);
    let start = Boottime::from_secs(100);
    assert!(matches!(limiter.could_acquire(&Ask::charged(A, 21), start), Err(HoldOff::Never { .. })));
    let task = limiter.try_acquire(&Ask::charged(A, 20), start).unwrap();
    assert_eq!(task.permits, 20);
    assert_eq!(limiter.usage(Some(A), start).iter().map(|usage| usage.used).collect::<Vec<_>>(), [0, 20, 20]);
    assert!(matches!(limiter.could_acquire(&Ask::charged(A, 1), start), Err(HoldOff::UntilSettled { .. })));
    let end = start + Duration::from_secs(300);
    limiter.settle(task.id, Settlement::ArrivedBy(end), end);
    let one_more = limiter.could_acquire(&Ask::charged(A, 1), end).unwrap_err();
    assert_eq!(one_more.at(), Some(end + MINUTE + Duration::from_micros(1)));
    let ten_more = limiter.could_acquire(&Ask::charged(A, 10), end).unwrap_err();
    assert_eq!(ten_more.at(), Some(end + Duration::from_secs(3_600) + Duration::from_micros(1)));
    assert_eq!(limiter.shortest_refusing_window(&Ask::charged(A, 10), end), Some(MINUTE));
}

#[test]
fn a_task_charged_for_one_request_is_spaced_like_one() {
    let mut limiter = limiter(Limits { in_flight: Some(1), ..windows(&[per(60, 60)]) });
    let start = Boottime::from_secs(100);
    limiter.try_acquire(&Ask::charged(A, 1), start).unwrap();
    let refused = limiter.could_acquire(&Ask::charged(A, 1), start).unwrap_err();
    assert_eq!(refused.because().word(), "in_flight");
}

#[test]
fn retry_after_pauses_the_whole_source() {
    let mut limiter = Limiter::new(&[("a".into(), Limits::default()), ("b".into(), Limits::default())], &Limits::default());
    let now = Boottime::from_secs(100);
    let held = limiter.try_acquire(&Ask::one(A), now).unwrap();
    limiter.pause(A, Boottime::from_secs(160));
    limiter.pause(A, Boottime::from_secs(130));
    for ask in [Ask::one(A), Ask::charged(A, 5), Ask::charged(A, 0)] {
        assert_eq!(limiter.could_acquire(&ask, now).unwrap_err().at(), Some(Boottime::from_secs(160)));
    }
    assert_eq!(limiter.sent(held.id, now).unwrap_err().because(), Because::Paused { reach: Reach::Source });
    assert!(limiter.could_acquire(&Ask::one(SourceIx(1)), now).is_ok());
    assert!(limiter.sent(held.id, Boottime::from_secs(160)).is_ok());
}

#[test]
fn what_a_dead_process_may_have_sent_counts_until_linger_and_the_window_are_over() {
    let mut limiter = limiter(windows(&[per(2, 60)]));
    let restarted_at = Boottime::from_secs(100);
    limiter.restore(Some(A), None, 2, Restored { first_sent: Boottime::from_secs(40), last_arrival: None }, restarted_at);
    let refused = limiter.could_acquire(&Ask::one(A), restarted_at).unwrap_err();
    assert_eq!(refused.at(), Some(Boottime::from_secs(161) + Duration::from_micros(1)));
}

#[test]
fn a_clock_read_before_the_last_grant_is_taken_as_that_grant() {
    let mut limiter = limiter(windows(&[per(1, 60)]));
    let first = limiter.try_acquire(&Ask::one(A), Boottime::from_secs(100)).unwrap();
    limiter.settle(first.id, Settlement::ArrivedBy(Boottime::from_secs(100)), Boottime::from_secs(100));
    let second = limiter.try_acquire(&Ask::one(A), Boottime::from_secs(161)).unwrap();
    limiter.settle(second.id, Settlement::Unsent, Boottime::from_secs(161));
    assert!(limiter.try_acquire(&Ask::one(A), Boottime::from_secs(150)).is_ok(), "it cannot be sent before second 161");
}

#[test]
fn settling_twice_or_an_unknown_permit_changes_nothing() {
    let mut limiter = limiter(windows(&[per(2, 60)]));
    let now = Boottime::from_secs(100);
    let permit = limiter.try_acquire(&Ask::one(A), now).unwrap();
    limiter.settle(permit.id, Settlement::ArrivedBy(now), now);
    let before = limiter.clone();
    limiter.settle(permit.id, Settlement::Unsent, now);
    assert!(limiter.sent(permit.id, now).is_ok());
    assert_eq!(limiter, before);
}

#[test]
fn no_limits_admit_everything() {
    let mut limiter = limiter(limits());
    let now = Boottime::from_secs(1);
    assert!((0..10_000).all(|_| limiter.try_acquire(&Ask::one(A), now).is_ok()));
}
