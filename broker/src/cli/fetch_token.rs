//! `keygate fetch-token`: what a gateway does, from the command line.

use super::Context;
use super::args::FetchTokenArgs;
use super::assert::decode_challenge;
use super::coap::{Client, Request, Response};
use super::failure::Failure;
use super::key;
use crate::keys::read_key_file;
use crate::rng::Random;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use keygate_protocol::coap::{
    AwaitAnswer, Code, ContentFormat, Exchange, Path, Progress, Reply, Resend,
    SIGNED_PAYLOAD_LEN_MAX, TokenTrust, TokenWanted, Trust,
};
use keygate_protocol::cose::key_set;
use keygate_protocol::crypto::{PublicKey, SoftwareSigner};
use keygate_protocol::ident::Id;
use keygate_protocol::scope::{Permissions, RULES_MAX, Rule, Scope};
use keygate_protocol::sink::{CapacityError, Sink};
use keygate_protocol::topic::TopicFilter;
use serde::Serialize;

#[derive(Serialize)]
struct Fetched<'a> {
    token: &'a str,
    broker_id: &'a str,
    audience: &'a str,
    token_id: String,
    expires_in: u64,
    scope: Vec<String>,
    /// Whether a pinned key vouches for it.
    pinned: bool,
}

pub(super) fn run(context: &mut Context, args: &FetchTokenArgs) -> Result<(), Failure> {
    let mut signer = read_key_file(&args.signer.key)?;
    let pinned = args
        .broker_keys
        .iter()
        .map(|given| key::public_key(given))
        .collect::<Result<Vec<_>, _>>()?;
    let scope = scope(&args.scope)?;
    let mut client = Client::connect(&args.coap, context.clock.clone(), &mut *context.random)?;
    let broker_id = broker_id(context, &mut client, args)?;
    let wanted = TokenWanted {
        broker_id: Id::new(&broker_id).map_err(Failure::wrong_use)?,
        audience: args.audience.as_deref(),
        device: Id::new(&args.signer.id).map_err(Failure::wrong_use)?,
        holder: signer.public_key(),
        scope: match &scope {
            Some(bytes) => Some(Scope::decode(bytes).map_err(Failure::wrong_use)?),
            None => None,
        },
    };
    let mut payload = Bytes::default();
    wanted
        .encode_request(&mut payload)
        .map_err(Failure::failed)?;
    if payload.0.len() > SIGNED_PAYLOAD_LEN_MAX {
        return Err(Failure::wrong_use(
            "the request is too long: ask for fewer rights",
        ));
    }
    let trust = match pinned.as_slice() {
        [] => Trust::Content,
        keys => Trust::Signed(keys),
    };
    let exchange = wanted
        .exchange(&payload.0, trust)
        .map_err(Failure::failed)?;
    let mut conversation = Conversation {
        client: &mut client,
        random: &mut *context.random,
        accept: (!pinned.is_empty()).then_some(ContentFormat::COSE_SIGN1),
        body: Bytes::default(),
    };
    let (response, waiting) = conversation.run(exchange, &mut signer, wanted.device)?;
    let received = response.received();
    let reply = match waiting.receive(&received, &mut signer, &mut Bytes::default()) {
        Ok(Progress::Done(reply)) => reply,
        // The conversation ends only with an answer that ends the exchange.
        Ok(Progress::Resend(_)) => return Err(Failure::failed("the broker asks again and again")),
        Err(error) => return Err(refused(&error, wanted.device)),
    };
    let shown_keys = match pinned.is_empty() {
        true => shown_keys(context, &mut client)?,
        false => Vec::new(),
    };
    print(context, &wanted, &reply, &pinned, &shown_keys)
}

/// The broker's name: the one that is pinned, or what it says itself.
fn broker_id(
    context: &mut Context,
    client: &mut Client,
    args: &FetchTokenArgs,
) -> Result<String, Failure> {
    if let Some(id) = &args.broker_id {
        return Ok(id.clone());
    }
    let payload = client.get("challenge", &mut *context.random)?;
    let id = decode_challenge(&payload)?.broker_id.to_string();
    context.screen.note(format!(
        "taking the name `{id}` from the broker's own answer; pin it with --broker-id {id}"
    ));
    Ok(id)
}

/// The token keys that the broker shows, for want of a pinned key.
fn shown_keys(context: &mut Context, client: &mut Client) -> Result<Vec<PublicKey>, Failure> {
    context.screen.note(
        "no --broker-key: the token is checked against the keys that the broker itself shows, for which nobody vouches",
    );
    let shown = client.get("keys", &mut *context.random)?;
    let keys = key_set::decode(&shown)
        .map_err(|error| Failure::failed(format!("/keys was answered with no key set: {error}")))?;
    Ok(keys.to_vec())
}

fn print(
    context: &mut Context,
    wanted: &TokenWanted<'_>,
    reply: &Reply<'_>,
    pinned: &[PublicKey],
    shown_keys: &[PublicKey],
) -> Result<(), Failure> {
    let trust = match pinned.is_empty() {
        true => TokenTrust::TokenKeys(shown_keys),
        false => TokenTrust::SignedAnswer,
    };
    let granted = wanted.accept(reply, trust).map_err(|error| {
        Failure::failed(format!(
            "what came is not the token that was asked for: {error}"
        ))
    })?;
    let token = Base64UrlUnpadded::encode_string(granted.token);
    let rights = granted.claims.rights().map_err(Failure::failed)?;
    let fetched = Fetched {
        token: &token,
        broker_id: wanted.broker_id.as_str(),
        audience: granted.claims.aud,
        token_id: crate::admin::command::hex(&granted.claims.cti),
        expires_in: granted.expires_in_s,
        scope: rights.rules().map(|rule| right(&rule)).collect(),
        pinned: !pinned.is_empty(),
    };
    context.screen.result(&fetched, &token)
}

/// One right as `--scope` takes it.
pub(super) fn right(rule: &Rule<'_>) -> String {
    let actions = match rule.permissions() {
        Permissions::Publish => "pub",
        Permissions::Subscribe => "sub",
        Permissions::Both => "pubsub",
    };
    format!("{actions}:{}", rule.filter().as_str())
}

/// Where the protocol crate writes.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The exchange, carried over CoAP.
struct Conversation<'c> {
    client: &'c mut Client,
    random: &'c mut dyn Random,
    accept: Option<ContentFormat>,
    body: Bytes,
}

impl Conversation<'_> {
    /// Up to the answer that is no challenge, and what waits for it.
    fn run<'a>(
        &mut self,
        exchange: Exchange<'a>,
        signer: &mut SoftwareSigner,
        id: Id<'_>,
    ) -> Result<(Response, AwaitAnswer<'a>), Failure> {
        let path = exchange.path.clone();
        let code = exchange.code;
        let challenge = self.send(code, &path, None)?;
        let received = challenge.received();
        let Resend { next, echo } = exchange
            .start()
            .receive(&received, signer, &mut self.body)
            .map_err(|error| refused(&error, id))?;
        let (mut next, mut echo) = (next, echo.as_bytes().to_vec());
        loop {
            let response = self.send(code, &path, Some(&echo))?;
            let is_challenge = response.code == Code::UNAUTHORIZED && response.echo.is_some();
            if !is_challenge {
                return Ok((response, next));
            }
            self.body.0.clear();
            let received = response.received();
            match next
                .receive(&received, signer, &mut self.body)
                .map_err(|error| refused(&error, id))?
            {
                Progress::Resend(resend) => {
                    echo = resend.echo.as_bytes().to_vec();
                    next = resend.next;
                }
                Progress::Done(_) => return Err(Failure::failed("a challenge is no answer")),
            }
        }
    }

    /// Without an Echo the body stays empty: nothing is signed yet.
    fn send(
        &mut self,
        code: Code,
        path: &Path<'_>,
        echo: Option<&[u8]>,
    ) -> Result<Response, Failure> {
        let request = Request {
            code,
            path,
            echo,
            content_format: echo.map(|_| ContentFormat::COSE_SIGN1),
            accept: self.accept,
            payload: &self.body.0,
        };
        self.client.ask(&request, self.random)
    }
}

fn refused(error: &keygate_protocol::coap::Failure, id: Id<'_>) -> Failure {
    use keygate_protocol::coap::Failure as Exchange;
    let next = match error {
        Exchange::Refused(_) => {
            format!("; at the broker, this tells why: keygate why {id}")
        }
        Exchange::KeyNotPinned | Exchange::NotSigned | Exchange::Answer(_) => {
            "; compare --broker-key with the identity key in the broker's ready line".into()
        }
        _ => String::new(),
    };
    Failure::failed(format!("no token: {error}{next}"))
}

/// `--scope` as AIF-MQTT.
fn scope(rights: &[String]) -> Result<Option<Vec<u8>>, Failure> {
    if rights.is_empty() {
        return Ok(None);
    }
    if rights.len() > RULES_MAX {
        return Err(Failure::wrong_use(format!(
            "at most {RULES_MAX} times --scope"
        )));
    }
    let rules = rights
        .iter()
        .map(|text| rule(text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut bytes = Bytes::default();
    Scope::encode(&rules, &mut bytes).map_err(Failure::failed)?;
    Ok(Some(bytes.0))
}

fn rule(text: &str) -> Result<Rule<'_>, Failure> {
    let wrong = |what: &dyn std::fmt::Display| {
        Failure::wrong_use(format!(
            "--scope `{text}`: {what}; write pub:FILTER, sub:FILTER or pubsub:FILTER"
        ))
    };
    let (actions, filter) = text.split_once(':').ok_or_else(|| wrong(&"no colon"))?;
    let permissions = match actions {
        "pub" => Permissions::Publish,
        "sub" => Permissions::Subscribe,
        "pubsub" => Permissions::Both,
        _ => return Err(wrong(&"unknown action")),
    };
    let filter = TopicFilter::new(filter).map_err(|error| wrong(&error))?;
    Rule::new(filter, permissions).map_err(|error| wrong(&error))
}
