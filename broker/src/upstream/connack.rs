//! CONNACK for the client: the gate's own fields, and the narrower of both brokers' limits.
use super::connect::Greeting;
use super::relay::Who;
use crate::gate::Terms;
use crate::limits::Limits;
use keygate_protocol::mqtt::{Connack, ConnackProperties, ReasonCode};

/// What holds for the session from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    pub(super) terms: Terms,
    /// QoS 1 and 2 publishes of the client that may be unanswered.
    pub(super) receive_max: u16,
    /// Largest packet that may go up.
    pub(super) packet_max: u32,
}

impl Agreed {
    pub(super) fn of(
        greeting: &Greeting,
        upstream: &ConnackProperties<'_>,
        limits: &Limits,
    ) -> Self {
        let packet_max = upstream.packet_size_max.unwrap_or(u32::MAX);
        Self {
            terms: greeting
                .terms
                .within(upstream.keep_alive_s, upstream.session_expiry_s),
            receive_max: limits.receive_max.min(upstream.receive_max),
            packet_max: limits.packet_bytes.min(packet_max),
        }
    }
}

/// The CONNACK that opens the session. What the upstream says to people or of other servers stays here: it is not the
/// client's broker.
pub(super) fn opening<'a>(
    who: &'a Who,
    greeting: &'a Greeting,
    agreed: &Agreed,
    upstream: &Connack<'_>,
) -> Connack<'a> {
    let theirs = &upstream.properties;
    Connack {
        session_present: upstream.session_present,
        code: ReasonCode::Success,
        properties: ConnackProperties {
            session_expiry_s: agreed.terms.session_expiry_capped(),
            receive_max: agreed.receive_max,
            qos_max: theirs.qos_max,
            retain_available: theirs.retain_available,
            packet_size_max: Some(agreed.packet_max),
            assigned_client_id: greeting.assigned.then_some(&*who.client_id),
            wildcard_subscriptions_available: theirs.wildcard_subscriptions_available,
            subscription_ids_available: theirs.subscription_ids_available,
            shared_subscriptions_available: theirs.shared_subscriptions_available,
            keep_alive_s: agreed.terms.keep_alive_changed(),
            auth_method: greeting.auth_method.as_deref(),
            auth_data: greeting.proof.as_ref().map(|proof| &proof.as_bytes()[..]),
            ..ConnackProperties::default()
        },
    }
}
