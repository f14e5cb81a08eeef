//! The built-in roles, as a matrix that is a golden file.
use super::*;
use std::fmt::Write;

/// Who is in the matrix.
fn subjects() -> Vec<(&'static str, Device)> {
    let mut suspended = device("dev-1", &["device"], &["g1"]);
    suspended.state = DeviceState::Suspended;
    vec![
        ("device", device("dev-1", &["device"], &["g1", "g2"])),
        ("operator", device("op-1", &["operator"], &[])),
        ("suspended", suspended),
        ("no role", device("dev-1", &[], &["g1"])),
        ("unknown role", device("dev-1", &["gone"], &["g1"])),
    ]
}

const TOPICS: &[&str] = &[
    "devices/dev-1",
    "devices/dev-1/reported",
    "devices/dev-1/data/temperature",
    "devices/dev-1/desired",
    "devices/dev-1/desired/now",
    "devices/dev-1/presence",
    "devices/dev-1/presence/raw",
    "devices/dev-2/reported",
    "devices/dev-2/desired",
    "devices/dev-2/presence",
    "devices/DEV-1/reported",
    "devices//reported",
    "devices",
    "/devices/dev-1/reported",
    "groups/g1/state/dev-1",
    "groups/g1/state/dev-2",
    "groups/g1/state/dev-1/deep",
    "groups/g1/state",
    "groups/g3/state/dev-1",
    "other/topic",
    "$SYS/broker/uptime",
    "$share/g/devices/dev-1/reported",
    "$other",
];

const FILTERS: &[&str] = &[
    "devices/dev-1/#",
    "devices/dev-1/+",
    "devices/dev-1/reported",
    "devices/dev-1/+/temperature",
    "devices/dev-2/#",
    "devices/+/reported",
    "devices/#",
    "devices/+",
    "groups/g1/state/+",
    "groups/g1/state/dev-2",
    "groups/g1/state/#",
    "groups/g1/#",
    "groups/g3/state/+",
    "groups/+/state/+",
    "#",
    "+/dev-1/#",
    "+/+",
    "$SYS/#",
    "$SYS/broker/uptime",
    "$share/g/devices/dev-1/#",
    "$share/g/devices/#",
    "$share/g/$SYS/#",
];

fn word<T>(answer: &Result<T, Denied>) -> String {
    match answer {
        Ok(_) => "yes".into(),
        Err(denied) => format!("no:{}", denied.cause.as_str()),
    }
}

fn matrix() -> String {
    let policy = Policy::builtin();
    let mut text =
        String::from("# Built-in roles × actions × topics. KEYGATE_ACCEPT=1 writes it anew.\n");
    for (title, device) in subjects() {
        let who = principal(device);
        let groups: Vec<&str> = who.device.groups.iter().map(|g| &**g).collect();
        writeln!(text, "\n[{title}] id {} groups {groups:?}", who.id()).unwrap();
        writeln!(
            text,
            "{:34}{:16}{:16}{:16}",
            "topic", "publish", "retained", "receive"
        )
        .unwrap();
        for topic in TOPICS {
            let (publish, retained) = (
                policy.publish(&who, name(topic), false),
                policy.publish(&who, name(topic), true),
            );
            let receive = policy.receive(&who, name(topic));
            let row = [word(&publish), word(&retained), word(&receive)];
            writeln!(text, "{topic:34}{:16}{:16}{:16}", row[0], row[1], row[2]).unwrap();
        }
        writeln!(text, "{:34}{:16}{:16}", "filter", "subscribe", "coverage").unwrap();
        for topic in FILTERS {
            let subscribe = word(&policy.subscribe(&who, filter(topic)));
            let coverage = format!("{:?}", policy.classify(&who, filter(topic)));
            writeln!(text, "{topic:34}{subscribe:16}{coverage:16}").unwrap();
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[test]
fn the_matrix_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/authz/golden/matrix.txt");
    let now = matrix();
    if std::env::var_os("KEYGATE_ACCEPT").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(
        golden == now,
        "rights have changed; read the diff after KEYGATE_ACCEPT=1:\n{now}"
    );
}

#[test]
fn builtin_has_its_two_roles() {
    assert_eq!(
        Policy::builtin().roles().collect::<Vec<_>>(),
        ["device", "operator"]
    );
}
