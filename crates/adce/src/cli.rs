//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::commands::{
    accept::AcceptArgs, background::StopArgs, cancel::CancelArgs, completions::CompletionsArgs, config::ConfigArgs, coverage::CoverageArgs,
    demo::DemoArgs, doctor::DoctorArgs, exec::ExecArgs, logs::LogsArgs, man::ManArgs, mark_absent::MarkAbsentArgs, pause::PauseArgs,
    pause::ResumeArgs, retry::RetryArgs, run::RunArgs, service::ServiceArgs, state::StateArgs, tasks::TasksArgs, token::TokenArgs,
    try_one::TryArgs, up::UpArgs, why::WhyArgs,
};

/// Keeps a data lake complete: finds what is missing, and collects it, never faster than an upstream allows.
#[derive(Parser, Debug)]
#[command(name = "adce", version, max_term_width = 120, arg_required_else_help = true)]
#[command(after_help = "Start with `adce demo` to watch it work, or `adce init` for a config of your own.\n\
    Exit codes: 0 complete · 1 could not finish · 2 gaps remain · 64 usage · 69 lake or state unreachable ·\n\
    75 another engine holds the state · 78 config")]
pub struct Cli {
    /// The config; several are merged, later ones on top.
    #[arg(short, long, global = true, value_name = "FILE", default_value = "adce.yaml")]
    pub config: Vec<PathBuf>,

    /// Tables are for people, JSON is a contract.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: AnyFormat,

    #[command(subcommand)]
    pub command: Command,
}

/// What every command can print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// What some command can print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AnyFormat {
    #[default]
    #[value(alias = "table")]
    Text,
    Json,
    /// Of `coverage`, as are the next two.
    #[value(hide = true)]
    Csv,
    #[value(hide = true)]
    Svg,
    #[value(hide = true)]
    Png,
}

impl AnyFormat {
    pub fn of_every_command(self) -> Option<Format> {
        match self {
            AnyFormat::Text => Some(Format::Text),
            AnyFormat::Json => Some(Format::Json),
            AnyFormat::Csv | AnyFormat::Svg | AnyFormat::Png => None,
        }
    }

    /// An error is never a picture.
    pub fn for_errors(self) -> Format {
        self.of_every_command().unwrap_or_default()
    }

    pub fn word(self) -> &'static str {
        match self {
            AnyFormat::Text => "text",
            AnyFormat::Json => "json",
            AnyFormat::Csv => "csv",
            AnyFormat::Svg => "svg",
            AnyFormat::Png => "png",
        }
    }
}

#[derive(clap::Args, Debug, Default)]
pub struct CheckArgs {
    /// Lists the lake: how many objects each dataset matches, which nearly do, and what a look costs.
    #[arg(long)]
    pub lake: bool,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Writes a first, commented config, and the schema by which editors complete it.
    #[command(after_help = "Examples:\n  adce init\n  adce init -c other/adce.yaml\n\nNothing that is there is overwritten.")]
    Init,

    /// Everything that is wrong with the config, at once.
    #[command(
        after_help = "Examples:\n  adce check\n  adce -c base.yaml -c prod.yaml check\n  adce check --format json\n  adce check --lake\n\n\
        Reads the config and its tables; neither lake nor state. With `--lake` it lists the lake, too, and says what matches. Exit code 78: there are errors."
    )]
    Check(CheckArgs),

    /// What would be collected, in which order, and done when. Writes nothing and asks no upstream.
    #[command(
        after_help = "Exit codes: 0 complete · 1 part of the lake could not be listed · 2 gaps remain · 69 lake or state unreachable\n\n\
        Examples:\n  adce plan\n  adce plan --format json | jq '.tasks[0]'"
    )]
    Plan,

    /// Every gap by name, the oldest first.
    #[command(after_help = "Examples:\n  adce gaps --dataset box_scores --state exhausted\n  \
        adce gaps --select \"season == '2024-25' and reason == 'stale'\"\n  adce gaps --format json | jq -r .key")]
    Gaps(Which),

    /// Where the holes are: each dataset, or one of them by season, team, month, …; as a table, a heat map or a picture.
    #[command(after_help = "Examples:\n  adce coverage\n  adce coverage box_scores --by season,team\n  \
        adce coverage play_by_play --by tip:week --format svg -o coverage.svg\n  adce coverage --by dataset,month --format csv\n  \
        adce coverage --trend\n  adce coverage box_scores --unexpected\n\n\
        Formats: text (or table), json, csv, svg, png. A heat map has colours where the terminal has them, letters elsewhere.\n\
        Exit codes: 0 complete · 1 part of the lake could not be listed · 2 gaps remain · 64 no such dataset or name")]
    Coverage(CoverageArgs),

    /// Collect until nothing can be done.
    #[command(after_help = "Examples:\n  adce run\n  adce run --once\n  adce run --select \"season == '2024-25'\" --max-wait 1h\n  \
        adce run --now   # the engine that runs looks at the lake at once")]
    Run(RunArgs),

    /// Run for good: collect what is missing, look again, take in at once what changes. Ctrl-C ends it.
    #[command(after_help = "Examples:\n  adce up\n  adce up --yes\n  adce up -d     # in the background, as `adce start`\n\n\
        Stays in the foreground. Ctrl-C or SIGTERM once: finish what runs (for at most `engine.drain`, 5m), and end; twice: stop it.\n\
        Between two full looks (`engine.reconcile_every`) it hears of changes: a lake in a folder is watched, a bucket by `lake.events`.")]
    Up(UpArgs),

    /// Starts an engine in the background, and returns when it answers.
    #[command(after_help = "Examples:\n  adce start\n  adce -c prod.yaml start\n\n\
        It has a session of its own and outlives the terminal. A machine that restarts does not start it again: `adce service install`.\n\
        Exit codes: 0 it runs · 75 an engine holds the state already · 78 config · others as of the engine that did not start")]
    Start,

    /// Ends the engine that runs on this state: what runs is finished, or stopped after a bound.
    #[command(after_help = "Examples:\n  adce stop\n  adce stop --within 30s\n  adce stop --within 0s   # at once\n\n\
        Returns when the state is closed. No engine: nothing happens, exit code 0.")]
    Stop(StopArgs),

    /// `stop`, then `start`. A config with errors ends nothing.
    #[command(after_help = "Examples:\n  adce restart\n  adce restart --within 30s")]
    Restart(StopArgs),

    /// An engine that the machine starts, watches, and starts again.
    #[command(after_help = "Examples:\n  adce service print\n  adce service install\n  adce service uninstall")]
    Service(ServiceArgs),

    /// Is the engine well? One word, reasons, and an exit code for monitors.
    #[command(after_help = "Examples:\n  adce health\n  adce health --format json | jq -r .status\n\n\
        Exit codes: 0 healthy · 2 degraded: it works, and something needs a look · 1 unhealthy: it does not do its work · 69 no engine runs.\n\
        A lake with gaps that are being filled is healthy: whether it is complete, `adce status` tells.")]
    Health,

    /// What engines on this state said of themselves.
    #[command(after_help = "Examples:\n  adce logs\n  adce logs --follow --since 10m\n  adce logs --source espn --since 1d\n  \
        adce logs --task t_eb3c5de456ab0c8c04c655b446\n  adce logs --format json | jq 'select(.level == \"error\")'\n\n\
        Read from the file beside the state: also of an engine that is dead.")]
    Logs(LogsArgs),

    /// Keeps everything, a source or a dataset from starting until `resume`; what runs is finished.
    #[command(after_help = "Examples:\n  adce pause espn --reason 'they move'\n  adce pause box_scores\n  adce pause\n\n\
        Remembered over restarts. Of two that have one name: `source:NAME` or `dataset:NAME`.")]
    Pause(PauseArgs),

    /// Lets start again what `pause` keeps from it.
    #[command(
        after_help = "Examples:\n  adce resume espn\n  adce resume          # the pause of everything\n  adce resume --all    # and all others"
    )]
    Resume(ResumeArgs),

    /// Ends the attempts at a key, a task or a dataset, and leaves the items alone for a day.
    #[command(after_help = "Examples:\n  adce cancel box/401705123.html\n  adce cancel t_eb3c5de456ab0c8c04c655b446 --for 2h\n  \
        adce cancel box_scores --format json | jq -r .key\n\n\
        It costs them no attempt. `adce retry` tries them sooner; to keep a whole dataset from starting, `adce pause`.")]
    Cancel(CancelArgs),

    /// One attempt for chosen items, into a folder of its own; the lake is left alone.
    #[command(
        name = "try",
        after_help = "Examples:\n  adce try 'play_by_play game_id=401705123'\n  adce try box_scores game_id=401705123 quarter=q1 --into /tmp/look"
    )]
    Try(TryArgs),

    /// Any program, by hand, under the limits of the config: its requests wait at the gateway, and are counted.
    #[command(
        after_help = "Examples:\n  adce exec -- python3 scraper.py --season 2024-25\n  adce exec --source espn -- curl -s https://site.api.espn.com/x\n  \
        adce exec --format json -- ./scrape.sh 2> asked.json\n\n\
        It has the terminal, gets its signals, and gives its exit code (128 + the signal that ended it; 127 not found, \
        126 not to be started). At its end one line on standard error says what it asked. While an engine runs it is a guest \
        of that one; else it holds the state for as long as it runs, and `adce run` has to wait."
    )]
    Exec(ExecArgs),

    /// Runs a command against a built-in upstream and proves whether its requests are really paced, over HTTP and HTTPS.
    #[command(after_help = "Examples:\n  adce doctor -- curl -s {url}\n  adce doctor -- python3 scraper.py --base-url {url}\n  \
        adce doctor --timeout 20s -- ./scrape.sh\n  adce doctor --format json -- node scraper.js {url} | jq .protocols\n\n\
        With {url} (or $ADCE_DOCTOR_URL) the command runs twice: once with an http address, once with an https one. Without it the \
        command runs as it is, and whatever host it asks through the gateway is answered here; what it asks past the gateway \
        is asked for real. No config is needed.\n\n\
        Exit codes: 0 paced · 2 not paced; the reason and what to do are told · 126, 127 the command cannot be started")]
    Doctor(DoctorArgs),

    /// All of it against a moody upstream on this machine, in about a minute.
    #[command(after_help = "Examples:\n  adce demo\n  adce demo --keep ./adce-demo   # keeps config and lake to play with")]
    Demo(DemoArgs),

    /// One screen: how complete, what runs, what holds it up.
    #[command(after_help = "Examples:\n  adce status\n  adce status --format json | jq .gaps\n\n\
        Exit codes: 0 complete · 1 part of the lake could not be listed · 2 gaps remain · 69 lake or state unreachable\n\
        Asks the running engine; without one it looks at the lake once.")]
    Status,

    /// How the config differs from the one by which the running engine works.
    #[command(after_help = "Examples:\n  adce diff\n  adce -c other.yaml diff --format json | jq -r '.[].key'\n\n\
        An edit is in force by itself once the engine has looked at the lake by it (`kill -HUP` reads it at once); until then, and where it has errors,\n\
        this shows what is not in force.\n\
        Exit codes: 0 none · 2 it differs · 69 no engine runs · 78 it has errors, and none of it is in force")]
    Diff,

    /// What the config says after all files and variables, and where each value comes from.
    #[command(
        after_help = "Examples:\n  adce config show --origin\n  adce config show --format json | jq '.[] | select(.origin == \"default\")'"
    )]
    Config(ConfigArgs),

    /// What is queued and runs, best first, and the story of one task.
    #[command(
        after_help = "Examples:\n  adce tasks\n  adce tasks --all --format json | jq -r .key\n  adce tasks show t_eb3c5de456ab0c8c04c655b446"
    )]
    Tasks(TasksArgs),

    /// What each source allows, and how much of it is used now.
    #[command(after_help = "Examples:\n  adce limits\n  adce limits --format json | jq '.sources.espn.windows'")]
    Limits,

    /// What holds a key, a task or a dataset: the first gate that is shut.
    #[command(after_help = "Examples:\n  adce why espn/play_by_play/2024-25/401705123.json\n  adce why play_by_play")]
    Why(WhyArgs),

    /// A held surprise is right: let it be in force. With a key, a task or a dataset: its contested objects may be fetched again.
    #[command(after_help = "Examples:\n  adce plan      # says what is held, and why\n  adce accept\n  adce accept box/401705123.html\n  \
        adce accept box_scores\n\n\
        A surprise is a table or a listing that lost much at once, or very many gaps that opened at once.\n\
        An object is contested when it was filled and gone three times in a day: somebody else takes it away.")]
    Accept(AcceptArgs),

    /// What waits for a retry or is exhausted is tried at once; an exhausted gap has all its attempts again.
    #[command(after_help = "Examples:\n  adce retry box/401705123.html\n  adce retry t_eb3c5de456ab0c8c04c655b446\n  \
        adce retry box_scores\n  adce retry --all --format json | jq -r 'select(.retried).key'\n\n\
        Limits, pauses and breakers hold as before; contested objects take `adce accept`.\n\
        Asks the running engine; without one the next `adce run` tries them.")]
    Retry(RetryArgs),

    /// Upstream does not have an object and never will: says so in the dataset's list of known absences (`absent.known`).
    #[command(after_help = "Examples:\n  adce mark-absent box/401705123.html --reason 'game was cancelled'\n  \
        adce mark-absent events/2019-03-10T02.json.gz --reason 'no such hour' --by ann --format json\n\n\
        The list is a CSV file beside the config, `key,reason,date,by`, for version control. What it names is absent from the\n\
        next look on and never asked for; taking its line out makes it a gap again. An object that is there outranks it.")]
    MarkAbsent(MarkAbsentArgs),

    /// Who may do what by the API and the pages of `adce up`.
    #[command(
        after_help = "Examples:\n  adce token create anna --role operator\n  adce token create grafana --role viewer --expires 90d\n  \
        adce token list\n  adce token revoke anna\n\nA token is shown once, when it is made; the state has only a digest of it."
    )]
    Token(TokenArgs),

    /// adce's own database: whether it is whole, and copies of it.
    #[command(after_help = "Examples:\n  adce state check\n  adce state backup /backup/adce-state.db")]
    State(StateArgs),

    /// A script by which a shell completes adce's commands and options.
    #[command(after_help = "Examples:\n  adce completions bash > ~/.local/share/bash-completion/completions/adce\n  \
        adce completions zsh > ~/.zfunc/_adce\n  adce completions fish > ~/.config/fish/completions/adce.fish")]
    Completions(CompletionsArgs),

    /// Man pages, one a command.
    #[command(hide = true, after_help = "Examples:\n  adce man --out ~/.local/share/man/man1\n  adce man | man -l -")]
    Man(ManArgs),

    /// The scraper that `demo` runs.
    #[command(hide = true)]
    DemoScraper,
}

impl Command {
    /// Whether it may start collectors.
    pub fn runs_an_engine(&self) -> bool {
        match self {
            Command::Up(args) => !args.detach,
            Command::Run(args) => !args.now,
            Command::Try(_) | Command::Demo(_) => true,
            _ => false,
        }
    }
}

/// `30s`, `10m`, `1h`, `2d`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    adce_core::spec::parse_duration(text).ok_or_else(|| format!("`{text}` is no span; write for example 30s, 10m or 1h"))
}

/// Which gaps.
#[derive(clap::Args, Debug)]
pub struct Which {
    /// Only of these datasets.
    #[arg(long, value_name = "NAME")]
    pub dataset: Vec<String>,

    /// Only in this state.
    #[arg(long, value_enum)]
    pub state: Option<StateName>,

    /// Only those for which this holds, for example `overdue < 7d and season == '2024-25'`.
    #[arg(long, alias = "where", value_name = "EXPRESSION")]
    pub select: Option<String>,

    /// All of them; a table stops after 50 otherwise.
    #[arg(long)]
    pub all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateName {
    Queued,
    Running,
    Waiting,
    Held,
    Exhausted,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn all(command: &clap::Command) -> Vec<clap::Command> {
        let below = command.get_subcommands().filter(|below| below.get_name() != "demo-scraper");
        below.flat_map(|below| std::iter::once(below.clone()).chain(all(below))).collect()
    }

    /// The lines that begin with `adce`, as a shell would hand them over, up to a pipe, a redirection or a comment.
    fn examples(command: &clap::Command) -> Vec<Vec<String>> {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().map(str::trim).filter(|line| line.starts_with("adce "));
        lines.map(words).collect()
    }

    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for letter in line.chars() {
            match (quote, letter) {
                (Some(open), letter) if open == letter => quote = None,
                (Some(_), letter) => word.push(letter),
                (None, '"' | '\'') => quote = Some(letter),
                (None, '|' | '>' | '#') => break,
                (None, ' ') => words.push(std::mem::take(&mut word)),
                (None, letter) => word.push(letter),
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_help_has_examples_and_every_example_is_understood() {
        for command in all(&Cli::command()) {
            let examples = examples(&command);
            assert!(!examples.is_empty(), "`{}` has no example", command.get_name());
            for example in examples {
                if let Err(error) = Cli::try_parse_from(&example) {
                    panic!("{example:?}\n{error}");
                }
            }
        }
    }
}
