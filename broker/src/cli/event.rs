//! An audit event in words, on one line.

use super::screen::shown;
use super::time::Utc;
use crate::telemetry::event::{
    Actor, BrokerChange, Change, Event, EventKind, Origin, Outcome, RightAction,
};
use crate::telemetry::reason::Method;
use std::fmt;

/// An event as one line.
pub(super) struct InWords<'a>(pub(super) &'a Event);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = if self.0.kind.is_refusal() {
            "REFUSED  "
        } else {
            "         "
        };
        write!(f, "{}  {refused}", Utc(self.0.wall))?;
        self.what(f)
    }
}

impl InWords<'_> {
    fn what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            EventKind::Challenge { reason, origin } => {
                write!(f, "challenge: {reason}; {}", From(origin))
            }
            EventKind::Disconnect {
                cause,
                identity,
                client_id,
                origin,
            } => {
                let who = Who(Some(identity), Some(client_id));
                write!(f, "disconnect {who}: {cause}; {}", From(origin))
            }
            EventKind::Malformed {
                identity,
                client_id,
                rule,
                code,
                origin,
            } => {
                let who = Who(identity.as_deref(), client_id.as_deref());
                let rule = shown(rule);
                match code {
                    Some(code) => write!(f, "packet by {who}: {rule} (answered 0x{code:02x}); ")?,
                    None => write!(f, "connection by {who}: {rule}; ")?,
                }
                write!(f, "{}", From(origin))
            }
            EventKind::Right {
                action,
                topic,
                reason,
                identity,
                client_id,
                code,
                origin,
            } => {
                let (attempt, topic) = (attempt(*action), shown(topic));
                let who = Who(Some(identity), Some(client_id));
                write!(f, "{attempt} `{topic}` by {who}: {reason} ")?;
                match code {
                    Some(code) => write!(f, "(answered 0x{code:02x}); {}", From(origin)),
                    None => write!(f, "(not told); {}", From(origin)),
                }
            }
            EventKind::Upstream { .. } => self.upstream(f),
            EventKind::Login { .. } | EventKind::Token { .. } => self.proof(f),
            EventKind::Broker { .. }
            | EventKind::Identity { .. }
            | EventKind::Import { .. }
            | EventKind::Lost { .. }
            | EventKind::Undelivered { .. } => self.change(f),
        }
    }

    fn upstream(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventKind::Upstream {
            fault,
            code,
            rule,
            identity,
            client_id,
            origin,
        } = &self.0.kind
        else {
            return Ok(());
        };
        let who = Who(Some(identity), Some(client_id));
        write!(f, "upstream of {who}: {fault}")?;
        if let Some(rule) = rule {
            write!(f, ": {}", shown(rule))?;
        }
        if let Some(code) = code {
            write!(f, " (0x{code:02x})")?;
        }
        write!(f, "; {}", From(origin))
    }

    /// What did not come from a peer.
    fn change(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            EventKind::Broker {
                change,
                broker_id,
                version,
            } => {
                let change = match change {
                    BrokerChange::CertificateRenewed => "presents a new certificate",
                    BrokerChange::CertificateRefused => {
                        "cannot use its changed certificate and presents the last one"
                    }
                    BrokerChange::DiskFull => "has no space on its disk",
                    BrokerChange::DiskRoom => "has space on its disk again",
                    BrokerChange::Initialised => "initialised",
                    BrokerChange::Started => "started",
                    BrokerChange::Stopped => "stopped",
                };
                write!(f, "broker {broker_id} {change} (version {version})")
            }
            EventKind::Identity { change, id, by } => {
                write!(
                    f,
                    "device {} {} by {}",
                    shown(id),
                    changed(*change),
                    By(*by)
                )
            }
            EventKind::Import {
                added,
                unchanged,
                by,
            } => write!(
                f,
                "import of {added} devices by {} ({unchanged} were there already)",
                By(*by)
            ),
            EventKind::Lost { count } => {
                write!(
                    f,
                    "{count} events are missing here: the disk or the ring was full"
                )
            }
            EventKind::Undelivered {
                bound,
                count,
                identity,
                client_id,
                share,
            } => {
                match count {
                    Some(count) => write!(f, "{count} messages were lost to ")?,
                    None => f.write_str("messages are lost from now on to ")?,
                }
                match share {
                    Some(filter) => write!(f, "`{}`", shown(filter))?,
                    None => write!(f, "{}", Who(identity.as_deref(), client_id.as_deref()))?,
                }
                match bound {
                    Some(bound) => write!(f, ": its queue is full ({})", shown(bound)),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn proof(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            EventKind::Login {
                outcome,
                reason,
                identity,
                client_id,
                method,
                again,
                origin,
                ..
            } => {
                let what = if *again { "login again" } else { "login" };
                write!(f, "{what} {}", Who(identity.as_deref(), Some(client_id)))?;
                match (outcome, reason) {
                    (Outcome::Refused, Some(reason)) => write!(f, ": {reason}")?,
                    (Outcome::Refused, None) => f.write_str(": refused")?,
                    (Outcome::Accepted, _) => {}
                }
                f.write_str("; ")?;
                if let Some(method) = method {
                    write!(f, "{}, ", method_name(*method))?;
                }
                write!(f, "{}", From(origin))
            }
            EventKind::Token {
                outcome,
                reason,
                identity,
                audience,
                token_id,
                origin,
                ..
            } => {
                write!(f, "token {}", Who(identity.as_deref(), None))?;
                if let Some(audience) = audience {
                    write!(f, " for {}", shown(audience))?;
                }
                match (outcome, reason) {
                    (Outcome::Refused, Some(reason)) => write!(f, ": {reason}")?,
                    (Outcome::Refused, None) => f.write_str(": refused")?,
                    (Outcome::Accepted, _) => {}
                }
                if let Some(id) = token_id {
                    write!(f, " ({id})")?;
                }
                write!(f, "; {}", From(origin))
            }
            _ => Ok(()),
        }
    }
}

/// Who, and in which session if that has another name.
struct Who<'a>(Option<&'a str>, Option<&'a str>);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |text: &'_ str| Some(shown(text)).filter(|text| !text.is_empty());
        let (identity, client) = (self.0.and_then(some), self.1.and_then(some));
        match (identity, client) {
            (Some(identity), Some(client)) if identity != client => {
                write!(f, "{identity} as client `{client}`")
            }
            (Some(identity), _) => f.write_str(&identity),
            (None, Some(client)) => write!(f, "client `{client}`"),
            (None, None) => f.write_str("somebody unknown"),
        }
    }
}

/// Where it came from.
pub(super) struct From<'a>(pub(super) &'a Origin);

impl fmt::Display for From<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listener = self.0.listener.name();
        write!(f, "{listener} from {}", self.0.peer)
    }
}

/// Who changed something.
struct By(Actor);

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Actor::Uid(uid) => write!(f, "uid {uid}"),
        }
    }
}

/// The method's name, as configuration and JSON write it.
pub(super) fn method_name(method: Method) -> &'static str {
    match method {
        Method::Anonymous => "anonymous",
        Method::Assertion => "assertion",
        Method::KgEd25519 => "kg-ed25519",
        Method::SignedRequest => "signed request",
    }
}

/// What was tried, as a verb that a topic follows.
pub(super) fn attempt(action: RightAction) -> &'static str {
    match action {
        RightAction::Publish => "publish to",
        RightAction::Receive => "receive",
        RightAction::ResponseTopic => "ask for an answer on",
        RightAction::Retain => "retain",
        RightAction::Share => "share",
        RightAction::Subscribe => "subscribe to",
        RightAction::Will => "leave a will on",
    }
}

fn changed(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Approved => "approved",
        Change::Resumed => "resumed",
        Change::Revoked => "revoked",
        Change::Suspended => "suspended",
    }
}
