use super::*;
use crate::hub::{SessionKey, Target, Times};
use crate::shard::ShardId;
use keygate_protocol::mqtt::Publish;
use proptest::prelude::*;
use slotmap::KeyData;

const NOW: Millis = Millis(0);

fn key(member: u64) -> SubscriberKey {
    SubscriberKey {
        shard: ShardId((member % 2) as u16),
        target: Target::Session(SessionKey::from(KeyData::from_ffi(1 << 32 | (member + 1)))),
    }
}

fn membership(qos: Qos) -> Membership {
    Membership {
        options: Options::new(qos, false, false),
        subscription_id: None,
        persistent: false,
    }
}

fn offered(number: u64, qos: Qos, expiry_s: Option<u32>) -> Offered {
    let mut publish = Publish::new("work/1", b"do it");
    publish.qos = qos;
    publish.properties.expiry_s = expiry_s;
    Offered {
        number: QueueNumber(number),
        message: Message::of_publish(&publish, None, Times::default()),
        stored: true,
    }
}

fn group(change: impl FnOnce(&mut Limits)) -> Group {
    let mut limits = Limits::default();
    change(&mut limits);
    Group::new(Arc::new(limits))
}

/// A group whose members 0, 1, … take this many messages at a time.
fn group_of(members: u64, window: u16) -> Group {
    let mut group = group(|_| {});
    for member in 0..members {
        group.join(key(member), membership(Qos::ExactlyOnce), Some(window));
    }
    group
}

/// Offers a message and says who gets it.
fn give(group: &mut Group, number: u64, qos: Qos) -> Option<SubscriberKey> {
    match group.offer(offered(number, qos, None), NOW) {
        Offer::Hand(handed) => Some(handed.to),
        Offer::Waits => None,
        Offer::Drop(dropped) => panic!("{dropped:?}"),
    }
}

fn give_1(group: &mut Group, number: u64) -> Option<SubscriberKey> {
    give(group, number, Qos::AtLeastOnce)
}

/// Everything that can go now: number and member.
fn drain(group: &mut Group) -> Vec<(u64, SubscriberKey)> {
    std::iter::from_fn(|| match group.next(NOW)? {
        Next::Hand(handed) => Some((handed.number.0, handed.to)),
        Next::Expired(expired) => panic!("{expired:?}"),
    })
    .collect()
}

#[test]
fn members_take_turns() {
    let mut group = group_of(3, 10);
    let got: Vec<_> = (0..6).map(|n| give_1(&mut group, n).unwrap()).collect();
    assert_eq!(got, [key(0), key(1), key(2), key(0), key(1), key(2)]);
}

#[test]
fn a_busy_member_is_passed_over_and_work_waits_for_whoever_is_done() {
    let mut group = group_of(2, 1);
    assert_eq!(give_1(&mut group, 0), Some(key(0)));
    assert_eq!(give_1(&mut group, 1), Some(key(1)));
    assert_eq!(give_1(&mut group, 2), None);
    assert_eq!(give_1(&mut group, 3), None);
    assert!(drain(&mut group).is_empty());
    assert!(group.settled(key(1), QueueNumber(1)));
    assert_eq!(drain(&mut group), [(2, key(1))]);
    assert!(!group.settled(key(1), QueueNumber(1)));
    assert!(drain(&mut group).is_empty());
    assert!(group.settled(key(0), QueueNumber(0)));
    assert_eq!(drain(&mut group), [(3, key(0))]);
    assert_eq!(group.waiting(), (0, 0));
}

#[test]
fn the_credit_is_the_window_at_most_as_configured() {
    for (window, share_credit, expected) in [(3, 16, 3), (u16::MAX, 2, 2), (1, 1, 1)] {
        let mut group = group(|limits| limits.share_credit = share_credit);
        group.join(key(0), membership(Qos::AtLeastOnce), Some(window));
        let taken = (0..8).filter(|&n| give_1(&mut group, n).is_some()).count();
        assert_eq!(taken, expected);
    }
}

#[test]
fn what_a_lost_member_had_comes_first_and_in_order() {
    let mut group = group_of(2, 3);
    for number in 0..8 {
        give_1(&mut group, number);
    }
    // 0 has 0, 2, 4; 1 has 1, 3, 5; 6 and 7 wait.
    group.disconnect(key(0));
    for number in [4, 0, 2] {
        assert!(group.returned(key(0), QueueNumber(number)));
    }
    assert!(drain(&mut group).is_empty());
    group.settled(key(1), QueueNumber(1));
    let Some(Next::Hand(handed)) = group.next(NOW) else {
        panic!("nothing came back");
    };
    assert_eq!((handed.number.0, handed.to), (0, key(1)));
    assert!(handed.duplicate);
    for number in [0, 3, 5] {
        group.settled(key(1), QueueNumber(number));
    }
    assert_eq!(drain(&mut group), [(2, key(1)), (4, key(1)), (6, key(1))]);
    group.connect(key(0), 1);
    assert_eq!(drain(&mut group), [(7, key(0))]);
}

#[test]
fn qos_2_that_comes_back_was_not_sent_and_is_no_duplicate() {
    let mut group = group_of(2, 1);
    assert_eq!(give(&mut group, 0, Qos::ExactlyOnce), Some(key(0)));
    group.disconnect(key(0));
    assert!(group.returned(key(0), QueueNumber(0)));
    let Some(Next::Hand(handed)) = group.next(NOW) else {
        panic!("nothing came back");
    };
    assert_eq!((handed.to, handed.duplicate), (key(1), false));
    assert_eq!(handed.qos, Qos::ExactlyOnce);
}

#[test]
fn qos_2_that_was_sent_stays_with_its_member_through_a_lost_connection() {
    let mut group = group_of(2, 1);
    assert_eq!(give(&mut group, 0, Qos::ExactlyOnce), Some(key(0)));
    group.disconnect(key(0));
    assert!(drain(&mut group).is_empty());
    group.connect(key(0), 1);
    // It still counts against the window.
    assert_eq!(give(&mut group, 1, Qos::ExactlyOnce), Some(key(1)));
    assert_eq!(give(&mut group, 2, Qos::ExactlyOnce), None);
    group.settled(key(0), QueueNumber(0));
    assert_eq!(drain(&mut group), [(2, key(0))]);
}

#[test]
fn qos_0_goes_to_a_connected_member_or_nowhere() {
    let mut group = group_of(3, 1);
    let once = |group: &mut Group, number| give(group, number, Qos::AtMostOnce);
    for number in 0..6 {
        assert_eq!(once(&mut group, number), Some(key(number % 3)));
    }
    for number in 6..9 {
        give_1(&mut group, number);
    }
    assert_eq!(give_1(&mut group, 9), None);
    // Nobody has credit, and it needs none.
    let got: Vec<_> = (10..13).map(|n| once(&mut group, n).unwrap()).collect();
    assert_eq!(got, [key(0), key(2), key(1)]);
    for member in 0..3 {
        group.disconnect(key(member));
    }
    let dropped = group.offer(offered(20, Qos::AtMostOnce, None), NOW);
    assert!(matches!(dropped, Offer::Drop(Dropped::Unheard)));
    assert_eq!(group.waiting().0, 1);
}

#[test]
fn a_subscription_of_qos_0_needs_no_credit_and_queues_nothing() {
    let mut group = group(|_| {});
    group.join(key(0), membership(Qos::AtMostOnce), Some(1));
    for number in 0..4 {
        let Offer::Hand(handed) = group.offer(offered(number, Qos::ExactlyOnce, None), NOW) else {
            panic!("not handed over");
        };
        assert_eq!(handed.qos, Qos::AtMostOnce);
    }
    assert!(!group.settled(key(0), QueueNumber(0)));
    group.disconnect(key(0));
    let dropped = group.offer(offered(9, Qos::AtLeastOnce, None), NOW);
    assert!(matches!(dropped, Offer::Drop(Dropped::Unheard)));
}

#[test]
fn the_delivery_has_the_options_of_its_member() {
    let mut group = group(|_| {});
    let mut publish = Publish::new("work/1", b"do it");
    publish.qos = Qos::ExactlyOnce;
    publish.retain = true;
    let message = Message::of_publish(&publish, None, Times::default());
    for (member, as_published) in [(0, true), (1, false)] {
        let membership = Membership {
            options: Options::new(Qos::AtLeastOnce, false, as_published),
            subscription_id: SubscriptionId::new(7 + member as u32),
            persistent: false,
        };
        group.join(key(member), membership, Some(1));
        let offered = Offered {
            number: QueueNumber(member),
            message: Arc::clone(&message),
            stored: false,
        };
        let Offer::Hand(handed) = group.offer(offered, NOW) else {
            panic!("not handed over");
        };
        assert_eq!(handed.to, key(member));
        assert_eq!(handed.retain, as_published);
        assert_eq!((handed.qos, handed.stored), (Qos::AtLeastOnce, false));
        assert_eq!(
            handed.subscription_id,
            SubscriptionId::new(7 + member as u32)
        );
    }
}

#[test]
fn expired_messages_go_to_nobody() {
    let mut group = group_of(1, 1);
    assert_eq!(give_1(&mut group, 0), Some(key(0)));
    group.offer(offered(1, Qos::AtLeastOnce, Some(5)), NOW);
    group.offer(offered(2, Qos::AtLeastOnce, None), NOW);
    group.offer(offered(3, Qos::AtLeastOnce, Some(5)), NOW);
    let late = Millis(5_000);
    let too_late = group.offer(offered(4, Qos::AtLeastOnce, Some(5)), late);
    assert!(matches!(too_late, Offer::Drop(Dropped::Expired)));
    assert!(
        matches!(group.next(late), Some(Next::Expired(Offered { number, stored: true, .. })) if number.0 == 1)
    );
    assert!(group.next(late).is_none());
    let expired: Vec<_> = group.expire(late).iter().map(|e| e.number.0).collect();
    assert_eq!(expired, [3]);
    group.settled(key(0), QueueNumber(0));
    assert_eq!(drain(&mut group), [(2, key(0))]);
    assert_eq!(group.waiting(), (0, 0));
}

#[test]
fn share_messages_bound_what_waits_and_the_first_loss_is_told() {
    let mut group = group(|limits| limits.share_messages = 4);
    group.join(key(0), membership(Qos::AtLeastOnce), Some(16));
    group.disconnect(key(0));
    let mut lost = Vec::new();
    for number in 0..7 {
        if let Offer::Drop(dropped) = group.offer(offered(number, Qos::AtLeastOnce, None), NOW) {
            lost.push(dropped);
        }
    }
    let [full, again] = [true, false].map(|first| Dropped::Full {
        first,
        bound: GroupBound::Messages,
    });
    assert_eq!(lost, [full, again, again]);
    group.connect(key(0), 16);
    let taken: Vec<_> = drain(&mut group).into_iter().map(|(n, _)| n).collect();
    assert_eq!(taken, [0, 1, 2, 3]);
    group.disconnect(key(0));
    // What comes back is never lost, bound or not.
    for number in 7..11 {
        assert_eq!(give_1(&mut group, number), None);
    }
    for number in 0..4 {
        assert!(group.returned(key(0), QueueNumber(number)));
    }
    assert_eq!(group.waiting().0, 8);
    let lost = group.offer(offered(11, Qos::AtLeastOnce, None), NOW);
    assert!(matches!(lost, Offer::Drop(dropped) if dropped == full));
}

#[test]
fn share_bytes_bound_what_waits() {
    let size = offered(0, Qos::AtLeastOnce, None).message.size();
    let mut group = group(|limits| limits.share_bytes = 2 * size);
    group.join(key(0), membership(Qos::AtLeastOnce), None);
    for number in 0..2 {
        assert_eq!(give_1(&mut group, number), None);
    }
    assert_eq!(group.waiting(), (2, 2 * size));
    let lost = group.offer(offered(2, Qos::AtLeastOnce, None), NOW);
    assert!(matches!(
        lost,
        Offer::Drop(Dropped::Full { first: true, .. })
    ));
}

#[test]
fn a_group_is_as_durable_as_its_members_and_ends_with_the_last() {
    let mut group = group_of(1, 4);
    assert!(!group.is_durable() && !group.is_empty());
    let persistent = Membership {
        persistent: true,
        ..membership(Qos::AtLeastOnce)
    };
    group.join(key(1), persistent, Some(4));
    assert!(group.is_durable());
    group.disconnect(key(0));
    group.disconnect(key(1));
    assert_eq!(give_1(&mut group, 0), None);
    group.leave(key(1));
    assert!(!group.is_durable() && !group.is_empty());
    group.leave(key(0));
    assert!(group.is_empty());
    let rows: Vec<_> = group.close().collect();
    assert_eq!(rows, [QueueNumber(0)]);
}

#[test]
fn a_member_that_left_gets_nothing_and_gives_back_what_it_had() {
    let mut group = group_of(2, 2);
    for number in 0..4 {
        give_1(&mut group, number);
    }
    group.leave(key(0));
    assert_eq!(give_1(&mut group, 4), None);
    assert!(group.settled(key(0), QueueNumber(0)));
    assert!(group.returned(key(0), QueueNumber(2)));
    assert!(!group.returned(key(0), QueueNumber(2)));
    group.settled(key(1), QueueNumber(1));
    group.settled(key(1), QueueNumber(3));
    assert_eq!(drain(&mut group), [(2, key(1)), (4, key(1))]);
    assert_eq!(group.members.len(), 1);
}

#[test]
fn leaving_and_joining_without_end_leaves_nothing_behind() {
    let mut group = group_of(1, 1);
    for _ in 0..100 {
        group.join(key(1), membership(Qos::AtLeastOnce), Some(1));
        group.disconnect(key(1));
        group.connect(key(1), 1);
        group.leave(key(1));
    }
    assert_eq!((group.members.len(), group.ready.len()), (1, 1));
}

#[test]
fn what_the_store_held_goes_out_before_what_is_new() {
    let mut group = group(|limits| limits.share_messages = 2);
    for number in [5, 3, 4] {
        group.restore(offered(number, Qos::AtLeastOnce, None));
    }
    group.join(key(0), membership(Qos::AtLeastOnce), None);
    assert!(drain(&mut group).is_empty());
    group.connect(key(0), 2);
    assert_eq!(drain(&mut group), [(3, key(0)), (4, key(0))]);
    assert_eq!(give_1(&mut group, 6), None);
    group.connect(key(0), 16);
    assert_eq!(drain(&mut group), [(5, key(0)), (6, key(0))]);
}

/// What happens to a group in the model test; members by number.
#[derive(Clone, Debug)]
enum Step {
    Offer(Qos),
    Join(u64, Qos, u16),
    Leave(u64),
    Connect(u64, u16),
    /// The connection ends. The shard returns what it must, all but sent QoS 2.
    Disconnect(u64),
    /// The member is done with the n-th message that it has.
    Settle(u64, usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let member = 0..4_u64;
    let qos = prop::sample::select(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][..]);
    prop_oneof![
        6 => qos.clone().prop_map(Step::Offer),
        2 => (member.clone(), qos, 1..4_u16).prop_map(|(m, qos, window)| Step::Join(m, qos, window)),
        1 => member.clone().prop_map(Step::Leave),
        2 => (member.clone(), 1..4_u16).prop_map(|(m, window)| Step::Connect(m, window)),
        2 => member.clone().prop_map(Step::Disconnect),
        5 => (member, 0..3_usize).prop_map(|(m, at)| Step::Settle(m, at)),
    ]
}

/// Who has what, said as plainly as possible: message by message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Waits,
    /// With this member, at this QoS.
    With(u64, Qos),
    /// Delivered, or dropped for a reason that the model agrees with.
    Over,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sub {
    qos: Qos,
    joined: bool,
    connected: bool,
    window: u16,
}

#[derive(Default)]
struct Model {
    fates: Vec<Fate>,
    subs: [Sub; 4],
    returned: Vec<u64>,
}

impl Model {
    fn held(&self, member: u64) -> usize {
        let with = |fate: &&Fate| matches!(fate, Fate::With(m, _) if *m == member);
        self.fates.iter().filter(with).count()
    }

    fn is_heard(&self, member: u64) -> bool {
        let sub = &self.subs[member as usize];
        sub.joined && sub.connected
    }

    fn can_take(&self, member: u64) -> bool {
        let sub = &self.subs[member as usize];
        let free = self.held(member) < usize::from(sub.window.min(2));
        self.is_heard(member) && (free || sub.qos == Qos::AtMostOnce)
    }

    fn waiting(&self) -> Vec<u64> {
        let all = self.fates.iter().enumerate();
        all.filter(|(_, fate)| **fate == Fate::Waits)
            .map(|(number, _)| number as u64)
            .collect()
    }

    fn hand(&mut self, handed: &Handed, published: Qos) {
        let member = (0..4).find(|m| key(*m) == handed.to).unwrap();
        let qos = published.min(self.subs[member as usize].qos);
        assert_eq!(handed.qos, qos);
        assert_eq!(self.fates[handed.number.0 as usize], Fate::Waits);
        assert!(self.is_heard(member));
        assert!(self.can_take(member) || published == Qos::AtMostOnce);
        let lost_before = self.returned.contains(&handed.number.0);
        assert_eq!(handed.duplicate, lost_before && qos == Qos::AtLeastOnce);
        self.fates[handed.number.0 as usize] = match qos {
            Qos::AtMostOnce => Fate::Over,
            qos => Fate::With(member, qos),
        };
    }
}

fn run(steps: &[Step], bound: usize) {
    let mut group = group(|limits| {
        limits.share_credit = 2;
        limits.share_messages = bound;
    });
    let mut model = Model::default();
    for step in steps {
        match *step {
            Step::Offer(qos) => {
                let number = model.fates.len() as u64;
                let waiting = model.waiting().len();
                model.fates.push(Fate::Waits);
                match group.offer(offered(number, qos, None), NOW) {
                    Offer::Hand(handed) => model.hand(&handed, qos),
                    Offer::Waits => {
                        assert_ne!(qos, Qos::AtMostOnce);
                        assert!((0..4).all(|m| !model.can_take(m)));
                    }
                    Offer::Drop(Dropped::Unheard) => {
                        let keeps = |sub: &Sub| sub.joined && sub.qos > Qos::AtMostOnce;
                        assert!((0..4).all(|m| !model.is_heard(m)) || qos > Qos::AtMostOnce);
                        assert!(qos == Qos::AtMostOnce || !model.subs.iter().any(keeps));
                        model.fates[number as usize] = Fate::Over;
                    }
                    Offer::Drop(Dropped::Full { .. }) => {
                        assert!(waiting >= bound);
                        model.fates[number as usize] = Fate::Over;
                    }
                    Offer::Drop(Dropped::Expired) => panic!("nothing expires here"),
                }
            }
            Step::Join(m, qos, window) => {
                group.join(key(m), membership(qos), Some(window));
                model.subs[m as usize] = Sub {
                    qos,
                    joined: true,
                    connected: true,
                    window,
                };
            }
            Step::Leave(m) => {
                group.leave(key(m));
                model.subs[m as usize].joined = false;
            }
            Step::Connect(m, window) if model.subs[m as usize].joined => {
                group.connect(key(m), window);
                model.subs[m as usize].connected = true;
                model.subs[m as usize].window = window;
            }
            Step::Disconnect(m) => {
                group.disconnect(key(m));
                model.subs[m as usize].connected = false;
                for number in 0..model.fates.len() as u64 {
                    if model.fates[number as usize] == Fate::With(m, Qos::AtLeastOnce) {
                        assert!(group.returned(key(m), QueueNumber(number)));
                        model.fates[number as usize] = Fate::Waits;
                        model.returned.push(number);
                    }
                }
            }
            Step::Settle(m, at) => {
                let mut held = (0..).zip(&model.fates).filter_map(|(number, fate)| {
                    matches!(fate, Fate::With(with, _) if *with == m).then_some(number)
                });
                if let Some(number) = held.nth(at) {
                    assert!(group.settled(key(m), QueueNumber(number)));
                    model.fates[number as usize] = Fate::Over;
                }
            }
            Step::Connect(..) => {}
        }
        while let Some(Next::Hand(handed)) = group.next(NOW) {
            // The oldest goes first.
            assert_eq!(model.waiting().first(), Some(&handed.number.0));
            let qos = handed.message.qos();
            model.hand(&handed, qos);
        }
        // Nothing waits while somebody could take it, and the group knows of nothing else.
        let waiting = model.waiting();
        assert!(waiting.is_empty() || (0..4).all(|m| !model.can_take(m)));
        assert_eq!(group.waiting().0, waiting.len());
        assert!(waiting.len() <= bound + 4 * 2);
        assert_eq!(group.is_empty(), !model.subs.iter().any(|sub| sub.joined));
        assert!(group.ready.len() <= group.members.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every message is with one member, waits, or is over, exactly as the model says; nothing waits while a member
    /// could take it, and nothing is lost but to the bound.
    #[test]
    fn a_group_does_what_the_model_does(
        steps in prop::collection::vec(any_step(), 0..200),
        bound in 1..20_usize,
    ) {
        run(&steps, bound);
    }
}
