//! `keygate audit`.

use super::args::AuditArgs;
use super::event::InWords;
use super::failure::Failure;
use super::{Context, flush_trail};
use crate::telemetry::trail::{Filter, Follow, Found, last};
use std::io;
use std::time::Duration;

const LIMIT: usize = 100;
const LIMIT_BEFORE_FOLLOWING: usize = 10;
/// How long an event may be unseen while it is followed.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(super) fn run(context: &mut Context, args: &AuditArgs) -> Result<(), Failure> {
    flush_trail(context);
    let filter = Filter {
        id: args.id.clone(),
        refused: args.refused,
    };
    let unreadable = |error: io::Error| Failure::failed(format!("the audit trail: {error}"));
    // Before looking back, so that nothing falls between the two; what both see is shown once.
    let mut follow = match args.follow {
        true => Some(Follow::start(&context.data, filter.clone()).map_err(unreadable)?),
        false => None,
    };
    let limit = args.limit.unwrap_or(match args.follow {
        true => LIMIT_BEFORE_FOLLOWING,
        false => LIMIT,
    });
    let found = last(&context.data, &filter, limit).map_err(unreadable)?;
    let shown = found.events.clone();
    show(context, &found)?;
    let Some(follow) = &mut follow else {
        return explain_nothing(context, args, &found);
    };
    let mut first = true;
    loop {
        let mut found = follow.poll().map_err(unreadable)?;
        if std::mem::take(&mut first) {
            found.events.retain(|event| !shown.contains(event));
        }
        show(context, &found)?;
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

fn show(context: &mut Context, found: &Found) -> Result<(), Failure> {
    for event in &found.events {
        context
            .screen
            .put(event, InWords(event))
            .map_err(|error| Failure::output(&error))?;
    }
    if found.unreadable > 0 {
        context.screen.note(format!(
            "{} lines could not be read: torn by a crash, or written by another version",
            found.unreadable
        ));
    }
    context.screen.flush()
}

/// An empty answer to a person says why it is empty.
fn explain_nothing(context: &Context, args: &AuditArgs, found: &Found) -> Result<(), Failure> {
    if !found.events.is_empty() || context.screen.is_json() {
        return Ok(());
    }
    if !context.data.is_dir() {
        let at = context.data.display();
        return Err(Failure::failed(format!(
            "{at} is no data directory; name it with --data, or make one: keygate init --data {at}"
        )));
    }
    let of_what = match (&args.id, args.refused) {
        (Some(id), true) => format!("no refusal of {id}"),
        (Some(id), false) => format!("nothing about {id}"),
        (None, true) => "no refusal".into(),
        (None, false) => "no event".into(),
    };
    context
        .screen
        .note(format!("{of_what} is in the audit trail"));
    Ok(())
}
