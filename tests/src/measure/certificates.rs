//! The certificates of a measured server: the same kind for every server.
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Files of a CA and of the one server that it vouches for, on loopback. ECDSA P-256, which every TLS server takes.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them in this directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn make(directory: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &ca)?;
        let made = Self {
            ca: directory.join("ca.pem"),
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        };
        std::fs::write(&made.ca, ca.pem())?;
        std::fs::write(&made.certificate, certificate.pem())?;
        // Keygate refuses a private key that others can read.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&made.key)?
            .write_all(key.serialize_pem().as_bytes())?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use device_sim::tls::Tls;

    use super::*;

    #[test]
    fn the_ca_can_be_trusted_and_each_file_is_what_it_is_called() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = Certificates::make(directory.path()).expect("made");
        let ca = fs::read(&made.ca).expect("written");
        assert!(Tls::new(&ca, "127.0.0.1").is_ok());
        let read = |path| fs::read_to_string(path).expect("written");
        assert!(read(&made.certificate).starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(read(&made.key).starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}
