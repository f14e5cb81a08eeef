//! serve: the ready line, logins, why, audit, stopping, being killed.

use crate::harness::{Broker, Place, is_closed};
use rustix::process::Signal;
use serde_json::Value;

fn assertion(place: &Place, id: &str, key: &str) -> String {
    let text = place.ok(&["assert", "--id", id, "--key", key, "--aud", "kg-test"]);
    text.trim().to_owned()
}

#[test]
fn an_empty_directory_is_made_and_the_ready_line_says_it_all() {
    let place = Place::new();
    let mut broker = place.serve();
    let ready = &broker.ready;
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["pid"], broker.process.child.id());
    assert!(ready["broker_id"].as_str().unwrap().starts_with("kg-"));
    assert_eq!(ready["identity_key"].as_str().unwrap().len(), 64);
    assert_ne!(broker.mqtt().port(), 0);
    assert_eq!(broker.process.signal(Signal::TERM), Some(0));
    assert!(!place.data().join("admin.sock").exists());
    let trail = place.ok(&["audit", "--json"]);
    let changes: Vec<_> = trail
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["change"].clone())
        .collect();
    assert_eq!(changes, ["initialised", "started", "stopped"]);
}

#[test]
fn only_the_listeners_that_are_named_are_opened() {
    let place = Place::initialised();
    let mut process = place.spawn(&["serve", "--coap", "127.0.0.1:0"]);
    let ready: Value = serde_json::from_str(&process.line()).unwrap();
    assert!(
        ready.get("mqtt").is_none() && ready.get("coap").is_some(),
        "{ready}"
    );
    assert_eq!(process.signal(Signal::INT), Some(0));
}

#[test]
fn a_second_broker_on_the_directory_is_refused() {
    let place = Place::initialised();
    let broker = place.serve();
    let done = place.run(&["serve", "--mqtt", "127.0.0.1:0"]);
    assert_eq!(done.code, 1);
    let pid = broker.process.child.id().to_string();
    assert!(done.stderr.contains(&pid), "{done:?}");
    let renamed = Place::initialised();
    let done = renamed.run(&["serve", "--broker-id", "kg-new"]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("never changes"), "{done:?}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let place = Place::initialised();
    let broker = place.serve();
    let taken = broker.mqtt().to_string();
    let done = Place::initialised().run(&["serve", "--mqtt", &taken]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains(&taken) && done.stderr.contains("--mqtt ADDR"),
        "{done:?}"
    );
}

#[test]
fn devices_log_in_and_a_revoked_one_is_cut_at_once() {
    let place = Place::initialised();
    let key = place.device("dev1");
    let broker = place.serve();
    let (stream, code) = broker.connect("dev1", "dev1", &assertion(&place, "dev1", &key));
    assert_eq!(code, 0);
    place.ok(&["device", "revoke", "dev1"]);
    assert!(is_closed(&stream));
    let shown = place.json(&["device", "show", "dev1"]);
    assert_eq!(shown["state"], "revoked");
    assert_eq!(shown["last_login"]["method"], "assertion");
    assert_eq!(shown["last_login"]["origin"]["listener"], "mqtt");
}

#[test]
fn why_tells_the_story_that_the_device_is_not_told() {
    let place = Place::initialised();
    let key = place.device("dev1");
    let other = place.device("dev2");
    let broker = place.serve();
    let refused = |id: &str, password: &str| {
        let (_, code) = broker.connect(id, id, password);
        assert_eq!(code, 5, "{id}");
    };

    // A wrong key and an unknown device look alike to them, not to the operator.
    refused("dev1", &assertion(&place, "dev1", &other));
    let why = place.json(&["why", "dev1"]);
    assert_eq!(why["device"]["state"], "active");
    assert_eq!(why["refusal"]["outcome"], "refused");
    let reason = why["refusal"]["reason"].as_str().unwrap();
    assert!(
        ["bad_signature", "key_unknown"].contains(&reason),
        "{reason}"
    );
    assert!(!why["next"].as_array().unwrap().is_empty());

    refused("ghost", &assertion(&place, "ghost", &key));
    let why = place.ok(&["why", "ghost"]);
    assert!(why.contains("ghost is not enrolled here."), "{why}");
    assert!(why.contains("keygate device add ghost"), "{why}");

    place.ok(&["device", "suspend", "dev1"]);
    refused("dev1", &assertion(&place, "dev1", &key));
    let why = place.ok(&["why", "dev1"]);
    assert!(why.contains("the device is suspended"), "{why}");
    assert!(why.contains("keygate device resume dev1"), "{why}");

    place.ok(&["device", "resume", "dev1"]);
    let (_stream, code) = broker.connect("dev1", "dev1", &assertion(&place, "dev1", &key));
    assert_eq!(code, 0);
    let why = place.ok(&["why", "dev1"]);
    assert!(why.contains("Since then it logged in"), "{why}");

    let refusals = place.ok(&["audit", "--refused"]);
    assert_eq!(refusals.lines().count(), 3, "{refusals}");
    assert!(
        refusals.lines().all(|line| line.contains("REFUSED  login")),
        "{refusals}"
    );
    let one = place.ok(&["audit", "--refused", "--limit", "1"]);
    assert!(one.contains("the device is suspended"), "{one}");
}

#[test]
fn the_trail_can_be_followed() {
    let place = Place::initialised();
    let _broker = place.serve();
    let mut follow = place.spawn(&["audit", "--follow", "--json", "--id", "dev1"]);
    place.device("dev1");
    let added: Value = serde_json::from_str(&follow.line()).unwrap();
    assert_eq!(
        (&added["event"], &added["change"]),
        (&"identity".into(), &"added".into())
    );
    place.ok(&["device", "suspend", "dev1"]);
    let suspended: Value = serde_json::from_str(&follow.line()).unwrap();
    assert_eq!(suspended["change"], "suspended");
}

#[test]
fn a_killed_broker_loses_no_device_and_comes_back() {
    let place = Place::initialised();
    let mut broker = place.serve();
    let key = place.device("dev1");
    let name = |broker: &Broker| broker.ready["identity_key"].clone();
    let before = name(&broker);
    assert_eq!(broker.process.signal(Signal::KILL), None);
    // It left its socket behind; commands work on the store.
    assert!(place.data().join("admin.sock").exists());
    place.ok(&["device", "show", "dev1"]);
    let broker = place.serve();
    assert_eq!(name(&broker), before);
    let (_stream, code) = broker.connect("dev1", "dev1", &assertion(&place, "dev1", &key));
    assert_eq!(code, 0);
}

#[test]
fn a_deep_data_directory_works_like_any_other() {
    let place = Place::new();
    let deep = format!(
        "{}/{}",
        place.file("a"),
        "directory-with-a-long-name/".repeat(6)
    );
    std::fs::create_dir_all(&deep).unwrap();
    let data = format!("{deep}data");
    let mut process = place.spawn(&["serve", "--data", &data, "--mqtt", "127.0.0.1:0"]);
    process.line();
    let listed = place.run(&["device", "list", "--data", &data]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert_eq!(process.signal(Signal::TERM), Some(0));
}
