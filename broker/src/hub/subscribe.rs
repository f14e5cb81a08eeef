use super::retained::Snapshot;
use super::routes::{Options, Subscriber};
use super::session::Subscription;
use super::{Hub, SessionKey};
use crate::authz::Permit;
use keygate_protocol::topic::TopicFilter;

/// One filter of a SUBSCRIBE, as the gate understood it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) filter: TopicFilter<'a>,
    pub(crate) options: Options,
    pub(crate) retain_handling: RetainHandling,
}

/// When retained messages are sent (MQTT 5 §3.8.3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RetainHandling {
    /// With every SUBSCRIBE.
    Send,
    /// Only if the subscription is new.
    SendIfNew,
    /// Never.
    Keep,
}

/// Why a permitted subscription was not made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SubscribeError {
    /// The session has as many subscriptions as it may have.
    TooMany,
    /// The session has ended.
    Gone,
}

impl Hub {
    /// Makes or changes a subscription. Its retained messages follow with the end of the turn.
    pub(crate) fn subscribe(
        &mut self,
        key: SessionKey,
        wanted: Wanted<'_>,
        permit: Permit,
    ) -> Result<(), SubscribeError> {
        let subscriber = Subscriber {
            key: self.subscriber(key),
            options: wanted.options,
        };
        let limits = &self.shared.limits;
        let session = self.sessions.get_mut(key).ok_or(SubscribeError::Gone)?;
        let filter = wanted.filter.as_str();
        let existing = session
            .subscriptions
            .iter_mut()
            .find(|subscription| &*subscription.filter == filter);
        let fresh = existing.is_none();
        match existing {
            Some(existing) => existing.permit = permit,
            None => {
                let wildcards = session
                    .subscriptions
                    .iter()
                    .filter(|s| is_wildcard(&s.filter))
                    .count();
                if session.subscriptions.len() >= limits.subscriptions
                    || (is_wildcard(filter) && wildcards >= limits.wildcard_subscriptions)
                {
                    return Err(SubscribeError::TooMany);
                }
                // Most devices subscribe once: no room for three more.
                session.subscriptions.reserve_exact(1);
                session.subscriptions.push(Subscription {
                    filter: filter.into(),
                    permit,
                });
            }
        }
        if wanted.retain_handling == RetainHandling::Send
            || (fresh && wanted.retain_handling == RetainHandling::SendIfNew)
        {
            session.add_snapshot(Snapshot::new(filter), wanted.options);
            self.revisit(key);
        }
        self.shared.routes_mut().insert(filter, subscriber);
        Ok(())
    }

    /// Ends a subscription. Says whether there was one.
    pub(crate) fn unsubscribe(&mut self, key: SessionKey, filter: &str) -> bool {
        let subscriber = self.subscriber(key);
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some(at) = session
            .subscriptions
            .iter()
            .position(|subscription| &*subscription.filter == filter)
        else {
            return false;
        };
        session.subscriptions.swap_remove(at);
        session.drop_snapshot(filter);
        self.shared.routes_mut().remove(filter, subscriber)
    }

    /// Asks for every subscription of a session again, after its rights changed: those without a permit end.
    pub(crate) fn recheck(
        &mut self,
        key: SessionKey,
        mut permit: impl FnMut(&str) -> Option<Permit>,
    ) -> usize {
        let Some(session) = self.sessions.get_mut(key) else {
            return 0;
        };
        let mut lost = Vec::new();
        for subscription in &mut session.subscriptions {
            match permit(&subscription.filter) {
                Some(permit) => subscription.permit = permit,
                None => lost.push(subscription.filter.clone()),
            }
        }
        for filter in &lost {
            self.unsubscribe(key, filter);
        }
        lost.len()
    }
}

fn is_wildcard(filter: &str) -> bool {
    filter.contains(['+', '#'])
}
