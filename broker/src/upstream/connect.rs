//! CONNECT, written anew: what the client wants, in the gate's name.
use std::fmt;
use std::sync::Arc;

use super::relay::Who;
use super::tickets::Tickets;
use crate::authn::Accepted;
use crate::gate::Terms;
use crate::hub::wire::put;
use crate::limits::Limits;
use crate::telemetry::event::Origin;
use keygate_protocol::crypto::Signature;
use keygate_protocol::mqtt::{Connect, ConnectProperties, Version};
use keygate_protocol::time::Millis;

/// How the gate introduces itself to the upstream, whoever the client is.
#[derive(Clone, Default)]
pub struct UpstreamRules {
    /// The gate's own user name there.
    pub username: Option<Box<str>>,
    /// The gate's own password there.
    pub password: Option<Box<[u8]>>,
    /// What stands in front of every client id, so that several gates can share one upstream with others.
    pub client_id_prefix: Box<str>,
    /// A ticket for each session in place of user name and password: for a broker in this process.
    pub tickets: Option<Arc<Tickets>>,
}

impl fmt::Debug for UpstreamRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamRules")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("client_id_prefix", &self.client_id_prefix)
            .field("tickets", &self.tickets.is_some())
            .finish()
    }
}

/// A client that has proved itself.
#[derive(Debug)]
pub struct Admitted<'a> {
    /// What it sent.
    pub connect: &'a Connect<'a>,
    /// Who it is.
    pub accepted: Accepted,
    /// Where it comes from, for the audit log.
    pub origin: Origin,
}

/// What the client's CONNACK must say and the upstream cannot know; kept until the upstream's comes.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) auth_method: Option<Box<str>>,
    pub(super) proof: Option<Signature>,
    /// The client sent no client id: the one that it got is told.
    pub(super) assigned: bool,
    pub(super) terms: Terms,
    /// The upstream must have answered by then.
    pub(super) deadline: Millis,
}

/// The CONNECT for the upstream. The will has its permit.
pub(super) fn connect(
    asked: &Connect<'_>,
    who: &Who,
    terms: &Terms,
    rules: &UpstreamRules,
    limits: &Limits,
    now: Millis,
) -> Vec<u8> {
    let client_id = client_id(who, rules);
    let properties = &asked.properties;
    let ticket = rules.tickets.as_ref();
    // Without a ticket the upstream refuses, which is what must come of it.
    let ticket = ticket.map(|tickets| tickets.issue(&client_id, now).unwrap_or_default());
    let password = match &ticket {
        Some(ticket) => Some(ticket.as_bytes()),
        None => rules.password.as_deref(),
    };
    let username = match (asked.version, &rules.username, password) {
        // In 3.1.1 a password needs a user name.
        (Version::V311, None, Some(_)) => Some(""),
        (_, username, _) => username.as_deref(),
    };
    let anew = Connect {
        version: asked.version,
        clean_start: asked.clean_start,
        keep_alive_s: keep_alive(terms, rules),
        client_id: &client_id,
        username,
        password,
        will: asked.will,
        // Neither topic aliases nor authentication data: both end at the gate.
        properties: ConnectProperties {
            session_expiry_s: terms.session_expiry_s,
            receive_max: properties.receive_max.min(limits.inflight_max),
            packet_size_max: Some(who.packet_max),
            request_problem_information: properties.request_problem_information,
            user_properties: properties.user_properties,
            ..ConnectProperties::default()
        },
    };
    let mut bytes = Vec::new();
    put(&mut bytes, |wire| anew.encode(wire));
    bytes
}

/// rumqttd refuses a session that may be silent for ever. It gets the longest period; the relay speaks well before
/// (`keep_awake`).
fn keep_alive(terms: &Terms, rules: &UpstreamRules) -> u16 {
    match (&rules.tickets, terms.keep_alive_s) {
        (Some(_), 0) => u16::MAX,
        (_, seconds) => seconds,
    }
}

/// The client id of the session upstream, which knows no identities. One that is the identity's own, or begins with it,
/// is nobody else's; any other stands behind the identity, so that nobody resumes or takes over what is not theirs.
fn client_id(who: &Who, rules: &UpstreamRules) -> String {
    let (prefix, id) = (&rules.client_id_prefix, who.principal.id());
    let asked = &*who.client_id;
    let name = match asked.split('/').next() == Some(id) {
        true => format!("{prefix}{asked}"),
        false => format!("{prefix}{id}/{asked}"),
    };
    match rules.tickets {
        Some(_) => escaped(&name),
        None => name,
    }
}

/// rumqttd takes no client id with one of `+ $ # /`: each is written as `%` and its two hexadecimal digits, and so is
/// `%`, so that different names stay different.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for char in name.chars() {
        match char {
            '+' | '$' | '#' | '/' | '%' => text.push_str(&format!("%{:02X}", u32::from(char))),
            _ => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_stay_different() {
        for (name, text) in [
            ("dev-1", "dev-1"),
            ("dev-1/a", "dev-1%2Fa"),
            ("dev-1%2Fa", "dev-1%252Fa"),
            ("$+#", "%24%2B%23"),
            ("d\u{e9}v", "d\u{e9}v"),
        ] {
            assert_eq!(escaped(name), text);
        }
    }
}
