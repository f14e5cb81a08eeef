use super::{Established, reply};
use crate::authz::Permit;
use crate::hub::{Cause, Options, RetainHandling, SubscribeError, Wanted};
use crate::shard::Outbox;
use keygate_protocol::mqtt::{
    self, Qos, ReasonCode, Subscribe, Subscription, SubscriptionId, Unsubscribe,
};
use keygate_protocol::topic::TopicFilter;

/// A client's SUBSCRIBE: every filter gets its own answer.
pub(super) fn subscribe(
    session: &mut Established<'_>,
    subscribe: &Subscribe<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    let Some(version) = session.hub.session(session.key).map(|s| s.version) else {
        return Ok(());
    };
    let mut codes = Vec::new();
    for wanted in subscribe.subscriptions {
        codes.push(one(session, &wanted, subscribe.subscription_id, out));
    }
    let mut answer = Vec::new();
    reply::suback(version, subscribe.packet_id, &codes, &mut answer);
    session.hub.reply(session.key, answer, out);
    Ok(())
}

fn one(
    session: &mut Established<'_>,
    wanted: &Subscription<'_>,
    id: Option<SubscriptionId>,
    out: &mut Outbox,
) -> ReasonCode {
    let permit = match permit(session, wanted.filter, out) {
        Ok(permit) => permit,
        Err(code) => return code,
    };
    let qos = wanted.options.qos;
    let options = Options::new(
        qos,
        wanted.options.no_local,
        wanted.options.retain_as_published,
    );
    let retain_handling = match wanted.options.retain_handling {
        mqtt::RetainHandling::Send => RetainHandling::Send,
        mqtt::RetainHandling::SendIfNew => RetainHandling::SendIfNew,
        mqtt::RetainHandling::DoNotSend => RetainHandling::Keep,
    };
    match session.hub.subscribe(
        session.key,
        Wanted {
            filter: wanted.filter,
            options,
            id,
            retain_handling,
        },
        permit,
    ) {
        Ok(()) => match qos {
            Qos::AtMostOnce => ReasonCode::Success,
            Qos::AtLeastOnce => ReasonCode::GrantedQos1,
            Qos::ExactlyOnce => ReasonCode::GrantedQos2,
        },
        Err(SubscribeError::TooMany | SubscribeError::DiskFull) => ReasonCode::QuotaExceeded,
        Err(SubscribeError::Gone) => ReasonCode::UnspecifiedError,
    }
}

fn permit(
    session: &Established<'_>,
    filter: TopicFilter<'_>,
    out: &mut Outbox,
) -> Result<Permit, ReasonCode> {
    let Some(open) = session.hub.session(session.key) else {
        return Err(ReasonCode::UnspecifiedError);
    };
    session
        .gate
        .permit_subscribe(&open.principal, open.version, filter)
        .map_err(|refused| {
            session.record_denial(refused.denial.as_ref(), out);
            refused.code
        })
}

/// A client's UNSUBSCRIBE.
pub(super) fn unsubscribe(
    session: &mut Established<'_>,
    unsubscribe: &Unsubscribe<'_>,
    out: &mut Outbox,
) -> Result<(), Cause> {
    let Some(version) = session.hub.session(session.key).map(|s| s.version) else {
        return Ok(());
    };
    let mut codes = Vec::new();
    for filter in unsubscribe.filters {
        let existed = session.hub.unsubscribe(session.key, filter.as_str());
        codes.push(if existed {
            ReasonCode::Success
        } else {
            ReasonCode::NoSubscriptionExisted
        });
    }
    let mut answer = Vec::new();
    reply::unsuback(version, unsubscribe.packet_id, &codes, &mut answer);
    session.hub.reply(session.key, answer, out);
    Ok(())
}
