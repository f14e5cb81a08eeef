//! The last refusal of a device: what the trail and the store know about it, put together and printed.

use super::advice::Advice;
use crate::admin::{Answer, Command, DeviceRecord, ErrorKind};
use crate::cli::event::{From, InWords, attempt, method_name};
use crate::cli::failure::Failure;
use crate::cli::screen::shown;
use crate::cli::time::{Relative, Utc};
use crate::cli::{Context, flush_trail};
use crate::identity::DeviceState;
use crate::telemetry::event::{Event, EventKind, Outcome};
use crate::telemetry::reason::Method;
use crate::telemetry::trail::{Filter, last};
use keygate_protocol::time::UnixTime;
use serde::Serialize;
use std::fmt::Write as _;

/// Events of one device that are looked back on.
const LOOK_BACK: usize = 500;

/// The answer, as JSON shows it.
#[derive(Serialize)]
struct Answered<'a> {
    id: &'a str,
    /// What is known about it now; none if nothing is enrolled under that name, or the store cannot be asked.
    device: Option<&'a DeviceRecord>,
    /// The last refusal.
    refusal: Option<&'a Event>,
    /// What it means.
    meaning: Option<&'static str>,
    /// What to do.
    next: Vec<String>,
    /// The last successful login, if it is newer than the refusal.
    login_since: Option<&'a Event>,
}

pub(in crate::cli) fn run(context: &mut Context, id: &str) -> Result<(), Failure> {
    flush_trail(context);
    let filter = Filter {
        id: Some(id.to_owned()),
        refused: false,
    };
    let events = last(&context.data, &filter, LOOK_BACK)
        .map_err(|error| Failure::failed(format!("the audit trail: {error}")))?
        .events;
    let device = lookup(context, id)?;
    let refused = events.iter().rposition(|event| event.kind.is_refusal());
    let refusal = refused.and_then(|at| events.get(at));
    let login = events.iter().rposition(is_login);
    let login_since = login
        .filter(|at| refused.is_none_or(|refused| *at > refused))
        .and_then(|at| events.get(at));
    if refusal.is_none() && device.is_none() && login.is_none() {
        return Err(Failure::failed(format!(
            "nothing is known about `{}`: no such device, and nothing in the audit trail. Did it reach this broker? \
             `keygate audit --refused` shows everybody who was refused; `keygate device list` who is enrolled",
            shown(id)
        )));
    }
    let advice = refusal.map(|event| Advice::of(&event.kind, id));
    let mut next = now(device.as_ref(), id);
    if login_since.is_some_and(is_anonymous) {
        // It got in as it is: nothing is to be done.
        next.clear();
    }
    // What the state says now goes before what the last refusal said then.
    if next.is_empty() && login_since.is_none() {
        next.extend(advice.iter().flat_map(|advice| advice.next.clone()));
    }
    let answered = Answered {
        id,
        device: device.as_ref(),
        refusal,
        meaning: advice.as_ref().map(|advice| advice.meaning),
        next,
        login_since,
    };
    let text = in_words(&answered, context.clock.wall());
    context.screen.result(&answered, text)
}

fn is_login(event: &Event) -> bool {
    matches!(
        event.kind,
        EventKind::Login {
            outcome: Outcome::Accepted,
            ..
        }
    )
}

/// Whether it was let in without a proof.
fn is_anonymous(login: &Event) -> bool {
    matches!(
        login.kind,
        EventKind::Login {
            method: Some(Method::Anonymous),
            ..
        }
    )
}

/// The device of that name, or of that client id.
fn lookup(context: &mut Context, id: &str) -> Result<Option<DeviceRecord>, Failure> {
    let mut desk = context.desk()?;
    let id = id.split_once('/').map_or(id, |(id, _)| id).to_owned();
    match desk.ask(Command::DeviceShow { id }, None, &mut |_| Ok(()))? {
        Answer::Device { device, .. } => Ok(Some(device)),
        Answer::Error(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Answer::Error(error) => Err(error.into()),
        other => Err(Failure::failed(format!("unexpected answer: {other:?}"))),
    }
}

/// What stands in the way now, whatever happened before.
fn now(device: Option<&DeviceRecord>, id: &str) -> Vec<String> {
    match device.map(|device| device.state) {
        None => vec![format!(
            "enrol it: keygate device add {} --public-key KEY",
            shown(id)
        )],
        Some(DeviceState::Active) => Vec::new(),
        Some(DeviceState::Pending) => {
            vec!["approve it, or revoke it if it should not be here".to_owned()]
        }
        Some(DeviceState::Suspended) => vec![format!(
            "if it may come back: keygate device resume {}",
            shown(id)
        )],
        Some(DeviceState::Revoked) => vec![
            "revocation is final: enrol the device under a new id with a new key if it may come back"
                .to_owned(),
        ],
    }
}

fn in_words(answered: &Answered<'_>, wall: UnixTime) -> String {
    let mut text = String::new();
    let id = shown(answered.id);
    // Writing to a String does not fail.
    let _ = match answered.device {
        Some(device) => writeln!(text, "{id} is enrolled and {}.", device.state),
        None => writeln!(text, "{id} is not enrolled here."),
    };
    let when = |event: &Event| {
        let ago = Relative {
            time: event.wall,
            now: wall,
        };
        format!("{} ({ago})", Utc(event.wall))
    };
    match answered.refusal {
        None => {
            let _ = writeln!(
                text,
                "It was not refused as far as the audit trail goes back."
            );
        }
        Some(event) => {
            let _ = writeln!(text, "\nLast refused  {}", when(event));
            let _ = writeln!(text, "What          {}", what(&event.kind, event));
            let _ = writeln!(text, "Why           {}", reason(&event.kind));
        }
    }
    if let Some(meaning) = answered.meaning {
        let _ = writeln!(text, "\n{meaning}");
    }
    if let Some(login) = answered.login_since {
        let how = match is_anonymous(login) {
            true => " (anonymous: it proved nothing)",
            false => "",
        };
        let _ = writeln!(text, "\nSince then it logged in: {}{how}", when(login));
    }
    if !answered.next.is_empty() {
        let _ = writeln!(text, "\nWhat to do");
        for step in &answered.next {
            let _ = writeln!(text, "  - {step}");
        }
    }
    text.trim_end().to_owned()
}

/// What was tried.
fn what(kind: &EventKind, event: &Event) -> String {
    match kind {
        EventKind::Login {
            client_id,
            method,
            origin,
            ..
        } => {
            let method = method.map_or_else(String::new, |m| format!(" with {}", method_name(m)));
            let client = shown(client_id);
            format!("login{method} as client `{client}`, {}", From(origin))
        }
        EventKind::Right {
            action,
            topic,
            origin,
            ..
        } => format!(
            "to {} `{}`, {}",
            attempt(*action),
            shown(topic),
            From(origin)
        ),
        EventKind::Token {
            audience, origin, ..
        } => {
            let audience = audience
                .as_deref()
                .map_or_else(String::new, |audience| format!(" for {}", shown(audience)));
            format!("token{audience}, {}", From(origin))
        }
        EventKind::Challenge { origin, .. } => format!("challenge, {}", From(origin)),
        EventKind::Malformed { origin, .. } => format!("a packet, {}", From(origin)),
        _ => InWords(event).to_string(),
    }
}

fn reason(kind: &EventKind) -> String {
    match kind {
        EventKind::Login { reason, .. } | EventKind::Token { reason, .. } => reason
            .as_ref()
            .map_or_else(|| "not recorded".into(), ToString::to_string),
        EventKind::Challenge { reason, .. } => reason.to_string(),
        EventKind::Right { reason, .. } => reason.to_string(),
        EventKind::Malformed { rule, .. } => format!("it broke a rule: {}", shown(rule)),
        _ => String::new(),
    }
}
