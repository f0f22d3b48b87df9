//! The certificate authority by which the gateway opens https connections of its own children.
//!
//! It is made at the first start that needs one and stays on this machine: its key is readable by its owner alone, and nobody but
//! the commands that adce starts is told to trust it. What it signs is good for one host and a few days.
//!
//! Always true: a key that was ever written lay in a file of mode 0600 (`the_key_is_its_owners_alone`).

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use adce_core::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What is told to trust it needs no other date; a machine's whole life.
const AUTHORITY_YEARS: i16 = 20;
/// A leaf made on one day is good on the next two, wherever the client thinks that it is.
const LEAF_DAYS: i8 = 3;
/// One host and one config each; a scraper that asks more hosts than that has the oldest made again.
const LEAVES_AT_MOST: usize = 1_000;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    leaf_key: KeyPair,
    leaves: Mutex<HashMap<String, Leaf>>,
    place: Place,
}

#[derive(Clone)]
struct Leaf {
    made: Date,
    config: Arc<ServerConfig>,
}

/// Its files.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The authority's certificate alone: for clients that add it to what they trust.
    pub(crate) own: PathBuf,
    /// The machine's authorities and ours: for clients that trust nothing else than what they are given.
    pub(crate) bundle: PathBuf,
    /// What wget reads instead of `~/.wgetrc`.
    pub(crate) wgetrc: PathBuf,
}

impl Authority {
    /// The authority that lies in this folder; a new one if there is none.
    pub fn open(folder: &Path, now: Timestamp) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let place = Place { own: folder.join("adce.pem"), bundle: folder.join("bundle.pem"), wgetrc: folder.join("wgetrc") };
        let (key, key_file) = (KeyPair::generate().map_err(io::Error::other)?, folder.join("adce.key"));
        let known = fs::read_to_string(&key_file).ok().and_then(|text| KeyPair::from_pem(&text).ok());
        let key = match known.filter(|_| place.own.is_file()) {
            Some(known) => known,
            None => {
                // Never beside a key that has not signed it.
                let _ = fs::remove_file(&place.own);
                write_privately(&key_file, &key.serialize_pem())?;
                let made = about_itself(now).and_then(|params| params.self_signed(&key)).map_err(io::Error::other)?;
                write_whole(&place.own, made.pem().as_bytes())?;
                key
            }
        };
        let own = fs::read_to_string(&place.own)?;
        write_whole(&place.bundle, format!("{own}{}", authorities_of_the_machine()).as_bytes())?;
        write_whole(&place.wgetrc, format!("ca_certificate = {}\n", place.bundle.display()).as_bytes())?;
        // Only its name and key go into what it signs; when it was made does not.
        let issuer = Issuer::new(about_itself(now).map_err(io::Error::other)?, key);
        let leaf_key = KeyPair::generate().map_err(io::Error::other)?;
        Ok(Authority { issuer, leaf_key, leaves: Mutex::default(), place })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Its own certificate: what trusts it trusts all that it signs.
    pub fn certificate(&self) -> io::Result<CertificateDer<'static>> {
        CertificateDer::from_pem_file(&self.place.own).map_err(io::Error::other)
    }

    /// How the gateway shows itself as this host.
    pub fn as_host(&self, host: &str, now: Timestamp) -> io::Result<Arc<ServerConfig>> {
        let today = day(now);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(host).filter(|leaf| leaf.made == today) {
            return Ok(leaf.config.clone());
        }
        if leaves.len() >= LEAVES_AT_MOST {
            leaves.clear();
        }
        let config = Arc::new(self.sign(host, today)?);
        leaves.insert(host.to_owned(), Leaf { made: today, config: config.clone() });
        Ok(config)
    }

    fn sign(&self, host: &str, today: Date) -> io::Result<ServerConfig> {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(io::Error::other)?;
        params.distinguished_name = named("a host behind the adce gateway");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        // A client whose clock or zone is off by a day has not to wait.
        (params.not_before, params.not_after) = (midnight(today.saturating_sub(1.day())), midnight(today.saturating_add(LEAF_DAYS.days())));
        let certificate = params.signed_by(&self.leaf_key, &self.issuer).map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let mut config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn about_itself(now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("adce gateway of this machine");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let today = day(now);
    params.not_before = midnight(today.saturating_sub(1.day()));
    params.not_after = midnight(today.saturating_add(AUTHORITY_YEARS.years()));
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn day(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

fn midnight(day: Date) -> time::OffsetDateTime {
    date_time_ymd(i32::from(day.year()), day.month() as u8, day.day() as u8)
}

/// What this process trusts, as PEM. Nothing if the machine has none: then no https works for anybody.
fn authorities_of_the_machine() -> String {
    let found = rustls_native_certs::load_native_certs();
    found.errors.iter().for_each(|why| tracing::warn!(%why, "a certificate of this machine cannot be read"));
    found.certs.iter().map(pem).collect()
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("part");
    fs::write(&partial, bytes)?;
    fs::rename(partial, path)
}

fn write_privately(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("part");
    let _ = fs::remove_file(&partial);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn the_key_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path(), NOW).unwrap();
        assert_eq!(fs::metadata(folder.path().join("adce.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(folder.path().join("bundle.pem")).unwrap().contains("PRIVATE"));
    }

    #[test]
    fn an_authority_stays_the_same_and_is_made_anew_if_half_of_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let own = || fs::read_to_string(Authority::open(folder.path(), NOW).unwrap().place.own).unwrap();
        let first = own();
        assert_eq!(own(), first);
        assert!(fs::read_to_string(folder.path().join("bundle.pem")).unwrap().starts_with(&first));
        fs::remove_file(folder.path().join("adce.key")).unwrap();
        assert_ne!(own(), first);
    }

    #[test]
    fn a_host_is_shown_with_one_certificate_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), NOW).unwrap();
        let first = authority.as_host("x.org", NOW).unwrap();
        assert!(Arc::ptr_eq(&first, &authority.as_host("x.org", NOW).unwrap()));
        assert!(!Arc::ptr_eq(&first, &authority.as_host("y.org", NOW).unwrap()));
        assert!(!Arc::ptr_eq(&first, &authority.as_host("x.org", NOW + 24.hours()).unwrap()));
    }
}
