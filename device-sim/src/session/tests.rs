//! A session against the protocol's broker machine.

use keygate_protocol::crypto::Signer;
use keygate_protocol::login::Binding;
use keygate_protocol::login::device::DeviceError;
use keygate_protocol::mqtt::{PINGREQ, PINGRESP, PacketType, ReasonCode};

use super::*;
use crate::clock::Micros;
use crate::identity::{Cast, Member};
use crate::peer::{BROKER_ID, Peer};
use crate::scenario::builtin;

struct Bench {
    peer: Peer,
    cast: Cast,
    profile: Profile,
}

impl Bench {
    fn new() -> Self {
        let scenario = builtin("smoke").expect("built in");
        let peer = Peer::new(&scenario);
        let profile = Profile {
            broker_id: BROKER_ID.to_owned(),
            identity_key: Some(peer.identity_key()),
            keep_alive_s: 60,
            session_expiry_s: 0,
            binding: Binding::None,
        };
        Self {
            peer,
            cast: Cast::new("smoke", "dev"),
            profile,
        }
    }

    fn honest(&self) -> Key {
        Key::new(self.cast.signer(Member::Device(0)))
    }

    fn wanted() -> Wanted {
        Wanted {
            filter: "devices/dev-000000/#".to_owned(),
            no_local: true,
        }
    }
}

/// What a session told, without the borrowed parts.
#[derive(Debug, Eq, PartialEq)]
enum Told {
    LoggedIn(bool),
    Subscribed,
    Acknowledged(u32, ReasonCode),
    Message(String, Vec<u8>, bool),
}

impl From<Event<'_>> for Told {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::LoggedIn { proven } => Self::LoggedIn(proven),
            Event::Subscribed => Self::Subscribed,
            Event::Acknowledged { tag, code } => Self::Acknowledged(tag, code),
            Event::Message {
                topic,
                payload,
                dup,
            } => Self::Message(topic.to_owned(), payload.to_vec(), dup),
        }
    }
}

/// Carries bytes both ways until both are quiet. The broker's bytes come `chunk` at a time.
fn exchange(
    session: &mut Session<'_>,
    peer: &mut Peer,
    client: u32,
    mut out: Vec<u8>,
    chunk: usize,
) -> Result<Vec<Told>, Failure> {
    let mut told = Vec::new();
    let mut unread = Vec::new();
    while !out.is_empty() {
        let sent = peer.receive(client, &std::mem::take(&mut out));
        let bytes: Vec<u8> = sent
            .into_iter()
            .filter(|&(to, _)| to == client)
            .filter_map(|(_, bytes)| bytes)
            .flatten()
            .collect();
        for piece in bytes.chunks(chunk) {
            unread.extend_from_slice(piece);
            let taken = session.receive(&unread, Micros(7), &mut out, &mut |event| {
                told.push(event.into());
            })?;
            unread.drain(..taken);
        }
    }
    assert!(unread.is_empty());
    Ok(told)
}

#[test]
fn logs_in_subscribes_publishes_and_hears_in_pieces_of_any_size() {
    for chunk in [1, 3, 7, 1_000] {
        let mut bench = Bench::new();
        let client = bench.peer.accept();
        let mut out = Vec::new();
        let mut session = Session::open(
            &bench.profile,
            "dev-000000",
            bench.honest(),
            [1; 16],
            Some(Bench::wanted()),
            &mut out,
        )
        .expect("opens");
        assert_eq!(session.stage(), Stage::Challenge);
        let told = exchange(&mut session, &mut bench.peer, client, out, chunk).expect("granted");
        assert_eq!(told, [Told::LoggedIn(true), Told::Subscribed]);
        assert!(session.is_online());

        let mut out = Vec::new();
        session
            .publish(
                "devices/dev-000000/reported",
                b"{}",
                42,
                Micros(8),
                &mut out,
            )
            .expect("fits");
        let told =
            exchange(&mut session, &mut bench.peer, client, out, chunk).expect("acknowledged");
        assert_eq!(told, [Told::Acknowledged(42, ReasonCode::Success)]);
    }
}

#[test]
fn without_a_pinned_key_no_proof_is_asked_for_and_none_is_claimed() {
    let mut bench = Bench::new();
    bench.profile.identity_key = None;
    let client = bench.peer.accept();
    let mut out = Vec::new();
    let mut session = Session::open(
        &bench.profile,
        "dev-000000",
        bench.honest(),
        [1; 16],
        None,
        &mut out,
    )
    .expect("opens");
    bench.peer.faults.admit_all = true;
    // The scripted broker confirms only what is asked for; answer by hand.
    let sent = bench.peer.receive(client, &out);
    let mut out = Vec::new();
    let challenge = sent[0].1.clone().expect("a challenge");
    session
        .receive(&challenge, Micros(1), &mut out, &mut |_| {})
        .expect("answers");
    let mut told = Vec::new();
    let connack = b"\x20\x03\x00\x00\x00";
    session
        .receive(connack, Micros(2), &mut out, &mut |event| {
            told.push(Told::from(event));
        })
        .expect("granted");
    assert_eq!(told, [Told::LoggedIn(false)]);
    assert!(session.is_online());
}

#[test]
fn another_brokers_challenge_is_not_signed() {
    let mut bench = Bench::new();
    bench.profile.broker_id = "kg-other".to_owned();
    let client = bench.peer.accept();
    let mut out = Vec::new();
    let mut session = Session::open(
        &bench.profile,
        "dev-000000",
        bench.honest(),
        [1; 16],
        None,
        &mut out,
    )
    .expect("opens");
    let failure =
        exchange(&mut session, &mut bench.peer, client, out, 1_000).expect_err("not this one");
    assert_eq!(failure, Failure::Broker(DeviceError::OtherBroker));
}

#[test]
fn a_broker_without_the_pinned_key_gets_nothing_more() {
    let mut bench = Bench::new();
    bench.peer.faults.wrong_identity = true;
    let client = bench.peer.accept();
    let mut out = Vec::new();
    let mut session = Session::open(
        &bench.profile,
        "dev-000000",
        bench.honest(),
        [1; 16],
        Some(Bench::wanted()),
        &mut out,
    )
    .expect("opens");
    let failure =
        exchange(&mut session, &mut bench.peer, client, out, 1_000).expect_err("not this one");
    assert_eq!(failure, Failure::Broker(DeviceError::BrokerProofBad));
    let mut goodbye = Vec::new();
    session.close(&mut goodbye);
    assert!(goodbye.is_empty());
}

#[test]
fn a_wrong_key_is_refused_under_either_name() {
    for claims_victims_key in [true, false] {
        let mut bench = Bench::new();
        let signer = bench.cast.signer(Member::Impostor(0));
        let key = match claims_victims_key {
            true => Key::claiming(signer, bench.cast.signer(Member::Device(0)).key_id()),
            false => Key::new(signer),
        };
        let client = bench.peer.accept();
        let mut out = Vec::new();
        let mut session = Session::open(&bench.profile, "dev-000000", key, [1; 16], None, &mut out)
            .expect("opens");
        let failure =
            exchange(&mut session, &mut bench.peer, client, out, 1_000).expect_err("not in");
        assert_eq!(
            failure,
            Failure::Refused {
                stage: Stage::Confirmation,
                code: ReasonCode::NotAuthorized
            }
        );
    }
}

#[test]
fn packets_out_of_order_end_the_session() {
    let bench = Bench::new();
    for (packet, expected) in [
        (&b"\xD0\x00"[..], PacketType::Pingresp),
        (b"\x20\x03\x00\x00\x00", PacketType::Connack),
        (b"\x40\x02\x00\x01", PacketType::Puback),
    ] {
        let mut out = Vec::new();
        let mut session = Session::open(
            &bench.profile,
            "dev-000000",
            bench.honest(),
            [1; 16],
            None,
            &mut out,
        )
        .expect("opens");
        let failure = session
            .receive(packet, Micros(0), &mut out, &mut |_| {})
            .expect_err("too early");
        assert_eq!(
            failure,
            Failure::OutOfOrder {
                stage: Stage::Challenge,
                packet: expected
            }
        );
    }
}

#[test]
fn the_window_is_the_brokers_and_an_acknowledgement_for_nothing_is_refused() {
    let mut bench = Bench::new();
    bench.peer.receive_max = 2;
    let client = bench.peer.accept();
    let mut out = Vec::new();
    let mut session = Session::open(
        &bench.profile,
        "dev-000000",
        bench.honest(),
        [1; 16],
        None,
        &mut out,
    )
    .expect("opens");
    exchange(&mut session, &mut bench.peer, client, out, 1_000).expect("granted");
    let mut out = Vec::new();
    for tag in 0..3 {
        session
            .publish("devices/dev-000000/reported", b"", tag, Micros(0), &mut out)
            .expect("fits");
    }
    assert!(!session.has_room());
    let told = exchange(&mut session, &mut bench.peer, client, out, 1_000).expect("acknowledged");
    assert_eq!(
        told,
        [
            Told::Acknowledged(0, ReasonCode::Success),
            Told::Acknowledged(1, ReasonCode::Success)
        ]
    );
    let stray = session.receive(b"\x40\x02\x00\x09", Micros(0), &mut Vec::new(), &mut |_| {});
    assert_eq!(stray, Err(Failure::Unasked));
}

#[test]
fn a_quiet_session_pings_and_a_silent_broker_is_late() {
    let mut bench = Bench::new();
    let client = bench.peer.accept();
    let mut out = Vec::new();
    let mut session = Session::open(
        &bench.profile,
        "dev-000000",
        bench.honest(),
        [1; 16],
        None,
        &mut out,
    )
    .expect("opens");
    exchange(&mut session, &mut bench.peer, client, out, 1_000).expect("granted");

    let due = session.deadline().expect("keep-alive is on");
    assert_eq!(due, Micros(7).plus(45_000_000));
    let mut out = Vec::new();
    session.tick(Micros(due.0 - 1), &mut out).expect("early");
    assert!(out.is_empty());
    session.tick(due, &mut out).expect("pings");
    assert_eq!(out, PINGREQ);
    session
        .receive(&PINGRESP, due, &mut out, &mut |_| {})
        .expect("alive");

    let again = session.deadline().expect("on");
    session.tick(again, &mut out).expect("pings");
    let late = session.deadline().expect("on");
    assert_eq!(
        session.tick(late, &mut out),
        Err(Failure::Late(Stage::Online))
    );
}
