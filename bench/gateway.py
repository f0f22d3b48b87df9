"""`bench/run gateway`: the gateway of a real engine beside nginx (as a reverse proxy), Squid and mitmproxy, before one nginx
that gives 1 KiB; 1 and 32 warm connections, all asked by the same client (crates/gateway/examples/load.rs), in turn.

Wants `nginx`, which is the upstream too, and `squid` and `mitmdump` in PATH (Debian's packages nginx-light and squid, mitmproxy from
PyPI); of these two, who is not there is left out.
"""

import atexit
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ADCE = os.path.join(ROOT, "target", "release", "adce")
LOAD = os.path.join(ROOT, "target", "release", "examples", "load")
PLAIN, TLS, NGINX, SQUID, MITM = range(18501, 18506)
SECONDS = 3

SERVER = """pid {folder}/{name}.pid; error_log {folder}/{name}.err; worker_processes 1; daemon off;
events {{ worker_connections 4096; }}
http {{ access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 600s;
client_body_temp_path {folder}/{name}.1; proxy_temp_path {folder}/{name}.2; fastcgi_temp_path {folder}/{name}.3;
uwsgi_temp_path {folder}/{name}.4; scgi_temp_path {folder}/{name}.5;
{rest} }}
"""
ORIGIN = """server {{ listen 127.0.0.1:{plain} backlog=1024; listen 127.0.0.1:{tls} ssl backlog=1024;
ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; root {folder}/www; }}"""
REVERSE = """upstream u {{ server 127.0.0.1:{plain}; keepalive 64; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ proxy_pass http://u; proxy_http_version 1.1;
proxy_set_header Connection ''; proxy_set_header Host $host; }} }}"""
FORWARD = """http_port 127.0.0.1:{port}
http_access allow all
cache deny all
access_log none
cache_log {folder}/squid.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
cache_store_log none
shutdown_lifetime 1 seconds
"""
# A command that says by which proxy it is to go, and stays until it is told to end.
SCRAPER = 'echo "$HTTP_PROXY" >"$PWD/proxy.part"; mv proxy.part proxy; while [ ! -e enough ]; do sleep 0.2; done; echo done'
CONFIG = """version: 1
name: bench
lake: ./lake
sources:
  plain: {{ hosts: ["127.0.0.1:{plain}"], limits: {limits} }}
  tls: {{ hosts: ["localhost:{tls}"], limits: {limits}, intercept: {intercept} }}
dimensions: {{ one: [x] }}
datasets:
  all:
    key: "{{one}}.txt"
    for: one
    source: plain
    collector: {{ command: [sh, scraper.sh], via: gateway, output: stdout, timeout: 1h, retry: {{ attempts: 1 }} }}
"""
LIMITS = {"with limits": "{ per_second: 1000000, per_hour: 1000000000, in_flight: 2000 }", "without limits": "{}"}


class Peers:
    """Started once, ended at the end of this process."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="adce-bench-gateway-")
        os.chmod(self.folder, 0o755)
        os.mkdir(f"{self.folder}/www")
        with open(f"{self.folder}/www/page", "w", encoding="ascii") as page:
            page.write("x" * 1024)
        self.children = []
        atexit.register(self.end)
        self.certify()
        self.serve("origin", ORIGIN.format(plain=PLAIN, tls=TLS, folder=self.folder))
        self.proxies = {}
        self.serve("reverse", REVERSE.format(plain=PLAIN, port=NGINX))
        if shutil.which("squid"):
            with open(f"{self.folder}/squid.conf", "w", encoding="ascii") as config:
                config.write(FORWARD.format(port=SQUID, folder=self.folder))
            # It gives up root for a user of its own, who has to write here.
            os.chmod(self.folder, 0o777)
            self.start(["squid", "-N", "-f", f"{self.folder}/squid.conf"])
            self.proxies["Squid"] = SQUID
        if shutil.which("mitmdump"):
            self.start(["mitmdump", "-q", "--listen-host", "127.0.0.1", "-p", str(MITM), "--set", "stream_large_bodies=1m",
                        "--set", f"confdir={self.folder}/mitm", "--set", f"ssl_verify_upstream_trusted_ca={self.folder}/authority.pem"])
            self.proxies["mitmproxy"] = MITM
        for port in (PLAIN, TLS, NGINX, *self.proxies.values()):
            wait_for(port)

    def certify(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *key, "-keyout", "authority.key", "-out", "authority.pem", "-days", "30", "-subj", "/CN=bench")
        openssl("req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
        with open(f"{self.folder}/names", "w", encoding="ascii") as names:
            names.write("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", "request.pem", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-days", "30",
                "-extfile", "names", "-out", "cert.pem")

    def serve(self, name, rest):
        with open(f"{self.folder}/{name}.conf", "w", encoding="ascii") as config:
            config.write(SERVER.format(name=name, folder=self.folder, rest=rest))
        self.start(["nginx", "-c", f"{self.folder}/{name}.conf", "-p", self.folder])

    def start(self, command):
        log = open(f"{self.folder}/{command[0]}.out", "ab")  # pylint: disable=consider-using-with
        self.children.append(subprocess.Popen(command, stdout=log, stderr=log))

    def end(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Gateway:
    """That of an engine with one attempt under way."""

    def __init__(self, peers, limits, intercept="true"):
        self.folder = tempfile.mkdtemp(prefix="adce-bench-gateway-")
        os.mkdir(f"{self.folder}/lake")
        for name, text in (("adce.yaml", CONFIG.format(plain=PLAIN, tls=TLS, limits=limits, intercept=intercept)), ("scraper.sh", SCRAPER)):
            with open(f"{self.folder}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        environment = {**os.environ, "SSL_CERT_FILE": f"{peers.folder}/authority.pem"}
        command = [ADCE, "run", "--once", "--format", "json"]
        self.errors = open(f"{self.folder}/errors", "w+", encoding="utf-8")  # pylint: disable=consider-using-with
        self.guardian = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=self.errors)
        atexit.register(self.guardian.terminate)
        patient(lambda: os.path.exists(f"{self.folder}/proxy") or self.guardian.poll() is not None, "the attempt did not start")
        if self.guardian.poll() is not None:
            self.errors.seek(0)
            sys.exit(f"adce ended: {self.errors.read()}")
        with open(f"{self.folder}/proxy", encoding="ascii") as proxy:
            self.proxy = proxy.read().strip()
        self.trust = f"{self.folder}/.adce/authority/adce.pem"
        with open(f"/proc/{self.guardian.pid}/task/{self.guardian.pid}/children", encoding="ascii") as children:
            self.engine = int(children.read().split()[0])

    def megabytes(self):
        with open(f"/proc/{self.engine}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024

    def processor_seconds(self):
        with open(f"/proc/{self.engine}/stat", encoding="ascii") as stat:
            user, system = stat.read().rsplit(") ", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def end(self):
        """What the engine counted."""
        with open(f"{self.folder}/enough", "w", encoding="ascii"):
            pass
        out, _ = self.guardian.communicate()
        shutil.rmtree(self.folder)
        return json.loads(out.splitlines()[-1])


def patient(holds, otherwise):
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(otherwise)
        time.sleep(0.05)


def wait_for(port):
    def answers():
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    patient(answers, f"nobody listens on port {port}")


def load(url, connections, *options):
    asked = subprocess.run([LOAD, url, str(connections), str(SECONDS), *options], capture_output=True, text=True, check=False)
    if asked.returncode:
        sys.exit(f"{url} {options}: {asked.stderr}")
    return json.loads(asked.stdout)


def told(values, unit="", digits=3):
    return f"{statistics.median(values):,.{digits}f}{unit} [{min(values):,.{digits}f}–{max(values):,.{digits}f}]"


def ways(peers, gateways):
    """By name: URL and options, directly before those through a proxy."""
    plain, secure = f"http://127.0.0.1:{PLAIN}/page", f"https://localhost:{TLS}/page"
    plain_ways = {"directly": (plain, ()), "nginx": (f"http://127.0.0.1:{NGINX}/page", ())}
    secure_ways = {"directly": (secure, ("--trust", f"{peers.folder}/authority.pem"))}
    for name, port in peers.proxies.items():
        plain_ways[name] = (plain, ("--proxy", f"http://127.0.0.1:{port}"))
    if "mitmproxy" in peers.proxies:
        trust = f"{peers.folder}/mitm/mitmproxy-ca-cert.pem"
        secure_ways["mitmproxy"] = (secure, ("--proxy", f"http://127.0.0.1:{MITM}", "--trust", trust))
    for name, gateway in gateways.items():
        plain_ways[f"adce {name}"] = (plain, ("--proxy", gateway.proxy))
        secure_ways[f"adce {name}"] = (secure, ("--proxy", gateway.proxy, "--trust", gateway.trust))
    return {"plain": plain_ways, "intercepted": secure_ways}


def bench(runs):
    if not shutil.which("nginx"):
        print("gateway: left out, `nginx` is not in PATH (Debian's nginx-light)")
        return
    peers = Peers()
    gateways = {name: Gateway(peers, limits) for name, limits in LIMITS.items()}
    for kind, by_name in ways(peers, gateways).items():
        for connections in (1, 32):
            figures = {name: [] for name in by_name}
            for _ in range(runs):
                for name, (url, options) in by_name.items():
                    figures[name].append(load(url, connections, *options))
            direct = figures["directly"]
            for name, measured in figures.items():
                added = [one["p50_ms"] - other["p50_ms"] for one, other in zip(measured, direct)]
                rates = [one["per_second"] for one in measured]
                print(f"gateway, {kind}, {connections:2}: {name:20} {told(rates, '/s', 0)}  p50 {told([one['p50_ms'] for one in measured], ' ms')}"
                      f"  p99 {told([one['p99_ms'] for one in measured], ' ms')}  added {told(added, ' ms')}", flush=True)
    for name, gateway in gateways.items():
        seconds = gateway.processor_seconds()
        requests = gateway.end()["requests"]
        print(f"gateway: {name}: {requests:,} requests counted, {seconds / max(requests, 1) * 1e6:.0f} us of processor time each")
    for intercept in ("true", "false"):
        tunnels(peers, intercept)


def tunnels(peers, intercept, count=1000):
    gateway = Gateway(peers, LIMITS["with limits"], intercept)
    before = gateway.megabytes()
    trust = gateway.trust if intercept == "true" else f"{peers.folder}/authority.pem"
    command = [LOAD, f"https://localhost:{TLS}/page", str(count), "hold", "--proxy", gateway.proxy, "--trust", trust]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        if holding.stdout.readline() != b"open\n":
            sys.exit("the tunnels did not open")
        print(f"gateway: {count:,} open tunnels, intercept: {intercept}: {gateway.megabytes():.1f} MB, before {before:.1f} MB", flush=True)
        holding.stdin.close()
    gateway.end()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
