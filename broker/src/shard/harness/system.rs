//! What the broker says of itself reaches those who may hear it, and nobody else.
use super::session_bounds::{connect, open_world, subscribe};
use crate::hub::Own;

fn uptime(payload: &str) -> [Own; 1] {
    [Own {
        topic: "$SYS/broker/uptime".into(),
        payload: payload.into(),
    }]
}

#[test]
fn who_may_gets_the_last_word_and_then_each_new_one() {
    let mut world = open_world(|limits| limits.retained_messages = 1);
    connect(&mut world, 0, |_| {});
    subscribe(&mut world, 0, "#");
    world.say(&uptime("0 seconds"));
    // Retained twice, and no bound refuses what the broker itself says.
    world.say(&[Own {
        topic: "$SYS/broker/version".into(),
        payload: "keygate".into(),
    }]);
    assert_eq!(world.hub.retained_messages(), 2);
    connect(&mut world, 1, |_| {});
    subscribe(&mut world, 1, "$SYS/broker/uptime");
    assert_eq!(world.clients[1].topics, ["$SYS/broker/uptime"]);
    world.say(&uptime("10 seconds"));
    assert_eq!(world.clients[1].payloads, ["0 seconds", "10 seconds"]);
    assert!(world.clients[0].topics.is_empty(), "# never means $SYS");
    assert_eq!(world.hub.retained_messages(), 2);
    let stored = world.log.recovered(world.times());
    assert!(stored.retained.is_empty(), "none of it is stored");
}
