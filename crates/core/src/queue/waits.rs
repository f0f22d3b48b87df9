//! What kept a task in line, for its story: each reason, for how long, and how often.
//!
//! A million tasks may stand in line, and what cannot run costs the pick nothing, so nothing is noted at a task but the instant at
//! which it came. What holds the first task of a family of classes holds all behind it: each look tells it once for the family, and
//! the family adds up. Whoever comes marks where the sums stand, and what it waited for is what they have grown by since its mark.
//!
//! Where values hold their classes alone, it is these that are told, and the family only adds up the time in which it was not held as
//! a whole: by that time its classes count. So a family that is held as a whole, and is not any more, costs nothing at its classes,
//! and whoever sleeps goes on being held by what put it to sleep, but for the time in which something held all of its family.
//!
//! From one look that found nothing to start until the next one, a family is held by what the first of them saw: a breaker, a pause or
//! a cap before the slots, for a free slot would change nothing; then the slots; then limits and whoever waits for permits. Pauses
//! of a task's own (retries, "not yet") are known from its gaps, and are no concern of this file.
//!
//! Always true: while a family has no more than [`MARKS`] marks, a story is what stamping each task at each look would tell, to the
//! microsecond (but for starts at the very instant at which it came); beyond that the closest marks are thinned out, the sum of a
//! story's waits stays what it is, and how it is divided among the reasons may be wrong by what the family met between two marks that
//! are left (`every_wait_is_what_stamping_each_task_would_tell`,
//! `a_line_that_many_join_one_by_one_keeps_few_marks_and_tells_nearly_the_same`).
//!
//! Told roughly is how often, and since when at the earliest, a value held a class alone; how often something held a task that changed
//! its class in line; and that somebody better-scored waits for permits of its source, to whom his own value refuses them anyway. Nothing
//! is decided by it, and all of it is forgotten with the engine.

use std::collections::HashMap;

use super::Gate;
use super::classes::{ClassIx, TaskSlot};
use crate::record::Waited;
use crate::time::{Boottime, Now};

/// A family that has more is thinned out to half of them.
const MARKS: usize = 256;

/// Likewise a class: there may be ten thousand in a family.
const MARKS_OF_CLASS: usize = 64;

/// So many reasons are told, the longest ones.
const TOLD: usize = 8;

/// So many tasks that changed their class while they stood in line keep what they waited for in the one before; of more than
/// these, what came before the change is told of some only.
const CARRIED: usize = 4_096;

#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    families: Vec<OfFamily>,
    classes: Vec<OfClass>,
    /// Tasks that have started.
    starts: u64,
    carried: HashMap<TaskSlot, Carried>,
}

/// Where a task stands that has just come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub family: usize,
    pub class: ClassIx,
    pub is_first_of_family: bool,
    pub is_first_of_class: bool,
}

/// What a task waited for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Waiting {
    /// In the order in which they were over.
    pub waits: Vec<Waited>,
    /// Tasks that started meanwhile and ranked above all of its class; none while its value refused it anyway.
    pub better: u64,
}

/// What it waited for as one of another class.
#[derive(Clone, Debug)]
struct Carried {
    /// Since when it has stood in line: it is the same task only if that is the same instant.
    in_line: Boottime,
    until: Now,
    /// What held it then, if anything did: what goes on in the other class is the same wait.
    held: Option<Gate>,
    /// Better ones of the other class until then.
    better: u64,
    waiting: Waiting,
}

#[derive(Clone, Debug, Default)]
struct OfFamily {
    /// What held all of it. Without a gate: each class by itself.
    past: Past,
    /// Starts at looks that held it back although it ranked higher.
    not_passed: u64,
}

#[derive(Clone, Debug, Default)]
struct OfClass {
    family: usize,
    /// What held it alone, counted by the time in which nothing held all of its family.
    past: Past,
    /// Starts at looks that held it back alone, and those while it slept.
    not_passed: u64,
    /// How many better ones there were when it fell asleep.
    asleep: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Past {
    /// All that ever held it, each once.
    reasons: Vec<Reason>,
    /// What holds it, and since when: not in the sums yet.
    held: Option<(usize, At)>,
    /// What held it before that, and since when.
    before: Option<(usize, At)>,
    /// Oldest first.
    marks: Vec<Mark>,
    /// Nobody in it has come before.
    alive_from: Boottime,
}

/// An instant, and the time that counts until then: all of it, or what was not held as a whole, and in how many pieces.
#[derive(Clone, Copy, Debug)]
struct At {
    boot: Boottime,
    micros: u64,
    pieces: u32,
}

impl At {
    fn all(boot: Boottime) -> Self {
        At { boot, micros: boot.0, pieces: 0 }
    }

    /// Time that counts, up to `to`.
    fn micros(self, to: At) -> u64 {
        to.micros.saturating_sub(self.micros)
    }

    fn pieces(self, to: At) -> u32 {
        to.pieces.saturating_sub(self.pieces)
    }

    /// No time that counts lies between.
    fn is(self, other: At) -> bool {
        self.micros == other.micros
    }
}

#[derive(Clone, Debug)]
struct Reason {
    /// As it was seen last.
    gate: Option<Gate>,
    micros: u64,
    times: u32,
    /// When it was over.
    over: At,
}

impl Reason {
    fn is_like(&self, gate: &Option<Gate>) -> bool {
        match (&self.gate, gate) {
            (Some(one), Some(other)) => one.is_like(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// Where the sums stood when somebody came.
#[derive(Clone, Debug)]
struct Mark {
    at: At,
    better: u64,
    /// By reason; those that are missing were not known then.
    stood: Vec<Stood>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stood {
    micros: u64,
    times: u32,
    /// When it held the class first from then on.
    first: Option<Boottime>,
}

/// What a past tells of one reason.
#[derive(Clone, Debug)]
struct Told {
    first: Boottime,
    last: Boottime,
    micros: u64,
    times: u32,
    gate: Option<Gate>,
}

impl Waits {
    /// A task has come to a class, or is back in it after a change. `since`: it asks for nothing before. What held the class last
    /// is taken to hold it until the next look.
    pub(super) fn enters(&mut self, new: Entry, since: Boottime, at: Boottime) {
        let Entry { family, class, is_first_of_family, is_first_of_class } = new;
        self.of_class(class).family = family;
        let better = self.better(class);
        let of_family = &mut self.of_family(family).past;
        of_family.comes(is_first_of_family, since);
        of_family.marks_at(At::all(at), 0, MARKS);
        let at = of_family.apart_until(at);
        let of_class = &mut self.of_class(class).past;
        of_class.comes(is_first_of_class, since);
        of_class.marks_at(at, better, MARKS_OF_CLASS);
    }

    /// A look at everything found that this holds all of the family. `None`: each class by itself.
    pub(super) fn family_sees(&mut self, family: usize, gate: Option<Gate>, at: Boottime) {
        self.of_family(family).past.sees(gate, At::all(at));
    }

    /// This holds the class, whatever becomes of the others of its family.
    pub(super) fn sees(&mut self, class: ClassIx, gate: Gate, at: Boottime) {
        let at = self.at_of(class, at);
        self.of_class(class).past.sees(Some(gate), at);
    }

    /// A task starts: it ranks above all but the families and classes that were held back.
    pub(super) fn starts(&mut self, families: &[usize], classes: &[ClassIx]) {
        self.starts += 1;
        families.iter().for_each(|family| self.of_family(*family).not_passed += 1);
        for class in classes {
            let of = self.of_class(*class);
            if !families.contains(&of.family) {
                of.not_passed += 1;
            }
        }
    }

    /// Its value refuses it, so that nobody starts in its place until it wakes.
    pub(super) fn falls_asleep(&mut self, class: ClassIx) {
        let better = self.better(class);
        self.of_class(class).asleep = Some(better);
    }

    pub(super) fn wakes(&mut self, class: ClassIx) {
        if let Some(better) = self.of_class(class).asleep.take() {
            let meanwhile = self.better(class) - better;
            self.of_class(class).not_passed += meanwhile;
        }
    }

    /// What holds the class, as it was seen last.
    pub(super) fn holds(&self, class: ClassIx) -> Option<&Gate> {
        let of = self.classes.get(class as usize)?;
        self.families.get(of.family)?.past.holds().or_else(|| of.past.holds())
    }

    /// What a task that has stood in line since `in_line`, now in this class, has waited for.
    pub(super) fn of(&self, task: TaskSlot, class: ClassIx, in_line: Boottime, now: Now) -> Waiting {
        let carried = self.carried.get(&task).filter(|carried| carried.in_line == in_line);
        let since = carried.map_or(in_line, |carried| carried.until.boot);
        let here = self.since(class, since, now);
        match carried {
            Some(carried) => carried.joined(Waiting { better: self.better(class).saturating_sub(carried.better), ..here }),
            None => here,
        }
    }

    fn since(&self, class: ClassIx, since: Boottime, now: Now) -> Waiting {
        let Some(of) = self.classes.get(class as usize) else { return Waiting::default() };
        let Some(family) = self.families.get(of.family).map(|family| &family.past) else { return Waiting::default() };
        let mut told = family.since(since, At::all(now.boot));
        if let Some(apart) = told.iter().position(|told| told.gate.is_none()).map(|at| told.remove(at)) {
            for alone in of.past.since(since, family.apart_until(now.boot)) {
                let (first, last) = (alone.first.max(apart.first), alone.last.min(apart.last));
                match told
                    .iter_mut()
                    .find(|known| known.gate.as_ref().zip(alone.gate.as_ref()).is_some_and(|(one, other)| one.is_like(other)))
                {
                    Some(known) => {
                        (known.micros, known.times) = (known.micros + alone.micros, known.times + alone.times);
                        (known.first, known.last) = (known.first.min(first), known.last.max(last));
                    }
                    None => told.push(Told { first, last, ..alone }),
                }
            }
        }
        told.sort_by_key(|told| told.last);
        let waits = told
            .into_iter()
            .filter_map(|Told { first, micros, times, gate, .. }| Some(Waited { since: now.wall_at(first), micros, times, gate: gate? }));
        let stood = of.past.mark_of(since).map_or(0, |(mark, _)| mark.better);
        Waiting { waits: longest(waits.collect()), better: self.better(class).saturating_sub(stood) }
    }

    /// A task that stands in line has left a class for another one.
    pub(super) fn carry(&mut self, task: TaskSlot, from: ClassIx, to: ClassIx, in_line: Boottime, now: Now) {
        let waiting = self.of(task, from, in_line, now);
        // Who was in that class for no time at all was not held by what holds it.
        let held = match self.carried.get(&task) {
            Some(carried) if carried.in_line == in_line && carried.until.boot == now.boot => carried.held.clone(),
            _ => self.holds(from).cloned(),
        };
        if self.carried.len() >= CARRIED {
            // Some of them may be of tasks that are no more.
            self.carried.clear();
        }
        self.carried.insert(task, Carried { in_line, until: now, held, better: self.better(to), waiting });
    }

    /// Nobody is in the class any more: whoever comes next asks for nothing before, and may be of another family.
    pub(super) fn empties(&mut self, class: ClassIx) {
        *self.of_class(class) = OfClass::default();
    }

    /// Likewise of all classes of a family.
    pub(super) fn family_empties(&mut self, family: usize) {
        self.of_family(family).past = Past::default();
    }

    /// It stands in line no more. `carried` may be long, and mostly is empty.
    pub(super) fn leaves_line(&mut self, task: TaskSlot) {
        if !self.carried.is_empty() {
            self.carried.remove(&task);
        }
    }

    pub(super) fn remembered(&self) -> usize {
        let pasts = self.families.iter().map(|of| &of.past).chain(self.classes.iter().map(|of| &of.past));
        pasts.map(|past| past.marks.len()).sum::<usize>() + self.carried.len()
    }

    fn better(&self, class: ClassIx) -> u64 {
        let Some(of) = self.classes.get(class as usize) else { return self.starts };
        let of_family = self.families.get(of.family).map_or(0, |family| family.not_passed);
        of.asleep.unwrap_or_else(|| self.starts - of_family - of.not_passed)
    }

    /// As the class counts its time.
    fn at_of(&self, class: ClassIx, at: Boottime) -> At {
        let family = self.classes.get(class as usize).and_then(|of| self.families.get(of.family));
        family.map_or(At { boot: at, micros: 0, pieces: 0 }, |family| family.past.apart_until(at))
    }

    fn of_family(&mut self, family: usize) -> &mut OfFamily {
        if self.families.len() <= family {
            self.families.resize_with(family + 1, OfFamily::default);
        }
        &mut self.families[family]
    }

    fn of_class(&mut self, class: ClassIx) -> &mut OfClass {
        let class = class as usize;
        if self.classes.len() <= class {
            self.classes.resize_with(class + 1, OfClass::default);
        }
        &mut self.classes[class]
    }
}

impl Past {
    fn comes(&mut self, is_first: bool, since: Boottime) {
        self.alive_from = if is_first { since } else { self.alive_from.min(since) };
    }

    fn holds(&self) -> Option<&Gate> {
        self.held.and_then(|(reason, _)| self.reasons[reason].gate.as_ref())
    }

    /// For how long, until then, no gate held it as a whole.
    fn apart_until(&self, boot: Boottime) -> At {
        let Some(number) = self.reasons.iter().position(|reason| reason.gate.is_none()) else {
            return At { boot, micros: 0, pieces: 0 };
        };
        let (reason, at) = (&self.reasons[number], At::all(boot));
        let open = self.held.filter(|(held, _)| *held == number).map_or(0, |(_, since)| since.micros(at));
        At { boot, micros: reason.micros + open, pieces: reason.times }
    }

    fn sees(&mut self, gate: Option<Gate>, at: At) {
        if let Some((reason, _)) = self.held.filter(|(reason, _)| self.reasons[*reason].is_like(&gate)) {
            self.reasons[reason].gate = gate;
            return;
        }
        self.forget_those_before(self.alive_from);
        self.is_over(at);
        let reason = match self.reasons.iter().position(|known| known.is_like(&gate)) {
            Some(reason) => {
                self.reasons[reason].gate = gate;
                reason
            }
            None => {
                self.reasons.push(Reason { gate, micros: 0, times: 0, over: at });
                self.reasons.len() - 1
            }
        };
        if self.goes_on(reason, at) {
            return;
        }
        self.reasons[reason].times += 1;
        self.held = Some((reason, at));
        // Whoever came after it held the class last sees it for the first time.
        for mark in self.marks.iter_mut().rev() {
            if mark.stood.len() <= reason {
                mark.stood.resize(reason + 1, Stood::default());
            }
            if mark.stood[reason].first.is_some() {
                break;
            }
            mark.stood[reason].first = Some(at.boot);
        }
    }

    /// What was between held it for no time at all.
    fn goes_on(&mut self, number: usize, at: At) -> bool {
        let reason = &mut self.reasons[number];
        let Some((_, since)) = self.before.take_if(|(before, _)| *before == number && reason.over.is(at)) else { return false };
        reason.micros -= since.micros(reason.over);
        reason.times -= since.pieces(reason.over);
        self.held = Some((number, since));
        for mark in self.marks.iter_mut().rev().take_while(|mark| mark.at.is(at)) {
            mark.stood.resize(mark.stood.len().max(number + 1), Stood::default());
            let stood = &mut mark.stood[number];
            (stood.times, stood.first) = (reason.times - 1, Some(mark.at.boot));
        }
        true
    }

    fn is_over(&mut self, at: At) {
        let Some((number, since)) = self.held.take() else { return };
        let reason = &mut self.reasons[number];
        if since.is(at) {
            // It held for no time at all.
            reason.times -= 1;
            let began_now = |stood: &&mut Stood| stood.first.is_some_and(|first| first >= since.boot);
            self.marks
                .iter_mut()
                .rev()
                .filter_map(|mark| mark.stood.get_mut(number))
                .take_while(began_now)
                .for_each(|stood| stood.first = None);
            return;
        }
        reason.micros += since.micros(at);
        reason.times += since.pieces(at);
        reason.over = at;
        self.before = Some((number, since));
        // Nor did it hold who came at its last instant.
        for mark in self.marks.iter_mut().rev().take_while(|mark| mark.at.is(at)) {
            if let Some(stood) = mark.stood.get_mut(number).filter(|stood| stood.first == Some(mark.at.boot)) {
                (stood.times, stood.first) = (stood.times + 1, None);
            }
        }
    }

    fn marks_at(&mut self, at: At, better: u64, at_most: usize) {
        if self.marks.last().is_some_and(|last| last.at.boot == at.boot) {
            return;
        }
        let stood = self.reasons.iter().enumerate().map(|(number, reason)| match self.held {
            // Whoever comes while it holds has to do with it from the first instant on.
            Some((held, since)) if held == number => {
                let times = reason.times - 1 + since.pieces(at);
                Stood { micros: reason.micros + since.micros(at), times, first: Some(at.boot) }
            }
            _ => Stood { micros: reason.micros, times: reason.times, first: None },
        });
        let mark = Mark { at, better, stood: stood.collect() };
        self.marks.push(mark);
        if self.marks.len() > at_most {
            self.thin_out(at.boot, at_most / 2);
        }
    }

    /// Keeps those that are far from their neighbours for their age: who has waited for an hour does not ask for seconds.
    fn thin_out(&mut self, now: Boottime, to: usize) {
        for parts in [64, 32, 16, 8, 4, 2, 1] {
            let mut kept: Vec<Mark> = Vec::with_capacity(self.marks.len());
            let mut marks = std::mem::take(&mut self.marks).into_iter().peekable();
            while let Some(mark) = marks.next() {
                let is_close = |last: &Mark, next: &Mark| micros(last.at.boot, next.at.boot) * parts <= micros(next.at.boot, now);
                match (kept.last(), marks.peek()) {
                    (Some(last), Some(next)) if is_close(last, next) => {}
                    _ => kept.push(mark),
                }
            }
            self.marks = kept;
            if self.marks.len() <= to {
                return;
            }
        }
        // All came within moments.
        let mut number = 0;
        self.marks.retain(|_| {
            number += 1;
            number % 2 == 1
        });
    }

    /// Nobody is left who came before.
    fn forget_those_before(&mut self, at: Boottime) {
        if self.marks.first().is_some_and(|first| first.at.boot < at) {
            self.marks.retain(|mark| mark.at.boot >= at);
        }
    }

    fn since(&self, in_line: Boottime, now: At) -> Vec<Told> {
        let Some((mark, since)) = self.mark_of(in_line) else { return Vec::new() };
        let mut told = Vec::new();
        for (number, reason) in self.reasons.iter().enumerate() {
            let stood = mark.stood.get(number).copied().unwrap_or_default();
            let (open, again, last) = match self.held {
                Some((held, since)) if held == number => (since.micros(now), since.pieces(now), now.boot),
                _ => (0, 0, reason.over.boot),
            };
            let micros = (reason.micros + open).saturating_sub(stood.micros);
            if micros == 0 {
                continue;
            }
            let first = stood.first.unwrap_or(since).max(since);
            // What has held it for no time yet does not count.
            let is_new = self.held.is_some_and(|(held, since)| held == number && since.is(now));
            let counts = if is_new { reason.times - 1 } else { reason.times + again };
            let times = counts.saturating_sub(stood.times).max(1);
            told.push(Told { first, last, micros, times, gate: reason.gate.clone() });
        }
        told
    }

    /// Where the sums stood, and at what instant at the earliest.
    fn mark_of(&self, in_line: Boottime) -> Option<(Mark, Boottime)> {
        let after = self.marks.partition_point(|mark| mark.at.boot <= in_line);
        let Some(before) = after.checked_sub(1) else {
            let first = self.marks.first()?;
            return Some((first.clone(), first.at.boot));
        };
        let mark = &self.marks[before];
        match self.marks.get(after) {
            Some(next) if mark.at.boot < in_line => Some((between(mark, next, in_line), in_line)),
            _ => Some((mark.clone(), in_line.max(mark.at.boot))),
        }
    }
}

/// A mark that was thinned out: between two others all grew evenly, as far as is known.
fn between(one: &Mark, other: &Mark, at: Boottime) -> Mark {
    let (part, whole) = (u128::from(micros(one.at.boot, at)), u128::from(micros(one.at.boot, other.at.boot)).max(1));
    let grown = |from: u64, to: u64| from + (u128::from(to.saturating_sub(from)) * part / whole) as u64;
    let stood = other.stood.iter().enumerate().map(|(number, next)| {
        let stood = one.stood.get(number).copied().unwrap_or_default();
        Stood {
            micros: grown(stood.micros, next.micros),
            times: grown(stood.times.into(), next.times.into()) as u32,
            first: stood.first.filter(|first| *first >= at).or(next.first),
        }
    });
    let at = At { boot: at, micros: grown(one.at.micros, other.at.micros), pieces: other.at.pieces };
    Mark { at, better: grown(one.better, other.better), stood: stood.collect() }
}

impl Carried {
    fn joined(&self, here: Waiting) -> Waiting {
        let Waiting { mut waits, better } = self.waiting.clone();
        for waited in here.waits {
            let known = waits.iter().position(|known| known.gate.is_like(&waited.gate)).map(|at| waits.remove(at));
            let goes_on = waited.since == self.until.wall && self.held.as_ref().is_some_and(|held| held.is_like(&waited.gate));
            let all = match known {
                Some(Waited { since, micros, times, .. }) => {
                    Waited { since, micros: micros + waited.micros, times: times + waited.times - u32::from(goes_on), ..waited }
                }
                None => waited,
            };
            waits.push(all);
        }
        Waiting { waits: longest(waits), better: better + here.better }
    }
}

/// The longest ones, in the order in which they are.
pub(super) fn longest(mut waits: Vec<Waited>) -> Vec<Waited> {
    while waits.len() > TOLD {
        let shortest = (0..waits.len()).min_by_key(|at| waits[*at].micros).expect("there are some");
        waits.remove(shortest);
    }
    waits
}

fn micros(from: Boottime, to: Boottime) -> u64 {
    to.0.saturating_sub(from.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Timestamp;

    fn at(micros: u64) -> Now {
        Now { wall: Timestamp::from_microsecond(1_741_500_000_000_000 + micros as i64).unwrap(), boot: Boottime::from_micros(micros) }
    }

    fn gate(which: usize) -> Gate {
        match which {
            0 => Gate::Slots { slots: 5 },
            1 => Gate::Cap { priority: None, tasks: 7, until: Timestamp::UNIX_EPOCH },
            limit => Gate::Limit { source: None, value: None, limit: limit.to_string(), until: None },
        }
    }

    /// Into a class of a family.
    fn comes(waits: &mut Waits, (family, class): (usize, ClassIx), is_first: bool, now: u64) {
        let entry = Entry { family, class, is_first_of_family: is_first, is_first_of_class: is_first };
        waits.enters(entry, at(now).boot, at(now).boot);
    }

    /// What each look saw, and when.
    #[derive(Default)]
    struct Looks {
        seen: Vec<(u64, usize)>,
    }

    impl Looks {
        /// By stamping: microseconds, times, first; for each gate.
        fn since(&self, came: u64, now: u64) -> Vec<(u64, u32, u64)> {
            let mut told = vec![(0, 0, 0); 7];
            let mut before = None;
            let ends = self.seen.iter().skip(1).map(|(at, _)| *at).chain([now]);
            for ((at, gate), to) in self.seen.iter().zip(ends) {
                let from = (*at).max(came);
                if to <= from {
                    continue;
                }
                let (micros, times, first) = &mut told[*gate];
                if before != Some(*gate) {
                    *first = if *times == 0 { from } else { *first };
                    *times += 1;
                }
                *micros += to - from;
                before = Some(*gate);
            }
            told
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Comes,
        Sees(usize),
        /// Nothing holds all of the family, and the class sleeps.
        SeesNobody,
        Starts {
            held: bool,
        },
        Passes(u64),
    }

    fn step(gates: usize) -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Comes),
            3 => (0..gates).prop_map(Step::Sees),
            u32::from(gates > 4) => Just(Step::SeesNobody),
            1 => any::<bool>().prop_map(|held| Step::Starts { held }),
            3 => (1u64..1_000).prop_map(Step::Passes),
        ]
    }

    /// From the fifth on, gates hold the class alone.
    fn tells_what_stamping_would(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let (mut waits, mut looks, mut came, mut starts) = (Waits::default(), Looks::default(), Vec::new(), Vec::new());
        let (mut now, mut alone) = (1, None);
        let has_alone = steps.iter().any(|step| matches!(step, Step::Sees(4..)));
        for step in steps {
            match step {
                Step::Comes => {
                    comes(&mut waits, (0, 0), came.is_empty(), now);
                    came.push(now);
                }
                Step::Sees(which) if !came.is_empty() => {
                    waits.family_sees(0, (which < 4).then(|| gate(which)), at(now).boot);
                    if which >= 4 {
                        waits.sees(0, gate(which), at(now).boot);
                        alone = Some(which);
                    }
                    looks.seen.push((now, which));
                }
                Step::SeesNobody if alone.is_some() => {
                    waits.family_sees(0, None, at(now).boot);
                    looks.seen.extend(alone.map(|which| (now, which)));
                }
                Step::Sees(_) | Step::SeesNobody => {}
                Step::Starts { held } => {
                    waits.starts(if held { &[0] } else { &[] }, &[]);
                    starts.push((now, held));
                }
                Step::Passes(span) => now += span,
            }
            for came in &came {
                let told = waits.of(9, 0, at(*came).boot, at(now));
                for (which, (micros, times, first)) in looks.since(*came, now).into_iter().enumerate() {
                    let one = told.waits.iter().find(|waited| waited.gate.is_like(&gate(which)));
                    prop_assert_eq!(one.map_or(0, |one| one.micros), micros, "{} since {} at {}", which, came, now);
                    // How often a value held it alone, and since when, is told roughly.
                    if which < 4 && !has_alone {
                        let one = one.map(|one| (one.times, one.since));
                        prop_assert_eq!(one, (micros > 0).then(|| (times, at(first).wall)), "{} since {} at {}", which, came, now);
                    }
                }
                // Of starts at the very instant at which it came, nobody can say which was first.
                let least = starts.iter().filter(|(at, held)| at > came && !held).count() as u64;
                let most = starts.iter().filter(|(at, held)| at >= came && !held).count() as u64;
                prop_assert!((least..=most).contains(&told.better), "{} of {least} to {most}", told.better);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_class_tells_what_stamping_would(steps in prop::collection::vec(step(4), 1..200)) {
            tells_what_stamping_would(steps)?;
        }

        #[test]
        fn a_class_that_its_value_holds_tells_what_stamping_would(steps in prop::collection::vec(step(7), 1..200)) {
            tells_what_stamping_would(steps)?;
        }

        #[test]
        fn a_line_that_many_join_one_by_one_keeps_few_marks_and_tells_nearly_the_same(
            spans in prop::collection::vec((1u64..2_000_000, 0usize..3), 1_000..4_000)
        ) {
            let (mut waits, mut looks, mut came) = (Waits::default(), Looks::default(), Vec::new());
            let mut now = 1;
            for (span, which) in spans {
                comes(&mut waits, (0, 0), came.is_empty(), now);
                came.push(now);
                waits.family_sees(0, Some(gate(which)), at(now).boot);
                looks.seen.push((now, which));
                now += span;
                prop_assert!(waits.remembered() <= MARKS + MARKS_OF_CLASS + 2);
            }
            for came in came.iter().step_by(97) {
                let told = waits.of(9, 0, at(*came).boot, at(now));
                let waited = now - came;
                let all = told.waits.iter().map(|one| one.micros).sum::<u64>();
                prop_assert!(all.abs_diff(waited) <= 3, "all of it is told: {} of {}", all, waited);
                for (which, (micros, ..)) in looks.since(*came, now).into_iter().enumerate() {
                    let one = told.waits.iter().find(|waited| waited.gate.is_like(&gate(which))).map_or(0, |one| one.micros);
                    prop_assert!(one.abs_diff(micros) <= waited / 16 + 2, "{}: {} for {} of {}", which, one, micros, waited);
                }
            }
        }
    }

    #[test]
    fn what_was_waited_for_in_another_class_goes_along() {
        let mut waits = Waits::default();
        comes(&mut waits, (0, 0), true, 10);
        waits.family_sees(0, Some(gate(0)), at(10).boot);
        comes(&mut waits, (1, 1), true, 110);
        waits.carry(9, 0, 1, at(10).boot, at(110));
        waits.family_sees(1, Some(gate(2)), at(110).boot);
        waits.family_sees(1, Some(gate(0)), at(130).boot);
        let told = waits.of(9, 1, at(10).boot, at(140));
        let told: Vec<_> = told.waits.iter().map(|one| (one.micros, one.times, one.since)).collect();
        assert_eq!(told, [(20, 1, at(110).wall), (110, 2, at(10).wall)], "in the order in which they were over");
        assert_eq!(waits.of(9, 1, at(120).boot, at(140)).waits.len(), 2, "another task in its place: nothing goes along");
    }

    #[test]
    fn the_longest_are_told_in_their_order() {
        let waited = |micros| Waited { since: Timestamp::UNIX_EPOCH, micros, times: 1, gate: gate(micros as usize + 2) };
        let told = longest((0..20).map(|number| waited(number * 7 % 20)).collect());
        assert_eq!(told.iter().map(|one| one.micros).collect::<Vec<_>>(), [14, 15, 16, 17, 18, 12, 19, 13]);
    }
}
