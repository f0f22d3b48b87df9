//! Which addresses the gateway opens connections to.
//!
//! A scraper follows links and redirects that others have written. Were the gateway to follow them anywhere, whoever writes
//! one could have it ask the machine's own services, or the address at which a cloud hands out credentials. So hosts that no
//! source declares are asked only at addresses of the public internet. The name is resolved here, once, and the address that was
//! judged is the one that is dialled.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Host;

use crate::origin::Origin;

/// How far a connection may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Somebody wrote the host into the config.
    Declared,
    /// Nobody did.
    Public,
}

/// Where the origin is, as far as one may go there. Never empty.
pub(crate) async fn addresses(origin: &Origin, reach: Reach) -> io::Result<Vec<SocketAddr>> {
    let all: Vec<SocketAddr> = match &origin.host {
        Host::Domain(name) => tokio::net::lookup_host((name.as_str(), origin.port)).await?.collect(),
        Host::Ipv4(address) => vec![(*address, origin.port).into()],
        Host::Ipv6(address) => vec![(*address, origin.port).into()],
    };
    let within = |address: &SocketAddr| reach == Reach::Declared || is_public(address.ip());
    let allowed: Vec<SocketAddr> = all.iter().copied().filter(within).collect();
    match (allowed.is_empty(), all.is_empty()) {
        (false, _) => Ok(allowed),
        (true, true) => Err(io::Error::new(io::ErrorKind::NotFound, format!("`{}` has no address", origin.host))),
        (true, false) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "`{}` is at a private address and belongs to no source: declare it under `sources`, or list it in \
                 `gateway: {{ no_proxy: […] }}`",
                origin.host
            ),
        )),
    }
}

/// Refuses what is known here to lead inside, of a name that somebody else resolves.
pub(crate) async fn judge(origin: &Origin, reach: Reach) -> io::Result<()> {
    match addresses(origin, reach).await {
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => Err(why),
        // Behind a proxy names of the internet often have no address here.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether the host as it is written is this machine, or of its networks.
pub(crate) fn is_inside(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => !is_public((*address).into()),
        Host::Ipv6(address) => !is_public((*address).into()),
    }
}

/// Neither this machine nor its networks.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped().or_else(|| embedded(address)) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

/// Of the ranges that IANA lists as not globally reachable, those that anybody uses.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 240
        || shared
        || protocols
        || benchmarks
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    // Global unicast is 2000::/3; 2001:db8::/32 is for documentation.
    first & 0xe000 == 0x2000 && address.segments()[..2] != [0x2001, 0x0db8]
}

/// An IPv4 address that a translator makes of it (64:ff9b::/96, 2002::/16).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b, c, d, e, f) {
        (0x0064, 0xff9b, 0, 0, 0, 0) => Some(of(g, h)),
        (0x2002, high, low, ..) => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_of_this_machine_or_its_networks_is_public() {
        let inside = [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "::127.0.0.1",
        ];
        for text in inside {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:2800:220:1::1", "::ffff:1.1.1.1", "64:ff9b::101:101"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
