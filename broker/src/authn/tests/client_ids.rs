//! Which client ids an identity may use, by each method.
use super::kg_ed25519::{challenged, connect, message, open};
use super::*;
use RefusalReason as R;
use keygate_protocol::login::Opening;

fn rules(client_id: ClientIdRule) -> ListenerRules {
    ListenerRules {
        client_id,
        ..ListenerRules::loopback()
    }
}

/// A login of dev-1 with its key.
fn prove(
    house: &mut House,
    rules: &ListenerRules,
    client_id: &str,
    username: Option<&str>,
) -> Result<Accepted, Refusal> {
    let (waiting, data) = open(client_id, 1, Some(CURRENT), Opening::connect(true, 0, None));
    let mut connect = connect(client_id, &data);
    connect.username = username;
    let (challenge, pending) = match house.begin(&connect, rules) {
        Begin::Challenge { data, pending } => (data, pending),
        Begin::Decided(result) => return result,
    };
    let (confirming, proof) = waiting
        .read(&challenge)
        .unwrap()
        .answer(None, &mut key(1))
        .unwrap();
    let accepted = house.authn.prove(pending, &message(proof.as_bytes()))?;
    // What the broker signs is what the device sent, so that it can check it.
    let proof = accepted.auth_data.as_ref().unwrap();
    let confirmed = confirming.confirm(Some(proof.as_bytes())).unwrap();
    assert!(confirmed.broker_proved());
    Ok(accepted)
}

/// The same by assertion.
fn assert_by(
    house: &mut House,
    rules: &ListenerRules,
    client_id: &str,
    version: Version,
) -> Result<Accepted, Refusal> {
    let password = assertion::with_challenge(&house.challenge_text());
    let connect = Connect {
        username: Some("dev-1"),
        password: Some(password.as_bytes()),
        ..Connect::new(version, client_id)
    };
    house.decide(&connect, rules)
}

#[test]
fn every_method_keeps_to_the_rule_of_the_listener() {
    use ClientIdRule::{Free, Id, IdOrSuffix};
    let mut house = house();
    for (rule, client_id, admitted) in [
        (Id, "dev-1", true),
        (Id, "dev-1/panel", false),
        (IdOrSuffix, "dev-1", true),
        (IdOrSuffix, "dev-1/panel", true),
        (IdOrSuffix, "dev-2/panel", false),
        (IdOrSuffix, "dev-2", false),
        (Free, "dev-1", true),
        (Free, "whatever", true),
        (Free, "dev-2", true),
    ] {
        let rules = rules(rule);
        for answer in [
            prove(&mut house, &rules, client_id, None),
            assert_by(&mut house, &rules, client_id, Version::V5),
            assert_by(&mut house, &rules, client_id, Version::V311),
        ] {
            match (answer, admitted) {
                (Ok(accepted), true) => {
                    assert_eq!(&*accepted.client_id, client_id);
                    assert!(!accepted.assigned);
                    // Whose session it is, is who it is, whatever the client id.
                    assert_eq!(accepted.principal.id(), "dev-1");
                    assert_eq!(accepted.principal.owner(), Owner::Device("dev-1".into()));
                }
                (answer, false) => {
                    assert_refused(answer, R::ClientIdNotOwn, Some("dev-1"), client_id);
                }
                (Err(refusal), true) => panic!("{rule:?} {client_id}: {refusal:?}"),
            }
        }
    }
}

#[test]
fn an_empty_client_id_becomes_one_of_the_proved_identity() {
    let mut house = house();
    for rule in [ClientIdRule::IdOrSuffix, ClientIdRule::Free] {
        let rules = rules(rule);
        let answers = [
            prove(&mut house, &rules, "", None),
            prove(&mut house, &rules, "", Some("dev-1")),
            assert_by(&mut house, &rules, "", Version::V5),
            assert_by(&mut house, &rules, "", Version::V311),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for accepted in answers {
            let accepted = accepted.unwrap();
            assert!(accepted.assigned);
            let suffix = accepted.client_id.strip_prefix("dev-1/").unwrap();
            assert!(suffix.len() <= 23 && suffix.bytes().all(|b| b.is_ascii_alphanumeric()));
            assert!(rule.admits(&accepted.client_id, "dev-1"));
            assert!(seen.insert(accepted.client_id));
        }
    }
}

#[test]
fn an_empty_client_id_is_refused_where_none_is_assigned() {
    let mut house = house();
    let by_id = rules(ClientIdRule::Id);
    for answer in [
        prove(&mut house, &by_id, "", None),
        assert_by(&mut house, &by_id, "", Version::V5),
        assert_by(&mut house, &by_id, "", Version::V311),
    ] {
        assert_refused(answer, R::ClientIdNotOwn, None, "by id");
    }
    // MQTT 3.1.1 §3.1.3.1: without a name there is no session to come back to.
    let password = assertion::with_challenge(&house.challenge_text());
    let mut connect = with_password("", &password);
    connect.username = Some("dev-1");
    connect.clean_start = false;
    let answer = house.decide(&connect, &rules(ClientIdRule::IdOrSuffix));
    assert_refused(answer, R::ClientIdNotOwn, None, "clean session 0");
    // A hook that has nowhere to put a name gets none.
    let login = AssertionLogin {
        client_id: "",
        username: None,
        password: password.as_bytes(),
        listener: &rules(ClientIdRule::Free),
        now: NOW,
        wall: WALL,
    };
    let answer = house.authn.assertion(&login);
    assert_refused(answer, R::ClientIdNotOwn, Some("dev-1"), "a hook");
}

#[test]
fn a_user_name_beside_a_proof_is_the_id_of_whoever_proved_it() {
    let mut house = house();
    let suffix = rules(ClientIdRule::IdOrSuffix);
    assert!(prove(&mut house, &suffix, "dev-1/panel", Some("dev-1")).is_ok());
    for name in ["dev-1/panel", "dev-2", ""] {
        let answer = prove(&mut house, &suffix, "dev-1/panel", Some(name));
        assert_refused(answer, R::UserNameNotOwn, Some("dev-1"), name);
    }
}

#[test]
fn another_key_gets_no_suffix_of_a_device() {
    let mut house = house();
    let suffix = rules(ClientIdRule::IdOrSuffix);
    let (waiting, data) = open("dev-1/panel", 2, None, Opening::connect(true, 0, None));
    let (challenge, pending) = challenged(house.begin(&connect("dev-1/panel", &data), &suffix));
    let (_, proof) = waiting
        .read(&challenge)
        .unwrap()
        .answer(None, &mut key(2))
        .unwrap();
    let answer = house.authn.prove(pending, &message(proof.as_bytes()));
    assert_refused(answer, R::ClientIdNotOwn, Some("dev-2"), "another's suffix");
}
