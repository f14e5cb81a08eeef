use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Message;
use crate::limits::{Count, Limits, Reached};
use crate::log::StoredCursor;
use keygate_protocol::topic::{self, TopicFilter, TopicName};

/// The newest retained message of every topic, for all shards, ordered by topic so that a subscription can walk its
/// part of the order in small steps.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    by_topic: BTreeMap<Box<str>, Kept>,
    /// How many there are in each branch. Ordered, so that no hasher needs a seed.
    branches: BTreeMap<Box<str>, usize>,
    bytes: usize,
    /// The number of the last change; every change has one, and no two the same.
    last_change: u64,
    /// Messages that expire, or that go when their publisher is revoked: while there are none, nothing is swept.
    mortal: usize,
}

/// A retained message and its place among all changes.
#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    change: u64,
}

/// The store of retained messages is full (`retained_messages`, `retained_branch`, `retained_bytes`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    Messages,
    Branch,
    Bytes,
}

impl Full {
    /// The counter of the bound that was reached.
    pub(crate) fn count(self, reached: &Reached) -> &Count {
        match self {
            Self::Messages => &reached.retained_messages,
            Self::Branch => &reached.retained_branch,
            Self::Bytes => &reached.retained_bytes,
        }
    }
}

impl Retained {
    /// Messages in all.
    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Bytes in all.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the newest change.
    pub(crate) fn last_change(&self) -> u64 {
        self.last_change
    }

    /// Makes this message the retained one of its topic. Gives the number of the change.
    pub(crate) fn set(&mut self, message: Arc<Message>, limits: &Limits) -> Result<u64, Full> {
        let topic = message.topic();
        let old = self.by_topic.get(topic).map(|old| cost(&old.message));
        let bytes = self.bytes - old.unwrap_or(0) + cost(&message);
        let in_branch = self.branches.get(branch(topic)).copied().unwrap_or(0);
        if bytes > limits.retained_bytes {
            return Err(Full::Bytes);
        }
        if old.is_none() && self.by_topic.len() >= limits.retained_messages {
            return Err(Full::Messages);
        }
        if old.is_none() && in_branch >= limits.retained_branch {
            return Err(Full::Branch);
        }
        let change = self.last_change + 1;
        self.put(change, message);
        Ok(change)
    }

    /// Makes what the broker says of itself the retained message of its topic, whatever the bounds: it takes as much as it
    /// took before.
    pub(crate) fn set_own(&mut self, message: Arc<Message>) {
        self.put(self.last_change + 1, message);
    }

    /// Changes from now on have higher numbers than this one: those of deleted topics are not used again.
    pub(crate) fn start_behind(&mut self, change: u64) {
        self.last_change = self.last_change.max(change);
    }

    /// Puts in what the store on disk has kept.
    pub(crate) fn restore(&mut self, change: u64, message: Arc<Message>) {
        self.put(change, message);
    }

    fn put(&mut self, change: u64, message: Arc<Message>) {
        self.forget(message.topic());
        self.last_change = self.last_change.max(change);
        self.bytes += cost(&message);
        self.mortal += usize::from(is_mortal(&message));
        *self
            .branches
            .entry(branch(message.topic()).into())
            .or_default() += 1;
        self.by_topic
            .insert(message.topic().into(), Kept { message, change });
    }

    /// Removes the topic's retained message. Says whether there was one.
    pub(crate) fn forget(&mut self, topic: &str) -> bool {
        let Some(old) = self.by_topic.remove(topic) else {
            return false;
        };
        self.bytes -= cost(&old.message);
        self.mortal -= usize::from(is_mortal(&old.message));
        if let Some(count) = self.branches.get_mut(branch(topic)) {
            *count -= 1;
            if *count == 0 {
                self.branches.remove(branch(topic));
            }
        }
        true
    }

    /// The topic's retained message.
    pub(crate) fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        self.by_topic.get(topic).map(|kept| &kept.message)
    }

    /// Whether some message may have to go without anybody asking.
    pub(crate) fn has_mortals(&self) -> bool {
        self.mortal > 0
    }

    /// Looks at up to `count` topics behind `after` and names those whose message must go. Gives the topic to go on
    /// from, or `None` at the end.
    pub(crate) fn sweep(
        &self,
        after: Option<&str>,
        count: usize,
        mut must_go: impl FnMut(&Message) -> bool,
        gone: &mut Vec<Box<str>>,
    ) -> Option<Box<str>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (looked, (topic, kept)) in self
            .by_topic
            .range::<str, _>((from, Bound::Unbounded))
            .enumerate()
        {
            if looked == count {
                return last.map(Box::from);
            }
            if must_go(&kept.message) {
                gone.push(topic.clone());
            }
            last = Some(&**topic);
        }
        None
    }
}

/// Whether a message may have to go by itself: it expires, or its publisher can be revoked.
fn is_mortal(message: &Message) -> bool {
    message.expires() || message.publisher().is_some()
}

/// Bytes that a retained message holds: itself, and its topic again as key.
fn cost(message: &Message) -> usize {
    message.size() + message.topic().len()
}

/// The first two levels of a topic: a device's own tree, or a group's.
fn branch(topic: &str) -> &str {
    match topic.match_indices('/').nth(1) {
        Some((end, _)) => &topic[..end],
        None => topic,
    }
}

/// A subscription's way through the retained messages: the newest of every topic that its filter matches, in the order
/// of topics, a bounded number of topics a step. It holds no message, so no snapshot is too large.
#[derive(Debug)]
pub(crate) struct Snapshot {
    filter: Box<str>,
    /// The topic behind which the next step goes on.
    after: Option<Box<str>>,
    /// What has changed since the subscription was made went to it as a live message.
    upto: u64,
}

impl Snapshot {
    /// The snapshot of a subscription that is made when this is the newest change.
    pub(crate) fn new(filter: &str, upto: u64) -> Self {
        Self {
            filter: filter.into(),
            after: None,
            upto,
        }
    }

    /// A snapshot that a restart has interrupted.
    pub(crate) fn resume(filter: &str, cursor: &StoredCursor) -> Self {
        Self {
            filter: filter.into(),
            after: cursor.after.clone(),
            upto: cursor.upto,
        }
    }

    /// How far it has come, for the store.
    pub(crate) fn cursor(&self) -> StoredCursor {
        StoredCursor {
            after: self.after.clone(),
            upto: self.upto,
        }
    }

    pub(crate) fn filter(&self) -> &str {
        &self.filter
    }

    /// Looks at up to `scan` topics and puts those that match, at most `room`, into `found`. False when it is done.
    pub(crate) fn step(
        &mut self,
        retained: &Retained,
        scan: usize,
        room: usize,
        found: &mut Vec<Arc<Message>>,
    ) -> bool {
        let Ok(filter) = TopicFilter::new(&self.filter) else {
            return false;
        };
        let prefix = literal_prefix(&self.filter);
        let from = match &self.after {
            Some(after) => Bound::Excluded(&**after),
            None => Bound::Included(prefix),
        };
        let mut last: Option<&str> = None;
        for (looked, (name, kept)) in retained
            .by_topic
            .range::<str, _>((from, Bound::Unbounded))
            .enumerate()
        {
            if !name.starts_with(prefix) {
                return false;
            }
            // What was looked at last is behind us, whether it matched or not.
            if looked == scan || found.len() == room {
                if let Some(last) = last {
                    self.after = Some(last.into());
                }
                return true;
            }
            last = Some(name);
            if kept.change <= self.upto
                && TopicName::new(name).is_ok_and(|name| topic::matches(filter, name))
            {
                found.push(Arc::clone(&kept.message));
            }
        }
        false
    }
}

/// What every topic that the filter matches begins with. `a/b/#` also matches `a/b`, so its slash does not count.
fn literal_prefix(filter: &str) -> &str {
    let end = filter.find(['+', '#']).unwrap_or(filter.len());
    let prefix = &filter[..end];
    if filter[end..].starts_with('#') {
        prefix.strip_suffix('/').unwrap_or(prefix)
    } else {
        prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::message::tests::message;

    fn store(topics: &[&str]) -> Retained {
        let mut retained = Retained::default();
        for topic in topics {
            retained
                .set(message(topic, b"x"), &Limits::default())
                .unwrap();
        }
        retained
    }

    fn walk(retained: &Retained, filter: &str, scan: usize, room: usize) -> Vec<String> {
        let mut snapshot = Snapshot::new(filter, u64::MAX);
        let mut topics = Vec::new();
        for _ in 0..100 {
            let mut found = Vec::new();
            let more = snapshot.step(retained, scan, room, &mut found);
            assert!(found.len() <= room);
            topics.extend(found.iter().map(|message| message.topic().to_owned()));
            if !more {
                return topics;
            }
        }
        panic!("the snapshot does not end");
    }

    #[test]
    fn a_snapshot_finds_each_matching_topic_once_whatever_its_steps() {
        let retained = store(&["a", "a/b", "a/b/c", "a/b/d", "a/bb", "a/c/c", "b", "$SYS/x"]);
        for (filter, expected) in [
            ("a/b/#", &["a/b", "a/b/c", "a/b/d"][..]),
            ("a/+/c", &["a/b/c", "a/c/c"]),
            ("#", &["a", "a/b", "a/b/c", "a/b/d", "a/bb", "a/c/c", "b"]),
            ("$SYS/#", &["$SYS/x"]),
            ("a/b", &["a/b"]),
            ("z", &[]),
        ] {
            for (scan, room) in [(1, 1), (2, 3), (100, 100), (100, 1)] {
                assert_eq!(
                    walk(&retained, filter, scan, room),
                    expected,
                    "{filter} {scan} {room}"
                );
            }
        }
    }

    #[test]
    fn a_full_store_refuses_a_new_topic_and_takes_a_smaller_message_for_an_old_one() {
        let limits = Limits {
            retained_messages: 1,
            retained_bytes: 250,
            ..Limits::default()
        };
        let mut retained = Retained::default();
        retained.set(message("a", b"12345"), &limits).unwrap();
        assert_eq!(
            retained.set(message("b", b"1"), &limits),
            Err(Full::Messages)
        );
        assert_eq!(retained.set(message("a", b"1"), &limits), Ok(2));
        assert_eq!(
            retained.set(message("a", &[0; 300]), &limits),
            Err(Full::Bytes)
        );
        assert!(retained.forget("a"));
        assert_eq!((retained.len(), retained.bytes), (0, 0));
    }

    #[test]
    fn one_branch_cannot_take_the_room_of_the_others() {
        let limits = Limits {
            retained_branch: 2,
            ..Limits::default()
        };
        let mut retained = Retained::default();
        for topic in ["devices/a/1", "devices/a/2", "devices/b/1"] {
            retained.set(message(topic, b"x"), &limits).unwrap();
        }
        assert_eq!(
            retained.set(message("devices/a/3", b"x"), &limits),
            Err(Full::Branch)
        );
        assert_eq!(retained.set(message("devices/a/2", b"y"), &limits), Ok(4));
        assert!(retained.forget("devices/a/1"));
        assert_eq!(retained.set(message("devices/a/3", b"x"), &limits), Ok(5));
    }
}
