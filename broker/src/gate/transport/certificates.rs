//! What TLS listeners present.
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use thiserror::Error;

/// Largest file that is read: a chain of certificates has some kilobytes.
const FILE_BYTES_MAX: u64 = 1_048_576;
/// Tickets a handshake: a device opens one connection at a time.
const TICKETS: usize = 1;
/// Mode bits with which others read a file.
const OTHERS_READ: u32 = 0o004;

/// Why a certificate cannot be presented.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Not a file that holds a certificate or a key.
    #[error("{}: larger than {FILE_BYTES_MAX} bytes: this is no certificate and no key", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A private key that everybody on the machine can read.
    #[error("{}: everybody on this machine can read this private key; run: chmod o-r {}", path.display(), path.display())]
    KeyExposed {
        /// Which.
        path: PathBuf,
    },
    /// A file without what should be in it.
    #[error("{}: no {what} in PEM form in it ({error})", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        error: pem::Error,
    },
    /// Certificate and key are there and cannot be used: most often, they do not belong together.
    #[error("{} with the key {}: {error}", cert.display(), key.display())]
    Unusable {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What TLS says.
        error: rustls::Error,
    },
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Oldest {
    /// 1.2 with the extended master secret (RFC 7627): without it the exporter does not bind.
    Tls12,
    /// 1.3.
    Tls13,
}

/// What reading the files again has brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reloaded {
    /// They are as they were.
    Unchanged,
    /// New connections get the new certificate; no session from before is resumed.
    Changed,
}

/// The certificate that new TLS connections get, and where it is read from.
#[derive(Debug)]
pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    oldest: Oldest,
    current: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// How the files looked when they were read.
    seen: [Seen; 2],
}

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Seen {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Certificates {
    /// Reads a chain (the server's certificate first) and its private key, both in PEM form.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn load(chain: PathBuf, key: PathBuf, oldest: Oldest) -> Result<Self, CertificateError> {
        let loaded = read(&chain, &key, oldest)?;
        Ok(Self {
            chain,
            key,
            oldest,
            current: RwLock::new(loaded),
        })
    }

    /// What a new connection gets.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.config)
    }

    /// Reads the files again if they have changed. Connections that are open go on as they are.
    ///
    /// # Errors
    /// Which file cannot be used, and why; what was read before stays in use.
    pub fn reload(&self) -> Result<Reloaded, CertificateError> {
        let seen = [look(&self.chain)?, look(&self.key)?];
        let before = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if before.seen == seen {
            return Ok(Reloaded::Unchanged);
        }
        drop(before);
        let loaded = read(&self.chain, &self.key, self.oldest)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(Reloaded::Changed)
    }
}

fn read(chain: &Path, key: &Path, oldest: Oldest) -> Result<Loaded, CertificateError> {
    // Looked at first: a change between looking and reading is found the next time.
    let seen = [look(chain)?, look(key)?];
    let pem_error = |path: &Path, what| {
        let path = path.to_owned();
        move |error| CertificateError::Pem { path, what, error }
    };
    let certificates = CertificateDer::pem_slice_iter(&bytes(chain)?)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|all| match all.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(all),
        })
        .map_err(pem_error(chain, "certificate"))?;
    check_private(key)?;
    let private =
        PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(pem_error(key, "private key"))?;
    let config = server_config(certificates, private, oldest).map_err(|error| {
        CertificateError::Unusable {
            cert: chain.to_owned(),
            key: key.to_owned(),
            error,
        }
    })?;
    Ok(Loaded {
        config: Arc::new(config),
        seen,
    })
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    oldest: Oldest,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] = match oldest {
        Oldest::Tls12 => &[&TLS13, &TLS12],
        Oldest::Tls13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.require_ems = true;
    config.send_tls13_tickets = TICKETS;
    // A ticket carries the session: nothing is kept for clients that may never come back. A new configuration has a new
    // ticket key, so what was agreed under an old certificate is not resumed under a new one.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn look(path: &Path) -> Result<Seen, CertificateError> {
    let file = fs::metadata(path).map_err(file_error(path))?;
    if file.len() > FILE_BYTES_MAX {
        return Err(CertificateError::TooLarge { path: path.into() });
    }
    Ok(Seen {
        inode: file.ino(),
        bytes: file.len(),
        changed: (file.mtime(), file.mtime_nsec()),
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(file_error(path))
}

fn check_private(path: &Path) -> Result<(), CertificateError> {
    let mode = fs::metadata(path).map_err(file_error(path))?.mode();
    match mode & OTHERS_READ {
        0 => Ok(()),
        _ => Err(CertificateError::KeyExposed { path: path.into() }),
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> CertificateError {
    let path = path.to_owned();
    move |error| CertificateError::File { path, error }
}
