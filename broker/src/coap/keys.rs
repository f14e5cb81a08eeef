//! `/keys`: the public token keys as a COSE_KeySet (SPEC.md §8.3). A hint and no trust anchor: nobody vouches for what
//! comes over plain UDP.
use super::endpoint::Bytes;
use super::message::{AnswerCode, Reply, format};
use crate::keys::TokenKeys;
use keygate_protocol::cose::key_set;
use keygate_protocol::crypto::PublicKey;
use keygate_protocol::sink::CapacityError;
use keygate_protocol::time::UnixTime;

/// How long a cache may keep the answer, in seconds: a new key signs only after the overlap that rotation leaves.
const MAX_AGE_S: u32 = 60;

pub(super) fn answer(keys: &TokenKeys, wall: UnixTime) -> Reply {
    // Newest first, which is the one that signs; of more than a set may hold, the oldest are left out.
    let live: Vec<PublicKey> = keys
        .verifying()
        .iter()
        .rev()
        .filter(|key| key.is_live_at(wall))
        .map(|key| key.public_key)
        .take(key_set::KEYS_MAX)
        .collect();
    let mut body = Bytes::default();
    match key_set::encode(&live, &mut body) {
        Ok(()) => Reply::body(AnswerCode::Content, format::COSE_KEY_SET, body.0).max_age(MAX_AGE_S),
        Err(CapacityError) => Reply::code(AnswerCode::InternalError),
    }
}
