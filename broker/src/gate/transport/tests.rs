//! TLS, its certificates, and layers inside of layers, with a client that we did not write.
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::keys::DataDir;
use crate::rng::SeededRandom;
use keygate_protocol::time::UnixTime;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion,
};
use std::io::{Read, Write};
use tempfile::TempDir;

/// rustls asks the system's clock whether a certificate holds: so these are made now.
fn now() -> UnixTime {
    use crate::clock::{Clock, SystemClock};
    SystemClock::start().wall()
}

struct House {
    parent: TempDir,
    data: DataDir,
}

impl House {
    fn new(seed: u64) -> Self {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        let random = &mut SeededRandom::new(seed);
        let data = DataDir::init(&path, None, now(), random).unwrap();
        Self { parent, data }
    }

    fn certificates(&self, oldest: Oldest) -> Arc<Certificates> {
        let layout = self.data.layout();
        let loaded = Certificates::load(layout.tls_server(), layout.tls_server_key(), oldest);
        Arc::new(loaded.unwrap())
    }

    fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        client_of(&self.data.layout().tls_ca(), version)
    }
}

fn client_of(ca: &Path, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = fs::read(ca).unwrap();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// Both ends of a connection, and what the server has heard.
struct Ends {
    client: ClientConnection,
    server: Transport,
    mqtt: Vec<u8>,
    failure: Option<TransportError>,
    refused: Option<rustls::Error>,
}

impl Ends {
    fn new(certificates: &Arc<Certificates>, client: &Arc<ClientConfig>, name: &str) -> Self {
        let layers = Layers {
            tls: Some(Arc::clone(certificates)),
            websocket: None,
            setup_bytes: 16_384,
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut ends = Self {
            client: ClientConnection::new(Arc::clone(client), name).unwrap(),
            server: Transport::new(&layers, false).unwrap(),
            mqtt: Vec::new(),
            failure: None,
            refused: None,
        };
        ends.settle();
        ends
    }

    /// Carries bytes until nobody has any.
    fn settle(&mut self) {
        loop {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).unwrap();
            }
            let is_quiet = wire.is_empty();
            if !is_quiet && let Received::Failed(error) = self.server.receive(&wire, &mut self.mqtt)
            {
                self.failure = Some(error);
            }
            let mut answer = self.server.wire().to_vec();
            self.server.wrote(answer.len());
            if is_quiet && answer.is_empty() {
                return;
            }
            let mut rest = &answer[..];
            while !rest.is_empty() {
                self.client.read_tls(&mut rest).unwrap();
                if let Err(error) = self.client.process_new_packets() {
                    self.refused = Some(error);
                }
            }
            answer.clear();
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(10_000) {
            self.client.writer().write_all(chunk).unwrap();
            self.settle();
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        for chunk in bytes.chunks(10_000) {
            self.server.send(chunk);
            self.settle();
            let mut buffer = vec![0; chunk.len()];
            self.client.reader().read_exact(&mut buffer).unwrap();
            heard.extend(buffer);
        }
        heard
    }
}

#[test]
fn bytes_go_both_ways_over_either_version_and_an_idle_connection_owns_no_buffer() {
    let house = House::new(1);
    let certificates = house.certificates(Oldest::Tls12);
    for version in [&TLS13, &TLS12] {
        for name in ["localhost", "127.0.0.1", "::1"] {
            let mut ends = Ends::new(&certificates, &house.client(version), name);
            assert!(
                ends.failure.is_none() && ends.refused.is_none(),
                "{:?}",
                ends.refused
            );
            assert!(!ends.server.is_handshaking());
            let long: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
            ends.say(&long);
            assert!(ends.mqtt == long);
            assert!(ends.hear(&long) == long);
            assert_eq!(
                (ends.server.wire(), ends.server.has_more()),
                (&b""[..], false)
            );
            let context = [7; 32];
            let label = keygate_protocol::login::EXPORTER_LABEL.as_bytes();
            let theirs = ends
                .client
                .export_keying_material([0; 32], label, Some(&context));
            assert_eq!(ends.server.export(&context), theirs.ok());
            ends.server.close();
            ends.settle();
            assert!(ends.client.process_new_packets().unwrap().peer_has_closed());
        }
    }
}

#[test]
fn strangers_and_wrong_names_are_refused_by_the_client_and_we_hear_why() {
    let (house, other) = (House::new(1), House::new(2));
    let certificates = house.certificates(Oldest::Tls12);
    for (client, name) in [
        (other.client(&TLS13), "localhost"),
        (house.client(&TLS13), "elsewhere.example"),
    ] {
        let ends = Ends::new(&certificates, &client, name);
        assert!(ends.refused.is_some());
        let heard = ends.failure.expect("an alert").to_string();
        assert!(heard.starts_with("TLS: "), "{heard}");
    }
}

#[test]
fn an_older_version_than_is_spoken_is_refused() {
    let house = House::new(1);
    let certificates = house.certificates(Oldest::Tls13);
    let ends = Ends::new(&certificates, &house.client(&TLS12), "localhost");
    assert!(ends.failure.is_some() && ends.refused.is_some());
    let ends = Ends::new(&certificates, &house.client(&TLS13), "localhost");
    assert!(ends.failure.is_none() && ends.refused.is_none());
}

#[test]
fn a_session_is_resumed_until_the_certificate_changes() {
    let house = House::new(1);
    let certificates = house.certificates(Oldest::Tls12);
    let client = house.client(&TLS13);
    let kind = || {
        let mut ends = Ends::new(&certificates, &client, "localhost");
        ends.say(b"x");
        ends.client.handshake_kind()
    };
    assert_eq!(kind(), Some(HandshakeKind::Full));
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
    assert_eq!(certificates.reload().unwrap(), Reloaded::Unchanged);
    // The same CA makes another certificate.
    let layout = house.data.layout();
    let before = fs::read(layout.tls_server()).unwrap();
    fs::remove_file(layout.tls_server()).unwrap();
    house
        .data
        .server_certificate(now(), &mut SeededRandom::new(3))
        .unwrap();
    assert_ne!(fs::read(layout.tls_server()).unwrap(), before);
    assert_eq!(certificates.reload().unwrap(), Reloaded::Changed);
    assert_eq!(kind(), Some(HandshakeKind::Full));
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn files_that_cannot_be_used_are_named_and_the_last_certificate_stays() {
    let (house, other) = (House::new(1), House::new(2));
    let certificates = house.certificates(Oldest::Tls12);
    let (layout, others) = (house.data.layout(), other.data.layout());
    let (chain, key) = (layout.tls_server(), layout.tls_server_key());
    let (good_chain, good_key) = (fs::read(&chain).unwrap(), fs::read(&key).unwrap());
    let other_key = fs::read(others.tls_server_key()).unwrap();
    for (file, content, fault) in [
        (&chain, &b"nothing"[..], "no certificate"),
        (&chain, &good_key[..], "no certificate"),
        (&key, b"", "no private key"),
        (&key, &other_key[..], "server.key"),
        (&key, &[b'x'; 1_048_577], "larger than"),
    ] {
        fs::write(file, content).unwrap();
        let error = certificates.reload().unwrap_err().to_string();
        assert!(error.contains(fault), "{error}");
        let ends = Ends::new(&certificates, &house.client(&TLS13), "localhost");
        assert!(ends.refused.is_none());
        fs::write(&chain, &good_chain).unwrap();
        fs::write(&key, &good_key).unwrap();
    }
    assert_eq!(certificates.reload().unwrap(), Reloaded::Changed);
    fs::remove_file(&chain).unwrap();
    let error = certificates.reload().unwrap_err().to_string();
    assert!(error.contains("server.pem"), "{error}");
    let exposed = house.parent.path().join("exposed.key");
    fs::write(&exposed, &good_key).unwrap();
    fs::set_permissions(
        &exposed,
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    fs::write(&chain, &good_chain).unwrap();
    let error = Certificates::load(chain, exposed, Oldest::Tls12).unwrap_err();
    assert!(error.to_string().contains("chmod o-r"), "{error}");
}

#[test]
fn websocket_in_tls_behind_a_proxy_comes_out_as_mqtt() {
    let house = House::new(1);
    let layers = Layers {
        tls: Some(house.certificates(Oldest::Tls12)),
        websocket: Some(Arc::default()),
        setup_bytes: 16_384,
    };
    let mut server = Transport::new(&layers, true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(house.client(&TLS13), name).unwrap();
    let header =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x10\xe1\x07\x5b";
    let mut wire = header.to_vec();
    client.write_tls(&mut wire).unwrap();
    let mut mqtt = Vec::new();
    let Received::From(source) = server.receive(&wire, &mut mqtt) else {
        panic!("the header is first");
    };
    assert_eq!(source, "192.0.2.7:4321".parse().unwrap());
    assert!(server.has_more());
    assert!(matches!(server.receive(&[], &mut mqtt), Received::Mqtt));
    let upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // A frame with a mask of zeros.
    let frame = b"\x82\x84\x00\x00\x00\x00MQTT";
    client.writer().write_all(upgrade).unwrap();
    client.writer().write_all(frame).unwrap();
    while client.wants_write() || !server.wire().is_empty() {
        let answer = server.wire().to_vec();
        server.wrote(answer.len());
        let mut rest = &answer[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        assert!(matches!(server.receive(&wire, &mut mqtt), Received::Mqtt));
    }
    assert_eq!(mqtt, b"MQTT");
    let mut answer = [0; 12];
    client.reader().read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}
