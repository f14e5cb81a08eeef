//! Every operation, as it comes back.
use super::*;

#[test]
fn every_part_of_a_session_comes_back() {
    let will = message_with("will/topic", b"gone", |will| {
        will.qos = Qos::ExactlyOnce;
        will.retain = true;
        will.properties.content_type = Some("text/plain");
        will.properties.expiry_s = Some(60);
    });
    let full = StoredSession {
        owner: Owner::Anonymous("lab".into()),
        version: Version::V311,
        expiry_s: u32::MAX,
        will: Some(Box::new(StoredWill {
            message: will,
            delay_s: 30,
        })),
        ..session(7)
    };
    let cursor = StoredCursor {
        after: Some("m/n".into()),
        upto: 12,
    };
    let subscribe = |subscription| Op::Subscribe {
        session: StoredId(7),
        subscription,
    };
    let wide = StoredSubscription {
        id: Some(id(268_435_455)),
        cursor: Some(cursor.clone()),
        ..subscription("$share/g/m/#")
    };
    let ops = [
        Op::OpenSession(Box::new(full.clone())),
        subscribe(wide.clone()),
        subscribe(subscription("a/+")),
        Op::Receive {
            session: StoredId(7),
            packet_id: packet(65_535),
        },
        Op::Receive {
            session: StoredId(7),
            packet_id: packet(2),
        },
    ];
    let found = stored(&[&ops], at(WALL));
    let expected = StoredSession {
        subscriptions: vec![wide.clone(), subscription("a/+")],
        inbound: vec![packet(2), packet(65_535)],
        ..full
    };
    let [found] = found.sessions.try_into().unwrap();
    assert_eq!(found.client_id, expected.client_id);
    assert_eq!(found.owner, expected.owner);
    assert_eq!(
        (found.version, found.expiry_s, found.detached_at),
        (Version::V311, u32::MAX, None)
    );
    assert_eq!(found.subscriptions, expected.subscriptions);
    assert_eq!(found.inbound, expected.inbound);
    let (will, expected) = (found.will.unwrap(), expected.will.unwrap());
    assert_eq!(will.delay_s, 30);
    assert_eq!(will.message.parts(), expected.message.parts());
}

#[test]
fn a_session_changes_and_ends() {
    let with_will = StoredSession {
        will: Some(Box::new(StoredWill {
            message: message("w", b"x"),
            delay_s: 5,
        })),
        ..session(1)
    };
    let opened = Op::OpenSession(Box::new(with_will));
    let detach = |will_pending| Op::Detach {
        session: StoredId(1),
        at: UnixTime(WALL + 1),
        expiry_s: 77,
        will_pending,
    };
    let one = |windows: &[&[Op]]| stored(windows, at(WALL + 2)).sessions.pop();
    let pending = one(&[std::slice::from_ref(&opened), &[detach(true)]]).unwrap();
    assert_eq!(pending.detached_at, Some(UnixTime(WALL + 1)));
    assert_eq!((pending.expiry_s, pending.will.is_some()), (77, true));
    let gone = one(&[&[opened.clone(), detach(false)]]).unwrap();
    assert_eq!((gone.expiry_s, gone.will.is_some()), (77, false));
    let done = one(&[&[opened.clone(), Op::WillDone(StoredId(1))]]).unwrap();
    assert!(done.will.is_none());
    // A new CONNECT leaves its subscriptions.
    let subscribe = Op::Subscribe {
        session: StoredId(1),
        subscription: subscription("a"),
    };
    let receive = Op::Receive {
        session: StoredId(1),
        packet_id: packet(3),
    };
    let back = one(&[
        &[opened.clone(), subscribe.clone(), receive.clone()],
        &[detach(true)],
        &[open(1)],
    ])
    .unwrap();
    assert_eq!((back.detached_at, back.will), (None, None));
    assert_eq!(back.subscriptions, [subscription("a")]);
    assert_eq!(back.inbound, [packet(3)]);
    // Its end takes everything along; an id that comes again, which the hub never does, would find nothing.
    let ended = [
        opened,
        subscribe,
        receive,
        Op::CloseSession(StoredId(1)),
        open(1),
    ];
    let anew = one(&[&ended]).unwrap();
    assert!(anew.subscriptions.is_empty() && anew.inbound.is_empty());
}

#[test]
fn subscriptions_change_and_go() {
    let subscribe = |subscription| Op::Subscribe {
        session: StoredId(1),
        subscription,
    };
    let cursor = |after: Option<&str>| StoredCursor {
        after: after.map(Into::into),
        upto: 9,
    };
    let mut wanted = subscription("a/#");
    wanted.cursor = Some(cursor(None));
    let moved = Op::Cursor {
        session: StoredId(1),
        filter: "a/#".into(),
        cursor: Some(cursor(Some("a/k"))),
    };
    let done = Op::Cursor {
        session: StoredId(1),
        filter: "a/#".into(),
        cursor: None,
    };
    let gone = Op::Unsubscribe {
        session: StoredId(1),
        filter: "a/#".into(),
    };
    let first = [open(1), subscribe(wanted.clone())];
    let of = |more: &[Op]| {
        let found = stored(&[&first, more], at(WALL));
        found.sessions[0].subscriptions.clone()
    };
    assert_eq!(of(&[]), [wanted.clone()]);
    wanted.cursor = Some(cursor(Some("a/k")));
    assert_eq!(of(std::slice::from_ref(&moved)), [wanted.clone()]);
    wanted.cursor = None;
    assert_eq!(of(&[moved, done]), [wanted.clone()]);
    wanted.options = 0x2a;
    wanted.id = Some(id(4));
    assert_eq!(of(&[subscribe(wanted.clone())]), [wanted]);
    assert_eq!(of(&[gone]), []);
}

#[test]
fn every_part_of_a_queued_message_comes_back() {
    let mut full = queued(5, 1);
    full.message = message_with("t/ö", &[0, 255], |publish| {
        publish.qos = Qos::ExactlyOnce;
        publish.retain = true;
        publish.properties.expiry_s = Some(50);
        publish.properties.response_topic = Some("r");
    });
    full.qos = Qos::ExactlyOnce;
    full.retain = true;
    full.subscription_ids = [id(1), id(268_435_455)].into();
    let found = stored(&[&[open(1), Op::Enqueue(full.clone())]], at(WALL + 20));
    let [found] = found.queue.try_into().unwrap();
    assert_eq!(found.message.parts(), full.message.parts());
    full.message = Arc::clone(&found.message);
    assert_eq!(found, full);
    // Expiry goes on from where it was: 30 seconds are left.
    assert!(!found.message.has_expired(Millis(34_999)));
    assert!(found.message.has_expired(Millis(35_000)));
}

#[test]
fn queued_messages_move_and_go() {
    let group = Op::OpenGroup(StoredGroup {
        id: StoredId(9),
        filter: "$share/g/a".into(),
    });
    let first = [
        open(1),
        group.clone(),
        enqueue(3, 9),
        enqueue(2, 9),
        enqueue(4, 1),
    ];
    let assign = Op::Assign(Assignment {
        number: QueueNumber(2),
        queue: StoredId(1),
        qos: Qos::ExactlyOnce,
        retain: false,
        subscription_id: None,
    });
    let more = [assign, Op::Release(QueueNumber(2)), dequeue(4)];
    let found = stored(&[&first, &more], at(WALL));
    let queue: Vec<_> = found
        .queue
        .iter()
        .map(|stored| (stored.number.0, stored.queue.0, stored.released))
        .collect();
    assert_eq!(queue, [(2, 1, true), (3, 9, false)]);
    assert_eq!(
        found.groups,
        [StoredGroup {
            id: StoredId(9),
            filter: "$share/g/a".into()
        }]
    );
    let closed = stored(&[&first, &[Op::CloseGroup(StoredId(9))]], at(WALL));
    assert!(closed.groups.is_empty());
    assert_eq!(numbers(&closed), [4]);
}

/// A member has the message as it asked for it, whether or not the message came in the same window.
#[test]
fn a_message_is_delivered_after_a_restart_as_its_member_asked_for_it() {
    let group = Op::OpenGroup(StoredGroup {
        id: StoredId(9),
        filter: "$share/g/a".into(),
    });
    let of_group = StoredMessage {
        retain: true,
        ..queued(2, 9)
    };
    let assignment = Assignment {
        number: QueueNumber(2),
        queue: StoredId(1),
        qos: Qos::ExactlyOnce,
        retain: false,
        subscription_id: SubscriptionId::new(7),
    };
    let assign = Op::Assign(assignment.clone());
    let before = [open(1), group, Op::Enqueue(of_group)];
    let in_one = [&before[..], std::slice::from_ref(&assign)].concat();
    for windows in [&[&in_one[..]][..], &[&before, &[assign]]] {
        let found = stored(windows, at(WALL));
        let [row] = &found.queue[..] else {
            panic!("{:?}", found.queue)
        };
        assert_eq!((row.queue, row.qos), (StoredId(1), Qos::ExactlyOnce));
        assert!(!row.retain);
        assert_eq!(
            &row.subscription_ids[..],
            assignment.subscription_id.as_slice()
        );
    }
}

#[test]
fn retained_messages_come_back_by_topic() {
    let retain = |change, topic: &str, payload: &[u8]| Op::Retain {
        change,
        message: message_with(topic, payload, |publish| publish.retain = true),
    };
    let first = [
        retain(1, "b", b"old"),
        retain(2, "a/x", b"1"),
        retain(3, "c", b"3"),
    ];
    let second = [retain(4, "b", b"new"), Op::Forget("c".into())];
    let found = stored(&[&first, &second], at(WALL));
    let found: Vec<_> = found
        .retained
        .iter()
        .map(|(change, message)| (*change, message.topic(), message.payload()))
        .collect();
    assert_eq!(found, [(2, "a/x", &b"1"[..]), (4, "b", b"new")]);
}

#[test]
fn unreleased_publishes_are_forgotten_once_released() {
    let op = |packet_id| Op::Received {
        session: StoredId(1),
        packet_id: packet(packet_id),
    };
    let receive = |packet_id| Op::Receive {
        session: StoredId(1),
        packet_id: packet(packet_id),
    };
    let found = stored(&[&[open(1), receive(1), receive(2)], &[op(1)]], at(WALL));
    assert_eq!(found.sessions[0].inbound, [packet(2)]);
}

#[test]
fn what_is_over_is_dropped_when_it_is_read() {
    let detached = |id, expiry_s, will: bool| {
        let will = will.then(|| {
            Box::new(StoredWill {
                message: message_with("w", b"x", |will| will.properties.expiry_s = Some(1)),
                delay_s: 1_000,
            })
        });
        Op::OpenSession(Box::new(StoredSession {
            expiry_s,
            detached_at: Some(UnixTime(WALL)),
            will,
            ..session(id)
        }))
    };
    let expiring = |number, expiry_s, released| {
        Op::Enqueue(StoredMessage {
            message: message_with("q", b"x", |publish| {
                publish.properties.expiry_s = Some(expiry_s);
            }),
            released,
            ..queued(number, 1)
        })
    };
    let retained = |topic: &str, expiry_s| Op::Retain {
        change: 1,
        message: message_with(topic, b"x", |publish| {
            publish.properties.expiry_s = Some(expiry_s);
        }),
    };
    let ops = [
        open(1),
        detached(2, 100, false),
        detached(3, 101, false),
        detached(4, u32::MAX, false),
        detached(5, 100, true),
        Op::Subscribe {
            session: StoredId(2),
            subscription: subscription("a"),
        },
        expiring(1, 100, false),
        expiring(2, 101, false),
        expiring(3, 100, true),
        enqueue(4, 2),
        enqueue(5, 3),
        enqueue(6, 77),
        retained("a", 100),
        retained("b", 101),
    ];
    let place = Place::new();
    let (mut writer, _) = place.writer(at(WALL));
    writer.commit(&ops).unwrap();
    drop(writer);
    let (writer, found) = place.writer(at(WALL + 100));
    let ids: Vec<u64> = found.sessions.iter().map(|session| session.id.0).collect();
    assert_eq!(ids, [1, 3, 4, 5]);
    assert_eq!(numbers(&found), [2, 3, 5]);
    let topics: Vec<&str> = found.retained.iter().map(|(_, m)| m.topic()).collect();
    assert_eq!(topics, ["b"]);
    // A will's own time begins when it is published.
    let will = found.sessions[3].will.as_ref().unwrap();
    assert!(!will.message.has_expired(Millis(5_000)));
    // And it is gone from the disk.
    let rows: i64 = writer
        .db()
        .query_row(
            "SELECT (SELECT count(*) FROM session) * 1000 + (SELECT count(*) FROM subscription) * 100
                  + (SELECT count(*) FROM queue) * 10 + (SELECT count(*) FROM retained)",
            (),
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(rows, 4_031);
}

#[test]
fn numbers_are_never_used_again() {
    let place = Place::new();
    let next = |found: &Recovered| (found.next_id, found.next_number, found.next_change);
    let (mut writer, found) = place.writer(at(WALL));
    assert_eq!(next(&found), (1, 1, 1));
    let retain = Op::Retain {
        change: 30,
        message: message("a", b"x"),
    };
    writer.commit(&[open(20), enqueue(10, 20), retain]).unwrap();
    let gone = [
        Op::CloseSession(StoredId(20)),
        dequeue(10),
        Op::Forget("a".into()),
    ];
    writer.commit(&gone).unwrap();
    // Cancelled, so no row ever had it.
    let cancelled = [enqueue(2_000_000, 20), dequeue(2_000_000)];
    assert!(writer.commit(&cancelled).unwrap());
    assert!(!writer.commit(&cancelled).unwrap());
    drop(writer);
    let (_, found) = place.writer(at(WALL));
    let (id, number, change) = next(&found);
    assert!(id > 20 && number > 2_000_000 && change > 30);
}

#[test]
fn a_row_that_was_never_written_so_is_damage() {
    for sql in [
        "UPDATE session SET version = 3",
        "UPDATE queue SET flags = 3",
        "UPDATE queue SET subscription_ids = x'000000'",
        "UPDATE queue SET number = -1",
        "UPDATE inbound SET packet_id = 0",
    ] {
        let place = Place::new();
        let (mut writer, _) = place.writer(at(WALL));
        let receive = Op::Receive {
            session: StoredId(1),
            packet_id: packet(1),
        };
        writer.commit(&[open(1), enqueue(1, 1), receive]).unwrap();
        writer.db().execute_batch(sql).unwrap();
        drop(writer);
        let error = Writer::open(&place.db(), place.reserve(), at(WALL)).err();
        assert!(
            matches!(error, Some(LogError::Corrupt { .. })),
            "{sql}: {error:?}"
        );
    }
}
