use super::*;
use keygate_protocol::crypto::Signature;
use keygate_protocol::ident::Id;
use keygate_protocol::login::device::{AwaitChallenge, AwaitConfirmation, Login};
use keygate_protocol::login::{AuthData, BindingPolicy, ClientId, METHOD, Opening};
use keygate_protocol::mqtt::{Qos, Will};

/// A device's side of a login, up to its open.
pub(super) fn open(
    client_id: &str,
    n: u8,
    pin: Option<u8>,
    opening: Opening,
) -> (AwaitChallenge<'_>, AuthData) {
    let login = Login::new(
        ClientId::new(client_id).unwrap(),
        Id::new(BROKER).unwrap(),
        key(n).key_id(),
    );
    let login = match pin {
        Some(pinned) => login.pin(public(pinned)),
        None => login,
    };
    login.open([9; 16], opening)
}

pub(super) fn connect<'a>(client_id: &'a str, data: &'a [u8]) -> Connect<'a> {
    let mut connect = Connect::new(Version::V5, client_id);
    connect.properties.auth_method = Some(METHOD);
    connect.properties.auth_data = Some(data);
    connect
}

#[track_caller]
pub(super) fn challenged(begin: Begin) -> (AuthData, Box<PendingProof>) {
    match begin {
        Begin::Challenge { data, pending } => (data, pending),
        Begin::Decided(result) => panic!("decided: {result:?}"),
    }
}

pub(super) fn message(data: &[u8]) -> ProofMessage<'_> {
    ProofMessage {
        method: Some(METHOD),
        data: Some(data),
        now: NOW.plus(20),
        wall: WALL,
    }
}

/// A whole login of key `n` under `client_id`; what the device makes of the answer is up to the caller.
fn log_in<'a>(
    house: &mut House,
    client_id: &'a str,
    n: u8,
    pin: Option<u8>,
) -> (Result<Accepted, Refusal>, AwaitConfirmation<'a>) {
    let (waiting, data) = open(client_id, n, pin, Opening::connect(true, 0, None));
    let begin = house.begin(&connect(client_id, &data), &ListenerRules::plain());
    let (challenge, pending) = challenged(begin);
    let challenge = waiting.read(&challenge).unwrap();
    let (confirming, proof) = challenge.answer(None, &mut key(n)).unwrap();
    let accepted = house.authn.prove(pending, &message(proof.as_bytes()));
    (accepted, confirming)
}

#[test]
fn a_device_proves_itself() {
    let mut house = house();
    let (accepted, confirming) = log_in(&mut house, "dev-1", 1, None);
    let accepted = accepted.unwrap();
    assert_eq!(accepted.principal.id(), "dev-1");
    assert_eq!(accepted.principal.key_id, Some(public(1).key_id()));
    assert_eq!(accepted.principal.method, Method::KgEd25519);
    assert_eq!(&*accepted.client_id, "dev-1");
    assert!(accepted.auth_data.is_none());
    assert!(confirming.confirm(None).is_ok());
}

#[test]
fn the_broker_proves_itself_under_the_pinned_key() {
    let mut house = house();
    for pinned in [CURRENT, NEXT] {
        let (accepted, confirming) = log_in(&mut house, "dev-1", 1, Some(pinned));
        let proof = accepted.unwrap().auth_data;
        let proof = proof.as_ref().map(|proof| &proof.as_bytes()[..]);
        assert!(confirming.confirm(proof).unwrap().broker_proved());
    }
}

#[test]
fn either_key_of_a_device_opens_its_session_and_is_remembered() {
    let mut house = house();
    for n in [2, 3] {
        let (accepted, _) = log_in(&mut house, "dev-2", n, None);
        assert_eq!(accepted.unwrap().principal.key_id, Some(public(n).key_id()));
    }
}

#[test]
fn a_key_end_is_the_session_end() {
    let mut house = house();
    let (accepted, _) = log_in(&mut house, "dev-ends", 9, None);
    assert_eq!(accepted.unwrap().principal.expires_at, Some(WALL.plus(100)));
}

#[test]
fn whoever_may_not_is_refused_alike_and_the_log_knows_why() {
    use RefusalReason as R;
    let mut house = house();
    let table = [
        ("unknown", "dev-9", 99, R::UnknownDevice, "dev-9"),
        ("unknown key", "dev-1", 99, R::KeyUnknown, "dev-1"),
        ("pending", "dev-pending", 4, R::DevicePending, "dev-pending"),
        (
            "suspended",
            "dev-suspended",
            5,
            R::DeviceSuspended,
            "dev-suspended",
        ),
        ("revoked", "dev-revoked", 6, R::DeviceRevoked, "dev-revoked"),
        ("key over", "dev-expired", 7, R::KeyExpired, "dev-expired"),
        (
            "key not yet",
            "dev-early",
            8,
            R::KeyNotYetValid,
            "dev-early",
        ),
        // He holds the key of dev-2: the log names who he is, not who he would like to be.
        (
            "another's client id",
            "dev-1",
            2,
            R::ClientIdNotOwn,
            "dev-2",
        ),
        ("a suffix", "dev-2/panel", 2, R::ClientIdNotOwn, "dev-2"),
        // The state comes first: a suspended device learns nothing about client ids.
        (
            "suspended elsewhere",
            "dev-1",
            5,
            R::DeviceSuspended,
            "dev-suspended",
        ),
    ];
    for (what, client_id, n, reason, identity) in table {
        let (answer, _) = log_in(&mut house, client_id, n, None);
        assert_refused(answer, reason, Some(identity), what);
    }
}

#[test]
fn a_proof_for_anything_else_is_a_bad_signature() {
    let mut house = house();
    let rules = ListenerRules::plain();
    let plain = Opening::connect(true, 0, None);
    // The device meant one thing, the CONNECT that arrives says another.
    let will = Will {
        topic: "devices/dev-1/gone",
        payload: b"x",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        properties: Default::default(),
    };
    type Change = fn(&mut Connect<'_>, Will<'static>);
    let changes: [(&str, Change); 3] = [
        ("planted will", |c, will| c.will = Some(will)),
        ("kept session", |c, _| c.clean_start = false),
        ("longer session", |c, _| c.properties.session_expiry_s = 60),
    ];
    for (what, change) in changes {
        let (waiting, data) = open("dev-1", 1, None, plain);
        let mut connect = connect("dev-1", &data);
        change(&mut connect, will);
        let (challenge, pending) = challenged(house.begin(&connect, &rules));
        let (_, proof) = waiting
            .read(&challenge)
            .unwrap()
            .answer(None, &mut key(1))
            .unwrap();
        let answer = house.authn.prove(pending, &message(proof.as_bytes()));
        assert_refused(answer, RefusalReason::BadSignature, Some("dev-1"), what);
    }
    // A proof of another connection, of another key, and of another client id.
    let proof_of = |house: &mut House, client_id: &str, n: u8| -> (Signature, Box<PendingProof>) {
        let (waiting, data) = open(client_id, 1, None, plain);
        let (challenge, pending) = challenged(house.begin(&connect(client_id, &data), &rules));
        let (_, proof) = waiting
            .read(&challenge)
            .unwrap()
            .answer(None, &mut key(n))
            .unwrap();
        (proof, pending)
    };
    let (old, _) = proof_of(&mut house, "dev-1", 1);
    let (_, pending) = proof_of(&mut house, "dev-1", 1);
    let answer = house.authn.prove(pending, &message(old.as_bytes()));
    assert_refused(
        answer,
        RefusalReason::BadSignature,
        Some("dev-1"),
        "replayed",
    );
    let (elsewhere, _) = proof_of(&mut house, "dev-2", 1);
    let (_, pending) = proof_of(&mut house, "dev-1", 1);
    let answer = house.authn.prove(pending, &message(elsewhere.as_bytes()));
    assert_refused(
        answer,
        RefusalReason::BadSignature,
        Some("dev-1"),
        "other client id",
    );
}

fn pending(house: &mut House) -> Box<PendingProof> {
    let (_, data) = open("dev-1", 1, None, Opening::connect(true, 0, None));
    challenged(house.begin(&connect("dev-1", &data), &ListenerRules::plain())).1
}

#[test]
fn a_proof_of_the_wrong_shape_is_refused() {
    use RefusalReason as R;
    let mut house = house();
    let proof = [7; 64];
    let good = message(&proof);
    let table = [
        (
            "no method",
            ProofMessage {
                method: None,
                ..good
            },
            R::MethodChanged,
        ),
        (
            "another method",
            ProofMessage {
                method: Some("ace"),
                ..good
            },
            R::MethodChanged,
        ),
        (
            "no data",
            ProofMessage { data: None, ..good },
            R::DataMalformed,
        ),
        (
            "short",
            ProofMessage {
                data: Some(&[7; 63]),
                ..good
            },
            R::DataMalformed,
        ),
        (
            "long",
            ProofMessage {
                data: Some(&[7; 65]),
                ..good
            },
            R::DataMalformed,
        ),
        (
            "late",
            ProofMessage {
                now: NOW.plus(30_000),
                ..good
            },
            R::ChallengeExpired,
        ),
        ("noise", good, R::BadSignature),
    ];
    for (what, message, reason) in table {
        let pending = pending(&mut house);
        assert_eq!(pending.deadline(), NOW.plus(30_000));
        assert!(pending.exporter_context().is_none() && !pending.is_reauthentication());
        let answer = house.authn.prove(pending, &message);
        assert_refused(answer, reason, Some("dev-1"), what);
    }
}

#[test]
fn an_open_that_does_not_fit_gets_no_challenge() {
    use RefusalReason as R;
    let mut house = house();
    let (_, good) = open("dev-1", 1, None, Opening::connect(true, 0, None));
    let (_, stranger) = open("dev-1", 1, Some(99), Opening::connect(true, 0, None));
    let mut version_2 = good.to_vec();
    version_2[1] = 2;
    let mut bound = good.to_vec();
    *bound.last_mut().unwrap() = 1;
    let exporter = ListenerRules {
        binding: BindingPolicy::Exporter,
        ..ListenerRules::plain()
    };
    let plain = ListenerRules::plain();
    let table: [(&str, &[u8], &ListenerRules, R); 7] = [
        ("empty", b"", &plain, R::DataMalformed),
        ("cut", &good[..good.len() - 1], &plain, R::DataMalformed),
        (
            "trailing",
            &[&good[..], b"\0"].concat(),
            &plain,
            R::DataMalformed,
        ),
        ("version", &version_2, &plain, R::MethodUnknown),
        ("pins another broker", &stranger, &plain, R::WrongBroker),
        ("binding without TLS", &bound, &plain, R::BindingRefused),
        (
            "no binding where it is wanted",
            &good,
            &exporter,
            R::BindingRefused,
        ),
    ];
    for (what, data, rules, reason) in table {
        let answer = house.decide(&connect("dev-1", data), rules);
        assert_refused(answer, reason, Some("dev-1"), what);
    }
    let mut no_data = connect("dev-1", b"");
    no_data.properties.auth_data = None;
    assert_refused(
        house.decide(&no_data, &plain),
        R::DataMalformed,
        Some("dev-1"),
        "no data",
    );
    let long = "d".repeat(129);
    assert_refused(
        house.decide(&connect(&long, &good), &plain),
        R::ClientIdNotOwn,
        None,
        "long",
    );
    let mut named = connect("dev-1", &good);
    named.username = Some("dev-2");
    assert_refused(
        house.decide(&named, &plain),
        R::UserNameNotOwn,
        Some("dev-1"),
        "user name",
    );
    named.username = Some("dev-1");
    challenged(house.begin(&named, &plain));
}

#[test]
fn known_and_unknown_devices_get_a_challenge_alike() {
    let mut house = house();
    for (client_id, n) in [("dev-1", 1), ("dev-suspended", 5), ("nobody", 99)] {
        let (_, data) = open(client_id, n, None, Opening::connect(true, 0, None));
        let begin = house.begin(&connect(client_id, &data), &ListenerRules::plain());
        assert_eq!(challenged(begin).0.len(), 36 + BROKER.len(), "{client_id}");
    }
}

#[test]
fn a_tls_binding_covers_the_exporter_value() {
    let mut house = house();
    let rules = ListenerRules {
        binding: BindingPolicy::Optional,
        ..ListenerRules::plain()
    };
    let exporter = |context: &[u8; 32]| {
        let mut value = *context;
        value.reverse();
        value
    };
    for (tampered, works) in [(false, true), (true, false)] {
        let login = Login::new(
            ClientId::new("dev-1").unwrap(),
            Id::new(BROKER).unwrap(),
            key(1).key_id(),
        );
        let (waiting, data) = login
            .bind_to_tls()
            .open([9; 16], Opening::connect(true, 0, None));
        let (challenge, mut pending) = challenged(house.begin(&connect("dev-1", &data), &rules));
        let reading = waiting.read(&challenge).unwrap();
        let value = exporter(pending.exporter_context().unwrap());
        let (_, proof) = reading.answer(Some(&value), &mut key(1)).unwrap();
        let mut seen = value;
        seen[0] ^= u8::from(tampered);
        pending.exported(Some(seen));
        let proved = house.authn.prove(pending, &message(proof.as_bytes()));
        assert_eq!(proved.is_ok(), works);
    }
}

// --- re-authentication ------------------------------------------------------------------------------------------------

fn again<'a>(
    principal: &'a Principal,
    data: &'a [u8],
    rules: &'a ListenerRules,
) -> Reattempted<'a> {
    Reattempted {
        principal,
        client_id: "dev-2",
        method: Some(METHOD),
        data: Some(data),
        listener: rules,
        now: NOW.plus(1_000),
    }
}

/// Re-authenticates the session of `holder` with key `n`.
fn reauthenticate(house: &mut House, holder: &Principal, n: u8) -> Result<Accepted, Refusal> {
    let rules = ListenerRules::plain();
    let (waiting, data) = open("dev-2", n, None, Opening::reauthentication());
    let again = again(holder, &data, &rules);
    let (challenge, pending) = house.authn.reauthenticate(&again, &mut house.random)?;
    assert!(pending.is_reauthentication());
    let (_, proof) = waiting
        .read(&challenge)
        .unwrap()
        .answer(None, &mut key(n))
        .unwrap();
    let message = ProofMessage {
        now: NOW.plus(1_020),
        ..message(proof.as_bytes())
    };
    house.authn.prove(pending, &message)
}

#[test]
fn reauthentication_gives_a_new_principal_of_the_same_id() {
    let mut house = house();
    let first = log_in(&mut house, "dev-2", 2, None).0.unwrap().principal;
    house
        .registry
        .transition("dev-1", Transition::Suspend)
        .unwrap();
    let second = reauthenticate(&mut house, &first, 3).unwrap().principal;
    assert_eq!(second.id(), "dev-2");
    assert_eq!(second.key_id, Some(public(3).key_id()));
    assert!(second.revision > first.revision);
}

#[test]
fn reauthentication_as_somebody_else_is_refused() {
    let mut house = house();
    let first = log_in(&mut house, "dev-2", 2, None).0.unwrap().principal;
    let answer = reauthenticate(&mut house, &first, 1);
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.reason, RefusalReason::ClientIdNotOwn);

    house
        .registry
        .transition("dev-2", Transition::Suspend)
        .unwrap();
    let answer = reauthenticate(&mut house, &first, 2);
    assert_refused(
        answer,
        RefusalReason::DeviceSuspended,
        Some("dev-2"),
        "suspended meanwhile",
    );
}

#[test]
fn the_proof_of_a_connect_is_none_for_a_reauthentication() {
    let mut house = house();
    let rules = ListenerRules::plain();
    let first = log_in(&mut house, "dev-2", 2, None).0.unwrap().principal;
    let (waiting, data) = open("dev-2", 2, None, Opening::connect(true, 0, None));
    let again = again(&first, &data, &rules);
    let (challenge, pending) = house
        .authn
        .reauthenticate(&again, &mut house.random)
        .unwrap();
    let (_, proof) = waiting
        .read(&challenge)
        .unwrap()
        .answer(None, &mut key(2))
        .unwrap();
    let answer = house.authn.prove(
        pending,
        &ProofMessage {
            now: NOW.plus(1_020),
            ..message(proof.as_bytes())
        },
    );
    assert_refused(
        answer,
        RefusalReason::BadSignature,
        Some("dev-2"),
        "opening of a connect",
    );
}

#[test]
fn reauthentication_keeps_the_method() {
    let mut house = house();
    let rules = ListenerRules::plain();
    let first = log_in(&mut house, "dev-2", 2, None).0.unwrap().principal;
    let (_, data) = open("dev-2", 2, None, Opening::reauthentication());
    for method in [None, Some("ace")] {
        let again = Reattempted {
            method,
            ..again(&first, &data, &rules)
        };
        let answer = house.authn.reauthenticate(&again, &mut house.random);
        assert_refused(
            answer,
            RefusalReason::MethodChanged,
            Some("dev-2"),
            "other method",
        );
    }
    let by_password = Principal {
        method: Method::Assertion,
        ..first.clone()
    };
    let answer = house
        .authn
        .reauthenticate(&again(&by_password, &data, &rules), &mut house.random);
    assert_refused(
        answer,
        RefusalReason::MethodChanged,
        Some("dev-2"),
        "by password",
    );
    let no_data = Reattempted {
        data: None,
        ..again(&first, &data, &rules)
    };
    let answer = house.authn.reauthenticate(&no_data, &mut house.random);
    assert_refused(
        answer,
        RefusalReason::DataMalformed,
        Some("dev-2"),
        "no data",
    );
}

/// A value that nobody asked for, and one that was asked for and is not there: our mistake, and no login.
#[test]
fn an_exporter_value_is_there_exactly_when_the_proof_covers_it() {
    let mut house = house();
    let (waiting, data) = open("dev-1", 1, None, Opening::connect(true, 0, None));
    let begin = house.begin(&connect("dev-1", &data), &ListenerRules::plain());
    let (challenge, mut pending) = challenged(begin);
    let reading = waiting.read(&challenge).unwrap();
    let (_, proof) = reading.answer(None, &mut key(1)).unwrap();
    pending.exported(Some([0; 32]));
    let refused = house.authn.prove(pending, &message(proof.as_bytes()));
    assert_eq!(refused.unwrap_err().reason, RefusalReason::BrokerFault);
}
