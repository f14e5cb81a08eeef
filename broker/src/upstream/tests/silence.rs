//! A client that may say nothing for ever, and an upstream that does not like it.
use std::sync::Arc;

use keygate_protocol::mqtt::{self, Packet, Sender, Version};

use super::{NOW, Stage, connect};
use crate::limits::Limits;
use crate::rng::SeededRandom;
use crate::upstream::client::SILENT_MS;
use crate::upstream::{Next, Tickets, UpstreamRules};

#[test]
fn the_upstream_of_a_silent_session_hears_from_the_gate() {
    let mut asked = connect(Version::V311);
    asked.keep_alive_s = 0;
    let mut stage = Stage::open_with(&asked, Limits::default());
    stage.times.now = NOW.now.plus(SILENT_MS - 1);
    assert_eq!(stage.act(|relay, turn| relay.tick(turn)), None);
    stage.nothing_goes_up();
    stage.times.now = NOW.now.plus(SILENT_MS);
    assert_eq!(stage.act(|relay, turn| relay.tick(turn)), None);
    stage.goes_up([Packet::Pingreq]);
    assert_eq!(stage.act(|relay, turn| relay.tick(turn)), None);
    stage.nothing_goes_up();
    assert_eq!(stage.upstream([Packet::Pingresp]), Next::More);
    stage.nothing_goes_down();
}

/// The CONNECT for a broker in this process: a ticket, a name that it takes, and a keep-alive that is not 0.
#[test]
fn a_broker_in_this_process_gets_a_ticket() {
    for version in [Version::V311, Version::V5] {
        let limits = Limits::default();
        let random = Box::new(SeededRandom::new(1));
        let tickets = Arc::new(Tickets::new(&limits, Arc::default(), random));
        let rules = UpstreamRules {
            username: Some("gate".into()),
            tickets: Some(Arc::clone(&tickets)),
            ..UpstreamRules::default()
        };
        let mut asked = connect(version);
        asked.keep_alive_s = 0;
        asked.client_id = "dev-1/a";
        let stage = Stage::opening(&asked, limits, &rules);
        let frame = mqtt::frame(&stage.out.upstream, 10_000).unwrap().unwrap();
        let Packet::Connect(up) = mqtt::decode(&frame, Sender::Client, version).unwrap() else {
            panic!("no CONNECT");
        };
        assert_eq!((up.client_id, up.username), ("dev-1%2Fa", Some("gate")));
        assert_eq!(up.keep_alive_s, u16::MAX);
        let ticket = std::str::from_utf8(up.password.unwrap()).unwrap();
        assert!(tickets.redeem(up.client_id, ticket, NOW.now));
    }
}
