//! The rights that a packet needs, whichever engine it is for: one place, so that no engine is kinder than another.
use super::Gate;
use crate::authn::Principal;
use crate::authz::{Denied, DeniedCause, Permit};
use crate::telemetry::event::{EventKind, Origin, RightAction, RightReason, peer_text};
use keygate_protocol::mqtt::{self, Publish, ReasonCode, Version};
use keygate_protocol::topic::{TopicFilter, TopicName};

/// Why a packet gets no permit.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Refused<'a> {
    /// What becomes of the packet.
    pub(crate) code: ReasonCode,
    /// For the audit log; none if no right was asked.
    pub(crate) denial: Option<Denial<'a>>,
}

/// A right that was refused.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Denial<'a> {
    pub(crate) action: RightAction,
    /// The topic or filter.
    pub(crate) topic: &'a str,
    pub(crate) denied: Denied,
    /// The code that the client hears, if its version of MQTT has one for it.
    pub(crate) told: Option<ReasonCode>,
}

impl Refused<'_> {
    fn invalid(code: ReasonCode) -> Self {
        Self { code, denial: None }
    }
}

impl Denial<'_> {
    /// The event that a right was refused to this session.
    pub(crate) fn event(&self, identity: &str, client_id: &str, origin: Origin) -> EventKind {
        EventKind::Right {
            action: self.action,
            topic: peer_text(self.topic),
            reason: denied_reason(&self.denied),
            identity: peer_text(identity),
            client_id: peer_text(client_id),
            code: self.told.map(ReasonCode::value),
            origin,
        }
    }
}

/// In the words of the trail.
pub(super) fn denied_reason(denied: &Denied) -> RightReason {
    match denied.cause {
        DeniedCause::BrokerOnly | DeniedCause::Reserved => RightReason::Reserved,
        DeniedCause::NoRule | DeniedCause::NotActive(_) => RightReason::NotGranted,
        DeniedCause::Rule { .. } => RightReason::Denied,
    }
}

impl Gate {
    /// The right to publish, and to be answered where the message asks for an answer: nobody may make others write to a
    /// topic that it may not read itself. The topic stands by its name; what an alias stands for is known before.
    pub(crate) fn permit_publish<'a>(
        &self,
        principal: &Principal,
        version: Version,
        publish: &Publish<'a>,
    ) -> Result<Permit, Refused<'a>> {
        let invalid = || Refused::invalid(ReasonCode::TopicNameInvalid);
        let code = ReasonCode::NotAuthorized;
        let denied = |action, topic| {
            move |denied| Refused {
                code,
                denial: Some(Denial {
                    action,
                    topic,
                    denied,
                    // MQTT 3.1.1 has none.
                    told: (version == Version::V5).then_some(code),
                }),
            }
        };
        let topic = TopicName::new(publish.topic).map_err(|_| invalid())?;
        if topic.levels().count() > self.limits.topic_levels {
            self.reached.topic_levels.add();
            return Err(invalid());
        }
        let action = match publish.retain {
            true => RightAction::Retain,
            false => RightAction::Publish,
        };
        let permit = self
            .policy
            .publish(principal, topic, publish.retain)
            .map_err(denied(action, publish.topic))?;
        if let Some(answer) = publish.properties.response_topic {
            let name = TopicName::new(answer).map_err(|_| invalid())?;
            let _readable = self
                .policy
                .receive(principal, name)
                .map_err(denied(RightAction::ResponseTopic, answer))?;
        }
        Ok(permit)
    }

    /// The right to a subscription, shared or not.
    pub(crate) fn permit_subscribe<'a>(
        &self,
        principal: &Principal,
        version: Version,
        filter: TopicFilter<'a>,
    ) -> Result<Permit, Refused<'a>> {
        if filter.levels().count() > self.limits.topic_levels {
            self.reached.topic_levels.add();
            return Err(Refused::invalid(ReasonCode::TopicFilterInvalid));
        }
        self.policy.subscribe(principal, filter).map_err(|denied| {
            let code = self.subscribe_refusal;
            let action = match filter.share() {
                Some(_) => RightAction::Share,
                None => RightAction::Subscribe,
            };
            let told = match version {
                // SUBACK of MQTT 3.1.1 knows one failure.
                Version::V311 => ReasonCode::UnspecifiedError,
                Version::V5 => code,
            };
            let denial = Denial {
                action,
                topic: filter.as_str(),
                denied,
                told: Some(told),
            };
            let denial = Some(denial);
            Refused { code, denial }
        })
    }

    /// The right to leave a will. The refusal names the topic; it has none where a topic is not well-formed, which
    /// whoever let the CONNECT in has looked at.
    pub(crate) fn permit_will<'a>(
        &self,
        principal: &Principal,
        will: &mqtt::Will<'a>,
    ) -> Result<Permit, Option<(&'a str, Denied)>> {
        let topic = TopicName::new(will.topic).map_err(|_| None)?;
        let permit = self
            .policy
            .publish(principal, topic, will.retain)
            .map_err(|denied| Some((will.topic, denied)))?;
        if let Some(answer) = will.properties.response_topic {
            let topic = TopicName::new(answer).map_err(|_| None)?;
            let _readable = self
                .policy
                .receive(principal, topic)
                .map_err(|denied| Some((answer, denied)))?;
        }
        Ok(permit)
    }
}
