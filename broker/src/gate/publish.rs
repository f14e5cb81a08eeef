use std::borrow::Cow;
use std::sync::Arc;

use super::Established;
use crate::authz::Permit;
use crate::hub::{Cause, Message, Publication, PublishError};
use crate::log::LogNumber;
use crate::shard::Outbox;
use keygate_protocol::mqtt::{AckKind, PacketId, Publish, Qos, ReasonCode, Version};

/// A client's PUBLISH: alias, bounds, topic, right, then the hub.
pub(super) fn publish(
    session: &mut Established<'_>,
    publish: &Publish<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    let topic = topic(session, publish)?;
    let publish = &Publish {
        topic: &topic,
        ..*publish
    };
    if let Some(packet_id) = publish.packet_id {
        if publish.qos == Qos::ExactlyOnce && session.hub.has_received(session.key, packet_id) {
            // It came again because the client has not heard of our answer (MQTT 5 §4.3.3).
            let number = session.hub.under_way();
            answer(session, number, publish, ReasonCode::Success, out);
            return Ok(());
        }
        check_quota(session)?;
    }
    match permit(session, publish, out) {
        Ok(permit) => accept(session, publish, permit, out),
        Err(code) => refuse(session, publish, code, out),
    }
}

/// The topic by name: what an alias stands for, if there is one (MQTT 5 §3.3.2.3.4).
fn topic<'p>(session: &mut Established<'_>, publish: &Publish<'p>) -> Result<Cow<'p, str>, Cause> {
    let Some(alias) = publish.topic_alias else {
        return Ok(Cow::Borrowed(publish.topic));
    };
    if alias.get() > session.gate.limits.topic_aliases {
        session.gate.reached.topic_aliases.add();
        return Err(Cause::Protocol(ReasonCode::TopicAliasInvalid));
    }
    let link = session.hub.session_mut(session.key);
    let Some(link) = link.and_then(|open| open.link_mut()) else {
        return Err(Cause::ConnectionLost);
    };
    if publish.topic.is_empty() {
        let topic = link
            .aliased(alias)
            .map(|topic| Cow::Owned(topic.to_owned()));
        return topic.ok_or(Cause::Protocol(ReasonCode::ProtocolError));
    }
    link.set_alias(alias, publish.topic);
    Ok(Cow::Borrowed(publish.topic))
}

/// Receive Maximum: what the client has sent and not been answered (MQTT 5 §4.9).
fn check_quota(session: &Established<'_>) -> Result<(), Cause> {
    let owed = session
        .hub
        .session(session.key)
        .map_or(0, |open| open.owed());
    if owed < usize::from(session.gate.limits.receive_max) {
        return Ok(());
    }
    session.gate.reached.receive_max.add();
    Err(Cause::Protocol(ReasonCode::ReceiveMaximumExceeded))
}

/// The right to publish; a refusal is recorded.
fn permit(
    session: &mut Established<'_>,
    publish: &Publish<'_>,
    out: &mut Outbox,
) -> Result<Permit, ReasonCode> {
    let Some(open) = session.hub.session(session.key) else {
        return Err(ReasonCode::UnspecifiedError);
    };
    session
        .gate
        .permit_publish(&open.principal, open.version, publish)
        .map_err(|refused| {
            session.record_denial(refused.denial.as_ref(), out);
            refused.code
        })
}

fn accept(
    session: &mut Established<'_>,
    publish: &Publish<'_>,
    permit: Permit,
    out: &mut Outbox,
) -> Result<(), Cause> {
    // Only what is retained outlives the moment, and goes when its publisher goes.
    let publisher = session
        .hub
        .session(session.key)
        .filter(|_| publish.retain)
        .and_then(|open| open.principal.owner().identity().cloned());
    let message: Arc<Message> = Message::of_publish(publish, publisher, session.times);
    let publication = Publication {
        message: &message,
        from: Some(session.key),
        received: publish
            .packet_id
            .filter(|_| publish.qos == Qos::ExactlyOnce),
    };
    match session.hub.publish(publication, permit, session.times, out) {
        Ok(number) => {
            answer(session, number, publish, ReasonCode::Success, out);
            Ok(())
        }
        Err(PublishError::RetainedFull | PublishError::DiskFull) => {
            refuse(session, publish, ReasonCode::QuotaExceeded, out)
        }
    }
}

/// PUBACK or PUBREC with this code, once the log has come so far; nothing for QoS 0.
fn answer(
    session: &mut Established<'_>,
    number: LogNumber,
    publish: &Publish<'_>,
    code: ReasonCode,
    out: &mut Outbox,
) {
    let Some(packet_id) = publish.packet_id else {
        return;
    };
    let packet_id: PacketId = packet_id;
    let kind = match publish.qos {
        Qos::ExactlyOnce => AckKind::Pubrec,
        _ => AckKind::Puback,
    };
    session
        .hub
        .answer(number, session.key, (kind, packet_id, code), out);
}

/// As RFC 9431 wants it: QoS 1 and 2 get their code, QoS 0 and 3.1.1 have no place for one and are closed, unless the
/// configuration wants 3.1.1 clients to go on.
fn refuse(
    session: &mut Established<'_>,
    publish: &Publish<'_>,
    code: ReasonCode,
    out: &mut Outbox,
) -> Result<(), Cause> {
    match (session.hub.version(session.key), publish.packet_id) {
        (Some(Version::V5), Some(_)) => {
            answer(session, LogNumber::default(), publish, code, out);
            Ok(())
        }
        (Some(Version::V311), _)
            if code == ReasonCode::NotAuthorized && session.gate.acknowledge_refused =>
        {
            let code = ReasonCode::Success;
            answer(session, LogNumber::default(), publish, code, out);
            Ok(())
        }
        _ if code == ReasonCode::NotAuthorized => Err(Cause::NotAuthorized),
        _ => Err(Cause::Protocol(code)),
    }
}
