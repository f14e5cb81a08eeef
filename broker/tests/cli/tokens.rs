//! assert, fetch-token, token inspect.

use crate::harness::Place;

#[test]
fn an_assertion_is_inspected_against_the_enrolled_key() {
    let place = Place::initialised();
    let key = place.device("dev1");
    let base = ["assert", "--id", "dev1", "--key", &key, "--aud", "kg-test"];
    let assertion = place.ok(&base).trim().to_owned();
    let said = place.json(&["token", "inspect", &assertion]);
    assert_eq!(said["kind"], "assertion");
    assert_eq!(said["genuine"], "yes");
    assert_eq!(said["claims"]["sub"], "dev1");
    assert_eq!(
        said["claims"]["exp"].as_u64().unwrap() - said["claims"]["iat"].as_u64().unwrap(),
        300
    );

    // Elsewhere nobody knows the key.
    let elsewhere = Place::new().ok(&["token", "inspect", &assertion]);
    assert!(
        elsewhere.contains("NOT VERIFIED: device dev1"),
        "{elsewhere}"
    );

    // Another key's signature is called what it is.
    let other = place.device("dev2");
    let forged = place.ok(&[
        "assert", "--id", "dev1", "--key", &other, "--aud", "kg-test",
    ]);
    let done = place.run_with(&["token", "inspect", "-"], &forged);
    assert_eq!(done.code, 1);
    assert!(done.stdout.contains("FORGED"), "{done:?}");

    let with_challenge: Vec<_> = base
        .into_iter()
        .chain(["--cnonce", "abc", "--client-id", "dev1", "--json"])
        .collect();
    let made = place.ok(&with_challenge);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["username"], "dev1");
    assert!(made.get("expires_at").is_none());
    let said = place.json(&["token", "inspect", made["assertion"].as_str().unwrap()]);
    assert_eq!(said["claims"]["cnonce"], "abc");
    assert_eq!(said["claims"]["client_id"], "dev1");
}

#[test]
fn a_gateway_fetches_a_token_and_anybody_can_look_at_it() {
    let place = Place::initialised();
    let key = place.device("gw1");
    let broker = place.serve();
    let coap = broker.coap();
    let pinned = broker.ready["identity_key"].as_str().unwrap();
    let args = ["fetch-token", "--coap", &coap, "--id", "gw1", "--key", &key];

    let with_pin: Vec<_> = args
        .into_iter()
        .chain(["--broker-id", "kg-test", "--broker-key", pinned])
        .collect();
    let fetched = place.json(&with_pin);
    assert_eq!(fetched["pinned"], true);
    assert_eq!(fetched["audience"], "kg-test");
    let said = place.json(&["token", "inspect", fetched["token"].as_str().unwrap()]);
    assert_eq!(said["kind"], "cwt");
    assert_eq!(said["genuine"], "yes");
    assert_eq!(said["subject"], "gw1");
    assert_eq!(said["token_id"], fetched["token_id"]);

    // Without pins it works, and says what nobody vouches for.
    let done = place.run(&args);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stderr.contains("--broker-id kg-test"), "{done:?}");
    assert!(done.stderr.contains("nobody vouches"), "{done:?}");
    let token = done.stdout.trim();
    let text = place.ok(&["token", "inspect", token]);
    assert!(text.contains("genuine: token key"), "{text}");
    let elsewhere = Place::new().ok(&["token", "inspect", token]);
    assert!(elsewhere.contains("NOT VERIFIED: token key"), "{elsewhere}");

    let narrow: Vec<_> = args
        .into_iter()
        .chain(["--broker-id", "kg-test", "--scope", "pub:devices/gw1/x"])
        .collect();
    let fetched = place.json(&narrow);
    assert_eq!(fetched["scope"], serde_json::json!(["pub:devices/gw1/x"]));

    // The trail knows about each of them.
    let trail = place.ok(&["audit", "--id", "gw1", "--json"]);
    assert_eq!(
        trail
            .matches(r#""event":"token","outcome":"accepted""#)
            .count(),
        3,
        "{trail}"
    );
}

#[test]
fn a_token_is_refused_with_a_hint() {
    let place = Place::initialised();
    let key = place.device("gw1");
    place.ok(&["device", "suspend", "gw1"]);
    let broker = place.serve();
    let coap = broker.coap();
    let args = [
        "fetch-token",
        "--coap",
        &coap,
        "--id",
        "gw1",
        "--key",
        &key,
        "--broker-id",
        "kg-test",
    ];
    let done = place.run(&args);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("keygate why gw1"), "{done:?}");
    let why = place.ok(&["why", "gw1"]);
    assert!(why.contains("the device is suspended"), "{why}");
    assert!(why.contains("keygate device resume gw1"), "{why}");

    // Made for another broker, the request is worth nothing here.
    place.ok(&["device", "resume", "gw1"]);
    let mut elsewhere = args;
    elsewhere[8] = "kg-other";
    assert_eq!(place.run(&elsewhere).code, 1);
    // And a broker with another key than the pinned one is not believed.
    let wrong_pin: Vec<_> = args
        .into_iter()
        .chain([
            "--broker-key",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ])
        .collect();
    let done = place.run(&wrong_pin);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("not pinned"), "{done:?}");
}
