//! Which runtime a command probably is, and what it takes that its requests pass the gateway.
//!
//! It is told by how the client called itself to the upstream; a client that nobody heard of is told by the words of the command.
//! The table is the one of docs/gateway.md (`every_runtime_of_the_table_is_in_the_docs`).

use std::collections::BTreeSet;

/// Why requests of a command are not paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// They come past the gateway, or not at all.
    NoProxy,
    /// They come as far as the TLS handshake.
    NoTrust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    pub name: &'static str,
    /// How it calls itself in `User-Agent`, in small letters; `""`: not at all.
    agents: &'static [&'static str],
    /// The program's name begins so.
    programs: &'static [&'static str],
    no_proxy: &'static str,
    no_trust: &'static str,
}

impl Runtime {
    pub fn advice(&self, trouble: Trouble) -> &'static str {
        match trouble {
            Trouble::NoProxy => self.no_proxy,
            Trouble::NoTrust => self.no_trust,
        }
    }
}

/// In the order in which they are looked for: whoever is built on another one stands before it.
pub const RUNTIMES: [Runtime; 14] = [
    Runtime {
        name: "Python requests",
        agents: &["python-requests"],
        programs: &[],
        no_proxy: "it reads HTTP_PROXY and HTTPS_PROXY unless the session has `trust_env = False` or `proxies` of its own: take that out",
        no_trust: "it reads REQUESTS_CA_BUNDLE unless `verify=` names a file or the session has `trust_env = False`: take that out",
    },
    Runtime {
        name: "Python httpx",
        agents: &["python-httpx"],
        programs: &[],
        no_proxy: "it reads HTTP_PROXY and HTTPS_PROXY unless the client has `trust_env=False` or a `transport` of its own: take that out",
        no_trust: "it reads SSL_CERT_FILE unless `verify=` names something else: take that out, or `verify=os.environ['SSL_CERT_FILE']`",
    },
    Runtime {
        name: "Python aiohttp",
        agents: &["aiohttp"],
        programs: &[],
        no_proxy: "it ignores HTTP_PROXY and HTTPS_PROXY: `aiohttp.ClientSession(trust_env=True)`, or ask $ADCE_GATEWAY/SOURCE/… instead of the host",
        no_trust: "it trusts SSL_CERT_FILE unless a connector has an `ssl` context of its own: `ssl.create_default_context()` is the right one",
    },
    Runtime {
        name: "Python urllib",
        agents: &["python-urllib"],
        programs: &[],
        no_proxy: "it reads http_proxy and https_proxy unless an opener has `ProxyHandler({})`: take that out",
        no_trust: "it trusts SSL_CERT_FILE unless it is given a `context` or `cafile`: take that out",
    },
    Runtime {
        name: "Node",
        agents: &["node", "undici", "axios", "got", "node-fetch"],
        programs: &["node", "npx", "npm", "tsx", "ts-node"],
        no_proxy: "before 22.21 and 24 it ignores HTTP_PROXY and NODE_USE_ENV_PROXY: take a newer Node, or ask $ADCE_GATEWAY/SOURCE/… \
                   instead of the host, or `setGlobalDispatcher(new EnvHttpProxyAgent())` of the package undici",
        no_trust: "it reads NODE_EXTRA_CA_CERTS unless a request has `ca` of its own: take that out",
    },
    Runtime {
        name: "Go",
        agents: &["go-http-client"],
        programs: &["go"],
        no_proxy: "it reads HTTP_PROXY and HTTPS_PROXY for every host but this machine's own, as the address of this test is: run it without \
                   {url}, against the hosts that it asks anyway. If they are not seen either, its `Transport` lacks \
                   `Proxy: http.ProxyFromEnvironment`; or ask $ADCE_GATEWAY/SOURCE/… instead of the host",
        no_trust: "it trusts SSL_CERT_FILE (on Linux) unless its `tls.Config` has `RootCAs` of its own: take that out",
    },
    Runtime {
        name: "Java",
        agents: &["java", "java-http-client", "apache-httpclient", "okhttp"],
        programs: &["java", "mvn", "gradle", "scala", "kotlin", "clojure"],
        no_proxy: "it ignores HTTP_PROXY and HTTPS_PROXY: ask $ADCE_GATEWAY/SOURCE/… instead of the host",
        no_trust: "it has a key store of its own and ignores SSL_CERT_FILE: ask $ADCE_GATEWAY/SOURCE/… instead of the host, or import \
                   .adce/authority/adce.pem into a key store and name it by -Djavax.net.ssl.trustStore",
    },
    Runtime {
        name: "curl",
        agents: &["curl"],
        programs: &["curl"],
        no_proxy: "it reads http_proxy (in small letters) and HTTPS_PROXY unless `--noproxy`, `--proxy ''` or ~/.curlrc say otherwise: take that out",
        no_trust: "it reads CURL_CA_BUNDLE unless `--cacert`, `--capath` or ~/.curlrc say otherwise: take that out, or `--cacert \"$CURL_CA_BUNDLE\"`",
    },
    Runtime {
        name: "wget",
        agents: &["wget"],
        programs: &["wget"],
        no_proxy: "it reads http_proxy and https_proxy unless `--no-proxy` or `use_proxy = off` say otherwise: take that out",
        no_trust: "it reads WGETRC unless `--config` or `--ca-certificate` say otherwise: take that out, or `--ca-certificate=\"$SSL_CERT_FILE\"`",
    },
    Runtime {
        name: "git",
        agents: &["git"],
        programs: &["git"],
        no_proxy: "it reads http_proxy and https_proxy unless `http.proxy` is configured: `git config --unset http.proxy`, or `-c http.proxy=`",
        no_trust: "it reads GIT_SSL_CAINFO unless `http.sslCAInfo` is given on its command line: take that out",
    },
    Runtime {
        name: "Ruby",
        agents: &["ruby"],
        programs: &["ruby", "bundle", "rake"],
        no_proxy: "Net::HTTP reads http_proxy and https_proxy unless it is given an address of `nil`: take that out",
        no_trust: "it trusts SSL_CERT_FILE unless `ca_file` is set: take that out",
    },
    Runtime {
        name: "Perl",
        agents: &["libwww-perl", "lwp", "http-tiny"],
        programs: &["perl"],
        no_proxy: "LWP reads http_proxy and https_proxy after `$ua->env_proxy` only: call it, or `env_proxy => 1`",
        no_trust: "LWP reads PERL_LWP_SSL_CA_FILE, or `ssl_opts => { SSL_ca_file => $ENV{SSL_CERT_FILE} }`",
    },
    Runtime {
        name: "Python http.client",
        agents: &[],
        programs: &["python", "pypy", "pytest", "uv", "poetry", "scrapy"],
        no_proxy: "http.client knows no proxy, and aiohttp none without `trust_env=True`: ask $ADCE_GATEWAY/SOURCE/… instead of the host, or \
                   use urllib.request",
        no_trust: "it trusts SSL_CERT_FILE and REQUESTS_CA_BUNDLE unless the program names certificates of its own: take that out",
    },
    UNKNOWN,
];

const UNKNOWN: Runtime = Runtime {
    name: "any other program",
    agents: &[],
    programs: &[],
    no_proxy: "it probably ignores HTTP_PROXY and HTTPS_PROXY: look for its proxy setting, or let it ask $ADCE_GATEWAY/SOURCE/… instead of the host",
    no_trust: "it probably ignores SSL_CERT_FILE: look for its setting of certificates and give it that file, or let it ask $ADCE_GATEWAY/SOURCE/… \
               instead of the host",
};

/// `clients`: how those who asked call themselves. `argv`: the command.
pub fn runtime(clients: &BTreeSet<String>, argv: &[String]) -> &'static Runtime {
    let agents = clients.iter().map(|client| client.to_lowercase());
    let calls_itself = |runtime: &&Runtime| {
        // `Python/3.11 aiohttp/3.9` names itself last.
        agents.clone().any(|client| client.split([' ', '/', ';']).any(|word| runtime.agents.contains(&word)))
    };
    let is_called = |runtime: &&Runtime| words(argv).any(|word| runtime.programs.iter().any(|program| names(&word, program)));
    let found = RUNTIMES.iter().find(calls_itself).or_else(|| RUNTIMES.iter().find(is_called));
    found.unwrap_or(&RUNTIMES[RUNTIMES.len() - 1])
}

/// Of the command, and of what it hands to a shell, without folders.
fn words(argv: &[String]) -> impl Iterator<Item = String> {
    let words = argv.iter().flat_map(|argument| argument.split([' ', ';', '|', '&', '(', '\n']));
    words.map(|word| word.rsplit('/').next().unwrap_or(word).to_lowercase())
}

/// `python3.11` is a `python`, `curly` is no `curl`.
fn names(word: &str, program: &str) -> bool {
    word.strip_prefix(program).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(client: Option<&str>, argv: &[&str]) -> &'static str {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        runtime(&client.map(String::from).into_iter().collect(), &argv).name
    }

    #[test]
    fn a_runtime_is_told_by_what_it_calls_itself_and_else_by_its_name() {
        assert_eq!(told(Some("curl/7.88.1"), &["./fetch"]), "curl");
        assert_eq!(told(Some("Wget/1.21.3"), &["./fetch"]), "wget");
        assert_eq!(told(Some("python-requests/2.31.0"), &["python3", "x.py"]), "Python requests");
        assert_eq!(told(Some("Python/3.11 aiohttp/3.9.1"), &["python3", "x.py"]), "Python aiohttp");
        assert_eq!(told(Some("Python-urllib/3.11"), &["python3", "x.py"]), "Python urllib");
        assert_eq!(told(Some("Go-http-client/1.1"), &["./scraper"]), "Go");
        assert_eq!(told(Some("Java/17.0.9"), &["./scraper"]), "Java");
        assert_eq!(told(Some("Java-http-client/17.0.9"), &["./scraper"]), "Java");
        assert_eq!(told(Some("node"), &["./scraper"]), "Node");
        assert_eq!(told(Some(""), &["/usr/bin/python3.11", "x.py"]), "Python http.client");
        assert_eq!(told(None, &["sh", "-c", "cd x; exec node scraper.js {url}"]), "Node");
        assert_eq!(told(None, &["./curly"]), "any other program");
    }

    #[test]
    fn every_runtime_of_the_table_is_in_the_docs() {
        let docs = include_str!("../../../../../docs/gateway.md");
        for runtime in RUNTIMES {
            assert!(docs.contains(&format!("| {} |", runtime.name)), "{} is missing in docs/gateway.md", runtime.name);
        }
    }
}
