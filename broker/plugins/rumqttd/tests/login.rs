//! A device fetches a challenge over CoAP, signs it, and logs in to a stock rumqttd; everybody else is refused.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod world;

use base64ct::{Base64UrlUnpadded, Encoding};
use keygate_broker::authn::{ChallengeKeys, ListenerRules, RefusalReason as Reason};
use keygate_broker::identity::Transition;
use keygate_broker::rng::SeededRandom;
use keygate_protocol::assertion::{Assertion, Freshness};
use keygate_protocol::crypto::{Signable, Signer, SoftwareSigner};
use keygate_protocol::ident::Id;
use keygate_protocol::time::UnixTime;
use keygate_rumqttd::{LoginCheck, Setup, SetupError};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, v5};
use std::time::Duration;
use tokio::time::timeout;
use world::{
    BROKER_ID, DEVICE, Impostor, PATIENCE, WALL, World, claims, get, key, layout, over_challenge,
};

const TOPIC: &str = "devices/dev-1/reported";

/// A client that has been let in.
struct Session {
    client: AsyncClient,
    events: EventLoop,
}

impl Session {
    /// Logs in with MQTT 3.1.1; false stands for a connection that was closed without a CONNACK.
    async fn open(
        world: &World,
        client_id: &str,
        credentials: Option<(&str, &str)>,
    ) -> Option<Self> {
        let mut options = MqttOptions::new(
            client_id,
            world.mqtt_3.ip().to_string(),
            world.mqtt_3.port(),
        );
        if let Some((username, password)) = credentials {
            options.set_credentials(username, password);
        }
        let (client, mut events) = AsyncClient::new(options, 8);
        let answer = timeout(PATIENCE, events.poll()).await.expect("an answer");
        match answer {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Some(Self { client, events }),
            Ok(other) => panic!("not an answer to CONNECT: {other:?}"),
            Err(_) => None,
        }
    }

    /// What this publishes comes back to it.
    async fn publishes_and_receives(&mut self, payload: &str) {
        let client = &self.client;
        client.subscribe(TOPIC, QoS::AtLeastOnce).await.unwrap();
        client
            .publish(TOPIC, QoS::AtLeastOnce, false, payload)
            .await
            .unwrap();
        let (mut acknowledged, mut received) = (false, false);
        while !(acknowledged && received) {
            let event = timeout(PATIENCE, self.events.poll()).await.expect("events");
            match event.expect("a session that lives") {
                Event::Incoming(Packet::PubAck(_)) => acknowledged = true,
                Event::Incoming(Packet::Publish(publish)) => {
                    received |= publish.topic == TOPIC && publish.payload == payload;
                }
                _ => {}
            }
        }
    }
}

/// Tries to log in, which must fail; what the trail says of it.
async fn refused(world: &World, client_id: &str, username: &str, password: &str) -> Reason {
    let session = Session::open(world, client_id, Some((username, password))).await;
    assert!(session.is_none(), "let in");
    match world.verdicts()[..] {
        [Some(reason)] => reason,
        ref other => panic!("one refusal expected: {other:?}"),
    }
}

async fn device_refused(world: &World, password: &str) -> Reason {
    refused(world, DEVICE, DEVICE, password).await
}

#[tokio::test]
async fn a_device_answers_a_challenge_and_is_on_mqtt() {
    let world = World::start(ListenerRules::plain()).await;
    let password = world.password();
    let session = Session::open(&world, DEVICE, Some((DEVICE, &password))).await;
    session.expect("let in").publishes_and_receives("one").await;
    assert_eq!(world.verdicts(), [None]);
}

#[tokio::test]
async fn a_device_with_mqtt_5_needs_no_user_name() {
    let world = World::start(ListenerRules::plain()).await;
    for username in [DEVICE, ""] {
        let mut options =
            v5::MqttOptions::new(DEVICE, world.mqtt_5.ip().to_string(), world.mqtt_5.port());
        options.set_credentials(username, world.password());
        let (client, mut events) = v5::AsyncClient::new(options, 8);
        client
            .subscribe(TOPIC, v5::mqttbytes::QoS::AtLeastOnce)
            .await
            .unwrap();
        client
            .publish(TOPIC, v5::mqttbytes::QoS::AtLeastOnce, false, "five")
            .await
            .unwrap();
        loop {
            let event = timeout(PATIENCE, events.poll()).await.expect("events");
            if let v5::Event::Incoming(v5::mqttbytes::v5::Packet::Publish(publish)) = event.unwrap()
            {
                assert_eq!(publish.payload, "five");
                break;
            }
        }
        assert_eq!(world.verdicts(), [None]);
    }
}

#[tokio::test]
async fn times_are_as_good_as_a_challenge_where_the_rules_say_so() {
    let times = |from: u64, to: u64, jti| {
        let freshness = Freshness::Times {
            issued_at: UnixTime(WALL.0 + from),
            expires_at: UnixTime(WALL.0 + to),
            jti,
        };
        let text = claims(freshness).sign(&mut key()).unwrap();
        text.as_str().to_owned()
    };
    let world = World::start(ListenerRules::plain()).await;
    let password = times(0, 300, "n-1");
    let mut session = Session::open(&world, DEVICE, Some((DEVICE, &password)))
        .await
        .expect("let in");
    session.publishes_and_receives("timed").await;
    assert_eq!(world.verdicts(), [None]);

    assert_eq!(
        device_refused(&world, &password).await,
        Reason::AssertionReused
    );
    let early = times(100, 200, "n-2");
    assert_eq!(
        device_refused(&world, &early).await,
        Reason::AssertionFromFuture
    );
    let long = times(0, 301, "n-3");
    assert_eq!(
        device_refused(&world, &long).await,
        Reason::AssertionLifetime
    );
    let short = times(0, 10, "n-4");
    world.pass(70_000).await;
    assert_eq!(
        device_refused(&world, &short).await,
        Reason::AssertionExpired
    );

    let mut rules = ListenerRules::plain();
    rules.assertion_ttl_max_s = 0;
    let world = World::start(rules).await;
    let any = times(0, 1, "n-5");
    assert_eq!(
        device_refused(&world, &any).await,
        Reason::AssertionLifetime
    );
    let password = world.password();
    let session = Session::open(&world, DEVICE, Some((DEVICE, &password))).await;
    assert!(session.is_some());
}

#[tokio::test]
async fn who_proves_nothing_is_refused() {
    let world = World::start(ListenerRules::plain()).await;
    // rumqttd refuses this one by itself and does not ask: the trail knows nothing of it.
    assert!(Session::open(&world, DEVICE, None).await.is_none());
    assert_eq!(world.verdicts(), []);

    let nothing = refused(&world, DEVICE, DEVICE, "").await;
    assert_eq!(nothing, Reason::NoCredentials);
    for guess in [
        "password",
        "ey.ey.ey",
        "a.b.c~d",
        "\u{0}",
        &"x".repeat(8_000),
    ] {
        assert_eq!(
            device_refused(&world, guess).await,
            Reason::AssertionMalformed
        );
    }
    // Nobody was harmed.
    let password = world.password();
    let session = Session::open(&world, DEVICE, Some((DEVICE, &password))).await;
    assert!(session.is_some());
}

#[tokio::test]
async fn another_key_or_another_name_is_refused() {
    let world = World::start(ListenerRules::plain()).await;
    let mut other = SoftwareSigner::from_seed(&[2; 32]);
    let foreign = over_challenge(&world.challenge(), &mut other);
    assert_eq!(device_refused(&world, &foreign).await, Reason::KeyUnknown);
    let mut impostor = Impostor {
        claimed: key().key_id(),
        own: other,
    };
    let forged = over_challenge(&world.challenge(), &mut impostor);
    assert_eq!(device_refused(&world, &forged).await, Reason::BadSignature);

    let challenge = world.challenge();
    let unknown = Assertion {
        id: Id::new("dev-2").unwrap(),
        ..claims(Freshness::Challenge(&challenge))
    };
    let unknown = unknown.sign(&mut key()).unwrap();
    let reason = refused(&world, "dev-2", "dev-2", &unknown).await;
    assert_eq!(reason, Reason::UnknownDevice);

    let password = world.password();
    let reason = refused(&world, "dev-2", DEVICE, &password).await;
    assert_eq!(reason, Reason::ClientIdNotOwn);
    let reason = refused(&world, DEVICE, "dev-2", &password).await;
    assert_eq!(reason, Reason::UserNameNotOwn);
    let elsewhere = Assertion {
        client_id: Some("dev-2"),
        ..claims(Freshness::Challenge(&challenge))
    };
    let elsewhere = elsewhere.sign(&mut key()).unwrap();
    let reason = device_refused(&world, &elsewhere).await;
    assert_eq!(reason, Reason::AssertionWrongClient);

    // What was refused has used nothing up.
    let session = Session::open(&world, DEVICE, Some((DEVICE, &password))).await;
    assert!(session.is_some());
}

#[tokio::test]
async fn an_old_or_foreign_challenge_is_refused() {
    let world = World::start(ListenerRules::plain()).await;
    let password = world.password();
    let session = Session::open(&world, DEVICE, Some((DEVICE, &password))).await;
    assert!(session.is_some());
    assert_eq!(world.verdicts(), [None]);
    assert_eq!(
        device_refused(&world, &password).await,
        Reason::AssertionReused
    );

    let late = world.password();
    world.pass(60_001).await;
    assert_eq!(
        device_refused(&world, &late).await,
        Reason::ChallengeExpired
    );

    // Another start of the same broker has another key.
    let mut random = SeededRandom::new(9);
    let now = keygate_broker::clock::Clock::now(&*world.clock);
    let foreign = ChallengeKeys::new(BROKER_ID, &mut random).issue(now, &mut random);
    for forged in [&foreign, "AAAA"] {
        let forged = over_challenge(forged, &mut key());
        assert_eq!(
            device_refused(&world, &forged).await,
            Reason::ChallengeForged
        );
    }
}

#[tokio::test]
async fn an_assertion_for_something_else_is_refused() {
    let world = World::start(ListenerRules::plain()).await;
    let challenge = world.challenge();
    let elsewhere = Assertion {
        broker_id: Id::new("kg-other").unwrap(),
        ..claims(Freshness::Challenge(&challenge))
    };
    let elsewhere = elsewhere.sign(&mut key()).unwrap();
    assert_eq!(
        device_refused(&world, &elsewhere).await,
        Reason::WrongBroker
    );

    // The device's own signature under the same claims, as another kind of JWT.
    let good = over_challenge(&challenge, &mut key());
    let claims_part = good.split('.').nth(1).unwrap();
    let header = format!(
        r#"{{"alg":"Ed25519","typ":"JWT","kid":"{}"}}"#,
        key().key_id()
    );
    let header = Base64UrlUnpadded::encode_string(header.as_bytes());
    let input = format!("{header}.{claims_part}");
    let message = Signable::jws_input(input.as_bytes()).unwrap();
    let signature = key().sign(&message).unwrap();
    let signature = Base64UrlUnpadded::encode_string(signature.as_bytes());
    let other_kind = format!("{input}.{signature}");
    let reason = device_refused(&world, &other_kind).await;
    assert_eq!(reason, Reason::AssertionWrongType);

    let session = Session::open(&world, DEVICE, Some((DEVICE, &good))).await;
    assert!(session.is_some());
}

#[tokio::test]
async fn a_suspended_device_is_refused_at_its_next_login_only() {
    let world = World::start(ListenerRules::loopback()).await;
    let password = world.password();
    let mut session = Session::open(&world, DEVICE, Some((DEVICE, &password)))
        .await
        .expect("let in");
    assert_eq!(world.verdicts(), [None]);

    let change = |transition| {
        world
            .registry
            .transition(DEVICE, transition)
            .unwrap()
            .revision
    };
    let suspended = change(Transition::Suspend);
    timeout(PATIENCE, seen(&world, suspended))
        .await
        .expect("seen");
    // The hook is asked at CONNECT and never again.
    session.publishes_and_receives("still here").await;
    assert_eq!(
        device_refused(&world, &password).await,
        Reason::DeviceSuspended
    );

    let resumed = change(Transition::Resume);
    timeout(PATIENCE, seen(&world, resumed))
        .await
        .expect("seen");
    // These rules take an assertion any number of times until it expires.
    let again = Session::open(&world, DEVICE, Some((DEVICE, &password))).await;
    assert!(again.is_some());
}

/// Until the check knows this state of the store.
async fn seen(world: &World, revision: keygate_broker::identity::Revision) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    while world.check.directory().revision() < revision {
        again.tick().await;
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_lets_nobody_in() {
    let world = World::start(ListenerRules::loopback()).await;
    let password = world.password();
    let database = rusqlite::Connection::open(&world.identity_db).unwrap();
    database.execute_batch("DROP TABLE change").unwrap();
    world.clock.advance(10_001);
    assert!(!world.check.is_current());
    assert_eq!(device_refused(&world, &password).await, Reason::BrokerFault);
}

#[tokio::test]
async fn nothing_but_challenges_is_served() {
    let world = World::start(ListenerRules::plain()).await;
    let links = get(world.coap, ".well-known/core");
    assert_eq!(links.payload, br#"</challenge>;rt="kg.challenge";ct=60"#);
    for path in ["token", "keys", "challenge/x", ""] {
        assert_eq!(get(world.coap, path).header.get_code(), "4.04", "{path}");
    }
    assert_ne!(world.challenge(), world.challenge());
}

#[test]
fn set_up_says_what_is_missing() {
    use keygate_broker::keys::{DataDir, DataDirError};
    use keygate_broker::rng::SystemRandom;
    let place = tempfile::tempdir().unwrap();
    let layout = layout(&place);
    let root = layout.root();
    let missing = Setup::open(root).unwrap_err();
    assert!(
        matches!(
            &missing,
            SetupError::DataDir(DataDirError::NotInitialised { .. })
        ),
        "{missing}"
    );
    let held = DataDir::init(root, None, WALL, &mut SystemRandom).unwrap();
    let empty = Setup::open(root).unwrap_err();
    assert!(matches!(&empty, SetupError::NoStore { path } if *path == layout.identity_db()));

    keygate_broker::identity::SqliteStore::open(&layout.identity_db()).unwrap();
    let mut setup = Setup::open(root).unwrap();
    assert_eq!(*setup.broker_id, *held.broker_id().as_str());
    setup.broker_id = "no id".into();
    let bad = LoginCheck::new(setup).unwrap_err();
    assert!(matches!(bad, SetupError::BrokerId(_)), "{bad}");
}
