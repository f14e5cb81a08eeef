//! `/keys`: the public token keys as a COSE_KeySet (SPEC.md §8.3). A hint and no trust anchor: nobody vouches for what
//! comes over plain UDP.
use super::endpoint::Bytes;
use super::message::{AnswerCode, Reply, format};
use crate::keys::TokenKeys;
use keygate_protocol::cbor::Writer;
use keygate_protocol::crypto::PublicKey;
use keygate_protocol::sink::CapacityError;
use keygate_protocol::time::UnixTime;

/// COSE_Key labels and values (RFC 9052 §7, RFC 9053 §7, RFC 9864).
const KTY: (i64, i64) = (1, 1);
const KID: i64 = 2;
const ALG: (i64, i64) = (3, -19);
const CRV: (i64, i64) = (-1, 6);
const X: i64 = -2;

/// How long a cache may keep the answer, in seconds: a new key signs only after the overlap that rotation leaves.
const MAX_AGE_S: u32 = 60;

pub(super) fn answer(keys: &TokenKeys, wall: UnixTime) -> Reply {
    // Newest first, which is the one that signs.
    let live: Vec<PublicKey> = keys
        .verifying()
        .iter()
        .rev()
        .filter(|key| key.is_live_at(wall))
        .map(|key| key.public_key)
        .collect();
    match encode(&live) {
        Ok(body) => Reply::body(AnswerCode::Content, format::COSE_KEY_SET, body).max_age(MAX_AGE_S),
        Err(CapacityError) => Reply::code(AnswerCode::InternalError),
    }
}

fn encode(keys: &[PublicKey]) -> Result<Vec<u8>, CapacityError> {
    let mut body = Bytes::default();
    let mut writer = Writer::new(&mut body);
    writer.array(keys.len())?;
    for key in keys {
        writer.map(5)?;
        writer.int(KTY.0)?;
        writer.int(KTY.1)?;
        writer.int(KID)?;
        writer.bytes(key.key_id().as_bytes())?;
        writer.int(ALG.0)?;
        writer.int(ALG.1)?;
        writer.int(CRV.0)?;
        writer.int(CRV.1)?;
        writer.int(X)?;
        writer.bytes(key.as_bytes())?;
    }
    Ok(body.0)
}
