//! Devices: the same on a running and on a stopped broker.

use crate::harness::Place;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const HEX: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn life_of_a_device(place: &Place) {
    let added = place.json(&[
        "device",
        "add",
        "dev1",
        "--public-key",
        HEX,
        "--group",
        "g1",
        "--attribute",
        "site=north",
    ]);
    assert_eq!(
        added,
        json!({
            "id": "dev1", "state": "active", "roles": ["device"], "groups": ["g1"],
            "attributes": {"site": "north"},
            "keys": [{"key_id": "866eefbd6718c884", "public_key": HEX}],
        })
    );
    let again = place.run(&["device", "add", "dev1", "--public-key", HEX]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("enrolled already"), "{again:?}");

    assert_eq!(
        place.ok(&["device", "suspend", "dev1"]),
        "dev1 is suspended now.\n"
    );
    assert_eq!(
        place.ok(&["device", "suspend", "dev1"]),
        "dev1 was suspended already.\n"
    );
    assert_eq!(
        place.ok(&["device", "resume", "dev1"]),
        "dev1 is active now.\n"
    );
    assert_eq!(
        place.json(&["device", "revoke", "dev1"])["state"],
        "revoked"
    );
    let final_state = place.run(&["device", "resume", "dev1"]);
    assert_eq!(final_state.code, 1);
    assert!(final_state.stderr.contains("final"), "{final_state:?}");

    let trail = place.ok(&["audit", "--id", "dev1", "--json"]);
    let changes: Vec<String> = trail
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| {
            assert_eq!(event["by"]["uid"], rustix::process::geteuid().as_raw());
            event["change"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(changes, ["added", "suspended", "resumed", "revoked"]);
}

#[test]
fn a_device_lives_on_a_stopped_broker() {
    life_of_a_device(&Place::initialised());
}

#[test]
fn a_device_lives_on_a_running_broker() {
    let place = Place::initialised();
    let _broker = place.serve();
    life_of_a_device(&place);
}

#[test]
fn what_was_done_on_a_stopped_broker_is_there_when_it_runs() {
    let place = Place::initialised();
    place.device("dev1");
    let broker = place.serve();
    place.ok(&["device", "suspend", "dev1"]);
    drop(broker);
    assert_eq!(
        place.json(&["device", "show", "dev1"])["state"],
        "suspended"
    );
}

#[test]
fn a_generated_key_is_private_and_never_overwritten() {
    let place = Place::initialised();
    let key = place.device("dev1");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&key).unwrap();
    let done = place.run(&["device", "add", "dev2", "--generate", &key]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(fs::read(&key).unwrap(), before);

    // A device that cannot be enrolled leaves no key behind.
    let other = place.file("other.pem");
    assert_eq!(
        place
            .run(&["device", "add", "dev1", "--generate", &other])
            .code,
        1
    );
    assert!(!std::path::Path::new(&other).exists());
}

#[test]
fn a_public_key_may_be_in_a_file_or_come_in() {
    let place = Place::initialised();
    let file = place.file("key.hex");
    fs::write(&file, format!("{HEX}\n")).unwrap();
    place.ok(&["device", "add", "dev1", "--public-key", &file]);
    place.ok(&["device", "revoke", "dev1"]);
    let done = place.run_with(&["device", "add", "dev2", "--public-key", "-"], HEX);
    // The key is found, and belongs to dev1.
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("`dev1`"), "{done:?}");
}

/// Public keys that are none of anybody's: good enough to be enrolled.
fn lines(count: u32) -> String {
    (0..count)
        .map(|n| {
            let mut seed = [9; 32];
            seed[..4].copy_from_slice(&n.to_le_bytes());
            let key = keygate_protocol::crypto::SoftwareSigner::from_seed(&seed).public_key();
            let hex: String = key
                .as_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!(
                "{{\"id\":\"dev-{n:05}\",\"public_key\":\"{hex}\",\"groups\":[\"g{}\"]}}\n",
                n % 2
            )
        })
        .collect()
}

fn import_and_list(place: &Place) {
    let lines = lines(3_000);
    let done = place.run_with(&["device", "import", "-", "--json"], &lines);
    assert_eq!(done.code, 0, "{done:?}");
    let imported: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        imported,
        json!({"added": 3_000, "unchanged": 0, "lines": 3_000})
    );
    // No terminal, no progress line.
    assert_eq!(done.stderr, "");

    let all = place.ok(&["device", "list", "--json"]);
    assert_eq!(all.lines().count(), 3_000);
    let first: Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
    assert_eq!(first["id"], "dev-00000");

    let page = place.run(&[
        "device",
        "list",
        "--limit",
        "2",
        "--after",
        "dev-00010",
        "--group",
        "g1",
    ]);
    let rows: Vec<_> = page.stdout.lines().collect();
    assert_eq!(rows.len(), 3, "{page:?}");
    assert!(rows[0].starts_with("ID         STATE"), "{page:?}");
    assert!(
        rows[1].starts_with("dev-00011  active") && rows[1].ends_with("g1"),
        "{page:?}"
    );
    assert_eq!(
        page.stderr,
        "There are more; the next page: --after dev-00013\n"
    );
    let none = place.run(&["device", "list", "--state", "suspended"]);
    assert_eq!(
        (none.code, &*none.stdout, &*none.stderr),
        (0, "", "no such device\n")
    );

    // Once more changes nothing; a bad line imports nothing and is named.
    let again = place.run_with(&["device", "import", "-"], &lines);
    assert!(
        again.stdout.starts_with("0 devices enrolled, 3000 were"),
        "{again:?}"
    );
    let bad = format!("{{\"id\":\"new\",\"public_key\":\"{HEX}\"}}\n{{\"id\":\"dev-00000\"}}\n");
    let refused = place.run_with(&["device", "import", "-"], &bad);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("line 2"), "{refused:?}");
    assert_eq!(place.run(&["device", "show", "new"]).code, 1);
}

#[test]
fn a_fleet_is_imported_and_listed_on_a_stopped_broker() {
    import_and_list(&Place::initialised());
}

#[test]
fn a_fleet_is_imported_and_listed_on_a_running_broker() {
    let place = Place::initialised();
    let _broker = place.serve();
    import_and_list(&place);
}
