//! `adce service`: an engine that the machine starts, watches and starts again.

use std::path::{Path, PathBuf};
use std::process::Command;

use adce_core::spec::Spec;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::Format;
use crate::config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::units::{Service, name_of, written_by};

#[derive(Args, Debug)]
pub struct ServiceArgs {
    #[command(subcommand)]
    pub what: ServiceCommand,
}

#[derive(Subcommand, Debug)]
pub enum ServiceCommand {
    /// Writes the unit and starts it, now and with the machine.
    #[command(
        after_help = "Examples:\n  adce service install\n  sudo adce service install --run-as lake\n  adce service install --no-start\n\n\
        As root it is a service of the machine, otherwise one of your own (`systemctl --user`, which runs while you are logged in, or always after \
        `loginctl enable-linger`). Read first what it would write: `adce service print`."
    )]
    Install(InstallArgs),
    /// Ends it, and removes the unit. State and lake stay.
    #[command(after_help = "Examples:\n  adce service uninstall")]
    Uninstall,
    /// The unit that `install` would write.
    #[command(after_help = "Examples:\n  adce service print\n  adce service print --launchd")]
    Print(PrintArgs),
}

#[derive(Args, Debug)]
pub struct InstallArgs {
    /// Of a service of the machine: whose rights it has. Default: the owner of the config's folder.
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,

    /// Writes the unit and leaves the rest to you.
    #[arg(long)]
    pub no_start: bool,
}

#[derive(Args, Debug)]
pub struct PrintArgs {
    /// Whose rights it has.
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,

    /// For macOS.
    #[arg(long)]
    pub launchd: bool,
}

pub fn run(args: &ServiceArgs, configs: &[PathBuf], spec: &Spec, format: Format) -> Result<Exit, Failure> {
    match &args.what {
        ServiceCommand::Print(args) => {
            let service = service(configs, spec, args.run_as.clone())?;
            let text = if args.launchd || cfg!(target_os = "macos") { service.launchd() } else { service.systemd() };
            match format {
                Format::Json => say!("{}", json!({ "name": service.name, "unit": text })),
                Format::Text => say!("{}", text.trim_end()),
            }
        }
        ServiceCommand::Install(args) => install(args, configs, spec, format)?,
        ServiceCommand::Uninstall => uninstall(spec, format)?,
    }
    Ok(Exit::Complete)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn service(configs: &[PathBuf], spec: &Spec, run_as: Option<String>) -> Result<Service, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Unfinished, format!("the paths of a service cannot be told: {error}"));
    let configs = configs.iter().map(std::path::absolute).collect::<Result<_, _>>().map_err(failed)?;
    Ok(Service {
        name: name_of(spec),
        program: std::env::current_exe().map_err(failed)?,
        configs,
        user: run_as.or_else(|| is_root().then(|| owner_of(&spec.folder)).flatten()),
        variables: config::overrides(),
        writes: written_by(spec),
        folder: spec.folder.clone(),
        stops_within_s: spec.engine.drain.as_secs() + 60,
    })
}

/// By name.
fn owner_of(folder: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let owner = nix::unistd::Uid::from_raw(std::fs::metadata(folder).ok()?.uid());
    nix::unistd::User::from_uid(owner).ok().flatten().map(|user| user.name)
}

/// Of the machine for root, of the user for everybody else.
fn unit_path(name: &str) -> Result<PathBuf, Failure> {
    let home = || std::env::var_os("HOME").map(PathBuf::from).ok_or_else(|| Failure::new(Exit::Unfinished, "`HOME` is not set"));
    if cfg!(target_os = "macos") {
        return Ok(home()?.join("Library/LaunchAgents").join(format!("{name}.plist")));
    }
    let file = format!("{name}.service");
    if is_root() {
        return Ok(Path::new("/etc/systemd/system").join(file));
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).map_or_else(|| home().map(|home| home.join(".config")), Ok)?;
    Ok(config.join("systemd/user").join(file))
}

fn install(args: &InstallArgs, configs: &[PathBuf], spec: &Spec, format: Format) -> Result<(), Failure> {
    let service = service(configs, spec, args.run_as.clone())?;
    let path = unit_path(&service.name)?;
    let failed = |error: std::io::Error| Failure::new(Exit::Unfinished, format!("`{}` cannot be written: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let text = if cfg!(target_os = "macos") { service.launchd() } else { service.systemd() };
    std::fs::write(&path, text).map_err(failed)?;
    if !args.no_start {
        let unit = path.display().to_string();
        match cfg!(target_os = "macos") {
            true => manager("launchctl", &["load", "-w", &unit])?,
            false => {
                systemctl(&["daemon-reload"])?;
                systemctl(&["enable", "--now", &service.name])?;
            }
        }
    }
    match format {
        Format::Json => say!("{}", json!({ "name": service.name, "unit": path, "started": !args.no_start })),
        Format::Text if args.no_start => say!("{} is written; `systemctl enable --now {}` starts it", path.display(), service.name),
        Format::Text => say!("{} runs, and starts with the machine; its unit is {}", service.name, path.display()),
    }
    Ok(())
}

fn uninstall(spec: &Spec, format: Format) -> Result<(), Failure> {
    let name = name_of(spec);
    let path = unit_path(&name)?;
    if !path.exists() {
        return Err(Failure::new(Exit::Usage, format!("no service is installed: `{}` is not there", path.display())));
    }
    let unit = path.display().to_string();
    // What does not run need not be ended.
    let ended = match cfg!(target_os = "macos") {
        true => manager("launchctl", &["unload", "-w", &unit]),
        false => systemctl(&["disable", "--now", &name]),
    };
    std::fs::remove_file(&path).map_err(|error| Failure::new(Exit::Unfinished, format!("`{unit}` cannot be removed: {error}")))?;
    ended?;
    if !cfg!(target_os = "macos") {
        systemctl(&["daemon-reload"])?;
    }
    match format {
        Format::Json => say!("{}", json!({ "name": name, "removed": path })),
        Format::Text => say!("{name} has ended and is no service any more; state and lake are as they were"),
    }
    Ok(())
}

fn systemctl(args: &[&str]) -> Result<(), Failure> {
    let all: Vec<&str> = if is_root() { args.to_vec() } else { [&["--user"], args].concat() };
    manager("systemctl", &all)
}

fn manager(program: &str, args: &[&str]) -> Result<(), Failure> {
    let said = Command::new(program).args(args).output();
    let why = match said {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Failure::new(Exit::Unfinished, format!("`{program} {}` failed: {why}", args.join(" "))))
}
