//! `server`: where an engine that stays answers, and whom.
//!
//! What is heard by other machines is encrypted, or the config says that something in front of it sees to that: a token that
//! travels in the clear is everybody's (`bad_server`).

use std::net::{IpAddr, SocketAddr};

use super::Loader;
use crate::spec::decode::OneOrMore;
use crate::spec::raw::{RawReads, RawServer, RawTls};
use crate::spec::{Listen, ServerRule, TlsFiles};

impl Loader<'_> {
    pub(super) fn server(&mut self) -> ServerRule {
        let Some(raw) = self.raw.server.as_ref() else { return ServerRule::default() };
        let listen = self.listens_at(raw);
        let tls = raw.tls.as_ref().and_then(|raw| self.tls_files(raw));
        let is_heard_outside = matches!(listen, Listen::At(address) if !address.ip().is_loopback());
        let may_be_plain = raw.unencrypted.as_ref().is_some_and(|given| given.value);
        if let Some(text) = raw.listen.as_ref().filter(|_| is_heard_outside && raw.tls.is_none() && !may_be_plain) {
            let message = format!("`server.listen`: `{}` is heard by other machines, and tokens would travel in the clear", text.text);
            let hint = "add `tls: { certificate: cert.pem, key: key.pem }`; or `unencrypted: true` where something in front of it encrypts";
            self.error_with(&text.at, message, hint);
        }
        ServerRule {
            listen,
            hosts: self.hosts_asked(raw),
            reads_need_a_token: raw.reads.as_ref().map_or(is_heard_outside, |given| given.value == RawReads::Token),
            tls,
        }
    }

    fn listens_at(&mut self, raw: &RawServer) -> Listen {
        let Some(text) = raw.listen.as_ref() else { return ServerRule::default().listen };
        if text.text == "off" {
            return Listen::Off;
        }
        match text.text.parse::<SocketAddr>() {
            Ok(address) => Listen::At(address),
            Err(_) => {
                let message = format!("`server.listen`: `{}` is no address and port", text.text);
                self.error_with(&text.at, message, format!("write for example `listen: {}`, or `listen: off`", ServerRule::USUAL));
                Listen::Off
            }
        }
    }

    fn hosts_asked(&mut self, raw: &RawServer) -> Vec<String> {
        let mut hosts = Vec::new();
        for text in raw.hosts.iter().flat_map(OneOrMore::as_slice) {
            let is_name = !text.text.is_empty() && text.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
            if is_name && text.text.parse::<IpAddr>().is_err() {
                hosts.push(text.text.to_ascii_lowercase());
            } else {
                let message = format!("`server.hosts`: `{}` is no name of a host", text.text);
                self.error_with(
                    &text.at,
                    message,
                    "names alone, without scheme and port: `hosts: [adce.example.org]`; addresses are known",
                );
            }
        }
        hosts
    }

    fn tls_files(&mut self, raw: &RawTls) -> Option<TlsFiles> {
        let (certificate, key) = (raw.certificate.0.as_ref()?, raw.key.0.as_ref()?);
        Some(TlsFiles { certificate: self.folder.join(&certificate.text), key: self.folder.join(&key.text) })
    }
}
