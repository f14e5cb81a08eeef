//! Token requests over CoAP (SPEC.md §8): no Echo, no look at the signature; one proof, one token.
use keygate_broker::identity::Transition;
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_tests::broker::Broker;
use keygate_tests::coap::{Coap, Reply};
use keygate_tests::device::Device;
use keygate_tests::witness::Witness;

const UNAUTHORIZED: u8 = 0x81;
/// `{30: 2}`: invalid_client.
const INVALID_CLIENT: [u8; 4] = [0xa1, 0x18, 0x1e, 0x02];

fn stage() -> (Broker, Device) {
    let broker = Broker::start();
    let gateway = Device::new("gw-1");
    broker.enrol([&gateway]);
    (broker, gateway)
}

#[track_caller]
fn wants_another_echo(reply: &Reply) {
    assert_eq!(reply.code, UNAUTHORIZED);
    assert!(reply.echo.is_some(), "a 4.01 with a fresh Echo");
    assert!(reply.payload.is_empty());
}

#[track_caller]
fn is_no_client(reply: &Reply) {
    assert_eq!(reply.code, UNAUTHORIZED);
    assert_eq!(reply.echo, None);
    assert_eq!(reply.payload, INVALID_CLIENT);
}

#[test]
fn a_request_without_echo_gets_a_challenge_and_no_token() {
    let (broker, gateway) = stage();
    let mut witness = Witness::of(&broker);
    let mut client = Coap::to(&broker);
    // Signed over an Echo that the broker gave, and sent without it.
    let echo = client.echo();
    let body = client.signed(&gateway, &echo);
    wants_another_echo(&client.post_token(None, &body));
    assert_eq!(
        broker.trail().token(client.local()),
        Some(RefusalReason::EchoMissing)
    );
    witness.nothing_happened();
}

#[test]
fn a_stale_echo_gets_another_and_no_token() {
    let (broker, gateway) = stage();
    // As after a restart of the broker: keys of Echo values last one start. That their 30 seconds are over shows the
    // endpoint's own test under virtual time.
    let before = Broker::start();
    let old = Coap::to(&before).echo();
    let mut client = Coap::to(&broker);
    let body = client.signed(&gateway, &old);
    wants_another_echo(&client.post_token(Some(&old), &body));
    assert_eq!(
        broker.trail().token(client.local()),
        Some(RefusalReason::EchoStale)
    );
}

#[test]
fn an_altered_echo_gets_another_and_no_token() {
    let (broker, gateway) = stage();
    let mut client = Coap::to(&broker);
    let echo = client.echo();
    for at in 0..echo.len() {
        let mut altered = echo.clone();
        altered[at] ^= 1;
        let body = client.signed(&gateway, &altered);
        wants_another_echo(&client.post_token(Some(&altered), &body));
    }
    let body = client.signed(&gateway, &echo);
    client.post_token(Some(&echo), &body).token();
}

#[test]
fn a_request_from_another_address_gets_another_echo_and_no_token() {
    let (broker, gateway) = stage();
    let mut client = Coap::to(&broker);
    let echo = client.echo();
    let body = client.signed(&gateway, &echo);

    // Somebody who saw the whole request sends it from elsewhere.
    let mut elsewhere = Coap::from_address(&broker, [127, 0, 0, 99].into());
    wants_another_echo(&elsewhere.post_token(Some(&echo), &body));
    assert_eq!(
        broker.trail().token(elsewhere.local()),
        Some(RefusalReason::EchoStale)
    );
    client.post_token(Some(&echo), &body).token();
}

#[test]
fn a_repeated_request_gets_the_same_token() {
    let (broker, gateway) = stage();
    let mut client = Coap::to(&broker);
    let echo = client.echo();
    let body = client.signed(&gateway, &echo);
    // New message ids each time: not the message layer answers, but the token is the same.
    let first = client.post_token(Some(&echo), &body).token();
    let second = client.post_token(Some(&echo), &body).token();
    assert_eq!(first, second);
    assert_eq!(broker.trail().token(client.local()), None);
}

#[test]
fn who_cannot_prove_a_key_is_no_client() {
    let (broker, gateway) = stage();
    let mut witness = Witness::of(&broker);
    for (somebody, reason) in [
        (Device::new("gw-9"), RefusalReason::UnknownDevice),
        (gateway.impostor(), RefusalReason::KeyUnknown),
    ] {
        let mut client = Coap::to(&broker);
        is_no_client(&client.ask_for_token(&somebody));
        assert_eq!(broker.trail().token(client.local()), Some(reason));
    }

    // Signed for another broker, or over another Echo.
    let mut client = Coap::to(&broker);
    let echo = client.echo();
    let body = client.signed_for("kg-elsewhere", &gateway, &echo);
    is_no_client(&client.post_token(Some(&echo), &body));
    assert_eq!(
        broker.trail().token(client.local()),
        Some(RefusalReason::BadSignature)
    );
    let mut client = Coap::to(&broker);
    let (one, two) = (client.echo(), client.echo());
    let body = client.signed(&gateway, &one);
    if one != two {
        is_no_client(&client.post_token(Some(&two), &body));
    }

    broker.transition(&gateway, Transition::Suspend);
    let mut client = Coap::to(&broker);
    is_no_client(&client.ask_for_token(&gateway));
    assert_eq!(
        broker.trail().token(client.local()),
        Some(RefusalReason::DeviceSuspended)
    );
    let state = keygate_tests::admin::state(&broker.data);
    assert_eq!(state.0, 2, "the gateway and the witness, nobody else");
    witness.client().must_have_received_nothing();
}

#[test]
fn a_body_that_was_altered_anywhere_is_refused() {
    let (broker, gateway) = stage();
    let mut client = Coap::to(&broker);
    let echo = client.echo();
    let body = client.signed(&gateway, &echo);
    for at in (0..body.len()).step_by(9) {
        let mut altered = body.clone();
        altered[at] ^= 1;
        let reply = client.post_token(Some(&echo), &altered);
        assert_eq!(reply.code >> 5, 4, "altered at {at}: {reply:?}");
        assert_eq!(reply.echo, None);
    }
    client.post_token(Some(&echo), &body).token();
}
