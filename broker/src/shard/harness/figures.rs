//! What the shards have counted is what happened.
use super::schedules::{connect_steady, registry, world_with};
use crate::limits::Limits;

#[test]
fn figures_follow_connections_sessions_and_messages() {
    let limits = Limits {
        handshake_ms: 1_000,
        ..Limits::default()
    };
    let registry = registry();
    let mut world = world_with(3, limits, &registry);
    connect_steady(&mut world);
    let before = world.tally();
    assert_eq!((before.connections, before.connections_total), (3, 3));
    assert_eq!((before.sessions_connected, before.sessions_absent), (3, 0));
    assert_eq!((before.logins_accepted, before.logins_refused), (3, 0));
    assert!(before.bytes_in > 0 && before.bytes_out > 0);

    for number in 0..8 {
        world.act(0, |client, out| {
            client.publish("groups/g/state/steady-0", &number.to_string(), false, out);
        });
        world.settle();
    }
    let after = world.tally();
    assert_eq!(after.received_qos1, 8);
    let delivered: usize = world.clients.iter().map(|c| c.received.len()).sum();
    assert_eq!(after.sent_qos1, delivered as u64);
    assert!(after.bytes_in > before.bytes_in && after.bytes_out > before.bytes_out);

    world.cut(1);
    world.settle();
    world.open_silent(0);
    world.wait(2_500);
    let last = world.tally();
    assert_eq!((last.connections, last.connections_total), (2, 4));
    assert_eq!(last.sessions_connected, 2);
    assert_eq!(last.logins_refused, 1);
    let sessions = last.sessions_connected + last.sessions_absent;
    assert_eq!(sessions, world.counts().1 as u64);
}
