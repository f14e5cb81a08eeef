use std::sync::Arc;

use super::{Gate, Terms};
use crate::authn::{Accepted, Principal};
use crate::authz::Denied;
use crate::hub::{Link, Message, Opening, Times, Will};
use crate::limits::Limits;
use crate::shard::ConnKey;
use keygate_protocol::mqtt::{self, Connect, ReasonCode};
use keygate_protocol::topic::TopicName;

/// What a CONNECT asks for that no identity could get here, with the code to refuse it.
pub(super) fn unacceptable(connect: &Connect<'_>, limits: &Limits) -> Option<ReasonCode> {
    let will = connect.will.as_ref()?;
    match TopicName::new(will.topic) {
        Ok(topic) if topic.levels().count() <= limits.topic_levels => None,
        Ok(_) | Err(_) => Some(ReasonCode::TopicNameInvalid),
    }
}

/// What an accepted CONNECT asks for. A will is authorised here, once: it goes out even if the right ends before the
/// connection does. The refusal names the topic.
pub(crate) fn opening<'a>(
    connect: &Connect<'a>,
    accepted: Accepted,
    conn: ConnKey,
    gate: &Gate,
    times: Times,
) -> Result<Opening, Option<(&'a str, Denied)>> {
    let Accepted {
        principal,
        client_id,
        ..
    } = accepted;
    let will = connect
        .will
        .as_ref()
        .map(|asked| will(asked, &principal, gate, times))
        .transpose()?
        .map(Box::new);
    // Most client ids are the device's own: one text serves both.
    let client_id = if *client_id == *principal.device.id {
        Arc::clone(&principal.device.id)
    } else {
        client_id.into()
    };
    let limits = &gate.limits;
    let properties = &connect.properties;
    let link = Link::new(
        conn,
        properties.receive_max.min(limits.inflight_max),
        properties.packet_size_max.unwrap_or(u32::MAX),
        properties.topic_alias_max.min(limits.topic_aliases_out),
    );
    Ok(Opening {
        client_id,
        principal,
        version: connect.version,
        expiry_s: Terms::of(connect, limits).session_expiry_s,
        will,
        link,
    })
}

fn will<'a>(
    asked: &mqtt::Will<'a>,
    principal: &Principal,
    gate: &Gate,
    times: Times,
) -> Result<Will, Option<(&'a str, Denied)>> {
    // Well-formed: `unacceptable` has looked at it before anything was proved.
    let permit = gate.permit_will(principal, asked)?;
    let publisher = principal.owner().identity().cloned();
    Ok(Will {
        message: Message::of_will(asked, publisher.filter(|_| asked.retain), times),
        permit,
        delay_s: asked.delay_s,
    })
}
