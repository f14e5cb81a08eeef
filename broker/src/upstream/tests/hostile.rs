//! Bytes that nobody should send, from either end, at any moment: the relay ends or goes on, and never panics.
use super::*;
use keygate_protocol::mqtt::{PINGRESP, Suback, Subscribe, Subscription, Unsuback};
use keygate_protocol::topic::TopicFilter;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Deed {
    Client(Vec<u8>),
    Upstream(Vec<u8>),
    Later(u64),
    Look,
}

/// Well-formed packets that mean something here, for identifiers that collide.
fn packets(version: Version) -> Vec<Vec<u8>> {
    let mut packets = vec![PINGRESP.to_vec(), vec![0xF0, 0], vec![0xE0, 0]];
    let filters = ["open/a", "closed/b", "$share/g/open/#"];
    let wanted = filters
        .map(|filter| Subscription::new(TopicFilter::new(filter).unwrap(), Qos::AtLeastOnce));
    let codes = [ReasonCode::Success; 3];
    for value in [1, 2, 65_535] {
        for topic in ["open/a", "closed/b", "open/secret/c"] {
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                packets.push(wire(version, [publish(topic, qos, value)]));
            }
        }
        let ack = ack(value, ReasonCode::Success);
        for packet in [
            Packet::Puback(ack),
            Packet::Pubrec(ack),
            Packet::Pubrel(ack),
            Packet::Pubcomp(ack),
            Packet::Subscribe(Subscribe::new(id(value), &wanted)),
            Packet::Subscribe(Subscribe::new(id(value), &wanted[..1])),
            Packet::Suback(Suback::new(id(value), &codes[..1])),
            Packet::Suback(Suback::new(id(value), &codes)),
            Packet::Unsuback(Unsuback::new(id(value), &codes[..1])),
            Packet::Pingreq,
            Packet::Connack(Connack::new(false, ReasonCode::Success)),
            Packet::Connect(connect(version)),
        ] {
            packets.push(wire(version, [packet]));
        }
    }
    packets
}

fn bytes(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(packets(version));
    let many = prop::collection::vec(whole.clone(), 1..6).prop_map(|packets| packets.concat());
    let bent = (whole, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(packet, at, byte)| {
        let mut packet = packet;
        let at = at.index(packet.len());
        packet[at] = byte;
        packet
    });
    prop_oneof![
        6 => many,
        2 => bent,
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn deeds(version: Version) -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        8 => bytes(version).prop_map(Deed::Client),
        8 => bytes(version).prop_map(Deed::Upstream),
        1 => (0_u64..40_000).prop_map(Deed::Later),
        1 => Just(Deed::Look),
    ];
    prop::collection::vec(deed, 0..40)
}

/// What comes over the wire, as far as it was not taken.
fn offer(kept: &mut Vec<u8>, bytes: &[u8], take: impl FnOnce(&[u8]) -> Taken) -> Next {
    kept.extend_from_slice(bytes);
    let taken = take(kept);
    kept.drain(..taken.bytes);
    if taken.next == Next::Auth {
        // As if the gate had taken it.
        kept.clear();
    }
    taken.next
}

fn play(version: Version, opened: bool, deeds: &[Deed]) {
    let limits = Limits {
        receive_max: 2,
        inflight_max: 2,
        relay_subscribes: 2,
        subscriptions: 2,
        ..Limits::default()
    };
    let mut stage = match opened {
        true => Stage::open_within(version, limits),
        false => Stage::opening(&connect(version), limits, &UpstreamRules::default()),
    };
    stage.gate.acknowledge_refused = true;
    let (mut from_client, mut from_upstream) = (Vec::new(), Vec::new());
    let mut ended = None;
    for deed in deeds {
        let next = match deed {
            Deed::Client(bytes) => offer(&mut from_client, bytes, |b| stage.client_bytes(b)),
            Deed::Upstream(bytes) => offer(&mut from_upstream, bytes, |b| stage.upstream_bytes(b)),
            Deed::Later(ms) => {
                stage.times.now = stage.times.now.plus(*ms);
                continue;
            }
            Deed::Look => match stage.act(Relay::tick) {
                Some(cause) => Next::Ended(cause),
                None => continue,
            },
        };
        match (ended, next) {
            (Some(cause), next) => {
                assert_eq!(next, Next::Ended(cause), "it ends once");
                assert_eq!(stage.out.client.len() + stage.out.upstream.len(), 0);
            }
            (None, Next::Ended(cause)) => {
                if matches!(deed, Deed::Upstream(_)) {
                    // In 3.1.1 nobody told it how much the client takes.
                    assert!(matches!(cause, Cause::Upstream(_) | Cause::Quota));
                }
                ended = Some(cause);
                stage.out = Output::default();
            }
            (None, _) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_of_either_end_are_too_much(
        (version, deeds) in prop::sample::select(BOTH.to_vec())
            .prop_flat_map(|version| (Just(version), deeds(version))),
        opened in any::<bool>(),
    ) {
        play(version, opened, &deeds);
    }
}
