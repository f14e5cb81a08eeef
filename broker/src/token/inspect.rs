//! What a token says, for people. It is printed whoever signed it, and says so.
use super::issue::entry;
use crate::authz::ScopeEntry;
use base64ct::{Base64UrlUnpadded, Encoding};
use keygate_protocol::crypto::PublicKey;
use keygate_protocol::cwt::{CwtError, TOKEN_LEN_MAX, Untrusted, token_hash};
use keygate_protocol::ident::KeyId;

/// What a token says.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Inspected {
    /// `cwt`.
    pub format: &'static str,
    /// Length in bytes.
    pub size: usize,
    /// The token key that is said to have signed it.
    pub signed_by: String,
    /// Whether the signature was checked against that key, and how that went; absent if the key is not at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_valid: Option<bool>,
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: String,
    /// `iat`, seconds since 1970.
    pub issued_at: u64,
    /// `exp`, seconds since 1970.
    pub expires_at: u64,
    /// `cti`, lower hex.
    pub token_id: String,
    /// `cnf`: the id of the key that its holder must prove.
    pub bound_to: String,
    /// `cnf`: that key, lower hex.
    pub bound_key: String,
    /// `scope`.
    pub scope: Vec<ScopeEntry>,
    /// Its name in a revocation list (RFC 9770), lower hex.
    pub hash: String,
}

/// Why there is nothing to print.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InspectError {
    /// No token of our profile.
    #[error(transparent)]
    Cwt(#[from] CwtError),
    /// Neither base64url nor hex.
    #[error("a token is given as base64url without padding, or as hex")]
    Text,
}

/// Describes a token as people have it: base64url or hex, perhaps with white space around it.
pub fn inspect_text(
    text: &str,
    token_key: impl FnOnce(KeyId) -> Option<PublicKey>,
) -> Result<Inspected, InspectError> {
    let text = text.trim();
    // Twice the longest token is its hex; anything longer is no token.
    if text.len() > 2 * TOKEN_LEN_MAX {
        return Err(CwtError::TooLong.into());
    }
    let bytes = match from_hex(text) {
        Some(bytes) => bytes,
        None => Base64UrlUnpadded::decode_vec(text).map_err(|_| InspectError::Text)?,
    };
    inspect(&bytes, token_key)
}

/// Describes a token. `token_key` finds the key that is said to have signed it, if it is at hand.
pub fn inspect(
    token: &[u8],
    token_key: impl FnOnce(KeyId) -> Option<PublicKey>,
) -> Result<Inspected, InspectError> {
    let untrusted = Untrusted::decode(token)?;
    let claims = untrusted.unverified_claims()?;
    let rights = claims.rights().map_err(CwtError::Claims)?;
    Ok(Inspected {
        format: "cwt",
        size: token.len(),
        signed_by: untrusted.key_id().to_string(),
        signature_valid: token_key(untrusted.key_id()).map(|key| untrusted.verify(&key).is_ok()),
        issuer: claims.iss.as_str().into(),
        subject: claims.sub.as_str().into(),
        audience: claims.aud.into(),
        issued_at: claims.iat.0,
        expires_at: claims.exp.0,
        token_id: hex(&claims.cti),
        bound_to: claims.cnf.key_id().to_string(),
        bound_key: hex(claims.cnf.as_bytes()),
        scope: rights.rules().map(|rule| entry(&rule)).collect(),
        hash: hex(&token_hash(token)),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A CWT begins with the byte 0xd8, so its hex begins with `d8`; its base64url begins with `2D`.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok())
        .collect()
}
