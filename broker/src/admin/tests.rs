use super::client::{ClientError, Connection};
use super::command::{AddDevice, Status};
use super::*;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::identity::{DeviceState, MemoryStore, Registry, Transition};
use crate::keys::DataDir;
use crate::rng::{SeededRandom, SystemRandom};
use crate::telemetry::Audit;
use crate::telemetry::audit::Recorded;
use crate::telemetry::event::{Actor, Change, EventKind};
use crate::telemetry::trail::{Filter, last};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::time::{Millis, UnixTime};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Cursor, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

fn deps() -> (Deps, Recorded) {
    let (audit, recorded) = Audit::in_memory(100);
    let registry = Registry::new(MemoryStore::new(), &mut SeededRandom::new(1)).unwrap();
    let deps = Deps {
        registry: Arc::new(registry),
        audit,
        clock: Arc::new(ManualClock::at(Millis(0), UnixTime(1_000))),
        keys: Arc::new(BrokerKeys {
            broker_id: "kg-test".into(),
            ..BrokerKeys::default()
        }),
        figures: None,
    };
    (deps, recorded)
}

fn public_key(n: u8) -> String {
    command::hex(SoftwareSigner::from_seed(&[n; 32]).public_key().as_bytes())
}

fn add(id: &str, key: u8) -> Command {
    Command::DeviceAdd(AddDevice {
        id: id.into(),
        public_key: public_key(key),
        ..AddDevice::default()
    })
}

fn show(id: &str) -> Command {
    Command::DeviceShow { id: id.into() }
}

fn list() -> Command {
    Command::DeviceList {
        after: None,
        limit: None,
        state: None,
        group: None,
    }
}

/// A served directory, and where to connect to.
struct Served {
    directory: PathBuf,
    _place: TempDir,
    server: Server,
    recorded: Recorded,
}

impl Served {
    fn start() -> Self {
        let place = TempDir::new().unwrap();
        Self::at(place.path().to_owned(), place)
    }

    fn at(directory: PathBuf, place: TempDir) -> Self {
        let (deps, recorded) = deps();
        Self {
            server: Server::start(&directory, deps).unwrap(),
            directory,
            _place: place,
            recorded,
        }
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.directory).unwrap().unwrap()
    }
}

fn ask(connection: &mut Connection, command: &Command) -> Answer {
    connection
        .ask(command, None, &mut |answer| panic!("{answer:?}"))
        .unwrap()
}

fn state(answer: &Answer) -> (DeviceState, bool) {
    match answer {
        Answer::Device { device, changed } => (device.state, *changed),
        other => panic!("{other:?}"),
    }
}

fn refused(answer: Answer) -> AdminError {
    match answer {
        Answer::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_keep_their_form() {
    for (command, line) in [
        (
            add("dev1", 1),
            format!(
                r#"{{"command":"device_add","id":"dev1","public_key":"{}"}}"#,
                public_key(1)
            ),
        ),
        (
            Command::DeviceImport,
            r#"{"command":"device_import"}"#.into(),
        ),
        (list(), r#"{"command":"device_list"}"#.into()),
        (
            Command::DeviceTransition {
                id: "dev1".into(),
                transition: Transition::Revoke,
            },
            r#"{"command":"device_transition","id":"dev1","transition":"revoke"}"#.into(),
        ),
        (Command::Flush, r#"{"command":"flush"}"#.into()),
    ] {
        assert_eq!(serde_json::to_string(&command).unwrap(), line);
        assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), command);
    }
}

#[test]
fn a_device_lives_through_its_states_and_each_change_is_recorded() {
    let served = Served::start();
    let mut connection = served.connect();
    let transit = |transition| Command::DeviceTransition {
        id: "dev1".into(),
        transition,
    };
    for (command, expected) in [
        (add("dev1", 1), (DeviceState::Active, true)),
        (show("dev1"), (DeviceState::Active, false)),
        (transit(Transition::Suspend), (DeviceState::Suspended, true)),
        (
            transit(Transition::Suspend),
            (DeviceState::Suspended, false),
        ),
        (transit(Transition::Resume), (DeviceState::Active, true)),
        (transit(Transition::Revoke), (DeviceState::Revoked, true)),
    ] {
        assert_eq!(state(&ask(&mut connection, &command)), expected);
    }
    let error = refused(ask(&mut connection, &transit(Transition::Resume)));
    assert_eq!(error.kind, ErrorKind::Conflict);

    let by = Actor::Uid(socket::own_uid());
    let changes: Vec<_> = served
        .recorded
        .take()
        .into_iter()
        .map(|event| match event.kind {
            EventKind::Identity {
                change,
                id,
                by: who,
            } => {
                assert_eq!((&*id, who, event.wall), ("dev1", by, UnixTime(1_000)));
                change
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        changes,
        [
            Change::Added,
            Change::Suspended,
            Change::Resumed,
            Change::Revoked
        ]
    );
}

#[test]
fn what_is_refused_says_whose_fault_it_is() {
    let served = Served::start();
    let mut connection = served.connect();
    ask(&mut connection, &add("dev1", 1));
    for (command, kind) in [
        (add("dev1", 2), ErrorKind::Conflict),
        (add("dev2", 1), ErrorKind::Conflict),
        (add("a/b", 2), ErrorKind::Invalid),
        (show("nobody"), ErrorKind::NotFound),
        (
            Command::DeviceAdd(AddDevice {
                id: "dev3".into(),
                public_key: "00".into(),
                ..AddDevice::default()
            }),
            ErrorKind::Invalid,
        ),
    ] {
        let error = refused(ask(&mut connection, &command));
        assert_eq!(error.kind, kind, "{}", error.message);
    }
}

#[test]
fn a_line_that_is_no_command_is_answered_and_closed() {
    let served = Served::start();
    let mut stream = socket::connect(&served.directory).unwrap().unwrap();
    stream
        .write_all(b"{\"command\":\"device_show\",\"id\":\"x\",\"extra\":1}\n")
        .unwrap();
    let mut text = String::new();
    BufReader::new(stream).read_to_string(&mut text).unwrap();
    assert!(
        text.starts_with(r#"{"answer":"error","kind":"protocol""#),
        "{text}"
    );
}

#[test]
fn a_line_without_end_is_cut_off() {
    let served = Served::start();
    let mut stream = socket::connect(&served.directory).unwrap().unwrap();
    // The broker may close before it took everything.
    let _ = stream.write_all(&vec![b'x'; wire::COMMAND_BYTES_MAX + 1]);
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.contains("longer than"), "{line}");
}

#[test]
fn lists_and_imports_stream() {
    let served = Served::start();
    let mut connection = served.connect();
    let file: String = (0..2_500)
        .map(|n: u32| {
            let mut seed = [3; 32];
            seed[..4].copy_from_slice(&n.to_le_bytes());
            let key = command::hex(SoftwareSigner::from_seed(&seed).public_key().as_bytes());
            format!(
                "{{\"id\":\"dev-{n:04}\",\"public_key\":\"{key}\",\"groups\":[\"g{}\"]}}\n",
                n % 2
            )
        })
        .collect();
    let mut progress = 0;
    let answer = connection
        .ask(
            &Command::DeviceImport,
            Some(Box::new(Cursor::new(file))),
            &mut |answer| {
                assert!(matches!(answer, Answer::Progress { .. }));
                progress += 1;
                Ok(())
            },
        )
        .unwrap();
    assert_eq!(
        answer,
        Answer::Imported {
            added: 2_500,
            unchanged: 0,
            lines: 2_500
        }
    );
    assert!(progress >= 2);
    assert!(matches!(
        served.recorded.take()[..],
        [crate::telemetry::Event {
            kind: EventKind::Import { added: 2_500, .. },
            ..
        }]
    ));

    let mut ids = Vec::new();
    let of_group = Command::DeviceList {
        after: Some("dev-0009".into()),
        limit: Some(1_200),
        state: Some(DeviceState::Active),
        group: Some("g1".into()),
    };
    // The same connection goes on after an import.
    let end = connection
        .ask(&of_group, None, &mut |answer| {
            let Answer::Item { device } = answer else {
                panic!("{answer:?}")
            };
            ids.push(device.id);
            Ok(())
        })
        .unwrap();
    assert_eq!(end, Answer::End { count: 1_200 });
    assert_eq!((&*ids[0], ids.len()), ("dev-0011", 1_200));
}

#[test]
fn an_import_that_breaks_off_imports_nothing() {
    struct Broken(Cursor<String>);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("the pipe burst")),
                len => Ok(len),
            }
        }
    }
    let served = Served::start();
    let line = format!("{{\"id\":\"dev1\",\"public_key\":\"{}\"}}\n", public_key(1));
    let result = served.connect().ask(
        &Command::DeviceImport,
        Some(Box::new(Broken(Cursor::new(line)))),
        &mut |_| Ok(()),
    );
    assert!(
        matches!(&result, Err(ClientError::Input(error)) if error.to_string() == "the pipe burst"),
        "{result:?}"
    );
    let error = refused(ask(&mut served.connect(), &show("dev1")));
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(served.recorded.take().is_empty());
}

#[test]
fn the_socket_is_private_and_replaces_what_a_killed_broker_left() {
    let place = TempDir::new().unwrap();
    // As a broker that was killed leaves it: a socket on which nobody listens.
    drop(socket::bind(place.path()).unwrap());
    assert!(Connection::open(place.path()).unwrap().is_none());

    let served = Served::at(place.path().to_owned(), place);
    let socket = served.directory.join("admin.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut connection = served.connect();
    assert!(matches!(
        ask(&mut connection, &Command::Status),
        Answer::Status(Status { devices: 0, .. })
    ));

    // Stopping closes connections that are open and removes the socket.
    served.server.stop();
    assert!(!socket.exists());
    assert!(
        connection
            .ask(&Command::Status, None, &mut |_| Ok(()))
            .is_err()
    );
}

#[test]
fn a_data_directory_may_lie_deeper_than_a_socket_path_reaches() {
    let place = TempDir::new().unwrap();
    let deep = (0..10).fold(place.path().to_owned(), |path, _| {
        path.join("a-directory-with-a-long-name")
    });
    fs::create_dir_all(&deep).unwrap();
    assert!(deep.as_os_str().len() > 200);
    let served = Served::at(deep, place);
    assert!(matches!(
        ask(&mut served.connect(), &Command::Keys),
        Answer::Keys(keys) if keys.broker_id == "kg-test"
    ));
}

#[test]
fn only_the_own_account_and_root_may_command() {
    let own = socket::own_uid();
    assert!(socket::may_command(own) && socket::may_command(0));
    assert!(!socket::may_command(own + 1));
}

#[test]
fn connections_are_bounded() {
    let served = Served::start();
    let mut all: Vec<_> = (0..16).map(|_| served.connect()).collect();
    for connection in &mut all {
        ask(connection, &Command::Status);
    }
    let error = refused(
        served
            .connect()
            .ask(&Command::Status, None, &mut |_| Ok(()))
            .or_else(|error| match error {
                // It may have been closed before the command was written: the answer is there nevertheless.
                ClientError::Io(_) => Ok(Answer::Error(AdminError::new(ErrorKind::Busy, error))),
                other => Err(other),
            })
            .unwrap(),
    );
    assert_eq!(error.kind, ErrorKind::Busy);
}

#[test]
fn on_a_stopped_broker_commands_work_on_the_store() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("data");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let open = || Desk::open(&path, Arc::clone(&clock), &mut SystemRandom);
    assert!(matches!(open(), Err(DeskError::Data(_))));
    drop(DataDir::init(&path, None, clock.wall(), &mut SystemRandom).unwrap());

    let mut desk = open().unwrap();
    assert!(!desk.is_running());
    let ask = |desk: &mut Desk, command| desk.ask(command, None, &mut |_| Ok(())).unwrap();
    assert!(state(&ask(&mut desk, add("dev1", 1))).1);
    drop(desk);
    let mut desk = open().unwrap();
    assert_eq!(state(&ask(&mut desk, show("dev1"))).0, DeviceState::Active);
    drop(desk);
    let found = last(&path, &Filter::default(), 10).unwrap();
    assert_eq!(found.events.len(), 1);
}

#[test]
fn a_directory_that_is_held_by_a_deaf_process_is_said_to_be() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("data");
    let _held = DataDir::init(&path, None, UnixTime(1), &mut SystemRandom).unwrap();
    /// Runs faster than the wall's, so that nobody waits in this test.
    struct Fast(SystemClock);
    impl Clock for Fast {
        fn now(&self) -> Millis {
            Millis(self.0.now().0 * 100)
        }
        fn wall(&self) -> UnixTime {
            self.0.wall()
        }
    }
    let clock = Arc::new(Fast(SystemClock::start()));
    let error = Desk::open(&path, clock, &mut SystemRandom).err().unwrap();
    let pid = std::process::id();
    assert!(matches!(error, DeskError::Deaf { pid: Some(found), .. } if found == pid));
}
