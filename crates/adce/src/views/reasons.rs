//! Why something waits or waited, in words.

use std::time::Duration;

use adce_api::{ItemStory, LookAt, NearMiss, StoryLine, WaitedLine};
use adce_core::coverage::{Completeness, Due, Inputs, Miss, Sight};
use adce_core::figures::{bytes, counted, grouped, span};
use adce_core::gap::{GapState, ItemState, Standing};
use adce_core::limits::{Because, Reach};
use adce_core::queue::{Gate, whose_breaker};
use adce_core::record::{Story, Waited};
use adce_core::spec::PriorityLevel;
use adce_core::time::{Boottime, Now, Timestamp};
use adce_engine::{About, GapView, HeldBackLine, ItemView, TaskView, Why};

use super::clock;

/// What holds it, and of a key what is known of it.
pub fn why(what: &str, why: &Why, about: About, now: Now) -> adce_api::Why {
    let mut said = held(what, why, now);
    said.facts.extend(about.item.iter().flat_map(about_item));
    said.facts.extend(about.near.iter().take(NEAR).map(|miss| near_words(what, miss)));
    said.near = about.near.into_iter().map(near_miss).collect();
    if let Some(item) = about.item {
        (said.dataset, said.item) = (Some(item.dataset), Some(item.item));
    }
    said
}

/// So many datasets that a key is like are told.
const NEAR: usize = 3;

fn near_miss(miss: Miss) -> NearMiss {
    let Miss { dataset, template, at, wanted } = miss;
    NearMiss { dataset, template, at: at as u64, wanted: wanted.to_string() }
}

/// `` like `box_scores` (bbref/{season}/{game_id}.html) up to `bbref/2024-25/401.`, where `html` should follow ``
fn near_words(key: &str, miss: &Miss) -> String {
    let Miss { dataset, template, at, wanted } = miss;
    let stop = key.get(*at..).and_then(|rest| rest.chars().next()).map_or("its end".to_owned(), |letter| format!("the `{letter}`"));
    format!("like `{dataset}` ({template}) up to `{}`: instead of {stop} there, {wanted}", key.get(..*at).unwrap_or(key))
}

/// Whose it is, when it is expected, what was seen and by whom, and what is on record.
fn about_item(view: &ItemView) -> Vec<String> {
    let mut facts = vec![format!("item {} of `{}`", view.item, view.dataset)];
    facts.push(match view.due {
        Some(Due::AtOnce) => "expected at once: the dataset has no `due`".into(),
        Some(Due::At(at)) => format!("due {at}"),
        Some(Due::Unset) => "its `due` is null: not expected until its row says otherwise".into(),
        Some(Due::Awaits) => "expected once the items that it is made from are there".into(),
        None => "its `due` has no answer".into(),
    });
    let began = match view.listed {
        Completeness::Full { began } => Some(began),
        Completeness::Partial => None,
    };
    let confirmed = view.record.as_ref().and_then(|record| record.confirmed);
    let by = if view.by_report { "inventory report" } else { "listing" };
    let listing = began.map_or_else(|| "a listing that did not come to its end".into(), |began| format!("the {by} of {began}"));
    // A look at one object, because somebody told of it.
    let told = view.told.as_ref().map(|(feed, at)| (format!("the lake, asked {at} because of an event from {feed}"), *at));
    let confirmed_since = confirmed.filter(|at| began.max(told.as_ref().map(|(_, at)| *at)).is_none_or(|known| *at >= known));
    let listing = told.map_or(listing, |(told, _)| told);
    match view.sight {
        None => {}
        Some(Sight::There(found)) => {
            let seen_by = match confirmed_since {
                Some(at) => format!("an attempt, {at}"),
                None => listing,
            };
            facts.push(format!("there: {}, of {}; seen by {seen_by}", bytes(found.size), found.last_modified));
            if found.size < view.min_size {
                facts.push(format!("smaller than {}, its `min_size`", bytes(view.min_size)));
            }
        }
        Some(Sight::NotThere) => facts.push(format!("not there, by {listing}")),
        Some(Sight::NotSeen) => facts.push("nobody could look: its part of the lake could not be listed".into()),
    }
    if let (Some((within, until)), Some(Sight::There(_))) = (view.fresh, view.sight) {
        let until = until.map(|until| format!(", until {until}")).unwrap_or_default();
        facts.push(format!("`fresh`: confirmed anew within {}{until}", span(within.unsigned_abs())));
    }
    if let (false, Some(Sight::There(_))) = (view.fresh_at.is_empty(), view.sight) {
        let instants: Vec<String> = view.fresh_at.iter().map(ToString::to_string).collect();
        facts.push(format!("`fresh`: asked for once more at {}", instants.join(", ")));
    }
    if let Some(at) = confirmed {
        facts.push(format!("last confirmed by an attempt: {at}"));
    }
    if let Some(mark) = view.record.as_ref().and_then(|record| record.absent.as_ref()) {
        let asked = counted(mark.confirmed.into(), "answer");
        facts.push(format!("absent by {asked} of upstream since {}; asked again {}", mark.since, mark.recheck_at));
    }
    if let Some(episodes) = view.record.as_ref().map(|record| record.episodes).filter(|episodes| *episodes > 1) {
        facts.push(format!("it has been a gap {episodes} times"));
    }
    facts
}

fn held(what: &str, why: &Why, now: Now) -> adce_api::Why {
    match why {
        Why::Gap(view) => why_gap(what, view, now),
        Why::Task(view) => why_task(what, view, now),
        Why::Dataset { dataset, gates } => why_dataset(dataset, gates, now),
        Why::NoGap { state: ItemState::Absent, key, known: Some(known), .. } => {
            let by = [known.date.as_str(), known.by.as_str()].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
            let by = if by.is_empty() { by } else { format!(" ({by})") };
            let said =
                format!("`{key}` is expected and no gap: {}:{} says that it is absent: {}{by}", known.at.file, known.at.line, known.reason);
            answer(what, said, Vec::new(), vec![format!("take line {} out of {} to have it collected", known.at.line, known.at.file)])
        }
        Why::NoGap { state: ItemState::NotDue, key, inputs, .. } if inputs.iter().any(|(_, inputs)| inputs.are_awaited()) => {
            let waits: Vec<String> = inputs.iter().filter(|(_, inputs)| inputs.are_awaited()).map(awaited).collect();
            let next = inputs.iter().map(|(dataset, _)| format!("adce why {dataset}")).collect();
            answer(what, format!("`{key}` is expected and not due yet: it waits for {}", waits.join(", and for ")), Vec::new(), next)
        }
        Why::NoGap { state, key, .. } => {
            answer(what, format!("`{key}` is expected and no gap: it is {}", state_words(*state)), Vec::new(), Vec::new())
        }
        Why::Unknown => answer(
            what,
            format!("`{what}` is no key that a dataset expects, no dataset and no task"),
            Vec::new(),
            vec!["adce gaps".into(), "adce tasks".into()],
        ),
    }
}

fn awaited((dataset, inputs): &(String, Inputs)) -> String {
    match (inputs.awaited, inputs.more_to_come) {
        (0, true) => format!("items of `{dataset}` that are still to come"),
        (0, false) => format!("something in `{dataset}` that it can be made from: nothing is there"),
        (awaited, _) => format!("{} of {} of `{dataset}`", grouped(awaited), counted(inputs.expected(), "item")),
    }
}

fn state_words(state: ItemState) -> &'static str {
    match state {
        ItemState::Present => "present",
        ItemState::Absent => "absent upstream, and on record as such",
        ItemState::NotDue => "not due yet",
        ItemState::Expired => "expired",
        ItemState::OutOfScope => "out of scope: older than its dataset's `since`",
        ItemState::Unknown => "unknown: its part of the lake could not be listed",
        ItemState::Suspect | ItemState::Undersized | ItemState::Stale | ItemState::Missing => "a gap that closes",
    }
}

fn why_gap(what: &str, view: &GapView, now: Now) -> adce_api::Why {
    let gap = &view.gap;
    let since = between(gap.detected_at, now.wall);
    let mut facts = vec![format!("{} since {since}, seen first {}", gap.reason.word(), gap.detected_at)];
    if gap.progress.attempts_total > 0 {
        facts.push(format!("{} so far, {} of this round", counted(gap.progress.attempts_total.into(), "attempt"), gap.progress.attempts));
    }
    if let Some(error) = &gap.progress.last_error {
        facts.push(format!("last failure: {error}"));
    }
    if view.in_doubt {
        facts.push(
            "in doubt: an attempt may have changed its object, and the lake could not be asked since; whatever lies there, it stays a gap \
             until a look of `adce run`, or of its next attempt, tells"
                .into(),
        );
    }
    let next = view.task.map(|task| format!("adce tasks show {task}")).into_iter().collect();
    let held = held_by(view.gate.as_ref(), view.behind.as_ref(), now);
    answer(what, held, facts, next)
}

fn why_task(what: &str, view: &TaskView, now: Now) -> adce_api::Why {
    let score = &view.score;
    let points = |micro: i64| micro as f64 / 1e6;
    let facts = vec![
        format!("{} of {}, priority {}", counted(view.task.gaps.len() as u64, "item"), view.task.collector, view.task.priority.word()),
        format!(
            "score {:.1} = (base {:.0} + age {:.1}) × importance {:.2} × size {:.2} × success {:.2}",
            points(score.total),
            points(score.base),
            points(score.age),
            points(score.importance),
            points(score.size),
            points(score.success)
        ),
    ];
    let held = held_by(view.gate.as_ref(), view.behind.as_ref(), now);
    answer(what, held, facts, vec![format!("adce tasks show {}", view.task.id)])
}

fn why_dataset(dataset: &str, gates: &[(Gate, u64)], now: Now) -> adce_api::Why {
    let facts: Vec<String> = gates.iter().map(|(gate, gaps)| format!("{}: {}", counted(*gaps, "gap"), sentence(gate, now))).collect();
    let first = match gates.first() {
        None => format!("`{dataset}` has no gaps"),
        Some((gate, gaps)) => format!("most of its gaps ({}): {}", grouped(*gaps), sentence(gate, now)),
    };
    answer(dataset, first, facts, vec![format!("adce gaps --dataset {dataset}")])
}

/// Where a second gate outlasts the first, only that one says when anything is tried.
fn held_by(gate: Option<&Gate>, behind: Option<&Gate>, now: Now) -> String {
    let first = match gate {
        None => return "nothing holds it".into(),
        Some(gate) if behind.is_none() => return sentence(gate, now),
        Some(Gate::Retry { .. }) => "the last attempt failed".to_owned(),
        Some(Gate::NotYet { .. }) => "upstream did not have it yet".to_owned(),
        Some(Gate::Exhausted { .. }) => "its attempts are used up".to_owned(),
        Some(gate) => sentence(gate, now),
    };
    behind.map_or(first.clone(), |behind| format!("{first}, and {}", sentence(behind, now)))
}

fn answer(what: &str, answer: String, facts: Vec<String>, next: Vec<String>) -> adce_api::Why {
    adce_api::Why { what: what.to_owned(), answer, facts, next, ..adce_api::Why::default() }
}

/// One sentence for a person.
pub fn sentence(gate: &Gate, now: Now) -> String {
    match gate {
        Gate::Running { attempt } => format!("it runs now, attempt {attempt}"),
        Gate::OnlyWatched => "its dataset has no collector: it is only watched".into(),
        Gate::NotSelected => "it is left alone: the `--select` of the run under way, or the config's `baseline`, does not mean it".into(),
        Gate::Surprise { .. } => "a sudden change is held until a later cycle confirms it, or `adce accept`".into(),
        Gate::Paused { of, since, until: None, because } => {
            format!("{} was paused by hand {} ago{}", of.words(), between(*since, now.wall), because_of(because))
        }
        Gate::Paused { of, until: Some(until), because, .. } => {
            format!("{} is paused until {}{}", of.words(), clock(*until), because_of(because))
        }
        Gate::Cancelled { until } => format!("cancelled by hand: left alone until `adce retry`, or {}", then(*until, now)),
        Gate::Retry { until } => format!("the last attempt failed; the next one is {}", then(*until, now)),
        Gate::NotYet { until } => format!("upstream does not have it yet; asked again {}", then(*until, now)),
        Gate::Exhausted { until } => format!("its attempts are used up; revived {}", then(*until, now)),
        Gate::Doubted { until } => format!(
            "upstream says that it has no such thing, but of too many at once to be believed: asked for again {}, or when one of the others \
             was answered",
            then(*until, now)
        ),
        Gate::Contested { until } => {
            format!("filled and gone three times in a day: left alone until somebody says `adce accept KEY`, or {}", then(*until, now))
        }
        Gate::Breaker { source, value, until, since, reason } => {
            let who = value.as_ref().map_or_else(|| format!("`{source}`"), |value| format!("{value} at `{source}`"));
            format!("{who} keeps failing: {}", breaker_sentence(*until, *since, reason, now))
        }
        Gate::CollectorBreaker { collector, until, since, reason } => {
            format!("its collector `{collector}` keeps failing: {}", breaker_sentence(*until, *since, reason, now))
        }
        Gate::Cap { until, .. } => format!("{}, due {}", cap_words(gate), then(*until, now)),
        Gate::StandsBack { until } => format!(
            "its task stood in line for longer than `task_ttl` and ended; it makes a new one when a slot is free for nothing else, or with the next full look, due {}",
            then(*until, now)
        ),
        Gate::RetryAfter { source, value: Some(value), until, because } => {
            let what = because.as_deref().unwrap_or("asked to be left alone");
            format!("`{source}` {what}, with {value}: it is asked again for that {}", then(*until, now))
        }
        Gate::RetryAfter { source, until, because: Some(because), .. } => {
            format!("`{source}` {because}: it is asked again {}", then(*until, now))
        }
        Gate::RetryAfter { source, until, because: None, .. } => {
            format!("`{source}` asked to be left alone: it is asked again {}", then(*until, now))
        }
        Gate::Limit { source: Some(source), value, limit, until } if is_learned(limit) => {
            format!(
                "{}{}{}",
                learned_words(source, limit),
                value.as_ref().map(|value| format!(", with {value}")).unwrap_or_default(),
                until.map(|until| format!(": no room for {}", left(until, now))).unwrap_or_default()
            )
        }
        Gate::Limit { source, value, limit, until } => {
            let whose = whose(source, value);
            format!("the limit {limit} {whose} has no room{}", until.map(|until| format!(" for {}", left(until, now))).unwrap_or_default())
        }
        Gate::SetAside { source, value, limit, for_priorities, until } => {
            let whose = whose(source, value);
            let left = until.map(|until| format!(" for {}", left(until, now))).unwrap_or_default();
            format!("what is left of the limit {limit} {whose} is set aside for {} (`reserve`){left}", named(for_priorities))
        }
        Gate::SlotsSetAside { slots, for_priorities } => {
            format!("the free ones of {slots} slots are set aside for {} (`reserve`)", named(for_priorities))
        }
        Gate::WouldWait { source, at_work, slots } => {
            let others = slots.saturating_sub(*at_work);
            let take = if *at_work == 1 { "1 attempt takes".to_owned() } else { format!("{at_work} attempts take") };
            format!("{others} of {slots} slots would only wait for permits of `{source}`: {take} all that its limits admit")
        }
        Gate::Reserved { source, task } => {
            format!("a better-scored task waits for permits of `{source}` and is not passed any more: {task}")
        }
        Gate::Slots { slots } => format!("all {slots} slots are taken"),
        Gate::Publishing { attempts, slots } => format!(
            "{attempts} attempts still publish what they have collected, and with {slots} slots no more may gather: the lake takes objects \
             more slowly than they come"
        ),
        Gate::Turn { ahead: 0 } => "nothing holds it: it is next".into(),
        Gate::Turn { ahead } => format!("it waits its turn: {} tasks score higher", grouped(*ahead)),
    }
}

/// Without the time at which it is over.
pub fn cap_words(gate: &Gate) -> String {
    let Gate::Cap { priority, tasks, .. } = gate else { return String::new() };
    let of = priority.map_or("all", |priority| priority.word());
    format!("`tasks_per_cycle: {{ {of}: {tasks} }}` is used up until the next full look")
}

pub fn kept(line: &HeldBackLine) -> adce_api::Kept {
    let (by, priority, until) = match line.gate {
        Gate::Cap { priority, until, .. } => ("tasks_per_cycle", priority, Some(until)),
        Gate::StandsBack { until } => ("task_ttl", None, Some(until)),
        _ => (line.gate.word(), None, None),
    };
    adce_api::Kept { by: by.into(), priority, tasks: line.tasks, gaps: line.gaps, next_cycle: until }
}

/// What `tasks_per_cycle` and `task_ttl` keep for the next full look.
pub fn kept_for_next_look(lines: &[HeldBackLine]) -> impl Iterator<Item = LookAt> {
    lines.iter().map(|line| {
        let gaps = counted(line.gaps, "gap");
        let (what, text) = match &line.gate {
            Gate::Cap { until, .. } => (
                "tasks_per_cycle",
                format!("{} ({gaps}) wait: {}, due {}", counted(line.tasks, "task"), cap_words(&line.gate), clock(*until)),
            ),
            Gate::StandsBack { until } => {
                let why = "because their tasks stood in line for too long; they make new ones when a slot is free for nothing else, or with the next full look";
                ("task_ttl", format!("{gaps} stand back, {why}, due {}", clock(*until)))
            }
            other => ("held back", format!("{gaps}: {}", other.word())),
        };
        LookAt { what: what.into(), text, command: None }
    })
}

/// An attempt's story; `started`: when it began.
pub fn story(story: Story, started: Timestamp) -> StoryLine {
    let waits: Vec<WaitedLine> = story.waits.into_iter().map(|wait| waited(wait, started)).collect();
    let items = story.gaps.into_iter().map(|gap| ItemStory {
        gap: gap.gap,
        key: gap.key,
        reason: gap.reason,
        detected_at: gap.detected_at,
        revived: gap.was == Standing::Exhausted,
        attempts_before: if gap.was == Standing::Exhausted { 0 } else { gap.attempts },
        attempts: gap.left.as_ref().map(|left| left.attempts),
        state: gap.left.as_ref().map(|left| match (left.standing, left.next_try) {
            (Standing::Exhausted, _) => GapState::Exhausted,
            (Standing::Contested | Standing::Doubted | Standing::Cancelled, _) => GapState::Held,
            (Standing::Open | Standing::NotYet, Some(_)) => GapState::Waiting,
            (Standing::Open | Standing::NotYet, None) => GapState::Queued,
        }),
        next_try: gap.left.as_ref().and_then(|left| left.next_try),
        task: gap.left.and_then(|left| left.task),
    });
    StoryLine {
        score: story.score.total as f64 / 1e6,
        rank: story.rank,
        ready: story.ready,
        waited: waits.last().cloned(),
        waits,
        better: story.better,
        items: items.collect(),
    }
}

/// `until`: when it was over, if an older engine did not tell how long it was.
pub fn waited(waited: Waited, until: Timestamp) -> WaitedLine {
    let seconds = match waited.micros {
        0 => until.duration_since(waited.since).as_secs_f64().max(0.0),
        micros => micros as f64 / 1e6,
    };
    let kind = serde_json::to_value(&waited.gate).ok().and_then(|gate| Some(gate["gate"].as_str()?.to_owned())).unwrap_or_default();
    WaitedLine { since: waited.since, seconds, times: waited.times, kind, reason: held_back(&waited.gate) }
}

/// `value`: as in `customer=acme`.
fn whose(source: &Option<String>, value: &Option<String>) -> String {
    match (source, value) {
        (Some(source), Some(value)) => format!("of {value} at `{source}`"),
        (Some(source), None) => format!("of `{source}`"),
        (None, _) => "of all sources together".into(),
    }
}

const LEARNED_RATE: Because = Because::LearnedRate { reach: Reach::Source };
const TOLD_QUOTA: Because = Because::ToldQuota { reach: Reach::Source };

/// No limit of the config.
fn is_learned(limit: &str) -> bool {
    [LEARNED_RATE, TOLD_QUOTA].iter().any(|because| because.word() == limit)
}

fn learned_words(source: &str, limit: &str) -> String {
    match limit == TOLD_QUOTA.word() {
        true => format!("`{source}` says that no more is left of its quota"),
        false => format!("`{source}` is asked more slowly after it refused, or as its own policy says"),
    }
}

/// What a task waited for.
fn held_back(gate: &Gate) -> String {
    match gate {
        Gate::Retry { .. } => "a retry".into(),
        Gate::NotYet { .. } => "upstream, which did not have it yet".into(),
        Gate::Exhausted { .. } => "its revival: its attempts were used up".into(),
        Gate::Doubted { .. } => "upstream, which said of too many at once that it has no such thing".into(),
        Gate::Contested { .. } => "its turn after a day's pause: it was filled and gone three times".into(),
        Gate::Surprise { .. } => "a sudden change to be confirmed".into(),
        Gate::Paused { of, because, .. } => format!("the end of a pause of {}{}", of.words(), because_of(because)),
        Gate::Cancelled { .. } => "its turn after it was cancelled by hand".into(),
        Gate::Slots { slots } => format!("a free slot: {slots} of {slots} were taken"),
        Gate::Publishing { attempts, .. } => format!("{attempts} attempts to publish what they had"),
        Gate::Breaker { source, value, since, reason, .. } => {
            format!("{}, open since {} ({reason})", whose_breaker(source, value.as_deref()), clock(*since))
        }
        Gate::CollectorBreaker { collector, since, reason, .. } => {
            format!("the breaker of its collector `{collector}`, open since {} ({reason})", clock(*since))
        }
        Gate::RetryAfter { source, value, because: Some(because), .. } => {
            format!("`{source}`, which {because}{}", value.as_ref().map(|value| format!(" with {value}")).unwrap_or_default())
        }
        Gate::RetryAfter { source, value, .. } => {
            format!(
                "the end of a pause{} that `{source}` asked for",
                value.as_ref().map(|value| format!(" of {value}")).unwrap_or_default()
            )
        }
        Gate::Cap { .. } => format!("the next full look: {}", cap_words(gate)),
        Gate::Limit { source: Some(source), limit, .. } if *limit == TOLD_QUOTA.word() => {
            format!("`{source}`, which says that no more is left of its quota")
        }
        Gate::Limit { source: Some(source), limit, .. } if is_learned(limit) => {
            format!("`{source}`, which is asked more slowly after it refused, or as its own policy says")
        }
        Gate::Limit { source, value, limit, .. } => format!("the limit {limit} {}", whose(source, value)),
        Gate::SetAside { source, value, limit, for_priorities, .. } => {
            format!("what is set aside of the limit {limit} {} for {}", whose(source, value), named(for_priorities))
        }
        Gate::SlotsSetAside { for_priorities, .. } => format!("the slots that are set aside for {}", named(for_priorities)),
        Gate::WouldWait { source, .. } => format!("permits of `{source}`, all of which other attempts took"),
        Gate::Reserved { source, .. } => format!("a better-scored task that waited for permits of `{source}`"),
        other => sentence(other, Now { wall: Timestamp::UNIX_EPOCH, boot: Boottime(0) }),
    }
}

fn because_of(because: &Option<String>) -> String {
    because.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
}

fn breaker_sentence(until: Option<Timestamp>, since: Timestamp, reason: &str, now: Now) -> String {
    let next = until.map_or_else(|| "a probe is under way".into(), |until| format!("the next probe is {}", then(until, now)));
    format!("its breaker is open for {} ({reason}); {next}", between(since, now.wall))
}

pub(super) fn breaker_words(until: Option<Timestamp>, since: Timestamp, reason: &str) -> String {
    let next = until.map_or_else(|| "a probe is under way".into(), |until| format!("next probe {}", clock(until)));
    format!("keeps failing, breaker open since {}: {reason}; {next}", clock(since))
}

fn named(priorities: &[PriorityLevel]) -> String {
    priorities.iter().map(|priority| priority.word()).collect::<Vec<_>>().join(" and ")
}

fn then(at: Timestamp, now: Now) -> String {
    if at <= now.wall { "now".into() } else { format!("in {} ({})", between(now.wall, at), at.strftime("%Y-%m-%d %H:%M:%S UTC")) }
}

fn left(until: Boottime, now: Now) -> String {
    let left = until.since(now.boot);
    if left < Duration::from_secs(1) { "a moment".into() } else { span(left) }
}

fn between(earlier: Timestamp, later: Timestamp) -> String {
    span(Duration::try_from(later.duration_since(earlier)).unwrap_or_default())
}
