//! What the broker counts, for `keygate status`.
//!
//! A shard counts in plain integers ([`Tally`]) and shows them once a turn ([`Shown`]); whoever reads adds the shards up.
//! No lock and no allocation lies on a shard's way.
use crate::limits::Reached;
use keygate_protocol::mqtt::Qos;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! tally {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What one shard has counted, or all of them together.
        #[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(default)]
        pub struct Tally { $($(#[doc = $doc])+ pub $name: u64,)+ }

        /// A shard's tally as other threads see it: each number on its own, so two of them may be a turn apart. Padded,
        /// so that no two shards write to the same cache line.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Shown { $($name: AtomicU64,)+ }

        impl Shown {
            /// Shows these numbers from now on.
            pub fn show(&self, tally: &Tally) {
                $(self.$name.store(tally.$name, Ordering::Relaxed);)+
            }

            /// The numbers that were shown last.
            #[must_use]
            pub fn tally(&self) -> Tally {
                Tally { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }

        impl std::ops::AddAssign for Tally {
            fn add_assign(&mut self, other: Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }
        }
    };
}

tally! {
    /// MQTT connections that are open now, those that are logging in or leaving included.
    connections,
    /// MQTT connections accepted since the start.
    connections_total,
    /// Sessions whose client is connected now.
    sessions_connected,
    /// Sessions that wait for their client now.
    sessions_absent,
    /// Logins accepted.
    logins_accepted,
    /// Logins that the broker refused, or ended because they took too long.
    logins_refused,
    /// PUBLISH packets of clients that were accepted with QoS 0.
    received_qos0,
    /// The same with QoS 1.
    received_qos1,
    /// The same with QoS 2.
    received_qos2,
    /// PUBLISH packets sent to clients with QoS 0.
    sent_qos0,
    /// The same with QoS 1, those that were sent again included.
    sent_qos1,
    /// The same with QoS 2, those that were sent again included.
    sent_qos2,
    /// Bytes read from MQTT connections.
    bytes_in,
    /// Bytes written to MQTT connections.
    bytes_out,
    /// Messages that a full queue has cost a session.
    lost_by_sessions,
    /// Messages that a full queue has cost a share group.
    lost_by_groups,
    /// Bytes queued for all sessions now.
    queued_bytes,
}

impl Tally {
    /// A client's PUBLISH was accepted.
    pub(crate) fn received(&mut self, qos: Qos) {
        *match qos {
            Qos::AtMostOnce => &mut self.received_qos0,
            Qos::AtLeastOnce => &mut self.received_qos1,
            Qos::ExactlyOnce => &mut self.received_qos2,
        } += 1;
    }

    /// A PUBLISH goes out to a client.
    pub(crate) fn sent(&mut self, qos: Qos) {
        *match qos {
            Qos::AtMostOnce => &mut self.sent_qos0,
            Qos::AtLeastOnce => &mut self.sent_qos1,
            Qos::ExactlyOnce => &mut self.sent_qos2,
        } += 1;
    }
}

/// The whole broker in numbers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Figures {
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// What the shards have counted.
    #[serde(flatten)]
    pub tally: Tally,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Retained messages now.
    pub retained_messages: u64,
    /// Bytes of retained messages now.
    pub retained_bytes: u64,
    /// How often each bound was reached, by the name of its setting under `[limits]`.
    pub reached: BTreeMap<String, u64>,
}

impl Figures {
    /// The counters of bounds, by name.
    #[must_use]
    pub fn of_bounds(reached: &Reached) -> BTreeMap<String, u64> {
        reached
            .each()
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_was_counted_and_shards_add_up() {
        let mut tally = Tally {
            bytes_in: 7,
            queued_bytes: 3,
            ..Tally::default()
        };
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            tally.received(qos);
        }
        tally.sent(Qos::ExactlyOnce);
        let shown = Shown::default();
        shown.show(&tally);
        assert_eq!(shown.tally(), tally);

        let mut sum = tally;
        sum += shown.tally();
        assert_eq!((sum.bytes_in, sum.queued_bytes), (14, 6));
        let received = [sum.received_qos0, sum.received_qos1, sum.received_qos2];
        assert_eq!(received, [2, 2, 2]);
        assert_eq!([sum.sent_qos0, sum.sent_qos1, sum.sent_qos2], [0, 0, 2]);
    }
}
