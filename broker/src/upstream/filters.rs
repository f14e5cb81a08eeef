//! What a relayed session is subscribed to upstream, as far as this connection asked for it.
use std::sync::Arc;

use crate::limits::{Count, Limits, Reached};
use keygate_protocol::mqtt::PacketId;
use keygate_protocol::topic::TopicFilter;

/// The filters that went up, and those that must come back down since the right to them is gone.
#[derive(Debug, Default)]
pub(super) struct Filters {
    granted: Vec<Arc<str>>,
    /// To be unsubscribed by the gate.
    unwanted: Vec<Arc<str>>,
    /// The gate's own UNSUBSCRIBE that waits for UNSUBACK. One at a time.
    pub(super) own: Option<PacketId>,
}

/// What UNSUBSCRIBE has beside its filters, at most: the fixed header, a packet identifier, no properties.
const UNSUBSCRIBE_HEAD: usize = 8;

impl Filters {
    /// Takes a filter in that has its permit; `None` if there are as many as there may be.
    pub(super) fn grant(
        &mut self,
        filter: &str,
        limits: &Limits,
        reached: &Reached,
    ) -> Option<Arc<str>> {
        if let Some(known) = self.granted.iter().find(|known| ***known == *filter) {
            return Some(Arc::clone(known));
        }
        if let Some(bound) = self.full(filter, limits, reached) {
            bound.add();
            return None;
        }
        // It is asked for again, behind an UNSUBSCRIBE or instead of one.
        self.unwanted.retain(|unwanted| **unwanted != *filter);
        let filter: Arc<str> = filter.into();
        self.granted.push(Arc::clone(&filter));
        Some(filter)
    }

    /// The bound that one more subscription would break: the same as without a relay.
    fn full<'r>(&self, filter: &str, limits: &Limits, reached: &'r Reached) -> Option<&'r Count> {
        let here = || self.granted.iter().chain(&self.unwanted);
        if here().count() >= limits.subscriptions {
            return Some(&reached.subscriptions);
        }
        let wildcards = here().filter(|known| is_wildcard(known)).count();
        (is_wildcard(filter) && wildcards >= limits.wildcard_subscriptions)
            .then_some(&reached.wildcard_subscriptions)
    }

    /// The client has given it up, or the upstream has refused it.
    pub(super) fn remove(&mut self, filter: &str) {
        self.granted.retain(|known| **known != *filter);
        self.unwanted.retain(|known| **known != *filter);
    }

    /// Keeps what may still be had; the rest is to be given up.
    pub(super) fn keep(&mut self, may: impl Fn(TopicFilter<'_>) -> bool) {
        let (kept, lost) = self
            .granted
            .drain(..)
            .partition(|filter| TopicFilter::new(filter).is_ok_and(&may));
        self.granted = kept;
        self.unwanted.extend::<Vec<_>>(lost);
    }

    /// Whether something is to be given up and no UNSUBSCRIBE is under way.
    pub(super) fn is_due(&self) -> bool {
        self.own.is_none() && !self.unwanted.is_empty()
    }

    /// What the next UNSUBSCRIBE names: at least one filter, no more than such a packet takes.
    pub(super) fn next(&mut self, packet_max: u32) -> Vec<Arc<str>> {
        let packet_max = usize::try_from(packet_max).unwrap_or(usize::MAX);
        let mut len = UNSUBSCRIBE_HEAD;
        let fits = |filter: &&Arc<str>| {
            len += 2 + filter.len();
            len <= packet_max
        };
        let count = self.unwanted.iter().take_while(fits).count().max(1);
        let count = count.min(self.unwanted.len());
        self.unwanted.drain(..count).collect()
    }
}

fn is_wildcard(filter: &str) -> bool {
    filter.contains(['+', '#'])
}
