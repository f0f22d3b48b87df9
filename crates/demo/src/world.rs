//! The world of the demo: a league's schedule around today, what its upstream would answer for each game, and a lake
//! that somebody filled in part. All of it follows from a seed and the current hour.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TEAMS: [&str; 12] = ["ATL", "BOS", "CHI", "DAL", "DEN", "GSW", "LAL", "MIA", "NYK", "PHX", "POR", "UTA"];
const QUARTERS: [&str; 4] = ["q1", "q2", "q3", "q4"];
const HOUR: Duration = Duration::from_secs(3_600);
/// Games this many hours before now; a new one every nine hours, up to two days ahead.
const FIRST_GAME_HOURS_AGO: u64 = 45 * 24;
const HOURS_BETWEEN_GAMES: u64 = 9;
const HOURS_AHEAD: u64 = 48;

/// One game of the schedule.
#[derive(Clone, Debug)]
pub struct Game {
    pub id: String,
    /// Seconds since 1970.
    pub tip: u64,
    pub home: &'static str,
    pub away: &'static str,
}

#[derive(Clone, Debug)]
pub struct World {
    pub games: Vec<Game>,
    seed: u64,
}

impl World {
    pub fn new(seed: u64, now: SystemTime) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 3_600 * 3_600;
        let first = now - FIRST_GAME_HOURS_AGO * 3_600;
        let count = (FIRST_GAME_HOURS_AGO + HOURS_AHEAD) / HOURS_BETWEEN_GAMES;
        let games = (0..count).map(|number| {
            let home = random.random_range(0..TEAMS.len());
            let away = (home + random.random_range(1..TEAMS.len())) % TEAMS.len();
            let tip = first + number * HOURS_BETWEEN_GAMES * 3_600;
            Game { id: format!("4017{:05}", 300 + number), tip, home: TEAMS[home], away: TEAMS[away] }
        });
        World { games: games.collect(), seed }
    }

    /// The schedule as a CSV table: `game_id,tip,home,away`.
    pub fn schedule_csv(&self) -> String {
        let mut csv = String::from("game_id,tip,home,away\n");
        for game in &self.games {
            let _ = writeln!(csv, "{},{},{},{}", game.id, rfc3339(game.tip), game.home, game.away);
        }
        csv
    }

    /// What the upstream answers for `/plays/GAME` and `/box/GAME/QUARTER`.
    pub fn body(&self, path: &str) -> Option<Bytes> {
        let mut parts = path.trim_start_matches('/').split('/');
        let (kind, id, quarter) = (parts.next()?, parts.next()?, parts.next());
        let number = self.games.iter().position(|game| game.id == id)?;
        let game = &self.games[number];
        match (kind, quarter) {
            ("plays", None) if !self.never_has(number, "plays") => Some(plays(game)),
            ("box", Some(quarter)) if QUARTERS.contains(&quarter) && !self.never_has(number, quarter) => Some(box_score(game, quarter)),
            _ => None,
        }
    }

    /// A few objects do not exist upstream and never will.
    fn never_has(&self, number: usize, what: &str) -> bool {
        matches!((number % 41, what), (17, "plays") | (29, "q4"))
    }

    /// Writes what the lake holds before the demo: about half of everything, some of it out of date or too small.
    pub fn fill_lake(&self, lake: &Path, now: SystemTime) -> std::io::Result<()> {
        let mut random = StdRng::seed_from_u64(self.seed ^ 0xda7a);
        for (number, game) in self.games.iter().enumerate() {
            let tip = SystemTime::UNIX_EPOCH + Duration::from_secs(game.tip);
            let collected_at = tip + 6 * HOUR;
            if collected_at > now {
                continue;
            }
            if !self.never_has(number, "plays") && random.random_bool(0.6) {
                let body = if random.random_bool(0.05) { Bytes::from_static(b"{}") } else { plays(game) };
                write_object(&lake.join(format!("plays/{}.json", game.id)), &body, collected_at)?;
            }
            for quarter in QUARTERS {
                if !self.never_has(number, quarter) && random.random_bool(0.62) {
                    let path = lake.join(format!("box/{}/{quarter}.json", game.id));
                    write_object(&path, &box_score(game, quarter), collected_at)?;
                }
            }
        }
        Ok(())
    }
}

fn plays(game: &Game) -> Bytes {
    let mut json = format!("{{\"game\":\"{}\",\"home\":\"{}\",\"away\":\"{}\",\"plays\":[", game.id, game.home, game.away);
    for play in 0..40 + game.tip % 60 {
        let _ = write!(json, "{}{{\"n\":{play},\"points\":{}}}", if play == 0 { "" } else { "," }, (game.tip / 3_600 + play) % 4);
    }
    json.push_str("]}\n");
    Bytes::from(json)
}

fn box_score(game: &Game, quarter: &str) -> Bytes {
    let home = 18 + game.tip / 3_600 % 17;
    let away = 18 + game.tip / 7_200 % 17;
    let json = format!(
        "{{\"game\":\"{}\",\"quarter\":\"{quarter}\",\"score\":{{\"{}\":{home},\"{}\":{away}}},\"attendance\":{}}}\n",
        game.id,
        game.home,
        game.away,
        15_000 + game.tip / 3_600 % 5_000
    );
    Bytes::from(json)
}

fn write_object(path: &Path, body: &[u8], modified: SystemTime) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, body)?;
    std::fs::File::options().write(true).open(path)?.set_modified(modified)
}

/// `2025-03-09T14:00:00Z`.
fn rfc3339(seconds: u64) -> String {
    jiff::Timestamp::from_second(seconds as i64).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_has_what_the_schedule_names_but_for_a_few() {
        let world = World::new(7, SystemTime::now());
        let bodies = world.games.iter().filter(|game| world.body(&format!("/plays/{}", game.id)).is_some()).count();
        assert!(bodies < world.games.len() && bodies + 5 > world.games.len());
        assert_eq!(world.body("/plays/nobody"), None);
        assert_eq!(world.body(&format!("/box/{}/q5", world.games[0].id)), None);
    }
}
