//! `adce-sim --seed 17`: one world, and what the checkers say of it; `adce-sim year`: a year of it, month by month.

use std::path::PathBuf;
use std::process::ExitCode;

use adce_sim::invent::{constant_demand, rough_day};
use adce_sim::memory::Counting;
use adce_sim::scenario::{HOUR, MINUTE, Micros, SECOND, Scenario};
use adce_sim::world::Verdict;
use adce_sim::year::days;
use adce_sim::{clocks, scenario_text, simulate, table};
use clap::{Parser, ValueEnum};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Lives through a simulated day or year of adce and says which promises were broken.
#[derive(Parser)]
struct Args {
    #[arg(default_value = "day")]
    kind: Kind,
    /// The world to invent.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many worlds, from that seed on.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Demand that never ends and nothing that goes wrong, to see what share of the quota is used.
    #[arg(long)]
    constant_demand: bool,
    /// A world from a file (see `--print`) and not from a seed.
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// Of a year.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(30..))]
    days: u64,
    /// Only print the world.
    #[arg(long)]
    print: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Day,
    Year,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(64)
        }
    }
}

fn run(args: &Args) -> Result<bool, String> {
    let invent = |seed| match args.kind {
        Kind::Year => days(seed, args.days),
        Kind::Day if args.constant_demand => constant_demand(seed),
        Kind::Day => rough_day(seed),
    };
    let scenarios: Vec<Scenario> = match &args.scenario {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            vec![scenario_text::read(&text)?]
        }
        None => (args.seed..args.seed + args.count).map(invent).collect(),
    };
    let mut all_well = true;
    for scenario in scenarios {
        if args.print {
            print!("{}", scenario_text::print(&scenario));
            continue;
        }
        let seed = scenario.seed;
        let verdict = simulate(scenario);
        report(seed, &verdict);
        all_well &= verdict.wrong.is_empty();
    }
    Ok(all_well)
}

fn report(seed: u64, verdict: &Verdict) {
    let figures = &verdict.figures;
    let wait = figures.longest_wait.as_ref().map_or("-".into(), |(wait, key)| format!("{} ({key})", time(*wait)));
    println!(
        "seed {seed}: {} requests, {} attempts, {} restarts, {} picks checked, longest wait {wait}{}",
        figures.arrived,
        figures.attempts,
        figures.restarts,
        figures.picks_checked,
        figures.quota_used.iter().map(|share| format!(", {:.2} % of the quota", share * 100.0)).collect::<String>(),
    );
    if let Some(last) = figures.months.last() {
        println!("{}windows exceeded: {}", table::print(&figures.months), last.exceeded);
    }
    for wrong in &verdict.wrong {
        println!("  {} {}: {}", time(wrong.at - clocks::BEGIN), wrong.checker, wrong.what);
    }
}

fn time(micros: Micros) -> String {
    let (hours, minutes) = (micros / HOUR, micros % HOUR / MINUTE);
    format!("{hours}:{minutes:02}:{:09.6}", (micros % MINUTE) as f64 / SECOND as f64)
}
