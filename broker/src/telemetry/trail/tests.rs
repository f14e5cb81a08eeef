use super::*;
use crate::telemetry::Audit;
use crate::telemetry::event::{Actor, Change, Event, EventKind, Listener, Origin, Outcome};
use crate::telemetry::reason::{Method, RefusalReason};
use keygate_protocol::ident::KeyId;
use keygate_protocol::time::UnixTime;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

fn login(at: u64, id: &str, reason: Option<RefusalReason>) -> Event {
    Event {
        wall: UnixTime(at),
        kind: EventKind::Login {
            outcome: if reason.is_some() {
                Outcome::Refused
            } else {
                Outcome::Accepted
            },
            reason,
            identity: Some(id.into()),
            client_id: id.into(),
            method: Some(Method::KgEd25519),
            key_id: Some(KeyId::from_bytes([0x0a; 8])),
            again: false,
            origin: Origin {
                listener: Listener::Mqtt,
                peer: "127.0.0.1:40000".parse().unwrap(),
                connection: Some(at),
            },
        },
    }
}

fn added(at: u64, id: &str) -> Event {
    Event {
        wall: UnixTime(at),
        kind: EventKind::Identity {
            change: Change::Added,
            id: id.into(),
            by: Actor::Uid(1000),
        },
    }
}

fn line(event: &Event) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).unwrap();
    line.push(b'\n');
    line
}

fn walls(found: &Found) -> Vec<u64> {
    found.events.iter().map(|event| event.wall.0).collect()
}

fn small() -> Keep {
    Keep {
        file_bytes_max: 1_000,
        files_max: 3,
    }
}

#[test]
fn an_event_is_one_line_without_empty_fields() {
    let text = serde_json::to_string(&login(7, "dev1", Some(RefusalReason::BadSignature))).unwrap();
    assert_eq!(
        text,
        r#"{"at":7,"event":"login","outcome":"refused","reason":"bad_signature","identity":"dev1","client_id":"dev1","method":"kg-ed25519","key_id":"0a0a0a0a0a0a0a0a","origin":{"listener":"mqtt","peer":"127.0.0.1:40000","connection":7}}"#
    );
}

#[test]
fn recorded_events_are_read_back_newest_last() {
    let dir = TempDir::new().unwrap();
    let (audit, writer) = Audit::start(dir.path(), Keep::default(), 4_096).unwrap();
    for at in 1..=5 {
        audit.record(login(at, "dev1", None));
    }
    assert!(audit.flush(PATIENCE));
    let found = last(dir.path(), &Filter::default(), 3).unwrap();
    assert_eq!(walls(&found), [3, 4, 5]);
    writer.stop();
}

#[test]
fn stopping_writes_what_is_still_in_the_ring() {
    let dir = TempDir::new().unwrap();
    let (audit, writer) = Audit::start(dir.path(), Keep::default(), 4_096).unwrap();
    for at in 0..1_000 {
        audit.record(added(at, "dev1"));
    }
    writer.stop();
    let found = last(dir.path(), &Filter::default(), usize::MAX).unwrap();
    assert_eq!(found.events.len(), 1_000);
    audit.record(added(1, "late"));
    assert_eq!(audit.counts().lost, 1);
    assert!(!audit.flush(PATIENCE));
}

#[test]
fn the_trail_is_private() {
    let dir = TempDir::new().unwrap();
    drop(TrailFile::open(dir.path(), Keep::default()).unwrap());
    let mode = fs::metadata(current(dir.path()))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn rotation_bounds_size_and_number_of_files() {
    let dir = TempDir::new().unwrap();
    let mut file = TrailFile::open(dir.path(), small()).unwrap();
    for at in 0..100 {
        file.append(&line(&added(at, "dev1"))).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["audit.1.jsonl", "audit.2.jsonl", "audit.jsonl"]);
    for name in names {
        assert!(fs::metadata(dir.path().join(name)).unwrap().len() <= 1_000);
    }
    let found = last(dir.path(), &Filter::default(), 20).unwrap();
    assert_eq!(walls(&found), (80..100).collect::<Vec<_>>());
}

#[test]
fn a_line_torn_by_a_kill_costs_only_itself() {
    let dir = TempDir::new().unwrap();
    let mut bytes = line(&added(1, "dev1"));
    bytes.extend_from_slice(br#"{"at":2,"event":"ident"#);
    fs::write(current(dir.path()), &bytes).unwrap();
    let found = last(dir.path(), &Filter::default(), 10).unwrap();
    assert_eq!((walls(&found), found.unreadable), (vec![1], 1));

    let mut file = TrailFile::open(dir.path(), Keep::default()).unwrap();
    file.append(&line(&added(3, "dev1"))).unwrap();
    let found = last(dir.path(), &Filter::default(), 10).unwrap();
    assert_eq!((walls(&found), found.unreadable), (vec![1, 3], 1));
}

#[test]
fn filters_by_id_and_refusal() {
    let dir = TempDir::new().unwrap();
    let mut file = TrailFile::open(dir.path(), small()).unwrap();
    for event in [
        login(1, "dev1", None),
        login(2, "dev10", Some(RefusalReason::UnknownDevice)),
        login(3, "dev1", Some(RefusalReason::BadSignature)),
        login(4, "dev1/panel", Some(RefusalReason::ClientIdNotOwn)),
        added(5, "dev1"),
    ] {
        file.append(&line(&event)).unwrap();
    }
    let read = |id: Option<&str>, refused| {
        let filter = Filter {
            id: id.map(str::to_owned),
            refused,
        };
        walls(&last(dir.path(), &filter, 10).unwrap())
    };
    assert_eq!(read(None, true), [2, 3, 4]);
    assert_eq!(read(Some("dev1"), false), [1, 3, 4, 5]);
    assert_eq!(read(Some("dev1"), true), [3, 4]);
    assert_eq!(read(Some("dev10"), false), [2]);
}

#[test]
fn a_directory_without_a_trail_has_no_events() {
    let dir = TempDir::new().unwrap();
    assert_eq!(
        last(dir.path(), &Filter::default(), 10).unwrap(),
        Found::default()
    );
}

#[test]
fn following_sees_every_event_across_rotations() {
    let dir = TempDir::new().unwrap();
    let mut follow = Follow::start(dir.path(), Filter::default()).unwrap();
    assert_eq!(follow.poll().unwrap(), Found::default());
    let keep = Keep {
        files_max: 20,
        ..small()
    };
    let mut file = TrailFile::open(dir.path(), keep).unwrap();
    let mut seen = Vec::new();
    for at in 0..100 {
        file.append(&line(&added(at, "dev1"))).unwrap();
        // Now and then only: several rotations happen between two looks.
        if at % 37 == 0 {
            seen.extend(walls(&follow.poll().unwrap()));
        }
    }
    seen.extend(walls(&follow.poll().unwrap()));
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[test]
fn following_waits_for_the_end_of_a_line() {
    let dir = TempDir::new().unwrap();
    let whole = line(&added(1, "dev1"));
    let mut file = fs::File::create(current(dir.path())).unwrap();
    let mut follow = Follow::start(dir.path(), Filter::default()).unwrap();
    file.write_all(&whole[..10]).unwrap();
    assert_eq!(follow.poll().unwrap(), Found::default());
    file.write_all(&whole[10..]).unwrap();
    assert_eq!(walls(&follow.poll().unwrap()), [1]);
}

#[test]
fn a_full_disk_costs_events_and_says_so_and_nothing_else() {
    // A directory in the place of the next file: every rotation fails, as writing does on a full disk.
    let dir = TempDir::new().unwrap();
    let (audit, writer) = Audit::start(dir.path(), small(), 4_096).unwrap();
    fs::create_dir_all(dir.path().join("audit.2.jsonl/x")).unwrap();
    for at in 0..10 {
        audit.record(login(at, "dev1", None));
        assert!(audit.flush(PATIENCE));
    }
    let lost = audit.counts().lost;
    assert!(lost > 0 && audit.counts().write_errors > 0);
    fs::remove_dir_all(dir.path().join("audit.2.jsonl")).unwrap();
    audit.record(login(99, "dev1", None));
    writer.stop();
    let found = last(dir.path(), &Filter::default(), 100).unwrap();
    let told: u64 = found
        .events
        .iter()
        .map(|event| match event.kind {
            EventKind::Lost { count } => count,
            _ => 0,
        })
        .sum();
    assert_eq!(told, lost);
    assert_eq!(found.events.len() as u64 - told_lines(&found), 11 - lost);
}

fn told_lines(found: &Found) -> u64 {
    let lines = found.events.iter();
    lines
        .filter(|event| matches!(event.kind, EventKind::Lost { .. }))
        .count() as u64
}

#[test]
fn a_full_ring_drops_and_counts() {
    let (audit, recorded) = Audit::in_memory(2);
    for at in 1..=5 {
        audit.record(added(at, "dev1"));
    }
    assert_eq!(audit.counts().lost, 3);
    let walls: Vec<_> = recorded.take().iter().map(|event| event.wall.0).collect();
    assert_eq!(walls, [1, 2]);
}
