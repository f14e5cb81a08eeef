//! What lies below a connection: TCP, or TLS on it.
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use keygate_protocol::login::{BROKER_NONCE_LEN, EXPORTER_LABEL, ExporterValue};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

/// Bytes both ways.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// A client of TLS that trusts this CA and speaks this version only.
///
/// # Panics
/// When the file holds no certificates.
#[must_use]
#[track_caller]
pub fn tls_config(ca: &Path, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let pem = fs::read(ca).expect("the certificate of the CA");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.expect("a certificate");
        roots.add(certificate).expect("a CA");
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version that is there")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Stream {
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self { tcp, tls: None }
    }

    /// Sets TLS up to the end of its handshake.
    pub(crate) fn secured(mut tcp: TcpStream, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        let tls = Some(Box::new(tls));
        Ok(Self { tcp, tls })
    }

    pub(crate) fn export(&self, context: &[u8; BROKER_NONCE_LEN]) -> Option<ExporterValue> {
        let label = EXPORTER_LABEL.as_bytes();
        let tls = self.tls.as_ref()?;
        tls.export_keying_material([0; 32], label, Some(context))
            .ok()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.read(buffer),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.tcp).read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.write(bytes),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.tcp).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => self.tcp.flush(),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.tcp).flush(),
        }
    }
}
