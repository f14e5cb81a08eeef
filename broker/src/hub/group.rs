//! A share group: the subscribers of one `$share/NAME/FILTER`, each message for exactly one of them (MQTT 5 §4.8.2).
//!
//! One shard owns the group: its *home*, the shard of its first member. Publishers mail the home what matches,
//! the home mails a message to the shard of the member that shall have it, and that shard mails back what became of it.
//! The group itself sends and stores nothing; whoever owns it carries out what it says:
//!
//! | the home hears | calls | then |
//! |---|---|---|
//! | a message for the group | [`offer`](Group::offer) | does what the answer says |
//! | SUBSCRIBE, UNSUBSCRIBE or the session's end | [`join`](Group::join), [`leave`](Group::leave) | [`next`](Group::next) until `None`; drops the group when the registry says that nobody is left ([`close`](Group::close)) |
//! | a member's connection came or went | [`connect`](Group::connect), [`disconnect`](Group::disconnect) | [`next`](Group::next) until `None` |
//! | PUBACK, PUBCOMP, or an error in either place | [`settled`](Group::settled) | [`next`](Group::next) until `None` |
//! | a message that the member has no use for | [`returned`](Group::returned) | [`next`](Group::next) until `None` |
//!
//! **What a member's shard owes.** A message that was handed over above QoS 0 belongs to that shard until it has said
//! `settled` or `returned` about it, exactly once, and about every one, so that mail under way needs no other care: what
//! arrives for a session that has ended, is not connected or may receive nothing any more is returned at once, and
//! what arrives for a session that has come back meanwhile is sent like any other.
//! - The connection ends: QoS 1 is returned, so is QoS 2 that was never sent. QoS 2 that was sent stays with a session
//!   that lives on, and is settled when it is complete (\[MQTT-4.8.2-4\]).
//! - The session ends: QoS 1 is returned. QoS 2 that was sent is settled, so nobody else gets it (\[MQTT-4.8.2-5\]).
//! - A refusal (PUBACK or PUBREC of 0x80 or more) settles (\[MQTT-4.8.2-6\]), and so does a packet that is larger than
//!   the client takes.
//! - UNSUBSCRIBE: what was sent is completed and settled, the rest returned.
//!
//! **In the log.** A group with a member that outlives its connection is durable: it has a row, and the publisher's
//! shard enqueues its messages for that row. QoS 1 stays there while a member has it: after a crash every member has
//! lost its connection, so the group has it again. QoS 2 is assigned to a durable member's session before it is sent,
//! and assigned back when it is returned unsent. The member's shard dequeues what it settles, the home what it drops.
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::{Message, Options, SubscriberKey};
use crate::limits::{Count, Limits, Reached};
use crate::log::QueueNumber;
use keygate_protocol::mqtt::{Qos, SubscriptionId};
use keygate_protocol::time::Millis;

/// A message for the group.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// Names it among all messages of the group. Those of one publisher have rising numbers.
    pub(crate) number: QueueNumber,
    pub(crate) message: Arc<Message>,
    /// Whether the log has a row of it.
    pub(crate) stored: bool,
}

/// How a session takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    /// No Local is a mistake in a shared subscription (\[MQTT-3.8.3-4\]); the gate has refused it.
    pub(crate) options: Options,
    pub(crate) subscription_id: Option<SubscriptionId>,
    /// Whether the session outlives its connection.
    pub(crate) persistent: bool,
}

/// A message for one member. Above QoS 0 its shard answers with `settled` or `returned`; at QoS 0 nothing comes back,
/// and a row that it had can go.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) to: SubscriberKey,
    pub(crate) number: QueueNumber,
    pub(crate) message: Arc<Message>,
    pub(crate) stored: bool,
    /// Of the delivery.
    pub(crate) qos: Qos,
    /// Of the delivery.
    pub(crate) retain: bool,
    pub(crate) subscription_id: Option<SubscriptionId>,
    /// Another member may have got it before, at QoS 1, and was lost.
    pub(crate) duplicate: bool,
}

/// What becomes of a message that was offered.
#[derive(Debug)]
pub(crate) enum Offer {
    /// Hand it over.
    Hand(Handed),
    /// It waits: [`Group::next`] gives it when its turn has come.
    Waits,
    /// Drop it, and its row.
    Drop(Dropped),
}

/// Why the group keeps a message no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dropped {
    /// Its time is over.
    Expired,
    /// Nobody is connected, and nobody asks for more than QoS 0.
    Unheard,
    /// As many messages wait as may: it is lost to this group. The newest goes, because those that wait were promised
    /// to their publishers before; no publisher is refused, because other subscribers need not pay for slow members.
    /// It is counted, and `first` says that it is the first since the queue was last half empty: once to the audit
    /// trail.
    Full { first: bool, bound: GroupBound },
}

/// What a group's queue has no room for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum GroupBound {
    /// `share_messages`.
    Messages,
    /// `share_bytes`.
    Bytes,
}

impl GroupBound {
    /// The counter of the bound that was reached.
    pub(crate) fn count(self, reached: &Reached) -> &Count {
        match self {
            Self::Messages => &reached.share_messages,
            Self::Bytes => &reached.share_bytes,
        }
    }

    /// Its setting.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Messages => "share_messages",
            Self::Bytes => "share_bytes",
        }
    }
}

/// What is to be done with a message that waited.
#[derive(Debug)]
pub(crate) enum Next {
    Hand(Handed),
    /// Its time is over: drop its row, if it has one.
    Expired(Offered),
}

/// The subscribers of one shared filter and what waits for them.
#[derive(Debug)]
pub(crate) struct Group {
    limits: Arc<Limits>,
    members: BTreeMap<SubscriberKey, Member>,
    /// Members that can take another message, the one whose turn it is first; each once, some of them perhaps not able
    /// any more.
    ready: VecDeque<SubscriberKey>,
    /// Who got the last QoS 0 message while nobody was ready.
    last: Option<SubscriberKey>,
    /// In the order of numbers, so that what comes back has its old place.
    queue: BTreeMap<QueueNumber, Waiting>,
    queue_bytes: usize,
    is_overflowing: bool,
}

#[derive(Debug)]
struct Member {
    membership: Membership,
    is_connected: bool,
    /// It has unsubscribed, and has still something of the group.
    has_left: bool,
    is_in_ready: bool,
    /// Messages that it may have at a time.
    credit: usize,
    held: VecDeque<Held>,
}

/// A message that a member has.
#[derive(Debug)]
struct Held {
    number: QueueNumber,
    waiting: Waiting,
    /// At which it was handed over; the subscription may have changed since.
    qos: Qos,
}

#[derive(Clone, Debug)]
struct Waiting {
    message: Arc<Message>,
    stored: bool,
    duplicate: bool,
}

impl Member {
    fn is_heard(&self) -> bool {
        self.is_connected && !self.has_left
    }

    fn can_take(&self) -> bool {
        let free = self.held.len() < self.credit;
        self.is_heard() && (free || self.membership.options.qos() == Qos::AtMostOnce)
    }
}

impl Group {
    pub(crate) fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            members: BTreeMap::new(),
            ready: VecDeque::new(),
            last: None,
            queue: BTreeMap::new(),
            queue_bytes: 0,
            is_overflowing: false,
        }
    }

    /// Whether nobody subscribes any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.values().all(|member| member.has_left)
    }

    /// Whether a member outlives its connection, and so must the queue.
    pub(crate) fn is_durable(&self) -> bool {
        self.members
            .values()
            .any(|member| member.membership.persistent && !member.has_left)
    }

    /// Messages that wait for a member, and their bytes.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.queue.len(), self.queue_bytes)
    }

    /// A session subscribes, or does so again. `window` is the Receive Maximum of its connection; `None` for a session
    /// without one (from the store).
    pub(crate) fn join(&mut self, key: SubscriberKey, membership: Membership, window: Option<u16>) {
        let member = self.members.entry(key).or_insert_with(|| Member {
            membership,
            is_connected: false,
            has_left: false,
            is_in_ready: false,
            credit: 0,
            held: VecDeque::new(),
        });
        member.membership = membership;
        member.has_left = false;
        match window {
            Some(window) => self.connect(key, window),
            None => self.disconnect(key),
        }
    }

    /// A session unsubscribes or ends. What it has of the group stays with it until its shard has settled or returned
    /// it.
    pub(crate) fn leave(&mut self, key: SubscriberKey) {
        if let Some(member) = self.members.get_mut(&key) {
            member.has_left = true;
            member.is_in_ready = false;
            self.ready.retain(|ready| *ready != key);
            self.forget_idle(key);
        }
    }

    /// The member has a connection, with this Receive Maximum.
    pub(crate) fn connect(&mut self, key: SubscriberKey, window: u16) {
        let credit = window.min(self.limits.share_credit).max(1);
        if let Some(member) = self.members.get_mut(&key) {
            member.is_connected = true;
            member.credit = usize::from(credit);
            self.line_up(key);
        }
    }

    /// The member has no connection.
    pub(crate) fn disconnect(&mut self, key: SubscriberKey) {
        if let Some(member) = self.members.get_mut(&key) {
            member.is_connected = false;
            member.is_in_ready = false;
            self.ready.retain(|ready| *ready != key);
        }
    }

    /// A message for the group. QoS 0 goes to a connected member at once or to nobody.
    pub(crate) fn offer(&mut self, offered: Offered, now: Millis) -> Offer {
        if offered.message.has_expired(now) {
            return Offer::Drop(Dropped::Expired);
        }
        let waiting = Waiting {
            message: offered.message,
            stored: offered.stored,
            duplicate: false,
        };
        if waiting.message.qos() == Qos::AtMostOnce {
            let to = self.take_ready().or_else(|| self.next_connected());
            let handed = to.and_then(|to| self.hand(to, offered.number, waiting));
            return handed.map_or(Offer::Drop(Dropped::Unheard), Offer::Hand);
        }
        if self.queue.is_empty()
            && let Some(to) = self.take_ready()
        {
            let handed = self.hand(to, offered.number, waiting);
            return handed.map_or(Offer::Waits, Offer::Hand);
        }
        if !self.is_worth_keeping() {
            return Offer::Drop(Dropped::Unheard);
        }
        let bytes = self.queue_bytes + waiting.message.size();
        let bound = match () {
            () if self.queue.len() >= self.limits.share_messages => Some(GroupBound::Messages),
            () if bytes > self.limits.share_bytes => Some(GroupBound::Bytes),
            () => None,
        };
        if let Some(bound) = bound {
            let first = !std::mem::replace(&mut self.is_overflowing, true);
            return Offer::Drop(Dropped::Full { first, bound });
        }
        self.put(offered.number, waiting);
        Offer::Waits
    }

    /// Whether a message has just begun to wait because everybody who is connected has as many unacknowledged ones as
    /// `share_credit` lets it have.
    pub(crate) fn is_out_of_credit(&self) -> bool {
        if self.queue.len() != 1 {
            return false;
        }
        let credit = usize::from(self.limits.share_credit);
        let mut heard = self.members.values().filter(|member| member.is_heard());
        heard.next().is_some_and(|first| {
            let spent = |member: &Member| member.credit >= credit && !member.can_take();
            spent(first) && heard.all(spent)
        })
    }

    /// A message that the store held for the group, whatever the bounds are by now.
    pub(crate) fn restore(&mut self, offered: Offered) {
        let waiting = Waiting {
            message: offered.message,
            stored: offered.stored,
            // A member may have got it before the broker went down.
            duplicate: true,
        };
        self.put(offered.number, waiting);
    }

    /// The next message that waits and can go.
    pub(crate) fn next(&mut self, now: Millis) -> Option<Next> {
        let (_, first) = self.queue.first_key_value()?;
        if first.message.has_expired(now) {
            let (number, waiting) = self.pull()?;
            return Some(Next::Expired(Offered {
                number,
                message: waiting.message,
                stored: waiting.stored,
            }));
        }
        let to = self.take_ready()?;
        let (number, waiting) = self.pull()?;
        self.hand(to, number, waiting).map(Next::Hand)
    }

    /// Everything that has expired while it waited, wherever it stands in the queue: called now and then, so that what
    /// nobody will get takes no room.
    pub(crate) fn expire(&mut self, now: Millis) -> Vec<Offered> {
        let expired = self
            .queue
            .extract_if(.., |_, waiting| waiting.message.has_expired(now));
        let expired: Vec<_> = expired
            .map(|(number, waiting)| Offered {
                number,
                message: waiting.message,
                stored: waiting.stored,
            })
            .collect();
        self.queue_bytes -= expired.iter().map(|e| e.message.size()).sum::<usize>();
        self.calm_down();
        expired
    }

    /// The member is done with a message. Says whether it was with it.
    pub(crate) fn settled(&mut self, key: SubscriberKey, number: QueueNumber) -> bool {
        self.take_back(key, number).is_some()
    }

    /// The member's shard gives a message back. Says whether it was with the member; if not, its row can go.
    pub(crate) fn returned(&mut self, key: SubscriberKey, number: QueueNumber) -> bool {
        let Some(mut held) = self.take_back(key, number) else {
            return false;
        };
        // QoS 2 comes back only if it was not sent.
        held.waiting.duplicate |= held.qos == Qos::AtLeastOnce;
        self.put(number, held.waiting);
        true
    }

    /// Nobody is left: the numbers of what waits, for the rows that can go. What members still have is settled or
    /// returned to a group that is gone: its rows go with that.
    pub(crate) fn close(self) -> impl Iterator<Item = QueueNumber> {
        self.queue
            .into_iter()
            .filter_map(|(number, waiting)| waiting.stored.then_some(number))
    }

    /// Whether a message above QoS 0 that nobody can take now shall wait.
    fn is_worth_keeping(&self) -> bool {
        self.members
            .values()
            .any(|member| !member.has_left && member.membership.options.qos() > Qos::AtMostOnce)
    }

    fn hand(&mut self, to: SubscriberKey, number: QueueNumber, waiting: Waiting) -> Option<Handed> {
        let member = self.members.get_mut(&to)?;
        let Membership {
            options,
            subscription_id,
            ..
        } = member.membership;
        let message = Arc::clone(&waiting.message);
        let qos = message.qos().min(options.qos());
        let handed = Handed {
            to,
            number,
            stored: waiting.stored,
            qos,
            retain: message.retain() && options.retain_as_published(),
            subscription_id,
            duplicate: waiting.duplicate && qos == Qos::AtLeastOnce,
            message,
        };
        if qos > Qos::AtMostOnce {
            member.held.push_back(Held {
                number,
                waiting,
                qos,
            });
        }
        self.line_up(to);
        Some(handed)
    }

    /// The member whose turn it is; it must be lined up again.
    fn take_ready(&mut self) -> Option<SubscriberKey> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(member) = self.members.get_mut(&key) {
                member.is_in_ready = false;
                if member.can_take() {
                    return Some(key);
                }
            }
        }
        None
    }

    /// A connected member, whether or not it has credit: for QoS 0, which needs none.
    fn next_connected(&mut self) -> Option<SubscriberKey> {
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let to = self
            .members
            .range((behind, Bound::Unbounded))
            .chain(&self.members)
            .find(|(_, member)| member.is_heard())
            .map(|(key, _)| *key)?;
        self.last = Some(to);
        Some(to)
    }

    /// Puts a member that can take a message behind the others that can.
    fn line_up(&mut self, key: SubscriberKey) {
        if let Some(member) = self.members.get_mut(&key)
            && member.can_take()
            && !std::mem::replace(&mut member.is_in_ready, true)
        {
            self.ready.push_back(key);
        }
    }

    fn take_back(&mut self, key: SubscriberKey, number: QueueNumber) -> Option<Held> {
        let member = self.members.get_mut(&key)?;
        let at = member.held.iter().position(|held| held.number == number)?;
        let held = member.held.remove(at)?;
        self.line_up(key);
        self.forget_idle(key);
        Some(held)
    }

    fn forget_idle(&mut self, key: SubscriberKey) {
        if let Some(member) = self.members.get(&key)
            && member.has_left
            && member.held.is_empty()
        {
            self.members.remove(&key);
        }
    }

    fn put(&mut self, number: QueueNumber, waiting: Waiting) {
        self.queue_bytes += waiting.message.size();
        if let Some(replaced) = self.queue.insert(number, waiting) {
            self.queue_bytes -= replaced.message.size();
        }
    }

    fn pull(&mut self) -> Option<(QueueNumber, Waiting)> {
        let (number, waiting) = self.queue.pop_first()?;
        self.queue_bytes -= waiting.message.size();
        self.calm_down();
        Some((number, waiting))
    }

    fn calm_down(&mut self) {
        if self.queue.len() <= self.limits.share_messages / 2
            && self.queue_bytes <= self.limits.share_bytes / 2
        {
            self.is_overflowing = false;
        }
    }
}

#[cfg(test)]
mod tests;
