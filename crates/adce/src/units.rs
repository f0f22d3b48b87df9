//! What a service manager reads: a unit of systemd, a property list of launchd.

use std::path::{Path, PathBuf};

use adce_core::spec::{LakeUrl, Spec, StateUrl};

/// What is to be run, and as whom.
pub struct Service {
    /// `adce-prod`
    pub name: String,
    pub program: PathBuf,
    /// Absolute.
    pub configs: Vec<PathBuf>,
    /// `None`: whoever's manager it is.
    pub user: Option<String>,
    /// Variables that stand for parts of the config.
    pub variables: Vec<(String, String)>,
    /// Where it writes: the folder of the config, of the state, of a lake that is one.
    pub writes: Vec<PathBuf>,
    pub folder: PathBuf,
    pub stops_within_s: u64,
}

/// Whatever is odd in a lake's name is none in a unit's.
pub fn name_of(spec: &Spec) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' };
    format!("adce-{}", spec.name.chars().map(plain).collect::<String>())
}

pub fn written_by(spec: &Spec) -> Vec<PathBuf> {
    let StateUrl::Sqlite(state) = &spec.state;
    let state = state.parent().map(Path::to_owned).unwrap_or_default();
    let lake = match &spec.lake {
        LakeUrl::Folder(folder) => Some(folder.clone()),
        LakeUrl::S3 { .. } => None,
    };
    let mut all = vec![spec.folder.clone(), state];
    all.extend(lake);
    // One that lies in another is that one's.
    let within = |path: &PathBuf| all.iter().any(|other| other != path && path.starts_with(other));
    let mut outer: Vec<PathBuf> = all.iter().filter(|path| !within(path)).cloned().collect();
    outer.sort();
    outer.dedup();
    outer
}

impl Service {
    fn command(&self) -> Vec<String> {
        let configs = self.configs.iter().flat_map(|config| ["-c".to_owned(), config.display().to_string()]);
        [self.program.display().to_string()].into_iter().chain(configs).chain(["up".to_owned(), "--yes".to_owned()]).collect()
    }

    pub fn systemd(&self) -> String {
        let command: Vec<String> = self.command().iter().map(|word| quoted(word)).collect();
        let user = self.user.as_ref().map(|user| format!("User={user}\n")).unwrap_or_default();
        let variables = self.variables.iter().map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}"))));
        let writes = self.writes.iter().map(|path| format!("ReadWritePaths={}\n", quoted(&path.display().to_string())));
        let target = if self.user.is_some() { "multi-user.target" } else { "default.target" };
        format!(
            "[Unit]\n\
             Description=adce keeps the data lake of {name} complete\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             # It goes on trying: a lake that is away for a night is there in the morning.\n\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             Type=notify\n\
             # The engine is a child of the process that is started: it is the engine that tells how it is.\n\
             NotifyAccess=all\n\
             ExecStart={command}\n\
             ExecReload=/bin/kill -HUP $MAINPID\n\
             WorkingDirectory={folder}\n\
             {user}{variables}\
             # From the engine's own loop: one that hangs is started anew.\n\
             WatchdogSec=120\n\
             # A state of gigabytes is read through after a kill.\n\
             TimeoutStartSec=600\n\
             # `engine.drain`, and a minute to close the state.\n\
             TimeoutStopSec={stop}\n\
             # To whoever guards the engine, which hands it on once; what is left at the end is killed.\n\
             KillMode=mixed\n\
             Restart=on-failure\n\
             RestartSec=10\n\
             # Ended by a signal, or complete, or with gaps left: as it was told to.\n\
             SuccessExitStatus=0 2 130 143\n\
             # A wrong command line or config is wrong the next time, too.\n\
             RestartPreventExitStatus=64 78\n\
             # A scraper that takes all memory is killed alone.\n\
             OOMPolicy=continue\n\
             \n\
             UMask=0077\n\
             NoNewPrivileges=true\n\
             PrivateTmp=true\n\
             ProtectSystem=strict\n\
             {writes}\
             ProtectKernelTunables=true\n\
             ProtectKernelModules=true\n\
             ProtectKernelLogs=true\n\
             ProtectControlGroups=true\n\
             ProtectClock=true\n\
             ProtectHostname=true\n\
             RestrictSUIDSGID=true\n\
             RestrictRealtime=true\n\
             LockPersonality=true\n\
             RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n\
             SystemCallArchitectures=native\n\
             \n\
             [Install]\n\
             WantedBy={target}\n",
            name = self.name.trim_start_matches("adce-"),
            command = command.join(" "),
            folder = self.folder.display().to_string().replace('%', "%%"),
            variables = variables.collect::<String>(),
            writes = writes.collect::<String>(),
            stop = self.stops_within_s,
        )
    }

    pub fn launchd(&self) -> String {
        let strings: String = self.command().iter().map(|word| format!("    <string>{}</string>\n", escaped(word))).collect();
        let variables: String = self
            .variables
            .iter()
            .map(|(name, value)| format!("    <key>{}</key>\n    <string>{}</string>\n", escaped(name), escaped(value)))
            .collect();
        let log = self.folder.join(format!("{}.out", self.name));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
             <plist version=\"1.0\">\n<dict>\n  <key>Label</key>\n  <string>{label}</string>\n  <key>ProgramArguments</key>\n  <array>\n{strings}  </array>\n  \
             <key>WorkingDirectory</key>\n  <string>{folder}</string>\n  <key>EnvironmentVariables</key>\n  <dict>\n{variables}  </dict>\n  \
             <key>RunAtLoad</key>\n  <true/>\n  <key>KeepAlive</key>\n  <dict>\n    <key>SuccessfulExit</key>\n    <false/>\n  </dict>\n  \
             <key>ThrottleInterval</key>\n  <integer>10</integer>\n  <key>ExitTimeOut</key>\n  <integer>{stop}</integer>\n  \
             <key>Umask</key>\n  <integer>63</integer>\n  <key>StandardOutPath</key>\n  <string>{log}</string>\n  \
             <key>StandardErrorPath</key>\n  <string>{log}</string>\n</dict>\n</plist>\n",
            label = escaped(&self.name),
            folder = escaped(&self.folder.display().to_string()),
            stop = self.stops_within_s,
            log = escaped(&log.display().to_string()),
        )
    }
}

/// As a word of a unit's line.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    let is_plain = word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./:=%$@+,".contains(letter));
    if is_plain { word } else { format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
