use std::sync::Arc;

use super::flow::Following;
use super::retained::Snapshot;
use super::routes::{Options, Subscriber};
use super::session::Subscription;
use super::{Hub, SessionKey};
use crate::authn::Principal;
use crate::authz::Permit;
use crate::limits::Count;
use crate::log::{Op, StoredSubscription};
use keygate_protocol::mqtt::SubscriptionId;
use keygate_protocol::topic::TopicFilter;

/// One filter of a SUBSCRIBE, as the gate understood it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) filter: TopicFilter<'a>,
    pub(crate) options: Options,
    pub(crate) id: Option<SubscriptionId>,
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
    /// It must survive, and the disk is full.
    DiskFull,
    /// The session has ended.
    Gone,
}

impl Hub {
    /// Makes or changes a subscription. Its retained messages follow with the end of the turn; a shared subscription has
    /// none (MQTT 5 §4.8.2).
    pub(crate) fn subscribe(
        &mut self,
        key: SessionKey,
        wanted: Wanted<'_>,
        permit: Permit,
    ) -> Result<(), SubscribeError> {
        let filter = wanted.filter.as_str();
        let fresh = self.put_subscription(key, wanted, permit)?;
        let shared = wanted.filter.share().is_some();
        let follows = !shared
            && match wanted.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => fresh,
                RetainHandling::Keep => false,
            };
        let snapshot = match shared {
            true => {
                self.join(key, wanted, fresh);
                None
            }
            false => self.route_subscription(key, wanted, follows),
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return Err(SubscribeError::Gone);
        };
        if let Some(session) = session.stored {
            self.ops.push(Op::Subscribe {
                session,
                subscription: StoredSubscription {
                    filter: filter.into(),
                    options: wanted.options.to_byte(),
                    id: wanted.id,
                    cursor: snapshot.as_ref().map(Snapshot::cursor),
                },
            });
        }
        if let Some(snapshot) = snapshot {
            session.flow().follow(Following {
                snapshot,
                options: wanted.options,
                id: wanted.id,
            });
            self.revisit(key);
        }
        Ok(())
    }

    /// Into the session. Says whether it is new there.
    fn put_subscription(
        &mut self,
        key: SessionKey,
        wanted: Wanted<'_>,
        permit: Permit,
    ) -> Result<bool, SubscribeError> {
        let shared = Arc::clone(&self.shared);
        let session = self.sessions.get_mut(key).ok_or(SubscribeError::Gone)?;
        let filter = wanted.filter.as_str();
        let subscriptions = &mut session.subscriptions;
        let at = subscriptions
            .iter()
            .position(|subscription| &*subscription.filter == filter);
        if at.is_none()
            && let Some(reached) = full(subscriptions, filter, &shared)
        {
            reached.add();
            return Err(SubscribeError::TooMany);
        }
        if session.stored.is_some() && shared.log.is_full() {
            return Err(SubscribeError::DiskFull);
        }
        let subscription = Subscription {
            filter: filter.into(),
            permit,
        };
        match at.and_then(|at| subscriptions.get_mut(at)) {
            Some(existing) => *existing = subscription,
            None => {
                // Most devices subscribe once: no room for three more.
                subscriptions.reserve_exact(1);
                subscriptions.push(subscription);
            }
        }
        session.classify();
        Ok(at.is_none())
    }

    /// Into the trie; and what is retained now follows, while what is published from now on comes by itself.
    pub(super) fn route_subscription(
        &mut self,
        key: SessionKey,
        wanted: Wanted<'_>,
        follows: bool,
    ) -> Option<Snapshot> {
        let stored = self.sessions.get(key).and_then(|session| session.stored);
        let subscriber = Subscriber {
            key: self.subscriber(key),
            options: wanted.options,
            id: wanted.id,
            stored: stored.unwrap_or_default(),
        };
        let filter = wanted.filter.as_str();
        let retained = follows.then(|| self.shared.retained());
        self.shared.routes_mut().insert(filter, subscriber);
        retained.map(|retained| Snapshot::new(filter, retained.last_change()))
    }

    /// Ends a subscription. Says whether there was one.
    pub(crate) fn unsubscribe(&mut self, key: SessionKey, filter: &str) -> bool {
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
        session.classify();
        if let Some(flow) = session.flow.as_mut() {
            flow.forget(filter);
        }
        if let Some(session) = session.stored {
            self.ops.push(Op::Unsubscribe {
                session,
                filter: filter.into(),
            });
        }
        self.unroute(key, filter);
        true
    }

    /// Takes a subscription out of the trie, or the session out of its share group.
    pub(super) fn unroute(&mut self, key: SessionKey, filter: &str) {
        let shared = TopicFilter::new(filter)
            .ok()
            .filter(|filter| filter.share().is_some());
        if let Some(filter) = shared {
            self.leave(key, filter);
        } else {
            let subscriber = self.subscriber(key);
            self.shared.routes_mut().remove(filter, subscriber);
        }
    }

    /// The session's principal as it is now: subscriptions that its rights no longer cover end.
    pub(crate) fn renew(&mut self, key: SessionKey, principal: Principal) {
        let shared = Arc::clone(&self.shared);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.principal = principal;
        let mut lost = Vec::new();
        for subscription in &mut session.subscriptions {
            let permit = TopicFilter::new(&subscription.filter)
                .ok()
                .and_then(|filter| shared.rights.subscribe(&session.principal, filter));
            match permit {
                Some(permit) => subscription.permit = permit,
                None => lost.push(subscription.filter.clone()),
            }
        }
        session.classify();
        for filter in &lost {
            self.unsubscribe(key, filter);
        }
    }
}

/// The bound that one more subscription would break.
fn full<'s>(
    subscriptions: &[Subscription],
    filter: &str,
    shared: &'s super::HubShared,
) -> Option<&'s Count> {
    if subscriptions.len() >= shared.limits.subscriptions {
        return Some(&shared.reached.subscriptions);
    }
    let wildcards = subscriptions
        .iter()
        .filter(|s| is_wildcard(&s.filter))
        .count();
    (is_wildcard(filter) && wildcards >= shared.limits.wildcard_subscriptions)
        .then_some(&shared.reached.wildcard_subscriptions)
}

fn is_wildcard(filter: &str) -> bool {
    filter.contains(['+', '#'])
}
