//! Variables by which common clients come through the gateway and accept what it shows them.
//!
//! Each client reads names of its own. All of a family are set, in both cases, because one value that a parent has left would
//! go before ours. What *replaces* the machine's authorities gets them and ours; what *adds* to them gets ours alone. What each
//! client does is in docs/gateway.md, and tried by `tests/clients.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use adce_core::spec::host_matches;

use crate::Route;
use crate::authority::Place;

/// For http and https, in the cases in which clients read them; curl reads only the small one for http.
const PROXY: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Read in place of the machine's authorities: OpenSSL and most of Python, requests, curl, boto3, git, cargo, pip.
const REPLACING: [&str; 7] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO", "PIP_CERT"];
/// Read in addition to them: Node, Deno.
const ADDING: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];
/// What Node runs before a program, in versions that have no `NODE_USE_ENV_PROXY`.
const NODE_PRELOAD: &str = include_str!("node.cjs");

/// Where clouds hand credentials to their machines; whoever asks there means this machine and no proxy.
const METADATA: [&str; 4] = ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "metadata.google.internal"];

/// How the lake is named to those who are to ask it without the gateway. A host that a source declares is never named, its port
/// only if the client reads that; else requests to the lake come to the gateway and pass.
pub(crate) fn around(lake: &str, routes: &[Route]) -> String {
    let host = lake.rsplit_once(':').map_or(lake, |(host, _)| host);
    let is_declared = routes.iter().flat_map(|route| &route.hosts).any(|declared| {
        let declared = declared.rsplit_once(':').map_or(declared.as_str(), |(host, _)| host);
        host_matches(declared, host)
    });
    if is_declared { lake.to_owned() } else { host.to_owned() }
}

/// Leaves what Node is to run before a program in this folder.
pub(crate) fn write_preload(folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let (partial, whole) = (folder.join("node.part"), folder.join("node.cjs"));
    fs::write(&partial, NODE_PRELOAD)?;
    fs::rename(partial, &whole)?;
    Ok(whole)
}

/// `around`: hosts that are asked without the gateway. `preload`: for Node. `trusted`: if https connections are opened.
pub(crate) fn variables(proxy: &str, around: &[String], preload: Option<&Path>, trusted: Option<&Place>) -> Vec<(&'static str, String)> {
    let around = METADATA.into_iter().chain(around.iter().map(String::as_str)).collect::<Vec<&str>>().join(",");
    let mut variables: Vec<(&'static str, String)> = PROXY.iter().map(|name| (*name, proxy.to_owned())).collect();
    variables.extend(NO_PROXY.iter().map(|name| (*name, around.clone())));
    // Node from 22.21 and 24 on. Older ones ignore it, and every proxy, but for the preload, which leaves newer ones alone.
    variables.push(("NODE_USE_ENV_PROXY", "1".into()));
    variables.extend(preload.map(|preload| ("NODE_OPTIONS", format!("--require {}", quoted_for_node(preload)))));
    if let Some(place) = trusted {
        variables.extend(REPLACING.iter().map(|name| (*name, place.bundle.display().to_string())));
        variables.extend(ADDING.iter().map(|name| (*name, place.own.display().to_string())));
        variables.push(("WGETRC", place.wgetrc.display().to_string()));
    }
    variables
}

/// As one word of `NODE_OPTIONS`.
fn quoted_for_node(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_spaces_and_quotes_is_one_word_for_node() {
        assert_eq!(quoted_for_node(Path::new("/a b/c\"d\\e")), r#""/a b/c\"d\\e""#);
    }

    #[test]
    fn nothing_is_said_of_certificates_if_nothing_is_opened() {
        let variables = variables("http://p", &["lake.example".into()], None, None);
        assert!(variables.iter().all(|(name, _)| !name.contains("CA") && !name.contains("CERT") && *name != "WGETRC"));
        let no_proxy = variables.iter().find(|(name, _)| *name == "no_proxy").unwrap();
        assert_eq!(no_proxy.1, "169.254.169.254,169.254.170.2,fd00:ec2::254,metadata.google.internal,lake.example");
        assert_eq!(variables.iter().filter(|(_, value)| value == "http://p").count(), 6);
    }
}
