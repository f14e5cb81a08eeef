//! Shared subscriptions across shards: each group lives on one of them, its members wherever their sessions do.
//!
//! A group's home is the shard of its first member, so that the first subscription is in force when it is granted; who
//! joins from elsewhere joins a group that is there. The registry of groups is shared, and asked only when somebody
//! subscribes or leaves. What passes between home and member is mail ([`Sharing`]); [`Group`] says what must come of
//! it.
use std::collections::VecDeque;

use super::acks::Pending;
use super::flow::{Origin, Queued, SubscriptionIds};
use super::group::{Dropped, Group, Handed, Membership, Next, Offer, Offered};
use super::routes::Subscriber;
use super::{GroupKey, Hub, Loser, Loss, Lost, SessionKey, SubscriberKey, Target, Times, Wanted};
use crate::identity::Revision;
use crate::log::{Assignment, LogNumber, Op, QueueNumber, StoredGroup, StoredId};
use crate::shard::{Mail, Outbox};
use keygate_protocol::mqtt::Qos;
use keygate_protocol::topic::TopicFilter;

/// Messages that wait for the mail of a group's first member. It is under way already, so there are few.
const EARLY_MESSAGES: usize = 256;

/// A share group in the registry of all of them.
#[derive(Debug)]
pub(super) struct Registered {
    key: SubscriberKey,
    /// Sessions that subscribe, those included whose mail is under way.
    members: usize,
}

/// A share group at home.
#[derive(Debug)]
pub(super) struct Home {
    filter: Box<str>,
    group: Group,
    /// Its row, once a member outlives its connection.
    stored: StoredId,
    /// Messages that came before the mail of its first member.
    early: VecDeque<Offered>,
}

impl Home {
    /// Drops what has expired in its queue; gives the rows.
    pub(super) fn expire(&mut self, times: Times) -> impl Iterator<Item = QueueNumber> {
        let expired = self.group.expire(times.now).into_iter();
        expired.filter_map(|offered| offered.stored.then_some(offered.number))
    }
}

/// A message for a member, at the member's shard.
#[derive(Clone, Debug)]
pub(crate) struct Handover {
    handed: Handed,
    origin: Origin,
}

/// Mail between a share group and the shards of its members.
#[derive(Clone, Debug)]
pub struct Sharing(Box<ShareMail>);

/// What share groups and the shards of their members tell each other.
#[derive(Clone, Debug)]
enum ShareMail {
    /// A session subscribes; the window of its connection, if it has one.
    Join {
        group: SubscriberKey,
        member: SubscriberKey,
        membership: Membership,
        window: Option<u16>,
    },
    /// A session unsubscribes or ends; `last` if nobody is left.
    Leave {
        group: SubscriberKey,
        member: SubscriberKey,
        last: bool,
    },
    /// A member's connection came, with this window, or went.
    Presence {
        group: SubscriberKey,
        member: SubscriberKey,
        window: Option<u16>,
    },
    /// A message for a member.
    Hand(Box<Handover>),
    /// The member is done with a message.
    Settled {
        group: SubscriberKey,
        member: SubscriberKey,
        number: QueueNumber,
    },
    /// The member cannot have a message.
    Returned {
        group: SubscriberKey,
        member: SubscriberKey,
        number: QueueNumber,
        /// The row of the message, if it has one.
        row: Option<QueueNumber>,
    },
}

impl ShareMail {
    /// Who is to read it.
    fn reader(&self) -> SubscriberKey {
        match self {
            Self::Hand(handover) => handover.handed.to,
            Self::Join { group, .. }
            | Self::Leave { group, .. }
            | Self::Presence { group, .. }
            | Self::Settled { group, .. }
            | Self::Returned { group, .. } => *group,
        }
    }
}

impl Hub {
    /// The session takes part in a share group, which may begin with it.
    pub(super) fn join(&mut self, key: SessionKey, wanted: Wanted<'_>, fresh: bool) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let membership = Membership {
            options: wanted.options,
            subscription_id: wanted.id,
            persistent: session.stored.is_some(),
        };
        let window = session.link().map(|link| link.window);
        let filter = wanted.filter.as_str();
        let group = self.register(filter, fresh);
        self.tell(ShareMail::Join {
            group,
            member: self.subscriber(key),
            membership,
            window,
        });
    }

    /// The group of this filter, with one more member if that is `fresh`.
    fn register(&mut self, filter: &str, fresh: bool) -> SubscriberKey {
        let shared = std::sync::Arc::clone(&self.shared);
        let mut groups = shared.groups();
        if let Some(registered) = groups.get_mut(filter) {
            registered.members += usize::from(fresh);
            return registered.key;
        }
        let key = self.found(filter);
        groups.insert(filter.into(), Registered { key, members: 1 });
        key
    }

    /// A group begins here, with what the store has kept for it.
    fn found(&mut self, filter: &str) -> SubscriberKey {
        let kept = self.shared.unclaimed().take_group(filter);
        let mut group = Group::new(std::sync::Arc::clone(&self.shared.limits));
        let stored = match kept {
            Some((stored, queue)) => {
                for row in queue {
                    group.restore(Offered {
                        number: row.number,
                        message: row.message,
                        stored: true,
                    });
                }
                stored
            }
            None => StoredId::default(),
        };
        let key = self.groups.insert(Home {
            filter: filter.into(),
            group,
            stored,
            early: VecDeque::new(),
        });
        self.route_group(key);
        self.group_key(key)
    }

    /// Puts the group into the trie, under the filter behind its name. Its own QoS does not bound anything: its members'
    /// do.
    fn route_group(&mut self, key: GroupKey) {
        let Some(home) = self.groups.get(key) else {
            return;
        };
        let Ok(filter) = TopicFilter::new(&home.filter) else {
            return;
        };
        let subscriber = Subscriber {
            key: self.group_key(key),
            options: super::Options::new(Qos::ExactlyOnce, false, true),
            id: None,
            stored: home.stored,
        };
        let plain = filter.plain();
        self.shared.routes_mut().insert(plain.as_str(), subscriber);
    }

    /// The session leaves a share group.
    pub(super) fn leave(&mut self, key: SessionKey, filter: TopicFilter<'_>) {
        let member = self.subscriber(key);
        let shared = std::sync::Arc::clone(&self.shared);
        let mut groups = shared.groups();
        let Some(registered) = groups.get_mut(filter.as_str()) else {
            return;
        };
        let group = registered.key;
        registered.members -= 1;
        let last = registered.members == 0;
        if last {
            groups.remove(filter.as_str());
            shared.routes_mut().remove(filter.plain().as_str(), group);
        }
        drop(groups);
        self.return_unsent(key, group);
        self.tell(ShareMail::Leave {
            group,
            member,
            last,
        });
    }

    /// The session has a connection again: its groups hear of it.
    pub(super) fn rejoin(&mut self, key: SessionKey) {
        let window = self
            .sessions
            .get(key)
            .and_then(|session| session.link().map(|link| link.window));
        self.tell_presence(key, window);
    }

    /// The session's connection is gone, or all of it: what its groups can have back goes back.
    pub(super) fn give_back(&mut self, key: SessionKey, ends: bool) {
        if !ends {
            self.tell_presence(key, None);
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let stored = session.stored;
        let Some(flow) = session.flow.as_mut() else {
            return;
        };
        let before = flow.bytes();
        let taken = flow.take_handed(ends);
        self.queued_bytes -= before - flow.bytes();
        for item in taken {
            match item.settled {
                true => self.settle_row(key, &item.origin),
                false => self.return_item(key, &item.origin, item.qos, stored),
            }
        }
    }

    fn tell_presence(&mut self, key: SessionKey, window: Option<u16>) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let groups: Vec<SubscriberKey> = {
            let registry = self.shared.groups();
            let shared = session.subscriptions.iter();
            shared
                .filter(|subscription| subscription.filter.starts_with("$share/"))
                .filter_map(|subscription| registry.get(&subscription.filter))
                .map(|registered| registered.key)
                .collect()
        };
        let member = self.subscriber(key);
        for group in groups {
            self.tell(ShareMail::Presence {
                group,
                member,
                window,
            });
        }
    }

    /// After UNSUBSCRIBE: what was sent is completed, the rest goes back to the group.
    fn return_unsent(&mut self, key: SessionKey, group: SubscriberKey) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let stored = session.stored;
        let Some(flow) = session.flow.as_mut() else {
            return;
        };
        let before = flow.bytes();
        let taken = flow.take_unsent(group);
        self.queued_bytes -= before - flow.bytes();
        for item in taken {
            self.return_item(key, &item.origin, item.qos, stored);
        }
    }

    /// A message of a group has arrived at this member, or nobody else may have it. Its row is gone already.
    pub(super) fn settle(&mut self, key: SessionKey, origin: &Origin) {
        self.tell(ShareMail::Settled {
            group: origin.group,
            member: self.subscriber(key),
            number: origin.number,
        });
    }

    fn settle_row(&mut self, key: SessionKey, origin: &Origin) {
        if origin.row != StoredId::default() {
            self.ops.push(Op::Dequeue(origin.number));
        }
        self.settle(key, origin);
    }

    /// The group can have this one back.
    pub(super) fn return_item(
        &mut self,
        key: SessionKey,
        origin: &Origin,
        qos: Qos,
        stored: Option<StoredId>,
    ) {
        let has_row = origin.row != StoredId::default();
        if has_row && qos == Qos::ExactlyOnce && stored.is_some() {
            // The next member's own options come with it.
            self.ops.push(Op::Assign(Assignment {
                number: origin.number,
                queue: origin.row,
                qos,
                retain: false,
                subscription_id: None,
            }));
        }
        self.tell(ShareMail::Returned {
            group: origin.group,
            member: self.subscriber(key),
            number: origin.number,
            row: has_row.then_some(origin.number),
        });
    }

    /// This member gets nothing until it is back.
    pub(super) fn absent_for(&mut self, key: SessionKey, group: SubscriberKey) {
        self.tell(ShareMail::Presence {
            group,
            member: self.subscriber(key),
            window: None,
        });
    }

    /// Mail for a share group or a member, wherever it is.
    fn tell(&mut self, mail: ShareMail) {
        self.mail
            .push((mail.reader().shard, Mail::Share(Sharing(Box::new(mail)))));
    }

    /// What came by mail.
    pub(crate) fn share(&mut self, mail: Sharing, times: Times, out: &mut Outbox) {
        let mail = *mail.0;
        let group = match mail.reader().target {
            Target::Group(group) => group,
            Target::Session(_) => {
                if let ShareMail::Hand(handover) = mail {
                    self.assign(*handover, times, out);
                }
                return;
            }
        };
        match mail {
            ShareMail::Join {
                member,
                membership,
                window,
                ..
            } => self.admit(group, member, membership, window, times),
            ShareMail::Leave { member, last, .. } => self.dismiss(group, member, last),
            ShareMail::Presence { member, window, .. } => {
                if let Some(home) = self.groups.get_mut(group) {
                    match window {
                        Some(window) => home.group.connect(member, window),
                        None => home.group.disconnect(member),
                    }
                }
            }
            ShareMail::Settled { member, number, .. } => {
                if let Some(home) = self.groups.get_mut(group) {
                    home.group.settled(member, number);
                }
            }
            ShareMail::Returned {
                member,
                number,
                row,
                ..
            } => {
                let taken = self
                    .groups
                    .get_mut(group)
                    .is_some_and(|home| home.group.returned(member, number));
                if !taken {
                    self.ops.extend(row.map(Op::Dequeue));
                }
            }
            ShareMail::Hand(_) => {}
        }
        self.run_group(group, times);
    }

    fn admit(
        &mut self,
        key: GroupKey,
        member: SubscriberKey,
        membership: Membership,
        window: Option<u16>,
        times: Times,
    ) {
        let Some(home) = self.groups.get_mut(key) else {
            return;
        };
        home.group.join(member, membership, window);
        if home.group.is_durable() && home.stored == StoredId::default() {
            home.stored = self.shared.fresh_id();
            self.ops.push(Op::OpenGroup(StoredGroup {
                id: home.stored,
                filter: home.filter.clone(),
            }));
            // Whoever left last has taken it out of the trie, perhaps before this mail came.
            let shared = std::sync::Arc::clone(&self.shared);
            let groups = shared.groups();
            let registered = self
                .groups
                .get(key)
                .and_then(|home| groups.get(&home.filter));
            if registered.is_some_and(|registered| registered.key == self.group_key(key)) {
                self.route_group(key);
            }
        }
        let Some(home) = self.groups.get_mut(key) else {
            return;
        };
        for early in std::mem::take(&mut home.early) {
            self.offer_to(key, early, times);
        }
    }

    fn dismiss(&mut self, key: GroupKey, member: SubscriberKey, last: bool) {
        let Some(home) = self.groups.get_mut(key) else {
            return;
        };
        home.group.leave(member);
        if !last {
            return;
        }
        if let Some(home) = self.groups.remove(key) {
            if home.stored != StoredId::default() {
                self.ops.push(Op::CloseGroup(home.stored));
            }
            let early = home.early.into_iter();
            let early = early.filter_map(|offered| offered.stored.then_some(offered.number));
            self.ops
                .extend(home.group.close().chain(early).map(Op::Dequeue));
        }
    }

    /// A message for a share group of this shard.
    pub(super) fn offer(&mut self, key: GroupKey, queued: Queued, times: Times) {
        let Some(home) = self.groups.get_mut(key) else {
            return self.ops.extend(queued.number.map(Op::Dequeue));
        };
        let offered = Offered {
            number: queued
                .number
                .unwrap_or_else(|| self.shared.fresh_numbers(1)),
            stored: queued.number.is_some(),
            message: queued.message,
        };
        let early: usize = match home.group.is_empty() {
            true => home.early.iter().map(|early| early.message.size()).sum(),
            false => 0,
        };
        if home.group.is_empty()
            && home.early.len() < EARLY_MESSAGES
            && early < self.shared.limits.share_bytes
        {
            // Somebody is on the way, or the group would not be in the trie.
            home.early.push_back(offered);
            return;
        }
        self.offer_to(key, offered, times);
    }

    fn offer_to(&mut self, key: GroupKey, offered: Offered, times: Times) {
        let Some(home) = self.groups.get_mut(key) else {
            return;
        };
        let row = offered.stored.then_some(offered.number);
        match home.group.offer(offered, times.now) {
            Offer::Hand(handed) => self.hand(key, handed),
            Offer::Waits => {
                if home.group.is_out_of_credit() {
                    self.shared.reached.share_credit.add();
                }
            }
            Offer::Drop(dropped) => {
                self.ops.extend(row.map(Op::Dequeue));
                if let Dropped::Full { first, bound } = dropped {
                    bound.count(&self.shared.reached).add();
                    self.tally.lost_by_groups += 1;
                    if first && let Some(home) = self.groups.get(key) {
                        self.losses.push(Loss {
                            to: Loser::Group(home.filter.clone()),
                            what: Lost::Begins(bound.name()),
                        });
                    }
                }
            }
        }
        self.run_group(key, times);
    }

    /// Hands over whatever waits and can go.
    fn run_group(&mut self, key: GroupKey, times: Times) {
        while let Some(next) = self
            .groups
            .get_mut(key)
            .and_then(|home| home.group.next(times.now))
        {
            match next {
                Next::Hand(handed) => self.hand(key, handed),
                Next::Expired(offered) => {
                    self.ops
                        .extend(offered.stored.then_some(Op::Dequeue(offered.number)));
                }
            }
        }
    }

    fn hand(&mut self, key: GroupKey, handed: Handed) {
        let Some(home) = self.groups.get(key) else {
            return;
        };
        if handed.qos == Qos::AtMostOnce && handed.stored {
            // Nobody answers for it.
            self.ops.push(Op::Dequeue(handed.number));
        }
        let origin = Origin {
            group: self.group_key(key),
            number: handed.number,
            row: match handed.stored && handed.qos != Qos::AtMostOnce {
                true => home.stored,
                false => StoredId::default(),
            },
        };
        self.tell(ShareMail::Hand(Box::new(Handover { handed, origin })));
    }

    /// A message of a group for a session of this shard. QoS 2 with a row goes into the queue of a session that outlives
    /// its connection before it is sent: after a crash it must not go to anybody else.
    fn assign(&mut self, handover: Handover, times: Times, out: &mut Outbox) {
        let session = match handover.handed.to.target {
            Target::Session(key) => self.sessions.get(key),
            Target::Group(_) => None,
        };
        let stored = session.and_then(|session| session.stored);
        let has_row = handover.origin.row != StoredId::default();
        let number = match stored {
            Some(queue) if has_row && handover.handed.qos == Qos::ExactlyOnce => {
                self.ops.push(Op::Assign(Assignment {
                    number: handover.origin.number,
                    queue,
                    qos: handover.handed.qos,
                    retain: handover.handed.retain,
                    subscription_id: handover.handed.subscription_id,
                }));
                self.commit()
            }
            _ => LogNumber::default(),
        };
        match number > self.shared.log.durable() {
            true => self.wait(number, Pending::Hand(Box::new(handover))),
            false => self.take_over(handover, times, out),
        }
    }

    /// The session gets the message, or the group has it back.
    pub(super) fn take_over(&mut self, handover: Handover, times: Times, out: &mut Outbox) {
        let Handover { handed, origin } = handover;
        let Target::Session(key) = handed.to.target else {
            return;
        };
        let acknowledged = handed.qos != Qos::AtMostOnce;
        let queued = Queued {
            ids: handed
                .subscription_id
                .map_or(SubscriptionIds::None, SubscriptionIds::One),
            number: (origin.row != StoredId::default()).then_some(origin.number),
            origin: acknowledged.then(|| Box::new(origin)),
            revision: Revision::default(),
            qos: handed.qos,
            retain: handed.retain,
            dup: handed.duplicate,
            packet_id: None,
            message: handed.message,
        };
        let session = self.sessions.get(key);
        if session.is_some_and(|session| session.link().is_some()) {
            return self.deliver_one(key, queued, times, out);
        }
        let stored = session.and_then(|session| session.stored);
        if acknowledged {
            self.return_item(key, &origin, handed.qos, stored);
        }
    }

    fn group_key(&self, key: GroupKey) -> SubscriberKey {
        SubscriberKey {
            shard: self.shard,
            target: Target::Group(key),
        }
    }
}
