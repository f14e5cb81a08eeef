//! A CA of the broker's own and the certificate that it gives to the TLS listeners, for development and closed networks:
//! so that TLS works from the first minute. Where the world connects, a certificate of a real CA takes their place.
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::DataDirError;
use super::atomic::{self, Existing};
use super::layout::Layout;
use crate::rng::Random;
use keygate_protocol::time::UnixTime;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd,
};
use x509_parser::pem::parse_x509_pem;

const DAY_S: u64 = 86_400;
/// The CA lasts as long as a deployment: its clients would have to be visited to give them another.
const CA_LIFE_S: u64 = 3_650 * DAY_S;
/// What clients accept of public CAs at most (CA/Browser Forum's 398 days), so that none balks at it.
const SERVER_LIFE_S: u64 = 397 * DAY_S;
/// A server's certificate that expires sooner is made anew.
const RENEW_S: u64 = 30 * DAY_S;
/// Clocks of clients that are a little behind.
const BEFORE_S: u64 = DAY_S;
/// Bytes of a serial number: nobody can guess it (CA/Browser Forum §7.1 asks for 8 random bytes at least).
const SERIAL_BYTES: usize = 16;
/// Longest name in the DNS.
const DNS_NAME_MAX: usize = 253;

/// Makes what is missing, and the server's certificate also when it is about to expire.
pub(super) fn complete(
    layout: &Layout,
    broker_id: &str,
    wall: UnixTime,
    random: &mut dyn Random,
) -> Result<(), DataDirError> {
    if !layout.tls_ca().exists() || !layout.tls_ca_key().exists() {
        make_ca(layout, broker_id, wall, random)?;
    }
    let renew_at = UnixTime(wall.0 + RENEW_S);
    if layout.tls_server_key().exists()
        && let Some(expires) = expiry(&layout.tls_server())?
        && expires > renew_at
    {
        return Ok(());
    }
    make_server(layout, broker_id, wall, random)
}

fn make_ca(
    layout: &Layout,
    broker_id: &str,
    wall: UnixTime,
    random: &mut dyn Random,
) -> Result<(), DataDirError> {
    let at = layout.tls_ca();
    let key = generate(&layout.tls_ca_key())?;
    let name = format!("Keygate development CA of {broker_id}");
    let mut params = params(&at, &name, wall, CA_LIFE_S, random)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(damaged(&at))?;
    // Its key first: a CA without its key would be of no use, and the other way round it is made anew.
    write(&layout.tls_ca_key(), &key.serialize_pem())?;
    write(&at, &certificate.pem())
}

fn make_server(
    layout: &Layout,
    broker_id: &str,
    wall: UnixTime,
    random: &mut dyn Random,
) -> Result<(), DataDirError> {
    let (ca_at, ca_key_at, at) = (layout.tls_ca(), layout.tls_ca_key(), layout.tls_server());
    let ca = read(&ca_at)?;
    let ca_key = KeyPair::from_pem(&read(&ca_key_at)?).map_err(damaged(&ca_key_at))?;
    let issuer = Issuer::from_ca_cert_pem(&ca, ca_key).map_err(damaged(&ca_at))?;
    let key = generate(&layout.tls_server_key())?;
    let mut params = params(&at, broker_id, wall, SERVER_LIFE_S, random)?;
    params.subject_alt_names = names(broker_id);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).map_err(damaged(&at))?;
    // A crash in between leaves a pair that does not fit; the certificate is missing then, and both are made anew.
    match fs::remove_file(&at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&at)(error)),
        _ => {}
    }
    write(&layout.tls_server_key(), &key.serialize_pem())?;
    write(&at, &[certificate.pem(), ca].concat())
}

/// What both kinds have in common.
fn params(
    at: &Path,
    name: &str,
    wall: UnixTime,
    life_s: u64,
    random: &mut dyn Random,
) -> Result<CertificateParams, DataDirError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(damaged(at))?;
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(wall.0.saturating_sub(BEFORE_S));
    params.not_after = epoch + Duration::from_secs(wall.0 + life_s);
    let mut serial: [u8; SERIAL_BYTES] = random.array();
    // A serial number is positive and has no leading zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// By what names clients reach this machine, as far as it knows.
fn names(broker_id: &str) -> Vec<SanType> {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy().into_owned();
    let mut texts = vec!["localhost", broker_id, &host];
    texts.retain(|text| is_dns_name(text));
    texts.dedup();
    let of_dns = texts
        .into_iter()
        .filter_map(|text| Ia5String::try_from(text).ok())
        .map(SanType::DnsName);
    let of_loopback = [
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
    ];
    of_dns.chain(of_loopback).collect()
}

fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.len() < 64 && label.chars().all(inner)
    };
    text.len() <= DNS_NAME_MAX && text.split('.').all(is_label)
}

/// When the first certificate of a file expires; none if there is no file.
fn expiry(path: &Path) -> Result<Option<UnixTime>, DataDirError> {
    if !path.exists() {
        return Ok(None);
    }
    let text = read(path)?;
    let (_, pem) = parse_x509_pem(text.as_bytes()).map_err(damaged(path))?;
    let certificate = pem.parse_x509().map_err(damaged(path))?;
    let at = certificate.validity().not_after.timestamp();
    Ok(Some(UnixTime(u64::try_from(at).unwrap_or(0))))
}

fn generate(at: &Path) -> Result<KeyPair, DataDirError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(damaged(at))
}

fn read(path: &Path) -> Result<String, DataDirError> {
    fs::read_to_string(path).map_err(io_error(path))
}

fn write(path: &Path, pem: &str) -> Result<(), DataDirError> {
    atomic::write(path, pem.as_bytes(), Existing::Replace).map_err(io_error(path))
}

fn damaged<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> DataDirError {
    let path = path.to_owned();
    move |error| DataDirError::Damaged {
        what: format!(
            "{error}; or remove it together with the others beside it, and new ones are made"
        ),
        path,
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |error| DataDirError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::DataDir;
    use crate::rng::SeededRandom;
    use tempfile::TempDir;

    const START: UnixTime = UnixTime(1_800_000_000);

    fn data() -> (TempDir, DataDir) {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        let data = DataDir::init(&path, None, START, &mut SeededRandom::new(1)).unwrap();
        (parent, data)
    }

    fn later(data: &DataDir, days: u64) -> Result<(), DataDirError> {
        let wall = UnixTime(START.0 + days * DAY_S);
        data.server_certificate(wall, &mut SeededRandom::new(2))
    }

    #[test]
    fn the_certificate_names_this_machine_and_lasts_a_year() {
        let (_parent, data) = data();
        let text = read(&data.layout().tls_server()).unwrap();
        let (rest, pem) = parse_x509_pem(text.as_bytes()).unwrap();
        let server = pem.parse_x509().unwrap();
        let (_, pem) = parse_x509_pem(rest).unwrap();
        let ca = pem.parse_x509().unwrap();
        assert_eq!(server.issuer(), ca.subject());
        assert!(ca.is_ca() && !server.is_ca());
        let names = server.subject_alternative_name().unwrap().unwrap();
        let names = format!("{:?}", names.value.general_names);
        for name in ["localhost", data.broker_id().as_str(), "[127, 0, 0, 1]"] {
            assert!(names.contains(name), "{name} is not in {names}");
        }
        let holds = server.validity();
        let seconds = holds.not_after.timestamp() - holds.not_before.timestamp();
        assert_eq!(seconds, i64::try_from(SERVER_LIFE_S + BEFORE_S).unwrap());
    }

    #[test]
    fn it_is_made_anew_by_the_same_ca_when_it_is_about_to_expire() {
        let (_parent, data) = data();
        let layout = data.layout();
        let state = || {
            [layout.tls_ca(), layout.tls_ca_key(), layout.tls_server()].map(|f| read(&f).unwrap())
        };
        let before = state();
        later(&data, 366).unwrap();
        assert_eq!(state(), before);
        later(&data, 368).unwrap();
        let [ca, ca_key, server] = state();
        assert_eq!([&ca, &ca_key], [&before[0], &before[1]]);
        assert_ne!(server, before[2]);
        let expires = expiry(&layout.tls_server()).unwrap().unwrap();
        assert_eq!(expires.0, START.0 + 368 * DAY_S + SERVER_LIFE_S);
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_damaged_is_named() {
        let (_parent, data) = data();
        let layout = data.layout();
        for file in [
            layout.tls_server(),
            layout.tls_server_key(),
            layout.tls_ca_key(),
        ] {
            fs::remove_file(&file).unwrap();
            later(&data, 0).unwrap();
            assert!(file.exists());
        }
        fs::write(layout.tls_server(), "x").unwrap();
        let error = later(&data, 0).unwrap_err().to_string();
        assert!(error.contains("server.pem is damaged"), "{error}");
    }

    #[test]
    fn names_that_the_dns_does_not_know_are_left_out() {
        for (name, is_one) in [
            ("broker", true),
            ("kg-12ab34", true),
            ("a.example", true),
            ("a_b", false),
            ("a:b", false),
            ("", false),
            ("a..b", false),
        ] {
            assert_eq!(is_dns_name(name), is_one, "{name}");
        }
    }
}
