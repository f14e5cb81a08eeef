//! The direction of dependencies, as ARCHITECTURE.md draws it: an import that goes uphill fails here.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::source::{File, names_of_crate, sources};

/// What each room of the broker may name of the others. `room` is all of it, `room::Name` that item only.
///
/// A room that names a later one for an item does so because that item is the seam between them: the hub and the gate
/// answer through the shard's outbox, the log carries the hub's messages.
const ROOMS: [(&str, &[&str]); 19] = [
    (
        "admin",
        &[
            "clock",
            "disk",
            "identity",
            "keys",
            "limits",
            "rng",
            "telemetry",
        ],
    ),
    ("authn", &["identity", "rng", "telemetry::reason"]),
    ("authz", &["authn::Principal", "identity"]),
    ("cli", ANYTHING),
    ("clock", &[]),
    (
        "coap",
        &[
            "authn",
            "authz",
            "clock",
            "identity",
            "keys",
            "limits",
            "rng",
            "telemetry",
            "token",
        ],
    ),
    (
        "config",
        &[
            "authn::AddressRange",
            "authn::AddressRanges",
            "authn::ClientIdRule",
            "authz::Pattern",
            "limits",
            "telemetry",
        ],
    ),
    ("disk", &[]),
    (
        "gate",
        &[
            "authn",
            "authz",
            "hub",
            "identity",
            "limits",
            "log::LogNumber",
            "rng",
            "shard::ConnKey",
            "shard::ListenerId",
            "shard::Outbox",
            "telemetry",
        ],
    ),
    (
        "hub",
        &[
            "authn::Owner",
            "authn::PendingProof",
            "authn::Principal",
            "authz::Coverage",
            "authz::Permit",
            "identity::Revision",
            "limits",
            "log",
            "shard::ConnKey",
            "shard::Mail",
            "shard::Outbox",
            "shard::ShardId",
            "shard::Wheel",
            "telemetry::Tally",
            "telemetry::ration",
        ],
    ),
    ("identity", &["disk", "rng"]),
    ("keys", &["identity::hex32", "rng"]),
    ("limits", &[]),
    (
        "log",
        &[
            "authn::Owner",
            "clock",
            "disk",
            "hub::Message",
            "hub::MessageParts",
            "hub::Times",
            "limits",
        ],
    ),
    ("rng", &[]),
    ("serve", ANYTHING),
    (
        "shard",
        &[
            "authn::Accepted",
            "authn::AddressRanges",
            "authn::Owner",
            "authn::PendingProof",
            "clock",
            "gate",
            "hub",
            "limits",
            "rng",
            "telemetry",
            "upstream",
        ],
    ),
    ("token", &["authz", "identity", "keys"]),
    (
        "upstream",
        &[
            "authn::Accepted",
            "authn::Principal",
            "authz::Denied",
            "gate",
            "hub::Cause",
            "hub::Rights",
            "hub::Standing",
            "hub::Times",
            "hub::WillFate",
            "hub::wire",
            "limits",
            "rng",
            "telemetry",
        ],
    ),
];

/// They wire the others.
const ANYTHING: &[&str] = &["*"];

/// Words that say "socket" or "CoAP", and the rooms that must not know them.
const SOCKETS: [&str; 8] = [
    "mio::",
    "tokio::",
    "socket2::",
    "coap_lite::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
];
const WITHOUT_SOCKETS: [&str; 10] = [
    "authn",
    "authz",
    "gate",
    "hub",
    "identity",
    "limits",
    "log",
    "telemetry",
    "token",
    "upstream",
];

fn room_of(file: &File) -> Option<String> {
    let below = file.path.strip_prefix("broker/src").ok()?;
    let first = below.components().next()?.as_os_str().to_str()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

/// The files of the broker's rooms, without their tests.
fn rooms() -> BTreeMap<String, Vec<File>> {
    let mut rooms: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for file in sources() {
        if let Some(room) = room_of(&file).filter(|_| !file.is_test()) {
            rooms.entry(room).or_default().push(file);
        }
    }
    rooms.remove("lib");
    rooms.remove("main");
    rooms
}

#[test]
fn no_import_goes_uphill() {
    let mut wrong = String::new();
    for (room, files) in rooms() {
        let allowed = ROOMS.iter().find(|(name, _)| *name == room);
        let allowed = match allowed {
            Some((_, allowed)) => *allowed,
            None if room == "telemetry" => &["limits"],
            None => panic!("`{room}` is a new room: say in tests/tidy what it may know"),
        };
        for file in files {
            for name in names_of_crate(&file.code()) {
                let target = name.first().cloned().unwrap_or_default();
                let item = name.join("::");
                let fine = target == room
                    || allowed == ANYTHING
                    || allowed.contains(&target.as_str())
                    || allowed.contains(&item.as_str());
                if !fine {
                    let _ = writeln!(
                        wrong,
                        "{}: {room} must not know {item}",
                        file.path.display()
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn only_the_doors_know_sockets() {
    let mut wrong = String::new();
    for (room, files) in rooms() {
        if !WITHOUT_SOCKETS.contains(&room.as_str()) {
            continue;
        }
        for file in files {
            let code = file.code();
            for word in SOCKETS.iter().filter(|word| code.contains(**word)) {
                let _ = writeln!(
                    wrong,
                    "{}: {room} must not know {word}",
                    file.path.display()
                );
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_two_doors_do_not_know_each_other() {
    for (room, files) in rooms() {
        let other = match room.as_str() {
            "coap" => [
                "protocol::mqtt",
                "crate::gate",
                "crate::hub",
                "crate::shard",
            ]
            .as_slice(),
            "gate" | "shard" | "hub" | "upstream" => {
                &["protocol::coap", "crate::coap", "protocol::ace"]
            }
            _ => continue,
        };
        for file in files {
            let code = file.code();
            for word in other {
                assert!(!code.contains(word), "{}: {word}", file.path.display());
            }
        }
    }
}

#[test]
fn async_code_lives_where_architecture_says() {
    for (room, files) in rooms() {
        for file in files {
            let asynchronous = file.code().contains("tokio::");
            let allowed = ["admin", "cli", "coap", "serve"].contains(&room.as_str());
            assert!(!asynchronous || allowed, "{}", file.path.display());
        }
    }
}

#[test]
fn time_and_randomness_come_from_one_place() {
    let asks = [
        ("Instant::now", "clock"),
        ("SystemTime::now", "clock"),
        ("getrandom::", "rng"),
        ("RandomState", "rng"),
    ];
    for (room, files) in rooms() {
        for file in files {
            let code = file.code();
            for (word, place) in asks {
                assert!(
                    room == place || !code.contains(word),
                    "{}: only `{place}` may ask for {word}",
                    file.path.display()
                );
            }
        }
    }
}

#[test]
fn the_protocol_needs_no_system() {
    let manifest =
        std::fs::read_to_string(keygate_tests::peers::repository().join("protocol/Cargo.toml"));
    let dependencies = manifest.unwrap();
    for crate_name in ["keygate-broker", "device-sim", "tokio", "serde"] {
        let (dependencies, _) = dependencies
            .split_once("[dev-dependencies]")
            .unwrap_or((&dependencies, ""));
        assert!(
            !dependencies.contains(crate_name),
            "protocol uses {crate_name}"
        );
    }
    let mut root = false;
    for file in sources() {
        if !file.is_below("protocol/src") || file.is_test() {
            continue;
        }
        let code = file.code();
        for word in ["std::", "alloc::", "extern crate"] {
            let named = code.match_indices(word).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                !before.is_some_and(|c| c == '_' || c.is_alphanumeric())
            });
            let for_tests = file.name() == "lib.rs" && word == "extern crate";
            assert!(!named || for_tests, "{}: {word}", file.path.display());
        }
        root |= file.name() == "lib.rs" && file.text.contains("no_std");
    }
    assert!(root, "protocol/src/lib.rs says no_std");
}

#[test]
fn the_simulator_knows_a_broker_over_sockets_only() {
    for file in crate::source::files() {
        if file.is_below("device-sim") {
            for word in ["keygate_broker", "keygate-broker"] {
                assert!(!file.text.contains(word), "{}", file.path.display());
            }
        }
    }
}
