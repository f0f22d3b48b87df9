//! `adce try 'DATASET game_id=401'`: one attempt, into `./adce-try`. The lake and its gaps are left alone; the limits are
//! not: what is sent here counts against the same windows as everything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_core::figures::counted;
use adce_core::ids::{FencingToken, TaskId};
use adce_core::ports::{Store, StoreError};
use adce_core::record::{Change, History, Lease, Remembered};
use adce_core::spec::{LakeUrl, Spec};
use adce_engine::Options;
use adce_store::memory::MemoryStore;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use clap::Args;

use crate::cli::Format;
use crate::commands::run::watch;
use crate::display::Display;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::state_place::StatePlace;
use crate::wiring::{self, Folders};

#[derive(Args, Debug)]
pub struct TryArgs {
    /// A dataset and values of its items: `box_scores game_id=401 quarter=q1`.
    #[arg(required = true, value_name = "DATASET [NAME=VALUE]…")]
    pub item: Vec<String>,

    /// Where what is collected goes.
    #[arg(long, value_name = "FOLDER", default_value = "adce-try")]
    pub into: PathBuf,
}

impl TryArgs {
    /// The items that are meant, in the words of `--select`.
    pub fn selection(&self, spec: &Spec) -> Result<String> {
        // One quoted argument and several plain ones mean the same.
        let words: Vec<&str> = self.item.iter().flat_map(|part| part.split_whitespace()).collect();
        let (dataset, values) = words.split_first().context("which dataset?")?;
        if !spec.datasets.contains_key(*dataset) {
            let known: Vec<&str> = spec.datasets.keys().map(String::as_str).collect();
            bail!("no dataset is named `{dataset}`; there are `{}`", known.join("`, `"));
        }
        let mut selection = format!("dataset == '{dataset}'");
        for value in values {
            let (name, value) = value.split_once('=').with_context(|| format!("`{value}` is not NAME=VALUE"))?;
            let quote = if value.contains('\'') { '"' } else { '\'' };
            selection.push_str(&format!(" and {name} == {quote}{value}{quote}"));
        }
        Ok(selection)
    }
}

pub async fn run(args: &TryArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let usage = |error: anyhow::Error| Failure::new(Exit::Usage, format!("{error:#}"));
    let select = args.selection(&spec).map_err(usage)?;
    let here = over_a_lake_of_its_own(&spec, &args.into).map_err(usage)?;
    let LakeUrl::Folder(folder) = &here.lake else { return Err(Failure::new(Exit::Bug, "a try goes into a folder")) };
    let real_lake = adce_lake::open(&spec.lake)?;
    let state = wiring::take_state(&spec, &*real_lake).await?;
    let logs = folder.join(".adce/logs");
    let folders = Folders {
        attempts: folder.join(".adce/attempts"),
        logs: logs.clone(),
        authority: StatePlace::of(&spec).authority(),
        answers: folder.join(".adce/answers"),
    };
    let lake = adce_lake::open(&here.lake)?;
    let options = Options { select: Some(select.clone()), attempts: Some(1), seed: rand::random(), ..Options::default() };
    let wired = wiring::assemble(Arc::new(here.clone()), options, lake, Arc::new(TryStore::over(state)), folders).await?;
    let ending = watch(wired, &format!("adce try · {}", args.item.join(" ")), Display::choose(), None).await?;
    if ending.interrupted {
        return Ok(Exit::Interrupted);
    }
    let totals = ending.snapshot.totals;
    if totals.attempts == 0 {
        let message = format!("no item to try: `{select}` means nothing that is due and not in `{}` yet", args.into.display());
        return Err(Failure::new(Exit::Usage, message)
            .hint("`adce gaps` lists keys and `adce plan` what is due; remove the folder to try the same again"));
    }
    match format {
        Format::Json => say!("{}", serde_json::to_string(&crate::summary::of(&ending, &here)).unwrap_or_default()),
        Format::Text => {
            say!(
                "{} of {} collected something; {}",
                totals.attempts - totals.failed,
                counted(totals.attempts, "attempt"),
                counted(totals.requests, "request")
            );
            ending.snapshot.recent.iter().for_each(|failure| say!("failed {}: {}", failure.key, failure.message));
            if totals.filled > 0 {
                say!("objects are in {}", folder.display());
            }
            if is_anything_in(&logs) {
                say!("logs are in {}", logs.display());
            }
        }
    }
    Ok(if totals.failed == 0 { Exit::Complete } else { Exit::GapsRemain })
}

/// Who prints nothing leaves no log.
fn is_anything_in(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// The same config over an own, empty lake: every item that is due is missing there.
pub fn over_a_lake_of_its_own(spec: &Spec, folder: &Path) -> Result<Spec> {
    std::fs::create_dir_all(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
    let folder = folder.canonicalize()?;
    Ok(Spec { lake: LakeUrl::Folder(folder), reports: None, ..spec.clone() })
}

/// Gaps, tasks and leases in memory; permits, pauses and breakers in the real state.
pub struct TryStore {
    limits: Arc<dyn Store>,
    rest: MemoryStore,
}

impl TryStore {
    pub fn over(state: Arc<dyn Store>) -> Self {
        TryStore { limits: state, rest: MemoryStore::new() }
    }

    fn is_about_limits(change: &Change) -> bool {
        matches!(
            change,
            Change::Reserve(_)
                | Change::SettleReservation { .. }
                | Change::ForgetReservation(_)
                | Change::PutSource(..)
                | Change::PutValue { .. }
        )
    }
}

#[async_trait]
impl Store for TryStore {
    async fn load(&self) -> Result<Remembered, StoreError> {
        let state = self.limits.load().await?;
        let Remembered { reservations, sources, values, latest, .. } = state;
        Ok(Remembered { reservations, sources, values, latest, ..Remembered::default() })
    }

    async fn lease(&self, lease: Lease) -> Result<FencingToken, StoreError> {
        self.rest.lease(lease).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (limits, rest): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(Self::is_about_limits);
        if !limits.is_empty() {
            self.limits.apply(limits).await?;
        }
        self.rest.apply(rest).await
    }

    async fn history(&self, task: TaskId) -> Result<History, StoreError> {
        self.rest.history(task).await
    }
}
