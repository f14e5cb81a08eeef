//! Private keys in files: PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it, or a seed in hex.
use super::atomic::{self, Existing};
use super::error::KeyFileError;
use crate::identity::hex32;
use crate::rng::Random;
use base64ct::{Base64, Encoding};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use keygate_protocol::crypto::{PublicKey, SoftwareSigner};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zeroize::Zeroizing;

/// What a DER PKCS#8 of an Ed25519 key starts with (RFC 8410 §7, version 1, which every openssl reads); the 32 bytes of
/// the seed follow.
const PKCS8_START: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const PKCS8_LEN: usize = PKCS8_START.len() + 32;
/// Longest file worth looking at: an RSA-16384 key in PEM, so that it can be called one.
const FILE_LEN_MAX: u64 = 16 * 1024;

/// Reads a device's private key: PKCS#8 PEM or 64 hex digits.
///
/// As ssh does, it refuses a file that other users may read. A pipe (`--key <(…)`) has no such others.
///
/// # Errors
/// What the file is instead, or who else can read it.
pub fn read_key_file(path: &Path) -> Result<SoftwareSigner, KeyFileError> {
    let text = read_private(path)?;
    let seed = parse(&text).map_err(|found| match found {
        Found::Encrypted => KeyFileError::Encrypted { path: path.into() },
        Found::Other(found) => KeyFileError::NotAPrivateKey {
            path: path.into(),
            found,
        },
    })?;
    Ok(SoftwareSigner::from_seed(&seed))
}

/// Makes a new private key in a new file (mode 0600, PKCS#8 PEM) and returns the public half.
///
/// # Errors
/// [`KeyFileError::Exists`]: it never overwrites; or the system's.
pub fn generate_key_file(path: &Path, random: &mut dyn Random) -> Result<PublicKey, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    random.fill(&mut *seed);
    atomic::write(path, pem(&seed).as_bytes(), Existing::Keep).map_err(|error| {
        match error.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.into() },
            _ => io_error(path, error),
        }
    })?;
    Ok(SoftwareSigner::from_seed(&seed).public_key())
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let io = |error| io_error(path, error);
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen {
            path: path.into(),
            mode,
        });
    }
    // Room for all of it from the start: a buffer that grows leaves copies of the key behind.
    let room = usize::try_from(FILE_LEN_MAX).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    match file.take(FILE_LEN_MAX + 1).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(KeyFileError::NotAPrivateKey {
                path: path.into(),
                found: "neither PEM nor hex; a key in DER becomes PEM by: openssl pkey -inform DER -in FILE",
            })
        }
        Err(error) => Err(io(error)),
    }
}

enum Found {
    Encrypted,
    Other(&'static str),
}

fn parse(text: &str) -> Result<Zeroizing<[u8; 32]>, Found> {
    let text = text.trim();
    if let Some(seed) = hex32(text) {
        return Ok(Zeroizing::new(seed));
    }
    let Some((label, _)) = text
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| rest.split_once("-----"))
    else {
        return Err(Found::Other(
            "no private key; give PKCS#8 PEM (openssl genpkey -algorithm ed25519) or a seed of 64 hex digits",
        ));
    };
    match label {
        "PRIVATE KEY" => {}
        "ENCRYPTED PRIVATE KEY" => return Err(Found::Encrypted),
        "OPENSSH PRIVATE KEY" => {
            return Err(Found::Other(
                "an OpenSSH private key, which is not read; make one with: openssl genpkey -algorithm ed25519",
            ));
        }
        "PUBLIC KEY" => {
            return Err(Found::Other(
                "this is the public half of a key; the private one is needed",
            ));
        }
        _ => return Err(Found::Other("not an Ed25519 private key in PKCS#8 PEM")),
    }
    match SigningKey::from_pkcs8_pem(text) {
        Ok(key) => Ok(Zeroizing::new(key.to_bytes())),
        Err(_) => Err(Found::Other(
            "a private key, but not a whole Ed25519 one; make one with: openssl genpkey -algorithm ed25519",
        )),
    }
}

fn pem(seed: &[u8; 32]) -> Zeroizing<String> {
    let mut der = Zeroizing::new([0; PKCS8_LEN]);
    der[..PKCS8_START.len()].copy_from_slice(&PKCS8_START);
    der[PKCS8_START.len()..].copy_from_slice(seed);
    // 48 bytes are 64 characters: exactly one line of PEM.
    let body = Zeroizing::new(Base64::encode_string(&*der));
    let mut pem = Zeroizing::new(String::with_capacity(128));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    pem.push_str(&body);
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    pem
}

fn io_error(path: &Path, error: io::Error) -> KeyFileError {
    KeyFileError::Io {
        path: path.into(),
        error,
    }
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
