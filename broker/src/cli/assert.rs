//! `keygate assert`.

use super::Context;
use super::args::AssertArgs;
use super::coap::Client;
use super::failure::Failure;
use super::time::Utc;
use crate::keys::read_key_file;
use crate::rng::Random;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use keygate_protocol::assertion::{Assertion, AssertionError, Freshness};
use keygate_protocol::coap::ChallengeAnswer;
use keygate_protocol::ident::Id;
use keygate_protocol::time::UnixTime;
use serde::Serialize;

/// Random bytes of a `jti`.
const JTI_BYTES: usize = 16;

#[derive(Serialize)]
struct Made<'a> {
    assertion: &'a str,
    username: &'a str,
    audience: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

pub(super) fn run(context: &mut Context, args: &AssertArgs) -> Result<(), Failure> {
    let mut signer = read_key_file(&args.signer.key)?;
    let fetched = match &args.challenge {
        Some(url) => Some(challenge(context, url, &args.aud)?),
        None => None,
    };
    let cnonce = args.cnonce.as_deref().or(fetched.as_deref());
    let now = context.clock.wall();
    let expires_at = UnixTime(now.0.saturating_add(args.ttl));
    let jti = Base64UrlUnpadded::encode_string(&context.random.array::<JTI_BYTES>());
    let freshness = match cnonce {
        Some(cnonce) => Freshness::Challenge(cnonce),
        None => Freshness::Times {
            issued_at: now,
            expires_at,
            jti: &jti,
        },
    };
    let assertion = Assertion {
        id: Id::new(&args.signer.id).map_err(Failure::wrong_use)?,
        broker_id: Id::new(&args.aud).map_err(Failure::wrong_use)?,
        client_id: args.client_id.as_deref(),
        freshness,
    };
    let text = assertion.sign(&mut signer).map_err(|error| match error {
        AssertionError::Signer(_) | AssertionError::TooLong => Failure::failed(error),
        error => Failure::wrong_use(error),
    })?;
    let made = Made {
        assertion: &text,
        username: &args.signer.id,
        audience: &args.aud,
        expires_at: cnonce.is_none().then_some(expires_at.0),
    };
    if made.expires_at.is_some() && args.ttl > keygate_protocol::assertion::LIFE_S_MAX {
        context.screen.note(format!(
            "good until {}, which only a listener that is configured for it takes (5 minutes otherwise)",
            Utc(expires_at)
        ));
    }
    context.screen.result(&made, &text)
}

/// Fetches a challenge; it must come from the broker that the assertion is for.
fn challenge(context: &mut Context, url: &str, broker_id: &str) -> Result<String, Failure> {
    let random: &mut dyn Random = &mut *context.random;
    let mut client = Client::connect(url, context.clock.clone(), random)?;
    let response = client.get("challenge", random)?;
    let answer = decode_challenge(&response)?;
    if answer.broker_id.as_str() != broker_id {
        return Err(Failure::failed(format!(
            "{url} is broker `{}`, not `{broker_id}`",
            answer.broker_id
        )));
    }
    Ok(answer.cnonce.to_owned())
}

pub(super) fn decode_challenge(payload: &[u8]) -> Result<ChallengeAnswer<'_>, Failure> {
    ChallengeAnswer::decode(payload)
        .map_err(|error| Failure::failed(format!("/challenge was answered with {error}")))
}
