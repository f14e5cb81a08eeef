//! SPEC.md §9.1 — the token: `61(18([protected, {}, claims, signature]))`.

use core::ops::Deref;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

use super::{Claims, CwtError, IssueError};
use crate::cbor::{Reader, Writer};
use crate::cose::{Sign1, sign1};
use crate::crypto::{PublicKey, Signer};
use crate::ident::KeyId;
use crate::sink::Sink;

/// The CBOR tag of a CWT (RFC 8392 §6).
pub const TAG: u64 = 61;

/// Longest token that is issued or read: with the answer around it, it still fits one CoAP datagram (SPEC.md §10).
pub const TOKEN_LEN_MAX: usize = 1000;

/// Signs the claims and writes the token. After an error, what stands in `out` is no token.
pub fn issue(
    claims: &Claims<'_>,
    signer: &mut (impl Signer + ?Sized),
    out: &mut (impl Sink + ?Sized),
) -> Result<(), IssueError> {
    let mut payload =
        heapless::Vec::<u8, { TOKEN_LEN_MAX - 2 - 1 - sign1::OVERHEAD_LEN_MAX }>::new();
    claims.encode(&mut payload)?;
    let mut writer = Writer::new(&mut *out);
    writer.tag(TAG)?;
    writer.tag(sign1::TAG)?;
    sign1::sign(&payload, &[], signer, out)?;
    Ok(())
}

/// A token that was taken apart: nothing that it says counts before [`verify`](Self::verify).
#[derive(Clone, Copy, Debug)]
pub struct Untrusted<'a> {
    message: Sign1<'a>,
}

impl<'a> Untrusted<'a> {
    /// Reads the envelope. Both tags must stand (RFC 9770 §4 asks issuers for them).
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CwtError> {
        if bytes.len() > TOKEN_LEN_MAX {
            return Err(CwtError::TooLong);
        }
        let mut reader = Reader::new(bytes);
        if !reader.tag(TAG)? {
            return Err(CwtError::Untagged);
        }
        let message = Sign1::read_tagged(&mut reader)?;
        reader.finish()?;
        Ok(Self { message })
    }

    /// Which token key is said to have signed. Look it up among the keys of the one issuer that is trusted here.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.message.header().key_id
    }

    /// The claims, before anybody vouches for them: for printing.
    pub fn unverified_claims(&self) -> Result<Claims<'a>, CwtError> {
        Ok(Claims::decode(self.message.unverified_payload())?)
    }

    /// Verifies the signature; the claims are read after it.
    pub fn verify(&self, key: &PublicKey) -> Result<Verified<Claims<'a>>, CwtError> {
        let payload = self.message.verify(key, &[])?;
        Ok(Verified(Claims::decode(payload)?))
    }
}

/// What a key vouches for. Only a verifier makes one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The value, when who vouched for it no longer matters.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Names a token in a revocation list (RFC 9770 §3): 0x01 (SHA-256, RFC 6920) and the hash of the token's base64url.
#[must_use]
pub fn token_hash(token: &[u8]) -> [u8; 33] {
    /// A multiple of three, so that only the last chunk can leave bits over.
    const CHUNK: usize = 48;
    let mut hash = Sha256::new();
    let mut text = [0; CHUNK / 3 * 4];
    for chunk in token.chunks(CHUNK) {
        // A chunk always fits; an empty text could only make the hash name nothing.
        hash.update(Base64UrlUnpadded::encode(chunk, &mut text).unwrap_or_default());
    }
    let mut named = [1; 33];
    for (to, from) in named.iter_mut().skip(1).zip(hash.finalize()) {
        *to = from;
    }
    named
}
