use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Message;
use keygate_protocol::topic::{self, TopicFilter, TopicName};

/// The newest retained message of every topic, for all shards, ordered by topic so that a subscription can walk its
/// part of the order in small steps.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    by_topic: BTreeMap<Box<str>, Arc<Message>>,
    bytes: usize,
}

/// The store of retained messages is full (`retained_messages`, `retained_bytes`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Full;

impl Retained {
    /// Messages in all.
    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Makes this message the retained one of its topic.
    pub(crate) fn set(
        &mut self,
        message: Arc<Message>,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<(), Full> {
        let old = self
            .by_topic
            .get(message.topic())
            .map_or(0, |old| old.size());
        let fresh = old == 0;
        if self.bytes - old + message.size() > bytes_max
            || (fresh && self.by_topic.len() >= count_max)
        {
            return Err(Full);
        }
        self.bytes = self.bytes - old + message.size();
        self.by_topic.insert(message.topic().into(), message);
        Ok(())
    }

    /// Removes the topic's retained message. Says whether there was one.
    pub(crate) fn forget(&mut self, topic: &str) -> bool {
        let old = self.by_topic.remove(topic);
        self.bytes -= old.as_ref().map_or(0, |old| old.size());
        old.is_some()
    }
}

/// A subscription's way through the retained messages: the newest of every topic that its filter matches, in the order
/// of topics, a bounded number of topics a step. It holds no message, so no snapshot is too large.
#[derive(Debug)]
pub(crate) struct Snapshot {
    filter: Box<str>,
    /// The topic behind which the next step goes on.
    after: Option<Box<str>>,
}

impl Snapshot {
    pub(crate) fn new(filter: &str) -> Self {
        Self {
            filter: filter.into(),
            after: None,
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
        for (looked, (name, message)) in retained
            .by_topic
            .range::<str, _>((from, Bound::Unbounded))
            .enumerate()
        {
            if !name.starts_with(prefix) {
                return false;
            }
            if looked == scan || found.len() == room {
                if let Some(last) = last {
                    self.after = Some(last.into());
                }
                return true;
            }
            last = Some(name);
            if TopicName::new(name).is_ok_and(|name| topic::matches(filter, name)) {
                found.push(Arc::clone(message));
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
            retained.set(message(topic, b"x"), 100, 10_000).unwrap();
        }
        retained
    }

    fn walk(retained: &Retained, filter: &str, scan: usize, room: usize) -> Vec<String> {
        let mut snapshot = Snapshot::new(filter);
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
        let mut retained = Retained::default();
        retained.set(message("a", b"12345"), 1, 100).unwrap();
        assert_eq!(retained.set(message("b", b"1"), 1, 100), Err(Full));
        assert_eq!(retained.set(message("a", b"1"), 1, 100), Ok(()));
        assert_eq!(retained.set(message("a", &[0; 200]), 1, 100), Err(Full));
        assert!(retained.forget("a"));
        assert_eq!((retained.len(), retained.bytes), (0, 0));
    }
}
