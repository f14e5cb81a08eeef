use std::collections::VecDeque;
use std::sync::Arc;

use super::{Mail, Moving, ShardId};
use crate::limits::Reached;

/// What goes from shard to shard: mail, or a connection that moves with its socket.
#[derive(Debug)]
pub(crate) enum Parcel<S> {
    Mail(Mail),
    Connection { moving: Box<Moving>, socket: S },
}

/// The way out to the other shards' bounded inboxes.
///
/// Nothing is dropped: a parcel whose inbox is full waits here, behind it everything else for that shard, and until it
/// is gone [`is_blocked`](Self::is_blocked) tells the shell to read no publisher. Inboxes are always taken, so two
/// blocked shards free each other.
#[derive(Debug)]
pub(crate) struct Postage<S> {
    waiting: Vec<VecDeque<Parcel<S>>>,
    blocked: usize,
    reached: Arc<Reached>,
}

impl<S> Postage<S> {
    pub(crate) fn new(shards: usize, reached: Arc<Reached>) -> Self {
        Self {
            waiting: std::iter::repeat_with(VecDeque::new).take(shards).collect(),
            blocked: 0,
            reached,
        }
    }

    /// Whether something waits for a full inbox.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked > 0
    }

    /// Hands a parcel in; `deliver` gives it back if the inbox is full.
    pub(crate) fn post(
        &mut self,
        to: ShardId,
        parcel: Parcel<S>,
        mut deliver: impl FnMut(ShardId, Parcel<S>) -> Result<(), Parcel<S>>,
    ) {
        let waiting = &mut self.waiting[usize::from(to.0)];
        if waiting.is_empty() {
            let Err(parcel) = deliver(to, parcel) else {
                return;
            };
            self.blocked += 1;
            self.reached.inbox.add();
            waiting.push_back(parcel);
        } else {
            waiting.push_back(parcel);
        }
    }

    /// Tries again what waits.
    pub(crate) fn retry(
        &mut self,
        mut deliver: impl FnMut(ShardId, Parcel<S>) -> Result<(), Parcel<S>>,
    ) {
        if self.blocked == 0 {
            return;
        }
        for (index, waiting) in self.waiting.iter_mut().enumerate() {
            if waiting.is_empty() {
                continue;
            }
            while let Some(parcel) = waiting.pop_front() {
                if let Err(parcel) = deliver(ShardId(index as u16), parcel) {
                    waiting.push_front(parcel);
                    break;
                }
            }
            if waiting.is_empty() {
                self.blocked -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_blocks_and_keeps_the_order() {
        let mut inbox = Vec::new();
        let mut postage: Postage<()> = Postage::new(2, Arc::default());
        let mut room = 1;
        let mut deliver = |_, parcel| {
            if room == 0 {
                return Err(parcel);
            }
            room -= 1;
            inbox.push(parcel);
            Ok(())
        };
        for _ in 0..3 {
            postage.post(ShardId(1), Parcel::Mail(Mail::Stop), &mut deliver);
        }
        assert!(postage.is_blocked());
        assert_eq!(postage.reached.inbox.get(), 1, "once a blockade");
        room = 1;
        let mut deliver = |_, parcel| {
            if room == 0 {
                return Err(parcel);
            }
            room -= 1;
            inbox.push(parcel);
            Ok(())
        };
        postage.retry(&mut deliver);
        assert!(postage.is_blocked());
        postage.retry(|_, parcel| {
            inbox.push(parcel);
            Ok(())
        });
        assert!(!postage.is_blocked());
        assert_eq!(inbox.len(), 3);
    }
}
