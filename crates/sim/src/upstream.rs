//! Simulated upstreams: how they answer, and when.
//!
//! What they count is not here but in the checkers: an upstream that defended itself with a 429 would hide the very
//! thing that is looked for.

use crate::dice::Dice;
use crate::scenario::{Micros, SECOND, Shows, SourceSpec};

/// A connection breaks at most so long before its request arrives: the `linger` of every source here.
pub const LINGER: Micros = SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Good,
    /// 404.
    NoSuchThing,
    /// 429, or 503 when it says nothing of when.
    Busy {
        retry_after_s: Option<u64>,
    },
    /// 500.
    Error,
    /// 200, and no use.
    Garbage,
    /// The connection broke.
    Broken,
    /// Nobody listens: nothing was sent.
    Refused,
}

/// The life of one request, as instants of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journey {
    pub reply: Reply,
    /// When it reaches the upstream, if it does.
    pub arrives: Option<Micros>,
    /// The first byte of the answer, or the end of the connection.
    pub over: Micros,
}

/// A request that leaves at `sent` for something that is there `from` then on.
pub fn journey(source: &SourceSpec, there_from: Option<Micros>, begin: Micros, sent: Micros, dice: &mut Dice) -> Journey {
    let world = sent - begin;
    let moods = &source.moods;
    if let Some(outage) = source.outages.iter().find(|outage| outage.is_on(world)) {
        let takes = dice.among(1_000..50_000);
        let answered = |reply| Journey { reply, arrives: Some(sent + takes / 2), over: sent + takes };
        return match outage.shows {
            Shows::Refused => Journey { reply: Reply::Refused, arrives: None, over: sent + takes },
            Shows::NoSuchThing => answered(Reply::NoSuchThing),
            Shows::Busy => answered(Reply::Busy { retry_after_s: Some(moods.retry_after_s) }),
        };
    }
    let mut moody = |share: u32| world < moods.until && dice.permille(share);
    let (busy, error, drop, garbage, slow) =
        (moody(moods.busy), moody(moods.error), moody(moods.drop), moody(moods.garbage), moody(moods.slow));
    let latency = dice.among(source.latency.from..source.latency.to + 1) * if slow { 10 } else { 1 };
    if drop {
        return broken(sent, latency, dice);
    }
    let arrives = sent + dice.among(0..latency + 1).min(LINGER);
    let reply = match (busy, error, garbage, there_from) {
        (true, ..) => Reply::Busy { retry_after_s: dice.one_in(2).then_some(moods.retry_after_s) },
        (_, true, ..) => Reply::Error,
        (.., None) => Reply::NoSuchThing,
        (.., Some(from)) if from > arrives => Reply::NoSuchThing,
        (_, _, true, _) => Reply::Garbage,
        _ => Reply::Good,
    };
    Journey { reply, arrives: Some(arrives), over: sent + latency }
}

/// It may have arrived before the connection ended, arrive up to `LINGER` later, or never.
fn broken(sent: Micros, latency: Micros, dice: &mut Dice) -> Journey {
    let over = sent + dice.among(0..latency + 1);
    let arrives = (!dice.one_in(3)).then(|| dice.among(sent..over + LINGER + 1).min(sent + LINGER));
    Journey { reply: Reply::Broken, arrives, over }
}
