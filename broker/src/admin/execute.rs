//! What a command does, wherever it came from.

use super::command::{
    AddDevice, AdminError, Answer, BrokerKeys, Command, DeviceRecord, ErrorKind, Status,
};
use crate::clock::Clock;
use crate::identity::{Device, NewDevice, PAGE_MAX, Registry, Transition, parse_public_key};
use crate::telemetry::event::{Actor, Change};
use crate::telemetry::{Audit, Event, EventKind, Figures};
use std::io::{self, BufRead};
use std::sync::Arc;
use std::time::Duration;

/// How long a flush of the audit trail may take: a disk that needs longer is broken.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// Reads the figures of a running broker.
pub type ReadFigures = Arc<dyn Fn() -> Figures + Send + Sync>;

/// What commands work on.
#[derive(Clone)]
pub struct Deps {
    /// The devices.
    pub registry: Arc<Registry>,
    /// Where every change is recorded.
    pub audit: Audit,
    /// The time of those records.
    pub clock: Arc<dyn Clock>,
    /// The broker's name and public keys.
    pub keys: Arc<BrokerKeys>,
    /// Reads what a running broker has counted.
    pub figures: Option<ReadFigures>,
}

/// Where answers go, one after the other; an error means that nobody reads them any more.
pub type Answers<'a> = &'a mut dyn FnMut(Answer) -> io::Result<()>;

/// Executes a command for `by` and gives its answers; the last of them always [is a last one](Answer::is_last).
///
/// `input` holds the lines of an import; other commands do not read it.
///
/// # Errors
/// Only when an answer could not be delivered. What a command refuses is an [`Answer::Error`].
pub fn execute(
    deps: &Deps,
    by: Actor,
    command: Command,
    input: &mut dyn BufRead,
    answers: Answers<'_>,
) -> io::Result<()> {
    let result = match command {
        Command::DeviceAdd(device) => add(deps, by, device),
        Command::DeviceImport => import(deps, by, input, answers),
        Command::DeviceList {
            after,
            limit,
            state,
            group,
        } => {
            let mut wanted = |device: &Device| {
                state.is_none_or(|state| device.state == state)
                    && group
                        .as_ref()
                        .is_none_or(|group| device.groups.iter().any(|g| **g == **group))
            };
            let count = list(deps, after, limit.unwrap_or(u64::MAX), &mut wanted, answers)?;
            Ok(Answer::End { count })
        }
        Command::DeviceShow { id } => show(deps, &id),
        Command::DeviceTransition { id, transition } => transit(deps, by, &id, transition),
        Command::Flush => flush(deps),
        Command::Keys => Ok(Answer::Keys((*deps.keys).clone())),
        Command::Status => Ok(Answer::Status(status(deps))),
    };
    answers(result.unwrap_or_else(Answer::Error))
}

fn add(deps: &Deps, by: Actor, device: AddDevice) -> Result<Answer, AdminError> {
    let key = parse_public_key(&device.public_key)
        .map_err(|error| AdminError::new(ErrorKind::Invalid, format!("public key: {error}")))?;
    let defaults = NewDevice::new(device.id, key);
    let new = NewDevice {
        roles: if device.roles.is_empty() {
            defaults.roles
        } else {
            device.roles
        },
        groups: device.groups,
        attributes: device.attributes,
        via: device.via,
        ..defaults
    };
    let added = deps.registry.add(&new)?;
    record(deps, by, Change::Added, &added.device);
    Ok(Answer::Device {
        device: (&*added.device).into(),
        changed: true,
    })
}

fn import(
    deps: &Deps,
    by: Actor,
    mut input: &mut dyn BufRead,
    answers: Answers<'_>,
) -> Result<Answer, AdminError> {
    let imported = deps.registry.import(&mut input, &mut |progress| {
        // Nobody may be reading any more: then the input ends without its end mark, and nothing is imported.
        let _ = answers(progress.into());
    })?;
    deps.audit.record(Event {
        wall: deps.clock.wall(),
        kind: EventKind::Import {
            added: imported.added,
            unchanged: imported.unchanged,
            by,
        },
    });
    Ok(Answer::Imported {
        added: imported.added,
        unchanged: imported.unchanged,
        lines: imported.lines,
    })
}

/// Walks the directory page by page: no list is ever held whole.
fn list(
    deps: &Deps,
    mut after: Option<String>,
    limit: u64,
    wanted: &mut dyn FnMut(&Device) -> bool,
    answers: Answers<'_>,
) -> io::Result<u64> {
    let directory = deps.registry.directory();
    let mut count = 0;
    loop {
        let page = directory.page(after.as_deref(), PAGE_MAX);
        let Some(last) = page.last() else {
            return Ok(count);
        };
        after = Some(last.id.to_string());
        for device in page.iter().filter(|device| wanted(device)) {
            if count == limit {
                return Ok(count);
            }
            answers(Answer::Item {
                device: (&**device).into(),
            })?;
            count += 1;
        }
    }
}

fn show(deps: &Deps, id: &str) -> Result<Answer, AdminError> {
    let device = deps.registry.directory().device(id).ok_or_else(|| {
        AdminError::from(crate::identity::IdentityError::UnknownDevice { id: id.into() })
    })?;
    Ok(Answer::Device {
        device: DeviceRecord::from(&*device),
        changed: false,
    })
}

fn transit(deps: &Deps, by: Actor, id: &str, transition: Transition) -> Result<Answer, AdminError> {
    let done = deps.registry.transition(id, transition)?;
    if done.changed {
        let change = match (transition, done.device.state) {
            (Transition::Approve, _) => Change::Approved,
            (Transition::Resume, _) => Change::Resumed,
            (Transition::Suspend, _) => Change::Suspended,
            (Transition::Revoke, _) => Change::Revoked,
        };
        record(deps, by, change, &done.device);
    }
    Ok(Answer::Device {
        device: (&*done.device).into(),
        changed: done.changed,
    })
}

fn flush(deps: &Deps) -> Result<Answer, AdminError> {
    if deps.audit.flush(FLUSH_PATIENCE) {
        Ok(Answer::Flushed)
    } else {
        Err(AdminError::new(
            ErrorKind::Storage,
            "the audit trail could not be written in time",
        ))
    }
}

fn status(deps: &Deps) -> Status {
    let directory = deps.registry.directory();
    Status {
        broker_id: deps.keys.broker_id.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        devices: directory.len() as u64,
        revision: directory.revision().0,
        audit_lost: deps.audit.counts().lost,
        figures: deps.figures.as_ref().map(|read| read()),
    }
}

fn record(deps: &Deps, by: Actor, change: Change, device: &Device) {
    deps.audit.record(Event {
        wall: deps.clock.wall(),
        kind: EventKind::Identity {
            change,
            id: (&*device.id).into(),
            by,
        },
    });
}
