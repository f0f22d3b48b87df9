//! `adce demo`: the real engine against a moody upstream on loopback, from a half-filled lake to a complete one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adce_api::UpstreamCounts;
use adce_demo::{Figures, Limit, Moods, Upstream, UpstreamConfig, World};
use anyhow::{Context, Result};
use clap::Args;

use crate::cli::Format;
use adce_engine::Options;

use crate::commands::run::{collect, exit_of, options};
use crate::config::Written;
use crate::display::Display;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::holding_back::Mode;
use crate::summary;

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Keep the demo's config, schedule and lake in this new folder.
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,

    /// Another world and other moods.
    #[arg(long, default_value_t = 2025)]
    pub seed: u64,
}

pub async fn run(args: &DemoArgs, format: Format) -> Result<Exit, Failure> {
    let stage = Stage::set(args).await.map_err(|error| Failure::new(Exit::Unfinished, format!("{error:#}")))?;
    stage.play(args, format).await
}

/// The scraper of the demo's second dataset.
pub async fn scraper() -> Result<Exit, Failure> {
    match crate::demo_scraper::scrape().await {
        Ok(true) => Ok(Exit::Complete),
        Ok(false) => Ok(Exit::Unfinished),
        Err(error) => Err(Failure::new(Exit::Unfinished, format!("{error:#}"))),
    }
}

/// Everything the demo plays with.
struct Stage {
    upstream: Upstream,
    folder: PathBuf,
    config: PathBuf,
    /// Removes the folder at the end, unless it is kept.
    _temporary: tempfile::TempDir,
}

impl Stage {
    async fn set(args: &DemoArgs) -> Result<Stage> {
        let temporary = tempfile::Builder::new().prefix("adce-demo-").tempdir().context("no temporary folder")?;
        let folder = match &args.keep {
            Some(folder) => new_folder(folder)?,
            None => temporary.path().to_owned(),
        };
        let now = SystemTime::now();
        let world = World::new(args.seed, now);
        let upstream = start_upstream(&world, args.seed).await.context("the upstream cannot listen on loopback")?;
        let config = write_files(&folder, &world, &upstream, now)?;
        Ok(Stage { upstream, folder, config, _temporary: temporary })
    }

    async fn play(&self, args: &DemoArgs, format: Format) -> Result<Exit, Failure> {
        let config = Written::read(std::slice::from_ref(&self.config))?;
        let spec = config.spec()?;
        if format == Format::Text {
            let address = self.upstream.address();
            say!("An upstream on {address} allows 10 requests a second; now and then it answers");
            say!("429, 500, half a body, nothing, or a block page. A lake is half-filled.");
            say!("adce finds the gaps and fills them.\n");
        }
        let ending =
            collect(spec.clone(), config, Options { max_wait: Duration::from_secs(60), ..options(true) }, Display::choose(), Mode::Real)
                .await?;
        let figures = self.upstream.figures();
        let mut summary = summary::of(&ending, &spec);
        summary.upstream = Some(counts(&figures, ending.longest_wait));
        summary::print(&summary, &ending, format);
        if format == Format::Text {
            said_by_upstream(&figures).iter().for_each(|line| say!("{line}"));
            if args.keep.is_some() {
                say!("kept in {}: try `adce -c {} plan`", self.folder.display(), self.config.display());
            }
        }
        // A limit that was exceeded is a bug of ours, however complete the lake is.
        Ok(if figures.windows_exceeded > 0 { Exit::Bug } else { exit_of(&ending) })
    }
}

fn new_folder(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir(folder).with_context(|| format!("`{}` must be a folder that does not exist yet", folder.display()))?;
    Ok(folder.canonicalize()?)
}

async fn start_upstream(world: &World, seed: u64) -> std::io::Result<Upstream> {
    let content = world.clone();
    Upstream::start(UpstreamConfig {
        limits: vec![Limit { requests: 10, span: Duration::from_secs(1) }, Limit { requests: 480, span: Duration::from_secs(60) }],
        latency_ms: (20, 120),
        moods: Moods { too_many: 0.01, error: 0.02, truncated: 0.02, empty: 0.02, block_page: 0.02 },
        seed,
        log: None,
        content: Arc::new(move |path: &str| content.body(path)),
    })
    .await
}

fn write_files(folder: &Path, world: &World, upstream: &Upstream, now: SystemTime) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let yaml = include_str!("demo.yaml")
        .replace("@ADDRESS@", &upstream.address().to_string())
        .replace("@PROGRAM@", &program.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""));
    let config = folder.join("adce.yaml");
    std::fs::write(&config, yaml)?;
    std::fs::write(folder.join("schedule.csv"), world.schedule_csv())?;
    std::fs::create_dir(folder.join("lake"))?;
    world.fill_lake(&folder.join("lake"), now)?;
    Ok(config)
}

fn counts(figures: &Figures, longest_wait: Duration) -> UpstreamCounts {
    let moods = [
        ("429", figures.moods.too_many),
        ("500", figures.moods.error),
        ("truncated", figures.moods.truncated),
        ("empty", figures.moods.empty),
        ("block_page", figures.moods.block_page),
        ("never", figures.not_found),
    ];
    UpstreamCounts {
        requests: figures.requests,
        answered_429: figures.answered_429,
        windows_exceeded: figures.windows_exceeded,
        moods: moods.into_iter().map(|(mood, count)| (mood.to_owned(), count)).collect(),
        longest_wait_seconds: longest_wait.as_secs_f64(),
    }
}

fn said_by_upstream(figures: &Figures) -> Vec<String> {
    let moods = &figures.moods;
    vec![
        format!(
            "the upstream counted itself: {} requests · fullest second {} of 10 · fullest minute {} of 480",
            figures.requests,
            figures.fullest.first().copied().unwrap_or_default(),
            figures.fullest.get(1).copied().unwrap_or_default(),
        ),
        format!("windows exceeded: {} · answers of 429 because of that: {}", figures.windows_exceeded, figures.answered_429),
        format!(
            "its moods: {} × 429 for no reason · {} × 500 · {} half bodies · {} empty · {} block pages · {} never there",
            moods.too_many, moods.error, moods.truncated, moods.empty, moods.block_page, figures.not_found
        ),
    ]
}
