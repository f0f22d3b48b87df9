//! `adce gaps`: every gap by name. A running engine is asked; without one, one look at the lake tells.

use std::sync::Arc;

use adce_api::GapLine;
use adce_core::coverage::{Expected, Selection, expand_after};
use adce_core::gap::{Gap, GapState, Progress};
use adce_core::ids::GapId;
use adce_core::ports::Clock;
use adce_core::spec::Spec;
use adce_core::spec::names::nearest;
use adce_core::time::Timestamp;
use adce_engine::EngineError;
use adce_lake::rows::Keeping;

use crate::cli::{Format, StateName, Which};
use crate::clock::MachineClock;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::{self, Paper};
use crate::survey::Survey;
use crate::wiring::tables;

pub async fn run(spec: Arc<Spec>, which: Which, format: Format) -> Result<Exit, Failure> {
    known_datasets(&spec, &which.dataset)?;
    let now = MachineClock.now().wall;
    let (gaps, exit) = match ask::engine(&spec)? {
        Some(mut engine) => {
            let mut gaps = Vec::new();
            ask::answered(engine.gaps(|gap| gaps.push(gap)))?;
            let expected = which.select.as_ref().map(|_| expected(&spec, now)).transpose()?;
            (filter(gaps, &which, expected.as_ref(), now)?, Exit::Complete)
        }
        None => {
            let survey = Survey::of(spec).await?;
            let exit = if survey.is_partial() { Exit::Unfinished } else { Exit::Complete };
            (filter(survey.gaps(), &which, Some(&survey.expected), now)?, exit)
        }
    };
    print(gaps, &which, now, format)?;
    Ok(exit)
}

fn print(gaps: Vec<GapLine>, which: &Which, now: Timestamp, format: Format) -> Result<(), Failure> {
    let mut paper = Paper::stdout();
    match format {
        Format::Json => gaps.iter().try_for_each(|gap| paper.json(gap))?,
        Format::Text => {
            let width = paper.width();
            if gaps.is_empty() && which.narrows() {
                paper.write(|out| writeln!(out, "no gap fits"))?;
                return paper.finish();
            }
            let at_most = if which.all { usize::MAX } else { screen::gaps::SHOWN };
            paper.write(|out| screen::gaps::write(&gaps, now, at_most, width, out))?;
        }
    }
    paper.finish()
}

fn filter(gaps: Vec<GapLine>, which: &Which, expected: Option<&Expected>, now: Timestamp) -> Result<Vec<GapLine>, Failure> {
    let selection = match (&which.select, expected) {
        (Some(text), Some(expected)) => {
            let parsed = Selection::parse(text, expected).map_err(|errors| Failure::from(EngineError::Select(text.clone(), errors)))?;
            Some((parsed, expected))
        }
        _ => None,
    };
    let mut gaps: Vec<GapLine> = gaps
        .into_iter()
        .filter(|gap| which.dataset.is_empty() || which.dataset.contains(&gap.dataset))
        .filter(|gap| which.state.is_none_or(|state| state.means(gap.state)))
        .filter(|gap| selection.as_ref().is_none_or(|(selection, expected)| selection.means(&plain(gap), expected, now)))
        .collect();
    gaps.sort_by(|a, b| (a.detected_at, b.due, &a.key).cmp(&(b.detected_at, a.due, &b.key)));
    Ok(gaps)
}

/// As much of a gap as its line tells, which is all that an expression may ask for.
fn plain(line: &GapLine) -> Gap {
    Gap {
        id: GapId { item: line.item, episode: 1 },
        dataset: line.dataset.clone(),
        key: line.key.clone(),
        reason: line.reason,
        detected_at: line.detected_at,
        due: line.due,
        priority: line.priority,
        group: Vec::new(),
        etag: None,
        last_modified: None,
        fingerprint: 0,
        progress: Progress::default(),
    }
}

pub fn expected(spec: &Spec, now: Timestamp) -> Result<Expected, Failure> {
    let remembered = ask::state(spec)?.map(|state| state.remembered()).transpose()?;
    let accepted = remembered.and_then(|remembered| remembered.picture);
    expand_after(accepted.as_ref(), spec, &tables(spec, Keeping::InMemory), now).map_err(Failure::Config)
}

fn known_datasets(spec: &Spec, named: &[String]) -> Result<(), Failure> {
    match named.iter().find(|name| !spec.datasets.contains_key(*name)) {
        None => Ok(()),
        Some(unknown) => {
            let failure = Failure::new(Exit::Usage, format!("no dataset is called `{unknown}`"));
            let hint = nearest(unknown, spec.datasets.keys().cloned().collect());
            Err(hint.map_or(Failure::new(Exit::Usage, failure.to_string()), |hint| failure.hint(hint)))
        }
    }
}

impl Which {
    fn narrows(&self) -> bool {
        !self.dataset.is_empty() || self.state.is_some() || self.select.is_some()
    }
}

impl StateName {
    fn means(self, state: GapState) -> bool {
        state
            == match self {
                StateName::Queued => GapState::Queued,
                StateName::Running => GapState::Running,
                StateName::Waiting => GapState::Waiting,
                StateName::Held => GapState::Held,
                StateName::Exhausted => GapState::Exhausted,
            }
    }
}
