//! What a restart does with rows that nobody will come for.
use super::World;
use super::schedules::{registry, world_with};
use crate::authn::Owner;
use crate::hub::{Message, Times};
use crate::limits::Limits;
use crate::log::{
    Log, Op, QueueNumber, Recovered, StoredGroup, StoredId, StoredMessage, StoredSession,
    StoredSubscription,
};
use keygate_protocol::mqtt::{Publish, Qos, Version};

const FILTER: &str = "$share/workers/jobs/#";

/// A stored session of this device.
fn session(device: &str) -> Op {
    Op::OpenSession(Box::new(StoredSession {
        id: StoredId(1),
        client_id: device.into(),
        owner: Owner::Device(device.into()),
        version: Version::V5,
        expiry_s: 3_600,
        detached_at: None,
        will: None,
        subscriptions: Vec::new(),
        inbound: Vec::new(),
    }))
}

fn row(number: u64, queue: u64, released: bool) -> Op {
    Op::Enqueue(StoredMessage {
        number: QueueNumber(number),
        queue: StoredId(queue),
        message: Message::of_publish(&Publish::new("jobs/1", b"work"), None, Times::default()),
        qos: Qos::ExactlyOnce,
        retain: false,
        released,
        subscription_ids: Box::default(),
    })
}

/// What is stored when a broker has started with these rows and come to rest.
fn left_of(ops: Vec<Op>) -> Recovered {
    let mut world: World = world_with(1, Limits::default(), &registry());
    world.log.submit(ops);
    world.log.sync_all();
    world.crash();
    world.wait(10);
    world.log.sync_all();
    world.log.recovered(world.times())
}

/// Whoever was the last member may have no right any more when the broker is back.
#[test]
fn a_share_group_that_nobody_may_have_any_more_leaves_nothing() {
    let subscribe = Op::Subscribe {
        session: StoredId(1),
        subscription: StoredSubscription {
            filter: FILTER.into(),
            options: 2,
            id: None,
            cursor: None,
        },
    };
    let group = Op::OpenGroup(StoredGroup {
        id: StoredId(2),
        filter: FILTER.into(),
    });
    let left = left_of(vec![session("revoked"), subscribe, group, row(1, 2, false)]);
    assert!(left.groups.is_empty(), "{:?}", left.groups);
    assert!(left.queue.is_empty(), "{:?}", left.queue);
}

/// A client answers once for an identifier: a second row of it would stay for ever.
#[test]
fn a_second_released_row_of_one_packet_identifier_goes() {
    let twin = 1 + u64::from(u16::MAX);
    let rows = vec![session("steady-0"), row(1, 1, true), row(twin, 1, true)];
    let left = left_of(rows);
    let numbers: Vec<u64> = left.queue.iter().map(|row| row.number.0).collect();
    assert_eq!(numbers, [1]);
}
