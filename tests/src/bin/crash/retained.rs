//! Sets and deletes retained messages, and looks at what a newcomer is told of them.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use keygate_broker::rng::SeededRandom;
use keygate_protocol::mqtt::{Qos, Version};
use keygate_tests::clock::Deadline;
use keygate_tests::measure::pause;

use crate::line::{Event, Line, Message, Name};
use crate::stage::{Phase, Stage};

/// Behind all others in the order of topics: when it has come, the snapshot is whole.
const LAST: &str = "r/~";
const TOPICS: u64 = 24;

/// What was ever done to one topic: the number is the value, a deletion has none.
#[derive(Clone, Debug)]
struct History {
    versions: Vec<Option<u64>>,
    acknowledged: usize,
}

/// Everything that writers did. A topic has one writer, which waits for each acknowledgement.
#[derive(Debug)]
pub(crate) struct Board(Mutex<Vec<History>>);

impl Board {
    pub(crate) fn new() -> Self {
        let history = History {
            versions: vec![None],
            acknowledged: 0,
        };
        Self(Mutex::new(vec![history; TOPICS as usize]))
    }

    fn histories(&self) -> std::sync::MutexGuard<'_, Vec<History>> {
        self.0.lock().expect("nobody panics with it")
    }

    fn issue(&self, topic: usize, value: Option<u64>) {
        self.histories()[topic].versions.push(value);
    }

    fn acknowledge(&self, topic: usize) {
        let mut histories = self.histories();
        histories[topic].acknowledged = histories[topic].versions.len() - 1;
    }
}

fn topic(number: usize) -> String {
    format!("r/{number:02}")
}

/// Writes to every second topic.
pub(crate) struct Writer {
    name: Name,
    parity: u64,
    value: u64,
    under_way: Option<(usize, Message)>,
    dice: SeededRandom,
}

impl Writer {
    pub(crate) fn new(name: Name, parity: u64, seed: u64) -> Self {
        Self {
            name,
            parity,
            value: 0,
            under_way: None,
            dice: SeededRandom::new(seed),
        }
    }

    pub(crate) fn introduce(&mut self, stage: &Stage, board: &Board) {
        let Some(mut line) = Line::begin(stage, &self.name) else {
            return stage.wrong(&self.name.id, "cannot log in at the start");
        };
        let marker = Message {
            topic: LAST.into(),
            payload: b"0".to_vec(),
            packet_id: 1,
            qos: Qos::AtLeastOnce,
            dup: false,
            retain: true,
        };
        line.publish(&marker);
        let event = line.hear(stage, &self.name.id, Duration::from_secs(20));
        if !matches!(event, Event::Puback(1, code) if code < 0x80) {
            stage.wrong(
                &self.name.id,
                &format!("the marker is not taken: {event:?}"),
            );
        }
        let _ = board;
    }

    pub(crate) fn work(&mut self, stage: &Stage, board: &Board) {
        while let Some(mut line) = Line::resume(stage, &self.name) {
            if let Some((_, message)) = &mut self.under_way {
                message.dup = true;
                line.publish(message);
            }
            loop {
                if stage.is_at(Phase::Over) {
                    break;
                }
                if self.under_way.is_none() {
                    if stage.is_at(Phase::Completing) {
                        return;
                    }
                    self.change(&mut line, board);
                }
                match line.hear(stage, &self.name.id, Duration::from_millis(20)) {
                    Event::Puback(_, code) | Event::Pubrec(_, code) if code >= 0x80 => {
                        stage.wrong(&self.name.id, &format!("is refused: {code:#04x}"));
                    }
                    Event::Pubrec(id, _) => line.pubrel(id),
                    Event::Puback(..) | Event::Pubcomp(_) => {
                        if let Some((topic, _)) = self.under_way.take() {
                            board.acknowledge(topic);
                        }
                        let _ = pause();
                    }
                    Event::Closed => break,
                    _ => {}
                }
            }
        }
        stage.wrong(&self.name.id, "a retained message is never acknowledged");
    }

    fn change(&mut self, line: &mut Line, board: &Board) {
        let number = (self.dice.below(TOPICS / 2) * 2 + self.parity) as usize;
        self.value += 1;
        let value = (self.dice.below(3) != 0).then_some(self.value);
        board.issue(number, value);
        let message = Message {
            topic: topic(number),
            payload: value.map_or_else(Vec::new, |value| value.to_string().into_bytes()),
            packet_id: (self.value % 50 + 1) as u16,
            qos: [Qos::AtLeastOnce, Qos::ExactlyOnce][self.dice.below(2) as usize],
            dup: false,
            retain: true,
        };
        line.publish(&message);
        self.under_way = Some((number, message));
    }
}

/// Looks again and again, until the crashes are over.
pub(crate) fn keep_looking(stage: &Stage, board: &Board) -> u32 {
    let mut looks = 0;
    while !stage.is_at(Phase::Completing) {
        looks += u32::from(look(stage, board));
        let _ = pause();
    }
    looks
}

/// Subscribes as a newcomer and compares: what was acknowledged before must show, or something newer, and what was not
/// sent yet must not. False if the broker went away meanwhile.
pub(crate) fn look(stage: &Stage, board: &Board) -> bool {
    let name = Name {
        id: "looker".into(),
        version: Version::V5,
        window: 100,
    };
    let before = board.histories().clone();
    let Some((mut line, _)) = Line::connect(stage, &name, true) else {
        return false;
    };
    line.subscribe(1, "r/+", Qos::AtMostOnce);
    let mut found: BTreeMap<String, Option<u64>> = BTreeMap::new();
    let deadline = Deadline::after(Duration::from_secs(20));
    loop {
        match line.hear(stage, &name.id, Duration::from_millis(50)) {
            Event::Message(message) if message.topic == LAST => break,
            Event::Message(message) => {
                let value = std::str::from_utf8(&message.payload).ok();
                let value = value.and_then(|value| value.parse().ok());
                found.insert(message.topic, value);
            }
            Event::Closed => return false,
            _ if deadline.left().is_none() => {
                stage.wrong(&name.id, "the snapshot does not end: the marker is lost");
                return true;
            }
            _ => {}
        }
    }
    let after = board.histories();
    for (number, (before, after)) in before.iter().zip(after.iter()).enumerate() {
        let possible = &after.versions[before.acknowledged..];
        let fits = match found.get(&topic(number)) {
            Some(value) => possible.contains(value),
            // Absent: deleted; or it changed while we looked, and the change is still on its way to us.
            None => possible.contains(&None) || possible.len() > 1,
        };
        if !fits {
            let what = format!(
                "retained {} is {:?}, acknowledged or in flight are {possible:?}",
                topic(number),
                found.get(&topic(number))
            );
            stage.wrong(&name.id, &what);
        }
    }
    true
}
