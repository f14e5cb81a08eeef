//! The broker's keys in memory: which there are, and what each is for.
//!
//! Never mixed: an identity key proves the broker to devices and signs no token; a token key signs tokens and nothing
//! else.
use super::atomic::Existing;
use super::error::{DataDirError, KeyFileError};
use super::json_file::{Formatted, read_json, write_json};
use super::key_file::{generate_key_file, read_key_file};
use super::layout::Layout;
use crate::rng::Random;
use keygate_protocol::crypto::{PublicKey, Signer, SoftwareSigner};
use keygate_protocol::ident::KeyId;
use keygate_protocol::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Format of `token-keys.json`.
const TOKEN_KEYS_FORMAT: u32 = 1;

/// The long-lived keys that prove the broker to devices. Devices pin the current one and may pin the next as well, so
/// that the day it takes over finds them prepared.
#[derive(Clone, Debug)]
pub struct IdentityKeys {
    /// The one that devices pin today.
    pub current: IdentityKey,
    /// The one that follows it.
    pub next: IdentityKey,
}

impl IdentityKeys {
    /// The key that a device asks for by its id (`broker_kid` of the login): the current or the next one.
    #[must_use]
    pub fn find(&self, key_id: KeyId) -> Option<&IdentityKey> {
        [&self.current, &self.next]
            .into_iter()
            .find(|key| key.key_id() == key_id)
    }

    pub(super) fn load(layout: &Layout) -> Result<Self, KeyFileError> {
        Ok(Self {
            current: IdentityKey(read_own(&layout.identity_key_current())?),
            next: IdentityKey(read_own(&layout.identity_key_next())?),
        })
    }
}

/// One identity key.
#[derive(Clone, Debug)]
pub struct IdentityKey(SoftwareSigner);

impl IdentityKey {
    /// What devices pin.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }

    /// Its id.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.0.key_id()
    }

    /// A signer of its own for each thread that needs one.
    #[must_use]
    pub fn signer(&self) -> SoftwareSigner {
        self.0.clone()
    }
}

/// The keys of access tokens. They rotate with overlap: the newest signs, every one that has not been retired verifies.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    signer: SoftwareSigner,
    all: Vec<TokenKey>,
}

/// The public half of one token key, and its times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenKey {
    /// What verifies.
    pub public_key: PublicKey,
    /// What tokens name it by.
    pub key_id: KeyId,
    /// Since when it signs.
    pub created_at: UnixTime,
    /// From when on it verifies nothing any more.
    pub retired_at: Option<UnixTime>,
}

impl TokenKey {
    /// Whether tokens that it signed still count.
    #[must_use]
    pub fn is_live_at(&self, wall: UnixTime) -> bool {
        self.retired_at.is_none_or(|retired| wall.0 < retired.0)
    }
}

impl TokenKeys {
    /// The key that signs new tokens; a clone for each thread that needs one.
    #[must_use]
    pub fn signing(&self) -> SoftwareSigner {
        self.signer.clone()
    }

    /// Every key, oldest first.
    #[must_use]
    pub fn verifying(&self) -> &[TokenKey] {
        &self.all
    }

    /// The live key with this id.
    #[must_use]
    pub fn find(&self, key_id: KeyId, wall: UnixTime) -> Option<&TokenKey> {
        self.all
            .iter()
            .find(|key| key.key_id == key_id && key.is_live_at(wall))
    }

    /// Reads the list and the keys on it. A key file that is on no list is what an interrupted rotation left: it has
    /// signed nothing.
    pub(super) fn load(layout: &Layout) -> Result<Self, DataDirError> {
        let path = layout.token_keys_file();
        let listed: TokenKeysFile = read_json(&path)?
            .ok_or_else(|| DataDirError::Key(KeyFileError::Missing { path: path.clone() }))?;
        let mut keys = Vec::with_capacity(listed.keys.len());
        let mut newest = None;
        for entry in &listed.keys {
            let path = layout.token_key(entry.number);
            let signer = read_own(&path)?;
            if signer.key_id().to_string() != entry.key_id {
                return Err(KeyFileError::OtherKey { path }.into());
            }
            keys.push(TokenKey {
                public_key: signer.public_key(),
                key_id: signer.key_id(),
                created_at: UnixTime(entry.created_at),
                retired_at: entry.retired_at.map(UnixTime),
            });
            if entry.retired_at.is_none() {
                newest = Some(signer);
            }
        }
        match newest {
            Some(signer) => Ok(Self { signer, all: keys }),
            None => Err(DataDirError::Damaged {
                path,
                what: "every token key is retired".into(),
            }),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TokenKeysFile {
    format: u32,
    /// Oldest first; the last that is not retired signs.
    keys: Vec<TokenKeyEntry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TokenKeyEntry {
    number: u32,
    key_id: String,
    created_at: u64,
    retired_at: Option<u64>,
}

impl Formatted for TokenKeysFile {
    const FORMAT: u32 = TOKEN_KEYS_FORMAT;
}

/// Makes whatever the broker's keys lack. Each step leaves whole files only, and finds those of an earlier, interrupted
/// run; so it is right to call it again after a kill anywhere.
pub(super) fn complete(
    layout: &Layout,
    wall: UnixTime,
    random: &mut dyn Random,
) -> Result<(), DataDirError> {
    ensure(&layout.identity_key_current(), random)?;
    ensure(&layout.identity_key_next(), random)?;
    let path = layout.token_keys_file();
    if read_json::<TokenKeysFile>(&path)?.is_some() {
        return Ok(());
    }
    let first = 1;
    let key = ensure(&layout.token_key(first), random)?;
    let list = TokenKeysFile {
        format: TOKEN_KEYS_FORMAT,
        keys: vec![TokenKeyEntry {
            number: first,
            key_id: key.key_id().to_string(),
            created_at: wall.0,
            retired_at: None,
        }],
    };
    write_json(&path, &list, Existing::Keep)
}

/// The key in this file; a new one if there is no file.
fn ensure(path: &Path, random: &mut dyn Random) -> Result<PublicKey, DataDirError> {
    match generate_key_file(path, random) {
        Ok(public_key) => Ok(public_key),
        Err(KeyFileError::Exists { .. }) => Ok(read_own(path)?.public_key()),
        Err(error) => Err(error.into()),
    }
}

/// Reads a key that must be there.
fn read_own(path: &Path) -> Result<SoftwareSigner, KeyFileError> {
    read_key_file(path).map_err(|error| match error {
        KeyFileError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
            KeyFileError::Missing { path: path.into() }
        }
        error => error,
    })
}
