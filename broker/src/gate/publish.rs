use super::Established;
use crate::authz::Permit;
use crate::hub::{Cause, Message, PublishError};
use crate::log::LogNumber;
use crate::shard::Outbox;
use crate::telemetry::event::RightAction;
use keygate_protocol::mqtt::{Publish, Qos, ReasonCode, Version};
use keygate_protocol::topic::TopicName;

/// A client's PUBLISH: QoS, topic, right, then the hub.
pub(super) fn publish(
    session: &mut Established<'_>,
    publish: &Publish<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    if publish.qos == Qos::ExactlyOnce {
        // Declared as not there (Maximum QoS 1, MQTT 5 §3.2.2.3.4).
        return Err(Cause::Protocol(ReasonCode::QosNotSupported));
    }
    if publish.topic_alias.is_some() {
        // Declared as not there (Topic Alias Maximum 0, MQTT 5 §3.3.2.3.4).
        return Err(Cause::Protocol(ReasonCode::TopicAliasInvalid));
    }
    match permit(session, publish, out) {
        Ok(permit) => accept(session, publish, permit, out),
        Err(code) => refuse(session, publish, code, out),
    }
}

/// The right to publish, and to be answered where the message asks for an answer: nobody may make others write to a
/// topic that it may not read itself.
fn permit(
    session: &mut Established<'_>,
    publish: &Publish<'_>,
    out: &mut Outbox,
) -> Result<Permit, ReasonCode> {
    let topic = TopicName::new(publish.topic).map_err(|_| ReasonCode::TopicNameInvalid)?;
    if topic.levels().count() > session.gate.limits.topic_levels {
        return Err(ReasonCode::TopicNameInvalid);
    }
    let Some(principal) = session.hub.session(session.key).map(|s| &s.principal) else {
        return Err(ReasonCode::UnspecifiedError);
    };
    let policy = &session.gate.policy;
    let permit = policy
        .publish(principal, topic, publish.retain)
        .map_err(|denied| {
            let action = if publish.retain {
                RightAction::Retain
            } else {
                RightAction::Publish
            };
            session.record_denial(action, publish.topic, &denied, out);
            ReasonCode::NotAuthorized
        })?;
    if let Some(answer) = publish.properties.response_topic {
        let name = TopicName::new(answer).map_err(|_| ReasonCode::TopicNameInvalid)?;
        let _readable = policy.receive(principal, name).map_err(|denied| {
            session.record_denial(RightAction::ResponseTopic, answer, &denied, out);
            ReasonCode::NotAuthorized
        })?;
    }
    Ok(permit)
}

fn accept(
    session: &mut Established<'_>,
    publish: &Publish<'_>,
    permit: Permit,
    out: &mut Outbox,
) -> Result<(), Cause> {
    let open = session.hub.session(session.key);
    let unacknowledged = open.map_or(0, |open| open.unacknowledged);
    if publish.qos == Qos::AtLeastOnce && unacknowledged >= session.gate.limits.receive_max {
        return Err(Cause::Protocol(ReasonCode::ReceiveMaximumExceeded));
    }
    let message = Message::of_publish(publish, None, session.times);
    let number = match session
        .hub
        .publish(Some(session.key), &message, permit, session.times, out)
    {
        Ok(number) => number,
        Err(PublishError::RetainedFull) => {
            return refuse(session, publish, ReasonCode::QuotaExceeded, out);
        }
    };
    if let Some(packet_id) = publish.packet_id {
        let code = ReasonCode::Success;
        session
            .hub
            .acknowledge_publish(number, session.key, packet_id, code, out);
    }
    Ok(())
}

/// As RFC 9431 wants it: QoS 1 gets its code, QoS 0 and 3.1.1 have no place for one and are closed.
fn refuse(
    session: &mut Established<'_>,
    publish: &Publish<'_>,
    code: ReasonCode,
    out: &mut Outbox,
) -> Result<(), Cause> {
    let version = session.hub.session(session.key).map(|s| s.version);
    match (version, publish.packet_id) {
        (Some(Version::V5), Some(packet_id)) => {
            let number = LogNumber::default();
            session
                .hub
                .acknowledge_publish(number, session.key, packet_id, code, out);
            Ok(())
        }
        _ if code == ReasonCode::NotAuthorized => Err(Cause::NotAuthorized),
        _ => Err(Cause::Protocol(code)),
    }
}
