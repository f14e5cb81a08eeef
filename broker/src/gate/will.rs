use std::sync::Arc;

use super::Gate;
use crate::authn::Accepted;
use crate::authz::Denied;
use crate::hub::{Message, Session, Times, Will};
use crate::limits::Limits;
use crate::shard::ConnKey;
use keygate_protocol::mqtt::{Connect, Qos, ReasonCode};
use keygate_protocol::topic::TopicName;

/// What a CONNECT asks for that no identity could get here, with the code to refuse it.
pub(super) fn unacceptable(connect: &Connect<'_>, limits: &Limits) -> Option<ReasonCode> {
    let will = connect.will.as_ref()?;
    if will.qos == Qos::ExactlyOnce {
        // Maximum QoS 1 holds for wills too (MQTT 5 §3.2.2.3.4).
        return Some(ReasonCode::QosNotSupported);
    }
    match TopicName::new(will.topic) {
        Ok(topic) if topic.levels().count() <= limits.topic_levels => None,
        Ok(_) | Err(_) => Some(ReasonCode::TopicNameInvalid),
    }
}

/// The session that an accepted CONNECT asks for. A will is authorised here, once: it goes out even if the right ends
/// before the connection does. The refusal
/// names the topic.
pub(crate) fn session_of_connect<'a>(
    connect: &Connect<'a>,
    accepted: Accepted,
    conn: ConnKey,
    gate: &Gate,
    times: Times,
) -> Result<Session, Option<(&'a str, Denied)>> {
    let Accepted {
        principal,
        client_id,
        ..
    } = accepted;
    let will = match &connect.will {
        None => None,
        Some(will) => {
            // Well-formed: `unacceptable` has looked at it before anything was proved.
            let Ok(topic) = TopicName::new(will.topic) else {
                return Err(None);
            };
            let permit = gate
                .policy
                .publish(&principal, topic, will.retain)
                .map_err(|denied| Some((will.topic, denied)))?;
            if let Some(answer) = will.properties.response_topic {
                let Ok(topic) = TopicName::new(answer) else {
                    return Err(None);
                };
                let _readable = gate
                    .policy
                    .receive(&principal, topic)
                    .map_err(|denied| Some((answer, denied)))?;
            }
            Some(Box::new(Will {
                message: Message::of_will(will, None, times),
                permit,
            }))
        }
    };
    // Most client ids are the device's own: one text serves both.
    let client_id = if *client_id == *principal.device.id {
        Arc::clone(&principal.device.id)
    } else {
        client_id.into()
    };
    Ok(Session::new(
        client_id,
        principal,
        conn,
        connect.version,
        connect.properties.receive_max.min(gate.limits.inflight_max),
        connect.properties.packet_size_max.unwrap_or(u32::MAX),
        will,
    ))
}
