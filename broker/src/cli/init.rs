//! `keygate init`.

use super::Context;
use super::args::InitArgs;
use super::failure::Failure;
use crate::admin::broker_keys;
use crate::keys::DataDir;
use crate::telemetry::event::BrokerChange;
use crate::telemetry::trail::Keep;
use crate::telemetry::{Audit, Event, EventKind};
use keygate_protocol::ident::Id;
use serde::Serialize;

/// Events of an initialisation that wait for the disk.
const AUDIT_RING: usize = 16;

#[derive(Serialize)]
struct Made<'a> {
    broker_id: &'a str,
    data: String,
    identity_key: &'a str,
    next_identity_key: &'a str,
}

/// Makes a data directory and records that.
pub(super) fn make(context: &mut Context, broker_id: Option<&str>) -> Result<DataDir, Failure> {
    let wall = context.clock.wall();
    let name = broker_id
        .map(Id::new)
        .transpose()
        .map_err(Failure::wrong_use)?;
    let data = DataDir::init(&context.data, name, wall, &mut *context.random)?;
    let (audit, writer) = Audit::start(&context.data, Keep::default(), AUDIT_RING)
        .map_err(|error| Failure::failed(format!("the audit trail cannot be written: {error}")))?;
    audit.record(Event {
        wall,
        kind: EventKind::Broker {
            change: BrokerChange::Initialised,
            broker_id: data.broker_id().as_str().into(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
    });
    writer.stop();
    Ok(data)
}

pub(super) fn run(context: &mut Context, args: &InitArgs) -> Result<(), Failure> {
    let data = make(context, args.broker_id.as_deref())?;
    let keys = broker_keys(&data)?;
    let at = context.data.display();
    let [current, next] = [0, 1].map(|n| keys.identity.get(n).map_or("", String::as_str));
    let text = format!(
        "{at} is the data directory of broker {}.\nIdentity key, which devices may pin:\n  now   {current}\n  next  \
         {next}\nStart it with: keygate serve --data {at}",
        keys.broker_id
    );
    let made = Made {
        broker_id: &keys.broker_id,
        data: at.to_string(),
        identity_key: current,
        next_identity_key: next,
    };
    context.screen.result(&made, text)
}
