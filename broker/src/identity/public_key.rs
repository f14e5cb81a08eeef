//! Public keys as people have them.
//!
//! Strict: one key, in one of four forms, and nothing beside it. When the text is something else that people paste
//! (their private key, an RSA key, a certificate), the error says what was found.
use base64ct::{Base64, Base64Unpadded, Base64UrlUnpadded, Encoding};
use keygate_protocol::crypto::{KeyError, PublicKey};
use serde_json::Value;
use std::fmt;

/// What a DER SubjectPublicKeyInfo of an Ed25519 key starts with (RFC 8410 §4); the 32 bytes of the key follow.
const SPKI_START: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// Longest text worth looking at: an RSA-16384 key in PEM, so that it can be called one.
const TEXT_LEN_MAX: usize = 8 * 1024;

/// Takes a public key as 64 hex digits, PEM (`openssl pkey -pubout`), an OpenSSH line (`ssh-keygen -t ed25519`) or a
/// JWK (`{"kty":"OKP","crv":"Ed25519",…}`).
///
/// ```
/// use keygate_broker::identity::{PublicKeyError, parse_public_key};
///
/// let hex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
/// let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// assert_eq!(parse_public_key(hex)?, parse_public_key(jwk)?);
///
/// let rsa = parse_public_key("ssh-rsa AAAAB3NzaC1yc2E= me@laptop");
/// assert_eq!(rsa.unwrap_err().to_string(), "this is an RSA key; Keygate takes Ed25519 keys");
/// # Ok::<(), PublicKeyError>(())
/// ```
///
/// # Errors
/// What was found instead of a key.
pub fn parse_public_key(text: &str) -> Result<PublicKey, PublicKeyError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(PublicKeyError::Empty);
    }
    if text.len() > TEXT_LEN_MAX {
        return Err(PublicKeyError::Unrecognised);
    }
    if text.starts_with("-----BEGIN ") {
        return pem(text);
    }
    if text.starts_with('{') {
        return jwk(text);
    }
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return hex(text);
    }
    open_ssh(text)
}

/// How a key was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyForm {
    /// 64 hex digits.
    Hex,
    /// A JSON Web Key (RFC 8037).
    Jwk,
    /// `ssh-ed25519 AAAA… comment`.
    OpenSsh,
    /// `-----BEGIN PUBLIC KEY-----`.
    Pem,
}

impl fmt::Display for KeyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hex => "hex",
            Self::Jwk => "JWK",
            Self::OpenSsh => "OpenSSH",
            Self::Pem => "PEM",
        })
    }
}

/// What was found instead of one Ed25519 public key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// A certificate.
    #[error("this is a certificate; take the key out of it: openssl x509 -pubkey -noout -in FILE")]
    Certificate,
    /// Nothing.
    #[error("no public key given")]
    Empty,
    /// Hex, but not 64 digits.
    #[error("a key in hex has 64 digits, these are {digits}")]
    HexLength {
        /// How many there are.
        digits: usize,
    },
    /// A known form that does not hold.
    #[error("damaged {form} key: {what}")]
    Malformed {
        /// The form.
        form: KeyForm,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Not a key that a device may have.
    #[error("{0}")]
    NotUsable(KeyError),
    /// A key of another algorithm.
    #[error("this is {found}; Keygate takes Ed25519 keys")]
    OtherAlgorithm {
        /// What it is, with its article.
        found: &'static str,
    },
    /// The secret half.
    #[error(
        "this is a private key ({form}); never hand it out, give the public half: \
         openssl pkey -in FILE -pubout, or ssh-keygen -y -f FILE"
    )]
    PrivateKey {
        /// Its form.
        form: KeyForm,
    },
    /// More than one key.
    #[error("more than one key given")]
    Several,
    /// None of the forms.
    #[error("not a public key: give 64 hex digits, PEM, an OpenSSH line or a JWK")]
    Unrecognised,
}

fn usable(bytes: &[u8; 32]) -> Result<PublicKey, PublicKeyError> {
    PublicKey::from_bytes(bytes).map_err(PublicKeyError::NotUsable)
}

fn hex(text: &str) -> Result<PublicKey, PublicKeyError> {
    let bytes = hex32(text).ok_or(PublicKeyError::HexLength { digits: text.len() })?;
    usable(&bytes)
}

/// 32 bytes from 64 hex digits of either case.
pub(crate) fn hex32(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|v| u8::try_from(v).ok())
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

fn pem(text: &str) -> Result<PublicKey, PublicKeyError> {
    let malformed = |what| PublicKeyError::Malformed {
        form: KeyForm::Pem,
        what,
    };
    let (label, rest) = text
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| rest.split_once("-----"))
        .ok_or(malformed("the first line does not end in five dashes"))?;
    match label {
        "PUBLIC KEY" => {}
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            return Err(PublicKeyError::Certificate);
        }
        "RSA PUBLIC KEY" => return Err(other("an RSA key")),
        label if label.ends_with("PRIVATE KEY") => {
            return Err(PublicKeyError::PrivateKey { form: KeyForm::Pem });
        }
        _ => return Err(malformed("the first line does not say PUBLIC KEY")),
    }
    let (body, after) = rest
        .split_once("-----END PUBLIC KEY-----")
        .ok_or(malformed("the line -----END PUBLIC KEY----- is missing"))?;
    if !after.is_empty() {
        return Err(PublicKeyError::Several);
    }
    let body: String = body.split_ascii_whitespace().collect();
    let der = Base64::decode_vec(&body).map_err(|_| malformed("it is not base64"))?;
    spki(&der)
}

fn spki(der: &[u8]) -> Result<PublicKey, PublicKeyError> {
    if let Some(key) = der.strip_prefix(&SPKI_START) {
        let bytes = key.try_into().map_err(|_| PublicKeyError::Malformed {
            form: KeyForm::Pem,
            what: "the key does not have 32 bytes",
        })?;
        return usable(bytes);
    }
    // The object identifiers of what else stands in a SubjectPublicKeyInfo, near its start.
    let known: [(&[u8], &str); 9] = [
        (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01", "an RSA key"),
        (b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", "a P-256 key"),
        (b"\x06\x05\x2b\x81\x04\x00\x22", "a P-384 key"),
        (b"\x06\x05\x2b\x81\x04\x00\x23", "a P-521 key"),
        (
            b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
            "an elliptic-curve key (ECDSA)",
        ),
        (
            b"\x06\x03\x2b\x65\x6e",
            "an X25519 key (for key exchange, it cannot sign)",
        ),
        (
            b"\x06\x03\x2b\x65\x6f",
            "an X448 key (for key exchange, it cannot sign)",
        ),
        (b"\x06\x03\x2b\x65\x71", "an Ed448 key"),
        (b"\x06\x07\x2a\x86\x48\xce\x38\x04\x01", "a DSA key"),
    ];
    let start = &der[..der.len().min(40)];
    for (oid, found) in known {
        if start.windows(oid.len()).any(|window| window == oid) {
            return Err(other(found));
        }
    }
    Err(PublicKeyError::Malformed {
        form: KeyForm::Pem,
        what: "it is not the SubjectPublicKeyInfo of an Ed25519 key",
    })
}

fn open_ssh(text: &str) -> Result<PublicKey, PublicKeyError> {
    let malformed = |what| PublicKeyError::Malformed {
        form: KeyForm::OpenSsh,
        what,
    };
    let mut fields = text.lines().next().unwrap_or("").split_ascii_whitespace();
    match fields.next().unwrap_or("") {
        "ssh-ed25519" => {}
        "ssh-rsa" => return Err(other("an RSA key")),
        "ssh-dss" => return Err(other("a DSA key")),
        kind if kind.starts_with("ecdsa-sha2-") => {
            return Err(other("an elliptic-curve key (ECDSA)"));
        }
        kind if kind.starts_with("sk-") => {
            return Err(other(
                "a key of a FIDO token, which signs nothing but SSH logins",
            ));
        }
        kind if kind.starts_with("ssh-ed25519-cert") => return Err(PublicKeyError::Certificate),
        _ => return Err(PublicKeyError::Unrecognised),
    }
    if text.lines().nth(1).is_some() {
        return Err(PublicKeyError::Several);
    }
    let encoded = fields.next().ok_or(malformed("the key is missing"))?;
    // 51 bytes: no padding, so both variants of the alphabet's rules agree.
    let blob = Base64Unpadded::decode_vec(encoded).map_err(|_| malformed("it is not base64"))?;
    let key = blob
        .strip_prefix(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20")
        .and_then(|key| key.try_into().ok())
        .ok_or(malformed("it does not hold one Ed25519 key"))?;
    usable(key)
}

fn jwk(text: &str) -> Result<PublicKey, PublicKeyError> {
    let malformed = |what| PublicKeyError::Malformed {
        form: KeyForm::Jwk,
        what,
    };
    let Ok(Value::Object(jwk)) = serde_json::from_str(text) else {
        return Err(malformed("it is not one JSON object"));
    };
    if jwk.contains_key("d") || jwk.contains_key("k") {
        return Err(PublicKeyError::PrivateKey { form: KeyForm::Jwk });
    }
    if jwk.contains_key("keys") {
        return Err(malformed("it is a set of keys; give one key of it"));
    }
    let member = |name: &str| jwk.get(name).map(|value| value.as_str().unwrap_or(""));
    match (member("kty"), member("crv")) {
        (Some("OKP"), Some("Ed25519")) => {}
        (Some("OKP"), Some("X25519")) => {
            return Err(other("an X25519 key (for key exchange, it cannot sign)"));
        }
        (Some("OKP"), Some("Ed448")) => return Err(other("an Ed448 key")),
        (Some("EC"), _) => return Err(other("an elliptic-curve key (ECDSA)")),
        (Some("RSA"), _) => return Err(other("an RSA key")),
        _ => return Err(malformed("kty must be OKP and crv Ed25519")),
    }
    // "EdDSA" is RFC 8037's name, "Ed25519" RFC 9864's.
    if !matches!(member("alg"), None | Some("EdDSA" | "Ed25519")) {
        return Err(malformed("alg must be EdDSA or Ed25519"));
    }
    if !matches!(member("use"), None | Some("sig")) {
        return Err(malformed("use must be sig"));
    }
    let x = member("x").ok_or(malformed("x is missing"))?;
    let bytes = Base64UrlUnpadded::decode_vec(x)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or(malformed("x must be 32 bytes in unpadded base64url"))?;
    usable(&bytes)
}

fn other(found: &'static str) -> PublicKeyError {
    PublicKeyError::OtherAlgorithm { found }
}

#[cfg(test)]
#[path = "public_key_tests.rs"]
mod tests;
