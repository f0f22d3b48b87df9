//! `egress: gateway`: real commands that have no network but the gateway.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use adce_demo::{Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;
use support::place::{Place, Said, said};
use support::tools::installed;
use tokio::runtime::Runtime;

const PER_SECOND: u64 = 4;

struct World {
    _runtime: Runtime,
    upstream: Upstream,
    log: tempfile::NamedTempFile,
    place: Place,
}

/// A scraper that first tries to get around the gateway, and then uses it in both ways.
const SCRAPER: &str = r#"
around=refused
curl -s -m 5 --noproxy '*' "$1/around" >/dev/null 2>&1 && around=passed
python3 -c 'import http.client, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
there = http.client.HTTPConnection(url.netloc, timeout=5)
there.request("GET", "/around")
there.getresponse().read()' "$1" 2>/dev/null && around=passed
for page in 1 2 3 4 5; do curl -sSf "$1/through/$page" || exit 1; done >"$2"
curl -sSf --noproxy '*' "$ADCE_GATEWAY/up/base" >>"$2" || exit 1
echo "around: $around" >>"$2"
id -u >who
# It leaves somebody behind, who would try later.
setsid sh -c 'echo $$ >daemon; exec sleep 1000' >/dev/null 2>&1 &
while [ ! -s daemon ]; do sleep 0.05; done
"#;

/// Whose files are these, and who waits in vain.
fn world(egress: &str) -> World {
    let runtime = Runtime::new().expect("a runtime");
    let log = tempfile::NamedTempFile::new().expect("a log");
    let upstream = runtime.block_on(Upstream::start(UpstreamConfig {
        // Who gets around is to be seen, not to be refused.
        limits: vec![Limit { requests: if egress == "open" { 100 } else { PER_SECOND }, span: Duration::from_secs(1) }],
        latency_ms: (0, 5),
        moods: Moods::default(),
        seed: 4,
        log: Some(log.reopen().expect("a log")),
        content: Arc::new(|path: &str| Some(Bytes::from(format!("{path}\n")))),
    }));
    let upstream = upstream.expect("a loopback port");
    let address = upstream.address();
    let place = Place::new(&format!(
        "version: 1\nname: egress\nlake: ./lake\nsources:\n  up: {{ hosts: [\"{address}\"], base_url: \"http://{address}\", limits: {{ per_second: \
         {PER_SECOND} }} }}\ndimensions: {{ what: [page] }}\ndatasets:\n  all:\n    source: up\n    key: \"{{what}}.txt\"\n    for: what\n    \
         collector:\n      via: gateway\n      egress: {egress}\n      command: [sh, scraper.sh, \"http://{address}\", \"{{out}}\"]\n      \
         retry: {{ attempts: 1 }}\n"
    ));
    place.write("scraper.sh", SCRAPER);
    World { _runtime: runtime, upstream, log, place }
}

impl World {
    /// What reached the upstream, in its order.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log.path()).expect("a log");
        text.lines().filter_map(|line| line.rsplit(' ').next()).map(str::to_owned).collect()
    }

    #[track_caller]
    fn is_enclosed(&self, said: &Said) {
        said.ends_with(0);
        let through = (1..=5).map(|page| format!("/through/{page}"));
        let asked: Vec<String> = through.chain(["/base".to_owned()]).collect();
        assert_eq!(self.asked(), asked, "nothing came past the gateway");
        assert_eq!(self.place.read("lake/page.txt"), format!("{}\naround: refused\n", asked.join("\n")));
        let figures = self.upstream.figures();
        assert_eq!((figures.windows_exceeded, figures.fullest), (0, vec![PER_SECOND]));
        assert_eq!(said.json()["sources"]["up"]["requests"].as_u64(), Some(figures.requests), "each was counted");
        let daemon = self.place.read("daemon");
        assert!(fs::read(format!("/proc/{}/stat", daemon.trim())).is_err(), "whoever it left behind is gone");
    }
}

fn tools() -> bool {
    installed("curl").is_some() && installed("python3").is_some()
}

/// What the command needs, and a machine that lets somebody make a network of his own.
fn can_enclose() -> bool {
    let as_who: &[&str] = if nix::unistd::geteuid().is_root() { &["--net"] } else { &["--user", "--net"] };
    tools() && lets("unshare", &[as_who, &["true"]].concat())
}

/// A container may refuse it; that is the machine's word, and no fault of what is tested.
fn lets(program: &str, arguments: &[&str]) -> bool {
    let lets = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !lets {
        eprintln!("SKIPPED: this machine refuses `{program} {}`", arguments.join(" "));
    }
    lets
}

#[test]
fn a_command_that_ignores_the_proxy_reaches_nothing_and_through_the_gateway_it_works() {
    if !can_enclose() {
        return;
    }
    let world = world("gateway");
    world.is_enclosed(&world.place.adce(&["run", "--once", "--format", "json"]));
}

/// The harness can tell.
#[test]
fn without_egress_the_same_command_passes_uncounted() {
    if !tools() {
        return;
    }
    let world = world("open");
    let said = world.place.adce(&["run", "--once", "--format", "json"]);
    said.ends_with(0);
    assert_eq!(world.asked().iter().filter(|path| *path == "/around").count(), 2);
    assert!(world.place.read("lake/page.txt").ends_with("around: passed\n"));
}

/// Root makes a network namespace and nothing else; everybody else a user namespace, too.
#[test]
fn who_is_not_root_is_enclosed_as_well_and_his_files_are_his() {
    // Not 65,534, which is how a user shows whom a namespace does not know.
    const SOMEBODY: u32 = 12_345;
    if !can_enclose() || installed("setpriv").is_none() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: the other tests here are not root's either");
        return;
    }
    if !lets("setpriv", &["--reuid=12345", "--regid=12345", "--clear-groups", "unshare", "--user", "--net", "true"]) {
        return;
    }
    let world = world("gateway");
    // Somewhere where everybody may read it.
    let program = world.place.path("adce");
    fs::copy(env!("CARGO_BIN_EXE_adce"), &program).expect("a copy");
    fs::set_permissions(world.place.folder(), fs::Permissions::from_mode(0o755)).expect("ours");
    let given = Command::new("chown").args(["-R", &format!("{SOMEBODY}:{SOMEBODY}")]).arg(world.place.folder()).status();
    assert!(given.expect("chown").success());
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={SOMEBODY}"), &format!("--regid={SOMEBODY}"), "--clear-groups"]).arg(program);
    command.args(["run", "--once", "--format", "json"]).current_dir(world.place.folder()).env("HOME", world.place.folder());
    world.is_enclosed(&said(command.output().expect("adce runs")));
    assert_eq!(world.place.read("who"), format!("{SOMEBODY}\n"));
    let of = |name: &str| fs::metadata(world.place.path(name)).map(|file| (file.uid(), file.gid())).expect("a file");
    assert_eq!([of("lake/page.txt"), of("daemon")], [(SOMEBODY, SOMEBODY); 2]);
}

#[test]
fn where_namespaces_are_refused_the_command_is_not_started_and_check_says_so() {
    let limited = "echo 0 >/proc/sys/user/max_net_namespaces";
    if !tools() || !lets("unshare", &["--user", "--map-root-user", "sh", "-c", limited]) {
        return;
    }
    let world = world("gateway");
    let refusing = |arguments: &str| {
        let limit = "for kind in net user; do echo 0 >/proc/sys/user/max_${kind}_namespaces; done";
        let script = format!("{limit} && exec \"$0\" {arguments}");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &script, env!("CARGO_BIN_EXE_adce")]);
        said(command.current_dir(world.place.folder()).env("NO_COLOR", "1").output().expect("unshare"))
    };
    let refused = "`egress: gateway` needs a network namespace, which this machine refuses (No space left on device";
    refusing("check").ends_with(0).says("warning").says(refused);
    let said = refusing("run --once --format json");
    said.ends_with(2).says("not started: `sh`").says(refused);
    assert_eq!(world.asked(), Vec::<String>::new(), "it was not started without it");
    assert!(!world.place.has("daemon"));
}

#[test]
fn a_host_of_no_proxy_is_asked_through_the_gateway_by_who_has_no_other_way() {
    if !can_enclose() {
        return;
    }
    let world = world("gateway");
    let beside = world._runtime.block_on(Upstream::start(UpstreamConfig {
        limits: Vec::new(),
        latency_ms: (0, 0),
        moods: Moods::default(),
        seed: 1,
        log: None,
        content: Arc::new(|_: &str| Some(Bytes::from("beside\n"))),
    }));
    let beside = beside.expect("a loopback port");
    let config = world.place.read("adce.yaml");
    world.place.write("adce.yaml", &format!("{config}gateway: {{ strict: true, no_proxy: [localhost] }}\n"));
    world.place.write("scraper.sh", "exec curl -sSf \"http://localhost:$BESIDE/\" -o \"$2\"\n");
    let config = world.place.read("adce.yaml").replace("      retry:", "      env: [PATH, BESIDE]\n      retry:");
    world.place.write("adce.yaml", &config);
    let said = world.place.adce_with(&[("BESIDE", beside.address().port().to_string())], &["run", "--once", "--format", "json"]);
    said.ends_with(0);
    assert_eq!(world.place.read("lake/page.txt"), "beside\n");
    assert_eq!((beside.figures().requests, world.upstream.figures().requests), (1, 0));
}
