//! `keygate token inspect`.

use super::Context;
use super::failure::Failure;
use super::key::standard_input;
use super::screen::shown;
use super::time::{Relative, Utc};
use crate::admin::{Answer, Command};
use crate::identity::parse_public_key;
use crate::token::{Inspected, inspect_text};
use keygate_protocol::assertion::{Compact, JSON_LEN_MAX, TYPE};
use keygate_protocol::crypto::PublicKey;
use keygate_protocol::time::UnixTime;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// What a check of a signature came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Genuine {
    /// The key that is known here signed it.
    Yes,
    /// It did not.
    No,
    /// The key is not known here.
    Unknown,
}

impl Genuine {
    fn from(checked: Option<bool>) -> Self {
        match checked {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Unknown,
        }
    }

    fn in_words(self, whose: &str) -> String {
        match self {
            Self::Yes => format!("genuine: {whose} signed it"),
            Self::No => format!("FORGED or damaged: {whose} did not sign this"),
            Self::Unknown => format!("NOT VERIFIED: {whose} is not known here (see --data)"),
        }
    }
}

/// Shows a token. A signature that is wrong is a failure; one that cannot be checked is said to be so.
pub(super) fn inspect(context: &mut Context, token: &str) -> Result<(), Failure> {
    let given = match token {
        "-" => standard_input()?,
        text => text.to_owned(),
    };
    let text = given.trim();
    let genuine = match text.bytes().filter(|byte| *byte == b'.').count() {
        2 => assertion(context, text)?,
        _ => cwt(context, text)?,
    };
    match genuine {
        Genuine::No => Err(Failure::failed("the signature is wrong")),
        Genuine::Yes | Genuine::Unknown => Ok(()),
    }
}

#[derive(Serialize)]
struct Token<'a> {
    kind: &'static str,
    genuine: Genuine,
    expired: bool,
    #[serde(flatten)]
    token: &'a Inspected,
}

fn cwt(context: &mut Context, text: &str) -> Result<Genuine, Failure> {
    let keys = token_keys(context);
    let token = inspect_text(text, |key_id| {
        keys.into_iter().find(|key| key.key_id() == key_id)
    })
    .map_err(|error| Failure::failed(format!("not a token or assertion of ours: {error}")))?;
    let now = context.clock.wall();
    let genuine = Genuine::from(token.signature_valid);
    let said = Token {
        kind: "cwt",
        genuine,
        expired: token.expires_at <= now.0,
        token: &token,
    };
    let rights: Vec<String> = token
        .scope
        .iter()
        .map(|entry| {
            let actions = match (entry.publish, entry.subscribe) {
                (true, true) => "pubsub",
                (true, false) => "pub",
                _ => "sub",
            };
            format!("{actions}:{}", shown(&entry.filter))
        })
        .collect();
    let words = genuine.in_words(&format!("token key {}", token.signed_by));
    let mut text = format!("CWT, {} bytes\n  {:<12}{words}\n", token.size, "signature");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    line("issuer", &shown(&token.issuer));
    line("subject", &shown(&token.subject));
    line("audience", &shown(&token.audience));
    line("issued", &moment(token.issued_at, now));
    line("expires", &moment(token.expires_at, now));
    line("token id", &token.token_id);
    line("bound to", &format!("key {}", token.bound_to));
    for (i, right) in rights.iter().enumerate() {
        line(if i == 0 { "scope" } else { "" }, right);
    }
    if rights.is_empty() {
        line("scope", &"nothing");
    }
    context.screen.result(&said, text.trim_end())?;
    Ok(genuine)
}

#[derive(Serialize)]
struct Said<'a> {
    kind: &'static str,
    genuine: Genuine,
    header: &'a Value,
    claims: &'a Value,
}

fn assertion(context: &mut Context, text: &str) -> Result<Genuine, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("not a token or assertion of ours: {error}"))
    };
    let compact = Compact::parse(text.as_bytes()).map_err(|error| wrong(&format!("{error:?}")))?;
    let mut buffer = [0; JSON_LEN_MAX];
    let header = compact
        .header(&mut buffer)
        .map_err(|error| wrong(&format!("{error:?}")))?;
    let header: Value = serde_json::from_slice(header).map_err(|error| wrong(&error))?;
    let claims = compact
        .claims(&mut buffer)
        .map_err(|error| wrong(&format!("{error:?}")))?;
    let claims: Value = serde_json::from_slice(claims).map_err(|error| wrong(&error))?;
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let keys = device_keys(context, subject);
    let genuine = Genuine::from(
        (!keys.is_empty()).then(|| keys.iter().any(|key| compact.verify(key).is_ok())),
    );
    let now = context.clock.wall();
    let kind = match header.get("typ").and_then(Value::as_str) {
        Some(TYPE) => "login assertion",
        _ => "JWT that is no login assertion",
    };
    let words = genuine.in_words(&format!("device {}", shown(subject)));
    let mut text = format!("{kind}\n  {:<12}{words}\n", "signature");
    for (name, value) in claims.as_object().into_iter().flatten() {
        let value = match (name.as_str(), value) {
            ("iat" | "exp" | "nbf", Value::Number(time)) if time.is_u64() => {
                moment(time.as_u64().unwrap_or_default(), now)
            }
            (_, Value::String(text)) => shown(text),
            (_, value) => value.to_string(),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {:<12}{value}", shown(name));
    }
    let said = Said {
        kind: "assertion",
        genuine,
        header: &header,
        claims: &claims,
    };
    context.screen.result(&said, text.trim_end())?;
    Ok(genuine)
}

fn moment(seconds: u64, now: UnixTime) -> String {
    let time = UnixTime(seconds);
    format!("{} ({})", Utc(time), Relative { time, now })
}

/// The token keys of the data directory; none if there is none, or nobody answers: then nothing is verified.
fn token_keys(context: &mut Context) -> Vec<PublicKey> {
    match ask(context, Command::Keys) {
        Some(Answer::Keys(keys)) => parsed(keys.token.iter()),
        _ => Vec::new(),
    }
}

/// The keys of a device that is enrolled here.
fn device_keys(context: &mut Context, id: &str) -> Vec<PublicKey> {
    match ask(context, Command::DeviceShow { id: id.into() }) {
        Some(Answer::Device { device, .. }) => {
            parsed(device.keys.iter().map(|key| &key.public_key))
        }
        _ => Vec::new(),
    }
}

fn ask(context: &mut Context, command: Command) -> Option<Answer> {
    let mut desk = match context.desk() {
        Ok(desk) => desk,
        Err(Failure::Told { message, .. }) => {
            tracing::debug!(message, "no data directory to verify with");
            return None;
        }
        Err(Failure::OutputClosed) => return None,
    };
    desk.ask(command, None, &mut |_| Ok(())).ok()
}

fn parsed<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<PublicKey> {
    keys.filter_map(|hex| parse_public_key(hex).ok()).collect()
}
