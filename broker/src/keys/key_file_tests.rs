//! Keys as openssl and people write them. The key is that of RFC 8032, test 1.
use super::*;
use crate::rng::{SeededRandom, SystemRandom};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const KEY_ID: &str = "866eefbd6718c884";
/// What `openssl genpkey -algorithm ed25519` writes.
const PEM: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("key");
        fs::write(&path, content).unwrap();
        chmod(&path, 0o600);
        path
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn message(result: Result<impl std::fmt::Debug, KeyFileError>, path: &Path) -> String {
    let message = result.unwrap_err().to_string();
    message.replace(path.to_str().unwrap(), "FILE")
}

#[test]
fn pem_and_hex_give_the_same_key() {
    let place = Place::new();
    for content in [
        PEM.to_owned(),
        PEM.replace('\n', "\r\n"),
        SEED.into(),
        format!("{}\n", SEED.to_uppercase()),
    ] {
        let signer = read_key_file(&place.file(&content)).unwrap();
        assert_eq!(
            signer.public_key().key_id().to_string(),
            KEY_ID,
            "{content}"
        );
    }
}

#[test]
fn a_generated_key_is_private_new_and_as_openssl_writes_it() {
    let place = Place::new();
    let path = place.path("new.pem");
    let public_key = generate_key_file(&path, &mut SystemRandom).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(read_key_file(&path).unwrap().public_key(), public_key);
    assert_eq!(&*pem(&hex32(SEED).unwrap()), PEM);

    let another = generate_key_file(&place.path("other.pem"), &mut SystemRandom).unwrap();
    assert_ne!(another, public_key);
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    let place = Place::new();
    let path = place.file(PEM);
    let result = generate_key_file(&path, &mut SeededRandom::new(1));
    assert_eq!(
        message(result, &path),
        "FILE exists already and is not overwritten"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), PEM);
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_remedy() {
    let place = Place::new();
    let path = place.file(PEM);
    for mode in [0o640, 0o604, 0o620, 0o777] {
        chmod(&path, mode);
        assert_eq!(
            message(read_key_file(&path), &path),
            format!("FILE can be read by other users (mode {mode:04o}); close it: chmod 600 FILE")
        );
    }
    for mode in [0o600, 0o400] {
        chmod(&path, mode);
        read_key_file(&path).unwrap();
    }
}

#[test]
fn what_is_no_private_key_is_told() {
    let place = Place::new();
    let pem = |label: &str| format!("-----BEGIN {label}-----\nMC4C\n-----END {label}-----\n");
    let cases = [
        (
            pem("ENCRYPTED PRIVATE KEY"),
            "FILE is protected by a password; take it off: openssl pkey -in FILE -out FILE",
        ),
        (
            pem("PUBLIC KEY"),
            "FILE: this is the public half of a key; the private one is needed",
        ),
        (
            pem("OPENSSH PRIVATE KEY"),
            "FILE: an OpenSSH private key, which is not read; make one with: openssl genpkey -algorithm ed25519",
        ),
        (
            pem("EC PRIVATE KEY"),
            "FILE: not an Ed25519 private key in PKCS#8 PEM",
        ),
        (
            PEM.replace("K2Vw", "K2Vu"),
            "FILE: a private key, but not a whole Ed25519 one; \
             make one with: openssl genpkey -algorithm ed25519",
        ),
        (
            PEM[..60].into(),
            "FILE: a private key, but not a whole Ed25519 one; \
             make one with: openssl genpkey -algorithm ed25519",
        ),
        (
            SEED[1..].into(),
            "FILE: no private key; give PKCS#8 PEM (openssl genpkey -algorithm ed25519) \
             or a seed of 64 hex digits",
        ),
        (
            String::new(),
            "FILE: no private key; give PKCS#8 PEM (openssl genpkey -algorithm ed25519) \
             or a seed of 64 hex digits",
        ),
    ];
    for (content, expected) in cases {
        let path = place.file(&content);
        assert_eq!(message(read_key_file(&path), &path), expected);
    }
    let path = place.file(b"0\x2e\x02\x01\x00\xff");
    assert_eq!(
        message(read_key_file(&path), &path),
        "FILE: neither PEM nor hex; a key in DER becomes PEM by: openssl pkey -inform DER -in FILE"
    );
}

#[test]
fn a_missing_file_and_a_directory_are_the_systems_errors() {
    let place = Place::new();
    for path in [place.path("nowhere"), place.path("a/b")] {
        assert!(matches!(read_key_file(&path), Err(KeyFileError::Io { .. })));
    }
    assert!(matches!(
        read_key_file(place.0.path()),
        Err(KeyFileError::Io { .. })
    ));
    assert!(matches!(
        generate_key_file(&place.path("a/b"), &mut SystemRandom),
        Err(KeyFileError::Io { .. })
    ));
}

#[test]
fn a_signer_never_shows_its_key() {
    let place = Place::new();
    let signer = read_key_file(&place.file(PEM)).unwrap();
    let shown = format!("{signer:?}").to_lowercase();
    assert!(
        !shown.contains("9d61") && !shown.contains("157, 97"),
        "{shown}"
    );
}
