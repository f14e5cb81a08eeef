//! A whole fleet in virtual time: real actors, a scripted broker, links with seeded delays.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use keygate_protocol::login::Binding;

use super::controller::{Controller, News};
use super::crew::Crew;
use super::device::{Device, Note};
use super::recorder::Recorder;
use crate::clock::Micros;
use crate::identity::{Cast, Member};
use crate::payload::{self, RunTag};
use crate::peer::{BROKER_ID, Faults, Peer};
use crate::random::Spread;
use crate::scenario::{Login, Scenario, builtin};
use crate::session::{Event, Failure, Key, Profile, Session, Wanted};

fn scenario(devices: u32, seed: &str) -> Scenario {
    let mut scenario = builtin("smoke").expect("built in");
    scenario.fleet.devices = devices;
    scenario.fleet.seed = seed.to_owned();
    scenario.gateways.count = 0;
    scenario.impostors.count = 0;
    scenario
}

/// Who is behind a connection.
enum Who<'a> {
    Device(u32, Device<'a>),
    Controller(Controller<'a>),
    Watcher(Session<'a>),
}

struct End<'a> {
    who: Who<'a>,
    unread: Vec<u8>,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Arrive(u32),
    ToBroker(u32, Vec<u8>),
    ToClient(u32, Option<Vec<u8>>),
    Wake(u32),
}

/// The run in one thread: a heap of what happens when.
struct World<'a> {
    crew: &'a Crew,
    ids: &'a [String],
    peer: Peer,
    recorder: Recorder,
    ends: BTreeMap<u32, End<'a>>,
    steps: BinaryHeap<Reverse<(Micros, u64, Step)>>,
    serial: u64,
    spread: Spread,
    now: Micros,
    /// By connection and direction: what was sent before arrives before.
    arrived: BTreeMap<(u32, bool), Micros>,
    /// The one wake-up that counts, by connection.
    armed: BTreeMap<u32, Micros>,
    controller: u32,
}

impl<'a> World<'a> {
    fn at(&mut self, at: Micros, step: Step) {
        self.serial += 1;
        self.steps.push(Reverse((at, self.serial, step)));
    }

    /// Bytes on a link: delayed by the seed, never overtaking.
    fn travel(&mut self, connection: u32, to_broker: bool, step: Step) {
        let delay = 20 + self.spread.below(9, self.serial, 0, 3_000);
        let last = self.arrived.entry((connection, to_broker)).or_default();
        let at = self.now.plus(delay).max(*last);
        *last = at;
        self.at(at, step);
    }

    fn send(&mut self, connection: u32, out: &[u8]) {
        // Any split of the stream must do.
        let cut = usize::try_from(self.spread.below(8, self.serial, 1, out.len() as u64 + 1))
            .expect("small");
        for piece in [&out[..cut], &out[cut..]] {
            if !piece.is_empty() {
                self.travel(connection, true, Step::ToBroker(connection, piece.to_vec()));
            }
        }
        self.arm(connection);
    }

    fn arm(&mut self, connection: u32) {
        let deadline = match self.ends.get(&connection).map(|end| &end.who) {
            Some(Who::Device(_, device)) => device.deadline(),
            Some(Who::Controller(controller)) => controller.deadline(),
            _ => None,
        };
        if let Some(at) = deadline.map(|at| at.max(self.now))
            && self.armed.insert(connection, at) != Some(at)
        {
            self.at(at, Step::Wake(connection));
        }
    }

    fn open(&mut self, who: Who<'a>, out: &[u8]) -> u32 {
        let connection = self.peer.accept();
        self.ends.insert(
            connection,
            End {
                who,
                unread: Vec::new(),
            },
        );
        self.send(connection, out);
        connection
    }

    fn arrive(&mut self, index: u32) {
        let due = self.crew.schedule.arrival(index);
        self.recorder.started(due, self.now);
        let mut out = Vec::new();
        let id = &self.ids[usize::try_from(index).expect("small")];
        let device = Device::open(self.crew, index, id, [9; 16], &mut out).expect("opens");
        self.open(Who::Device(index, device), &out);
    }

    /// Lets a connection's actor act, and records what it notes.
    fn act(
        &mut self,
        connection: u32,
        device: impl FnOnce(&mut Device<'a>, &mut Vec<u8>, &mut dyn FnMut(Note)) -> Result<(), Failure>,
        controller: impl FnOnce(&mut Controller<'a>, &mut Vec<u8>, &mut Recorder) -> Result<(), Failure>,
    ) {
        let Some(end) = self.ends.get_mut(&connection) else {
            return;
        };
        let (crew, recorder, now) = (self.crew, &mut self.recorder, self.now);
        let mut out = Vec::new();
        let mut news = None;
        let outcome = match &mut end.who {
            Who::Device(index, actor) => {
                let index = *index;
                let outcome = device(actor, &mut out, &mut |note| {
                    recorder.device(crew, index, note, now);
                    if note == Note::Subscribed {
                        news = Some(News::Subscribed(index));
                    }
                });
                if let Err(failure) = &outcome {
                    recorder.device_failed(
                        "device",
                        index,
                        actor.stage() > crate::session::Stage::Subscribe,
                        failure,
                    );
                    news = Some(News::Gone(index));
                }
                outcome
            }
            Who::Controller(actor) => controller(actor, &mut out, recorder),
            Who::Watcher(_) => Ok(()),
        };
        match outcome {
            Ok(()) => self.send(connection, &out),
            Err(_) => {
                self.ends.remove(&connection);
                self.peer.gone(connection);
            }
        }
        if let Some(news) = news {
            self.tell(news);
        }
    }

    fn tell(&mut self, news: News) {
        let (crew, now) = (self.crew, self.now);
        self.act(
            self.controller,
            |_, _, _| Ok(()),
            |controller, out, recorder| {
                controller.hear(news, now, out, &mut |note| recorder.order(crew, note, now))
            },
        );
    }

    fn reach_client(&mut self, connection: u32, bytes: Option<Vec<u8>>) {
        let Some(end) = self.ends.get_mut(&connection) else {
            return;
        };
        let Some(bytes) = bytes else { return };
        let mut unread = std::mem::take(&mut end.unread);
        unread.extend_from_slice(&bytes);
        let (crew, now) = (self.crew, self.now);
        let mut taken = 0;
        if let Who::Watcher(session) = &mut end.who {
            let (recorder, mut out) = (&mut self.recorder, Vec::new());
            taken = session
                .receive(&unread, now, &mut out, &mut |event| {
                    if let Event::Message {
                        topic,
                        payload,
                        dup,
                    } = event
                    {
                        let mark = payload::read(crew.tag, payload).expect("of this run");
                        recorder.watched(crew, topic, mark, dup, now);
                    }
                })
                .expect("the watcher stays");
            self.send(connection, &out);
        } else {
            let count = &mut taken;
            let mut none = 0;
            let input = unread.clone();
            let other = &mut none;
            self.act(
                connection,
                |device, out, note| {
                    device
                        .receive(&input, now, out, note)
                        .map(|taken| *count = taken)
                },
                |controller, out, recorder| {
                    let taken = controller.receive(&input, now, out, &mut |note| {
                        recorder.order(crew, note, now);
                    })?;
                    *other = taken;
                    Ok(())
                },
            );
            taken = taken.max(none);
        }
        if let Some(end) = self.ends.get_mut(&connection) {
            end.unread = unread.split_off(taken);
        }
    }

    fn run(&mut self) -> u64 {
        let mut count = 0;
        let end = self.crew.schedule.end().plus(60_000_000);
        while let Some(Reverse((at, _, step))) = self.steps.pop() {
            if at > end || self.recorder.is_complete() {
                break;
            }
            count += 1;
            self.now = self.now.max(at);
            let (crew, now) = (self.crew, self.now);
            match step {
                Step::Arrive(index) => self.arrive(index),
                Step::ToBroker(connection, bytes) => {
                    for (to, bytes) in self.peer.receive(connection, &bytes) {
                        self.travel(to, false, Step::ToClient(to, bytes));
                    }
                }
                Step::ToClient(connection, bytes) => self.reach_client(connection, bytes),
                Step::Wake(connection) if self.armed.get(&connection) != Some(&at) => {}
                Step::Wake(connection) => self.act(
                    connection,
                    |device, out, note| device.tick(now, out, note),
                    |controller, out, recorder| {
                        controller.tick(now, out, &mut |note| recorder.order(crew, note, now))
                    },
                ),
            }
        }
        count
    }
}

/// Runs a scenario in virtual time and hands the recorder over.
fn virtually(scenario: &Scenario, faults: Faults, receive_max: u16) -> Recorder {
    let mut peer = Peer::new(scenario);
    let profile = Arc::new(Profile {
        broker_id: BROKER_ID.to_owned(),
        identity_key: Some(peer.identity_key()),
        keep_alive_s: scenario.fleet.keep_alive_s,
        session_expiry_s: 0,
        binding: Binding::None,
    });
    peer.receive_max = receive_max;
    let cast = Cast::new(&scenario.fleet.seed, &scenario.fleet.prefix);
    let tag = RunTag::new([7; 4]);
    let crew = Arc::new(Crew::new(
        scenario,
        Arc::clone(&profile),
        tag,
        Micros(1_000_000),
    ));
    let ids: Vec<String> = (0..scenario.fleet.devices)
        .map(|index| cast.id(Member::Device(index)))
        .collect();
    let names = [cast.id(Member::Watcher), cast.id(Member::Controller)];
    let mut world = World {
        crew: &crew,
        ids: &ids,
        peer,
        recorder: Recorder::new(scenario),
        ends: BTreeMap::new(),
        steps: BinaryHeap::new(),
        serial: 0,
        spread: Spread::new(&scenario.fleet.seed),
        now: Micros(0),
        arrived: BTreeMap::new(),
        armed: BTreeMap::new(),
        controller: 0,
    };
    let mut out = Vec::new();
    let wanted = Wanted {
        filter: "devices/+/reported".to_owned(),
        no_local: false,
    };
    let key = Key::new(cast.signer(Member::Watcher));
    let watcher =
        Session::open(&profile, &names[0], key, [1; 16], Some(wanted), &mut out).expect("opens");
    world.open(Who::Watcher(watcher), &out);
    let mut out = Vec::new();
    let controller = Controller::open(
        &profile,
        &cast,
        Login::KgEd25519,
        &names[1],
        [2; 16],
        &mut out,
    )
    .expect("opens");
    world.controller = world.open(Who::Controller(controller), &out);
    world.tell(News::Start(Arc::clone(&crew)));
    for index in 0..scenario.fleet.devices {
        world.at(crew.schedule.arrival(index), Step::Arrive(index));
    }
    world.peer.faults = faults;
    let steps = world.run();
    assert!(steps < 1_000_000, "it never ends");
    world.recorder
}

#[test]
fn whatever_the_delays_a_good_broker_passes() {
    for seed in 0..20 {
        let scenario = scenario(25, &format!("virtual-{seed}"));
        let recorder = virtually(&scenario, Faults::default(), 16);
        assert!(recorder.is_complete(), "seed {seed}");
        assert!(
            recorder.errors().is_empty(),
            "seed {seed}: {:?}",
            recorder.errors()
        );
        assert!(
            recorder.reports.summary().is_clean(),
            "seed {seed}: {:?}",
            recorder.reports.summary()
        );
        assert!(
            recorder.desired.summary().is_clean(),
            "seed {seed}: {:?}",
            recorder.desired.summary()
        );
        assert_eq!(
            (recorder.logins.granted, recorder.logins.broker_proofs),
            (25, 25)
        );
    }
}

#[test]
fn a_window_of_one_slows_down_and_loses_nothing() {
    let mut scenario = scenario(10, "narrow");
    scenario.desired.interval_ms = 10;
    let recorder = virtually(&scenario, Faults::default(), 1);
    assert!(recorder.is_complete());
    assert_eq!(recorder.desired.summary().delivered, 10 * 300);
    assert!(recorder.desired.summary().is_clean() && recorder.reports.summary().is_clean());
}

#[test]
fn a_broker_that_loses_acknowledged_messages_is_found_out() {
    let scenario = scenario(20, "loses");
    let recorder = virtually(
        &scenario,
        Faults {
            lose_every: Some(10),
            ..Faults::default()
        },
        16,
    );
    let (reports, desired) = (recorder.reports.summary(), recorder.desired.summary());
    assert_eq!(reports.lost + desired.lost, (20 * 3 + 20 * 2) / 10);
    assert!(!recorder.is_complete());
}

#[test]
fn repetition_is_a_fault_only_without_dup() {
    for (dup, duplicates, redelivered) in [(false, 10, 0), (true, 0, 10)] {
        let scenario = scenario(20, "repeats");
        let faults = Faults {
            repeat_every: Some((10, dup)),
            ..Faults::default()
        };
        let recorder = virtually(&scenario, faults, 16);
        let (reports, desired) = (recorder.reports.summary(), recorder.desired.summary());
        // The run ends with the last first arrival; a repetition of that one is not waited for.
        assert!(
            (duplicates - duplicates / 10..=duplicates)
                .contains(&(reports.duplicates + desired.duplicates))
        );
        assert!(
            (redelivered - redelivered / 10..=redelivered)
                .contains(&(reports.redelivered + desired.redelivered))
        );
        assert_eq!(reports.is_clean() && desired.is_clean(), dup);
    }
}

#[test]
fn a_broker_that_sends_own_messages_back_is_found_out() {
    let scenario = scenario(5, "echoes");
    let recorder = virtually(
        &scenario,
        Faults {
            ignore_no_local: true,
            ..Faults::default()
        },
        16,
    );
    assert!(recorder.reports.summary().echoed > 0);
    assert!(!recorder.reports.summary().is_clean());
}

#[test]
fn a_refusing_broker_ends_the_run_at_once_with_advice() {
    use keygate_protocol::login::Binding;
    use keygate_protocol::mqtt::ReasonCode;
    let scenario = scenario(5, "refuses");
    let faults = Faults {
        refuse: Some(ReasonCode::NotAuthorized),
        ..Faults::default()
    };
    let mut peer = Peer::new(&scenario);
    peer.faults = faults;
    let profile = Profile {
        broker_id: BROKER_ID.to_owned(),
        identity_key: None,
        keep_alive_s: 0,
        session_expiry_s: 0,
        binding: Binding::None,
    };
    let crew = Crew::new(&scenario, Arc::new(profile), RunTag::new([0; 4]), Micros(0));
    let mut recorder = Recorder::new(&scenario);
    for index in 0..5 {
        let client = peer.accept();
        let id = crew.cast.id(Member::Device(index));
        let mut out = Vec::new();
        let mut device = Device::open(&crew, index, &id, [0; 16], &mut out).expect("opens");
        let answer = peer.receive(client, &out).remove(0).1.expect("an answer");
        let failure = device
            .receive(&answer, Micros(1), &mut out, &mut |_| {})
            .expect_err("refused");
        recorder.device_failed(&id, index, false, &failure);
    }
    assert!(recorder.is_complete());
    let errors = recorder.errors();
    assert_eq!(
        (errors.len(), errors[0].count, errors[0].examples.len()),
        (1, 5, 3)
    );
    assert!(
        errors[0]
            .advice
            .is_some_and(|advice| advice.contains("keygate device import"))
    );
    assert_eq!(recorder.refusals.get("login 0x87"), Some(&5));
}

#[test]
fn a_device_that_is_not_answered_in_time_is_late() {
    let mut scenario = scenario(1, "late");
    scenario.fleet.login_timeout_s = 2;
    let profile = Profile {
        broker_id: BROKER_ID.to_owned(),
        identity_key: None,
        keep_alive_s: 0,
        session_expiry_s: 0,
        binding: Binding::None,
    };
    let crew = Crew::new(&scenario, Arc::new(profile), RunTag::new([0; 4]), Micros(0));
    let mut out = Vec::new();
    let mut device = Device::open(&crew, 0, "dev-000000", [0; 16], &mut out).expect("opens");
    let deadline = device.deadline().expect("has one");
    assert_eq!(deadline, crew.schedule.arrival(0).plus(2_000_000));
    assert_eq!(
        device.tick(Micros(deadline.0 - 1), &mut out, &mut |_| {}),
        Ok(())
    );
    let late = device.tick(deadline, &mut out, &mut |_| {});
    assert_eq!(late, Err(Failure::Late(crate::session::Stage::Challenge)));
}
