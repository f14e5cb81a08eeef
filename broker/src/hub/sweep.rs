//! Retained messages that must go without anybody asking: their time is over, or their publisher was revoked.
use super::{Hub, Message, Times, Voice};
use crate::identity::Revision;
use crate::log::Op;
use crate::shard::ShardId;
use keygate_protocol::time::Millis;

/// Topics that one step looks at: a few hundred microseconds under the lock.
const STEP_TOPICS: usize = 1_024;
/// Between two steps of a sweep.
const STEP_MS: u64 = 100;
/// Between two sweeps, unless an identity changes.
const REST_MS: u64 = 60_000;

/// How far the sweep has come. One shard does it for all.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    after: Option<Box<str>>,
    due: Option<Millis>,
    /// What the identities were when this sweep began.
    revision: Revision,
}

impl Hub {
    pub(super) fn sweep_due(&self) -> Option<Millis> {
        [self.sweep.due, self.groups_due]
            .into_iter()
            .flatten()
            .min()
    }

    /// What has expired in the queues of share groups takes no room.
    pub(super) fn sweep_groups(&mut self, times: Times) {
        if self.groups.is_empty() {
            self.groups_due = None;
            return;
        }
        let due = *self.groups_due.get_or_insert(times.now.plus(REST_MS));
        if due > times.now {
            return;
        }
        self.groups_due = Some(times.now.plus(REST_MS));
        let mut ops = Vec::new();
        for home in self.groups.values_mut() {
            ops.extend(home.expire(times).map(Op::Dequeue));
        }
        self.ops.append(&mut ops);
    }

    /// One step, if it is time.
    pub(super) fn sweep_retained(&mut self, times: Times) {
        if self.shard != ShardId(0) || !self.shared.retained().has_mortals() {
            self.sweep.due = None;
            return;
        }
        let revision = self.shared.rights.revision();
        if revision != self.sweep.revision {
            self.sweep = Sweep {
                after: None,
                due: Some(times.now),
                revision,
            };
        }
        let due = *self.sweep.due.get_or_insert(times.now.plus(REST_MS));
        if due > times.now {
            return;
        }
        let rights = &self.shared.rights;
        let must_go = |message: &Message| {
            message.has_expired(times.now)
                || message
                    .publisher()
                    .is_some_and(|publisher| rights.voice(publisher) == Voice::Gone)
        };
        let mut gone = Vec::new();
        let after = self.sweep.after.take();
        self.sweep.after =
            self.shared
                .retained()
                .sweep(after.as_deref(), STEP_TOPICS, must_go, &mut gone);
        if !gone.is_empty() {
            let mut retained = self.shared.retained_mut();
            for topic in gone {
                // A newer message may have come between the two locks.
                if retained.get(&topic).is_some_and(|message| must_go(message))
                    && retained.forget(&topic)
                {
                    self.ops.push(Op::Forget(topic));
                }
            }
            // Under the lock, so that the log has the changes of one topic in the order of the table.
            let ops = std::mem::take(&mut self.ops);
            self.shared.log.submit(ops);
        }
        self.sweep.due = Some(times.now.plus(match self.sweep.after {
            Some(_) => STEP_MS,
            None => REST_MS,
        }));
    }
}
